"""Patches and tiles: nothing of an image is left out, and tiles put together give the image."""

import numpy as np
import pytest

from utils.patching.patches import draw_position, grid_positions, predict_in_tiles, tile_layout, tile_starts


def stitched(image, tile, overlap, multiple=1):
    """Image put together from its tiles, and the row slices in the order they came."""
    result, rows_seen = np.full(image.shape, np.nan, np.float32), []
    tiles = predict_in_tiles(image.shape[:2], lambda rows, columns: image[rows, columns], tile, overlap, multiple)
    for rows, block in tiles:
        assert block.dtype == np.float32
        assert block.shape == (rows.stop - rows.start, *image.shape[1:])
        result[rows] = block
        rows_seen.append(rows)
    return result, rows_seen


@pytest.mark.parametrize("seed", range(30))
def test_tiles_stitched_back_give_the_image(seed):
    rng = np.random.default_rng(seed)
    shape = *rng.integers(1, 200, 2), rng.integers(1, 4)  # ragged, and smaller than a tile as well as larger
    multiple = int(rng.choice([1, 4, 8]))
    tile = multiple * int(rng.integers(1, 1 + rng.choice([10, 40, 150]) // multiple))
    image = rng.normal(size=shape).astype(np.float32)
    result, rows_seen = stitched(image, tile, int(rng.integers(0, tile - multiple + 1)), multiple)
    np.testing.assert_allclose(result, image, rtol=1e-5, atol=1e-6)
    # from top to bottom, without gaps and without coming twice
    assert rows_seen[0].start == 0
    assert rows_seen[-1].stop == shape[0]
    assert all(one.stop == following.start for one, following in zip(rows_seen, rows_seen[1:], strict=False))


@pytest.mark.parametrize("shape", [(300, 20), (20, 300), (512, 512), (513, 511)])
def test_only_a_band_of_rows_is_asked_for_at_a_time(shape):
    asked = []

    def predict(rows, columns):
        asked.append((rows, columns))
        assert rows.stop - rows.start <= 64
        assert columns.stop - columns.start <= 64
        assert rows.stop <= shape[0]
        assert columns.stop <= shape[1]
        return np.ones((rows.stop - rows.start, columns.stop - columns.start, 2), np.float32)

    for rows, block in predict_in_tiles(shape, predict, 64, 16):
        assert asked[-1][0].start <= rows.start  # no later row of tiles was predicted before this block came
        assert rows.stop <= asked[-1][0].stop
        np.testing.assert_allclose(block, 1, rtol=1e-6)


def test_blocks_stay_as_they_are_when_later_ones_come():
    image = np.random.default_rng(0).normal(size=(200, 30, 1)).astype(np.float32)
    blocks = list(predict_in_tiles((200, 30), lambda rows, columns: image[rows, columns], 32, 8))
    np.testing.assert_allclose(np.concatenate([block for _, block in blocks]), image, rtol=1e-5, atol=1e-6)


def test_blending_is_linear_over_the_overlap():
    # two tiles of 8 pixels, 4 in common, the left predicts 0 and the right 1
    def predict(rows, columns):
        return np.full((rows.stop - rows.start, columns.stop - columns.start, 1), float(columns.start > 0), np.float32)

    ((_, block),) = predict_in_tiles((3, 12), predict, 8, 4)
    expected = [0, 0, 0, 0, 1 / 5, 2 / 5, 3 / 5, 4 / 5, 1, 1, 1, 1]  # weights 4:1, 3:2, 2:3, 1:4
    np.testing.assert_allclose(block[..., 0], [expected] * 3, rtol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_probabilities_still_sum_to_1_after_blending(seed):
    rng = np.random.default_rng(seed)

    def predict(rows, columns):  # neighbouring tiles disagree
        p = rng.random((rows.stop - rows.start, columns.stop - columns.start, 3), np.float32)
        return p / p.sum(axis=-1, keepdims=True)

    for _, block in predict_in_tiles((70, 53), predict, 20, int(rng.integers(20))):
        np.testing.assert_allclose(block.sum(axis=-1), 1, rtol=1e-5)


def test_tile_starts_laws():
    rng = np.random.default_rng(0)
    for _ in range(2000):
        length, tile = int(rng.integers(1, 500)), int(rng.integers(1, 100))
        overlap = int(rng.integers(0, tile))
        starts = tile_starts(length, tile, overlap)
        steps = np.diff(starts)
        assert starts[0] == 0
        assert starts[-1] == max(length - tile, 0)
        assert (steps > 0).all()
        assert (tile - steps >= overlap).all()
        assert len(steps) == 0 or steps.max() - steps.min() <= 1  # evenly spaced
        fewer = len(starts) - 1  # one tile less could not cover it
        assert fewer == 0 or fewer * tile - (fewer - 1) * overlap < length


def test_tile_starts_by_hand():
    assert tile_starts(10, 10, 3).tolist() == [0]
    assert tile_starts(7, 10, 3).tolist() == [0]
    assert tile_starts(11, 10, 3).tolist() == [0, 1]
    assert tile_starts(24, 10, 3).tolist() == [0, 7, 14]


def test_tile_layout_laws():
    rng = np.random.default_rng(0)
    for _ in range(2000):
        multiple = int(rng.choice([1, 2, 8, 16]))
        length, tile = int(rng.integers(1, 1500)), multiple * int(rng.integers(1, 40))
        overlap = int(rng.integers(0, tile - multiple + 1))
        side, starts = tile_layout(length, tile, overlap, multiple)
        assert side <= tile
        assert side % multiple == 0
        assert all(start % multiple == 0 for start in starts)  # the network pools on the same grid in every tile
        assert starts[0] == 0
        assert length <= starts[-1] + side < length + multiple
        assert (side - np.diff(starts) >= overlap).all()
        shared = -(-overlap // multiple) * multiple
        smaller = (side - multiple) * len(starts) - shared * (len(starts) - 1)
        assert smaller < starts[-1] + side  # tiles one step smaller would not cover it


def test_tile_layout_by_hand():
    assert tile_layout(520, 512, 64, 8) == (296, [0, 224])  # not two tiles of 512 that overlap by 504
    assert tile_layout(696, 512, 64, 8) == (384, [0, 312])
    assert tile_layout(1024, 512, 64, 8) == (384, [0, 320, 640])
    assert tile_layout(5, 512, 64, 8) == (8, [0])
    assert tile_layout(512, 512, 64, 8) == (512, [0])


@pytest.mark.parametrize("overlap", [-1, 8, 9])
def test_impossible_overlap_is_refused(overlap):
    with pytest.raises(ValueError, match="overlap"):
        tile_starts(100, 8, overlap)


@pytest.mark.parametrize("seed", range(20))
def test_grid_covers_every_pixel_with_whole_patches(seed):
    rng = np.random.default_rng(seed)
    patch = tuple(rng.integers(1, 30, 2))
    shape = tuple(side + int(rng.integers(0, 60)) for side in patch)
    seen = np.zeros(shape, bool)
    for y, x in grid_positions(shape, patch):
        window = seen[y : y + patch[0], x : x + patch[1]]
        assert window.shape == patch
        window[:] = True
    assert seen.all()  # the remainder beyond the last whole patch too
    assert len(grid_positions(shape, patch)) == np.prod([-(-a // b) for a, b in zip(shape, patch, strict=True)])


def drawn(mask, patch, min_fraction, n, seed=0):
    rng = np.random.default_rng(seed)
    return np.array([draw_position(mask, patch, min_fraction, rng) for _ in range(n)])


def shares(mask, patch, positions):
    return np.array([(mask[y : y + patch[0], x : x + patch[1]] > 0).mean() for y, x in positions])


@pytest.mark.parametrize("seed", range(10))
def test_drawn_patches_lie_inside_the_image(seed):
    rng = np.random.default_rng(seed)
    patch = tuple(rng.integers(1, 20, 2))
    shape = tuple(side + int(rng.integers(0, 4)) for side in patch)
    mask = (rng.random(shape) < rng.random()).astype(np.uint8)
    positions = drawn(mask, patch, rng.random(), 50, seed)
    assert (positions >= 0).all()
    assert (positions + patch <= shape).all()


def test_min_fraction_is_honoured_where_positions_of_that_share_are_common():
    mask = np.zeros((100, 80), np.uint8)
    mask[:, 40:] = 3  # class ids, not only 1, count as foreground
    positions = drawn(mask, (16, 8), 0.5, 300)
    assert (shares(mask, (16, 8), positions) >= 0.5).all()
    assert len(np.unique(positions[:, 0])) > 50  # any of those, not always the best


def test_min_fraction_that_no_patch_reaches_gives_the_best_that_was_tried():
    mask = np.zeros((64, 64), np.uint8)
    mask[28:36, 28:36] = 1  # at most 64 of 256 pixels: 0.25
    unguided, guided = (shares(mask, (16, 16), drawn(mask, (16, 16), fraction, 200)) for fraction in (0, 0.9))
    assert guided.mean() > 3 * unguided.mean()
    assert guided.max() == 0.25


@pytest.mark.parametrize("min_fraction", [0, 0.02, 1])
@pytest.mark.parametrize("value", [0, 1])
def test_even_masks_are_drawn_from_uniformly(min_fraction, value):
    positions = drawn(np.full((12, 10), value, np.uint8), (4, 4), min_fraction, 3000)
    for axis, places in ((0, 9), (1, 7)):
        counts = np.bincount(positions[:, axis], minlength=places)
        expected = 3000 / places
        assert len(counts) == places
        assert ((counts - expected) ** 2 / expected).sum() < 30  # chi-square with <= 8 degrees: p of about 0.0002


def test_patch_as_large_as_the_image():
    assert draw_position(np.ones((5, 9), np.uint8), (5, 9), 0.5, np.random.default_rng(0)) == (0, 0)
    assert grid_positions((5, 9), (5, 9)) == [(0, 0)]
