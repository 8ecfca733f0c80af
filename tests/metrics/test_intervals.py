"""One score of a model, and the difference between two models on the same test images."""

from dataclasses import replace

import numpy as np
import pytest

from utils.metrics.classes import class_scores
from utils.metrics.intervals import Judgement, paired_difference
from utils.metrics.objects import object_scores
from utils.metrics.pixels import pixel_scores
from utils.tasks.classes.evaluate import compare_classifiers
from utils.tasks.registry import TASKS

NAMES = ("background", "tumour", "stroma", "vessel")


def class_table(n):
    return [{"id": i, "name": NAMES[i], "value": i, "group": None} for i in range(n)]


def groups_of(rng, n):
    """Groups of n images: one each, or a few that share them."""
    return [f"patient {i}" for i in (range(n) if rng.random() < 0.5 else rng.integers(4, size=n))]


def class_judgement(rng, n_classes, groups, y_true):
    p = rng.dirichlet(np.ones(n_classes), len(groups)) + 0.5 * np.eye(n_classes)[y_true]
    scores = class_scores([f"{i}.tif" for i in range(len(groups))], groups, y_true, p, class_table(n_classes), n=50)
    return scores, TASKS["classification"].judgement(scores)


def pixel_judgement(rng, n_classes, groups, y_true):
    """Of small masks; the class of an image (`y_true`) is the one that is missing in it, so that images differ."""
    pairs = []
    for i, group in enumerate(groups):
        mask = rng.integers(n_classes, size=(5, 6))
        mask[mask == y_true[i]] = 0
        found = np.where(rng.random((5, 6)) < 0.7, mask, rng.integers(n_classes, size=(5, 6)))
        pairs.append((f"{i}.tif", group, mask, found))
    scores = pixel_scores(pairs, class_table(n_classes))
    return scores, TASKS["unet"].judgement(scores)


def object_judgement(rng, n_classes, groups, y_true):
    """Of rows of bars, some of which are shifted, missed or invented."""
    pairs = []
    for i, group in enumerate(groups):
        masks = np.zeros((2, 4, 40), np.uint16)
        for label in range(1, 9):
            for mask in masks:
                start = 5 * label - 5 + int(rng.integers(2))
                mask[:, start : start + 3] = label if rng.random() < 0.7 else 0
        pairs.append((f"{i}.tif", group, *masks, None, None))
    scores = object_scores(pairs)
    return scores, TASKS["stardist"].judgement(scores)


KINDS = {
    "classes": (class_judgement, 3),
    "two kinds of pixels": (pixel_judgement, 2),
    "three kinds of pixels": (pixel_judgement, 3),
    "four kinds of pixels": (pixel_judgement, 4),
    "objects": (object_judgement, 2),
}


@pytest.fixture(params=KINDS)
def judged(request):
    """Return a function: seed -> two scores of the same random test set, and their judgements."""

    def make(seed, n=None):
        build, n_classes = KINDS[request.param]
        rng = np.random.default_rng(seed)
        n = n or int(rng.integers(6, 20))
        groups, y_true = groups_of(rng, n), np.r_[np.arange(n_classes), rng.integers(n_classes, size=n - n_classes)]
        return [build(rng, n_classes, groups, y_true) for _ in range(2)]

    return make


@pytest.mark.parametrize("seed", range(4))
def test_the_score_is_the_statistic_of_the_sums(judged, seed):
    for scores, judgement in judged(seed):
        sums = judgement.per_image.sum(axis=0, dtype=np.float64)
        assert judgement.statistic(sums[None]) == pytest.approx([judgement.value], rel=1e-6)
        assert len(judgement.per_image) == len(judgement.groups) == len(scores.per_image)
        assert list(judgement.groups) == scores.per_image["group"].tolist()
        several = judgement.statistic(np.stack([sums, 3 * sums]))
        assert several.shape == (2,)
        assert several[0] == pytest.approx(several[1])


def test_the_scores_are_the_ones_the_tasks_show_big():
    rng = np.random.default_rng(0)
    y_true = np.array([0, 1, 2, 0, 1, 2])
    names = [build(rng, n, list("abcdef"), y_true % n)[1].headline["name"] for build, n in KINDS.values()]
    dice = "Mean Dice of the classes"
    assert names == ["Balanced accuracy", "Mean foreground IoU", dice, dice, "AP at IoU 0.5"]


@pytest.mark.parametrize("seed", range(3))
def test_the_interval_is_that_of_draws_made_by_hand(judged, seed):
    """The same draws, every one of them put together image by image."""
    (_, one), (_, other) = judged(seed)
    members = [np.flatnonzero(np.array(one.groups) == name) for name in sorted(set(one.groups))]
    draws = np.random.default_rng(seed).multinomial(len(members), np.full(len(members), 1 / len(members)), size=60)
    differences = []
    for times in draws:
        images = np.concatenate([np.tile(images, n) for images, n in zip(members, times, strict=True)]).astype(int)
        scores = [
            each.statistic(each.per_image[images].sum(axis=0, dtype=np.float64)[None])[0] for each in (one, other)
        ]
        differences.append(scores[0] - scores[1])
    found = paired_difference(one, other, n=60, seed=seed)
    if len(members) < 3:
        assert np.isnan(found[1:]).all()
    else:
        np.testing.assert_allclose(found[1:], np.nanpercentile(differences, [2.5, 97.5]), atol=1e-9)
    assert found[0] == one.value - other.value


@pytest.mark.parametrize("seed", range(5))
def test_classifiers_are_compared_as_in_the_classification_notebook(seed):
    rng = np.random.default_rng(seed)
    n, k = int(rng.integers(8, 40)), int(rng.integers(2, 5))
    groups, y_true = groups_of(rng, n), np.r_[np.arange(k), rng.integers(k, size=n - k)]
    (first, one), (second, other) = (class_judgement(rng, k, groups, y_true) for _ in range(2))
    row = compare_classifiers(first, second, n=200, seed=seed).set_index("score").loc["balanced_accuracy"]
    expected = row[["difference", "low", "high"]].astype(float)
    np.testing.assert_allclose(paired_difference(one, other, n=200, seed=seed), expected, atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_a_model_compared_with_itself_is_not_better_and_swapping_two_turns_the_sign(judged, seed):
    (_, one), (_, other) = judged(seed, n=12)
    assert paired_difference(one, one, n=100)[0] == 0
    forth, back = (np.array(paired_difference(*pair, n=100)) for pair in ((one, other), (other, one)))
    np.testing.assert_allclose(forth, -back[[0, 2, 1]], atol=1e-9)
    if np.isfinite(forth).all():
        assert paired_difference(one, one, n=100) == (0, 0, 0)
        assert forth[1] < forth[2]


def counted(per_image, groups):
    """A judgement of right answers among all, per_image (n, 2)."""
    right, number = np.sum(per_image, axis=0)
    return Judgement(
        {"name": "accuracy", "value": right / number, "low": 0.0, "high": 1.0, "meaning": ""},
        np.asarray(per_image, float),
        lambda sums: sums[..., 0] / sums[..., 1],
        groups,
    )


def test_a_difference_worked_by_hand():
    one = counted([[1, 1], [1, 1], [1, 1], [0, 1]], list("abcd"))
    other = counted([[0, 1], [0, 1], [0, 1], [1, 1]], list("abcd"))
    difference, low, high = paired_difference(one, other)
    assert difference == 0.75 - 0.25
    # A draw of four with k times the last image has the difference 1 - k / 2; P(k = 4) = 0.004, P(k >= 3) = 0.05.
    assert (low, high) == (-0.5, 1.0)


def test_images_of_one_group_are_drawn_together():
    """A hundred copies of each image say no more about other patients than one."""
    rng = np.random.default_rng(0)
    right, wrong = rng.integers(2, size=(2, 8, 1))
    groups = [f"patient {i}" for i in range(8)]
    pair = [np.hstack([each, np.ones((8, 1))]) for each in (right, wrong)]
    few = paired_difference(*(counted(each, groups) for each in pair))
    many = [np.repeat(each, 100, axis=0) for each in pair]
    assert paired_difference(*(counted(each, np.repeat(groups, 100)) for each in many)) == pytest.approx(few)
    alone = paired_difference(*(counted(each, range(800)) for each in many))
    assert alone[2] - alone[1] < 0.3 * (few[2] - few[1])


def test_what_is_hard_for_both_models_cancels_out():
    """Two models that differ in one answer of forty: known better than either score."""
    rng = np.random.default_rng(1)
    right = rng.integers(2, size=40)
    right[0] = 1
    less = right.copy()
    less[0] = 0
    one, other = (counted(np.column_stack([each, np.ones(40)]), range(40)) for each in (right, less))
    _, low, high = paired_difference(one, other)
    assert 0 <= low <= high <= 0.1


@pytest.mark.parametrize("n", [1, 2])
def test_two_images_say_nothing_of_others(n):
    one, other = (counted([[right, 1]] * n, range(n)) for right in (1, 0))
    difference, low, high = paired_difference(one, other)
    assert difference == 1
    assert np.isnan([low, high]).all()


def test_other_test_images_are_refused():
    one = counted([[1, 1], [0, 1], [1, 1]], list("abc"))
    for groups in (list("abd"), list("bac"), list("ab")):
        with pytest.raises(ValueError, match="same test images"):
            paired_difference(one, counted([[1, 1], [0, 1], [1, 1]][: len(groups)], groups))
    with pytest.raises(ValueError, match="same score"):
        paired_difference(one, replace(one, headline={**one.headline, "name": "Mean Dice"}))


def test_other_classes_are_refused():
    rng, groups = np.random.default_rng(0), list("abcd")
    one, other = (class_judgement(rng, n, groups, np.array([0, 1, 1, 0]))[1] for n in (2, 3))
    with pytest.raises(ValueError):
        paired_difference(one, other)
