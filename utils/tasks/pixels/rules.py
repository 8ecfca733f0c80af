"""What fits the data of a U-Net, from their fingerprint."""

from collections.abc import Mapping
from dataclasses import replace

from utils.tasks.automatic import Choice

WORK = {"Quick on a CPU": 150e6, "Try out": 16e6}  # pixels that a network learns from in all, at half resolution
FULL = 0.4  # share of these at full resolution, which takes so much longer
BESIDE = 8.0, 1.0  # seconds of a training without its steps: in any case, and for each million pixels of all images
GENTLE_STEPS = 75  # batches for each image, where few of them go on from a model
GENTLER = 3  # times smaller steps then
FEW_IMAGES = 10  # for training
LARGEST_PATCH = 256  # pixels: larger ones show the same structures again
THIN = 4  # pixels: structures below this may be lost at half resolution
WIDE = 30  # pixels, as the network sees them: structures above this need a coarser look


def work_at(half_resolution: bool, work: Mapping[str, float] = WORK) -> dict[str, float]:
    """Pixels that a network learns from in all, for each preset that says how much time may be spent."""
    return {preset: pixels * (1 if half_resolution else FULL) for preset, pixels in work.items()}


def resolution_choice(fingerprint: Mapping, preset: str) -> Choice:
    """Whether the network computes at half resolution: where time is short and structures are not too thin."""
    width = fingerprint["object_diameter"][1]
    if preset not in WORK:
        return Choice("training", "half_resolution", False, "Time is not limited.")
    if width < THIN:
        return Choice(
            "training", "half_resolution", False, f"Structures are {width:.1f} pixels wide: each pixel counts."
        )
    why = f"3 times faster; structures are {width:.0f} pixels wide, which is enough."
    return Choice("training", "half_resolution", True, why)


def levels_choice(fingerprint: Mapping, half_resolution: bool) -> Choice:
    """Pooling steps by which the network sees large structures as a whole."""
    width = fingerprint["object_diameter"][2] / (2 if half_resolution else 1)
    steps = 3 if width > WIDE else 2
    why = f"Large structures are {fingerprint['object_diameter'][2]:.0f} pixels wide."
    return Choice("training", "pooling_steps", steps, why)


def gentle_rounds(choice: Choice, images: int, steps: int) -> Choice:
    """`choice` of the rounds of training where few `images` go on from a model: what it knows would soon be lost.

    `steps` are the batches of a round.
    """
    rounds = max(1, round(images * GENTLE_STEPS / steps))
    if choice.value <= rounds:
        return choice
    why = f"{images} images are few and go on from a model: more rounds would make it forget what it knows."
    return replace(choice, value=rounds, reason=why)
