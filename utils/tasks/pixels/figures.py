"""Figures of pixels: error maps, shares of area, the same images by several models."""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from utils.images.masks import counted
from utils.metrics.confusion import confusion_matrix
from utils.pages.colours import CLASS_COLOURS, NOT_COUNTED, SKY_BLUE, VERMILION, class_colours
from utils.pages.figures import (
    PANEL_PIXELS,
    WIDTH,
    add_legend,
    add_picture,
    class_entries,
    not_counted_entry,
    note_brightness,
    picture_grid,
    short_name,
    thinned_pixel_size,
)
from utils.pages.pictures import overlay, result_image, thin
from utils.pages.score_figures import LEGEND_LINE, agreement, before_after_rows, check_answers, lowest, score_text

PIXELS_NOTE = "Mean IoU: of the classes other than background; 1 is perfect, 0 none"
MOST_MISTAKES_NAMED = 5


def pixels_before_after(
    examples: Sequence[SimpleNamespace],
    predictions: Mapping[str, Sequence[np.ndarray]],
    classes: Sequence[dict],
    n: int = 3,
) -> Figure:
    """Images with the lowest scores, each in a row: as it is, annotated, and right and wrong pixels of every model.

    `examples` have the attributes name, image.array (Y, X, C), image.pixel_size_um and mask (Y, X) of class ids;
    `predictions` holds the class ids (Y, X) by each model in their order; background (id 0) comes first in `classes`.
    At most `n` images are shown, ranked by the mean over the models of their mean IoU of the classes other than
    background (see `utils.metrics.pixels.mean_iou`), which stands above each panel. A colour means the same in all
    panels. ValueError if there is no model or no image, or the answers of one are not one for each image, or of another
    size.
    """
    from utils.metrics.pixels import mean_iou  # imports keras, which the page of another task does without

    check_answers(len(examples), predictions)
    pairs = {name: list(zip(examples, answers, strict=True)) for name, answers in predictions.items()}
    confusions = [[confusion_matrix(one.mask, ids, len(classes)) for one, ids in each] for each in pairs.values()]
    scores = mean_iou(np.array(confusions))  # (n_models, n_images)
    chosen = lowest(scores, n)

    def annotated(one: SimpleNamespace) -> np.ndarray:
        return overlay(one.image.array, one.mask, classes, max_side=PANEL_PIXELS, brighten=True)

    figure, axes = before_after_rows([examples[i] for i in chosen], len(examples), predictions, annotated, PIXELS_NOTE)
    painted, mistakes = _paint_mistakes([pairs[name][i] for i in chosen for name in pairs], classes)
    values = [score_text("mean IoU", score) for score in scores[:, chosen].T.ravel()]
    for ax, picture, value in zip(axes[:, 2:].ravel(), painted, values, strict=True):
        add_picture(ax, picture, f"{ax.get_title()}\n{value}")
    if len(classes) > 2:
        figure.set_figheight(figure.get_figheight() + LEGEND_LINE * max(0, len(classes) - 4))
        add_legend(figure, class_entries(_shortened(classes)), "left", "Classes", columns=1)
        add_legend(figure, mistakes, "right", "Mistakes (share of all pixels shown)", columns=2)
    else:
        add_legend(figure, mistakes)
    note_brightness(figure, [examples[i].image.array for i in chosen])
    return figure


def _shortened(classes: Sequence[dict]) -> list[dict]:
    """Class table with names of which a legend takes two beside each other."""
    return [one | {"name": short_name(str(one["name"]), 14)} for one in classes]


def _paint_mistakes(
    panels: Sequence[tuple[SimpleNamespace, np.ndarray]], classes: Sequence[dict]
) -> tuple[list[np.ndarray], dict[str, tuple]]:
    """Right and wrong pixels of (example, class ids): a picture (Y, X, 3) for each, and the legend of all."""
    pictures = [result_image(thin(one.image.array, PANEL_PIXELS)) for one, _ in panels]
    pixels = np.concatenate([picture.reshape(-1, 3) for picture in pictures])
    y_true = np.concatenate([thin(one.mask, PANEL_PIXELS).ravel() for one, _ in panels])
    y_pred = np.concatenate([thin(ids, PANEL_PIXELS).ravel() for _, ids in panels])
    if len(classes) == 2:
        legend = paint_binary_errors(pixels, y_true > 0, y_pred > 0, counted(y_true))
    else:
        legend = paint_class_errors(pixels, y_true, y_pred, [one["name"] for one in _shortened(classes)])
    parts = np.split(pixels, np.cumsum([picture[..., 0].size for picture in pictures])[:-1])
    return [part.reshape(picture.shape) for part, picture in zip(parts, pictures, strict=True)], legend


def paint_binary_errors(
    picture: np.ndarray, y_true: np.ndarray, y_pred: np.ndarray, known: np.ndarray | None = None
) -> dict[str, tuple]:
    """Paint right and wrong foreground over `picture`, float32 (..., 3), 0 to 1, in place; returns the legend.

    Annotated and predicted foreground are bool (...), and so is `known`, what counts (None: all).
    """
    known = np.ones_like(y_true) if known is None else known
    kinds = {
        "found, rightly": ((0.85, 0.85, 0.85), y_true & y_pred),
        "found, but not annotated (false positive)": (VERMILION, known & ~y_true & y_pred),
        "annotated, but missed (false negative)": (SKY_BLUE, y_true & ~y_pred),
    }
    if not known.all():
        kinds["does not count"] = (NOT_COUNTED, ~known)
    picture[...] = 0
    for colour, where in kinds.values():
        picture[where] = colour
    return {text: colour for text, (colour, _) in kinds.items()}


def paint_class_errors(
    picture: np.ndarray, y_true: np.ndarray, y_pred: np.ndarray, names: Sequence[str]
) -> dict[str, tuple]:
    """Dim a picture and paint each frequent kind of mistake into it in a colour of its own, the rest in white.

    `picture`, float32 (..., 3), 0 to 1, is painted over in place; pixels of several pictures may be given in one list,
    so that all get the same colours. Class ids are (...), `names` those of the classes by id. Returns the legend, with
    the percentage of all pixels that count; the most frequent mistake comes first.
    """
    mistakes = confusion_matrix(y_true, y_pred, len(names))
    np.fill_diagonal(mistakes, 0)
    order = np.argsort(-mistakes, axis=None, kind="stable")[: np.count_nonzero(mistakes)]
    grey = picture.mean(axis=-1, keepdims=True)
    picture[...] = 0.15 + 0.35 * grey  # dim, so that the mistakes stand out
    legend = {}
    for rank, cell in enumerate(order):
        true, predicted = divmod(int(cell), len(names))
        named = rank < MOST_MISTAKES_NAMED
        colour = CLASS_COLOURS[(rank + len(names) - 1) % len(CLASS_COLOURS)] if named else (1.0, 1.0, 1.0)
        picture[(y_true == true) & (y_pred == predicted)] = colour
        share = 100 * mistakes[true, predicted] / np.count_nonzero(counted(y_true))
        legend[f"{names[true]} called {names[predicted]} ({share:.1f} %)" if named else "other mistakes"] = colour
    return legend or {"no mistakes": (0.5, 0.5, 0.5)}


def error_map(
    image: np.ndarray,
    y_true: np.ndarray,
    y_pred: np.ndarray,
    classes: Sequence[dict],
    pixel_size_um: float | None = None,
    name: str = "",
) -> Figure:
    """One image (Y, X, C) four times: as it is, annotated, predicted (class ids (Y, X)), and where the two differ.

    For two classes false positives and false negatives have a colour each; for more, each of the most frequent kinds of
    mistake has one, with the percentage of the annotated area. `classes` is the class table as in model.json, `name`
    the title.
    """
    size = thinned_pixel_size(image, pixel_size_um)
    image, y_true, y_pred = (thin(array, PANEL_PIXELS) for array in (image, y_true, y_pred))
    height = WIDTH / 4 * min(1.3, image.shape[0] / image.shape[1])
    figure, axes = picture_grid(1, 4, (height + (0.3 if len(classes) == 2 else 1.3), WIDTH / 4))
    errors = result_image(image)
    add_picture(axes[0, 0], errors.copy(), "image", size)
    if len(classes) == 2:
        add_legend(figure, paint_binary_errors(errors, y_true > 0, y_pred > 0, counted(y_true)))
    else:
        mistakes = paint_class_errors(errors, y_true, y_pred, [str(one["name"]) for one in classes])
        add_legend(figure, class_entries(classes) | not_counted_entry([y_true]), "left", "Classes", columns=2)
        add_legend(figure, mistakes, "right", f"Mistakes (share of {_whole(counted(y_true).all())})", columns=2)
    add_picture(axes[0, 1], overlay(image, y_true, classes, brighten=True), "annotation (truth)")
    add_picture(axes[0, 2], overlay(image, y_pred, classes, brighten=True), "prediction of the model")
    add_picture(axes[0, 3], errors, "right and wrong")
    figure.suptitle(name, fontsize=11)
    note_brightness(figure, [image])
    return figure


def _whole(whole: bool) -> str:
    """What shares are of, in words."""
    return "the image" if whole else "what was annotated"


def share_agreement(per_image: pd.DataFrame, classes: Sequence[dict], whole: bool = True) -> Figure:
    """True against predicted share of the area, one panel per class, one point per image.

    `per_image` has the columns true_share_<class> and predicted_share_<class>, 0 to 1, as in PixelScores. Background is
    the rest of the area and gets no panel. `whole`: all of each image is annotated.
    """
    shown = [one for one in classes if one["id"] > 0]
    n_columns = min(4, len(shown))
    n_rows = -(-len(shown) // n_columns)
    figure = Figure(figsize=(min(WIDTH, 4.6 * n_columns), 4 * n_rows), layout="constrained")
    axes = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    colours = class_colours(classes)
    for ax, one in zip(axes, shown, strict=False):
        true, predicted = (100 * per_image[f"{kind}_share_{one['name']}"] for kind in ("true", "predicted"))
        agreement(ax, true, predicted, colours[one["id"]], f"area (% of {_whole(whole)})")
        error = np.abs(true - predicted).mean()
        ax.set_title(f"{one['name']}: off by {error:.1f} percentage\npoints on average", fontsize=11)
    for ax in axes[len(shown) :]:
        ax.set_axis_off()
    return figure
