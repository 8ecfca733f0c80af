"""Section 3.2 shows masks that may mean something else than they seem, beside what they may be understood as."""

import numpy as np
import pytest

from tests.data.test_mask_checks import IMAGES, data_of, masks_with_255, write
from tests.images.test_mask_types import BINARY
from utils.data.mask_checks import MasksInDoubt
from utils.pages.figures import show_masks
from utils.tasks import page
from utils.tasks.registry import CLASSIFIER, STARDIST, UNET


def titles(figure):
    return [ax.get_title().replace("\n", " ") for ax in figure.axes]


@pytest.fixture
def shown(monkeypatch):
    """Figures that a page shows."""
    figures = []
    monkeypatch.setattr(page, "show", figures.append)
    return figures


@pytest.mark.parametrize("task", [UNET, STARDIST], ids=lambda task: task.name)
def test_three_examples_are_shown_with_each_reading_before_it_is_asked(task, tmp_path, shown):
    folders = write(tmp_path, masks=[255 - one for one in BINARY])
    with pytest.raises(MasksInDoubt, match="Write inverted"):
        page.open_project(task, data_of(folders, tmp_path))
    found = titles(shown[0])
    assert found[:3] == ["0.tif", "2.tif", "5.tif"]
    assert found[3:6] == ["mask as it is stored: 0, 255"] * 3
    assert found[6:] == ["inverted: the islands are to be found"] * 3 + ["binary: what is marked is to be found"] * 3
    project = page.open_project(task, data_of(folders, tmp_path, mask_type="inverted"))
    assert titles(task.show_understood(project))[6:] == ["inverted: as they were understood"] * 3


def test_what_does_not_count_is_grey(tmp_path, shown):
    folders = write(tmp_path, masks=masks_with_255())
    with pytest.raises(MasksInDoubt):
        page.open_project(UNET, data_of(folders, tmp_path))
    assert [text.get_text() for text in shown[0].legends[0].get_texts()] == ["does not count"]
    project = page.open_project(UNET, data_of(folders, tmp_path, ignore_value="255"))
    figure = UNET.show_understood(project)
    assert titles(figure)[:2] == ["1.tif", "4.tif"]  # those that hold it
    plain, painted = (ax.images[0].get_array() for ax in (figure.axes[0], figure.axes[4]))
    assert np.ptp(painted[:, :20]) < 0.5 * 255 * np.ptp(plain[:, :20])


@pytest.mark.parametrize("colours", [False, True])
def test_swapped_folders_are_shown_as_they_should_be(tmp_path, shown, colours):
    images = [np.stack([one, one // 2, one // 3], axis=-1) if colours else one for one in IMAGES]
    folders = write(tmp_path, images=images)
    with pytest.raises(MasksInDoubt, match="swapped"):
        page.open_project(UNET, data_of(folders[::-1], tmp_path))
    assert titles(shown[0]) == ["0.tif", "2.tif", "5.tif"] + ["mask as it is stored: 0, 255"] * 3


def test_images_in_place_of_masks_are_shown_without_a_reading(tmp_path, shown):
    folders = write(tmp_path, masks=[one[::-1].copy() for one in IMAGES])
    with pytest.raises(MasksInDoubt, match="look like images"):
        page.open_project(UNET, data_of(folders, tmp_path))
    assert len(shown[0].axes) == 6


def test_plain_masks_are_not_shown_twice_and_crops_never(tmp_path):
    project = UNET.open(data_of(write(tmp_path), tmp_path))
    assert UNET.show_understood(project) is None
    assert CLASSIFIER.show_understood(project) is None


def test_small_values_are_seen():
    mask = np.array([[0, 1], [1, 255]], np.uint8)
    figure = show_masks([("x", np.zeros((2, 2, 1), np.uint8))], [mask], {})
    grey = figure.axes[1].images[0].get_array()[..., 0]
    assert grey[0, 0] == 0 < 0.3 < grey[0, 1] < 0.7 < grey[1, 1] == 1
