"""The opponent of StarDist: separate objects by threshold and watershed, none where there is nothing."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from tests.tiny_objects import discs
from utils.data.examples import Example
from utils.images.image import Image
from utils.tasks import report
from utils.tasks.held_out import evaluate, find_test_set
from utils.tasks.objects.classical import Watershed, fit_watershed, median_diameter, pooled_ap
from utils.tasks.opponents import COMPARED
from utils.tasks.otsu import Otsu
from utils.tasks.registry import STARDIST


def examples_of(n=3, seed=0, channels=1):
    rng = np.random.default_rng(seed)
    drawn = [discs(rng, 64, channels) for _ in range(n)]
    return [
        Example(str(i), Image(str(i), array, None, "YXC"), labels, str(i), str(i))
        for i, (array, labels) in enumerate(drawn)
    ]


def disc(centre, radius, side=60):
    y, x = np.mgrid[:side, :side]
    return np.hypot(y - centre[0], x - centre[1]) < radius


@pytest.fixture
def finding():
    return Watershed(Otsu("channel 1"), diameter=20)


def test_two_discs_that_touch_are_cut_at_the_waist(finding):
    labels = finding.labels(disc((30, 20), 10) | disc((30, 38), 10))
    assert labels.max() == 2
    assert labels[30, 20] != labels[30, 38]
    left = labels == labels[30, 20]
    assert (left & disc((30, 20), 10)).sum() / left.sum() > 0.95


def test_one_object_stays_one_its_holes_are_filled_and_specks_go(finding):
    ring = disc((30, 30), 10) & ~disc((30, 30), 3)
    speck = disc((5, 5), 2)
    labels = finding.labels(ring | speck)
    assert (labels == disc((30, 30), 10)).all()


def test_a_small_object_beside_a_large_one_is_kept(finding):
    labels = finding.labels(disc((30, 30), 12) | disc((30, 47), 4))
    assert labels.max() == 2
    assert ndimage.label(labels > 0)[1] == 2
    assert labels.dtype == np.int32


@pytest.mark.parametrize("kind", ["noise", "constant"])
def test_an_empty_image_holds_no_objects(kind):
    noise = np.random.default_rng(0).normal(100, 30, (64, 64, 1))
    found = fit_watershed(examples_of()).find(noise if kind == "noise" else np.ones_like(noise))
    assert found.labels.shape == (64, 64)
    assert not found.labels.any()
    assert len(found.probability) == 0
    assert found.class_ids is None


def test_sizes_and_scores_by_hand():
    labels = np.zeros((20, 20), np.uint16)
    labels[:4, :4], labels[10:14, 10:14], labels[0, 19] = 1, 2, 7
    assert median_diameter([labels]) == pytest.approx(np.sqrt(4 / np.pi * 16))
    assert median_diameter([np.zeros((3, 3), np.uint16)]) == 1
    found = np.where(labels == 1, 5, 0)  # one found, two missed
    assert pooled_ap([found], [labels]) == pytest.approx(1 / 3)
    assert pooled_ap([labels, found], [labels, labels]) == pytest.approx(4 / 6)
    assert pooled_ap([np.zeros_like(labels)], [np.zeros_like(labels)]) == 0


@pytest.mark.parametrize("channels", [1, 3])
def test_objects_of_new_images_are_found_whatever_the_order_of_the_training_images(channels):
    known, new = examples_of(channels=channels), examples_of(2, seed=5, channels=channels)
    forth, back = fit_watershed(known), fit_watershed(known[::-1])
    assert forth == back
    assert pooled_ap([forth.find(one.image.array).labels for one in new], [one.mask for one in new]) > 0.9


def test_dark_objects_are_found_as_bright_ones_are():
    known = examples_of()
    turned = [replace(one, image=replace(one.image, array=20000 - one.image.array)) for one in known]
    bright, dark = fit_watershed(known), fit_watershed(turned)
    for one, other in zip(known, turned, strict=True):
        assert (bright.find(one.image.array).labels == dark.find(other.image.array).labels).all()


def test_training_images_without_objects_are_borne():
    empty = [replace(one, mask=np.zeros_like(one.mask)) for one in examples_of(2)]
    assert fit_watershed(empty).find(empty[0].image.array).labels.shape == (64, 64)


def test_network_and_watershed_are_told_beside_each_other(finder):
    found = find_test_set(STARDIST, finder.folder)
    result = evaluate(STARDIST, finder.folder, found, training=finder.examples("training"))
    assert result.classical["method"].tolist() == ["network", "watershed"]
    assert result.classical["value"][0] == result.headline["value"]
    written = json.loads((finder.folder / "scores.json").read_text())["classical"]
    assert written[1]["value"] == pytest.approx(result.classical["value"][1])
    assert len(STARDIST.score_tables(result)[COMPARED]) == 2
    page = report.write(STARDIST, finder.folder, result, []).read_text()
    assert COMPARED in page
    assert "too few test images to say" in page  # there is one


def test_without_training_images_nothing_is_said_of_the_watershed(finder):
    plain = STARDIST.evaluation(STARDIST.load(finder.folder), find_test_set(STARDIST, finder.folder))
    assert plain.classical is None
    assert len(STARDIST.remarks(plain)) == 1
