"""What only the fine-tuning notebook shows and archives."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

from utils.data.splits import read_split
from utils.data.uneven import plane_features
from utils.errors import how_many
from utils.fine_tuning.comparison import TUNED, UNCHANGED, Before, Comparison
from utils.fine_tuning.curve import fitting_sizes, laws_of
from utils.fine_tuning.power_law import PowerLaw, images_needed, sentence
from utils.forms.fields import AUTOMATIC
from utils.metrics.intervals import UNKNOWN, Judgement, in_words, paired_difference
from utils.pages.colours import BLUE, GREEN, ORANGE, PURPLE, SKY_BLUE, VERMILION
from utils.pages.figures import WIDTH, as_image
from utils.pages.notes import note
from utils.pages.page import in_groups
from utils.tasks.task import TestSet
from utils.training import model_folder
from utils.training.stages import SCRATCH

if TYPE_CHECKING:
    from utils.fine_tuning.tuning import Tuning
    from utils.forms.form import Form

DIFFERENT = 2.0  # standard deviations of the old images from which a property counts as different
MUCH_LOWER = 0.05  # a loss of score that matters
COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY_BLUE)
MARKERS = "osD^vP"  # strategies differ in more than their colour
APART = 1.035  # factor between strategies along the logarithmic axis: their error bars stay apart
AHEAD = 2.0  # the law is drawn up to so many times the largest number measured


def settle_sizes(tuning: "Tuning", curve: "Form") -> None:
    """Show in the form `curve`, and say, the sizes of the learning curve where it leaves them to the data."""
    sizes, reason = fitting_sizes(tuning)
    listed, each = ", ".join(map(str, sizes)), "" if tuning.task.class_ids(tuning.project) is None else " of each class"
    curve.settle({"sizes": (listed, reason)})
    if curve.sizes == AUTOMATIC:
        note(f"Learning curve: models of {listed} images{each}. {reason}" if sizes else reason)


def source_note(tuning: "Tuning") -> str:
    """Markdown on the starting model: what it knows, what it was made from, and what becomes of its last layer."""
    start, task = tuning.start, tuning.task
    names = [str(one["name"]) for one in start.description["classes"] if one["name"] != "background"]
    made = ""
    if start.folder is not None and (start.folder / model_folder.SPLIT).is_file():
        count = int((read_split(start.folder / model_folder.SPLIT)["role"] != "test").sum())
        made = f" It was made from {how_many(count, 'image')}."
    channels = len(start.description["channels"])
    tried = "" if start.folder is None else model_folder.no_result(start.folder)
    tried = f"\n\n**Warning:** the starting model was {tried[0].lower()}{tried[1:]}" if tried else ""
    return (
        f"**The starting model** {start.name} is a {task.noun} for images of {channels} "
        f"channel{'s' if channels > 1 else ''} that knows: {', '.join(names)}.{made} It is never changed.{tried}\n\n"
        f"{_head(tuning)}"
    )


def _head(tuning: "Tuning") -> str:
    """What happens to the last layer, in words."""
    old, new = ([str(one["name"]) for one in each] for each in (tuning.start.description["classes"], tuning.classes))
    if tuning.start.kept(tuning.classes) is None:
        return (
            f"**Another question:** your data have the classes {', '.join(new)}. The model gets a new last layer for "
            "them, which starts from random weights; everything before it is taken over."
        )
    gone = [name for name in old if name not in new]
    if gone:
        return (
            f"**Warning:** your data have no image of {', '.join(gone)}: the new model will not know "
            f"{'it' if len(gone) == 1 else 'them'} any more. Add images if you need "
            f"{'it' if len(gone) == 1 else 'them'}; everything else is taken over."
        )
    return "Your data ask the same question: the whole model is taken over, its last layer too."


def generalisation(tuning: "Tuning", before: Before) -> str:
    """Markdown with answers to: other question? other origin? other marker? and the scores before any training."""
    name, on_old, on_new = tuning.task.score_name(tuning.classes), before.on_old, before.on_new
    lines = [
        f"{name} on the **old** test images: **{in_words(on_old.value)}** ({before.old.origin})."
        if on_old
        else f"No score on old test images. {before.why_not}",
        f"{name} on the **new** test images, unchanged: **{in_words(on_new.value)}** ({tuning.test_set.origin})."
        if on_new
        else "The unchanged model has **no score on the new images**: their classes are others than those it knows.",
    ]
    if on_old and on_new:
        lines.append(_drop(on_old.value - on_new.value))
    same = tuning.task.can_answer(tuning.start.description["classes"], tuning.classes)
    question = "No, the classes are the same." if same else "Yes, the classes differ: only retraining can answer it."
    origin, marker = _differences(tuning, before.old)
    answers = {"Another question?": question, "Another origin?": origin, "Another marker or stain?": marker}
    return "\n\n".join([*lines, *(f"**{question}** {answer}" for question, answer in answers.items())])


def _drop(lost: float) -> str:
    if np.isnan(lost):
        return "Whether the model does as well on the new images cannot be known: a score is unknown."
    if lost > MUCH_LOWER:
        return f"The model loses {lost:.2f} on the new images: retraining is likely to help."
    return "The model does about as well on the new images: you may not need to retrain it."


def _differences(tuning: "Tuning", old: TestSet | None) -> tuple[str, str]:
    """What tells the new images from the old ones: magnification and sharpness (origin), brightness (marker)."""
    sizes = tuning.start.description.get("pixel_size_um"), tuning.description["pixel_size_um"]
    unknown = [name for name, size in zip(("old", "new"), sizes, strict=True) if size is None]
    scale = (
        f"The files of the {' and the '.join(unknown)} images do not say how large a pixel is, so that the "
        "magnification cannot be compared."
    )
    if None not in sizes:
        same = abs(sizes[0] - sizes[1]) <= 0.05 * sizes[0]
        scale = f"Pixels are {sizes[0]:.3g} µm in the old and {sizes[1]:.3g} µm in the new images" + (
            ": the same." if same else ": another magnification. Rescale the images if objects differ much in size."
        )
    if old is None:
        return scale, "The old images are not here to be compared; look at both yourself."
    features = [_features(one.examples) for one in (old, tuning.test_set)]
    far = (features[1].median() - features[0].median()).abs() / features[0].std().replace(0, np.nan)
    odd = [name for name in far.index if far[name] > DIFFERENT]
    looks = f"They differ most in {', '.join(odd)}." if odd else "Brightness, contrast and sharpness are alike."
    return scale, looks


def _features(examples: Sequence) -> pd.DataFrame:
    """Brightness, contrast and sharpness of each channel of images."""
    rows = []
    for one in examples:
        array = one.image.array
        planes = {f"channel {i + 1}": plane_features(array[..., i].astype(np.float32)) for i in range(array.shape[-1])}
        several = len(planes) > 1
        rows.append(
            {
                f"{feature}, {name}" if several else feature: value
                for name, own in planes.items()
                for feature, value in own.items()
            }
        )
    return pd.DataFrame(rows)


def data_note(tuning: "Tuning") -> str:
    """Markdown on the new data: how many images for what, of which classes, and what the models are scored on."""
    project, ids = tuning.project, tuning.task.class_ids(tuning.project)
    roles = {role: int((project.roles == role).sum()) for role in ("training", "validation", "test")}
    counted = ", ".join(str(one["name"]) for one in tuning.classes)
    if ids is not None:
        counted = ", ".join(f"{one['name']} ({ids.count(one['id'])})" for one in tuning.classes)
    doubt = tuning.test_set.doubt or "there is no independent test."
    warning = "" if tuning.test_set.independent else f"\n\n**Warning:** {doubt}"
    return (
        f"**{len(project.roles)} new images**: {roles['training']} for training, {roles['validation']} for validation, "
        f"{roles['test']} set aside for testing"
        f"{in_groups(project.split)}. Classes: {counted}.\n\n"
        f"**Every model is scored on the same {how_many(len(tuning.test_set.examples), 'image')}**: "
        f"{tuning.test_set.origin}.{warning}"
    )


def curve_drawing(tuning: "Tuning", before: Before, target: float) -> Callable[[pd.DataFrame], Figure]:
    """Function that draws the learning curve from the table so far."""
    level = None if before.on_new is None else before.on_new.value
    name, unit = tuning.task.score_name(tuning.classes), tuning.task.unit

    def draw(table: pd.DataFrame) -> Figure:
        return curve_figure(table, laws_of(table), level, name, unit, target)

    return draw


def images_required(tuning: "Tuning", table: pd.DataFrame, target: float) -> list[str]:
    """How many images each strategy needs for the score asked for, in words."""
    laws, tried = laws_of(table), model_folder.no_result(tuning.project.folder)
    said = [f"**{tried}**"] if tried else []
    if not laws:
        few = "Fewer than three sizes: too few to say how many images a score needs."
        return [*said, f"{few} Write more into the field sizes, or annotate more images."]
    return said + [
        f"**{name.capitalize()}:** {sentence(images_needed(law, target), law, target, tuning.task.unit)}"
        for name, law in laws.items()
    ]


def more_for_report(comparison: Comparison, points: pd.DataFrame | None, draw: Callable) -> dict:
    """Caption -> table or figure that only fine-tuning has, for the report."""
    more = {"The models on the same test images": comparison_table(comparison)}
    if points is not None:
        more["Learning curve: how many images are required?"] = draw(points)
        more["Scores of the learning curve"] = curve_table(points)
    return more


def comparison_table(comparison: Comparison) -> pd.DataFrame:
    """Score of each model on the new and the old test images, and how much the fine-tuned one is better than it."""
    best = comparison.new.get(TUNED)
    rows = []
    for name, judged in comparison.new.items():
        row = {"model": name, "new test images": _value(judged), "95 % interval": _interval(judged)}
        if best is not None and judged is not None and name != TUNED:
            difference, low, high = paired_difference(best, judged)
            row["fine-tuned is better by"] = difference
            row["95 % interval of the difference"] = UNKNOWN if np.isnan(low) else f"{low:+.2f} to {high:+.2f}"
        rows.append(row | {"old test images": _value(comparison.old.get(name))})
    return pd.DataFrame(rows)


def _value(judged: Judgement | None) -> float:
    return np.nan if judged is None else judged.value


def _interval(judged: Judgement | None) -> str:
    if judged is None or np.isnan(judged.headline["low"]):
        return UNKNOWN
    return f"{judged.headline['low']:.2f} to {judged.headline['high']:.2f}"


def comparison_verdict(comparison: Comparison) -> str:
    """Whether fine-tuning was worth it, in words, from the paired differences."""
    best = comparison.new.get(TUNED)
    if best is None:
        return "This model was trained from scratch: there is nothing to compare it with."
    sentences = [
        _worth(best, comparison.new[name], what)
        for name, what in ((UNCHANGED, "the unchanged model"), (SCRATCH, "a model from scratch"))
        if comparison.new.get(name) is not None
    ]
    if comparison.new.get(UNCHANGED) is None:
        sentences.insert(0, "The unchanged model cannot answer the new question, so it has no score here.")
    return " ".join(sentences)


def _worth(best: Judgement, other: Judgement, what: str) -> str:
    difference, low, high = paired_difference(best, other)
    if np.isnan(difference):
        return f"Compared with {what} nothing can be said: the test images hold nothing to find."
    if np.isnan(low):
        return f"Compared with {what} the difference is {difference:+.2f}; there are too few test images to judge that."
    text = f"Compared with {what} the difference is {difference:+.2f} (95 % interval {low:+.2f} to {high:+.2f}):"
    if low > 0:
        return f"{text} fine-tuning is better."
    if high < 0:
        return f"{text} fine-tuning is worse; do not use it here."
    return f"{text} that may be chance."


def forgetting(comparison: Comparison) -> str:
    """How much of the old task the fine-tuned model has forgotten, in words."""
    before, after = comparison.old.get(UNCHANGED), comparison.old.get(TUNED)
    if before is None:
        return f"**Forgetting** cannot be measured. {comparison.why_not_old}"
    if after is None:
        return (
            "**Forgetting** cannot be measured: the fine-tuned model was given other classes. Keep the starting model."
        )
    lost = before.value - after.value
    if np.isnan(lost):
        return "**Forgetting** cannot be measured: the old test images hold nothing to find."
    text = (
        f"**Forgetting:** on the old test images the starting model scores {before.value:.2f}, the fine-tuned one "
        f"{after.value:.2f}."
    )
    if lost > MUCH_LOWER:
        return f"{text} It has forgotten part of what it knew: use the starting model for the old kind of images."
    return f"{text} It still knows the old kind of images."


def live_curve(draw: Callable[[pd.DataFrame], Figure]) -> Callable[[pd.DataFrame], None]:
    """Show the curve and draw it anew whenever it is called with the table so far."""
    handle = []

    def update(table: pd.DataFrame) -> None:
        picture = as_image(draw(table))
        if not handle:
            handle.append(display(picture, display_id=True))
        elif handle[0]:
            handle[0].update(picture)

    return update


def curve_table(table: pd.DataFrame) -> pd.DataFrame:
    """Mean and spread of the scores at each size, and what fine-tuning gains over training from scratch.

    Parameters
    ----------
    table
        One row per trained model: strategy, size, repeat, score.

    Returns
    -------
    DataFrame
        One row per size, ascending: size; for each strategy, in order of appearance, "<strategy>: mean", "<strategy>:
        sd" (NaN for a single model) and "<strategy>: models" (those that have a score); "<strategy> minus from
        scratch" (difference of the means) where there are both.
    """
    scores = table.assign(size=table["size"].astype(int)).groupby(["strategy", "size"], sort=False)["score"]
    summary = scores.agg(["mean", "std", "count"]).unstack("strategy").sort_index()
    strategies, rows = table["strategy"].unique(), {"size": summary.index.to_numpy()}
    for one in strategies:
        rows[f"{one}: mean"] = summary["mean", one].to_numpy()
        rows[f"{one}: sd"] = summary["std", one].to_numpy()
        rows[f"{one}: models"] = summary["count", one].fillna(0).to_numpy(int)
    for one in strategies:
        if SCRATCH in strategies and one != SCRATCH:
            rows[f"{one} minus {SCRATCH}"] = rows[f"{one}: mean"] - rows[f"{SCRATCH}: mean"]
    return pd.DataFrame(rows)


def curve_figure(
    table: pd.DataFrame,
    laws: Mapping[str, PowerLaw | None],
    unchanged: float | None,
    score_name: str,
    unit: str,
    target: float | None = None,
) -> Figure:
    """Learning curve: score on the test images by number of labelled images, with the fitted laws.

    Laws are dashed and, beyond the largest size measured, dotted on grey ground. `table`, which may be empty, has a row
    per trained model: strategy, size, repeat, score (0 to 1); `unchanged` is the score of the starting model as it is,
    where it has one, `unit` what is counted, in the plural ("labelled images of each class"), `target` a score asked
    for.
    """
    figure = Figure(figsize=(WIDTH, 5.6), layout="constrained")
    ax = figure.subplots()
    summary, strategies = curve_table(table), list(table["strategy"].unique())
    for i, one in enumerate(strategies):
        look = {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)]}
        aside = APART ** (i - (len(strategies) - 1) / 2)
        rows = table[table["strategy"] == one]
        dots = {"s": 22, "alpha": 0.4, "linewidths": 0, "zorder": 2}  # right of the error bars, which would hide them
        ax.scatter(rows["size"] * aside * np.sqrt(APART), rows["score"], **dots, **look)
        _draw_means(ax, summary["size"] * aside, summary, one, look)
        if laws.get(one) is not None:
            _draw_law(ax, laws[one], look["color"])
    _draw_levels(ax, unchanged, target)
    _set_axes(ax, summary["size"].to_numpy(), score_name, unit)
    handles = ax.get_legend_handles_labels()[0] + _explanations([law for law in laws.values() if law])
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=10)
    return figure


def _draw_means(ax: Axes, x: pd.Series, summary: pd.DataFrame, strategy: str, look: dict) -> None:
    """Mean of the models of each size, joined by a line, with their standard deviation."""
    mean, sd, models = (summary[f"{strategy}: {column}"] for column in ("mean", "sd", "models"))
    some = models > 0
    label = f"{strategy}: mean ± standard deviation" if models.max() > 1 else f"{strategy}: one model of each size"
    style = {"markersize": 8, "linewidth": 1.2, "capsize": 4, "zorder": 4}
    ax.errorbar(x[some], mean[some], yerr=sd[some].fillna(0), label=label, **look, **style)


def _draw_law(ax: Axes, law: PowerLaw, colour: tuple) -> None:
    """Fitted law, dashed where it was measured and dotted beyond, and its interval."""
    measured = np.geomspace(law.smallest, law.largest, 100)
    beyond = np.geomspace(law.largest, AHEAD * law.largest, 50)
    for n, dashes, alpha in ((measured, "--", 0.15), (beyond, ":", 0.1)):
        ax.plot(n, law.score(n), dashes, color=colour, linewidth=1.8, zorder=3)
        ax.fill_between(n, *law.interval(n), color=colour, alpha=alpha, linewidth=0, zorder=1)


def _draw_levels(ax: Axes, unchanged: float | None, target: float | None) -> None:
    """Horizontal lines: the model as it was, and the score asked for."""
    if unchanged is not None and np.isfinite(unchanged):
        ax.axhline(unchanged, color="black", linewidth=2, label=f"model unchanged: {unchanged:.2f}", zorder=2.5)
    if target is not None:
        ax.axhline(target, color="0.35", linewidth=1, linestyle="-.", label=f"score asked for: {target:g}", zorder=2.5)


def _set_axes(ax: Axes, sizes: np.ndarray, score_name: str, unit: str) -> None:
    """Logarithmic axis with the sizes written below it, grey ground beyond the largest; the score is at most 1."""
    name = score_name[:1].upper() + score_name[1:]
    ax.set(xscale="log", xlabel=unit, ylabel=f"{name} on the test images", title="How many labelled images are needed?")
    if len(sizes):
        farthest = AHEAD * sizes[-1]
        ax.set_xlim(sizes[0] / 1.15, farthest * 1.02)
        ax.axvspan(sizes[-1] * APART**2, farthest * 1.02, color="0.93", zorder=0)
        ax.text(1, 1.01, "beyond what was measured", transform=ax.transAxes, ha="right", va="bottom", color="0.35")
        ax.xaxis.set_major_locator(FixedLocator([*sizes, farthest]))
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.grid(alpha=0.3)
    low, high = ax.get_ylim()
    ax.set_ylim(max(low, -0.02), min(high, 1.02))


def _explanations(laws: Sequence[PowerLaw]) -> list[Line2D]:
    """Legend entries of what all strategies share."""
    entries = [Line2D([], [], color="0.5", linestyle="", marker="o", markersize=5, label="one trained model")]
    if laws:
        band = ", 95 % interval shaded" if any(np.isfinite(law.draws).all() for law in laws) else ""
        entries.append(Line2D([], [], color="0.4", linestyle="--", linewidth=1.8, label=f"fitted power law{band}"))
    return entries
