"""Settings that fit the data: what is measured, what follows from it, and trials where that leaves doubt."""

import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from tests.conftest import save_untrained
from tests.tiny import open_and_train, parameters, write_data
from utils import runtime
from utils.data.examples import load_examples
from utils.data.project import open_project
from utils.data.sample_makers import prepare
from utils.errors import ModelError
from utils.images.image import write_tiff
from utils.images.normalise import EACH_IMAGE, TOGETHER, normalisation_of
from utils.paths import resolve
from utils.samples import STARTING
from utils.tasks import trials
from utils.tasks.automatic import (
    AUTOMATIC,
    Choice,
    Effort,
    asked_for,
    complete,
    kept_choices,
    rows,
    settled,
    trial_table,
)
from utils.tasks.fingerprint import fingerprint, fingerprint_table, told_by_brightness
from utils.tasks.objects.rules import grid_choice, rays_choice
from utils.tasks.pixels.rules import levels_choice, resolution_choice, work_at
from utils.tasks.registry import STARDIST, UNET
from utils.tasks.rules import (
    augmentation_choices,
    epochs_choice,
    normalisation_choice,
    patch_side,
    rounds_for_work,
    steps_for_work,
)
from utils.training import pace

PRINT = {
    "brightfield": False,
    "coloured": False,
    "object_diameter": [8.0, 20.0, 40.0],
    "told_by_brightness": {EACH_IMAGE: 0.9, TOGETHER: 0.8},
}


def with_print(**changes) -> dict:
    return PRINT | changes


def discs(folder, offsets, brightness=(200,), noise=5.0, side=64):
    """Images of a disc of 20 pixels, brighter than its background by `brightness`, which begins at each offset."""
    y, x = np.mgrid[:side, :side]
    disc = (y - 30) ** 2 + (x - 30) ** 2 <= 10**2
    for i, offset in enumerate(offsets):
        rng = np.random.default_rng(i)
        image = offset + rng.normal(0, noise, disc.shape) + brightness[i % len(brightness)] * disc
        write_tiff(folder / "images" / f"{i}.tif", image.clip(0, 65535).astype(np.uint16))
        write_tiff(folder / "masks" / f"{i}.tif", (7 * disc).astype(np.uint16))
    return load_examples(
        folder / "images", folder / "masks", "automatic", "automatic", "", annotation="objects"
    ).examples


def test_fingerprint_of_discs_counted_by_hand(tmp_path):
    examples = discs(tmp_path, [100, 1100, 100], brightness=(200, 400, 200))
    found = fingerprint(examples, objects=True)
    area = sum((y - 30) ** 2 + (x - 30) ** 2 <= 100 for y in range(64) for x in range(64))
    assert found["images"] == found["objects"] == 3
    assert found["height"] == found["width"] == [64, 64, 64]
    assert found["foreground_share"] == pytest.approx([area / 64**2] * 3, abs=1e-5)
    assert found["object_diameter"] == pytest.approx([2 * math.sqrt(area / math.pi)] * 3, abs=0.06)
    assert found["object_extent"] == 21
    assert (found["without_foreground"], found["touching_share"], found["saturated_share"]) == (0, 0, 0)
    assert found["brightness_spread"] == pytest.approx(2, rel=0.1)
    assert found["noise"] == pytest.approx(5 / 220, rel=0.2)
    assert not found["coloured"]
    assert json.loads(json.dumps(found)) == found


def test_touching_objects_and_images_without_any(tmp_path):
    labels = np.zeros((40, 40), np.uint16)
    labels[:10, :10], labels[:10, 10:20], labels[30:, 30:] = 1, 2, 3
    for i, mask in enumerate((labels, 0 * labels)):
        write_tiff(tmp_path / "images" / f"{i}.tif", (mask * 50).astype(np.uint8))
        write_tiff(tmp_path / "masks" / f"{i}.tif", mask)
    examples = load_examples(
        tmp_path / "images", tmp_path / "masks", "automatic", "instance labels", "", annotation="objects"
    ).examples
    found = fingerprint(examples, objects=True)
    assert (found["touching_share"], found["without_foreground"], found["objects"]) == (round(2 / 3, 3), 1, 3)
    assert fingerprint(examples, objects=False)["objects"] == 2, "what touches is one part of the foreground"
    empty = fingerprint(examples[1:], objects=True)
    assert empty["object_diameter"] == [0, 0, 0]
    table = fingerprint_table(found | {"told_by_brightness": {EACH_IMAGE: 0.5, TOGETHER: 0.7}})
    assert list(table) == ["what", "value", "what it means"]
    assert table.map(bool).all(axis=None)
    wide = fingerprint_table(
        found | {"width": [256, 308, 1272], "told_by_brightness": {EACH_IMAGE: 0.5, TOGETHER: 0.7}}
    )
    assert "256, 308, 1272" in wide["value"].tolist()[1]


def told(examples) -> list[float]:
    arrays = [one.image.array for one in examples]
    return [told_by_brightness(examples, True, normalisation_of(arrays, per)) for per in (EACH_IMAGE, TOGETHER)]


def test_brightness_tells_where_each_image_has_its_own_exposure_only_after_its_own_range(tmp_path):
    examples = discs(tmp_path / "a", [100, 3000, 900, 5000, 2000, 400, 7000, 1500])
    each, together = told(examples)
    assert each > 0.97
    assert together < 0.8


def test_brightness_tells_together_where_the_same_shape_means_another_thing(tmp_path):
    """Discs of 60 are foreground, discs of 600 none: each image's own range makes them alike."""
    examples = discs(tmp_path, [100] * 8, brightness=(60, 600), noise=0)
    examples = [replace(one, mask=one.mask * (i % 2)) for i, one in enumerate(examples)]
    each, together = told(examples)
    assert together > 0.99
    assert each < 0.97, "a disc of 8 % of the area is taken for foreground in every other image"
    assert all(map(math.isnan, told(examples[:1])))


@pytest.mark.parametrize(
    ("each", "together", "stained", "value", "candidates"),
    [
        (0.90, 0.80, False, EACH_IMAGE, ()),
        (0.80, 0.90, False, TOGETHER, ()),
        (0.80, 0.90, True, TOGETHER, ()),
        (0.90, 0.905, False, EACH_IMAGE, ()),
        (0.90, 0.905, True, EACH_IMAGE, (EACH_IMAGE, TOGETHER)),
        (0.90, 0.85, True, EACH_IMAGE, ()),
        (math.nan, math.nan, True, TOGETHER, ()),
        (math.nan, math.nan, False, EACH_IMAGE, ()),
    ],
)
def test_normalisation(each, together, stained, value, candidates):
    told = {EACH_IMAGE: each, TOGETHER: together}
    choice = normalisation_choice(with_print(told_by_brightness=told, brightfield=stained, coloured=stained))
    assert (choice.value, choice.candidates) == (value, candidates)


def test_augmentation_follows_the_kind_of_image():
    def chosen(**changes):
        return {one.field: one.value for one in augmentation_choices(with_print(**changes))}

    turned = {"flip": True, "rotate_90": True, "rotation": 45, "zoom": 30}
    assert chosen() == turned | {"intensity": 30, "stain": 0, "empty": 6}
    assert chosen(brightfield=True)["empty"] == 0
    apart = augmentation_choices(with_print(), noise_is_background=False)
    assert [one.value for one in apart if one.field == "empty"] == [0]
    assert chosen(brightfield=True, coloured=True)["stain"] == 20
    assert chosen(brightfield=True, coloured=True)["intensity"] == 10


@pytest.mark.parametrize(
    ("diameter", "largest", "side"), [(5, 1000, 128), (40, 1000, 128), (60, 1000, 256), (60, 100, 96), (5, 20, 16)]
)
def test_a_patch_shows_large_objects_with_their_surroundings_and_fits(diameter, largest, side):
    assert patch_side(with_print(object_diameter=[1, 2, diameter]), largest, 16)[0] == side


def test_resolution_levels_grid_and_rays_follow_the_size_of_objects():
    thin, usual, large = (with_print(object_diameter=one) for one in ([1, 2, 5], [9, 18, 40], [40, 80, 150]))
    assert [resolution_choice(one, "Quick on a CPU").value for one in (thin, usual, large)] == [False, True, True]
    assert not resolution_choice(usual, "Default").value
    assert work_at(False)["Quick on a CPU"] < work_at(True)["Quick on a CPU"] / 2, "full resolution takes longer"
    assert [levels_choice(one, True).value for one in (thin, usual, large)] == [2, 2, 3]
    assert [grid_choice(one).value for one in (thin, usual, large)] == [1, 2, 4]
    assert [rays_choice(one).value for one in (thin, usual, large)] == [32, 32, 64]


def test_rounds_of_training_are_bounded_by_work_or_by_time_whatever_the_number_of_images():
    training = {"preset": "Quick on a CPU", "time_for_training": AUTOMATIC}
    work = {"Quick on a CPU": 1e8}

    def choice(steps, **changes):
        given = training | changes
        return epochs_choice(given, rounds_for_work(given["preset"], steps * 4 * 128**2, work), steps, Effort(0.1))

    def epochs(steps, **changes):
        return choice(steps, **changes).value

    for steps in (50, 80, 200):  # of 20 and of 5,000 images
        assert epochs(steps) * steps * 4 * 128**2 == pytest.approx(1e8, rel=0.05)
        assert epochs(steps, time_for_training=10) * steps * 0.1 * 1.2 == pytest.approx(600, rel=0.02), "with trials"
    assert epochs(50, preset="Default") == epochs(200, preset="Default") == 100
    assert epochs(200, time_for_training=0.1) == 1
    for steps, expected in ((50, 50), (500, 305)):  # 5 rounds at least
        assert steps_for_work("Quick on a CPU", steps, 4 * 128**2, work) == expected
    assert steps_for_work("Default", 500, 4 * 128**2, work) == 500
    assert steps_for_work("Quick on a CPU", 500, 10**9, work) == 1
    assert "about 3 minutes on this computer" in choice(50).reason


def test_pace_grows_with_the_work():
    small, large = (UNET.untrained({"network": {"filters": filters}}) for filters in (4, 32))
    assert pace.seconds_per_step(large, 4, (64, 64)) > 2 * pace.seconds_per_step(small, 4, (64, 64))
    assert pace.seconds_per_step(small, 4, (64, 64), drawing=100) > 100
    assert [runtime.in_words(one) for one in (3, 71, 200, 6000)] == [
        *("about 10 seconds", "about 70 seconds", "about 3 minutes", "about 2 hours"),
    ]


def test_only_what_says_automatic_is_settled():
    choices = [
        Choice("training", "zoom", 5, "why."),
        Choice("training", "flip", True, "why."),
        Choice("x", "y", 1, "."),
    ]
    forms = {"training": {"zoom": AUTOMATIC, "flip": False, "seed": 3}}
    assert settled(forms, choices) == {"training": {"zoom": 5, "flip": False, "seed": 3}}
    assert asked_for(forms, choices) == choices[:1]
    assert forms["training"]["zoom"] == AUTOMATIC


def doubtful(monkeypatch, *values):
    """Let the rules for U-Nets leave doubt about the zoom."""
    original = UNET.choices

    def choices(project, forms):
        found = original(project, forms)
        return [
            replace(one, value=values[0], candidates=values, reason="Who knows?") if one.field == "zoom" else one
            for one in found
        ]

    monkeypatch.setattr(UNET, "choices", choices, raising=False)


def test_trials_see_training_images_only_and_the_better_value_is_taken(tmp_path, monkeypatch):
    doubtful(monkeypatch, 10, 20)
    given = parameters(write_data(tmp_path / "data", 14), tmp_path, training={"number_of_epochs": 10})
    project = open_project(given["overrides"]["data"])
    seen, original = [], trials._loss

    def loss(task, inner, forms, *rest):
        value = 0.2 if seen else original(task, inner, forms, *rest)
        names = [{one.name for one in inner.examples(role)} for role in ("validation", "training", "test")]
        seen.append((*names, forms["augmentation"]["zoom"], value))
        return [0.4, 0.3][len(seen) - 1]

    monkeypatch.setattr(trials, "_loss", loss)
    UNET.train(project, given)
    own = {one.name for one in project.examples("training")}
    assert [zoom for *_, zoom, _ in seen] == [10, 20]
    for watching, training, test, _, value in seen:
        assert watching | training == own
        assert not watching & training
        assert not test
        assert 0 < value < 10
    chosen = {one["field"]: one for one in json.loads((project.folder / "automatic.json").read_text())}
    assert chosen["zoom"]["value"] == 20
    assert chosen["zoom"]["reason"] == "Who knows? Short trials decided (see the table in section 4)."
    table = trial_table(project.folder)
    assert table.to_dict("list") == {
        "zoom": [10, 20],
        "loss on images kept apart": [0.4, 0.3],
        "taken": ["", "yes"],
    }
    saved = json.loads((project.folder / "parameters.json").read_text())["overrides"]
    assert saved["augmentation"]["zoom"] == 20
    assert not (project.folder / "training").exists()
    assert len(pd.read_csv(project.folder / "history.csv")) == 10
    assert UNET.train(project, given).endswith("it is used as it is."), "what was asked for is the same"
    assert len(seen) == 2


@pytest.mark.parametrize(
    ("losses", "best"), [([0.5, 0.42, 0.6, 0.7], 0), ([0.5, 0.6, 0.35, 0.38], 2), ([0.5, 0.9, 0.9, 0.2], 3)]
)
def test_other_candidates_must_be_clearly_better(monkeypatch, losses, best):
    choices = [Choice("training", "zoom", 10, "Doubt.", (10, 20)), Choice("training", "way", "a", "Doubt.", ("a", "b"))]
    choices.insert(1, Choice("training", "flip", True, "Sure."))
    told = iter(losses)
    monkeypatch.setattr(trials, "_inner", lambda *_: SimpleNamespace(folder=Path("here")))
    monkeypatch.setattr(trials, "replace", lambda one, **new: one if "folder" in new else replace(one, **new))
    monkeypatch.setattr(trials, "_loss", lambda *_: next(told))
    training = {"number_of_epochs": 9, "time_for_training": 1}
    short = trials.try_out(None, None, {"training": training}, choices)
    assert (short[0].value, short[2].value) == (10, "a"), "four trials of a round each would take too much of it"
    assert "too short for trials" in short[0].reason
    found = trials.try_out(None, None, {"training": training | {"number_of_epochs": 10}}, choices)
    assert (found[0].value, found[2].value) == [(10, "a"), (10, "b"), (20, "a"), (20, "b")][best]
    assert found[1] == choices[1]
    assert not any(one.candidates for one in found)
    assert found[0].trials == found[2].trials
    assert [(one["zoom"], one["way"]) for one in found[0].trials] == [(10, "a"), (10, "b"), (20, "a"), (20, "b")]
    assert [one["loss"] for one in found[0].trials] == losses


def test_a_trial_goes_on_after_a_crash(tmp_path):
    given = parameters(write_data(tmp_path / "data", 8), tmp_path, training={"number_of_epochs": 10})["overrides"]
    project = open_project(given["data"])
    forms = settled(given, UNET.choices(project, given))
    inner = trials._inner(UNET, project, forms)
    first = trials._loss(UNET, inner, forms, 2)
    assert json.loads((inner.folder / "state.json").read_text())["epoch"] == 2
    files = sorted(inner.folder.iterdir())
    assert trials._loss(UNET, inner, forms, 2) == first
    assert sorted(inner.folder.iterdir()) == files, "nothing was trained again"


def test_without_enough_images_the_first_candidate_stays(tmp_path):
    given = parameters(write_data(tmp_path / "data", 5), tmp_path)
    project = open_project(given["overrides"]["data"])
    one = Choice("augmentation", "zoom", 10, "Doubt.", (10, 20))
    assert trials.try_out(UNET, project, given["overrides"], [one]) == [replace(one, candidates=())]


def test_a_crash_does_not_repeat_what_was_decided(tmp_path, monkeypatch):
    doubtful(monkeypatch, 10, 20)
    given = parameters(write_data(tmp_path / "data", 14), tmp_path)
    project = open_project(given["overrides"]["data"])
    prepare = UNET.ingredients
    monkeypatch.setattr(trials, "_loss", lambda *given: 1 / given[2]["augmentation"]["zoom"])

    def fails(one, *rest, **more):
        if one.folder == project.folder:
            raise MemoryError
        return prepare(one, *rest, **more)

    monkeypatch.setattr(UNET, "ingredients", fails, raising=False)
    with pytest.raises(MemoryError):
        UNET.train(project, given)
    kept = kept_choices(project.folder)
    assert "Short trials decided" in {one.field: one for one in kept}["zoom"].reason
    assert json.loads(json.dumps(rows(kept))) == rows(kept)
    monkeypatch.setattr(UNET, "ingredients", prepare, raising=False)
    monkeypatch.setattr(trials, "_loss", None)
    assert UNET.train(project, given).endswith("It went on where it had been stopped.")
    assert kept_choices(project.folder) == kept


def test_an_interrupted_training_goes_on_without_what_it_did_not_have():
    kept = [Choice("training", "filters", 8, "Kept.")]
    new = [Choice("training", "filters", 16, "New."), Choice("augmentation", "empty", 6, "New.")]
    assert [(one.field, one.value) for one in complete(kept, new)] == [("filters", 8), ("empty", 0)]


def test_a_value_that_a_person_gives_later_is_another_training(tmp_path):
    given = parameters(write_data(tmp_path / "data"), tmp_path)
    project, _ = open_and_train(given)
    given["overrides"]["augmentation"]["zoom"] = 77
    with pytest.raises(ModelError, match=r"augmentation.zoom was 30 and is now 77"):
        UNET.train(project, given)


class TestStart:
    """Few images of bright objects on dark ground start from the project's own model, if it fits."""

    @pytest.fixture
    def own(self, tmp_path, monkeypatch):
        """The project's own model, of the network of `tests.tiny`."""
        folder = tmp_path / "own"
        save_untrained(folder, filters=4)
        monkeypatch.setitem(STARTING, "unet", str(folder))
        return str(folder)

    def choice(self, tmp_path, n=6, data=None, training=None, **written) -> Choice:
        source = write_data(tmp_path / "data", n, **written)
        given = parameters(source, tmp_path, training=training or {})["overrides"]
        project = open_project(given["data"])
        forms = given | {"data": given["data"] | (data or {})}
        return next(one for one in UNET.choices(project, forms) if one.field == "starting_model")

    def test_few_images_start_from_it(self, own, tmp_path):
        found = self.choice(tmp_path)
        assert (found.value, found.candidates) == (own, ()), "too few to judge by"
        given = parameters(tmp_path / "data", tmp_path)
        project, _ = open_and_train(given)
        saved = json.loads((project.folder / "parameters.json").read_text())["overrides"]
        assert saved["data"]["starting_model"] == own
        given["overrides"]["data"]["starting_model"] = ""
        with pytest.raises(ModelError, match="starting_model was"):
            UNET.train(project, given)

    @pytest.mark.parametrize(
        ("n", "preset", "start", "rounds", "rate"),
        [
            (5, "Quick on a CPU", None, 6, 0.001),  # 4 to learn from, 50 batches of 4 patches of 128 x 128
            (5, "Quick on a CPU", "", 18, None),
            (5, "Try out", None, 5, 0.001),  # shorter anyway
            (24, "Quick on a CPU", None, 18, None),
        ],
    )
    def test_few_images_learn_gently_from_a_model_so_that_it_forgets_nothing(
        self, own, tmp_path, n, preset, start, rounds, rate
    ):
        left = dict.fromkeys(("number_of_epochs", "number_of_steps"), AUTOMATIC)
        training = left | {"preset": preset, "batch_size": 4, "patch_height": 128, "patch_width": 128}
        training |= {"initial_learning_rate": 0.003, "learning_rate_schedule": "cosine"}
        source = write_data(tmp_path / "data", n, side=128)
        data = {"percentage_test": 0} | ({} if start is None else {"starting_model": start})
        forms = parameters(source, tmp_path, training=training, data=data)["overrides"]
        project = open_project(forms["data"])
        forms = settled(forms, asked_for(forms, UNET.choices(project, forms)))
        assert forms["training"]["number_of_epochs"] == rounds
        stages = UNET.stages(project, forms)
        assert (stages and (stages[0].epochs, stages[0].rate)) == (rate and (rounds, pytest.approx(rate)))

    def test_trials_start_from_what_they_try_and_the_better_start_is_taken(self, own, tmp_path, monkeypatch):
        given = parameters(write_data(tmp_path / "data", 32), tmp_path, training={"number_of_epochs": 10})
        project = open_project(given["overrides"]["data"])
        started, original = [], UNET.ingredients

        def ingredients(one, forms, description, starting=None):
            started.append(starting is not None)
            return original(one, forms, description, starting)

        monkeypatch.setattr(UNET, "ingredients", ingredients, raising=False)
        monkeypatch.setattr(trials, "LEAD", -1e9)  # the last candidate is taken
        UNET.train(project, given)
        assert started == [True, False, False]
        assert list(trial_table(project.folder)["starting_model"]) == [own, "none"]
        assert list(trial_table(project.folder)["taken"]) == ["", "yes"]

    @pytest.mark.parametrize(
        ("why", "changes"),
        [
            ("bright nuclei on dark ground only", {"channels": 3}),
            ("bright nuclei on dark ground only", {"classes": 3}),
            ("another network", {"training": {"filters": 8}}),
            ("of these very images", {"data": {"training_source": "data_samples/nuclei/train/images"}}),
        ],
    )
    def test_other_data_and_networks_start_from_scratch(self, own, tmp_path, why, changes):
        found = self.choice(tmp_path, **changes)
        assert found.value == ""
        assert why in found.reason

    def test_software_without_it_starts_from_scratch(self, tmp_path, monkeypatch):
        monkeypatch.setitem(STARTING, "unet", str(tmp_path / "nothing"))
        assert self.choice(tmp_path).reason == "From scratch: the project's own models are not here."


@pytest.mark.parametrize("task", [UNET, STARDIST])
def test_the_projects_own_models_are_small_and_find_real_nuclei(task):
    """What is started from knows something: more of the real nuclei is found than by chance, without any training."""
    folder = resolve(STARTING[task.name])
    assert sum(path.stat().st_size for path in folder.iterdir()) < 900_000
    places = prepare("nuclei_real")
    kind = "classes" if task is UNET else "objects"
    source, target = (resolve(places[f"test_{one}"]) for one in ("source", "target"))
    test = load_examples(source, target, "automatic", "automatic", "", annotation=kind)
    predictor = task.load(folder)
    assert task.judge(predictor, test.examples, predictor.classes).value > 0.5


@pytest.mark.parametrize("task", [UNET, STARDIST])
@pytest.mark.parametrize(
    ("offset", "noise", "dtype"),
    [(100, 1, np.uint8), (100, 20, np.uint8), (2000, 300, np.uint16), (7, 0, np.uint8), (255, 0, np.uint8)],
)
def test_an_empty_image_gives_an_empty_mask_and_a_lone_object_is_found(task, offset, noise, dtype):
    """From file to mask, with networks that learned from images full of nuclei only."""
    rng, (y, x) = np.random.default_rng(0), np.mgrid[:200, :220]
    disc = (y - 100) ** 2 + (x - 90) ** 2 <= 7**2
    empty = rng.normal(offset, noise, disc.shape)
    lone = empty + max(20 * noise, 60) * disc
    network = task.load(resolve(STARTING[task.name]))

    def mask(image):
        array = image.clip(0, np.iinfo(dtype).max).astype(dtype)[..., np.newaxis]
        return (network.class_ids(array) if task is UNET else network.find(array).labels) > 0

    assert mask(empty).mean() < 1e-3
    if offset < 255:
        found = mask(lone)
        assert (found & disc).sum() / (found | disc).sum() > 0.7
