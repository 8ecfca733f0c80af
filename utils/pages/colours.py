"""Colours of classes and objects, told apart by colour-blind readers."""

from collections.abc import Sequence
from itertools import product

import numpy as np
from skimage.color import rgb2lab

# Okabe M, Ito K (2008) Color Universal Design, https://jfly.uni-koeln.de/color: told apart by colour-blind readers.
ORANGE, SKY_BLUE, GREEN, YELLOW, BLUE, VERMILION, PURPLE = (
    tuple(int(code[i : i + 2], 16) / 255 for i in (0, 2, 4))
    for code in ("E69F00", "56B4E9", "009E73", "F0E442", "0072B2", "D55E00", "CC79A7")
)
LIME, CYAN, MAGENTA = (0.49, 0.99, 0.0), (0.0, 1.0, 1.0), (1.0, 0.0, 1.0)
# Yellow and green first: seen on black fluorescence as well as on purple and pink stains.
CLASS_COLOURS = (YELLOW, GREEN, VERMILION, SKY_BLUE, PURPLE, BLUE, ORANGE)
OUTLINE_COLOURS = (LIME, CYAN, VERMILION, MAGENTA, GREEN)  # vivid: `standing_out` leaves out what the image looks like
FEWEST_OUTLINES = 4  # colours that tell neighbouring objects apart
STANDS_OUT = 60  # distance in L*a*b* from which a colour is seen at once
MOSTLY = 10  # % of the pixels that may look more like a colour than it is said to differ
MOST_PIXELS = 4096  # of a picture that colours are compared with
NOT_COUNTED = (0.5, 0.5, 0.5)  # what the masks say is not to count
SWEEPS = 6  # through all objects, to mend what the first left alike
NEIGHBOUR_DISTANCE = 3  # pixels between objects that get colours of their own


def standing_out(picture: np.ndarray) -> tuple[tuple[float, float, float], ...]:
    """Those of `OUTLINE_COLOURS` that are seen on a picture (..., 3) of 0 to 1, the one that differs most first.

    A colour differs from a picture as far as from all but `MOSTLY` of its pixels, by the distance in L*a*b* (CIE 1976).
    At least `FEWEST_OUTLINES` are given.
    """
    far = _differences(picture)
    order = np.argsort(-far, kind="stable")
    n = max(FEWEST_OUTLINES, int((far >= STANDS_OUT).sum()))
    return tuple(OUTLINE_COLOURS[i] for i in order[:n])


def _differences(picture: np.ndarray) -> np.ndarray:
    """How far each of `OUTLINE_COLOURS` differs from a picture, see `standing_out`."""
    pixels = np.asarray(picture, np.float32).reshape(-1, 3)
    pixels = rgb2lab(pixels[:: -(-len(pixels) // MOST_PIXELS)])
    distances = np.linalg.norm(pixels[:, None] - rgb2lab(OUTLINE_COLOURS), axis=-1)
    return np.percentile(distances, MOSTLY, axis=0)


def class_colours(classes: Sequence[dict], picture: np.ndarray | None = None) -> dict[int, tuple[float, float, float]]:
    """Colour of each class, (red, green, blue), 0 to 1 each, by class id.

    Background (id 0) is black here, and left transparent by `overlay`. Past seven classes the colours come again,
    lighter, then darker.

    Parameters
    ----------
    classes
        Class table as in model.json.
    picture
        (..., 3), 0 to 1, that is drawn on: of a single class besides background the colour is one that stands out.
    """
    colours = {0: (0.0, 0.0, 0.0)}
    if picture is not None and [one["id"] for one in classes if one["id"] > 0] == [1]:
        far = _differences(picture)
        seen = far >= STANDS_OUT  # the first of these, so that it is the same for most images of a folder
        return colours | {1: OUTLINE_COLOURS[int(seen.argmax() if seen.any() else far.argmax())]}
    for one in classes:
        if one["id"] > 0:
            turn, i = divmod(one["id"] - 1, len(CLASS_COLOURS))
            weight, target = ((1.0, 0.0), (0.5, 0.5), (0.5, 0.0))[turn % 3]
            colours[one["id"]] = tuple(weight * value + target for value in CLASS_COLOURS[i])
    return colours


def _neighbours(labels: np.ndarray) -> dict[int, list[int]]:
    """Labels at most NEIGHBOUR_DISTANCE pixels away from each label, named the more often the closer they are."""
    near = {}
    for step, (y, x) in product(range(1, NEIGHBOUR_DISTANCE + 1), ((0, 1), (1, 0), (1, 1), (1, -1))):
        shift = y * step, x * step
        ahead = labels[tuple(slice(max(by, 0), min(by, 0) or None) for by in shift)]
        behind = labels[tuple(slice(max(-by, 0), min(-by, 0) or None) for by in shift)]
        apart = (ahead != behind) & (ahead > 0) & (behind > 0)
        pairs = np.unique(ahead[apart].astype(np.int64) << 32 | behind[apart])
        for one, other in zip((pairs >> 32).tolist(), (pairs & 0xFFFFFFFF).tolist(), strict=True):
            near.setdefault(one, []).append(other)
            near.setdefault(other, []).append(one)
    return near


def label_colours(labels: np.ndarray, colours: Sequence[tuple] = OUTLINE_COLOURS) -> np.ndarray:
    """Colour for each object, another one than its neighbours have: float32 (n + 1, 3), 0 to 1, by label.

    `labels` (Y, X) are 0 (background) and 1 .. n without large gaps. Where more neighbours are around than there are
    `colours`, it is the colour that fewest of them have.
    """
    near, n_colours = _neighbours(labels), len(colours)
    chosen = [(label - 1) % n_colours for label in range(int(labels.max(initial=0)) + 1)]
    rank = {label: i for i, label in enumerate(sorted(near, key=lambda one: -len(near[one])))}  # crowded ones first
    for sweep, label in product(range(SWEEPS), rank):
        taken = [chosen[other] for other in near[label] if sweep or rank[other] < rank[label]]
        order = [(chosen[label] + i) % n_colours for i in range(n_colours)]  # each begins elsewhere: all are used
        chosen[label] = min(order, key=taken.count)
    return np.asarray(colours, np.float32)[chosen]
