"""What numbers mean, for images and for masks: every way that TIFF and PNG have to store them."""

import struct
import zlib

import imagecodecs
import numpy as np
import PIL.Image
import pytest
import tifffile

from utils.errors import DataError
from utils.images.image import read_image, read_mask
from utils.images.photometric import TURNED, WHITE_IS_ZERO
from utils.images.stacks import read_planes

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (24, 20, 3)).astype(np.uint8)
MASK = np.repeat(np.repeat(RNG.integers(0, 2, (6, 5)), 4, axis=0), 4, axis=1).astype(bool)
LABELS = RNG.integers(0, 9, (24, 20)).astype(np.uint8)


def shown(path):
    """Which pixels Pillow shows white (others: black)."""
    with PIL.Image.open(path) as picture:
        return np.asarray(picture.convert("L")) > 127


# --- TIFF: colours


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr"])
@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "jpeg"])
def test_other_colours_become_what_pillow_shows(tmp_path, mode, compression):
    smooth = np.asarray(PIL.Image.fromarray(RGB).resize((64, 48), PIL.Image.Resampling.BICUBIC))
    PIL.Image.fromarray(smooth).convert(mode).save(tmp_path / "a.tif", compression=compression)
    with PIL.Image.open(tmp_path / "a.tif") as picture:
        expected = np.asarray(picture.convert("RGB")).astype(int)
    for memory_map in (False, True):
        image = read_image(tmp_path / "a.tif", memory_map=memory_map)
        assert image.array.dtype == np.uint8
        assert np.abs(image.array - expected).max() <= (3 if compression == "jpeg" else 1)
    if mode == "YCbCr":
        assert np.abs(image.array - smooth.astype(int)).max() < 60
    with pytest.raises(DataError, match=f"a.tif is a colour picture .{mode} colours"):
        read_mask(tmp_path / "a.tif")


def test_cmyk_in_planes_and_with_alpha_is_the_same(tmp_path):
    cmyk = np.asarray(PIL.Image.fromarray(RGB).convert("CMYK"))
    expected = np.asarray(PIL.Image.fromarray(cmyk, "CMYK").convert("RGB"))
    planes = np.moveaxis(cmyk, -1, 0)
    tifffile.imwrite(tmp_path / "p.tif", planes, photometric="separated", planarconfig="separate")
    np.testing.assert_array_equal(read_image(tmp_path / "p.tif").array, expected)
    with_alpha = np.concatenate([cmyk, cmyk[..., :1]], axis=-1)
    tifffile.imwrite(tmp_path / "a.tif", with_alpha, photometric="separated", extrasamples=["unassalpha"])
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").array, expected)


REFUSED = {
    "CIELab": {"photometric": "cielab"},
    "CIELab colours": {"photometric": "icclab"},
    "YCbCr colours": {
        "photometric": "ycbcr",
        "extratags": [
            (530, "H", 2, (1, 1), True),
            (532, "2I", 6, (16, 1, 235, 1, 128, 1, 240, 1, 128, 1, 240, 1), True),
        ],
    },
    "raw values of a camera": {"photometric": "linear_raw"},
    "raw values": {"photometric": "logluv"},
}


@pytest.mark.parametrize("kind", REFUSED)
def test_colours_that_cannot_be_told_are_refused(tmp_path, kind):
    tifffile.imwrite(tmp_path / "a.tif", RGB, **REFUSED[kind])
    for read in (read_image, lambda path: list(read_planes(path))):
        with pytest.raises(DataError, match=f"a.tif is stored in {kind}.*not red, green and blue.*RGB Color"):
            read(tmp_path / "a.tif")
    with pytest.raises(DataError, match="a.tif is a colour picture .*not a mask"):
        read_mask(tmp_path / "a.tif")


def test_colours_stored_more_coarsely_than_brightness_are_refused(tmp_path):
    PIL.Image.fromarray(RGB).convert("YCbCr").save(tmp_path / "a.tif")
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as tif:
        tif.pages[0].tags["YCbCrSubSampling"].overwrite((2, 2))
    with pytest.raises(DataError, match="a.tif is stored in YCbCr colours"):
        read_image(tmp_path / "a.tif")


def test_16_bit_cmyk_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", RNG.integers(0, 65536, (9, 8, 4)).astype(np.uint16), photometric="separated")
    with pytest.raises(DataError, match="CMYK"):
        read_image(tmp_path / "a.tif")


def test_every_photometric_interpretation_is_decided(tmp_path):
    """What a TIFF may say of its numbers is either known or refused: nothing passes unnoticed."""
    for photometric in tifffile.PHOTOMETRIC:
        samples = {"RGB": 3, "SEPARATED": 4}.get(photometric.name, 1)
        array = LABELS if samples == 1 else np.stack([LABELS] * samples, axis=-1)
        tifffile.imwrite(tmp_path / "a.tif", array, photometric="minisblack" if samples == 1 else photometric)
        with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as tif:
            tif.pages[0].tags["PhotometricInterpretation"].overwrite(int(photometric))
        if photometric.name in ("MINISBLACK", "MINISWHITE", "RGB", "SEPARATED"):
            assert read_image(tmp_path / "a.tif").array.shape[-1] in (1, 3)
        else:
            with pytest.raises(DataError, match=r"a.tif (is stored in|cannot be read)"):
                read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("planarconfig", ["contig", "separate"])
@pytest.mark.parametrize("alpha", ["unassalpha", "assocalpha"])
def test_transparency_is_left_out_of_images(tmp_path, planarconfig, alpha):
    rgba = np.concatenate([RGB, RGB[..., :1]], axis=-1)
    stored = np.moveaxis(rgba, -1, 0) if planarconfig == "separate" else rgba
    options = {"photometric": "rgb", "planarconfig": planarconfig, "extrasamples": [alpha]}
    tifffile.imwrite(tmp_path / "a.tif", stored, **options)
    for memory_map in (False, True):
        np.testing.assert_array_equal(read_image(tmp_path / "a.tif", memory_map=memory_map).array, RGB)


# --- TIFF: grey


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 10, 12, 14, 16, 24])
def test_numbers_of_any_bits_are_what_they_are(tmp_path, bits):
    dtype = np.uint8 if bits <= 8 else np.uint16 if bits <= 16 else np.uint32
    array = RNG.integers(0, min(2**bits, 2**24), (24, 20)).astype(dtype)
    options = {} if bits in (1, 8, 16) else {"bitspersample": bits}
    tifffile.imwrite(
        tmp_path / "a.tif", array.astype(bool) if bits == 1 else array, photometric="minisblack", **options
    )
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").array[..., 0], array)
    np.testing.assert_array_equal(read_mask(tmp_path / "a.tif"), array)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.uint16])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_white_is_zero(tmp_path, dtype, compression):
    """Images keep their numbers, and it is said; of masks white is foreground, as other programs show them."""
    white = 1 if dtype is bool else np.iinfo(dtype).max
    stored = (MASK * white).astype(dtype)
    options = {"photometric": "miniswhite", "compression": compression}
    tifffile.imwrite(tmp_path / "a.tif", stored, **options)
    image = read_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(image.array[..., 0], stored)
    assert image.remarks == (WHITE_IS_ZERO,)
    np.testing.assert_array_equal(read_mask(tmp_path / "a.tif"), np.where(stored, 0, white))
    if dtype is not np.uint16:  # which Pillow forgets to turn round, and Fiji does not
        np.testing.assert_array_equal(read_mask(tmp_path / "a.tif") > 0, shown(tmp_path / "a.tif"))
    for full in (0, white):
        tifffile.imwrite(tmp_path / "f.tif", np.full((9, 8), full).astype(dtype), **options)
        assert (read_mask(tmp_path / "f.tif") == white - full).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32])
def test_labels_with_white_as_zero_are_asked_for(tmp_path, dtype):
    tifffile.imwrite(tmp_path / "a.tif", LABELS.astype(dtype), photometric="miniswhite")
    with pytest.raises(DataError, match="a.tif is stored with white as 0 .*Lookup Tables > Grays"):
        read_mask(tmp_path / "a.tif")


def test_an_image_that_asks_to_be_turned_is_named(tmp_path):
    for orientation in (1, 6):
        tags = [(274, "H", 1, orientation, True)]
        tifffile.imwrite(tmp_path / "a.tif", RGB, photometric="rgb", extratags=tags)
        image = read_image(tmp_path / "a.tif")
        np.testing.assert_array_equal(image.array, RGB)
        assert image.remarks == ((TURNED,) if orientation != 1 else ())


# --- colour tables


def write_table(path, indices, table):
    """Picture of indices into a table (n, 3) of 8 bits, as TIFF or PNG."""
    if path.suffix == ".png":
        picture = PIL.Image.fromarray(indices, mode="P")
        picture.putpalette(np.asarray(table, np.uint8).tobytes())
        picture.save(path)
        return
    whole = np.zeros((3, 256), np.uint16)
    whole[:, : len(table)] = np.asarray(table, np.uint16).T * 257
    tifffile.imwrite(path, indices, photometric="palette", colormap=whole)


BLACK, GREY, WHITE, RED, BLUE = (0,) * 3, (128,) * 3, (255,) * 3, (200, 10, 20), (30, 40, 250)
DECIDED = {  # table -> what the indices 0, 1, 2 become as a mask; None: refused
    "two colours on black": ([BLACK, RED, BLUE], [0, 1, 2]),
    "two colours on white": ([WHITE, RED, BLUE], [0, 1, 2]),
    "no black at all": ([BLUE, RED, WHITE], [0, 1, 2]),
    "rising greys": ([BLACK, GREY, WHITE], [0, 1, 2]),
    "black for another value": ([RED, BLACK, BLUE], None),
    "falling greys": ([WHITE, GREY, BLACK], None),
}


@pytest.mark.parametrize("ending", ["png", "tif"])
@pytest.mark.parametrize("case", DECIDED)
def test_a_table_gives_its_indices_unless_it_shows_another_background(tmp_path, case, ending):
    table, expected = DECIDED[case]
    indices = RNG.integers(0, 3, (24, 20)).astype(np.uint8)
    write_table(tmp_path / f"a.{ending}", indices, table)
    if expected is None:
        with pytest.raises(DataError, match=f"a.{ending} shows"):
            read_mask(tmp_path / f"a.{ending}")
    else:
        np.testing.assert_array_equal(read_mask(tmp_path / f"a.{ending}"), np.array(expected)[indices])


@pytest.mark.parametrize("ending", ["png", "tif"])
@pytest.mark.parametrize("table", [[BLACK, WHITE], [WHITE, BLACK]])
@pytest.mark.parametrize("content", ["both", "0", "1"])
def test_black_and_white_are_as_shown(tmp_path, table, content, ending):
    indices = MASK.astype(np.uint8) if content == "both" else np.full((24, 20), int(content), np.uint8)
    write_table(tmp_path / f"a.{ending}", indices, table)
    expected = np.array([sum(colour) > 0 for colour in table])[indices]
    np.testing.assert_array_equal(read_mask(tmp_path / f"a.{ending}") > 0, expected)
    if ending == "png":
        np.testing.assert_array_equal(shown(tmp_path / "a.png"), expected)


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_tables_of_images(tmp_path, ending):
    """A PNG shows its colours; a TIFF keeps its numbers if they may be intensities, else it is refused."""
    indices = RNG.integers(0, 3, (24, 20)).astype(np.uint8)
    path = tmp_path / f"a.{ending}"
    write_table(path, indices, [BLUE, RED, WHITE])
    if ending == "png":
        np.testing.assert_array_equal(read_image(path).array, np.array([BLUE, RED, WHITE])[indices])
    else:
        with pytest.raises(DataError, match="a.tif is stored with a table of colours"):
            read_image(path)


def test_a_stack_of_labels_with_a_table_gives_its_indices(tmp_path):
    """Fiji colours labels by a lookup table; as images such a stack is refused."""
    stack = RNG.integers(0, 9, (3, 24, 20)).astype(np.uint8)
    table = RNG.integers(1, 65536, (3, 256)).astype(np.uint16)
    options = {"photometric": "palette", "colormap": table, "metadata": {"axes": "TYX"}}
    tifffile.imwrite(tmp_path / "a.tif", stack, **options)
    found = [one.array[..., 0] for one in read_planes(tmp_path / "a.tif", "TYX", mask=True)]
    np.testing.assert_array_equal(found, stack)
    with pytest.raises(DataError, match="table of colours"):
        read_planes(tmp_path / "a.tif", "TYX")


# --- PNG


def write_png(path, bits, colour, rows, width, table=None, transparent=None):
    """PNG of given packed rows."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, len(rows), bits, colour, 0, 0, 0)
    parts = [chunk(b"IHDR", header), *([chunk(b"PLTE", bytes(table))] if table else [])]
    parts += [chunk(b"tRNS", bytes(transparent))] if transparent else []
    parts += [chunk(b"IDAT", zlib.compress(b"".join(b"\0" + bytes(row) for row in rows))), chunk(b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_a_png_of_few_bits_is_spread_as_all_programs_show_it(tmp_path, bits):
    rows = RNG.integers(0, 256, (6, 4)).astype(np.uint8)
    write_png(tmp_path / "a.png", bits, 0, rows, 32 // bits)
    expected = np.unpackbits(rows, axis=1).reshape(6, -1, bits) @ (1 << np.arange(bits)[::-1])
    expected = expected * (255 // (2**bits - 1))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").array[..., 0], expected)
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), expected)
    with PIL.Image.open(tmp_path / "a.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture.convert("L")), expected)


def test_a_table_of_few_bits_with_transparent_background_gives_its_indices(tmp_path):
    rows = RNG.integers(0, 256, (6, 4)).astype(np.uint8)
    write_png(tmp_path / "a.png", 2, 3, rows, 16, table=[*BLACK, *RED, *BLUE, *WHITE], transparent=[0])
    expected = np.unpackbits(rows, axis=1).reshape(6, -1, 2) @ [2, 1]
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), expected)


@pytest.mark.parametrize("ending", ["png", "tif"])
@pytest.mark.parametrize("channels", [1, 3])
def test_transparency_of_masks_may_hide_nothing(tmp_path, ending, channels):
    """White where it is transparent would become foreground; where all that is hidden is 0 it does not matter."""
    path = tmp_path / f"a.{ending}"
    for colour, alpha, fine in (
        (np.full(MASK.shape, 255), MASK * 255, False),  # white everywhere, objects opaque
        (MASK * 255, np.full(MASK.shape, 255), True),
        (MASK * 255, MASK * 255, True),
        (MASK * 255, MASK * 200, False),
    ):
        array = np.stack([colour] * channels + [alpha], axis=-1).astype(np.uint8)
        if ending == "png":
            path.write_bytes(imagecodecs.png_encode(array))
        else:
            photometric = "rgb" if channels == 3 else "minisblack"
            options = {"photometric": photometric, "planarconfig": "contig", "extrasamples": ["unassalpha"]}
            tifffile.imwrite(path, array, **options)
        if fine:
            np.testing.assert_array_equal(read_mask(path), MASK * 255)
        else:
            with pytest.raises(DataError, match=f"a.{ending} has transparent pixels that are not 0"):
                read_mask(path)


def test_a_mask_of_red_green_blue_and_more_is_what_is_shown(tmp_path):
    array = np.stack([LABELS] * 3 + [np.full_like(LABELS, 255)], axis=-1)
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="rgb", extrasamples=["unspecified"])
    np.testing.assert_array_equal(read_mask(tmp_path / "a.tif"), LABELS)


def test_a_film_is_no_image(tmp_path):
    frames = [PIL.Image.fromarray(LABELS + np.uint8(i)) for i in range(2)]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    for read in (read_image, read_mask):
        with pytest.raises(DataError, match="a.png holds a film"):
            read(tmp_path / "a.png")


def test_masks_smeared_by_jpeg_are_refused_in_a_tiff_too(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", MASK.astype(np.uint8) * 255, compression="jpeg", photometric="minisblack")
    with pytest.raises(DataError, match="a.tif is compressed as JPEG"):
        read_mask(tmp_path / "a.tif")
    read_image(tmp_path / "a.tif")


def test_complex_numbers_are_no_mask(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.ones((9, 8), np.complex64))
    for read in (read_mask, read_image):
        with pytest.raises(DataError, match="a.tif has"):
            read(tmp_path / "a.tif")


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_a_jpeg_is_grey_or_red_green_and_blue(tmp_path, mode):
    flat = PIL.Image.new("RGB", (32, 24), (200, 30, 60)).convert(mode)
    flat.save(tmp_path / "a.jpg", quality=95)
    array = read_image(tmp_path / "a.jpg").array
    assert (
        np.abs(array.astype(int) - np.asarray(flat.convert("L" if mode == "L" else "RGB")).reshape(24, 32, -1)).max()
        < 5
    )


@pytest.mark.parametrize("ending", ["png", "gif", "bmp"])
@pytest.mark.parametrize("table", [[255, 255, 255, 255, 0, 0], [0, 0, 0, 255, 255, 255, 255, 0, 0]])
def test_a_value_means_the_same_whichever_others_a_mask_holds(tmp_path, ending, table):
    for used in range(1, len(table) // 3 + 1):
        labels = np.tile(np.arange(used, dtype=np.uint8), (6, 4))
        picture = PIL.Image.fromarray(labels, mode="L")
        picture.putpalette(table)
        picture.save(tmp_path / f"a{used}.{ending}", **({"optimize": False} if ending == "gif" else {}))
        np.testing.assert_array_equal(read_mask(tmp_path / f"a{used}.{ending}"), labels)
