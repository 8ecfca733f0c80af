"""Stacks plane by plane: the same planes as in single files, whatever the order of axes and the kind of TIFF."""

import itertools

import numpy as np
import PIL.Image
import pytest
import tifffile

from utils.errors import DataError
from utils.images.axes import STACK_AXES
from utils.images.decoders import read_pixels
from utils.images.image import read_image, read_mask, write_tiff
from utils.images.stacks import label_file, read_planes

RNG = np.random.default_rng(0)
LENGTHS = {"T": 3, "Z": 4, "C": 2, "Y": 30, "X": 20}


def stack_of(axes, dtype=np.uint16):
    """Random array with the named axes."""
    return RNG.integers(0, 256, [LENGTHS[axis] for axis in axes]).astype(dtype)


def planes_of(array, axes):
    """Planes (Y, X, C), frame by frame and slice by slice, by definition."""
    for axis in "TZC":
        if axis not in axes:
            array, axes = array[..., np.newaxis], axes + axis
    array = array.transpose([axes.index(axis) for axis in "TZYXC"])
    return list(array.reshape(-1, *array.shape[2:]))


def assert_planes(path, expected, asked="automatic"):
    planes = read_planes(path, asked)
    found = list(planes)
    assert len(planes) == len(found) == len(expected)
    for image, plane in zip(found, expected, strict=True):
        assert image.path == path
        assert image.pixel_size_um == planes.pixel_size_um
        np.testing.assert_array_equal(image.array, plane)
    some = len(expected) // 2
    np.testing.assert_array_equal(planes.read(some).array, expected[some])
    return planes


@pytest.mark.parametrize("axes", [axes for axes in STACK_AXES if len(axes) < 6 and set(axes) & set("TZ")])
@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"tile": (16, 16)}, {"byteorder": ">"}])
def test_planes_by_what_the_user_says_and_by_what_the_file_says(tmp_path, axes, options):
    array = stack_of(axes)
    tifffile.imwrite(tmp_path / "told.tif", array, photometric="minisblack", metadata={"axes": axes}, **options)
    tifffile.imwrite(tmp_path / "bare.tif", array, photometric="minisblack", metadata={}, **options)
    expected = planes_of(array, axes)
    for path, asked in [("told.tif", "automatic"), ("told.tif", axes), ("bare.tif", axes)]:
        planes = assert_planes(tmp_path / path, expected, asked)
        assert planes.axes == "".join(axis for axis in "TZ" if axis in axes)
        assert planes.shape == tuple(LENGTHS[axis] for axis in planes.axes)


@pytest.mark.parametrize("order", ["TZCYX", "TCZYX", "ZTYX", "CTYX", "ZCYX"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_ome_stacks_in_any_order(tmp_path, order, compression):
    array = stack_of(order)
    metadata = {"axes": order, "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25}
    tifffile.imwrite(tmp_path / "a.ome.tif", array, ome=True, metadata=metadata, compression=compression)
    assert assert_planes(tmp_path / "a.ome.tif", planes_of(array, order)).pixel_size_um == 0.25


@pytest.mark.parametrize("axes", ["TYX", "ZYX", "TZYX", "TCYX"])
def test_imagej_stacks(tmp_path, axes):
    array = stack_of(axes)
    options = {"resolution": (4, 4), "metadata": {"axes": axes, "unit": "um"}}
    tifffile.imwrite(tmp_path / "a.tif", array, imagej=True, **options)
    assert assert_planes(tmp_path / "a.tif", planes_of(array, axes)).pixel_size_um == 0.25


def test_rgb_stack_loses_its_alpha(tmp_path):
    array = RNG.integers(0, 256, (3, 30, 20, 4)).astype(np.uint8)
    for compression in (None, "zlib"):
        options = {"photometric": "rgb", "extrasamples": ["unassalpha"], "compression": compression}
        tifffile.imwrite(tmp_path / "a.tif", array, metadata={"axes": "TYXS"}, **options)
        assert_planes(tmp_path / "a.tif", list(array[..., :3]))
    with pytest.raises(DataError, match=r"a\.tif .*TZYX in the field axes"):  # colours are no width
        read_planes(tmp_path / "a.tif", "TZYX")


def test_positions_are_those_of_fiji(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", stack_of("TZYX"), imagej=True, metadata={"axes": "TZYX"})
    planes = read_planes(tmp_path / "a.tif")
    expected = [{"T": t, "Z": z} for t, z in itertools.product((1, 2, 3), (1, 2, 3, 4))]
    assert [planes.position(number) for number in range(len(planes))] == expected


@pytest.mark.parametrize("asked", ["automatic", "YX", "TYX", "TZYX"])
def test_a_plane_is_a_plane_whatever_is_asked(tmp_path, asked):
    array = stack_of("YX")
    write_tiff(tmp_path / "a.tif", array, 0.5)
    tifffile.imwrite(tmp_path / "one.tif", array[np.newaxis], imagej=True, metadata={"axes": "TYX"})
    PIL.Image.fromarray(array.astype(np.uint8)).save(tmp_path / "a.png")
    for name in ("a.tif", "one.tif", "a.png"):
        planes = assert_planes(tmp_path / name, [array[..., np.newaxis]], asked)
        assert (planes.axes, planes.shape, planes.position(0)) == ("", (), {})
    assert read_planes(tmp_path / "a.tif").pixel_size_um == 0.5


def test_planes_with_channels_are_planes(tmp_path):
    array = stack_of("YXC")
    write_tiff(tmp_path / "a.tif", array)
    assert_planes(tmp_path / "a.tif", [array])
    tifffile.imwrite(tmp_path / "b.tif", np.moveaxis(array, -1, 0), metadata=None)
    assert_planes(tmp_path / "b.tif", [array], "CYX")


def test_one_plane_is_decoded_at_a_time(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "a.tif", stack_of("TCYX"), metadata={"axes": "TCYX"}, compression="zlib")
    decoded, real = [], tifffile.TiffFrame.asarray
    monkeypatch.setattr(tifffile.TiffFrame, "asarray", lambda page, *a, **k: decoded.append(1) or real(page, *a, **k))
    monkeypatch.setattr(tifffile.TiffPageSeries, "asarray", None)
    counts = [len(decoded) for _ in read_planes(tmp_path / "a.tif")]
    assert np.diff(counts).tolist() == [2, 2]  # two channels for each further plane


def test_pages_that_do_not_say_what_they_are_are_asked_for(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", stack_of("TYX"), photometric="minisblack", metadata=None)
    with pytest.raises(DataError, match=r"a\.tif has the dimensions \(3, 30, 20\).*field axes.*TYX or ZYX"):
        read_planes(tmp_path / "a.tif")
    with pytest.raises(DataError, match="TZYX in the field axes"):
        read_planes(tmp_path / "a.tif", "TZYX")


def test_a_stack_is_no_plane_even_if_asked_for_as_stack(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", stack_of("TYX"), imagej=True, metadata={"axes": "TYX"})
    for asked in ("automatic", "TYX"):
        with pytest.raises(DataError, match=r"a\.tif is a 3D stack or a time series"):
            read_image(tmp_path / "a.tif", asked)


def test_bad_stacks_are_named(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", stack_of("TYX"), imagej=True, metadata={"axes": "TYX"})
    whole = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "cut.tif").write_bytes(whole[: len(whole) - 500])
    with pytest.raises(DataError, match=r"cut\.tif (is truncated|cannot be read)"):
        read_planes(tmp_path / "cut.tif")
    with pytest.raises(DataError, match=r"no file .*none\.tif"):
        read_planes(tmp_path / "none.tif")
    with pytest.raises(DataError, match=r"no file .*none\.png"):
        list(read_planes(tmp_path / "none.png"))
    bad = stack_of("TYX", np.float32)
    bad[2, 3, 4] = np.nan
    tifffile.imwrite(tmp_path / "nan.tif", bad, imagej=True, metadata={"axes": "TYX"})
    planes = iter(read_planes(tmp_path / "nan.tif"))
    next(planes), next(planes)
    with pytest.raises(DataError, match=r"nan\.tif has pixels without a number"):
        next(planes)
    tifffile.imwrite(tmp_path / "z.tif", stack_of("TYX"), imagej=False, photometric="minisblack", compression="zlib")
    with tifffile.TiffFile(tmp_path / "z.tif") as tif:
        start = tif.pages[1].dataoffsets[0]
    data = bytearray((tmp_path / "z.tif").read_bytes())
    data[start : start + 40] = bytes(40)
    (tmp_path / "z.tif").write_bytes(data)
    planes = iter(read_planes(tmp_path / "z.tif", "TYX"))
    next(planes)
    with pytest.raises(DataError, match=r"z\.tif cannot be read"):
        next(planes)


@pytest.mark.parametrize("axes", ["", "T", "Z", "TZ"])
def test_label_files_have_the_axes_and_the_values_given(tmp_path, axes):
    array = stack_of(axes + "YX")
    options = {"resolution": (4, 4), "metadata": {"axes": axes + "YX", "unit": "um"}}
    tifffile.imwrite(tmp_path / "a.tif", array, imagej=True, **options)
    planes = read_planes(tmp_path / "a.tif")
    with label_file(tmp_path / "out" / "l.tif", planes, "me") as stack:
        for image in planes:
            stack.append(image.array[..., 0] * np.uint16(200))
    with tifffile.TiffFile(tmp_path / "out" / "l.tif") as tif:
        assert tif.is_imagej
        assert tif.series[0].axes == axes + "YX"
        assert tif.pages[0].software == "me"
        assert (tif.imagej_metadata["min"], tif.imagej_metadata["max"]) == (0, 200 * array.max())
        labels = tif.asarray()
    assert labels.dtype == np.uint16
    np.testing.assert_array_equal(labels, array * 200)
    assert read_planes(tmp_path / "out" / "l.tif").pixel_size_um == 0.25
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["l.tif"]


def test_more_than_65535_labels_are_exact(tmp_path):
    """Also where only a later plane needs 32 bits; numbers above 2**24 would not survive floats."""
    tifffile.imwrite(tmp_path / "a.tif", stack_of("TYX")[:2], imagej=True, metadata={"axes": "TYX"})
    few = RNG.integers(0, 65536, (30, 20)).astype(np.uint16)
    many = RNG.integers(2**24, 2**32, (30, 20)).astype(np.uint32)
    with label_file(tmp_path / "l.tif", read_planes(tmp_path / "a.tif"), "me") as stack:
        stack.append(few)
        stack.append(many)
    array, axes, *_ = read_pixels(tmp_path / "l.tif")
    assert (array.dtype, axes) == (np.uint32, "TYX")
    np.testing.assert_array_equal(array, [few, many])


def test_an_error_on_the_way_leaves_the_earlier_label_file(tmp_path):
    write_tiff(tmp_path / "a.tif", stack_of("YX"))
    labels = np.ones((30, 20), np.uint16)
    write_tiff(tmp_path / "out" / "l.tif", labels)
    planes = read_planes(tmp_path / "a.tif")

    def interrupted():
        with label_file(tmp_path / "out" / "l.tif", planes, "me") as stack:
            stack.append(labels * 2)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    np.testing.assert_array_equal(read_mask(tmp_path / "out" / "l.tif"), labels)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["l.tif"]
