"""What a training takes: the work is that of the tasks' rules, and more of anything takes no less."""

from pathlib import Path

import numpy as np
import pytest

from utils.first_look import forecast
from utils.first_look.forecast import PRESETS, WORK, forecasts
from utils.first_look.headers import Header

NOTEBOOKS = ("unet_segmentation", "stardist_segmentation", "classification")


def image(side=256, channels=1, bits=8):
    return Header(Path("i.tif"), side, side, channels, bits)


def test_the_work_is_that_of_the_rules():
    from utils.tasks.classes import rules as classes
    from utils.tasks.classes import train as training
    from utils.tasks.objects import rules as objects
    from utils.tasks.pixels import rules as pixels
    from utils.tasks.rules import UNLIMITED

    assert WORK == {"unet_segmentation": pixels.WORK, "stardist_segmentation": objects.WORK}
    assert {**classes.ROUNDS, forecast.DEFAULT: UNLIMITED} == forecast.ROUNDS
    own = (forecast.QUICK_STEPS, forecast.QUICK_BATCH, forecast.QUICK_PIXELS, forecast.LARGEST_CROP)
    assert (forecast.FEWEST_BATCHES, forecast.FEW) == (training.FEWEST_STEPS, classes.FEW_IMAGES)
    assert own == (classes.STEPS, classes.QUICK_BATCH, classes.QUICK_PIXELS, classes.LARGEST)
    assert forecast.UNLIMITED == UNLIMITED


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_the_presets_are_in_order_and_more_images_or_a_slower_computer_take_no_less(notebook):
    rng = np.random.default_rng(0)
    for _ in range(20):
        n, side, fast = int(rng.integers(4, 500)), int(rng.integers(16, 600)), float(rng.uniform(0.5, 8))
        one = forecasts(notebook, [image(side)], n, fast)
        assert [each.preset for each in one] == list(PRESETS)
        assert one[0].seconds <= one[1].seconds <= one[2].seconds
        more = forecasts(notebook, [image(side)], 2 * n, fast)
        slower = forecasts(notebook, [image(side)], n, fast / 2)
        for a, b, c in zip(one, more, slower, strict=True):
            assert a.seconds <= b.seconds
            assert a.gigabytes < b.gigabytes
            assert a.seconds < c.seconds
            assert "about" in a.time


def test_quick_takes_as_long_with_few_images_as_with_many():
    few, many = (forecasts("unet_segmentation", [image()], n, 1.0)[1].seconds for n in (10, 5000))
    assert few == many == pytest.approx(125, rel=0.2)  # the README measures 100 seconds on one core


def test_memory_is_that_of_the_images():
    small, large = (forecasts("unet_segmentation", [image(2000, 3, bits)], 1000, 1.0)[0].gigabytes for bits in (8, 16))
    assert 60 < small < large < 100


def test_nothing_is_said_without_images_or_for_what_trains_nothing():
    assert forecasts("unet_segmentation", [], 5, 1.0) == forecasts("unet_segmentation", [image()], 0, 1.0) == []
    assert forecasts("fine_tuning", [image()], 5, 1.0) == []


def test_the_speed_is_a_positive_number_and_memory_is_free():
    assert 0 < forecast.speed() < 1000
    assert forecast.free_gigabytes() > 0
