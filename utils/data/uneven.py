"""The troubles of supervised learning that show in the data themselves: uneven images, copies, rare classes."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter, gaussian_laplace
from scipy.stats import chi2, mannwhitneyu
from sklearn.covariance import MinCovDet

from utils.data.crops import Crop
from utils.data.examples import Dataset, Example
from utils.data.splits import ROLES
from utils.images.masks import counted

FOCUS_WINDOW = 1024  # side in pixels of the middle part that focus is measured on
FEWEST = 6  # images without which nothing can be called typical
MAD_TO_SD, MEAN_AD_TO_SD = 1.4826, 1.2533  # of a normal distribution
SMALLEST_RATIO = 1.25  # smaller differences than this do not matter, however regular the others are
COLUMNS = ["file", "class", "group", "feature", "value", "typical", "how far"]
SAME = 0.03  # differences of this share do not matter, however regular the images are
MATTERS = np.log(1.25)  # a group must differ by a quarter
FEWEST_OF_GROUP, FEWEST_OTHERS = 5, 10  # images without which a group is not judged
GROUP_SHIFT, CLASS_SHIFT = 1.0, 3.0  # robust standard deviations; classes may differ, it is what tells them apart
BETWEEN = 4.0  # times that a group must be farther off than the other groups usually are
P_VALUE = 0.001  # for all groups and features together
RARE = 0.05  # share of images that may differ in what most have alike, such as size
SAFETY = 1.6  # times the limit for normal values that one image must be off: tails of real images are longer
BATCH = 0.05  # share of images off by the limit itself that cannot be tails
IMAGES_PER_FEATURE = 10  # fewer do not tell how features go together
TECHNICAL = ("background", "fine detail", "height", "width")  # features that biology hardly changes


def image_features(examples: Sequence[Example]) -> pd.DataFrame:
    """Measure on each image what often differs between microscopes, stains and days.

    Index: file (the example's name). Columns: group; mean intensity and contrast (standard deviation), both in grey
    levels of the mean of the channels; height and width in pixels; focus, the variance of the Laplacian of Gaussian (1
    pixel) divided by that of the image (Pech-Pacheco et al. 2000, Diatom autofocusing in brightfield microscopy: a
    comparative study, doi:10.1109/ICPR.2000.903548); foreground share (0 to 1).
    """
    rows = {example.name: {"group": example.group, **_features(example)} for example in examples}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("file")


def _features(example: Example) -> dict[str, float]:
    """Measurements of one image."""
    grey = example.image.array.mean(axis=-1, dtype=np.float32)
    brightness = plane_features(grey)
    sizes = {"height": grey.shape[0], "width": grey.shape[1], "focus": brightness.pop("focus")}
    return {**brightness, **sizes, "foreground share": float((example.mask > 0).sum() / counted(example.mask).sum())}


def plane_features(plane: np.ndarray) -> dict[str, float]:
    """Mean intensity, contrast and focus, see `image_features`, of one channel (Y, X) of float32."""
    y, x = (max(0, (side - FOCUS_WINDOW) // 2) for side in plane.shape)
    middle = plane[y : y + FOCUS_WINDOW, x : x + FOCUS_WINDOW]
    return {
        "mean intensity": float(plane.mean()),
        "contrast": float(plane.std()),
        "focus": float(gaussian_laplace(middle, 1).var() / max(middle.var(), np.finfo(np.float32).tiny)),
    }


def outliers(features: pd.DataFrame) -> pd.DataFrame:
    """Images, and groups as a whole, that differ from the rest in their `image_features`.

    How far a value is off is its distance to the median in robust standard deviations (1.4826 times the median absolute
    deviation; Iglewicz & Hoaglin 1993, How to detect and handle outliers, ASQC Quality Press), on a logarithmic scale
    for features that are always positive. The limit is 4.4 + 40 / n: in at least 99.5 % of simulated cases none of n
    normal values was farther off. A group is named where each of its images lies on one side beyond 0.7 of the limit
    from the images of all other groups; these are not named again.

    Returns
    -------
    DataFrame
        file ("" for a group), group, feature, value, typical (median), how far (robust standard deviations); farthest
        first. Empty for fewer than 6 images.
    """
    rows = []
    for feature in features.columns.drop("group"):
        groups = _odd_groups(features, feature)
        rows += groups
        rows += _odd_images(features, feature, {row["group"] for row in groups})
    table = pd.DataFrame(rows, columns=["file", "group", "feature", "value", "typical", "how far"])
    return table.sort_values("how far", ascending=False, key=abs, ignore_index=True)


def _odd_groups(features: pd.DataFrame, feature: str) -> list[dict]:
    """Rows of the groups of two or more images that all differ from the others."""
    rows = []
    for group, own in features.groupby("group"):
        others = features.loc[features["group"] != group, feature]
        if len(own) < 2 or len(others) < FEWEST:
            continue
        distance, limit = _distance(own[feature], others)
        nearest = distance[np.abs(distance).argmin()]
        if (np.sign(distance) == np.sign(nearest)).all() and abs(nearest) > 0.7 * limit:
            rows.append(_row("", str(group), feature, own[feature].median(), others.median(), nearest))
    return rows


def _odd_images(features: pd.DataFrame, feature: str, told: set[str]) -> list[dict]:
    """Rows of the single images that differ, but those of the groups `told`."""
    if len(features) < FEWEST:
        return []
    values = features[feature]
    distance, limit = _distance(values, values)
    return [
        _row(file, group, feature, value, values.median(), far)
        for file, group, value, far in zip(features.index, features["group"], values, distance, strict=True)
        if abs(far) > limit and group not in told
    ]


def _row(file: str, group: str, feature: str, value: float, typical: float, far: float) -> dict:
    """One row of the table of outliers."""
    columns = {"file": file, "group": group, "feature": feature, "value": value, "typical": typical}
    return {**columns, "how far": round(float(far), 1)}


def _distance(values: pd.Series, reference: pd.Series) -> tuple[np.ndarray, float]:
    """Signed distance of `values` (n,) from the median of `reference` in robust standard deviations, and the limit."""
    positive = bool((reference > 0).all() and (values > 0).all())
    x, y = (np.log(s.to_numpy(float)) if positive else s.to_numpy(float) for s in (values, reference))
    deviation = np.abs(y - np.median(y))
    spread, limit = MAD_TO_SD * np.median(deviation), 4.4 + 40 / len(y)
    if spread == 0:  # more than half are equal, such as sizes: no noise that the limit would have to allow for
        spread, limit = MEAN_AD_TO_SD * deviation.mean(), 4.4
    distance = x - np.median(y)
    if positive:
        distance = np.where(np.abs(distance) < np.log(SMALLEST_RATIO), 0, distance)
    return np.divide(distance, max(spread, np.finfo(float).tiny)), limit


def class_shares(dataset: Dataset, roles: Sequence[str]) -> pd.DataFrame:
    """How much of each class there is in each part of the split; `roles` is the role of each example of the data set.

    Columns: role, class (name), pixels, share (0 to 1, of the pixels of that role that count), images (that contain the
    class).
    """
    n = len(dataset.classes)
    masks = [example.mask for example in dataset.examples]
    counts = np.array([np.bincount(mask[counted(mask)], minlength=n) for mask in masks])  # (images, n)
    rows = []
    for role in sorted(set(roles), key=ROLES.index):
        own = counts[np.asarray(roles) == role]
        for entry, pixels, images in zip(dataset.classes, own.sum(axis=0), (own > 0).sum(axis=0), strict=True):
            share = pixels / own.sum()
            rows.append((role, entry["name"], int(pixels), share, int(images)))
    return pd.DataFrame(rows, columns=["role", "class", "pixels", "share", "images"])


def crop_features(crops: Sequence[Crop], classes: Sequence[dict]) -> pd.DataFrame:
    """Measure on each crop what often differs between microscopes, stains and days.

    Parameters
    ----------
    crops, classes
        Crops that all have the same number of channels; class table, for the names.

    Returns
    -------
    DataFrame
        Index: file (name). Columns: class (name), group; height and width in pixels; and for each channel (", channel
        1" follows the name where there are several) mean intensity and contrast (standard deviation) in grey levels,
        focus (see `image_features`), background (mean of the darker half of the border, a tenth of the sides wide) and
        fine detail (median of what a Gaussian of 0.7 pixels takes away: noise, and less of it where blurred).
    """
    names = {one["id"]: one["name"] for one in classes}
    rows = [{"class": names[one.class_id], "group": one.group, **_crop_features(one.image.array)} for one in crops]
    return pd.DataFrame(rows, index=pd.Index([one.name for one in crops], name="file"))


def _crop_features(array: np.ndarray) -> dict[str, float]:
    """Measurements of one crop (Y, X, C)."""
    found: dict[str, float] = {"height": array.shape[0], "width": array.shape[1]}
    y, x = (max(1, side // 10) for side in array.shape[:2])
    border = np.ones(array.shape[:2], bool)
    border[y:-y, x:-x] = False
    for channel in range(array.shape[-1]):
        plane = array[..., channel].astype(np.float32)
        measured = plane_features(plane) | {
            "background": _darker_half(plane[border]),
            "fine detail": float(np.median(np.abs(plane - gaussian_filter(plane, 0.7)))),
        }
        suffix = f", channel {channel + 1}" if array.shape[-1] > 1 else ""
        found |= {name + suffix: value for name, value in measured.items()}
    return found


def _darker_half(values: np.ndarray) -> float:
    """Mean of the darker half of `values` (n,), which a cell at one side of the border does not change."""
    return float(np.sort(values)[: -(-len(values) // 2)].mean())


def uneven_crops(features: pd.DataFrame) -> pd.DataFrame:
    """Groups, classes and single images that differ in their `crop_features` not only by what they show.

    All is compared on a logarithmic scale, within classes, by medians and median absolute deviations. A group (in all
    classes, or in one) is named where its median is off by one robust standard deviation and a quarter of the value, by
    more than other groups usually are, and its ranks differ from the others' (Mann-Whitney test [1]_). A class as a
    whole is named where its background, fine detail or size are off by three: a network would learn these in place of
    what the images show. A single image is named by its Mahalanobis distance in all features together, whose usual
    values and correlations are those of the most regular half of the images [2]_: a brightness that would be usual by
    itself may not go with the noise. Where more than 5 % of the images are far off, the limit is that for normal values
    (1 in 1000 such tables would hold one), else 1.6 times that. Fewer than 10 images per feature are not judged so.

    Returns
    -------
    DataFrame
        file ("" where it is about a group or class), class and group ("" where it is about all), feature, value (median
        of the group), typical (median of the others; for a single image what its other features let expect), how far
        (robust standard deviations, or the distance); farthest first.

    References
    ----------
    .. [1] Mann HB, Whitney DR (1947) On a test of whether one of two random variables is stochastically larger than the
       other, doi:10.1214/aoms/1177730491
    .. [2] Rousseeuw PJ, Van Driessen K (1999) A fast algorithm for the minimum covariance determinant estimator,
       doi:10.1080/00401706.1999.10485670
    """
    files, table = features.index, features.reset_index(drop=True)
    classes, groups = table.pop("class"), table.pop("group").astype(str)
    table = table.loc[:, table.nunique() > 1].astype(float)
    x = table.apply(_scaled)
    centred = x - x.groupby(classes).transform("median")
    rows = [{"group": name, **row} for name, row in _odd_sets(centred, table, groups, GROUP_SHIFT)]
    technical = [name for name in table if name.startswith(TECHNICAL)]
    rows += [{"class": name, **row} for name, row in _odd_sets(x[technical], table, classes, CLASS_SHIFT)]
    told = {row["group"] for row in rows if "group" in row}
    for name, own in classes.groupby(classes).groups.items():
        found = _odd_sets(centred.loc[own], table.loc[own], groups[own], GROUP_SHIFT)
        rows += [{"class": name, "group": group, **row} for group, row in found if group not in told]
    rest = ~groups.isin({row["group"] for row in rows if "group" in row})
    for i, row in _odd_crops(centred[rest], table[rest]):
        rows.append({"file": files[i], "class": classes[i], "group": groups[i], **row})
    found = pd.DataFrame([{"file": "", "class": "", "group": "", **row} for row in rows], columns=COLUMNS)
    return found.sort_values("how far", ascending=False, key=abs, ignore_index=True)


def _scaled(values: pd.Series) -> pd.Series:
    """Logarithm that allows zeros; values that may be negative are only brought to a common scale."""
    return values / values.std() if values.min() < 0 else np.log(values + _offset(values))


def _offset(values: pd.Series) -> float:
    """Small part of what is usual, so that a value near 0 is not far from 0."""
    return 0.05 * float(values.mean())


def _expected(values: pd.Series, difference: np.ndarray | pd.Series) -> pd.Series:
    """Values that are lower than `values` by `difference` on the scale of `_scaled`."""
    if values.min() < 0:
        return values - difference * values.std()
    return (values + _offset(values)) * np.exp(-difference) - _offset(values)


def _spread(x: np.ndarray) -> np.ndarray:
    """Robust standard deviation of each column of (n, features)."""
    return MAD_TO_SD * np.median(np.abs(x - np.median(x, axis=0)), axis=0)


def _odd_sets(x: pd.DataFrame, table: pd.DataFrame, sets: pd.Series, least: float) -> Iterator[tuple[str, dict]]:
    """Name and row of each set of images (`sets`: name for each image) that differs in a feature; x is `table` scaled.

    `least` is by how many robust standard deviations of the others.
    """
    counts = sets.value_counts()
    judged = sorted(counts.index[(counts >= FEWEST_OF_GROUP) & (len(sets) - counts >= FEWEST_OTHERS)])
    values, members = x.to_numpy(), {name: (sets == name).to_numpy() for name in judged}
    medians = np.array([np.median(values[own], axis=0) for own in members.values()])  # (sets, features)
    for k, (name, own) in enumerate(members.items()):
        others = values[~own]
        shift, spread = medians[k] - np.median(others, axis=0), np.maximum(SAME, _spread(others))
        usual = _spread(np.delete(medians, k, axis=0)) if len(judged) > 3 else 0  # fewer do not tell
        for i in np.flatnonzero(np.abs(shift) >= np.maximum(np.maximum(MATTERS, least * spread), BETWEEN * usual)):
            if mannwhitneyu(values[own, i], others[:, i]).pvalue < P_VALUE / medians.size:
                raw = table[x.columns[i]].to_numpy()
                yield name, _crop_row(x.columns[i], np.median(raw[own]), np.median(raw[~own]), shift[i] / spread[i])


def _crop_row(feature: str, value: float, typical: float, far: float) -> dict:
    return {"feature": feature, "value": float(value), "typical": float(typical), "how far": round(float(far), 1)}


def _odd_crops(centred: pd.DataFrame, table: pd.DataFrame) -> Iterator[tuple[int, dict]]:
    """Index and row of each single image that differs: in what most have alike, or in all features together."""
    varied = [name for name in centred if (centred[name] == 0).mean() < 0.5]
    yield from _rare_values(centred.drop(columns=varied), table)
    n, p = centred[varied].shape
    if p == 0 or n < IMAGES_PER_FEATURE * p:
        return
    x = centred[varied].to_numpy()
    noise = np.random.default_rng(0).normal(0, SAME, x.shape)  # keeps features apart that always go together
    fit = MinCovDet(random_state=0).fit(x + noise)
    distance = np.sqrt(fit.mahalanobis(x))
    limit = (1 + 2 * p / n) * np.sqrt(chi2.isf(P_VALUE / n, p))  # few images: usual values are not known well
    limit *= 1 if (distance > limit).mean() > BATCH else SAFETY
    surprise = (x - fit.location_) @ fit.precision_ / fit.precision_.diagonal()  # off from what the others let expect
    relative = surprise * np.sqrt(fit.precision_.diagonal())
    for i in np.flatnonzero(distance > limit):
        column = np.abs(relative[i]).argmax()
        values = table[varied[column]]
        typical = _expected(values, surprise[:, column]).iloc[i]
        far = np.sign(relative[i, column]) * distance[i]
        yield table.index[i], _crop_row(varied[column], values.iloc[i], typical, far)


def _rare_values(centred: pd.DataFrame, table: pd.DataFrame) -> Iterator[tuple[int, dict]]:
    """Images that differ in features in which most are the same."""
    for feature in centred:
        odd = centred[feature].abs() > MATTERS
        if odd.mean() < RARE:
            typical = _expected(table[feature], centred[feature])
            for i in table.index[odd]:
                yield i, _crop_row(feature, table.loc[i, feature], typical[i], centred.loc[i, feature] / SAME)
