"""Small pictures in a grid, and file names from class names."""

import numpy as np
import pytest

from utils.pages.pictures import file_stems, montage, thumbnail


@pytest.mark.parametrize("seed", range(10))
def test_a_montage_holds_each_picture_once_and_in_order(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 30))
    pictures = [np.full((*rng.integers(1, 20, 2), 3), i + 1, np.uint8) for i in range(n)]
    result = montage(pictures)
    assert result.dtype == np.uint8
    assert result.shape[2] == 3
    corners = []
    for i, one in enumerate(pictures):
        found = np.argwhere((result == i + 1).all(axis=-1))
        assert len(found) == one.shape[0] * one.shape[1]
        corners.append(tuple((found.min(axis=0) + found.max(axis=0)) // 2))
    height, width = np.max([one.shape[:2] for one in pictures], axis=0)
    cells = [(y // (height + 2), x // (width + 2)) for y, x in corners]
    assert cells == sorted(set(cells))  # row by row, one in a cell


def test_colours_are_kept():
    red = np.zeros((4, 5, 3), np.uint8)
    red[..., 0] = 200
    assert (montage([red])[2:-2, 2:-2] == (200, 0, 0)).all()


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_thumbnails_are_small_and_as_bright(channels, dtype):
    image = np.zeros((300, 150, channels), dtype)
    image[:150] = 200
    small = thumbnail(image, 96)
    assert small.dtype == np.uint8
    assert small.shape == (96, 48, 3)
    assert small[:40].max() > 250
    assert small[-40:].max() < 5
    assert thumbnail(image[:9, :7]).shape == (9, 7, 3)  # not enlarged


def test_file_names():
    names = [
        "early anaphase",
        "a/b",
        "a\\b",
        "métaphase",
        "x, y",
        "con",
        "Con",
        "",
        "..",
        ".hidden",
        "A",
        "a",
        "ü?" * 90,
    ]
    stems = file_stems(names)
    assert stems[0] == "early anaphase"
    assert stems[3] == "métaphase"
    assert len({one.casefold() for one in stems}) == len(names)
    for stem in stems:
        assert stem == stem.strip(" .")
        assert 0 < len(stem) < 90
        assert not set(stem) & set('/\\:*?"<>|,')
        assert stem.casefold() not in ("con", "")
    assert file_stems(["e\u0301", "\u00e9"])[0] == "\u00e9"  # one letter, however it was typed


def test_an_order_of_names_that_collides_with_its_own_numbers():
    stems = file_stems(["a", "a_1", "A", "a?", "a_"])
    assert len({one.casefold() for one in stems}) == 5
