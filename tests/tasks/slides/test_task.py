"""The U-Net of slides: its opponent by hand, patients on one side, what nobody annotated nowhere."""

from types import SimpleNamespace

import numpy as np
import pytest

from tests.notebook_forms import default_values
from utils.data.examples import Example
from utils.images.image import Image
from utils.images.masks import IGNORED
from utils.images.stains import H_AND_E, PICROSIRIUS_RED, collagen_mask
from utils.images.writing import write_tiff
from utils.tasks.slides import task as slides_task
from utils.tasks.slides.cohort import BETWEEN, UNSET
from utils.tasks.slides.task import COLOUR, THRESHOLDS, SlideUNet, fit_colour_threshold

YELLOW, RED, GLASS = (235, 200, 90), (150, 40, 60), (250, 250, 250)
CLASSES = [{"id": i, "name": name, "value": i} for i, name in enumerate(("Background", "Tissue", "Fibrosis"))]
RNG = np.random.default_rng(0)


def example(array, mask, path):
    return Example("one", Image(path, array, 0.5, "YXC"), mask, "P1", path)


def stripes():
    """Glass, tissue and collagen side by side, and the mask of it."""
    array = np.zeros((30, 30, 3), np.uint8)
    array[:, :10], array[:, 10:20], array[:, 20:] = GLASS, YELLOW, RED
    return array, np.repeat(np.repeat([[0, 1, 2]], 10, 1), 30, 0).astype(np.int16)


def test_the_threshold_on_a_stain_by_hand(tmp_path):
    array, mask = stripes()
    fitted = fit_colour_threshold([example(array, mask, tmp_path)], CLASSES, PICROSIRIUS_RED, 2)
    np.testing.assert_array_equal(fitted.class_ids(array), mask)


@pytest.mark.parametrize("seed", range(5))
def test_no_other_threshold_on_a_stain_has_a_better_dice(tmp_path, seed):
    rng = np.random.default_rng(seed)
    array = rng.integers(60, 256, (40, 40, 3)).astype(np.uint8)
    mask = rng.integers(-1, 3, (40, 40)).astype(np.int16)
    mask[collagen_mask(array, PICROSIRIUS_RED, rng.uniform(0.05, 0.3)) & (rng.random(mask.shape) < 0.9)] = 2
    fitted = fit_colour_threshold([example(array, mask, tmp_path)] * 2, CLASSES, PICROSIRIUS_RED, 2)
    truth, known = mask == 2, mask >= 0

    def dice(threshold):
        found = collagen_mask(array, PICROSIRIUS_RED, threshold)
        return 2 * (found & truth).sum() / ((found & known).sum() + truth.sum())

    assert dice(fitted.threshold) == max(dice(one) for one in THRESHOLDS)


def test_what_nobody_annotated_does_not_move_the_threshold(tmp_path):
    """Half of the collagen was called tissue, and then taken out: as if it had never been there."""
    array, mask = stripes()
    wrong = mask.copy()
    wrong[:20, 20:] = 1
    hidden = np.where((wrong == 1) & (mask == 2), IGNORED, wrong).astype(np.int16)
    one, two = (
        fit_colour_threshold([example(array[rows], given[rows], tmp_path)], CLASSES, PICROSIRIUS_RED, 2)
        for given, rows in ((hidden, slice(None)), (mask, slice(20, None)))
    )
    assert one.threshold == two.threshold
    assert one.ids == two.ids == (0, 1, 2)


@pytest.mark.parametrize(("measured", "expected"), [("Fibrosis", True), ("", False), ("Steatosis", False)])
def test_the_threshold_is_an_opponent_where_the_stain_shows_what_is_measured(tmp_path, monkeypatch, measured, expected):
    monkeypatch.setattr(
        slides_task, "classical_segmenters", lambda *given, balanced: {"pixel forest": None} if balanced else {}
    )
    array, mask = stripes()
    found = SlideUNet(PICROSIRIUS_RED, measured).opponents([example(array, mask, tmp_path)], CLASSES, 0)
    assert (COLOUR in found) == expected
    assert "pixel forest" in found


def pieces(folder, patients=6, each=4):
    """Pieces of slides as `cut_pieces` writes them; most of each was not annotated, and some hold glass alone."""
    for patient in range(patients):
        for i in range(each):
            mask = np.full((64, 64), UNSET, np.uint8)
            mask[:32, :16] = 0
            if i:
                mask[:32, 16:32], mask[32:, :16] = 1, 2
            name = f"P{patient}{BETWEEN}P{patient}_a_{i}_0.tif"
            write_tiff(folder / "images" / name, RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8), 0.5)
            write_tiff(folder / "masks" / name, mask, 0.5)
    return folder


@pytest.fixture
def opened(tmp_path):
    folder = pieces(tmp_path)
    given = {
        "training_source": str(folder / "images"),
        "training_target": str(folder / "masks"),
        "group_rule": f"{{group}}{BETWEEN}*",
        "ignore_value": str(UNSET),
        "class_names": "Background, Tissue, Fibrosis",
        "model_path": str(tmp_path),
    }
    values = default_values("slide_fibrosis", {"data": given})
    task = SlideUNet(H_AND_E, "Fibrosis")
    return task, task.open(values["data"]), values


def test_pieces_of_a_patient_are_on_one_side(opened):
    _, project, _ = opened
    sides = {}
    for one, role in zip(project.dataset.examples, project.roles, strict=True):
        sides.setdefault(one.group, set()).add(role)
    assert sorted(sides) == [f"P{i}" for i in range(6)]
    assert all(len(roles) == 1 for roles in sides.values())
    assert {role for roles in sides.values() for role in roles} == {"training", "validation", "test"}


def test_unannotated_pixels_count_in_no_table(opened):
    task, project, _ = opened
    assert {int(value) for one in project.dataset.examples for value in np.unique(one.mask)} == {IGNORED, 0, 1, 2}
    table = task.counts(project)
    assert table["pixels"].sum() == 6 * (4 * 512 + 3 * 1024)


def test_pieces_are_stained_tissue_and_glass_alone_is_no_problem(opened):
    task, project, values = opened
    assert task.fingerprint(project)["brightfield"]
    assert not task.fingerprint_table(project)["value"].str.contains("nan").any()
    found = task.checks(project, values["training"])
    assert list(found.tables) == ["Problems", "Uneven patients"]
    assert not len(found.tables["Problems"])
    assert task.show_understood(project) is None


def test_every_batch_shows_all_classes_and_kernels_learn_by_muon(opened):
    task, project, values = opened
    training = values["training"] | {"patch_height": 32, "patch_width": 32, "number_of_steps": 3, "number_of_epochs": 1}
    forms = {"training": training | {"half_resolution": True, "pooling_steps": 2}, "augmentation": {}}
    description = task.describe(project, forms["training"])
    made = task.ingredients(project, forms, description)
    data = made.training_data
    assert all({0, 1, 2} <= set(np.unique(masks)) for _, masks in (data[step] for step in range(3)))
    made.compile()
    assert (description["balanced"], description["optimiser"]) == (True, type(made.model.optimizer).__name__)
    assert description["optimiser"] == "Muon"


def test_pieces_with_most_classes_are_shown_one_of_each_patient(opened):
    task, project, _ = opened
    shown = task.shown(project)
    assert len(shown) == len({one.group for one in shown}) == min(4, len({*project.split["group"]}) - 2)
    assert all({0, 1, 2} <= set(np.unique(one.mask)) for one in shown)


def test_a_piece_of_glass_alone_is_no_bad_piece_for_a_few_pixels(opened):
    task, project, _ = opened
    glass, wrong = np.array([[99, 1, 0], [0, 0, 0], [0, 0, 0]]), np.array([[0, 0, 0], [0, 60, 40], [0, 0, 0]])
    scores = SimpleNamespace(confusions=np.stack([glass, wrong]))
    np.testing.assert_allclose(task.quality(scores), [0.99, 0.6])


def test_pieces_with_most_wrong_pixels_are_doubted_first(opened, monkeypatch):
    task, project, _ = opened
    examples = [one for one in project.examples("test") if 2 in one.mask][:2]
    answers = {id(one.image.array): np.where(one.mask == 2, i, one.mask.clip(0)) for i, one in enumerate(examples, 1)}
    answers[id(examples[0].image.array)][:32, :16] = 1
    classes = project.dataset.classes
    known = SimpleNamespace(classes=classes, class_ids=lambda array: answers[id(array)])
    monkeypatch.setattr(task, "load", lambda folder: known)
    table = task.disagreement(None, examples[::-1], ["test"] * 2)
    assert table["file"].tolist() == [one.name for one in examples]
