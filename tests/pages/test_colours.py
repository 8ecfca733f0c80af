"""Colours that stand beside each other are told apart by colour-blind readers, too."""

from itertools import combinations

import numpy as np
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab

from utils.fine_tuning.page import COLOURS
from utils.pages.colours import (
    BLUE,
    CLASS_COLOURS,
    FEWEST_OUTLINES,
    ORANGE,
    OUTLINE_COLOURS,
    SKY_BLUE,
    STANDS_OUT,
    VERMILION,
    class_colours,
    standing_out,
)
from utils.pages.pictures import CHANNEL_COLOURS, MANY_CHANNEL_COLOURS
from utils.tasks.classes.figures import RIGHT, WRONG
from utils.tasks.objects import figures
from utils.tasks.objects.figures import ANNOTATED, CURVES, OUTLINES

# Machado GM, Oliveira MM, Fernandes LAF (2009) A physiologically-based model for simulation of color vision deficiency,
# doi:10.1109/TVCG.2009.113: linear RGB as seen without red or without green cones (severity 1).
VISIONS = {
    "usual": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
}
APART = 10  # CIEDE2000; 1 is just seen side by side, 10 at a glance
BLACK, WHITE, GREY = (0, 0, 0), (1, 1, 1), (0.85, 0.85, 0.85)
KINDS = [colour for colour, _ in figures.KINDS.values()]
TOGETHER = {
    "classes": [BLACK, WHITE, *CLASS_COLOURS],
    "objects": [BLACK, *OUTLINE_COLOURS],
    "kinds of errors of objects": [BLACK, *KINDS, ANNOTATED],
    "right and wrong pixels": [BLACK, GREY, VERMILION, SKY_BLUE],
    "outlines": list(OUTLINES.values()),
    "scores by overlap": [WHITE, *(colour for colour, _ in CURVES.values())],
    "strategies": [WHITE, *COLOURS],
    "losses": [WHITE, BLUE, ORANGE, VERMILION],
    "right and wrong answers": [WHITE, RIGHT[1], WRONG[1]],
    "two channels": [BLACK, *CHANNEL_COLOURS[2]],
    "three channels": [BLACK, *CHANNEL_COLOURS[3]],
    "many channels": [BLACK, *MANY_CHANNEL_COLOURS],
}


def seen(colour: tuple, vision: str) -> np.ndarray:
    """L*a*b* of an sRGB colour in the eyes of a reader."""
    encoded = np.asarray(colour, float)
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    linear = np.clip(np.asarray(VISIONS[vision]) @ linear, 0, 1)
    return rgb2lab(np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055))


def closest(group: list, vision: str) -> float:
    """Smallest difference of two different colours."""
    labs = [seen(colour, vision) for colour in dict.fromkeys(map(tuple, group))]
    return min(float(deltaE_ciede2000(one, other)) for one, other in combinations(labs, 2))


@pytest.mark.parametrize("vision", VISIONS)
@pytest.mark.parametrize("name", TOGETHER)
def test_colours_that_stand_together_are_told_apart(name, vision):
    assert closest(TOGETHER[name], vision) > APART


def test_red_and_green_of_equal_brightness_are_what_the_test_refuses():
    pair = [(0.8, 0.3, 0.2), (0.5, 0.5, 0.2)]
    assert closest(pair, "usual") > 2 * APART
    assert min(closest(pair, "deuteranopia"), closest(pair, "protanopia")) < APART
    assert closest([(1, 0, 1), (0.3, 0.4, 1)], "protanopia") < APART  # magenta and blue


STAINED = {  # what real images of each kind mostly look like: nuclei or fibres, and what lies around them
    "H&E": ((0.35, 0.15, 0.65), (0.85, 0.7, 0.95)),
    "PicroSirius Red": ((0.75, 0.15, 0.25), (0.95, 0.85, 0.6)),
    "fluorescence": ((0.6, 0.6, 0.6), (0.02, 0.02, 0.02)),
    "three channels": ((0.8, 0.8, 0.0), (0.75, 0.05, 0.05)),
    "green fluorescence": ((0.0, 0.9, 0.0), (0.0, 0.05, 0.0)),
    "brown stain": ((0.4, 0.25, 0.1), (0.85, 0.85, 0.95)),
}


def picture_of(name, seed=0):
    rng, (dark, ground) = np.random.default_rng(seed), STAINED[name]
    picture = np.where(rng.random((60, 90, 1)) < 0.3, dark, ground) + rng.normal(0, 0.03, (60, 90, 3))
    return np.clip(picture, 0, 1)


@pytest.mark.parametrize("name", STAINED)
def test_outlines_have_colours_that_the_image_does_not_have(name):
    picture = picture_of(name)
    chosen = standing_out(picture)
    far = [np.linalg.norm(rgb2lab(picture) - rgb2lab(np.array(one)), axis=-1) for one in chosen]
    assert np.percentile(far[0], 10) > STANDS_OUT
    assert FEWEST_OUTLINES <= len(chosen) == len(set(chosen))
    assert [np.percentile(one, 10) for one in far] == sorted((np.percentile(one, 10) for one in far), reverse=True)
    alone = class_colours([{"id": 0}, {"id": 1}], picture)[1]
    assert np.percentile(np.linalg.norm(rgb2lab(picture) - rgb2lab(np.array(alone)), axis=-1), 10) > STANDS_OUT


def test_a_single_class_has_the_same_colour_in_dim_and_bright_images_of_a_folder():
    pictures = [np.repeat(np.linspace(0, top, 100)[:, None, None] ** 0.5, 3, axis=2) for top in (0.05, 0.2, 0.4)]
    assert len({class_colours([{"id": 0}, {"id": 1}], one)[1] for one in pictures}) == 1


def test_several_classes_keep_their_colours_whatever_they_are_drawn_on():
    classes = [{"id": i} for i in range(4)]
    assert class_colours(classes, picture_of("H&E")) == class_colours(classes)
    assert class_colours([{"id": 2}], picture_of("H&E")) == class_colours([{"id": 2}])


def test_a_picture_of_one_pixel_and_a_list_of_pixels():
    assert len(standing_out(np.zeros((1, 1, 3)))) >= FEWEST_OUTLINES
    picture = picture_of("H&E")
    assert standing_out(picture) == standing_out(picture.reshape(-1, 3))


def test_a_colour_of_an_outline_means_nothing_else_in_the_same_figure():
    assert not set(OUTLINES.values()) & set(KINDS)
    assert OUTLINES["annotated"] == ANNOTATED
