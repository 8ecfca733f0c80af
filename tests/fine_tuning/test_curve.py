"""How many images are required? Which images a model of the curve gets, and a curve that is interrupted."""

from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pandas as pd
import pytest

from tests import tiny, tiny_crops
from tests.notebook_forms import default_values
from utils.data.crops import Crop
from utils.data.project import Project
from utils.errors import DataError, FormError
from utils.fine_tuning import curve
from utils.fine_tuning.curve import (
    Point,
    check_sizes,
    fitting_sizes,
    nested_orders,
    points_of,
    project_of,
    read_curve,
    run_curve,
    sizes_of,
    subset,
)
from utils.fine_tuning.start import open_start
from utils.fine_tuning.tuning import RATES, Tuning, open_tuning
from utils.forms.fields import parse_sizes
from utils.tasks.held_out import TestSet
from utils.tasks.registry import TASKS
from utils.training.checkpoints import TrainingState
from utils.training.fit import TrainingStopped

CURVE = {"sizes": "2, 3, 4", "repeats": 2, "target_score": 0.9}


@dataclass(frozen=True)
class Images:
    """As much of a data set as a curve looks at."""

    examples: list
    classes: tuple = ({"id": 0, "name": "background"}, {"id": 1, "name": "nucleus"})

    def only(self, chosen):
        return Images([self.examples[i] for i in chosen])


def made_up(
    folder, groups, class_ids, roles, strategy="two stages", seed=0, percentage=20, test_bytes=b"test"
) -> Tuning:
    """What a curve needs to know of a fine-tuning; without `class_ids` one of segmentation."""
    folder.mkdir(exist_ok=True)
    path = folder / "test_image.tif"
    path.write_bytes(test_bytes)
    ids = class_ids or [0] * len(groups)
    examples = [
        SimpleNamespace(name=str(i), group=group, class_id=one, mask=np.eye(2, dtype=np.uint8))
        for i, (group, one) in enumerate(zip(groups, ids, strict=True))
    ]
    split = pd.DataFrame({"file": [one.name for one in examples], "group": groups, "role": roles})
    forms = {"data": {"percentage_validation": percentage}, "strategy": {"strategy": strategy}}
    return Tuning(
        TASKS["classification" if class_ids else "unet"],
        None,
        Project(Images(examples), np.array(roles), split, folder / "model"),
        {"overrides": forms},
        {"seed": seed, "number_of_epochs": 3},
        {"classes": [{"name": f"class {i}"} for i in range(max(ids) + 1)]},
        TestSet([Crop("test", SimpleNamespace(path=path), 0, "test")], "made up", independent=True),
    )


def random_tuning(folder, seed) -> Tuning:
    """At least six images of each class in groups of up to four, and some that are set aside for testing."""
    rng = np.random.default_rng(seed)
    n_classes = int(rng.integers(2, 5))
    ids = rng.permutation(np.r_[np.repeat(np.arange(n_classes), 6), rng.integers(n_classes, size=10)])
    groups = [f"{one}, patient {patient}" for one, patient in zip(ids, rng.permutation(len(ids)) // 4, strict=True)]
    tests = {group for group in groups if rng.random() < 0.1}
    roles = ["test" if group in tests else "training" for group in groups]
    classes = None if seed % 3 == 0 else ids.tolist()
    return made_up(folder, groups, classes, roles, seed=seed, percentage=int(rng.integers(1, 60)))


def names_of(project, *roles) -> set[str]:
    chosen = zip(project.dataset.examples, project.roles, strict=True)
    return {one.name for one, role in chosen if not roles or role in roles}


@pytest.mark.parametrize("seed", range(12))
def test_images_of_a_point_are_nested_balanced_and_never_test_images(seed, tmp_path):
    tuning = random_tuning(tmp_path, seed)
    ids = tuning.task.class_ids(tuning.project)
    everything = {one.name: one for one in tuning.project.dataset.examples}
    pool = names_of(tuning.project, "training")
    counts = np.bincount([everything[name].class_id for name in pool]) if ids else [len(pool)]
    for repeat in range(3):
        smaller = set()
        for size in range(2, min(counts) + 1):
            project = project_of(tuning, Point("two stages", size, repeat))
            names = names_of(project)
            assert smaller < names <= pool
            smaller = names
            classes = [everything[name].class_id if ids else 0 for name in names]
            assert np.bincount(classes).tolist() == [size] * len(counts)


@pytest.mark.parametrize("seed", range(12))
def test_some_images_of_a_point_train_and_some_watch_over_it_and_no_group_does_both(seed, tmp_path):
    tuning = random_tuning(tmp_path, seed)
    ids = tuning.task.class_ids(tuning.project)
    for size in (2, 3, 4):
        try:
            sizes_of(tuning, CURVE | {"sizes": str(size)})
        except DataError:
            continue
        for repeat in range(3):
            project = project_of(tuning, Point("two stages", size, repeat))
            training, validation = (project.examples(role) for role in ("training", "validation"))
            assert training
            assert validation
            assert len(training) + len(validation) == len(project.dataset.examples)
            assert not {one.group for one in training} & {one.group for one in validation}
            if ids:
                assert {one.class_id for one in training} == set(ids)
            assert project.split["role"].tolist() == project.roles.tolist()
            assert project.split["file"].tolist() == [one.name for one in project.dataset.examples]


def test_other_repeats_and_seeds_get_other_images_and_strategies_the_same(tmp_path):
    groups = [str(i) for i in range(40)]
    tuning = made_up(tmp_path, groups, [0, 1] * 20, ["training"] * 40)
    chosen = [names_of(project_of(tuning, Point("two stages", 5, repeat))) for repeat in range(5)]
    assert len(set(map(frozenset, chosen))) == 5
    scratch = project_of(tuning, Point("from scratch", 5, 0))
    tuned = project_of(tuning, Point("two stages", 5, 0))
    assert names_of(scratch) == names_of(tuned)
    assert scratch.roles.tolist() == tuned.roles.tolist()
    assert scratch.folder != tuned.folder
    assert scratch.folder.parent == tuning.project.folder / "curve"


def test_the_largest_size_takes_all_labelled_images_those_of_validation_too(tmp_path):
    roles = ["training", "validation", "test", "training"] * 4
    tuning = made_up(tmp_path, [str(i) for i in range(16)], None, roles)
    assert sizes_of(tuning, CURVE | {"sizes": "12, 2"}) == [2, 12]
    names = names_of(project_of(tuning, Point("two stages", 12, 0)))
    assert names == names_of(tuning.project, "training", "validation")


def test_sizes_that_cannot_be_had_are_refused_with_the_field(tmp_path):
    roles = ["test"] * 2 + ["training"] * 10
    tuning = made_up(tmp_path, [str(i) for i in range(12)], [0, 1] * 3 + [0] * 6, roles)
    assert sizes_of(tuning, CURVE | {"sizes": "2"}) == [2]
    with pytest.raises(DataError, match=r'field sizes asks for 4 .*only 2 .*"class 1"'):
        sizes_of(tuning, CURVE)
    with pytest.raises(DataError, match="Write sizes up to 2"):
        run_curve(tuning, CURVE)
    with pytest.raises(FormError, match="field sizes"):
        sizes_of(tuning, CURVE | {"sizes": "two"})


AUTOMATIC_SIZES = CURVE | {"sizes": "automatic"}


@pytest.mark.parametrize("n", [5, 8, 12, 23, 36, 60])
@pytest.mark.parametrize("classes", [None, 2])
def test_sizes_that_nobody_asked_for_never_stop_a_run(n, classes, tmp_path):
    """The mistake: fine-tuning stopped at once on 23 and on 36 images, by the sizes that stood in the form."""
    groups = [str(i) for i in range(n)]
    ids = None if classes is None else [i % classes for i in range(n)]
    roles = ["test" if i % 5 == 4 else "training" for i in range(n)]
    tuning = made_up(tmp_path, groups, ids, roles)
    sizes, reason = fitting_sizes(tuning)
    most = roles.count("training") // (classes or 1)
    assert sizes == sizes_of(tuning, AUTOMATIC_SIZES) == sizes_of(tuning, CURVE | {"sizes": ", ".join(map(str, sizes))})
    assert sizes[-1] == min(most, 40)
    assert len(sizes) >= min(3, most - 1)
    assert str(most) in reason
    assert {one.size for one in points_of(tuning, AUTOMATIC_SIZES)} == set(sizes)


def test_where_there_can_be_no_curve_that_is_said(tmp_path):
    lonely = made_up(tmp_path, ["a", "b", "c"], [0, 1, 1], ["training"] * 3)
    together = made_up(tmp_path, ["a"] * 6, None, ["training"] * 6)
    untested = replace(lonely, test_set=replace(lonely.test_set, independent=False))
    for tuning, words in ((lonely, "only one"), (together, "of one group"), (untested, "Set percentage_test above 0")):
        sizes, reason = fitting_sizes(tuning)
        assert sizes == sizes_of(tuning, AUTOMATIC_SIZES) == points_of(tuning, AUTOMATIC_SIZES) == []
        assert "no learning curve" in reason
        assert words in reason


def test_without_sizes_there_is_no_curve(tmp_path):
    tuning = made_up(tmp_path, ["a", "b"], [0, 1], ["training"] * 2)  # one image of each class: too few for any size
    for text in ("", "  "):
        assert sizes_of(tuning, CURVE | {"sizes": text}) == []
        assert points_of(tuning, CURVE | {"sizes": text}) == []
        assert len(run_curve(tuning, CURVE | {"sizes": text})) == 0


@pytest.fixture
def tuning(tmp_path):
    """Twelve images of two classes, and the folder that the curve is written to."""
    (tmp_path / "model").mkdir()
    return made_up(tmp_path, [str(i) for i in range(12)], [0, 1] * 6, ["training"] * 12)


@pytest.fixture
def points_trained(monkeypatch):
    """Instead of training, give each point a score of its own; returns the list of points, which grows."""
    done = []

    def trained(tuning, point, callbacks=()):
        done.append(point)
        score = point.size / 10 + point.repeat / 100 + (point.strategy == "from scratch") / 1000
        images = {"training images": 2 * point.size - 2, "validation images": 2}
        return {**vars(point), "score": score, **images, "test": curve._fingerprint(tuning)}

    monkeypatch.setattr(curve, "trained", trained)
    return done


def stop_after(monkeypatch, n):
    """Press the stop button in the training of the (n + 1)-th model from now on."""
    trained, calls = curve.trained, []

    def stopping(*arguments):
        if len(calls) == n:
            raise TrainingStopped(3, TrainingState())
        calls.append(1)
        return trained(*arguments)

    monkeypatch.setattr(curve, "trained", stopping)


def assert_same(table, expected):
    """Whether just made or read from the disk."""
    pd.testing.assert_frame_equal(table, expected, check_dtype=False)


def test_every_point_is_trained_once_and_the_whole_curve_is_soon_seen(tuning, points_trained):
    seen = []
    table = run_curve(tuning, CURVE, lambda so_far: seen.append(len(so_far)))
    assert len(points_trained) == len(set(points_trained)) == 3 * 2 * 2
    assert [point.repeat for point in points_trained] == [0] * 6 + [1] * 6
    assert {(one.strategy, one.size) for one in points_trained[:6]} == {
        (strategy, size) for strategy in ("two stages", "from scratch") for size in (2, 3, 4)
    }
    assert seen == [*range(1, 13), 12]
    assert table[["strategy", "size", "repeat"]].apply(tuple, axis=1).tolist() == [
        (one.strategy, one.size, one.repeat) for one in points_trained
    ]
    row = table.query("strategy == 'from scratch' and size == 3 and repeat == 1").squeeze()
    assert row["score"] == pytest.approx(0.311)


def test_from_scratch_alone_is_one_strategy(tuning, points_trained):
    forms = tuning.parameters["overrides"] | {"strategy": {"strategy": "from scratch"}}
    assert len(run_curve(replace(tuning, parameters={"overrides": forms}), CURVE)) == 6


def test_what_was_trained_is_not_trained_again(tuning, points_trained):
    table = run_curve(tuning, CURVE)
    assert_same(run_curve(tuning, CURVE), table)
    assert len(points_trained) == 12
    more = run_curve(tuning, CURVE | {"sizes": "3, 5", "repeats": 3})
    assert len(points_trained) == 12 + 2 * 3 + 2  # size 5, and the third repeat of size 3
    assert set(more["size"]) == {3, 5}
    assert len(more) == 2 * 2 * 3
    again = run_curve(tuning, CURVE)
    assert len(points_trained) == 20
    assert_same(again, table)


def test_a_curve_of_other_test_images_is_made_anew(tuning, points_trained, tmp_path):
    run_curve(tuning, CURVE)
    Path(tuning.test_set.examples[0].image.path).write_bytes(b"other")
    assert len(read_curve(tuning)) == 0
    table = run_curve(tuning, CURVE)
    assert len(points_trained) == 24
    assert len(table) == 12
    assert table["test"].nunique() == 1


def test_a_curve_whose_test_images_got_another_annotation_is_made_anew(tuning, points_trained):
    """Corrected labels of the same images make other scores."""
    run_curve(tuning, CURVE)
    tuning.test_set.examples[0] = replace(tuning.test_set.examples[0], class_id=1)
    run_curve(tuning, CURVE)
    assert len(points_trained) == 24


def test_scores_are_numbers_from_the_first_model_on(tuning, points_trained):
    """A table of objects is not rounded where it is shown."""
    tables = []
    run_curve(tuning, CURVE, tables.append)
    tables += [run_curve(tuning, CURVE), run_curve(tuning, CURVE | {"sizes": ""})]
    assert {str(table["score"].dtype) for table in tables} == {"float64"}
    assert {str(table["size"].dtype) for table in tables} == {"int64"}


@pytest.mark.parametrize("n", [0, 1, 7, 11])
def test_an_interrupted_curve_goes_on_and_ends_as_a_whole_one(n, tuning, points_trained, monkeypatch):
    with monkeypatch.context() as patched:
        stop_after(patched, n)
        with pytest.raises(TrainingStopped):
            run_curve(tuning, CURVE)
    assert len(read_curve(tuning)) == n
    resumed = run_curve(tuning, CURVE)
    assert len(points_trained) == 12
    (tuning.project.folder / curve.FILE).unlink()
    assert_same(resumed, run_curve(tuning, CURVE))
    assert_same(resumed, read_curve(tuning))


def test_a_half_trained_model_stays_until_the_curve_is_whole(tuning, points_trained, monkeypatch):
    """It is what an interrupted curve goes on with; afterwards thirty models would only take room."""
    half = tuning.project.folder / "curve" / "two_stages_2_0"
    half.mkdir(parents=True)
    with monkeypatch.context() as patched:
        stop_after(patched, 3)
        with pytest.raises(TrainingStopped):
            run_curve(tuning, CURVE)
    assert half.is_dir()
    run_curve(tuning, CURVE)
    assert [path.name for path in tuning.project.folder.iterdir()] == [curve.FILE]


def test_laws_are_fitted_to_each_strategy_with_enough_sizes():
    rows = [("two stages", size, 1 - size**-0.5) for size in (2, 4, 8, 16)] + [("from scratch", 2, 0.3)]
    laws = curve.laws_of(pd.DataFrame(rows, columns=["strategy", "size", "score"]))
    assert list(laws) == ["two stages"]
    assert laws["two stages"].score(8) == pytest.approx(1 - 8**-0.5, abs=0.01)


@pytest.fixture(scope="module")
def real(sorter, tmp_path_factory):
    """A curve of real models, of two images of each class: the source's files and the images before and after."""
    folder = tmp_path_factory.mktemp("real")
    data = tiny_crops.write_crops(folder / "data", 4, seed=5)
    given = {
        "data": {"training_source": str(data), "model_path": str(folder), "model_name": "tuned"},
        "strategy": {"strategy": "last layer"},
        "training": {"number_of_epochs": 1, "number_of_steps": 2, "batch_size": 4},
    }
    tuning = open_tuning(*open_start(str(sorter[0].folder)), {"overrides": default_values("fine_tuning", given)})
    tuning.project.folder.mkdir()
    before, images = tiny.tree(sorter[0].folder), tiny.tree(data)
    asked, stopped = {"sizes": "2", "repeats": 1}, []

    class Presses(keras.callbacks.Callback):
        def __init__(self, bar):
            super().__init__()

        def on_train_batch_end(self, batch, logs=None):
            folders = (tuning.project.folder / "curve").iterdir()
            stopped.extend(path.name for path in folders if path.is_dir())  # beside its lock
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(curve, "Rounds", Presses)
        with pytest.raises(TrainingStopped):
            run_curve(tuning, asked)
    table = run_curve(tuning, asked)
    unchanged = tiny.tree(sorter[0].folder) == before and tiny.tree(data) == images
    return SimpleNamespace(tuning=tuning, table=table, unchanged=unchanged, stopped=stopped)


def test_a_real_curve_is_scored_on_the_test_images_and_leaves_only_its_table(real):
    assert real.table["strategy"].tolist() == ["last layer", "from scratch"]
    assert real.table["score"].between(0, 1).all()
    assert (real.table["training images"] + real.table["validation images"] == 2 * len(tiny_crops.CLASSES)).all()
    assert (real.table["validation images"] >= 1).all()
    left = {path.name for path in real.tuning.project.folder.iterdir()}
    assert left == {curve.FILE, RATES}
    assert_same(read_curve(real.tuning), real.table)


def test_a_curve_writes_neither_to_the_starting_model_nor_to_the_images(real):
    assert real.unchanged


def test_the_models_of_a_curve_lie_within_the_model_folder(real):
    assert real.stopped == ["last_layer_2_0"]


def random_images(seed):
    """Groups and class ids (None for every third seed: segmentation) of 8 to 80 images, at least two of each class."""
    rng = np.random.default_rng(seed)
    n, n_classes = int(rng.integers(8, 80)), int(rng.integers(2, 5))
    ids = rng.permutation(np.r_[np.repeat(np.arange(n_classes), 2), rng.integers(n_classes, size=n - 2 * n_classes)])
    groups = [f"patient {i}" for i in rng.integers(rng.integers(1, 2 * n), size=n)]
    return groups, None if seed % 3 == 0 else ids.tolist()


def of_each_class(groups, class_ids):
    ids = np.zeros(len(groups), int) if class_ids is None else np.asarray(class_ids)
    return [np.flatnonzero(ids == one) for one in sorted(set(ids.tolist()))]


@pytest.mark.parametrize("seed", range(30))
def test_subsets_are_nested_and_hold_n_different_images_of_every_class_from_as_many_groups_as_can_be(seed):
    groups, class_ids = random_images(seed)
    classes, orders = of_each_class(groups, class_ids), nested_orders(groups, class_ids, seed)
    assert [sorted(order) for order in orders] == [images.tolist() for images in classes]
    for n in range(1, min(map(len, classes)) + 1):
        chosen = subset(orders, n)
        assert chosen.tolist() == sorted(set(chosen))
        assert set(chosen) < set(subset(orders, n + 1)) or n == max(map(len, classes))
        for images in classes:
            of_class = [groups[i] for i in chosen if i in images]
            assert len(of_class) == n
            assert len(set(of_class)) == min(n, len({groups[i] for i in images}))


@pytest.mark.parametrize("seed", range(6))
def test_both_sides_of_the_smallest_point_hold_something_where_a_few_images_do(seed, tmp_path):
    groups, holding = [f"tile {i // 2}" for i in range(30)], {4, 5, 17, 22}
    tuning = made_up(tmp_path, groups, None, ["training"] * 30, seed=seed)
    for i, one in enumerate(tuning.project.dataset.examples):
        one.mask = np.full((2, 2), i in holding, np.uint8)
    before: set[str] = set()
    for size in (2, 3, 8, 20):
        project = project_of(tuning, Point("two stages", size, 0))
        assert before < names_of(project)
        before = names_of(project)
        assert len(before) == size
        for role in ("training", "validation"):
            assert any(one.mask.any() for one in project.examples(role))


@pytest.mark.parametrize("seed", range(10))
def test_no_group_gives_two_images_more_than_another_that_has_more(seed):
    groups, class_ids = random_images(3 * seed)
    order = nested_orders(groups, class_ids, seed)[0]
    for n in range(1, len(order)):
        given, left = [groups[i] for i in order[:n]], {groups[i] for i in order[n:]}
        assert all(given.count(one) + 1 >= max(map(given.count, given)) for one in left)


def test_the_seed_decides_the_order_which_is_random_over_groups_and_within_them():
    groups, ids = [f"g{i // 4}" for i in range(40)], [i % 2 for i in range(40)]
    runs = [nested_orders(groups, ids, seed) for seed in (*range(200), 0)]
    assert all(np.array_equal(one, other) for one, other in zip(runs[0], runs[-1], strict=True))
    firsts = [int(run[0][0]) for run in runs[:-1]]
    assert set(firsts) == set(range(0, 40, 2))  # every image of the class can be the first
    assert max(map(firsts.count, firsts)) < 30  # 10 expected


def test_worked_by_hand_two_patients_of_unequal_size():
    order = nested_orders(["a", "a", "a", "b"], None, seed=1)[0]
    assert {"aaab"[i] for i in order[:2]} == {"a", "b"}
    assert ["aaab"[i] for i in order[2:]] == ["a", "a"]
    assert subset([np.array([3, 1, 0]), np.array([5, 2])], 2).tolist() == [1, 2, 3, 5]


def test_sizes_as_people_write_them():
    assert parse_sizes("2, 5,10,20,40") == [2, 5, 10, 20, 40]
    assert parse_sizes(" 40;2 , 5,5") == [2, 5, 40]
    assert parse_sizes("3") == [3]


@pytest.mark.parametrize(
    "text", ["", "1, 5", "0", "-2", "2.5", "2, five", "2,,5", "2,", "2 5", "1_0", "1e2", "²", "5%"]
)
def test_anything_else_is_refused_with_the_field_what_was_written_and_an_example(text):
    with pytest.raises(FormError) as error:
        parse_sizes(text)
    assert all(words in str(error.value) for words in ("field sizes", f'"{text}"', "at least 2", "2, 5, 10"))


def test_sizes_that_suffice_are_accepted():
    check_sizes([2, 3], list("abcdef"), [0, 1, 0, 1, 0, 1], ["G2", "other"])
    check_sizes([6], list("abcdef"), None, None)


@pytest.mark.parametrize(
    ("sizes", "groups", "ids", "names", "words"),
    [
        ([2, 4], "abcdefg", [0, 0, 0, 0, 1, 1, 1], ["G2", "other"], ["asks for 4", "only 3", '"other"', "up to 3"]),
        ([2, 9], "abcd", None, None, ["asks for 9", "only 4 labelled images besides", "up to 4", "add images"]),
        ([2], "abc", [0, 0, 1], ["G2", "other"], ['"other"', "only one", "at least two"]),
        ([2], "ab", [0, 0], ["G2", "other"], ['"other"', "none", "add"]),
        ([2], "a", None, None, ["labelled images", "only one", "at least two"]),
        ([2], "abcc", [0, 0, 1, 1], ["G2", "other"], ['"other"', "one group (c)", "group_rule"]),
        ([2], "aaa", None, None, ["All 3 labelled images", "one group (a)", "another group"]),
    ],
)
def test_what_does_not_suffice_is_told_with_class_number_and_remedy(sizes, groups, ids, names, words):
    with pytest.raises(DataError) as error:
        check_sizes(sizes, list(groups), ids, names)
    assert all(one in str(error.value) for one in words), str(error.value)
