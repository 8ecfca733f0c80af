"""What only the classification notebook shows and archives."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from utils import models
from utils.augmentation import Augmentation, draw_image
from utils.calibration import expected_calibration_error
from utils.class_evaluation import ClassEvaluation
from utils.class_score_tables import comparison_verdict, interval_caution, per_class_table, totals_table
from utils.classification import describe, image_size
from utils.crop_batches import prepared
from utils.crop_checks import amount_problems, class_counts, shared_groups, size_note
from utils.crop_copies import near_duplicates
from utils.crops import Crop, CropSet
from utils.grad_cam import grad_cam
from utils.held_out import TestSet
from utils.pages import archive, in_groups
from utils.plot_class_scores import calibration_figure, comparison_figure, confusions
from utils.plot_classes import gallery, grad_cam_figure, show_classes, worst_mistakes
from utils.problems import Problem
from utils.projects import Project

PREVIEWS = 8
LOOKED_AT = 8  # images whose Grad-CAM is shown


def overview(project: Project, training: Mapping) -> str:
    """Markdown on what was found and what every image is brought to."""
    sizes = [one.image.array.shape[:2] for one in project.dataset.examples]
    size, how = image_size(project, training), {"pad": "padded or cut", "resize": "resized"}[training["fit"]]
    groups = in_groups(project.split["group"].nunique(), len(sizes))
    return (
        f"**{len(sizes)} images** in {len(project.dataset.classes)} classes{groups}. "
        f"{size_note(sizes)}\n\nEvery image is {how} to **{size[0]} x {size[1]} pixels**."
    )


def counts(project: Project, test: TestSet | None) -> pd.DataFrame:
    """Images of each class in training, validation and test."""
    return class_counts(project.dataset, project.roles, _as_set(project, test))


def problems(project: Project, test: TestSet | None) -> list[Problem]:
    """Everything odd about the images, the amount of each class, and groups that stand on both sides."""
    other = _as_set(project, test)
    shared = [] if other is None else shared_groups(project.dataset, other)
    return [*project.dataset.problems, *amount_problems(project.dataset, project.roles, other), *shared]


def _as_set(project: Project, test: TestSet | None) -> CropSet | None:
    return None if test is None else CropSet(list(test.examples), project.dataset.classes)


def copies(project: Project, test: TestSet | None) -> pd.DataFrame:
    """Near-duplicates, with the role of each image, those across roles first: they make the score too good."""
    roles = dict(zip((one.name for one in project.dataset.crops), project.roles, strict=True))
    tables = [near_duplicates(project.dataset.crops).assign(role_b="")]
    if test is not None:
        tables.append(near_duplicates(project.dataset.crops, test.examples).assign(role_b="test"))
    table = pd.concat(tables, ignore_index=True)
    table.insert(1, "role_a", table["file_a"].map(roles))
    table["role_b"] = table["role_b"].where(table["role_b"] != "", table["file_b"].map(roles))
    across = (table["role_a"] != table["role_b"]).sort_values(ascending=False, kind="stable").index
    return table.loc[across]


def lookalikes(project: Project, test_set: TestSet) -> pd.DataFrame:
    """Pairs of an image that was trained on and a test image, whichever folder it is from, that look like copies."""
    return near_duplicates(project.examples("training") + project.examples("validation"), test_set.examples)


def augmentation_preview(project: Project, training: Mapping, augmentation: Mapping, seed: int = 0) -> Figure:
    """Training images as they are and, below, as the network may see them."""
    description = describe(project, training)
    examples = project.examples("training")
    chosen = np.random.default_rng(seed).choice(len(examples), min(PREVIEWS, len(examples)), replace=False)
    before = [prepared(examples[i].image.array, description) for i in chosen]
    changes = Augmentation(**augmentation)
    after = [draw_image(one, changes, np.random.default_rng((seed, i))) for i, one in enumerate(before)]
    names = [project.dataset.classes[examples[i].class_id]["name"] for i in chosen]
    title = "Training images as they are (above) and as the network may see them (below)"
    return gallery([*before, *after], [*names, *[f"{name}\naugmented" for name in names]], len(before), title)


def example_figure(project: Project) -> Figure:
    """Some training images of each class."""
    return show_classes(project.examples("training"), project.dataset.classes)


def calibration_sentence(evaluation: ClassEvaluation) -> str:
    """How far the probabilities can be believed, in words."""
    error = expected_calibration_error(evaluation.scores.y_true, evaluation.scores.p)
    return (
        f"**Can the probabilities be believed?** They differ from the share that is right by {100 * error:.0f} "
        f"percentage points on average (expected calibration error); a temperature of "
        f"{evaluation.classifier.description['temperature']:.2f}, fitted on validation images, makes them honest."
    )


def verdict_on_forest(evaluation: ClassEvaluation) -> str:
    """Whether the network is worth it, in words; empty where no forest was made."""
    return "" if evaluation.comparison is None else f"**Is it worth it?** {comparison_verdict(evaluation.comparison)}"


def evaluation_figures(evaluation: ClassEvaluation) -> dict[str, Figure]:
    """Caption -> figure: confusions, worst mistakes, calibration, comparison with the forest."""
    figures = confusions(evaluation.scores)
    figures["The worst mistakes"] = worst_mistakes(evaluation.test_set.examples, evaluation.scores)
    figures["Probability and share that is right"] = calibration_figure(evaluation.scores.y_true, evaluation.scores.p)
    if evaluation.forest is not None:
        figures["The network beside a random forest"] = comparison_figure(evaluation.table, evaluation.forest.table)
    return figures


def looked_at(evaluation: ClassEvaluation, names: Sequence[str] = ()) -> Figure:
    """Grad-CAM of chosen test images: what of each speaks for its predicted class.

    Parameters
    ----------
    evaluation
        From `class_evaluation.evaluate`.
    names
        Files; none: the first test image of each class.
    """
    crops = evaluation.test_set.examples
    chosen = [i for i, one in enumerate(crops) if one.name in names] or _first_of_each_class(crops)
    predicted = evaluation.scores.p[chosen].argmax(axis=1)
    images = [evaluation.classifier.prepare(crops[i].image.array) for i in chosen]
    maps = [
        grad_cam(evaluation.classifier.network, image, int(class_id))
        for image, class_id in zip(images, predicted, strict=True)
    ]
    classes = evaluation.classifier.classes
    titles = [
        f"{classes[crops[i].class_id]['name']}\ncalled {classes[class_id]['name']}"
        for i, class_id in zip(chosen, predicted, strict=True)
    ]
    return grad_cam_figure(images, maps, titles)


def _first_of_each_class(crops: Sequence[Crop]) -> list[int]:
    ids = [one.class_id for one in crops]
    return [ids.index(class_id) for class_id in sorted(set(ids))][:LOOKED_AT]


def report(folder: Path, evaluation: ClassEvaluation, warnings: list[str], more: Mapping | None = None) -> Path:
    """Write report.html into the model folder; see `pages.archive`."""
    description, history = models.read_model(folder, "classification"), pd.read_csv(folder / models.HISTORY)
    names = ", ".join(one["name"] for one in description["classes"])
    summary = (
        f"A classifier ({description['network']['network']}) that sorts images into {len(description['classes'])} "
        f"classes ({names}), trained for {len(history)} epochs. {calibration_sentence(evaluation)} "
        f"{verdict_on_forest(evaluation)}"
    ).replace("**", "")
    cautions = [text for text in (interval_caution(evaluation.table),) if text]
    return archive(
        folder,
        evaluation,
        f"Classification model {folder.name}",
        summary,
        {
            "Scores on the test images": totals_table(evaluation.table),
            "Scores of each class": per_class_table(evaluation.table),
        },
        {
            "Test images": show_classes(evaluation.test_set.examples, description["classes"]),
            **evaluation_figures(evaluation),
        },
        [*cautions, *warnings],
        more,
    )
