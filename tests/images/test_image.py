"""Files and arrays: what is written comes back, what is odd is refused with the file's name and a remedy."""

import os
import stat
from pathlib import Path

import imagecodecs
import numpy as np
import PIL.Image
import pytest
import tifffile

from utils.data.folders import find_images
from utils.errors import DataError
from utils.images.decoders import read_pixels
from utils.images.image import read_image, read_mask, write_tiff
from utils.images.normalise import percentiles
from utils.paths import resolve

RNG = np.random.default_rng(0)


def random_image(shape, dtype):
    if np.dtype(dtype) == np.float32:
        return RNG.normal(0, 1e3, shape).astype(np.float32)
    return RNG.integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("memory_map", [False, True])
def test_what_is_written_is_read(tmp_path, dtype, channels, memory_map):
    for _ in range(4):
        array = random_image((*RNG.integers(2, 60, 2), channels), dtype)
        size = float(10 ** RNG.uniform(-2, 1))
        write_tiff(tmp_path / "a.tif", array if channels > 1 else array[..., 0], size)
        image = read_image(tmp_path / "a.tif", memory_map=memory_map)
        assert image.array.shape == array.shape
        assert image.array.dtype.newbyteorder("=") == dtype
        np.testing.assert_array_equal(image.array, array)
        assert image.pixel_size_um == pytest.approx(size, rel=1e-4)
    assert isinstance(image.array, np.memmap) == memory_map


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
def test_labels_come_back_exactly(tmp_path, dtype):
    labels = random_image((40, 30), dtype)
    write_tiff(tmp_path / "labels.tif", labels, 0.25)
    again = read_mask(tmp_path / "labels.tif")
    assert again.dtype == dtype
    np.testing.assert_array_equal(again, labels)
    with tifffile.TiffFile(tmp_path / "labels.tif") as tif:
        assert tif.pages[0].dtype == dtype  # on the disk too: never through float
    assert read_pixels(tmp_path / "labels.tif")[2] == pytest.approx(0.25)


def test_colour_table_keeps_the_values_and_shows_them(tmp_path):
    mask = RNG.integers(0, 3, (20, 30)).astype(np.uint8)
    write_tiff(tmp_path / "m.tif", mask, 0.5, colours={1: (255, 0, 0), 2: (0, 255, 10)}, value_range=(0, 2))
    np.testing.assert_array_equal(read_mask(tmp_path / "m.tif"), mask)
    with tifffile.TiffFile(tmp_path / "m.tif") as tif:
        assert tif.is_imagej
        # ImageJ stretches the colour table over the display range: any other range would show other colours
        assert (tif.imagej_metadata["min"], tif.imagej_metadata["max"]) == (0, 255)
        np.testing.assert_array_equal(tif.pages[0].colormap[:, 1] >> 8, [255, 0, 0])
        np.testing.assert_array_equal(tif.pages[0].colormap[:, 2] >> 8, [0, 255, 10])
    with pytest.raises(DataError, match="m.tif .*Grays"):
        read_image(tmp_path / "m.tif")


def test_display_range_of_16_bit_masks(tmp_path):
    write_tiff(tmp_path / "m.tif", np.full((5, 5), 300, np.uint16), value_range=(0, 300))
    with tifffile.TiffFile(tmp_path / "m.tif") as tif:
        assert (tif.imagej_metadata["min"], tif.imagej_metadata["max"]) == (0, 300)


def test_fiji_lookup_table_keeps_intensities(tmp_path):
    array = random_image((20, 30), np.uint8)
    greens = np.zeros((3, 256), np.uint16)
    greens[1] = np.arange(256) * 257
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="palette", colormap=greens)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").array[..., 0], array)


def test_failed_write_leaves_the_earlier_file(tmp_path, monkeypatch):
    array = random_image((20, 30), np.uint16)
    write_tiff(tmp_path / "a.tif", array)

    def full_disk(path, *_args, **_options):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tifffile, "imwrite", full_disk)
    with pytest.raises(DataError, match="a.tif could not be written .*No space left"):
        write_tiff(tmp_path / "a.tif", array + 1)
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").array[..., 0], array)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_png_keeps_16_bits_and_drops_alpha(tmp_path, dtype, channels):
    array = random_image((17, 23, channels), dtype)
    (tmp_path / "a.PNG").write_bytes(imagecodecs.png_encode(array.squeeze()))
    kept = {1: 1, 2: 1, 3: 3, 4: 3}[channels]
    image = read_image(tmp_path / "a.PNG")
    assert image.array.dtype == dtype
    np.testing.assert_array_equal(image.array, array[..., :kept])


def test_palette_png_is_colour_as_image_and_ids_as_mask(tmp_path):
    ids = RNG.integers(0, 3, (11, 13)).astype(np.uint8)
    picture = PIL.Image.fromarray(ids, mode="P")
    picture.putpalette([0, 0, 0, 200, 10, 20, 30, 40, 250])
    picture.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), ids)
    assert read_image(tmp_path / "a.png").array[ids == 1].tolist()[0] == [200, 10, 20]


def test_jpeg_is_turned_upright(tmp_path):
    array = np.zeros((16, 32), np.uint8)
    array[:, 16:] = 200
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # to be shown turned clockwise
    PIL.Image.fromarray(array).save(tmp_path / "a.jpg", exif=exif, quality=95)
    shown = read_image(tmp_path / "a.jpg").array[..., 0]
    assert shown.shape == (32, 16)
    assert np.abs(shown.astype(int) - np.rot90(array, -1)).max() < 10


@pytest.mark.parametrize(
    "options", [{"compression": "lzw"}, {"compression": "zlib", "predictor": True}, {"tile": (16, 16)}]
)
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_foreign_tiffs(tmp_path, options, byteorder):
    array = random_image((50, 40), np.uint16)
    tifffile.imwrite(tmp_path / "a.tiff", array, byteorder=byteorder, **options)
    for memory_map in (False, True):
        np.testing.assert_array_equal(read_image(tmp_path / "a.tiff", memory_map=memory_map).array[..., 0], array)


def test_jpeg_tiff_is_rgb(tmp_path):
    array = np.full((32, 32, 3), (200, 30, 100), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", array, compression="jpeg", photometric="rgb")
    assert np.abs(read_image(tmp_path / "a.tif").array.astype(int) - array).max() < 5


def test_planar_rgb_and_alpha_and_inverted_display(tmp_path):
    rgb = random_image((30, 20, 3), np.uint8)
    tifffile.imwrite(tmp_path / "p.tif", np.moveaxis(rgb, -1, 0), photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(read_image(tmp_path / "p.tif").array, rgb)
    rgba = random_image((30, 20, 4), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", rgba, photometric="rgb", extrasamples=["unassalpha"])
    for memory_map in (False, True):
        np.testing.assert_array_equal(read_image(tmp_path / "a.tif", memory_map=memory_map).array, rgba[..., :3])
    tifffile.imwrite(tmp_path / "w.tif", rgb[..., 0], photometric="miniswhite")  # contrast is never inverted
    np.testing.assert_array_equal(read_image(tmp_path / "w.tif").array[..., 0], rgb[..., 0])


@pytest.mark.parametrize(
    ("stored", "kept"),
    [
        (bool, np.uint8),
        (np.float16, np.float32),
        (np.float64, np.float32),
        (np.int16, np.float32),
        (np.int32, np.float32),
    ],
)
def test_other_dtypes(tmp_path, stored, kept):
    array = (RNG.integers(0, 2, (9, 9)) if stored is bool else RNG.integers(-90, 90, (9, 9))).astype(stored)
    tifffile.imwrite(tmp_path / "a.tif", array)
    image = read_image(tmp_path / "a.tif").array
    assert image.dtype == kept
    np.testing.assert_array_equal(image[..., 0], array)


def test_integers_that_float32_cannot_hold_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.full((4, 4), 2**24 + 1, np.uint32))
    with pytest.raises(DataError, match="a.tif .*uint32"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused(tmp_path, bad):
    array = np.zeros((3000, 500), np.float32)
    array[-1, -1] = bad
    write_tiff(tmp_path / "a.tif", array)
    for memory_map in (False, True):
        with pytest.raises(DataError, match="a.tif has pixels without a number"):
            read_image(tmp_path / "a.tif", memory_map=memory_map)


def test_float64_beyond_float32_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.full((4, 4), 1e300))
    with pytest.raises(DataError, match="infinite"):
        read_image(tmp_path / "a.tif")


def test_axes_from_metadata(tmp_path):
    planes = random_image((2, 30, 20), np.uint16)
    tifffile.imwrite(tmp_path / "ij.tif", planes[None, None], imagej=True, metadata={"axes": "TZCYX"})
    metadata = {"axes": "TCZYX", "PhysicalSizeX": 300, "PhysicalSizeXUnit": "nm"}
    tifffile.imwrite(tmp_path / "x.ome.tif", planes[None, :, None], ome=True, metadata=metadata)
    for name in ("ij.tif", "x.ome.tif"):
        image = read_image(tmp_path / name)
        np.testing.assert_array_equal(image.array, np.moveaxis(planes, 0, -1))
    assert image.pixel_size_um == pytest.approx(0.3)


@pytest.mark.parametrize("axes", ["ZYX", "TYX", "TZYX"])
def test_stacks_are_refused(tmp_path, axes):
    shape = (3, 2, 30, 20)[-len(axes) :] if len(axes) == 4 else (3, 30, 20)
    tifffile.imwrite(tmp_path / "a.tif", random_image(shape, np.uint16), imagej=True, metadata={"axes": axes})
    with pytest.raises(DataError, match="a.tif is a 3D stack or a time series"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("metadata", [None, {}])
def test_unknown_axes_are_asked_and_then_obeyed(tmp_path, metadata):
    planes = random_image((5, 30, 20), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", planes, metadata=metadata, photometric="minisblack")
    with pytest.raises(DataError, match="a.tif .*field axes"):
        read_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", "CYX").array, np.moveaxis(planes, 0, -1))
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", "YXC").array, planes)
    with pytest.raises(DataError, match="field axes"):
        read_image(tmp_path / "a.tif", "YX")


def test_last_axis_of_three_without_metadata_is_colour(tmp_path):
    array = random_image((30, 20, 3), np.float32)
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="minisblack")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").array, array)


def test_two_images_in_one_file_are_refused(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(random_image((30, 20), np.uint8), metadata=None)
        writer.write(random_image((10, 20), np.uint8), metadata=None)
    with pytest.raises(DataError, match="a.tif holds 2 images"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("unit", ["px", "tags in cm", "dpi", "oblong"])
def test_unlikely_pixel_sizes_are_unknown(tmp_path, unit):
    options = {
        "px": {"imagej": True, "resolution": (1, 1), "metadata": {"unit": "pixel"}},
        "tags in cm": {"resolution": (20000, 20000), "resolutionunit": "CENTIMETER"},
        "dpi": {"resolution": (300, 300), "resolutionunit": "INCH"},
        "oblong": {"resolution": (20000, 10000), "resolutionunit": "CENTIMETER"},
    }
    tifffile.imwrite(tmp_path / "a.tif", random_image((9, 8), np.uint8), **options[unit])
    assert read_image(tmp_path / "a.tif").pixel_size_um == (0.5 if unit == "tags in cm" else None)


@pytest.mark.parametrize("kind", ["tif", "lzw", "jpeg tif", "pages", "channels", "png", "jpg"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.95])
def test_truncated_files_are_refused(tmp_path, kind, share):
    path = tmp_path / f"cut.{kind if kind in ('png', 'jpg') else 'tif'}"
    grey, rgb = random_image((60, 50), np.uint8), random_image((60, 50, 3), np.uint8)
    if kind in ("png", "jpg"):
        PIL.Image.fromarray(rgb).save(path)
    elif kind == "pages":
        with tifffile.TiffWriter(path) as writer:
            for _ in range(3):
                writer.write(grey, metadata=None)
    elif kind == "channels":
        write_tiff(path, random_image((60, 50, 2), np.uint16))
    else:
        options = {"lzw": {"compression": "lzw"}, "jpeg tif": {"compression": "jpeg", "photometric": "rgb"}, "tif": {}}
        tifffile.imwrite(path, rgb if kind == "jpeg tif" else grey, **options[kind])
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    for memory_map in (False, True):
        with pytest.raises(DataError, match=f"{path.name} (is truncated|cannot be read)"):
            read_image(path, "CYX" if kind == "pages" else "automatic", memory_map)


def test_missing_and_unreadable_files_are_named(tmp_path):
    (tmp_path / "text.tif").write_text("no image")
    with pytest.raises(DataError, match="text.tif cannot be read"):
        read_image(tmp_path / "text.tif")
    with pytest.raises(DataError, match="no file .*nowhere.tif"):
        read_image(tmp_path / "nowhere.tif")


def test_masks_lose_nothing(tmp_path):
    mask = RNG.integers(0, 300, (20, 30))
    for dtype in (np.uint16, np.int32, np.float32, np.float64):
        tifffile.imwrite(tmp_path / "m.tif", mask.astype(dtype))
        again = read_mask(tmp_path / "m.tif")
        assert again.dtype.kind == "u"
        np.testing.assert_array_equal(again, mask)
    full = np.full((8, 8), 255, np.uint8)  # wholly foreground stays foreground
    write_tiff(tmp_path / "full.tif", full)
    np.testing.assert_array_equal(read_mask(tmp_path / "full.tif"), full)
    PIL.Image.fromarray(full > 0).save(tmp_path / "bits.png")
    assert (read_mask(tmp_path / "bits.png") > 0).all()


def test_grey_mask_stored_as_rgb_is_read(tmp_path):
    grey = RNG.integers(0, 3, (10, 12)).astype(np.uint8)
    PIL.Image.fromarray(np.stack([grey] * 3, axis=-1)).save(tmp_path / "m.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png"), grey)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("c.png", np.eye(9, dtype=np.uint8)[..., None] * np.array([255, 0, 0], np.uint8), "colour picture"),
        ("f.tif", np.full((9, 9), 0.5, np.float32), "fractional"),
        ("n.tif", np.full((9, 9), -1, np.int16), "negative"),
        ("i.tif", np.full((9, 9), np.nan, np.float32), "infinite"),
        ("j.jpg", np.zeros((9, 9), np.uint8), "JPEG"),
    ],
)
def test_bad_masks_are_refused(tmp_path, name, array, message):
    if name.endswith("tif"):
        tifffile.imwrite(tmp_path / name, array)
    else:
        PIL.Image.fromarray(array).save(tmp_path / name)
    with pytest.raises(DataError, match=f"{name} .*{message}"):
        read_mask(tmp_path / name)


def test_find_images_leaves_system_files_out(tmp_path):
    for name in ("b.TIF", "a.png", "c.jpeg", "notes.txt", "desktop.ini", "Thumbs.db", ".DS_Store", "._a.png", ".b.tif"):
        (tmp_path / name).write_bytes(b"x")
    for folder in (".ipynb_checkpoints", "__MACOSX", "deep.tif"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "d.tif").write_bytes(b"x")
    assert [path.name for path in find_images(tmp_path)] == ["a.png", "b.TIF", "c.jpeg"]
    assert [path.name for path in find_images(tmp_path, recursive=True)] == ["a.png", "b.TIF", "c.jpeg", "d.tif"]


def test_missing_and_empty_folders_are_named(tmp_path):
    with pytest.raises(DataError, match="no folder .*nowhere"):
        find_images(tmp_path / "nowhere")
    (tmp_path / "desktop.ini").write_text("")
    with pytest.raises(DataError, match=f"{tmp_path.name} holds no image"):
        find_images(tmp_path)
    with pytest.raises(DataError, match="empty"):
        resolve("")


def test_relative_paths_start_at_the_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "utils").mkdir()
    (tmp_path / "utils" / "a.tif").write_bytes(b"x")
    with pytest.raises(DataError, match="holds no image"):  # the project's utils, not the one of the working directory
        find_images(resolve("utils"))
    assert os.getcwd() == str(tmp_path)


@pytest.mark.skipif(os.name == "nt" or getattr(os, "geteuid", lambda: 1)() == 0, reason="root may write anywhere")
def test_folder_without_permission_is_named(tmp_path):
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(DataError, match="could not be written"):
        write_tiff(tmp_path / "a.tif", np.zeros((4, 4), np.uint8))
    tmp_path.chmod(stat.S_IRWXU)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_percentiles_are_numpys(dtype):
    for _ in range(20):
        array = random_image((*RNG.integers(2, 70, 2), RNG.integers(1, 4)), dtype) // dtype(RNG.integers(1, 50))
        low, high = np.sort(RNG.uniform(0, 100, 2))
        expected = np.percentile(array.astype(np.float64), (low, high), axis=(0, 1))
        found = percentiles(array, low, high)
        assert all(value.dtype == np.float32 for value in found)
        np.testing.assert_allclose(found[0], expected[0], rtol=1e-5)
        wide = expected[1] > expected[0]
        np.testing.assert_allclose(found[1][wide], expected[1][wide], rtol=1e-5)


def test_percentiles_over_several_chunks_and_foreign_bytes():
    array = RNG.integers(0, 65536, (1500, 1100, 1)).astype(">u2")
    np.testing.assert_allclose(np.ravel(percentiles(array, 1, 99.8)), np.percentile(array, (1, 99.8)), rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_percentiles_of_even_channels(dtype):
    array = np.full((50, 50, 2), 7, dtype)
    array[3, 4, 1] = 200
    low, high = percentiles(array, 1, 99.8)
    assert low.tolist() == [7, 7]
    assert high.tolist() == [8, 200]


def test_a_folder_that_may_not_be_read_and_a_name_that_is_too_long_are_told(tmp_path, monkeypatch):
    def refuse(self):
        raise PermissionError(13, "Permission denied")

    with pytest.raises(DataError, match="no folder"):
        find_images(Path("x" * 5000))
    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(DataError, match="cannot be read .Permission denied.*Ask for the right"):
        find_images(tmp_path)
