"""Figures of images: pairs of image and mask, augmentation; and how a figure gets onto the page.

Figures are made without pyplot, whose hidden list of figures grows with each one and shows them twice or not at all.
"""

import io
import textwrap
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import zip_longest
from types import SimpleNamespace

import numpy as np
from IPython.display import Image as PageImage
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from mpl_toolkits.axes_grid1.anchored_artists import AnchoredSizeBar

from utils.images.masks import counted, listed, values_of
from utils.pages.colours import NOT_COUNTED, class_colours
from utils.pages.pictures import BRIGHTENED, display_image, display_limits, gamma_of, overlay, seen, thin

WIDTH = 11.0  # inches, a notebook's page at 100 dpi
PANEL_PIXELS = 1024
MOST_LOOKED_AT = 20  # images, to choose colours by
FEW_VALUES = 13  # of a mask, whose steps of grey can be told
NOTE_HEIGHT = 0.25  # inches of a line below a figure
LEGEND_LINES = 1.4  # lines of a note that are as high as one of a legend


def png(figure: Figure, dpi: int = 100) -> bytes:
    """Draw a figure as a PNG file, `dpi` pixels per inch."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=dpi, pil_kwargs={"compress_level": 4})  # 6: twice the time, 5 % smaller
    return file.getvalue()


def as_image(figure: Figure) -> PageImage:
    """Figure as a picture that shows itself as the last value of a cell, or through a display handle.

    ``handle = display(as_image(figure), display_id=True)``, then ``handle.update(as_image(figure))``.
    """
    return PageImage(png(figure), format="png")


def show(figure: Figure) -> None:
    """Show a figure below the cell, with or without ``%matplotlib inline``."""
    display(as_image(figure))


def line_figure(text: str) -> Figure:
    """A figure that is a line of text or two, for where there is nothing to draw."""
    figure = Figure((WIDTH, 0.1 + 0.2 * (text.count("\n") + 1)))
    figure.text(0, 0.5, text, va="center")
    return figure


def picture_grid(n_rows: int, n_columns: int, panel: tuple[float, float]) -> tuple[Figure, np.ndarray]:
    """Make a figure of empty frames of (height, width) inches each; its axes come as an array (n_rows, n_columns)."""
    figure = Figure(figsize=(n_columns * panel[1], n_rows * panel[0] + 0.7), layout="constrained")
    axes = figure.subplots(n_rows, n_columns, squeeze=False)
    for ax in axes.ravel():
        ax.set_axis_off()
    return figure, axes


def add_legend(
    figure: Figure, entries: dict[str, tuple], side: str = "center", title: str = "", columns: int = 4
) -> None:
    """Put a legend of text -> colour (red, green, blue) below the pictures of a figure with constrained layout.

    Parameters
    ----------
    side
        "left", "center" or "right".
    title
        Above the entries.
    columns
        Entries beside each other.
    """
    patches = [Patch(facecolor=colour, edgecolor="0.4", label=text) for text, colour in entries.items()]
    place = f"outside lower {side}"
    figure.legend(handles=patches, loc=place, ncols=columns, frameon=False, fontsize=11, title=title or None)


def note_brightness(figure: Figure, images: Sequence[np.ndarray]) -> None:
    """Say below, once legends are there, where one of the images (Y, X, C) is drawn brighter, see `gamma_of`."""
    if any(gamma_of(one, display_limits(one)) != 1 for one in images):
        write_below(figure, BRIGHTENED)


def write_below(figure: Figure, text: str) -> None:
    """Write a line below pictures and legends of a figure with constrained layout, which grows by that line."""
    height = figure.get_figheight() + NOTE_HEIGHT
    figure.set_figheight(height)
    lines = 0
    for legend in figure.legends:
        legend.set_bbox_to_anchor((0, NOTE_HEIGHT / height, 1, 1 - NOTE_HEIGHT / height))
        rows = -(-len(legend.get_texts()) // legend._ncols)
        lines = max(lines, rows + bool(legend.get_title().get_text()))
    blank = "\n" * round(1 + LEGEND_LINES * lines) if lines else ""  # the layout keeps room for the higher of the two
    figure.supxlabel(blank + text, fontsize=10)


def colours_on(images: Sequence[np.ndarray], classes: Sequence[dict]) -> dict[int, tuple]:
    """Colours of classes, by class id, for a figure of several images (Y, X, C): see `class_colours`."""
    pixels = [seen(one).reshape(-1, 3) for one in images]
    return class_colours(classes, np.concatenate(pixels) if pixels else None)


def class_entries(classes: Sequence[dict], colours: Mapping[int, tuple] | None = None) -> dict[str, tuple]:
    """Name and colour of each class but background, for a legend; `colours` by class id, usually `class_colours`."""
    colours = class_colours(classes) if colours is None else colours
    return {str(one["name"]): colours[one["id"]] for one in classes if one["id"] > 0}


def not_counted_entry(masks: Sequence[np.ndarray]) -> dict[str, tuple]:
    """Text and colour of what does not count, for a legend; empty where everything in `masks` counts."""
    return {} if all(counted(mask).all() for mask in masks) else {"does not count": NOT_COUNTED}


def short_name(name: str, longest: int = 26) -> str:
    """File name of at most `longest` characters: the middle is left out, both ends tell files apart."""
    kept = longest - 1
    return name if len(name) <= longest else f"{name[: kept - kept // 2]}…{name[-(kept // 2) :]}"


def round_length(about: float) -> float:
    """1, 2 or 5 times a power of ten, whichever is nearest to `about` (by their ratio)."""
    exponent = np.floor(np.log10(about))
    lengths = np.outer(10.0 ** np.arange(exponent - 1, exponent + 2), [1, 2, 5]).ravel()
    return float(lengths[np.argmin(np.abs(np.log(lengths / about)))])


def _scale_bar(ax: Axes, n_columns: int, pixel_size_um: float | None) -> None:
    """Bar of a round length, about a fifth of the picture's width, where the pixel size is known."""
    if not pixel_size_um:
        return
    length = round_length(n_columns * pixel_size_um / 5)
    bar = AnchoredSizeBar(
        *(ax.transData, length / pixel_size_um, f"{length:g} µm", "lower right"),
        **{"color": "white", "size_vertical": n_columns / 100, "pad": 0.4, "sep": 4},
    )
    bar.patch.set(facecolor="black", alpha=0.6, edgecolor="none")
    ax.add_artist(bar)


def add_picture(ax: Axes, picture: np.ndarray, title: str, pixel_size_um: float | None = None) -> None:
    """Show an RGB picture (Y, X, 3) in axes whose units are its pixels, with a scale bar where their size is known."""
    ax.imshow(picture, interpolation="nearest" if max(picture.shape) < 300 else "antialiased")
    ax.set_title(title, fontsize=10)
    _scale_bar(ax, picture.shape[1], pixel_size_um)


def thinned_pixel_size(array: np.ndarray, pixel_size_um: float | None) -> float | None:
    """Pixel size of the picture that `thin` makes of an image for a panel; None stays None."""
    return pixel_size_um and pixel_size_um * array.shape[1] / thin(array, PANEL_PIXELS).shape[1]


def image_pairs(examples: Sequence, paint: Callable[[SimpleNamespace], np.ndarray], n: int, seed: int) -> Figure:
    """Randomly drawn images, each above the same image with its annotation painted over.

    Parameters
    ----------
    examples
        With attributes name, image.array (Y, X, C), image.pixel_size_um and mask (Y, X).
    paint
        Example -> its painted picture (Y, X, 3), no side longer than PANEL_PIXELS.
    n, seed
        How many to draw; another seed shows others.
    """
    chosen = np.random.default_rng(seed).permutation(len(examples))[:n]
    per_row = max(1, min(4, len(chosen)))
    rows = list(zip_longest(*[iter(chosen)] * per_row)) or [(None,)]
    width = WIDTH / max(per_row, 2)
    shapes = [examples[one].mask.shape for one in chosen]
    height = 0.3 + width * min(1.3, max((y / x for y, x in shapes), default=1))
    figure, axes = picture_grid(2 * len(rows), per_row, (height, width))
    for i, row in enumerate(rows):
        for image_ax, painted_ax, one in zip(axes[2 * i], axes[2 * i + 1], row, strict=True):
            image_ax.set_anchor("S")
            painted_ax.set_anchor("N")
            if one is not None:
                _add_image(image_ax, examples[one])
                add_picture(painted_ax, paint(examples[one]), "")
    figure.suptitle("Images (above), with their annotation (below)", fontsize=13)
    return figure


def _add_image(ax: Axes, example: SimpleNamespace) -> None:
    array, size = example.image.array, thinned_pixel_size(example.image.array, example.image.pixel_size_um)
    title = f"{short_name(example.name)}\n{array.shape[1]} × {array.shape[0]} pixels, {8 * array.dtype.itemsize}-bit"
    add_picture(ax, display_image(thin(array, PANEL_PIXELS)), title, size)


def show_pairs(examples: Sequence, classes: Sequence[dict], n: int = 4, seed: int = 0) -> Figure:
    """Randomly drawn images, each above the same image with its mask painted over.

    Parameters
    ----------
    examples, n, seed
        As in `image_pairs`; masks hold class ids.
    classes
        Class table as in model.json.
    """
    colours = colours_on([one.image.array for one in examples[:MOST_LOOKED_AT]], classes)

    def paint(one: SimpleNamespace) -> np.ndarray:
        return overlay(one.image.array, one.mask, classes, max_side=PANEL_PIXELS, colours=colours)

    figure = image_pairs(examples, paint, n, seed)
    add_legend(figure, class_entries(classes, colours) | not_counted_entry([one.mask for one in examples]))
    return figure


def augmented_pairs(
    patches: Sequence[np.ndarray],
    ids: Sequence[np.ndarray],
    paint: Callable,
    pixel_size_um: float | None = None,
    originals: Sequence[np.ndarray] | None = None,
) -> Figure:
    """Training patches before and after augmentation, with their annotation painted over; at most six are drawn.

    Parameters
    ----------
    patches
        (before, after), each (N, Y, X, C); those of a column share one contrast, so that a change of intensity shows.
    ids
        (before, after), integers (N, Y, X): class ids or labels.
    paint
        ``paint(patch, ids, limits=limits)`` -> picture (Y, X, 3).
    pixel_size_um
        For the scale bars of the patches before; a zoom may have changed it in those after.
    originals
        Images (Y, X, C) that the patches are from, as read: they lend colours and contrast. None: the patches before.
    """
    originals = patches[0] if originals is None else originals
    n = min(6, len(patches[0]))
    figure, axes = picture_grid(2, max(n, 4), (WIDTH / max(n, 4), WIDTH / max(n, 4)))
    for i in range(n):
        limits = display_limits(originals[i])
        for row, (title, size) in enumerate((("as it is", pixel_size_um), ("augmented", None))):
            add_picture(axes[row, i], paint(patches[row][i], ids[row][i], limits=limits), title, size)
    figure.suptitle("Training patches as they are (above) and as the network may see them (below)", fontsize=13)
    return figure


def show_augmented(
    patches_before: np.ndarray,
    masks_before: np.ndarray,
    patches_after: np.ndarray,
    masks_after: np.ndarray,
    classes: Sequence[dict],
    pixel_size_um: float | None = None,
    originals: Sequence[np.ndarray] | None = None,
) -> Figure:
    """Training patches before and after augmentation, with their masks painted over.

    Parameters
    ----------
    patches_before, patches_after, pixel_size_um, originals
        Patches (N, Y, X, C), as in `augmented_pairs`.
    masks_before, masks_after
        Class ids (N, Y, X).
    classes
        Class table as in model.json.
    """
    pairs = (patches_before, patches_after), (masks_before, masks_after)
    colours = colours_on(patches_before if originals is None else originals, classes)
    figure = augmented_pairs(*pairs, partial(overlay, classes=classes, colours=colours), pixel_size_um, originals)
    add_legend(figure, class_entries(classes, colours) | not_counted_entry(masks_before))
    return figure


def _stored_mask(mask: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Grey picture of a mask (Y, X): few `values` in steps that are seen, however small they are, many as they are."""
    few = len(values) < FEW_VALUES
    grey = np.searchsorted(values, mask) if few else mask
    top = len(values) - 1 + (values[0] > 0) if few else values[-1]
    return display_image(grey + (few and values[0] > 0), np.array([[0.0], [max(1.0, float(top))]]))


def show_masks(
    images: Sequence[tuple[str, np.ndarray]],
    masks: Sequence[np.ndarray],
    readings: Mapping[str, Sequence[np.ndarray]],
    ignored: bool = False,
) -> Figure:
    """Images, their masks as they are stored, and how these are, or may be, understood: a column for each image.

    Parameters
    ----------
    images, masks
        Name and (Y, X, C) of each, at least one, and the values in the mask of each, (Y, X).
    readings
        What the masks may mean, in words -> a picture (Y, X, 3) for each image.
    ignored
        Whether pixels are `greyed` in these.
    """
    width = WIDTH / max(3, len(images))
    height = width * min(1.3, max(mask.shape[0] / mask.shape[1] for mask in masks))
    figure, axes = picture_grid(2 + len(readings), len(images), (height + 0.45, width))
    for ax, (name, array) in zip(axes[0], images, strict=True):
        add_picture(ax, display_image(thin(array, PANEL_PIXELS)), short_name(name))
    for ax, mask in zip(axes[1], masks, strict=True):
        values = values_of(mask)
        some = listed(values.tolist()) if len(values) < 6 else f"{len(values)} values, {values[0]} to {values[-1]}"
        add_picture(ax, _stored_mask(thin(mask, PANEL_PIXELS), values), f"mask as it is stored: {some}")
    for row, (words, pictures) in zip(axes[2:], readings.items(), strict=True):
        for ax, picture in zip(row, pictures, strict=True):
            add_picture(ax, picture, "\n".join(textwrap.wrap(words, 36)))
    if ignored:
        add_legend(figure, {"does not count": NOT_COUNTED})
    return figure
