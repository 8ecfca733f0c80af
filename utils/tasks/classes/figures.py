"""Pictures of many crops: those of each class, the worst mistakes, and where a network looks."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from utils.data.crops import Crop
from utils.errors import how_many
from utils.metrics.classes import ClassScores
from utils.pages.colours import BLUE, VERMILION
from utils.pages.figures import WIDTH, line_figure, picture_grid, round_length, short_name
from utils.pages.pictures import display_image
from utils.pages.score_figures import check_answers

COLUMNS = 8
TEXT_LINE = 0.14  # inches that a line above a picture takes
FILLED = 0.96  # of the side of a picture's cell
BAR_HEIGHT, BAR_MARGIN = 0.035, 0.05  # of a scale bar, in sides of a cell
CROP_COLUMNS = 3
CROP_SIDE = 1.15  # inches of a crop; the rest of its column is text
CROP_PITCH = 1.08  # distance of two rows, in sides of a crop
CROP_TEXT_LINE = 0.14  # height of a line, in sides of a crop
RIGHT, WRONG = ("✓", BLUE), ("✗", VERMILION)  # told apart without colours, too


def bar_length(crops: Sequence[Crop]) -> float | None:
    """Length in micrometres of the scale bars of crops, about a quarter of the usual side; None without pixel size."""
    sides = [max(one.image.array.shape[:2]) * one.image.pixel_size_um for one in crops if one.image.pixel_size_um]
    return round_length(float(np.median(sides)) / 4) if sides else None


def add_bars(ax: Axes, crops: Sequence[Crop], length_um: float | None) -> None:
    """Scale bars in all pictures of some axes, those of `crops` in this order, where the size of a pixel is known."""
    if not length_um:
        return
    for drawn, crop in zip(ax.images, crops, strict=True):
        if crop.image.pixel_size_um:
            left, right, bottom, _ = drawn.get_extent()
            width = (right - left) * length_um / (crop.image.array.shape[1] * crop.image.pixel_size_um)
            corner = right - BAR_MARGIN - width, bottom - BAR_MARGIN - BAR_HEIGHT
            ax.add_patch(Rectangle(corner, width, BAR_HEIGHT, facecolor="white", edgecolor="black", linewidth=0.5))
    ax.figure.supxlabel(f"White bars: {length_um:g} µm", fontsize=10)


def place(ax: Axes, picture: np.ndarray, column: float, row: float, frame: tuple | None = None) -> None:
    """Draw a picture (Y, X, 3), 0 to 1 or uint8, into a unit square, its sides in proportion, small ones enlarged.

    `column` and `row` are the left and upper edge of the square; rows count downwards, and limits and aspect of the
    axes are left to the caller. `frame` is the colour of a frame around the picture.
    """
    height, width = FILLED * np.array(picture.shape[:2]) / max(picture.shape[:2])
    left, top = column + (1 - width) / 2, row + (1 - height) / 2
    ax.imshow(picture, extent=(left, left + width, top + height, top), interpolation="nearest")
    if frame is not None:
        ax.add_patch(Rectangle((left, top), width, height, fill=False, edgecolor=frame, linewidth=2))


def gallery(
    images: Sequence[np.ndarray],
    titles: Sequence[str],
    columns: int = COLUMNS,
    title: str = "",
    frames: Sequence[tuple | None] | None = None,
    limits: Sequence[np.ndarray | None] | None = None,
) -> Figure:
    """Crops (Y, X, C) of any size and dtype in a grid, each with its own contrast and a text above.

    A text has as many lines as wanted, long ones are shortened in their middle; `frames` are colours of frames around
    the crops, None for no frame; `limits` are those of `display_image`. Without any crop the figure is a line of text.
    """
    if not len(images):
        return line_figure(f"{title}{'.' * (title[-1:] not in '.!?')}" if title else "There is nothing to show.")
    frames, limits = ([None] * len(images) if given is None else given for given in (frames, limits))
    n_lines = max((text.count("\n") + 1 for text in titles), default=1)
    rows, cell = max(1, -(-len(images) // columns)), WIDTH / columns
    pitch = 1.08 + n_lines * TEXT_LINE / cell  # height of a row in units of a cell
    figure = Figure(figsize=(WIDTH, rows * pitch * cell + (0.4 if title else 0.1)), layout="constrained")
    ax = figure.subplots()
    ax.set_axis_off()
    for i, (image, text, frame, contrast) in enumerate(zip(images, titles, frames, limits, strict=True)):
        row, column = divmod(i, columns)
        top = row * pitch + pitch - 1.04
        place(ax, display_image(image, contrast), column, top, frame)
        lines = [short_name(line, 150 // columns) for line in text.split("\n")]
        ax.text(column + 0.5, top - 0.02, "\n".join(lines), ha="center", va="bottom", fontsize=8)
    ax.set(xlim=(-0.04, columns + 0.04), ylim=(rows * pitch, 0), aspect="equal")
    figure.suptitle(title, fontsize=12)
    return figure


def show_classes(crops: Sequence[Crop], classes: Sequence[dict], n: int = COLUMNS, seed: int = 0) -> Figure:
    """Randomly drawn crops, a row for each class, of `n` crops where there are as many; another seed shows others."""
    rng, length = np.random.default_rng(seed), bar_length(crops)
    figure, axes = picture_grid(len(classes), 1, (WIDTH / (n + 1), WIDTH))
    for ax, one in zip(axes[:, 0], classes, strict=True):
        members = [crop for crop in crops if crop.class_id == one["id"]]
        drawn = rng.permutation(len(members))[:n]
        for column, i in enumerate(drawn, start=1):
            place(ax, display_image(members[i].image.array), column, 0)
        add_bars(ax, [members[i] for i in drawn], length)
        group = f"\n({one['group']})" if one.get("group") else ""
        text = f"{short_name(str(one['name']), 18)}{group}\n{how_many(len(members), 'image')}"
        ax.text(0.95, 0.5, text, ha="right", va="center", fontsize=9)
        ax.set(xlim=(0, n + 1.04), ylim=(1.03, -0.03), aspect="equal")
    return figure


def worst_mistakes(crops: Sequence[Crop], scores: ClassScores, n: int = 24) -> Figure:
    """Wrongly classified test images, those first of which the model was most sure that they are not what they are.

    `crops` are in the order in which they were scored. Above each of at most `n` crops stand its file, its true class
    and what it was called, with the probability.
    """
    table = scores.per_image.assign(p_true=scores.p[np.arange(len(scores.p)), scores.y_true])
    wrong = table[~table["correct"]].sort_values("p_true", kind="stable")
    texts = [
        f"{file}\n{true}\ncalled {predicted}\nat {100 * probability:.0f} %"
        for file, true, predicted, probability in wrong.head(n)[
            ["file", "true class", "predicted class", "probability"]
        ].itertuples(index=False)
    ]
    count = {0: "No mistake", 1: "The only mistake"}.get(len(wrong), f"{min(n, len(wrong))} of {len(wrong)} mistakes")
    title = f"{count} among {len(table)} test images" + ", the worst first" * (len(wrong) > 1)
    shown = [crops[i] for i in wrong.index[:n]]
    figure = gallery([one.image.array for one in shown], texts, COLUMNS, title)
    if shown:
        add_bars(figure.axes[0], shown, bar_length(shown))
    return figure


def grad_cam_figure(
    images: Sequence[np.ndarray],
    maps: Sequence[np.ndarray],
    titles: Sequence[str],
    limits: Sequence[np.ndarray] | None = None,
) -> Figure:
    """At most COLUMNS images, each above what of it speaks for a class, in colour.

    `images` are (Y, X, C) as the network gets them, but for their values, `maps` (Y, X), 0 to 1, the results of
    `grad_cam`, `titles` such as the class that was explained, `limits` those of `display_image`.
    """
    n = min(COLUMNS, len(images))
    cell = WIDTH / max(n, 4)
    figure, axes = picture_grid(2, max(n, 4), (cell, cell))
    for i in range(n):
        picture = display_image(images[i], None if limits is None else limits[i])
        axes[0, i].imshow(picture, interpolation="nearest")
        axes[0, i].set_title("\n".join(short_name(line, int(14 * cell)) for line in titles[i].split("\n")), fontsize=9)
        axes[1, i].imshow(picture.mean(axis=-1), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        heat = axes[1, i].imshow(maps[i], cmap="inferno", vmin=0, vmax=1, alpha=0.6)
    if n:
        figure.colorbar(heat, ax=axes, shrink=0.6, label="speaks for the class (1: most)")
    return figure


def classes_before_after(
    crops: Sequence[Crop], answers: Mapping[str, np.ndarray], classes: Sequence[dict], n: int = 18
) -> Figure:
    """Test images that at least one model takes for another class, hardest first, with the answer of every model.

    `answers` are the probabilities (n_crops, n_classes) by each model, 0 to 1, in the order of `crops` and of
    `classes`. At most `n` images are shown; the hardest is the one with the lowest probability of its true class,
    averaged over the models. Beside each image: its file, its true class and a line for each model, right or wrong by
    sign and colour. Without any mistake the figure says so. ValueError if there is no model or no image, or the answers
    of one are not one for each image.
    """
    check_answers(len(crops), answers)
    y_true = np.array([crop.class_id for crop in crops], dtype=np.int64)
    p = np.stack([np.asarray(one) for one in answers.values()])  # (n_models, n_crops, n_classes)
    wrong = p.argmax(axis=-1) != y_true
    p_true = p[:, np.arange(len(crops)), y_true].mean(axis=0)
    hardest = np.argsort(p_true, kind="stable")
    hardest = hardest[wrong.any(axis=0)[hardest]]
    counts = (f"{short_name(name, 20)} {each.sum()}" for name, each in zip(answers, wrong, strict=True))
    title = f"Mistakes among {how_many(len(crops), 'test image')}: {', '.join(counts)}"
    if not len(hardest):
        return gallery([], [], title=f"{title}\nNo model takes any of them for another class.")
    figure, ax = _crop_rows(min(n, len(hardest)))
    shown = [crops[one] for one in hardest[:n]]
    for i, one in enumerate(hardest[:n]):
        lines = _answer_lines(crops[one], dict(zip(answers, p[:, one], strict=True)), classes)
        _add_crop(ax, i, crops[one], lines)
    add_bars(ax, shown, bar_length(shown))
    which = f"the {n} hardest of {len(hardest)}" if len(hardest) > n else f"all {len(hardest)}, the hardest first,"
    figure.suptitle(f"{title}\nShown: {which} that at least one model gets wrong", fontsize=12)
    return figure


def _crop_rows(n_crops: int) -> tuple[Figure, Axes]:
    """Figure for crops with text beside them; its axes count in sides of a crop."""
    height = -(-n_crops // CROP_COLUMNS) * CROP_PITCH
    figure = Figure(figsize=(WIDTH, height * CROP_SIDE + 0.6), layout="constrained")
    ax = figure.subplots()
    ax.set_axis_off()
    ax.set(xlim=(0, WIDTH / CROP_SIDE), ylim=(height, 0), aspect="equal")
    return figure, ax


def _add_crop(ax: Axes, i: int, crop: Crop, lines: Sequence[tuple[str, tuple]]) -> None:
    """Put the i-th crop into its place, the lines (text, colour) to its right."""
    row, column = divmod(i, CROP_COLUMNS)
    left, top = column * WIDTH / CROP_SIDE / CROP_COLUMNS, row * CROP_PITCH
    place(ax, display_image(crop.image.array), left, top)
    for number, (text, colour) in enumerate(lines):
        y = top + (number + 0.8) * CROP_TEXT_LINE
        ax.text(left + 1.02, y, text, ha="left", va="center", fontsize=8.5, color=colour)


def _answer_lines(
    crop: Crop, answers: Mapping[str, np.ndarray], classes: Sequence[dict]
) -> list[tuple[str, tuple | str]]:
    """Text and colour of each line beside a crop; `answers` are the probabilities (n_classes,) by model."""
    names = [str(one["name"]) for one in classes]
    lines = [(short_name(crop.name, 32), "0.35"), (f"true class: {short_name(names[crop.class_id], 20)}", "black")]
    for model, p in answers.items():
        called = int(p.argmax())
        sign, colour = RIGHT if called == crop.class_id else WRONG
        answer = f"{short_name(names[called], 13)} {100 * p[called]:.0f} %"
        lines.append((f"{sign} {short_name(model, 12)}: {answer}", colour))
    return lines
