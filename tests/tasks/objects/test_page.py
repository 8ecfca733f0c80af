"""What the StarDist page says beside the figures."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from tests.tiny_objects import SMALL, parameters
from utils.tasks import report
from utils.tasks.automatic import settled
from utils.tasks.held_out import evaluate, find_test_set
from utils.tasks.objects import page
from utils.tasks.objects.network import field_of_view
from utils.tasks.registry import STARDIST
from utils.tasks.rules import augmentation_choices


@pytest.fixture(scope="module")
def result(finder):
    return evaluate(STARDIST, finder.folder, find_test_set(STARDIST, finder.folder))


@pytest.fixture(scope="module")
def forms(finder):
    return parameters(finder.folder.parent / "data", finder.folder.parent)["overrides"]


def test_the_table_of_sizes_counts_every_object_once(finder):
    table = STARDIST.counts(finder).set_index("role")
    for role in ("training", "validation", "test"):
        examples = finder.examples(role)
        assert table.loc[role, "images"] == len(examples)
        assert table.loc[role, "objects"] == sum(int(one.mask.max()) for one in examples)
    assert table["largest extent [px]"].max() <= 12


def test_a_patch_larger_than_an_image_is_named(finder, forms):
    large = forms["training"] | {"patch_height": 80, "patch_width": 80}
    told = [one for one in STARDIST.problems(finder, large) if "smaller than the patch" in one.what]
    assert len(told) == len(finder.examples("training") + finder.examples("validation"))
    assert not [one for one in STARDIST.problems(finder, forms["training"]) if "smaller than" in one.what]


def test_objects_larger_than_the_patch_or_the_field_of_view_are_named(finder, forms, monkeypatch):
    monkeypatch.setattr(page, "field_of_view", lambda description: (3, 3))
    told = " ".join(one.what for one in STARDIST.problems(finder, forms["training"]))
    assert "larger than the network's view of 3 x 3" in told


def test_field_of_view_grows_with_the_grid(finder, forms):
    views = []
    for grid in (1, 2, 4):
        description = STARDIST.describe(finder, forms["training"] | {"grid": grid})
        views.append(field_of_view(description)[0])
    assert views[0] < views[1] < views[2]
    assert views[0] > 20


def test_the_readable_table_keeps_every_row(result):
    table = STARDIST.score_tables(result)["Scores on the test images, over all objects of all images together"]
    assert table["AP"].tolist() == result.table["AP"].tolist()
    assert table["AP, 95 % interval"].tolist() == ["unknown"] * 10  # one test image tells nothing about others


def test_counts_in_words(result):
    true, predicted = result.scores.per_image.loc[0, ["true objects", "predicted objects"]]
    assert f"off by {abs(true - predicted):.1f} on average" in STARDIST.remarks(result)[0]


def test_figures_and_report(result, finder, forms):
    figures = STARDIST.evaluation_figures(result)
    assert all(isinstance(figure, Figure) for figure in figures.values())
    assert [name for name in figures if name.startswith("Errors in")] == [
        f"Errors in {result.test_set.examples[0].name}"
    ]
    text = report.write(STARDIST, finder.folder, result, ["Beware of this."]).read_text(encoding="utf-8")
    assert "Methods, for a paper" in text
    assert f"{len(pd.read_csv(finder.folder / 'split.csv'))} annotated images" in text
    assert f"{STARDIST.load(finder.folder).network.count_params():,} parameters" in text
    assert "schmidt2018" in (finder.folder / "cite.bib").read_text(encoding="utf-8")
    assert "Beware of this." in text
    assert f"{result.headline['value']:.2f}" in text
    assert "images set aside before training" in text


def test_preview_of_augmentation(finder, forms):
    given = settled(forms | {"training": forms["training"] | SMALL}, augmentation_choices(STARDIST.fingerprint(finder)))
    figure = STARDIST.augmentation_preview(finder, given["training"], given["augmentation"])
    assert isinstance(figure, Figure)


def test_a_broken_label_is_told(finder, forms):
    one = finder.dataset.examples[0]
    torn = one.mask.copy()
    torn[np.isin(torn, [1, 2])] = 1
    finder.dataset.examples[0] = type(one)(one.name, one.image, torn, one.group, one.mask_path)
    try:
        told = STARDIST.problems(finder, forms["training"])
    finally:
        finder.dataset.examples[0] = one
    assert any("piece" in problem.what for problem in told)
