"""Training images of the simulated culture, in the layout of the samples `mitosis` and `nuclei`."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.ndimage import binary_closing, binary_fill_holes, label

from data_samples.culture import HOUR, PHASES, Culture
from data_samples.culture_pictures import CHANNELS, FIELD_UM, PIXEL_SIZE_UM, SHAPE
from data_samples.drawing import write_pair
from data_samples.microscope import SIZE, write_crop
from data_samples.mitosis import CLASSES

ROLES = {"train": (0, 160, 5), "test": (50, 50, 2)}  # first seed, crops of a class at most, cultures
TIMES_H = (0.75, 1.5, 2.25, 3.0, 3.75, 4.5, 5.25)
SEPARATE = ("earlyana", "lateana", "telophase")  # phases with two objects
OFTENER = 3  # times as many in interphase: an experiment sees little else
PART = 512  # pixels along each side of an image with labels
SMALLEST = 20  # pixels of an object
EXPOSURES_MS, DEFOCUS_UM = (20.0, 200.0), 1.0


def write_training(folder: Path, seed: int) -> None:
    """Write crops to folder/cells/{train,test}/<class> and pairs to folder/nuclei/{train,test}/{images,masks}."""
    for role, (offset, most, cultures) in ROLES.items():
        found: Counter = Counter()
        for number, (image, culture, rng) in enumerate(_images(seed + offset, cultures)):
            labels, objects = labelled(culture)
            part = (number + 1) / (cultures * len(TIMES_H))  # nuclei of all ages, not of the first images alone
            for phase, y, x in objects:
                if found[phase] < most * (part * OFTENER if phase == "interphase" else 1):
                    found[phase] += _write(folder / "cells" / role / phase, found[phase] + 1, image, y, x, rng)
            top, left = rng.integers(0, SHAPE[0] - PART, 2)
            cut = np.s_[top : top + PART, left : left + PART]
            name = f"culture_{number + 1:02d}.tif"
            write_pair(folder / "nuclei", role, name, image[cut], labels[cut], PIXEL_SIZE_UM)
    table = CLASSES[["class", "group", "meaning"]]
    table.to_csv(folder / "cells" / "classes.csv", index=False, lineterminator="\n")


def _images(seed: int, cultures: int) -> Iterator[tuple[np.ndarray, Culture, np.random.Generator]]:
    """Images of whole fields, each with its culture as it was then, and the numbers for what follows."""
    for one in range(cultures):
        rng = np.random.default_rng([seed, one])
        culture = Culture(seed + one, size_um=FIELD_UM, density=rng.uniform(700, 1400), synchronised=True)
        for hours in TIMES_H:
            culture.advance(hours * HOUR)
            culture.light(0, 0, CHANNELS[0], 10_000)  # a few cells shall die
            z = culture.camera.focus_um(culture.time_s) + rng.normal(0, DEFOCUS_UM)
            exposure = np.exp(rng.uniform(*np.log(EXPOSURES_MS)))
            yield culture.image(0, 0, z, CHANNELS[0], exposure), culture, rng


def labelled(culture: Culture) -> tuple[np.ndarray, list[tuple[str, float, float]]]:
    """Objects of the field around (0, 0) as an annotator would outline them.

    Returns
    -------
    labels : numpy.ndarray, (1024, 1024) uint16
        0 is background; the two halves of a dividing cell are two objects, the fragments of a dead one are one.
    objects : list of tuple
        Phase, and y and x of the centre in pixels, of each object that lies in the field as a whole.
    """
    labels, brightest = (np.zeros((SHAPE[0] + 2 * SIZE, SHAPE[1] + 2 * SIZE), kind) for kind in (np.uint16, np.float32))
    objects, count = [], 0
    for cell in culture.cells:
        phase, drawing = PHASES[cell["phase"]], culture.camera.drawing(cell, culture.time_s)
        top, left = culture.camera.corner(cell["y"], 0.0) + SIZE, culture.camera.corner(cell["x"], 0.0) + SIZE
        if not (0 <= top <= SHAPE[0] + SIZE and 0 <= left <= SHAPE[1] + SIZE):
            continue
        part = np.s_[top : top + SIZE, left : left + SIZE]
        for outline in outlines(drawing, phase):
            count += 1
            shown = outline & (drawing > brightest[part])
            labels[part][shown], brightest[part][shown] = count, drawing[shown]
            y, x = np.argwhere(outline).mean(axis=0) + [top - SIZE, left - SIZE]
            objects.append((phase, float(y), float(x)))
    half = SIZE // 2
    inside = [o for o in objects if half <= o[1] < SHAPE[0] - half and half <= o[2] < SHAPE[1] - half]
    return labels[SIZE:-SIZE, SIZE:-SIZE], inside


def outlines(drawing: np.ndarray, phase: str) -> list[np.ndarray]:
    """Masks, (64, 64) bool, of the objects that a cell consists of."""
    level = 0.4 * np.percentile(drawing[drawing > 0.15 * drawing.max()], 75)
    mask = drawing > level
    if phase not in SEPARATE:
        mask = binary_closing(np.pad(mask, 8), iterations=6 if phase == "apoptosis" else 3)[8:-8, 8:-8]
        return [binary_fill_holes(mask)]
    parts, count = label(mask)
    masks = [parts == number for number in range(1, count + 1)]
    return [binary_fill_holes(one) for one in masks if one.sum() >= SMALLEST]


def _write(folder: Path, number: int, image: np.ndarray, y: float, x: float, rng: np.random.Generator) -> int:
    """Write a crop around an object, a little off its centre as a detector is; 1 if it fits into the image."""
    top, left = (np.rint([y, x] + rng.normal(0, 1.0, 2)).astype(int) - SIZE // 2).tolist()
    crop = image[max(0, top) : top + SIZE, max(0, left) : left + SIZE]
    if crop.shape != (SIZE, SIZE):
        return 0
    folder.mkdir(parents=True, exist_ok=True)
    write_crop(folder / f"{folder.name}_{number:04d}.tif", crop, PIXEL_SIZE_UM)
    return 1
