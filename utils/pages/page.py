"""What the notebooks have in common on the page and in the report."""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pandas as pd
from IPython.display import Markdown, display
from matplotlib.figure import Figure
from matplotlib.image import imread

from utils.errors import with_labels
from utils.groups import named_groups
from utils.images.decoders import open_tiff
from utils.images.pixel_size import pixel_size
from utils.metrics.intervals import UNKNOWN
from utils.pages.figures import add_picture, as_image, line_figure, picture_grid, show, write_below
from utils.pages.pictures import BRIGHTENED, is_brightened

PICTURE_WIDTH = 11  # inches
NOTHING = ("", "-", "–", UNKNOWN)  # cells that say nothing


def live(form, draw: Callable[[], Figure]) -> None:
    """Show the figure that `draw` makes, and make it anew whenever a value of `form` changes."""
    handle = display(as_image(draw()), display_id=True)
    form.on_change(lambda: handle and handle.update(as_image(draw())))


def tidy(table: pd.DataFrame, precision: int = 2):
    """A table as the page shows it: no row numbers, few digits, empty where there is no value; see `worth_showing`.

    Headings are in words and in the signs of units that the names in the files leave out; texts begin at the left.
    """
    shown = worth_showing(table)
    texts = [name for name in shown.columns if not pd.api.types.is_numeric_dtype(shown[name])]
    shown = shown.assign(**{str(name): shown[name].map(_in_words) for name in texts})
    styled = shown.style.format(precision=precision, na_rep="", thousands="\u202f").hide(axis="index")
    left = {name: [{"selector": "th.col_heading", "props": "text-align: left"}] for name in texts}
    styled = styled.set_table_styles(left, overwrite=False)
    return styled.format_index(heading, axis="columns").set_properties(subset=texts, **{"text-align": "left"})


def worth_showing(table: pd.DataFrame) -> pd.DataFrame:
    """Table without columns that say nothing: empty ones, and groups where each is just the name of its image.

    What is true or false becomes yes or no.
    """
    if not len(table):
        return table
    nothing = [name for name in table if table[name].isin(NOTHING).where(table[name].notna(), True).all()]
    if {"file", "group"} <= set(table.columns) and table["file"].map(bool).all():  # else rows are about whole groups
        nothing += [] if named_groups(table["file"].map(str), table["group"].map(str)) else ["group"]
    shown = table.drop(columns=nothing)
    answers = [name for name in shown if pd.api.types.is_bool_dtype(shown[name])]
    return shown.assign(**{name: shown[name].map({True: "yes", False: "no"}) for name in answers})


def _in_words(cell: object) -> object:
    """A cell in which a sentence names fields as the form does."""
    return with_labels(cell) if isinstance(cell, str) and " " in cell else cell


def show_tables(
    tables: Mapping[str, pd.DataFrame], counted: bool = False, most: int | None = None, precision: int = 2
) -> None:
    """Show tables with their captions.

    Parameters
    ----------
    tables
        Caption -> table; an empty one is left out, or with `counted` said to hold nothing.
    counted, most
        Whether the caption tells the number of rows; rows that are shown (None: all).
    precision
        See `tidy`.
    """
    for caption, table in tables.items():
        if counted or len(table):
            count = f": {len(table) or 'none found'}" if counted else ""
            display(Markdown(f"**{caption}{count}**"))
        if len(table):
            display(tidy(table.iloc[:most], precision))


def show_figures(figures: Mapping[str, Figure]) -> None:
    """Show figures with their captions."""
    for caption, figure in figures.items():
        display(Markdown(f"**{caption}**"))
        show(figure)


def heading(name: object) -> str:
    """Name of a column in words: ``foreground_iou`` -> ``foreground IoU``, ``area [um2]`` -> ``area [µm²]``."""
    text = str(name).replace("_", " ")
    for plain, shown in (("um2", "µm²"), ("um", "µm"), ("mm2", "mm²"), ("iou", "IoU"), ("percent", "%")):
        text = re.sub(rf"\b{plain}\b", shown, text)
    return text


def in_groups(split: pd.DataFrame) -> str:
    """Words on groups to end a sentence with, none where nobody defined groups; `split`: table with file and group."""
    return f", in {split['group'].nunique()} groups" if named_groups(split["file"], split["group"]) else ""


def overlays(result_folder: Path, predicted: Iterable[str], n: int = 4, folder: str = "overlays") -> Figure:
    """The first overlay pictures of a prediction, side by side, with a scale bar where the pixel size is known.

    `predicted` are the names of the images: the folder may hold pictures of an earlier prediction, too.
    """
    stems = {Path(name).stem for name in predicted}
    files = [path for path in sorted((result_folder / folder).glob("*.png")) if path.stem in stems][:n]
    if not files:
        return line_figure("There are no pictures, because nothing was found in these images.")
    figure, axes = picture_grid(1, len(files), (PICTURE_WIDTH / len(files), PICTURE_WIDTH / len(files)))
    dark = False
    for axis, path in zip(axes[0], files, strict=True):
        picture = imread(path)
        add_picture(axis, picture, path.stem, _overlay_pixel_size(result_folder, path.stem, picture.shape[1]))
        dark |= is_brightened(picture)
    if dark:
        write_below(figure, BRIGHTENED)
    return figure


def _overlay_pixel_size(result_folder: Path, name: str, n_columns: int) -> float | None:
    """Micrometres per pixel of an overlay, which may be thinned, from the mask or label image that lies beside it."""
    found = (result_folder / kind / f"{name}.tif" for kind in ("masks", "labels"))
    path = next((path for path in found if path.is_file()), None)
    if path is None:
        return None
    with open_tiff(path, mask=True) as (tif, series, _):
        size = pixel_size(tif, series).um
        return size and size * series.keyframe.imagewidth / n_columns
