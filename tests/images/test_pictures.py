"""BMP, GIF and JPEGs of other names are read with the very values that programs show of them."""

import numpy as np
import PIL.Image
import pytest

from utils.errors import DataError
from utils.images.image import read_image, read_mask

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (7, 9)).astype(np.uint8)
COLOUR = RNG.integers(0, 256, (7, 9, 3)).astype(np.uint8)
LABELS = RNG.integers(0, 3, (7, 9)).astype(np.uint8)
TABLE = [0, 0, 0, 255, 0, 0, 0, 255, 0]


def saved(path, picture):
    picture.save(path)
    return path


@pytest.mark.parametrize("ending", ["bmp", "BMP", "gif"])
def test_grey_pictures_keep_their_values_as_image_and_as_mask(tmp_path, ending):
    for values in (GREY, LABELS, 255 * (LABELS > 1).astype(np.uint8)):
        path = saved(tmp_path / f"a.{ending}", PIL.Image.fromarray(values))
        np.testing.assert_array_equal(read_image(path).array[..., 0], values)
        np.testing.assert_array_equal(read_mask(path), values)


@pytest.mark.parametrize("ending", ["bmp", "gif"])
def test_a_table_of_colours_means_colours_in_images_and_numbers_in_masks(tmp_path, ending):
    picture = PIL.Image.fromarray(LABELS, mode="L")
    picture.putpalette(TABLE)
    path = saved(tmp_path / f"a.{ending}", picture)
    np.testing.assert_array_equal(read_image(path).array, np.reshape(TABLE, (3, 3))[LABELS])
    np.testing.assert_array_equal(read_mask(path), LABELS)


def test_colours_of_bmp(tmp_path):
    path = saved(tmp_path / "a.bmp", PIL.Image.fromarray(COLOUR))
    np.testing.assert_array_equal(read_image(path).array, COLOUR)
    with pytest.raises(DataError, match="colour picture"):
        read_mask(path)


def test_a_film_is_no_image(tmp_path):
    frames = [PIL.Image.fromarray(GREY), PIL.Image.fromarray(GREY[::-1])]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match="holds 2 pictures"):
        read_image(tmp_path / "a.gif")


@pytest.mark.parametrize("ending", ["jfif", "jpe", "JFIF"])
def test_a_jpeg_of_another_name_is_one(tmp_path, ending):
    PIL.Image.fromarray(np.full((8, 8), 77, np.uint8)).save(tmp_path / f"a.{ending}", format="JPEG")
    assert np.abs(read_image(tmp_path / f"a.{ending}").array[..., 0].astype(int) - 77).max() <= 1
    with pytest.raises(DataError, match="smears"):
        read_mask(tmp_path / f"a.{ending}")


def test_a_damaged_bmp_is_named(tmp_path):
    path = saved(tmp_path / "a.bmp", PIL.Image.fromarray(COLOUR))
    path.write_bytes(path.read_bytes()[:80])
    with pytest.raises(DataError, match="a.bmp cannot be read"):
        read_image(path)
