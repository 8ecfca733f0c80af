"""One rule for what is a pixel of a microscope, whatever the file says it with; a value of the form overrules all."""

import numpy as np
import pytest
import tifffile

from utils.data.crops import load_crops
from utils.data.examples import load_examples
from utils.images.image import read_image, write_tiff
from utils.images.pixel_size import LARGEST_UM, MICROMETRES, SMALLEST_UM, credible
from utils.images.stacks import read_planes

RNG = np.random.default_rng(0)
ARRAY = RNG.integers(0, 255, (12, 10)).astype(np.uint8)


def write_with(path, um, how, um_y=None):
    """A TIFF that says its pixels are `um` wide by OME-XML, by ImageJ in some unit, or by tags in some unit."""
    um_y = um_y or um
    kind, _, unit = how.partition(" ")
    if kind == "OME":
        metadata = {"axes": "YX"}
        for axis, size in (("X", um), ("Y", um_y)):
            metadata |= {f"PhysicalSize{axis}": size / MICROMETRES[unit], f"PhysicalSize{axis}Unit": unit}
        tifffile.imwrite(path, ARRAY, ome=True, metadata=metadata)
        return
    per_unit = {"CENTIMETER": 1e4, "INCH": 2.54e4}.get(unit) or MICROMETRES[unit]
    resolution = (per_unit / um, per_unit / um_y)
    if kind == "ImageJ":
        tifffile.imwrite(path, ARRAY, imagej=True, resolution=resolution, metadata={"unit": unit})
    else:
        tifffile.imwrite(path, ARRAY, resolution=resolution, resolutionunit=unit, metadata=None)


WAYS = [
    "OME um", "OME nm", "OME mm", "ImageJ um", "ImageJ micron", "ImageJ cm", "ImageJ mm", "ImageJ inch",
    "tags CENTIMETER", "tags INCH",
]  # fmt: skip


@pytest.mark.parametrize("how", WAYS)
def test_every_way_to_say_it_follows_one_rule(tmp_path, how):
    path = tmp_path / "a.ome.tif"
    for um in (0.0065, 0.108, 0.65, 1.0, 10.0, 19.9):
        write_with(path, um, how)
        image = read_image(path)
        assert image.pixel_size_um == pytest.approx(um, rel=1e-3)
        assert image.remarks == ()
    for um in (25400 / 300, 25400 / 72, 25400 / 96, 25400 / 150, 25400 / 600, 25400 / 1200, 25400 / 2400, 0.001, 500.0):
        write_with(path, um, how)
        image = read_image(path)
        assert image.pixel_size_um is None
        ((what, remedy),) = image.remarks
        assert f"{um:.4g} um per pixel" in what or how.endswith("mm")
        assert "field pixel_size" in remedy
        assert read_planes(path).pixel_size_um is None
        assert read_planes(path).remarks == image.remarks
    write_with(path, 0.5, how, 0.25)
    assert read_image(path).pixel_size_um is None
    assert "square" in read_image(path).remarks[0][0]


@pytest.mark.parametrize("dpi", [72, 96, 300, 600, 1200, 2400, 4800])
def test_a_printing_resolution_is_called_so(dpi):
    assert f"printing ({dpi} dpi)" in credible(25400 / dpi, 25400 / dpi).refused


def test_law_a_size_counts_or_is_refused_with_a_reason():
    for um in 10 ** RNG.uniform(-4, 5, 400):
        size = credible(um, um * RNG.uniform(0.995, 1.005))
        assert (size.um is None) == bool(size.refused)
        assert size.um is None or SMALLEST_UM * 0.99 <= size.um == um <= LARGEST_UM


@pytest.mark.parametrize("told", [(None, None), (0, 0), (-1, -1), (np.nan, np.nan), (np.inf, np.inf), (0.5, None)])
def test_what_is_no_number_is_not_known(told):
    assert credible(*told) == (None, "")


def test_a_value_of_the_form_counts_and_nothing_is_said_of_the_file(tmp_path):
    for um in (0.3, 25400 / 300):
        write_with(tmp_path / "a.tif", um, "ImageJ cm")
        for read in (read_image, read_planes):
            found = read(tmp_path / "a.tif", pixel_size_um=0.65)
            assert found.pixel_size_um == 0.65
            assert found.remarks == ()
    tifffile.imwrite(tmp_path / "s.tif", np.stack([ARRAY] * 2), imagej=True, metadata={"axes": "TYX"})
    assert [one.pixel_size_um for one in read_planes(tmp_path / "s.tif", pixel_size_um=0.65)] == [0.65] * 2


def test_a_size_that_does_not_count_is_said_once_for_a_folder(tmp_path):
    half = np.zeros(ARRAY.shape[:2], np.uint8)
    half[:, : half.shape[1] // 2] = 255
    for name in "abcde":
        for kind in ("images", "masks"):
            (tmp_path / kind).mkdir(exist_ok=True)
        write_with(tmp_path / "images" / f"{name}.tif", 25400 / 300, "ImageJ cm")
        write_tiff(tmp_path / "masks" / f"{name}.tif", half)
    data = load_examples(tmp_path / "images", tmp_path / "masks")
    (problem,) = data.problems
    assert problem.severity == "warning"
    assert "5 images" in problem.file
    assert "84.67 um" in problem.what
    data = load_examples(tmp_path / "images", tmp_path / "masks", pixel_size_um=0.5)
    assert data.problems == []
    assert {one.image.pixel_size_um for one in data.examples} == {0.5}


def test_images_of_one_class_each_have_it_too(tmp_path):
    for name in "ab":
        for number in range(2):
            (tmp_path / name).mkdir(exist_ok=True)
            write_with(tmp_path / name / f"{number}.tif", 25400 / 72, "ImageJ inch")
    (problem,) = load_crops(tmp_path).problems
    assert f"{tmp_path} (4 images: 0.tif, 1.tif, 0.tif, ...)" == problem.file
    crops = load_crops(tmp_path, pixel_size_um=0.2)
    assert crops.problems == []
    assert {one.image.pixel_size_um for one in crops.examples} == {0.2}
