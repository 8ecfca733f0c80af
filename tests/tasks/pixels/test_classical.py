"""The opponents of the U-Net: honest methods, chosen on training images, that mark nothing where there is nothing."""

import json
from dataclasses import replace

import numpy as np
import pytest

from tests.tasks.pixels.test_evaluate import model_of
from tests.tiny import blobs, write_data
from utils.data.examples import Example
from utils.images.image import Image
from utils.images.normalise import normalise
from utils.tasks import otsu, report
from utils.tasks.held_out import evaluate, find_test_set
from utils.tasks.opponents import COMPARED
from utils.tasks.otsu import OFFSETS, SIGMAS, Otsu, fit_otsu, is_coherent, mean_overlap, threshold_of
from utils.tasks.pixels import classical
from utils.tasks.pixels.classical import fit_pixel_forest, window
from utils.tasks.registry import UNET

CLASSES = [{"id": 0, "name": "background"}, {"id": 1, "name": "cell"}]


@pytest.fixture(autouse=True, scope="module")
def fewer_pixels():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classical, "MOST_PIXELS", 1500)
        yield


def example(array, mask, name="a", group=None):
    array = array if array.ndim == 3 else array[..., None]
    return Example(name, Image(name, array, None, "YXC"), np.asarray(mask, np.uint8), group or name, name)


def discs(n=4, seed=0, classes=2, channels=1):
    rng = np.random.default_rng(seed)
    return [example(*blobs(rng, 64, classes, channels), f"{seed}_{i}") for i in range(n)]


# --- Otsu's threshold


def test_the_threshold_lies_between_the_two_sides():
    plane = np.array([[0, 1, 0, 1, 9, 10, 9, 10], [1, 0, 1, 0, 10, 9, 10, 9]] * 4, np.float32)
    assert 1 < threshold_of(plane) < 9
    assert threshold_of(-plane) == pytest.approx(-threshold_of(plane), abs=9)  # anywhere in the gap between 1 and 9
    assert threshold_of(plane, 0.1) - threshold_of(plane) == pytest.approx(0.1 * 9, abs=0.05)
    assert Otsu("channel 1", sigma=0).class_ids(plane[..., None]).tolist() == [[0] * 4 + [1] * 4] * 8
    assert Otsu("channel 1", bright=False, sigma=0).class_ids(plane[..., None]).tolist() == [[1] * 4 + [0] * 4] * 8


def test_coherence_of_noise_and_of_small_objects():
    rng = np.random.default_rng(0)
    assert not is_coherent(rng.random((64, 64)) > 0.5)
    assert not is_coherent(np.zeros((8, 8), bool))
    assert not is_coherent(np.ones((8, 8), bool))
    small = np.zeros((60, 60), bool)
    small[5:8, 5:8] = small[30:33, 40:43] = True
    assert is_coherent(small)
    lone = np.zeros((60, 60), bool)
    lone[5, 5] = lone[30, 40] = True
    assert not is_coherent(lone)


NOISE = {
    "faint": lambda rng: rng.normal(1000, 2, (64, 64)),
    "strong": lambda rng: rng.normal(1000, 300, (64, 64)),
    "photons": lambda rng: rng.poisson(0.05, (64, 64)),
    "uniform": lambda rng: rng.uniform(0, 1, (64, 64)),
    "constant": lambda rng: np.full((64, 64), 7.0),
    "hot pixel": lambda rng: np.where(np.arange(4096).reshape(64, 64) == 77, 60000.0, 100.0),
    "interpolated": lambda rng: rng.normal(100, 9, (64, 65)) @ (np.eye(65, 64) + np.eye(65, 64, -1)) / 2,
}


@pytest.mark.parametrize("kind", NOISE)
@pytest.mark.parametrize("bright", [True, False])
def test_an_empty_image_gives_an_empty_mask(kind, bright):
    array = NOISE[kind](np.random.default_rng(3))[..., None].astype(np.float32)
    for sigma in SIGMAS:
        for offset in OFFSETS:
            assert not Otsu("channel 1", bright, sigma, offset).class_ids(array).any()


@pytest.mark.parametrize("level", [0.01, 1, 300])
def test_a_lone_object_on_noise_of_any_level_is_found(level):
    mask = np.zeros((64, 64), np.uint8)
    mask[30:40, 20:30] = 1
    array = (1000 + 8.0 * level * mask.astype(float) + np.random.default_rng(0).normal(0, level, mask.shape))[..., None]
    assert mean_overlap([Otsu("channel 1", sigma=1).class_ids(array) > 0], [mask]) > 0.75


def test_dark_objects_are_found_as_bright_ones_are():
    examples = discs()
    turned = [replace(one, image=replace(one.image, array=20000 - one.image.array)) for one in examples]
    bright, dark = fit_otsu(examples), fit_otsu(turned)
    assert (bright.bright, dark.bright) == (True, False)
    assert bright == replace(dark, bright=True)
    for one, other in zip(examples, turned, strict=True):
        assert (bright.class_ids(one.image.array) == dark.class_ids(other.image.array)).all()


def test_the_colour_that_tells_is_chosen():
    rng, examples = np.random.default_rng(0), []
    for i in range(3):
        _, mask = blobs(rng, 64)
        red, grey = np.array([200, 60, 90]), np.array([105, 105, 105])
        shade = rng.uniform(0.5, 1.2, (64, 64, 1))  # brightness tells nothing
        array = (np.where(mask[..., None] > 0, red, grey) * shade).clip(0, 255).astype(np.uint8)
        examples.append(example(array, mask, str(i)))
    chosen = fit_otsu(examples)
    assert chosen.plane in ("red against green", "saturation", "eosin")
    found = [chosen.class_ids(one.image.array) > 0 for one in examples]
    assert mean_overlap(found, [one.mask for one in examples]) > 0.9


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_colours_are_the_same_in_every_dtype_and_in_bands(dtype, monkeypatch):
    array = np.random.default_rng(0).integers(0, 256, (40, 30, 3)).astype(np.uint8)
    array[0, 0] = 255
    scale = {np.uint8: 1, np.uint16: 257, np.float32: 1 / 255}[dtype]
    for name in otsu.plane_names(3):
        expected = otsu.plane_of(array, name)
        monkeypatch.setattr(otsu, "BAND", 100)
        found = otsu.plane_of((array.astype(float) * scale).astype(dtype), name)
        monkeypatch.undo()
        if name in otsu.COLOURS:
            np.testing.assert_allclose(found, expected, atol=1e-3)
    assert otsu.plane_names(1) == ["channel 1"]


# --- both


@pytest.mark.parametrize("channels", [1, 3])
def test_the_order_of_the_training_images_does_not_matter(channels):
    examples, new = discs(channels=channels), discs(1, seed=9, channels=channels)[0].image.array
    forth, back = (classical.classical_segmenters(given, CLASSES) for given in (examples, examples[::-1]))
    assert forth["Otsu threshold"] == back["Otsu threshold"]
    for name, one in forth.items():
        assert (one.class_ids(new) == back[name].class_ids(new)).all()


def test_two_classes_have_both_opponents_and_more_have_the_forest():
    examples = discs(classes=3)
    assert list(classical.classical_segmenters(examples, [*CLASSES, {"id": 2, "name": "other"}])) == ["pixel forest"]
    assert list(classical.classical_segmenters(discs(), CLASSES)) == ["Otsu threshold", "pixel forest"]


# --- the pixel forest


@pytest.mark.parametrize("classes", [2, 3])
def test_the_forest_segments_images_that_it_has_not_seen(classes):
    table = [{"id": i, "name": str(i)} for i in range(classes)]
    forest = fit_pixel_forest(discs(classes=classes), table)
    for one in discs(2, seed=5, classes=classes):
        found = forest.class_ids(one.image.array)
        assert (found.dtype, found.shape) == (np.uint8, one.mask.shape)
        assert (found == one.mask).mean() > 0.93


def test_tiles_change_nothing_that_matters(monkeypatch):
    forest = fit_pixel_forest(discs(), CLASSES)
    array, _ = blobs(np.random.default_rng(7), 200)
    whole = forest.class_ids(array)
    monkeypatch.setattr(classical, "TILE", 96)
    assert (forest.class_ids(array) == whole).mean() > 0.99


def test_a_rare_class_that_looks_much_like_another_is_found_where_classes_weigh_alike():
    """Bright and dark halves of noise, and a corner that is a little brighter than the bright half."""
    rng, examples = np.random.default_rng(0), []
    for i in range(3):
        mask = np.zeros((64, 64), np.uint8)
        mask[:, 32:], mask[:8, :8] = 1, 2
        examples.append(example(np.take([0, 2, 2.3], mask) + rng.normal(0, 1, mask.shape), mask, str(i)))
    table, recall, found = [{"id": i, "name": str(i)} for i in range(3)], {}, {}
    for balanced in (False, True):
        found[balanced] = fit_pixel_forest(examples[:2], table, balanced=balanced).class_ids(examples[2].image.array)
        recall[balanced] = (found[balanced] == examples[2].mask)[:8, :8].mean()
    assert recall[True] > recall[False] + 0.2
    assert np.bincount(found[True].ravel())[2] > np.bincount(found[False].ravel())[2]


def test_a_forest_that_is_asked_for_some_pixels_finds_there_what_it_finds_anyway(monkeypatch):
    monkeypatch.setattr(classical, "TILE", 96)
    forest = fit_pixel_forest(discs(), CLASSES)
    array, _ = blobs(np.random.default_rng(7), 200)
    where = np.random.default_rng(8).random((200, 200)) < 0.3
    where[:110] = False  # tiles of which nobody wants to know anything
    found, all_of_it = forest.class_ids(array, where), forest.class_ids(array)
    assert len(np.unique(found[where])) == 2
    assert (found == np.where(where, all_of_it, 0)).all()


@pytest.mark.parametrize("kind", ["brightness tells", "exposure varies"])
def test_brightness_is_used_where_it_tells_and_left_where_it_does_not(kind):
    rng, examples = np.random.default_rng(0), []
    for i in range(8):
        array, mask = blobs(rng, 64)
        if kind == "brightness tells":
            array, mask = (array, mask) if i % 2 else (array // 8, mask * 0)  # the same objects, dim: they are none
        else:
            array = (array * 10.0 ** (i % 4 - 2)).astype(np.float32)
        examples.append(example(array, mask, str(i)))
    forest, new = fit_pixel_forest(examples[:6], CLASSES), examples[6:]
    assert mean_overlap([forest.class_ids(one.image.array) > 0 for one in new], [one.mask for one in new]) > 0.8


def test_a_single_image_and_a_class_that_is_nowhere_are_enough():
    one = discs(1)[0]
    three = [*CLASSES, {"id": 2, "name": "other"}]
    assert set(np.unique(fit_pixel_forest([one], three).class_ids(one.image.array))) == {0, 1}
    empty = replace(one, mask=np.zeros_like(one.mask))
    for predictor in classical.classical_segmenters([empty, replace(empty, name="b")], CLASSES).values():
        assert predictor.class_ids(one.image.array).shape == one.mask.shape


def test_pixels_are_drawn_where_the_classes_are():
    mask = np.zeros((1000, 900), np.uint8)
    mask[990:, 890:] = 1
    rows, columns = window(mask, np.random.default_rng(0))
    assert mask[rows, columns].any()
    assert mask[rows, columns].shape == (classical.WINDOW, classical.WINDOW)
    x, y, area = classical.draw_pixels([example(mask.astype(np.float32), mask), *discs(1)])
    assert area.sum() == pytest.approx(2)  # 1 for each image
    assert x[True].shape == x[False].shape == (len(y), 16)
    assert len(y) <= classical.MOST_PIXELS


@pytest.mark.parametrize("seed", range(4))
def test_filtering_once_gives_the_features_of_both_ranges(seed):
    rng = np.random.default_rng(seed)
    shape = (*rng.integers(20, 50, 2), int(rng.choice([1, 3])))
    block = (rng.uniform(-100, 100) + rng.uniform(5, 50) * rng.normal(size=shape)).astype(np.float32)
    low, high = (np.quantile(block, q, axis=(0, 1)).astype(np.float32) for q in (0.1, 0.9))
    found = classical.in_both_ranges(block, low, high)
    for own_range, expected in {True: normalise(block, low, high), False: block}.items():
        expected = classical.features(expected).reshape(found[own_range].shape)
        np.testing.assert_allclose(found[own_range], expected, rtol=1e-3, atol=1e-4 * np.ptp(expected))


# --- on the page


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("classical")
    return model_of(folder, write_data(folder / "data", 12))


@pytest.fixture(scope="module")
def result(project):
    found = find_test_set(UNET, project.folder)
    return evaluate(UNET, project.folder, found, training=project.examples("training"))


def test_network_and_opponents_are_told_beside_each_other(project, result):
    assert result.classical["method"].tolist() == ["network", "Otsu threshold", "pixel forest"]
    assert result.classical["value"][0] == result.headline["value"]
    assert result.classical["value"][1] > 0.8
    written = json.loads((project.folder / "scores.json").read_text())["classical"]
    assert [one["method"] for one in written] == result.classical["method"].tolist()
    assert written[1]["difference"] == pytest.approx(result.classical["difference"][1])
    assert len(UNET.score_tables(result)[COMPARED]) == 3
    page = report.write(UNET, project.folder, result, []).read_text()
    assert COMPARED in page
    assert "Is it worth it?" in page
    assert "is better: use it (" in page


def test_the_opponents_know_the_training_images_only(project, result, monkeypatch):
    known = []
    monkeypatch.setattr(UNET, "opponents", lambda training, *_: known.extend(training) or {}, raising=False)
    UNET.evaluation(result.predictor, result.test_set, project.examples("training"))
    assert {one.name for one in known}.isdisjoint(one.name for one in result.test_set.examples)
    monkeypatch.undo()
    half = replace(result.test_set, examples=result.test_set.examples[:2])
    again = UNET.evaluation(result.predictor, half, project.examples("training"))
    chosen = fit_otsu(project.examples("training"))
    for table, test_set in ((again, half), (result, result.test_set)):
        found = [chosen.class_ids(one.image.array) > 0 for one in test_set.examples]
        assert table.classical["value"][1] == pytest.approx(mean_overlap(found, [x.mask for x in test_set.examples]))


def test_without_training_images_nothing_is_said_of_opponents(project, tmp_path):
    plain = evaluate(UNET, project.folder, find_test_set(UNET, project.folder))
    assert plain.classical is None
    assert "classical" not in json.loads((project.folder / "scores.json").read_text())
    assert UNET.remarks(plain) == []
    assert UNET.score_tables(plain)[COMPARED].empty
