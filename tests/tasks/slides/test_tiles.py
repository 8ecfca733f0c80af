"""Tiles of a slide give its map again, whatever their side, and nothing of what is done is lost."""

import numpy as np
import pytest
import tifffile

from utils.errors import DataError
from utils.tasks.slides.tiles import NOT_TISSUE, Grid, TileStore, write_class_map

COLOURS = np.zeros((3, 256), np.uint16)
COLOURS[0, 1] = 65535


def filled(folder, ids, side, left_out=()):
    """Store with a map cut into tiles; some are left out."""
    store = TileStore(folder, Grid(ids.shape, side), 2)
    rows, columns = store.grid.size
    whole = np.full((rows * side, columns * side), NOT_TISSUE, np.uint8)
    whole[: ids.shape[0], : ids.shape[1]] = ids
    for number in range(len(store.grid)):
        y, x = store.grid.corner(number)
        if number not in left_out:
            store.put(number, whole[y : y + side, x : x + side], [number, 2 * number])
    return store


@pytest.mark.parametrize("seed", range(8))
def test_tiles_give_the_map_again(tmp_path, seed):
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, 4, rng.integers(1, 300, 2)).astype(np.uint8)
    store = filled(tmp_path, ids, 16 * int(rng.integers(1, 6)))
    np.testing.assert_array_equal(store.map(), ids)
    np.testing.assert_array_equal(store.map(4), ids[::4, ::4])
    np.testing.assert_array_equal(store.counts[:, 1], 2 * np.arange(len(store.grid)))


def test_what_is_done_is_kept(tmp_path):
    ids = np.random.default_rng(0).integers(0, 4, (100, 70)).astype(np.uint8)
    filled(tmp_path, ids, 32, left_out={3, 7})
    again = TileStore(tmp_path, Grid(ids.shape, 32), 2)
    assert again.open_tiles(range(len(again.grid))) == [3, 7]
    assert again.open_tiles([0, 7]) == [7]
    assert (again.tile(3) == NOT_TISSUE).all()
    np.testing.assert_array_equal(again.tile(4), ids[32:64, 32:64])
    with pytest.raises(DataError, match="the beginnings of another prediction"):
        TileStore(tmp_path, Grid(ids.shape, 64), 2)


def test_a_tile_without_its_numbers_is_not_done(tmp_path):
    """Killed between the two: the tile is computed again."""
    ids = np.zeros((64, 64), np.uint8)
    store = filled(tmp_path, ids, 32)
    store.put(2, np.ones((32, 32)), [np.nan, np.nan])
    assert TileStore(tmp_path, store.grid, 2).open_tiles(range(4)) == [2]


@pytest.mark.parametrize(("shape", "side"), [((100, 70), 32), ((5000, 3000), 512), ((16, 16), 16), ((1, 1), 16)])
def test_a_class_map_is_a_pyramid_that_says_its_size(tmp_path, shape, side):
    ids = np.random.default_rng(0).integers(0, 3, shape).astype(np.uint8)
    store = filled(tmp_path / "tiles", ids, side)
    write_class_map(tmp_path / "map.ome.tif", store, 0.5, COLOURS, ["glass", "tissue", "fibrosis"])
    with tifffile.TiffFile(tmp_path / "map.ome.tif") as file:
        assert file.is_ome
        assert 'PhysicalSizeX="0.5"' in file.ome_metadata
        assert "2: fibrosis; 255: not measured" in file.ome_metadata
        levels = file.series[0].levels
        np.testing.assert_array_equal(levels[0].asarray(), ids)
        for number, level in enumerate(levels):
            np.testing.assert_array_equal(level.asarray(), ids[:: 2**number, :: 2**number])
        assert max(levels[-1].shape) <= 1024
        np.testing.assert_array_equal(file.pages[0].colormap, COLOURS)
