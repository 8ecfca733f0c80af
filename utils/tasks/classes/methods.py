"""What the "Methods" of a paper say of a classifier."""

from collections.abc import Mapping

from utils.tasks.bibliography import cited
from utils.tasks.classes.forest import share_of
from utils.tasks.methods import Run, Words
from utils.training.networks import SMALL

BACKBONES = {"MobileNetV2": "sandler2018", "EfficientNetB0": "tan2019", "ResNet50": "he2016"}
WEIGHTS = {
    "balanced": ", in which each class counted alike",
    "square root": ", in which each class was weighted by the inverse square root of its number of images",
}


class ClassMethods:
    """How the methods of a classifier are told: a part of `utils.tasks.classes.task.Classification`."""

    def methods(self, run: Run) -> Words:
        """See `Task`."""
        network = run.description["network"]
        height, width = run.description["input"]["size"]
        brought = "stretched" if run.description["input"]["fit"] == "resize" else "padded or cut"
        used = {"vanderwalt2014"} | ({"guo2017"} if _temperature(run) else set())
        used |= set() if network["network"] == SMALL else {BACKBONES[network["network"]], "deng2009"}
        used |= {"geurts2006", "pedregosa2011"} if "decides" in run.description else set()
        return Words(
            f"{_network(network)} gave each image probabilities of {network['classes']} classes",
            f"images, {brought} to {height} x {width} pixels (height x width)",
            f"as loss cross-entropy{WEIGHTS.get(run.training.get('class_weights'), '')}",
            " ".join(filter(None, [_temperature(run), _decides(run.description)])),
            f"It is the mean over the {network['classes']} classes of the share of test images of a class that were "
            "given "
            "that class.",
            tuple(sorted(used)),
        )


def _network(network: Mapping) -> str:
    if network["network"] != SMALL:
        return (
            f"The network {network['network']} ({cited(BACKBONES[network['network']])}) with dropout of 0.3 at its end"
        )
    half = " after a first convolution that halved the image" * bool(network.get("half_resolution"))
    return (
        f"A convolutional network of {network['levels']} levels of two convolutions with batch normalisation "
        f"each{half}, "
        f"with {network['filters']} filters at the first level, twice as many and half the size at each further one, "
        "and "
        "with averaging over the image and dropout of 0.3 at its end"
    )


def _temperature(run: Run) -> str:
    temperature, calibration = run.description.get("temperature", 1), run.description.get("calibration", {})
    if not calibration.get("fitted", temperature != 1):
        return ""
    validation = calibration.get("validation_images", run.images("validation"))
    return (
        f"Its probabilities were calibrated by a temperature of {temperature:.3g} ({cited('guo2017')}), fitted on the "
        f"{validation} validation images."
    )


def _decides(description: Mapping) -> str:
    if "decides" not in description:
        return "An image was given its most probable class."
    share, forest = share_of(description), f"a forest of extremely randomized trees ({cited('geurts2006')})"
    if share == 1:
        return f"An image was given its most probable class; {forest} on measured features was trained, but not used."
    return (
        f"An image was given the class with the largest mean of the probabilities of the network, with a weight of "
        f"{share:.3g}, and of {forest} on measured features, with a weight of {1 - share:.3g}."
    )
