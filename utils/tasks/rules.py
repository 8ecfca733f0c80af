"""What fits images with masks, from their fingerprint: what U-Net and StarDist have in common."""

import math
from collections.abc import Mapping

from utils.data.splits import automatic_percentage
from utils.images.normalise import EACH_IMAGE, TOGETHER
from utils.runtime import in_words
from utils.tasks.automatic import AUTOMATIC, FEWEST_BATCHES, FEWEST_ROUNDS, Choice, Effort, Progressively

CLEARLY = 0.02  # balanced accuracy by which one range of brightness tells more than the other
AROUND = 2.5  # diameters of a large object that a patch shows
SMALLEST_PATCH = 128  # pixels
OVER = 1.2  # times the time that was given, from which on it is said that it does not do
EMPTY = 6  # percent of the patches
UNLIMITED = 100  # rounds of training of the preset "Default"


def coloured(fingerprint: Mapping) -> bool:
    """Whether the images are stained tissue: colour on a bright background."""
    return fingerprint["brightfield"] and fingerprint["coloured"]


def normalisation_choice(fingerprint: Mapping) -> Choice:
    """Range of brightness of each image, or one for all, by which tells the classes of pixels better."""
    each, together = (fingerprint["told_by_brightness"][name] for name in (EACH_IMAGE, TOGETHER))
    if math.isnan(each):
        value = TOGETHER if coloured(fingerprint) else EACH_IMAGE
        return Choice("training", "normalisation", value, "Too few images to measure it: what suits most of this kind.")
    better = (
        f"brightness or colour alone tells what a pixel is with a balanced accuracy of {each:.2f} where each image has "
        f"its own range, of {together:.2f} where all have one."
    )
    if together - each > CLEARLY:
        return Choice("training", "normalisation", TOGETHER, f"Brightness or colour itself matters: {better}")
    if each - together > CLEARLY or not coloured(fingerprint):
        return Choice("training", "normalisation", EACH_IMAGE, f"Images differ in brightness as a whole: {better}")
    both = (EACH_IMAGE, TOGETHER)
    return Choice("training", "normalisation", EACH_IMAGE, f"Hard to say from the images: {better}", both)


def patch_side(fingerprint: Mapping, largest: int, multiple: int) -> tuple[int, str]:
    """Side of a training patch in pixels, a multiple of `multiple` and at most `largest`, and why."""
    diameter = fingerprint["object_diameter"][2]
    wanted = max(SMALLEST_PATCH, 2 ** math.ceil(math.log2(max(AROUND * diameter, 1))))
    side = max(multiple, min(wanted, largest) // multiple * multiple)
    return side, f"Large objects are {diameter:.0f} pixels wide: a patch shows them with what lies around them."


def augmentation_choices(fingerprint: Mapping, noise_is_background: bool = True) -> list[Choice]:
    """Changes that images of this kind bear; `noise_is_background`: whether noise in its own range is class 0."""
    sizes, stained = fingerprint["object_diameter"], coloured(fingerprint)
    spread = sizes[2] / max(sizes[0], 1)
    brightness = "Colour tells what a pixel is: it changes little." if stained else "Exposure differs between images."
    stains = "Stains differ between slides and days." if stained else "The images are no stained tissue."
    return [
        Choice("augmentation", "flip", True, "Nothing here tells left from right."),
        Choice("augmentation", "rotate_90", True, "Nothing here tells up from down."),
        Choice("augmentation", "rotation", 45, "Objects lie in all directions."),
        Choice("augmentation", "zoom", 30, f"Large objects are {spread:.1f} times as wide as small ones anyway."),
        Choice("augmentation", "intensity", 10 if stained else 30, brightness),
        Choice("augmentation", "stain", 20 if stained else 0, stains),
        Choice("augmentation", "empty", *_empty(fingerprint, noise_is_background)),
    ]


def _empty(fingerprint: Mapping, noise_is_background: bool) -> tuple[int, str]:
    if not noise_is_background:
        return (
            0,
            "Only where each image has its own range, and 0 is the background, noise alone is known to be nothing.",
        )
    if fingerprint["brightfield"]:
        return 0, "Bright images have no dark background that noise alone could look like."
    return EMPTY, "Images without any object shall have an empty mask: the network is shown what they look like."


def rounds_for_work(preset: str, pixels: int, work: Mapping) -> int:
    """Rounds of training of a preset: as many as its work allows, or `UNLIMITED` where it has no limit.

    Parameters
    ----------
    pixels
        That a round shows.
    work
        Preset -> pixels that the network may learn from in all.
    """
    return max(1, round(work[preset] / pixels)) if preset in work else UNLIMITED


def steps_for_work(preset: str, steps: int, pixels: int, work: Mapping) -> int:
    """Batches of a round: `steps`, or so many that the preset's work makes `FEWEST_ROUNDS`.

    `pixels` are those of a batch; `work` as for `rounds_for_work`.
    """
    return max(1, min(steps, int(work[preset] / pixels / FEWEST_ROUNDS))) if preset in work else steps


def epochs_choice(training: Mapping, rounds: int, steps: int, effort: Effort) -> Choice:
    """Rounds of training: those of the preset, or as many as fit into the time that is given.

    Parameters
    ----------
    training
        Values of that form; used are preset and time_for_training, in minutes.
    rounds, steps
        Of the preset; batches of a round.
    effort
        What they take; the time that is given is that of all.
    """
    minutes = training["time_for_training"]
    given = minutes != AUTOMATIC
    if given:
        rounds = max(1, int(effort.batches(minutes) / steps + 0.5))
    why = f"the {_minutes(minutes)} that you gave" if given else f'the preset "{training["preset"]}"'
    took, tests = in_words(effort.of_one(rounds, steps)), effort.of_parts(rounds, steps)
    more = "up to a fifth more where trials are needed"
    in_turn = f" The test on all images in turn takes {in_words(tests)} besides." if tests else ""
    whole = effort.of_one(rounds, steps) + tests
    warning = _too_short(minutes, whole, effort) if given and whole > OVER * 60 * minutes else ""
    reason = f"{took} on this computer for {steps} batches each, {more}: {why}.{in_turn}"
    return Choice("training", "number_of_epochs", rounds, f"{reason} {warning}".strip(), warning=warning)


def _too_short(minutes: float, seconds: float, effort: Effort) -> str:
    """Sentences for where a training takes longer than the time that was given, however few rounds it has."""
    of_each = f"the network is prepared and judged, which takes {in_words(effort.beside)}"
    each = f"for each of the {1 + effort.parts} trainings {of_each}" if effort.parts else of_each
    remedy = ", or set test_in_turn to no, which leaves one training" if effort.parts else ""
    return (
        f"This takes {in_words(seconds)}, more than the {_minutes(minutes)} in time_for_training: {each}, however "
        f"short it is. Allow more time{remedy}."
    )


def _minutes(minutes: float) -> str:
    return f"{minutes:g} minute{'s' * (minutes != 1)}"


def add_length(
    values: Progressively,
    steps: int,
    patch: tuple[int, int],
    work: Mapping,
    effort: Effort,
) -> None:
    """Add batches of a round, of which the images ask for `steps`, and rounds; the others as above."""
    preset, pixels = values["preset"], values["batch_size"] * patch[0] * patch[1]
    steps = steps_for_work(preset, steps, pixels, work)
    if (minutes := values["time_for_training"]) != AUTOMATIC:
        steps = min(steps, max(FEWEST_BATCHES, int(effort.batches(minutes) / FEWEST_ROUNDS)))
    why = "A round shows as many pixels as the images have, in 50 to 200 batches; fewer where time is short."
    values.add(Choice("training", "number_of_steps", steps, why))
    steps = values["number_of_steps"]
    values.add(epochs_choice(values, rounds_for_work(preset, steps * pixels, work), steps, effort))


def validation_choice(n: int) -> Choice:
    """Share of `n` images that watches over the training."""
    percentage = automatic_percentage(n)
    why = f"There are {n} images: so few that a tenth would say little."
    return Choice(
        "data", "percentage_validation", percentage, why if percentage > 10 else f"A tenth of {n} images is enough."
    )
