"""Slides: the same place at any size of a pixel, white beside them, and files that are none."""

import pickle
import struct

import numpy as np
import PIL.Image
import pytest
import tifffile
from scipy.ndimage import gaussian_filter
from skimage.registration import phase_cross_correlation
from skimage.transform import downscale_local_mean

from data_samples.slides import write_slide
from utils.errors import DataError
from utils.images import slides
from utils.images.slides import WHITE, Slide, _averaged, open_slide

HEIGHT, WIDTH = 1203, 1605  # no multiples of the factors between levels
LEVELS = (1, 4, 16)


def picture() -> np.ndarray:
    """Smooth light and dark of one hue, which JPEG hardly changes, (HEIGHT, WIDTH, 3) uint8."""
    noise = gaussian_filter(np.random.default_rng(0).normal(0, 1, (HEIGHT, WIDTH)), 30, mode="wrap")
    return np.clip(128 + 45 * noise[..., None] / noise.std() * [1, 0.7, 0.85], 0, 255).astype(np.uint8)


def smaller(rgb: np.ndarray, factor: int) -> np.ndarray:
    height, width = (side // factor * factor for side in rgb.shape[:2])
    return np.rint(downscale_local_mean(rgb[:height, :width], (factor, factor, 1))).astype(np.uint8)


def write_ome(path, rgb, levels=LEVELS, um=0.5, **options):
    """As QuPath exports: smaller copies belong to the page of the full image."""
    options = {"tile": (256, 256), "photometric": "rgb", "compression": "zlib"} | options
    with tifffile.TiffWriter(path, ome=True) as file:
        for number, factor in enumerate(levels):
            about = {"axes": "YXS"} | ({"PhysicalSizeX": um, "PhysicalSizeY": um} if um else {})
            more = {"metadata": about, "subifds": len(levels) - 1} if number == 0 else {"subfiletype": 1}
            file.write(smaller(rgb, factor), **more, **options)


def write_generic(path, rgb, levels=LEVELS, um=0.5):
    """As vips and others write: one page after the other, the size of a pixel in the tags."""
    with tifffile.TiffWriter(path) as file:
        for number, factor in enumerate(levels):
            options = {"resolution": (1e4 / um / factor,) * 2, "resolutionunit": "CENTIMETER"} if um else {}
            more = {"subfiletype": int(number > 0), "metadata": None, "compression": "zlib", "tile": (256, 256)}
            file.write(smaller(rgb, factor), photometric="rgb", **more, **options)


WRITERS = {"a.svs": write_slide, "a.ome.tif": write_ome, "a.tif": write_generic}


@pytest.fixture(scope="module")
def rgb():
    return picture()


@pytest.fixture(scope="module", params=WRITERS)
def slide(request, rgb, tmp_path_factory):
    path = tmp_path_factory.mktemp("slides") / request.param
    WRITERS[request.param](path, rgb)
    with open_slide(path) as opened:
        yield opened


def true_region(rgb, x, y, width, height, downsample, finer=8):
    """Mean colours of the squares that pixels stand for, white beside the picture, by points close together."""
    steps = (
        (np.arange(width * finer) + 0.5) / finer * downsample,
        (np.arange(height * finer) + 0.5) / finer * downsample,
    )
    columns, rows = np.floor(x + steps[0]).astype(int), np.floor(y + steps[1]).astype(int)
    inside = ((rows >= 0) & (rows < HEIGHT))[:, None] & ((columns >= 0) & (columns < WIDTH))
    points = rgb[rows.clip(0, HEIGHT - 1)][:, columns.clip(0, WIDTH - 1)].astype(float)
    points[~inside] = WHITE
    return points.reshape(height, finer, width, finer, 3).mean(axis=(1, 3))


# --- laws ---


def test_a_slide_says_what_it_is(slide):
    assert (slide.width, slide.height, slide.um_per_pixel) == (WIDTH, HEIGHT, 0.5)
    assert [level.downsample_x for level in slide.levels] == [1, 4, 16]
    assert slide.remarks == ()


@pytest.mark.parametrize("seed", range(8))
def test_a_region_shows_its_place_at_any_size_of_a_pixel(slide, rgb, seed):
    rng = np.random.default_rng(seed)
    downsample = float(np.exp(rng.uniform(np.log(0.4), np.log(14))))
    x, y = rng.uniform(-50, WIDTH - 300), rng.uniform(-50, HEIGHT - 300)
    width, height = (int(n) for n in rng.integers(20, 45, 2))
    found = slide.read(x, y, width, height, 0.5 * downsample)
    expected = true_region(rgb, x, y, width, height, downsample)
    assert found.shape == (height, width, 3)
    assert found.dtype == np.uint8
    assert np.abs(found - expected).mean() < 4
    shift, *_ = phase_cross_correlation(expected.mean(-1), found.astype(float).mean(-1), upsample_factor=20)
    assert np.abs(shift).max() <= 0.5


@pytest.mark.parametrize("downsample", [1, 2, 3, 4, 16])
def test_a_region_is_exact_where_pixels_fit(tmp_path, rgb, downsample):
    write_ome(tmp_path / "a.ome.tif", rgb)
    with open_slide(tmp_path / "a.ome.tif") as opened:
        found = opened.read(downsample * 16, downsample * 32, 30, 20, 0.5 * downsample)
    expected = smaller(rgb, downsample)[32:52, 16:46]
    assert np.abs(found.astype(int) - expected).max() <= 1  # rounded half up or to even


@pytest.mark.parametrize("downsample", [1, 2, 5])
def test_whole_pixels_give_what_parts_of_pixels_do(tmp_path, rgb, monkeypatch, downsample):
    write_ome(tmp_path / "a.ome.tif", rgb)
    with open_slide(tmp_path / "a.ome.tif") as opened:
        place = -3, 7, 41, 33, 0.5 * downsample
        fast = opened.read(*place)
        monkeypatch.setattr(slides, "_whole", lambda edges: 0)
        assert np.abs(fast.astype(int) - opened.read(*place)).max() <= 1  # rounded once, or for each axis


@pytest.mark.parametrize("many", [2, 3, 8, 300])
def test_means_of_whole_pixels_are_those_of_a_hand(many):
    """Each axis is rounded by itself, halves to even, as for pixels that do not fit."""
    pixels = np.random.default_rng(many).integers(0, 256, (many * 5 + 3, many * 4, 3), dtype=np.uint8)
    pixels[2 : 2 + many] = WHITE  # the largest sum
    edges = 2.0 + many * np.arange(6)
    expected = np.rint(pixels[2 : 2 + 5 * many].reshape(5, many, -1, 3).mean(axis=1)).astype(np.uint8)
    np.testing.assert_array_equal(_averaged(pixels, edges, 0), expected)
    turned = _averaged(np.swapaxes(pixels, 0, 1), edges, 1)
    np.testing.assert_array_equal(np.swapaxes(turned, 0, 1), expected)


@pytest.mark.parametrize("seed", range(6))
def test_parts_of_a_region_are_those_of_the_whole(slide, seed):
    rng = np.random.default_rng(seed)
    um = float(rng.choice([0.5, 0.8, 2, 3, 8]))
    x, y = rng.uniform(-40, 200, 2)
    whole = slide.read(x, y, 60, 50, um)
    top, left = rng.integers(0, 30, 2)
    part = slide.read(x + left * um / 0.5, y + top * um / 0.5, 20, 15, um)
    assert np.abs(part.astype(int) - whole[top : top + 15, left : left + 20]).max() <= 1


def test_beside_the_slide_it_is_white(slide):
    assert (slide.read(-500, 10, 100, 100, 1) == WHITE).all()
    assert (slide.read(WIDTH + 20, 10, 10, 10, 8) == WHITE).all()
    corner = slide.read(-10, -20, 40, 40, 0.5)
    assert (corner[:20] == WHITE).all()
    assert (corner[:, :10] == WHITE).all()
    assert (corner[20:, 10:] != WHITE).any()


def test_a_band_at_a_time_gives_the_same(slide, monkeypatch):
    whole = slide.read(3, 5, 90, 70, 3)
    monkeypatch.setattr("utils.images.slides.AT_ONCE", 5_000)
    assert np.array_equal(slide.read(3, 5, 90, 70, 3), whole)


def test_the_coarsest_level_that_is_fine_enough_is_read(slide):
    assert [slide.level_for(d) for d in (0.5, 1, 3.9, 3.999, 4, 15, 16, 100)] == [0, 0, 0, 1, 1, 1, 2, 2]


def test_a_thumbnail_shows_the_whole_slide(slide, rgb):
    thumbnail = slide.thumbnail(100)
    assert thumbnail.shape == (75, 100, 3)
    expected = true_region(rgb, 0, 0, 100, 75, slide.downsample_of(100))
    assert np.abs(thumbnail[:-1, :-1] - expected[:-1, :-1]).mean() < 4
    assert slide.thumbnail(10_000).shape == (HEIGHT, WIDTH, 3)


def test_a_slide_may_be_sent_to_another_process(slide):
    again = pickle.loads(pickle.dumps(slide))
    assert isinstance(again, Slide)
    assert np.array_equal(again.read(9, 9, 20, 20, 1), slide.read(9, 9, 20, 20, 1))
    again.close()


# --- the size of a pixel ---


def test_without_the_size_of_a_pixel_it_is_asked_for(tmp_path, rgb):
    write_generic(tmp_path / "a.tif", rgb, um=0)
    with open_slide(tmp_path / "a.tif") as opened:
        assert opened.um_per_pixel is None
        assert opened.thumbnail(50).shape == (38, 50, 3)
        with pytest.raises(DataError, match="does not say how large.*pixel_size"):
            opened.read(0, 0, 10, 10, 1)
    with open_slide(tmp_path / "a.tif", 0.25) as opened:
        assert opened.read(0, 0, 10, 10, 1).shape == (10, 10, 3)
        assert pickle.loads(pickle.dumps(opened)).um == 0.25


def test_a_printing_resolution_is_no_size_of_a_pixel(tmp_path, rgb):
    write_generic(tmp_path / "a.tif", rgb, um=25400 / 300)
    with open_slide(tmp_path / "a.tif") as opened:
        assert opened.um_per_pixel is None
        assert "300 dpi" in opened.remarks[0][0]
        with pytest.raises(DataError, match="300 dpi"):
            opened.read(0, 0, 10, 10, 1)


# --- files that are no slides, or not whole ---


def test_a_truncated_slide_is_told(tmp_path, rgb):
    for name, write in WRITERS.items():
        write(tmp_path / name, rgb)
        data = (tmp_path / name).read_bytes()
        for share in (0.3, 0.9, 0.999):
            (tmp_path / f"cut_{name}").write_bytes(data[: int(share * len(data))])
            with pytest.raises(DataError, match="truncated|damaged"):
                open_slide(tmp_path / f"cut_{name}")


def test_damaged_tiles_are_told_when_they_are_read(tmp_path, rgb):
    write_slide(tmp_path / "a.svs", rgb)
    with tifffile.TiffFile(tmp_path / "a.svs") as tif:
        place, length = tif.pages[0].dataoffsets[0], tif.pages[0].databytecounts[0]
    with open(tmp_path / "a.svs", "r+b") as file:
        file.seek(place)
        file.write(b"\0" * length)
    with open_slide(tmp_path / "a.svs") as opened:
        with pytest.raises(DataError, match="damaged"):
            opened.read(0, 0, 64, 64, 0.5)
        assert opened.read(600, 600, 64, 64, 0.5).shape == (64, 64, 3)


OTHERS = {
    "grey": (np.zeros((64, 64), np.uint8), {}, "8-bit colours"),
    "16 bits": (np.zeros((64, 64, 3), np.uint16), {"photometric": "rgb"}, "8-bit colours"),
    "channels": (np.zeros((4, 64, 64), np.uint8), {"photometric": "minisblack"}, "8-bit colours|one plane"),
    "a stack": (np.zeros((5, 64, 64, 3), np.uint8), {"photometric": "rgb"}, "one plane"),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_what_is_no_slide_in_colours_is_told(tmp_path, kind):
    array, options, word = OTHERS[kind]
    tifffile.imwrite(tmp_path / "a.tif", array, **options)
    with pytest.raises(DataError, match=word):
        open_slide(tmp_path / "a.tif")


def test_other_files_are_told(tmp_path, rgb):
    PIL.Image.fromarray(rgb[:50, :50]).save(tmp_path / "a.jpg")
    PIL.Image.fromarray(rgb[:50, :50]).save(tmp_path / "a.png")
    (tmp_path / "a.svs").write_bytes((tmp_path / "a.jpg").read_bytes())
    (tmp_path / "b.svs").write_text("not a slide")
    (tmp_path / "c.svs").touch()
    (tmp_path / "d.svs").write_bytes(struct.pack("<2sHI", b"II", 42, 8))
    words = {
        "a.jpg": "JPEG",
        "a.png": "PNG",
        "a.svs": "JPEG",
        "b.svs": "a text",
        "c.svs": "empty",
        "d.svs": "truncated",
    }
    for name, word in words.items():
        with pytest.raises(DataError, match=word):
            open_slide(tmp_path / name)
    with pytest.raises(DataError, match="There is no file"):
        open_slide(tmp_path / "e.svs")


def test_one_piece_that_is_too_large_is_told(tmp_path, rgb, monkeypatch):
    tifffile.imwrite(tmp_path / "a.tif", rgb, photometric="rgb", rowsperstrip=HEIGHT)
    assert open_slide(tmp_path / "a.tif").height == HEIGHT
    monkeypatch.setattr("utils.images.slides.LARGEST_PIECE", 1 << 20)
    with pytest.raises(DataError, match="one piece of 1605 x 1203"):
        open_slide(tmp_path / "a.tif")


def test_transparency_is_dropped_and_strips_are_read(tmp_path, rgb):
    alpha = np.concatenate([rgb, np.full_like(rgb[..., :1], 255)], axis=-1)
    tifffile.imwrite(tmp_path / "a.tif", alpha, photometric="rgb", extrasamples=["unassalpha"], rowsperstrip=64)
    with open_slide(tmp_path / "a.tif", 0.5) as opened:
        assert np.array_equal(opened.read(10, 20, 50, 40, 0.5), rgb[20:60, 10:60])
