"""What only the U-Net notebook shows and archives: previews, tables and pictures of the evaluation."""

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.figure import Figure

from utils.data.examples import Example
from utils.data.problems import Problem
from utils.data.project import Project, describe_images
from utils.data.uneven import class_shares
from utils.errors import how_many
from utils.images.masks import counted
from utils.metrics.pixels import readable_pixel_scores
from utils.pages.figures import show_augmented, show_pairs
from utils.pages.score_figures import confusion_figure
from utils.patching.batches import PREVIEWS, drawn_before_and_after, sources
from utils.tasks.opponents import COMPARED, shown_methods, worth_it
from utils.tasks.pixels.figures import error_map, pixels_before_after, share_agreement
from utils.tasks.task import Evaluation, TestSet


class PixelPage:
    """What a U-Net shows: a part of `utils.tasks.pixels.task.UNet`."""

    show_examples = staticmethod(show_pairs)

    def counts(self, project: Project, test_set: TestSet | None = None) -> pd.DataFrame:
        """See `Task`: share of the area of each class."""
        table = class_shares(project.dataset, project.roles)
        return table.assign(share=100 * table["share"]).rename(columns={"share": "share [% of area]"})

    def show_data(self, project: Project) -> Figure:
        """See `Task`."""
        return self.show_examples(self.shown(project), project.dataset.classes)

    def shown(self, project: Project) -> Sequence[Example]:
        """Training images from which those that a person sees are taken."""
        return project.examples("training")

    def problems(self, project: Project, training: Mapping) -> list[Problem]:
        """See `Masks`."""
        return project.dataset.problems

    def augmentation_preview(self, project: Project, training: Mapping, augmentation: Mapping, seed: int = 0) -> Figure:
        """See `Task`; training patches."""
        patch, normalisation = self.patch_size(project, training), self.normalisation(project, training)
        chosen = sources(self.shown(project)[:PREVIEWS], normalisation)
        drawn = drawn_before_and_after(chosen, patch, training.get("min_fraction", 0), augmentation, seed)
        size, images = describe_images(project)["pixel_size_um"], [one.image for one in chosen]
        return show_augmented(*drawn, project.dataset.classes, size, images)

    def score_tables(self, evaluation: Evaluation) -> dict[str, pd.DataFrame]:
        """See `Task`."""
        return {
            "Scores on the test images": readable_pixel_scores(evaluation.table),
            COMPARED: shown_methods(evaluation.classical),
            "Scores of each test image": _per_image(evaluation),
        }

    def remarks(self, evaluation: Evaluation) -> list[str]:
        """See `Task`: whether the network is worth it."""
        return worth_it(evaluation.classical)

    def evaluation_figures(self, evaluation: Evaluation) -> dict[str, Figure]:
        """See `Task`: the worst images, predicted against true shares, the confusion matrix."""
        figures, classes = {}, evaluation.predictor.classes
        for one in self.worst(evaluation):
            predicted = evaluation.predictor.class_ids(one.image.array)
            figures[f"Errors in {one.name}"] = error_map(
                one.image.array, one.mask, predicted, classes, one.image.pixel_size_um
            )
        names = [one["name"] for one in classes]
        whole = all(counted(one.mask).all() for one in evaluation.test_set.examples)
        figures["Share of the area, true and predicted"] = share_agreement(evaluation.scores.per_image, classes, whole)
        figures["Which class is taken for which"] = confusion_figure(evaluation.scores.confusion, names)
        return figures

    def show_errors(self, predictors: Mapping, test_set: TestSet, classes: Sequence[dict]) -> dict[str, Figure]:
        """See `NetworkTask`."""
        found = {
            name: [model.class_ids(one.image.array) for one in test_set.examples] for name, model in predictors.items()
        }
        return {"The same test images, segmented by each model": pixels_before_after(test_set.examples, found, classes)}

    def summary(self, description: Mapping, number_of_epochs: int) -> str:
        """See `Task`."""
        names = ", ".join(one["name"] for one in description["classes"])
        rule = _rule(description) if len(description["classes"]) == 2 else "Each pixel gets its most probable class."
        return (
            f"A U-Net that sorts each pixel into {len(description['classes'])} classes ({names}), trained for "
            f"{how_many(number_of_epochs, 'epoch')}. {rule}"
        )


def _rule(description: Mapping) -> str:
    """How a model of two classes decides."""
    name, smallest = description["classes"][1]["name"], description.get("smallest_part", 1)
    said = (
        f"A pixel counts as {name} where the model gives it a probability above {description['threshold']:.2f}, a "
        "threshold chosen on validation images."
    )
    if smallest == 1:
        return said
    return (
        f"{said} Parts of fewer than {smallest} pixels are left out: the smallest that you marked have at least about "
        "twice as many."
    )


def _per_image(evaluation: Evaluation) -> pd.DataFrame:
    """Scores of each test image, short enough for the page: without background, shares in percent."""
    table, names = evaluation.scores.per_image, [one["name"] for one in evaluation.predictor.classes[1:]]
    shown = table[["file", "foreground_iou"]].rename(columns={"foreground_iou": "foreground IoU"})
    for name in names:
        if len(names) > 1:  # of one class it follows from the IoU
            shown[f"Dice {name}"] = table[f"dice_{name}"]
        shown[f"{name}, true [%]"] = 100 * table[f"true_share_{name}"]
        shown[f"{name}, predicted [%]"] = 100 * table[f"predicted_share_{name}"]
    return shown
