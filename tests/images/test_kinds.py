"""A file is what its first bytes say: read where it is one of ours, named where it is not."""

import gzip
import io
import zipfile

import numpy as np
import PIL.Image
import pytest
import tifffile

from utils.data.problems import problem_of
from utils.errors import DataError
from utils.files import write_text
from utils.images.image import read_image, read_mask
from utils.images.stacks import read_planes

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 255, (12, 16)).astype(np.uint8)


def encoded(kind, array=GREY):
    file = io.BytesIO()
    PIL.Image.fromarray(array).save(file, format=kind)
    return file.getvalue()


def zipped():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.tif", b"x")
    return file.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG"])
@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.jpg", "a.TIFF"])
def test_a_picture_under_a_wrong_name_is_read(tmp_path, kind, name):
    (tmp_path / name).write_bytes(encoded(kind))
    array = read_image(tmp_path / name).array[..., 0]
    assert np.abs(array.astype(int) - GREY).max() <= (50 if kind == "JPEG" else 0)
    assert len(read_planes(tmp_path / name)) == 1
    np.testing.assert_array_equal(next(iter(read_planes(tmp_path / name))).array[..., 0], array)


def test_a_stack_under_a_wrong_name_is_a_stack(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.stack([GREY] * 3), imagej=True, metadata={"axes": "TYX"})
    (tmp_path / "a.tif").rename(tmp_path / "a.png")
    assert read_planes(tmp_path / "a.png").axes == "T"


def test_a_jpeg_named_png_is_no_mask(tmp_path):
    (tmp_path / "m.png").write_bytes(encoded("JPEG"))
    with pytest.raises(DataError, match=r"m\.png is a JPEG \(though it is called \.png\), which smears"):
        read_mask(tmp_path / "m.png")


OTHERS = {
    "a.png: it is a web page": b"\n<!DOCTYPE html>\n<html><body>404</body></html>",
    "a.jpg: it is a web page": b'<?xml version="1.0"?><!DOCTYPE html PUBLIC ""><html xmlns="x">',
    "b.png: it is a web page": b"\xef\xbb\xbf<HTML>",
    "a.tif: it is empty": b"",
    "b.tif: it is a file of zeros": bytes(5000),
    "e.png: it is a WebP": encoded("WEBP"),
    "f.tif: it is a ZIP": zipped(),
    "g.tif: it is a compressed archive": gzip.compress(b"x"),
    "h.tif: it is a Zeiss file": b"ZISRAWFILE" + bytes(30),
    "i.tif: it is a Leica file": b"\x70\0\0\0" + bytes(30),
    "j.jpg: it is a PDF": b"%PDF-1.7\n",
    "k.jpg: it is a HEIC": b"\0\0\0\x18ftypheic" + bytes(30),
    "l.tif: it is a placeholder": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a",
    "m.png: it is a text": b"x,y,area\n1,2,3\n",
    "n.tif: it is an HDF5": b"\x89HDF\r\n\x1a\n" + bytes(30),
    "o.tif: it is a DICOM": bytes(128) + b"DICM",
    "p.png: it is an SVG": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "q.png: it is a text": "Mikroskop; Größe 5 µm".encode(),
    "s.tif: it holds no image": b"II*\0" + bytes(60),
    "r.tif: damaged": b"\x01\x02\x03\xff\xfe" * 30,
}


@pytest.mark.parametrize("case", OTHERS)
def test_what_is_not_read_is_called_what_it_is(tmp_path, case):
    name, _, what = case.partition(": ")
    path = tmp_path / name
    path.write_bytes(OTHERS[case])
    for read in (read_image, read_mask, read_planes):
        with pytest.raises(DataError) as error:
            read(path)
        problem = problem_of(str(path), error.value)
        assert str(error.value).startswith(f"{path} cannot be read: {what}")
        assert problem.what.startswith(f"cannot be read: {what}")
        assert problem.remedy.endswith(".")
        assert "damaged" in what or "damaged" not in problem.what


def test_other_errors_of_reading_are_not_called_damage(tmp_path):
    (tmp_path / "folder.tif").mkdir()
    for path, said in (
        (tmp_path / "folder.tif", "Is a directory|no right to"),
        (tmp_path / f"{'long' * 80}.tif", "name too long|no file"),
    ):
        with pytest.raises(DataError, match=said) as error:
            read_image(path)
        assert "damaged" not in str(error.value)


def test_a_name_that_is_too_long_is_to_be_shortened(tmp_path):
    with pytest.raises(DataError, match="name is too long.*[Ss]horten") as error:
        write_text(tmp_path / f"{'x' * 300}.txt", "text")
    assert "space" not in str(error.value)


def test_the_longest_name_there_is_can_be_written(tmp_path):
    """The temporary name beside it must not be longer."""
    for letter in ("x", "é", "核"):
        name = letter * (250 // len(letter.encode())) + ".txt"
        write_text(tmp_path / name, "text")
        assert [path.name for path in tmp_path.iterdir()] == [name]
        (tmp_path / name).unlink()


@pytest.mark.parametrize(
    ("text", "what", "remedy"),
    [
        ("a.tif holds 0, 1, 2 ... 255, too many. Save it again.", "holds 0, 1, 2 ... 255, too many", "Save it again."),
        ("The masks hold 0, 9 ... 12. Write b. Or c.", "The masks hold 0, 9 ... 12", "Write b. Or c."),
        ("a.tif lies in b. copy.tif. Move it.", "lies in b. copy.tif", "Move it."),
        ("a.tif is odd", "is odd", ""),
    ],
)
def test_a_message_is_parted_between_its_sentences_only(text, what, remedy):
    problem = problem_of("a.tif", DataError(text))
    assert (problem.what, problem.remedy) == (what, remedy)


@pytest.mark.parametrize("shape", [(5, 30, 20), (2, 3, 30, 20), (200, 300, 310), (3, 30, 20)])
def test_advice_on_axes_can_work(tmp_path, shape):
    """Whatever order is offered is one that then reads the file; a mask, and too many dimensions, are offered none."""
    tifffile.imwrite(tmp_path / "a.tif", np.ones(shape, np.uint8), photometric="minisblack")
    with pytest.raises(DataError) as error:
        read_image(tmp_path / "a.tif")
    offered = [axes for axes in ("CYX", "YXC", "TYX") if axes in str(error.value)]
    assert bool(offered) == (shape in [(5, 30, 20), (3, 30, 20)])
    for axes in offered:
        read_image(tmp_path / "a.tif", axes)
    with pytest.raises(DataError) as error:
        read_planes(tmp_path / "a.tif")
    assert ("TCYX" in str(error.value)) == (len(shape) == 4)
    with pytest.raises(DataError, match="a.tif has the dimensions .*a mask is one plane") as error:
        read_mask(tmp_path / "a.tif")
    assert "CYX" not in str(error.value)
    assert "field axes" not in str(error.value)
