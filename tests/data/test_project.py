"""A project of the forms' values: the size of a pixel that is typed in is that of all its images."""

import pytest

from tests import tiny, tiny_crops
from utils.data.project import describe_images, open_crops, open_project


@pytest.mark.parametrize(("typed", "expected"), [(0, 0.5), (0.2, 0.2)])
def test_the_pixel_size_of_the_form_is_that_of_the_model(tmp_path, typed, expected):
    """Whether it is of images with masks or of images of one class each; 0.5 um is what the files say."""
    given = tiny_crops.parameters(tiny_crops.write_crops(tmp_path, n=2), tmp_path, data={"pixel_size": typed})
    project = open_crops(given["overrides"]["data"])
    assert describe_images(project)["pixel_size_um"] == expected
    given["overrides"]["data"].pop("pixel_size")  # as in settings of earlier versions
    assert describe_images(open_crops(given["overrides"]["data"]))["pixel_size_um"] == 0.5


@pytest.mark.parametrize(("typed", "expected"), [(0, None), (0.2, 0.2)])
def test_it_is_also_that_of_images_with_masks(tmp_path, typed, expected):
    given = tiny.parameters(tiny.write_data(tmp_path, n=4), tmp_path, data={"pixel_size": typed})
    project = open_project(given["overrides"]["data"])
    assert describe_images(project)["pixel_size_um"] == expected
