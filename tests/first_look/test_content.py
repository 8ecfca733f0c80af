"""What images and masks hold is told from some of them; what is wrong with them is told as in the notebooks."""

import shutil

import numpy as np
import PIL.Image
import pytest
import tifffile

from tests.tiny import write_data
from tests.tiny_crops import write_crops
from tests.tiny_objects import write_objects
from utils.errors import DataError
from utils.first_look import headers
from utils.first_look.content import read_content
from utils.first_look.headers import Header, facts, read_header, read_headers
from utils.first_look.survey import look
from utils.images.image import read_image, write_tiff


def content_of(folder):
    return read_content(look(str(folder)).found)


def whats(content):
    return " / ".join(one.what for one in content.problems)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_header_is_what_reading_the_image_gives(tmp_path, dtype, channels):
    rng = np.random.default_rng(0)
    for side in rng.integers(3, 40, (3, 2)):
        array = rng.integers(0, 200, (*side, channels)).astype(dtype)
        write_tiff(tmp_path / "i.tif", array if channels > 1 else array[..., 0], pixel_size_um=0.25)
        read, header = read_image(tmp_path / "i.tif"), read_header(tmp_path / "i.tif")
        assert (header.height, header.width, header.channels) == read.array.shape
        assert header.bits == 8 * read.array.dtype.itemsize
        assert header.pixel_size_um == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("name", "mode", "channels", "bits"),
    [
        ("a.png", "L", 1, 8),
        ("b.png", "RGB", 3, 8),
        ("c.png", "I;16", 1, 16),
        ("d.jpg", "RGB", 3, 8),
        ("e.bmp", "L", 1, 8),
        ("f.gif", "L", 3, 8),
        ("g.png", "RGBA", 3, 8),
    ],
)
def test_headers_of_pictures(tmp_path, name, mode, channels, bits):
    picture = PIL.Image.new(mode, (6, 4))
    picture.save(tmp_path / name)
    if name == "f.gif":  # Pillow calls it a palette
        channels = read_header(tmp_path / name).channels
    assert read_header(tmp_path / name) == Header(tmp_path / name, 4, 6, channels, bits)


def test_stacks_and_pyramids(tmp_path):
    tifffile.imwrite(tmp_path / "t.tif", np.zeros((5, 8, 9), np.uint16), imagej=True, metadata={"axes": "TYX"})
    with tifffile.TiffWriter(tmp_path / "p.tif") as tif:
        options = {"tile": (16, 16), "photometric": "rgb"}
        tif.write(np.zeros((64, 48, 3), np.uint8), subifds=1, **options)
        tif.write(np.zeros((32, 24, 3), np.uint8), subfiletype=1, **options)
    stack, slide = (read_header(tmp_path / name) for name in ("t.tif", "p.tif"))
    assert (stack.planes, stack.is_slide) == ({"T": 5}, False)
    assert (slide.height, slide.width, slide.channels, slide.is_slide) == (64, 48, 3, True)
    rows = dict(facts([stack, slide]))
    assert rows["Stacks"] == "1 of 2: 5 time points"
    assert rows["Channels"] == "1 in 1 files, 3 in 1 files"
    assert rows["Pixel size"] == "not said by the files"


def test_only_some_of_many_files_are_opened_and_bad_ones_are_told(tmp_path, monkeypatch):
    write_tiff(tmp_path / "0.tif", np.zeros((4, 4), np.uint8))
    paths = [tmp_path / f"{number}.tif" for number in range(200)]
    for path in paths[1:]:
        shutil.copy(paths[0], path)
    paths[-1].write_bytes(b"")
    read, wrong = read_headers(paths)
    assert len(read) == headers.LOOKED_AT - 1
    assert [path.name for path, _ in wrong] == ["199.tif"]
    monkeypatch.setattr(headers, "SECONDS", -1)
    assert read_headers(paths) == ([], [])


def test_a_file_that_is_no_image_is_said_to_be_one(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((3, 3)))
    (tmp_path / "a.npy").rename(tmp_path / "a.tif")
    with pytest.raises(DataError, match="NumPy"):
        read_header(tmp_path / "a.tif")


def test_the_kind_of_masks(tmp_path):
    write_objects(tmp_path / "objects", 4)
    write_data(tmp_path / "binary", 4)
    write_data(tmp_path / "classes", 4, classes=3)
    kinds = [content_of(tmp_path / name).mask_type for name in ("objects", "binary", "classes")]
    assert kinds == ["instance labels", "binary", "classes"]


def test_good_data_have_no_problems_and_pictures_with_outlines(tmp_path):
    content = content_of(write_data(tmp_path, 6))
    assert content.problems == []
    assert len(content.pictures) == 4
    for _, picture in content.pictures:
        assert picture.shape == (64, 64, 3)
        assert (picture == (25, 255, 50)).all(axis=-1).any()
    crops = content_of(write_crops(tmp_path / "crops", 3))
    assert [title for title, _ in crops.pictures] == ["dot", "ring", "stripe"]
    assert crops.problems == []


def test_what_is_wrong_is_told(tmp_path):
    write_data(tmp_path, 5)
    write_tiff(tmp_path / "masks" / "image_0.tif", np.ones((8, 8), np.uint8))
    (tmp_path / "images" / "image_1.tif").write_bytes(b"II*\0")
    (tmp_path / "masks" / "image_2.tif").unlink()
    (tmp_path / "images" / "x.czi").touch()
    told = whats(content_of(tmp_path))
    for part in ("the mask has 8 x 8 pixels", "cannot be read", "there is no mask for this image", "microscope"):
        assert part in told


def test_photographs_as_masks_are_told_and_nothing_is_asked_about_their_values(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(4):
        for kind in ("images", "masks"):
            write_tiff(tmp_path / kind / f"{number}.tif", rng.integers(0, 255, (40, 40), np.uint8))
    content = content_of(tmp_path)
    assert "look like images" in whats(content)
    assert len(content.problems) == 1
    assert content.mask_type == ""


def test_jpeg_masks_are_told_of_a_few(tmp_path):
    for number in range(6):
        for kind, ending in (("images", "png"), ("masks", "jpg")):
            (tmp_path / kind).mkdir(exist_ok=True)
            PIL.Image.new("L", (20, 20)).save(tmp_path / kind / f"{number}.{ending}")
    assert sum("JPEG" in one.what for one in content_of(tmp_path).problems) == 3


def test_images_of_several_kinds_are_told(tmp_path):
    for number, array in enumerate([np.zeros((9, 9), np.uint8), np.zeros((9, 9), np.uint16)] * 2):
        write_tiff(tmp_path / f"{number}.tif", array)
    assert "8 bit in 2, 16 bit in 2" in whats(content_of(tmp_path))
