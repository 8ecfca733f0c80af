"""What the "Methods" of a paper say of a U-Net."""

from collections.abc import Mapping

from utils.errors import how_many
from utils.images.masks import LARGEST_SPECK
from utils.tasks.bibliography import cited
from utils.tasks.methods import Run, Words

WEIGHTED = ", in which each class was weighted by the inverse square root of its share of the training pixels"
IOU = (
    "It is the area marked by both annotation and model divided by that marked by any of them, averaged over the "
    "images in which there is any."
)
DICE = (
    "It is twice the number of pixels to which both annotation and model gave a class, divided by the sum of those to "
    "which each of them gave it, over all test images together, averaged over the classes but the background."
)


class PixelMethods:
    """How the methods of a U-Net are told: a part of `utils.tasks.pixels.task.UNet`."""

    def methods(self, run: Run) -> Words:
        """See `Task`."""
        network, names = run.description["network"], [str(one["name"]) for one in run.description["classes"]]
        height, width = run.description["input"]["patch"]
        fraction = run.training.get("min_fraction")
        drawn = f", each with at least {100 * fraction:g} % of one foreground where possible" if fraction else ""
        if run.description.get("balanced"):
            drawn = ", around pixels of all classes in turn"
        half = ", at half the resolution of the image up to its last level" * bool(network.get("half_resolution"))
        used = {"ronneberger2015", "vanderwalt2014"} | ({"milletari2016"} if "Dice" in self._loss(run) else set())
        return Words(
            f"A U-Net ({cited('ronneberger2015')}) with batch normalisation, {network['pooling_steps']} pooling steps "
            f"and {network['filters']} filters at its first level, twice as many at each further one{half}, gave each "
            f"pixel probabilities of {len(names)} classes",
            f"patches of {height} x {width} pixels (height x width){drawn}",
            self._loss(run),
            self._decision(run, names),
            IOU if len(names) == 2 else DICE,
            tuple(sorted(used)),
        )

    def _loss(self, run: Run) -> str:
        name = run.training.get("loss", "")
        parts = [f"cross-entropy{WEIGHTED * ('weighted' in name)}"] * ("entropy" in name)
        parts += [f"the soft Dice loss ({cited('milletari2016')})"] * ("Dice" in name)
        return f"as loss {', plus '.join(parts)}" if parts else ""

    def _decision(self, run: Run, names: list[str]) -> str:
        if len(names) > 2:
            return f"Each pixel was given its most probable class{_shares(run)}."
        chosen = run.description.get("threshold_images")
        helped = f" and {chosen - run.images('validation')} of the training images" if chosen else ""
        return (
            f"A pixel was called {names[1]} where its probability was above {run.description['threshold']:.3g}, the "
            f"threshold with the best mean intersection over union on the "
            f"{how_many(run.images('validation'), 'validation image')}{helped}. {_specks(run.description)}".strip()
        )


def _shares(run: Run) -> str:
    """How the classes were brought to the shares of the annotation; models of earlier versions were not."""
    chosen = run.description.get("share_images")
    if not chosen:
        return ""
    return (
        ", after a constant had been added to the score of each class by which all classes cover the same shares of "
        f"the {how_many(run.images('validation'), 'validation image')} and {chosen - run.images('validation')} of the "
        "training images as they do in the annotation"
    )


def _specks(description: Mapping) -> str:
    """What is done to the mask after the threshold; models of earlier versions do nothing."""
    smallest = description.get("smallest_part", 1)
    if smallest <= 1:
        return ""
    return (
        f"Connected parts of fewer than {smallest} pixels were left out, which is half of the smallest annotated part "
        f"in these images, {LARGEST_SPECK} at most."
    )
