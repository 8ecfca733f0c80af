"""What only the fine-tuning notebook shows and archives."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from IPython.display import display
from matplotlib.figure import Figure

from utils import models
from utils.comparisons import MUCH_LOWER, Comparison, comparison_table
from utils.fine_tuning import Tuning
from utils.held_out import TestSet
from utils.image_curve import laws_of
from utils.pages import in_groups
from utils.plot_curve import curve_figure, curve_table
from utils.plots import as_image
from utils.power_law import images_needed, sentence
from utils.quality import plane_features
from utils.splits import read_split
from utils.unchanged import Before

DIFFERENT = 2.0  # standard deviations of the old images from which a property counts as different


def source_note(tuning: Tuning) -> str:
    """Markdown on the starting model: what it knows, what it was made from, and what becomes of its last layer."""
    source, task = tuning.source, tuning.task
    names = [str(one["name"]) for one in source.description["classes"] if one["name"] != "background"]
    made = ""
    if source.folder is not None and (source.folder / models.SPLIT).is_file():
        count = int((read_split(source.folder / models.SPLIT)["role"] != "test").sum())
        made = f" It was made from {count} images."
    channels = len(source.description["channels"])
    return (
        f"**The starting model** {source.name} is a {task.noun} for images of {channels} "
        f"channel{'s' if channels > 1 else ''} that knows: {', '.join(names)}.{made} It is never changed.\n\n"
        f"{_head(tuning)}"
    )


def _head(tuning: Tuning) -> str:
    """What happens to the last layer, in words."""
    old, new = ([str(one["name"]) for one in each] for each in (tuning.source.description["classes"], tuning.classes))
    if tuning.source.kept(tuning.classes) is None:
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


def generalisation(tuning: Tuning, before: Before) -> str:
    """Markdown with answers to: other question? other origin? other marker? and the scores before any training."""
    name, on_old, on_new = tuning.task.score_name(tuning.classes), before.on_old, before.on_new
    lines = [
        f"{name} on the **old** test images: **{on_old.value:.2f}** ({before.old.origin})"
        if on_old
        else f"No score on old test images. {before.why_not}",
        f"{name} on the **new** test images, unchanged: **{on_new.value:.2f}** ({tuning.test_set.origin})"
        if on_new
        else "The unchanged model has **no score on the new images**: their classes are others than those it knows.",
    ]
    if on_old and on_new:
        lines.append(_drop(on_old.value - on_new.value))
    same = tuning.task.can_answer(tuning.source.description["classes"], tuning.classes)
    question = "No, the classes are the same." if same else "Yes, the classes differ: only retraining can answer it."
    origin, marker = _differences(tuning, before.old)
    answers = {"Another question?": question, "Another origin?": origin, "Another marker or stain?": marker}
    return "\n\n".join([*lines, *(f"**{question}** {answer}" for question, answer in answers.items())])


def _drop(lost: float) -> str:
    if lost > MUCH_LOWER:
        return f"The model loses {lost:.2f} on the new images: retraining is likely to help."
    return "The model does about as well on the new images: you may not need to retrain it."


def _differences(tuning: Tuning, old: TestSet | None) -> tuple[str, str]:
    """What tells the new images from the old ones: magnification and sharpness (origin), brightness (marker)."""
    sizes = tuning.source.description.get("pixel_size_um"), tuning.description["pixel_size_um"]
    scale = "The pixel size is not known of both."
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


def data_note(tuning: Tuning) -> str:
    """Markdown on the new data: how many images for what, of which classes, and what the models are scored on."""
    project, ids = tuning.project, tuning.task.class_ids(tuning.project)
    roles = {role: int((project.roles == role).sum()) for role in ("training", "validation", "test")}
    counted = ", ".join(str(one["name"]) for one in tuning.classes)
    if ids is not None:
        counted = ", ".join(f"{one['name']} ({ids.count(one['id'])})" for one in tuning.classes)
    warning = "" if tuning.test_set.independent else "\n\n**Warning:** there is no independent test."
    return (
        f"**{len(project.roles)} new images**: {roles['training']} for training, {roles['validation']} for validation, "
        f"{roles['test']} set aside for testing"
        f"{in_groups(project.split['group'].nunique(), len(project.split))}. Classes: {counted}.\n\n"
        f"**Every model is scored on the same {len(tuning.test_set.examples)} images**: {tuning.test_set.origin}."
        f"{warning}"
    )


def curve_drawing(tuning: Tuning, before: Before, target: float) -> Callable[[pd.DataFrame], Figure]:
    """Function that draws the learning curve from the table so far."""
    level = None if before.on_new is None else before.on_new.value
    name, unit = tuning.task.score_name(tuning.classes), tuning.task.unit

    def draw(table: pd.DataFrame) -> Figure:
        return curve_figure(table, laws_of(table), level, name, unit, target)

    return draw


def images_required(tuning: Tuning, table: pd.DataFrame, target: float) -> list[str]:
    """How many images each strategy needs for the score asked for, in words."""
    laws = laws_of(table)
    if not laws:
        return [
            "Fewer than three sizes: too few to say how many images a score needs. Write more into the field sizes."
        ]
    return [
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
