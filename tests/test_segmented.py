"""Images with their label images, plane by plane."""

import numpy as np
import pytest
import tifffile

from utils.errors import DataError
from utils.files import write_json
from utils.images import write_tiff
from utils.results import ORIGIN, origin
from utils.segmented import find_segmented, labelled_planes
from utils.stacks import read_planes


def write(folder, *names):
    for name in names:
        write_tiff(folder / name, np.zeros((4, 5), np.uint8))
    return folder


def test_pairs_by_name_and_what_has_no_partner(tmp_path):
    images, labels = (
        write(tmp_path / "i", "a.tif", "b.tif", "c.tif"),
        write(tmp_path / "l", "a.tif", "b_labels.tif", "z.tif"),
    )
    pairs, warnings = find_segmented(images, labels)
    assert [(one.name, other.name) for one, other in pairs] == [("a.tif", "a.tif"), ("b.tif", "b_labels.tif")]
    assert len(warnings) == 2
    assert "c.tif" in warnings[0]
    assert "z.tif" in warnings[1]


def test_no_pair_no_folder_and_no_origin_are_told(tmp_path):
    images, labels = write(tmp_path / "i", "a.tif"), write(tmp_path / "l", "b.tif")
    with pytest.raises(DataError, match="No image in .* has a label image"):
        find_segmented(images, labels)
    with pytest.raises(DataError, match="no folder"):
        find_segmented(images, tmp_path / "absent")
    for content in (None, "[]", "{}", "no json"):
        if content:
            (labels / ORIGIN).write_text(content)
        with pytest.raises(DataError, match="does not say which images"):
            find_segmented("", labels)


def test_a_prediction_folder_tells_its_images_unless_others_are_named(tmp_path):
    found = tmp_path / "found"
    write(found / "labels", "a.tif")
    write_json(found / ORIGIN, origin(tmp_path, write(tmp_path / "i", "a.tif"), "automatic", []))
    ((image, labels),), _ = find_segmented("", found)
    assert image == tmp_path / "i" / "a.tif"
    assert labels == found / "labels" / "a.tif"
    ((image, _),), _ = find_segmented(write(tmp_path / "moved", "a.tif"), found)
    assert image == tmp_path / "moved" / "a.tif"


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.float32])
@pytest.mark.parametrize("axes", ["YX", "TYX", "TZYX"])
def test_planes_come_in_order_with_exact_labels(tmp_path, axes, dtype):
    rng = np.random.default_rng(0)
    shape = (2, 3, 6, 7)[4 - len(axes) :] if len(axes) > 2 else (6, 7)
    pixels, labels = rng.integers(0, 200, shape).astype(np.uint8), rng.integers(0, 90, shape).astype(dtype)
    if dtype == np.uint32:
        labels.flat[0] = 70000
    tifffile.imwrite(tmp_path / "i.tif", pixels, photometric="minisblack")
    tifffile.imwrite(tmp_path / "l.tif", labels, photometric="minisblack")
    planes = read_planes(tmp_path / "i.tif", axes)
    found = list(labelled_planes(planes, tmp_path / "l.tif", axes))
    assert len(found) == np.prod(shape[:-2])
    for (image, mine), one, expected in zip(found, pixels.reshape(-1, 6, 7), labels.reshape(-1, 6, 7), strict=True):
        np.testing.assert_array_equal(image.array[..., 0], one)
        np.testing.assert_array_equal(mine, expected)
        assert mine.dtype.kind == "u"


def test_colour_images_and_stacks_of_several_channels(tmp_path):
    labels = np.arange(2 * 6 * 7).reshape(2, 6, 7).astype(np.uint16)
    tifffile.imwrite(tmp_path / "i.tif", np.zeros((2, 3, 6, 7), np.uint16), photometric="minisblack")
    tifffile.imwrite(tmp_path / "l.tif", labels, photometric="minisblack")
    found = list(labelled_planes(read_planes(tmp_path / "i.tif", "TCYX"), tmp_path / "l.tif", "TCYX"))
    assert [image.array.shape for image, _ in found] == [(6, 7, 3)] * 2
    np.testing.assert_array_equal([mine for _, mine in found], labels)
    write_tiff(tmp_path / "rgb.tif", np.zeros((6, 7, 3), np.uint8))
    write_tiff(tmp_path / "one.tif", labels[0])
    ((image, mine),) = labelled_planes(read_planes(tmp_path / "rgb.tif", "YXC"), tmp_path / "one.tif", "YXC")
    assert image.array.shape == (6, 7, 3)
    np.testing.assert_array_equal(mine, labels[0])
    tifffile.imwrite(tmp_path / "c.tif", np.zeros((2, 3, 6, 7), np.uint16), imagej=True, metadata={"axes": "TCYX"})
    with pytest.raises(DataError, match="several channels"):
        list(labelled_planes(read_planes(tmp_path / "l.tif", "TYX"), tmp_path / "c.tif"))
