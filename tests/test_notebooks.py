"""The notebooks as users open them: in step with their source, and running from top to bottom."""

import json
import re
import subprocess
import sys

import jupytext
import nbformat
import numpy as np
import pandas as pd
import pytest
import tifffile
from nbclient.exceptions import CellExecutionError

from notebooks import run
from tests.tiny import SMALL, write_data
from tests.tiny_crops import SMALL as CROPS
from tests.tiny_crops import write_crops
from tests.tiny_objects import SMALL as OBJECTS
from tests.tiny_objects import write_objects
from tests.tiny_slides import write_cohort
from utils.pages.cells import GUARD

MODEL_FILES = [
    "automatic.json",
    "cite.bib",
    "evaluation.csv",
    "history.csv",
    "model.json",
    "parameters.json",
    "report.html",
    "scores.json",
    "split.csv",
    "weights.h5",
]
NAMES = run.names()


def files_of(model):
    """Names in a model folder but for report.pdf, which is there where a browser is."""
    return sorted(path.name for path in model.iterdir() if path.name != "report.pdf")


HEAVY_MODULES_LOADED = """
heavy = {"tensorflow", "keras", "stardist", "csbdeep", "matplotlib", "sklearn", "skimage", "numba"}
print(sorted(heavy & set(sys.modules)))
"""


def cells(name: str, kind: str = "ipynb") -> list:
    if kind == "ipynb":
        return nbformat.read(run.NOTEBOOKS / f"{name}.ipynb", as_version=4).cells
    return jupytext.read(run.NOTEBOOKS / "src" / f"{name}.py").cells


def code(name: str) -> list:
    return [cell for cell in cells(name) if cell.cell_type == "code"]


def without_guard(cell) -> str:
    """Source of a cell without the line that says what has to be run first."""
    return re.sub(GUARD.pattern + r"\n", "", cell.source, flags=re.MULTILINE)


@pytest.mark.parametrize("name", run.pages())
class TestForm:
    def test_source_and_notebook_are_in_step(self, name):
        built, source = (
            [(cell.cell_type, cell.source, dict(cell.metadata)) for cell in cells(name, kind)]
            for kind in ("ipynb", "py")
        )
        assert len(built) == len(source)
        for one, other in zip(built, source, strict=True):
            assert one == other

    def test_there_are_no_outputs(self, name):
        assert not [cell for cell in code(name) if cell.outputs or cell.execution_count is not None]

    def test_the_header_is_what_papermill_needs(self, name):
        metadata = nbformat.read(run.NOTEBOOKS / f"{name}.ipynb", as_version=4).metadata
        assert metadata["kernelspec"]["name"] == "python3"
        assert metadata["language_info"]["name"] == "python"
        nbformat.validate(nbformat.read(run.NOTEBOOKS / f"{name}.ipynb", as_version=4))

    def test_code_is_hidden_in_colab_and_in_jupyterlab(self, name):
        for cell in code(name):
            assert cell.metadata["cellView"] == "form"
            assert cell.metadata["jupyter"]["source_hidden"] is True

    def test_one_cell_takes_parameters(self, name):
        tagged = [cell for cell in cells(name) if "parameters" in cell.metadata.get("tags", [])]
        assert [cell.source.splitlines()[1].split("#")[0].strip() for cell in tagged] == ["overrides = {}"]

    def test_cells_are_short_and_hold_no_functions(self, name):
        for cell in code(name):
            source = without_guard(cell)
            lines = source.splitlines()
            assert len(lines) <= 25, cell.source
            assert max(map(len, lines)) <= 120
            assert not re.search(r"^\s*(async )?def |^\s*(import os|os\.chdir|%cd|%|!)", source, re.MULTILINE)

    def test_each_code_cell_is_introduced(self, name):
        declares = [bool(re.match(r"# .*\nclass ", without_guard(cell))) for cell in cells(name)]
        for i, cell in enumerate(cells(name)):
            if cell.cell_type == "code" and not declares[i]:
                assert cells(name)[i - 1].cell_type == "markdown" or declares[i - 1]

    def test_what_is_seen_of_a_folded_cell_are_words(self, name):
        """JupyterLab shows the first line of a hidden cell, Colab (as # @title) its first line, too."""
        for cell in code(name):
            first, second = cell.source.splitlines()[:2]
            assert re.fullmatch(r"# [A-Z][a-z :;,-]+", first), first
            assert not second.startswith("#")


@pytest.mark.parametrize("name", NAMES)
def test_the_first_form_comes_before_anything_heavy_is_loaded(name, tmp_path):
    """Importing TensorFlow takes longer than a reader waits: section 3.2 loads it, not the sections before the form."""
    sources = [without_guard(cell) for cell in code(name)]
    first = next(
        i for i, source in enumerate(sources) if re.search(r"^class \w+\((Form|AdvancedData)\)", source, re.MULTILINE)
    )
    script = "\n".join([*sources[: first + 1], HEAVY_MODULES_LOADED])
    done = subprocess.run([sys.executable, "-c", script], cwd=run.NOTEBOOKS, capture_output=True, text=True, check=True)
    assert re.search("No graphics card was found|(Training|Models) will use the graphics card", done.stdout)
    assert done.stdout.splitlines()[-1] == "[]"


def small(folder, source, **overrides) -> dict:
    """Overrides for a run of seconds on own data, with everything written below `folder`."""
    training = {name: value for name, value in SMALL.items() if name != "number_of_epochs"}
    return {
        "data": {
            "training_source": str(source / "images"),
            "training_target": str(source / "masks"),
            "model_path": str(folder / "models"),
            "model_name": "small",
            "test_in_turn": False,
        }
        | overrides.get("data", {}),
        "training": {"number_of_epochs": 2, **training},
        "augmentation": {"rotation": 10},
        "evaluation": overrides.get("evaluation", {}),
        "prediction": {"data_folder": str(source / "images"), "result_folder": str(folder / "predictions")}
        | overrides.get("prediction", {}),
    }


def page(folder) -> str:
    return (folder / "unet_segmentation.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Folder of a run from top to bottom on own data, and where these lie."""
    folder = tmp_path_factory.mktemp("notebook")
    source = write_data(folder / "data", 6)
    run.execute("unet_segmentation", small(folder, source), folder)
    return folder, source


def test_a_run_from_top_to_bottom_writes_everything(ran):
    folder, source = ran
    model = folder / "models" / "small"
    assert files_of(model) == MODEL_FILES
    assert len(pd.read_csv(model / "history.csv")) == 2
    scores = json.loads((model / "scores.json").read_text())
    assert 0 <= scores["headline"]["value"] <= 1
    roles = pd.read_csv(model / "split.csv")["role"]
    assert scores["number_of_images"] == (roles == "test").sum() == len(pd.read_csv(model / "evaluation.csv")) == 1
    predictions = folder / "predictions"
    assert sorted(path.name for path in predictions.iterdir()) == ["masks", "measurements.csv", "overlays"]
    names = [path.name for path in sorted((source / "images").iterdir())]
    assert pd.read_csv(predictions / "measurements.csv")["file"].tolist() == names
    assert sorted(path.name for path in (predictions / "masks").iterdir()) == names
    assert f"{scores['headline']['value']:.2f}" in page(folder)
    assert "Trained for 2 epochs" in page(folder)
    assert [one["method"] for one in scores["classical"]] == ["network", "Otsu threshold", "pixel forest"]
    assert "Is it worth it?" in page(folder)
    assert "Traceback" not in page(folder)


@pytest.mark.slow
def test_few_images_are_tested_in_turn_on_the_page_and_the_run_can_be_repeated(tmp_path):
    source = write_data(tmp_path / "data", 6)
    run.execute("unet_segmentation", small(tmp_path, source, data={"test_in_turn": "automatic"}), tmp_path)
    model = tmp_path / "models" / "small"
    written = " ".join(page(tmp_path).split())
    for said in ("Test on all images in turn.", "about 6 times as long", "itself not tested", "of each part (fold)"):
        assert said in written
    assert files_of(model) == sorted([*MODEL_FILES, "cross_validation"])
    given = json.loads((model / "parameters.json").read_text())["overrides"]
    assert given["data"]["test_in_turn"] is True
    run.execute("unet_segmentation", given | {"prediction": {"result_folder": str(tmp_path / "again")}}, tmp_path)
    assert "already trained" in page(tmp_path)


def test_parameters_json_repeats_the_run(ran):
    folder, _ = ran
    given = json.loads((folder / "models" / "small" / "parameters.json").read_text())["overrides"]
    assert given["training"]["number_of_epochs"] == 2
    assert given["augmentation"]["rotation"] == 10
    assert list(given) == ["data", "augmentation", "training"]


def only(name: str, wanted: set[str], monkeypatch):
    """Leave out the code of all sections but those wanted, as a user who does not run them."""
    load, section = run.load_notebook_node, "0"

    def shortened(path):
        nonlocal section
        notebook, kept = load(path), []
        for cell in notebook.cells:
            if found := re.match(r"## (\d)", cell.source):
                section = found.group(1)
            if cell.cell_type == "markdown" or section in wanted | {"0"}:
                kept.append(cell)
        notebook.cells = kept
        return notebook

    monkeypatch.setattr(run, "load_notebook_node", shortened)


def test_a_trained_model_needs_only_sections_1_2_and_6(ran, tmp_path, monkeypatch):
    folder, source = ran
    only("unet_segmentation", {"1", "2", "6"}, monkeypatch)
    values = small(tmp_path, source, prediction={"model_folder": str(folder / "models" / "small")})
    run.execute("unet_segmentation", {"prediction": values["prediction"]}, tmp_path)
    measured = [pd.read_csv(one / "predictions" / "measurements.csv") for one in (folder, tmp_path)]
    pd.testing.assert_frame_equal(*measured)


def test_a_second_run_uses_the_model_and_wrong_input_shows_one_friendly_error(ran, tmp_path, monkeypatch):
    """The same cells again; then section 6 names a folder that is not there."""
    folder, source = ran
    history = (folder / "models" / "small" / "history.csv").read_bytes()
    weights = (folder / "models" / "small" / "weights.h5").read_bytes()
    values = small(folder, source, prediction={"data_folder": str(tmp_path / "missing")})
    with pytest.raises(CellExecutionError) as error:
        run.execute("unet_segmentation", values, tmp_path)
    assert error.value.ename == "DataError"
    assert "already trained" in page(tmp_path)
    assert (folder / "models" / "small" / "history.csv").read_bytes() == history
    assert (folder / "models" / "small" / "weights.h5").read_bytes() == weights
    assert f"There is no folder {tmp_path / 'missing'}" in " ".join(page(tmp_path).split())  # lines are wrapped
    assert "Please check your data" in page(tmp_path)
    assert "Traceback" not in page(tmp_path)
    assert "site-packages" not in page(tmp_path)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Folder of a run of the StarDist notebook on own data, and where these lie."""
    folder = tmp_path_factory.mktemp("stardist")
    source = write_objects(folder / "data", 6)
    values = small(folder, source) | {"training": OBJECTS}
    run.execute("stardist_segmentation", values, folder)
    return folder, source


def test_a_stardist_run_from_top_to_bottom_writes_everything(found):
    folder, source = found
    model = folder / "models" / "small"
    expected = [
        "automatic.json",
        "cite.bib",
        "config.json",
        "evaluation.csv",
        "history.csv",
        "model.json",
        "parameters.json",
        "report.html",
    ]
    assert files_of(model) == [
        *expected,
        "scores.json",
        "split.csv",
        "thresholds.json",
        "weights_best.h5",
    ]
    scores = json.loads((model / "scores.json").read_text())
    assert scores["headline"]["name"] == "AP at IoU 0.5"
    assert [one["method"] for one in scores["classical"]] == ["network", "watershed"]
    names = [path.name for path in sorted((source / "images").iterdir())]
    predictions = folder / "predictions"
    assert sorted(path.name for path in (predictions / "labels").iterdir()) == names
    counts = pd.read_csv(predictions / "counts.csv")
    assert counts["file"].tolist() == names
    assert counts["objects"].sum() == len(pd.read_csv(predictions / "objects.csv"))
    written = (folder / "stardist_segmentation.html").read_text(encoding="utf-8")
    assert "Trained for 2 epochs" in written
    for noise in ("Traceback", "WARNING", "retracing", "RuntimeWarning", "Using default values"):
        assert noise not in written


def test_a_stardist_model_needs_only_sections_1_2_and_6_also_for_a_stack(found, tmp_path, monkeypatch):
    folder, source = found
    only("stardist_segmentation", {"1", "2", "6"}, monkeypatch)
    frames = [tifffile.imread(path) for path in sorted((source / "images").iterdir())]
    (tmp_path / "stack").mkdir()
    tifffile.imwrite(tmp_path / "stack" / "film.tif", np.stack(frames), imagej=True, metadata={"axes": "TYX"})
    prediction = {"data_folder": str(tmp_path / "stack"), "result_folder": str(tmp_path / "predictions")}
    prediction["model_folder"] = str(folder / "models" / "small")
    run.execute("stardist_segmentation", {"prediction": prediction}, tmp_path)
    stack = tifffile.imread(tmp_path / "predictions" / "labels" / "film.tif")
    for frame, path in zip(stack, sorted((folder / "predictions" / "labels").iterdir()), strict=True):
        np.testing.assert_array_equal(frame, tifffile.imread(path))


@pytest.fixture(scope="module")
def sorted_crops(tmp_path_factory):
    """Folder of a run of the classification notebook on own data, and where these lie."""
    folder = tmp_path_factory.mktemp("classification")
    source = write_crops(folder / "data", 10)
    values = small(folder, source) | {
        "data": {
            "training_source": str(source),
            "class_groups": "dot, ring -> round; stripe -> long",
            "model_path": str(folder / "models"),
            "model_name": "small",
        },
        "training": CROPS,
        "prediction": {"data_folder": str(source), "result_folder": str(folder / "predictions")},
    }
    run.execute("classification", values, folder)
    return folder, source


def test_a_classification_run_from_top_to_bottom_writes_everything(sorted_crops):
    folder, source = sorted_crops
    model = folder / "models" / "small"
    assert files_of(model) == MODEL_FILES
    scores = json.loads((model / "scores.json").read_text())
    assert scores["headline"]["name"] == "Balanced accuracy"
    assert scores["number_of_images"] == (pd.read_csv(model / "split.csv")["role"] == "test").sum() == 6
    assert {row["level"] for row in scores["random_forest"]} == {"classes", "broad classes"}
    predicted = pd.read_csv(folder / "predictions" / "predictions.csv")
    names = sorted(path.relative_to(source).as_posix() for path in source.rglob("*.tif"))
    assert sorted(predicted["file"]) == names
    written = (folder / "classification.html").read_text(encoding="utf-8")
    assert "Trained for 2 epochs" in written
    assert "random forest" in written
    for noise in ("Traceback", "WARNING", "retracing", "RuntimeWarning"):
        assert noise not in written


def test_a_classifier_sorts_the_objects_of_a_segmented_image(sorted_crops, found, tmp_path, monkeypatch):
    """What the StarDist notebook wrote goes into section 6 of the classification notebook."""
    folder, _ = sorted_crops
    only("classification", {"1", "2", "6"}, monkeypatch)
    objects, images = found
    prediction = {
        "data_folder": str(images / "images"),
        "label_folder": str(objects / "predictions" / "labels"),
        "result_folder": str(tmp_path / "sorted"),
        "model_folder": str(folder / "models" / "small"),
    }
    run.execute("classification", {"prediction": prediction}, tmp_path)
    classes = pd.read_csv(tmp_path / "sorted" / "object_classes.csv")
    assert len(classes) == len(pd.read_csv(objects / "predictions" / "objects.csv"))
    assert set(classes["class"]) <= {"dot", "ring", "stripe"}


@pytest.fixture(scope="module")
def fine_tuned(sorter, tmp_path_factory):
    """Folder of a run of the fine-tuning notebook from a classifier to new images, and where these lie."""
    folder = tmp_path_factory.mktemp("fine_tuning")
    source = write_crops(folder / "data", 8, seed=4)
    values = {
        "data": {
            "starting_model": str(sorter[0].folder),
            "training_source": str(source),
            "model_path": str(folder / "models"),
            "model_name": "small",
        },
        "training": {"number_of_epochs": 2, "number_of_steps": 2, "batch_size": 4},
        "curve": {"sizes": "2, 3, 5", "repeats": 1},
        "prediction": {"data_folder": str(source), "result_folder": str(folder / "predictions")},
    }
    run.execute("fine_tuning", values, folder)
    return folder, source, values


def test_a_fine_tuning_run_from_top_to_bottom_writes_everything(fine_tuned):
    folder, source, _ = fine_tuned
    model = folder / "models" / "small"
    expected = [
        "cite.bib",
        "curve.csv",
        "evaluation.csv",
        "from_scratch",
        "history.csv",
        "model.json",
        "parameters.json",
        "rates",
    ]
    assert files_of(model) == [
        *expected,
        "report.html",
        "scores.json",
        "split.csv",
        "weights.h5",
    ]
    curve = pd.read_csv(model / "curve.csv")
    assert sorted(curve["size"]) == [2, 2, 3, 3, 5, 5]
    assert set(curve["strategy"]) == {"two stages", "from scratch"}
    assert (curve["training images"] + curve["validation images"] == 3 * curve["size"]).all()
    assert len(pd.read_csv(folder / "predictions" / "predictions.csv")) == len(list(source.rglob("*.tif")))
    written = (folder / "fine_tuning.html").read_text(encoding="utf-8")
    for said in ("Another question?", "Forgetting:", "labelled images of each class", "Trained for 2 epochs"):
        assert said in written
    for noise in ("Traceback", "WARNING", "retracing", "RuntimeWarning"):
        assert noise not in written
    assert "How many labelled images" not in written  # it stands in a picture
    report = (model / "report.html").read_text(encoding="utf-8")
    assert "how many images are required?" in report
    assert "The models on the same test images" in report


def test_a_second_fine_tuning_run_trains_nothing_and_too_many_images_are_refused_at_once(fine_tuned, tmp_path):
    folder, _, values = fine_tuned
    curve = (folder / "models" / "small" / "curve.csv").read_bytes()
    run.execute("fine_tuning", values, tmp_path)
    assert "already trained" in (tmp_path / "fine_tuning.html").read_text(encoding="utf-8")
    assert (folder / "models" / "small" / "curve.csv").read_bytes() == curve
    with pytest.raises(CellExecutionError) as error:
        run.execute("fine_tuning", {**values, "curve": {"sizes": "2, 50"}}, tmp_path)
    assert error.value.ename == "DataError"
    assert "sizes asks for 50 labelled images of each class" in error.value.evalue


def test_a_fine_tuned_model_predicts_in_the_notebook_of_its_task(fine_tuned, tmp_path, monkeypatch):
    folder, source, _ = fine_tuned
    only("classification", {"1", "2", "6"}, monkeypatch)
    prediction = {"data_folder": str(source), "result_folder": str(tmp_path / "predictions")}
    prediction["model_folder"] = str(folder / "models" / "small")
    run.execute("classification", {"prediction": prediction}, tmp_path)
    both = [pd.read_csv(one / "predictions" / "predictions.csv") for one in (folder, tmp_path)]
    pd.testing.assert_frame_equal(*both)


def test_a_failed_run_has_no_score(tmp_path):
    assert run.headline(tmp_path) == "-"


def test_an_undefined_score_does_not_break_the_summary(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "scores.json").write_text('{"headline": {"name": "Mean foreground IoU", "value": null}}')
    assert "Mean foreground IoU" in run.headline(tmp_path)


def test_a_run_of_slides_from_top_to_bottom_writes_everything(tmp_path):
    source = write_cohort(tmp_path / "cohort")
    places = {"slide_folder": str(source / "slides"), "group_rule": "{group}_*"}
    values = {
        "slides": places | {"annotation_folder": "", "um_per_pixel": 1.0},
        "data": {"model_path": str(tmp_path / "models"), "model_name": "small", "test_in_turn": False},
        "training": {name: value for name, value in SMALL.items() if name != "normalisation"},
        "prediction": places | {"result_folder": str(tmp_path / "out")},
        "omics": {"patient_table": str(source / "genes.csv")},
    }
    run.execute("slide_fibrosis", values, tmp_path)
    model, out = tmp_path / "models" / "small", tmp_path / "out"
    assert files_of(model) == sorted([*MODEL_FILES, "looks.json"])
    split = pd.read_csv(model / "split.csv")
    assert sorted(split["group"].unique()) == ["P1", "P2", "P3", "P4"]
    assert split.groupby("group")["role"].nunique().tolist() == [1] * 4
    methods = [one["method"] for one in json.loads((model / "scores.json").read_text())["classical"]]
    assert methods == ["network", "colour threshold", "pixel forest"]
    patients = pd.read_csv(out / "patients.csv")
    assert patients["patient"].tolist() == [f"P{i}" for i in range(1, 7)]
    written = {folder.name: len(list(folder.iterdir())) for folder in out.iterdir() if folder.is_dir()}
    assert written == {"class_maps": 6, "heat_maps": 6, "qupath": 6, "measured": 6}
    assert set(pd.read_csv(out / "correlations.csv")["column"]) == {"up", "noise"}
    text = (tmp_path / "slide_fibrosis.html").read_text(encoding="utf-8")
    assert "6 slides of 6 patients; 4 slides are annotated." in text
    for noise in ("Traceback", "WARNING", "retracing", "RuntimeWarning"):
        assert noise not in text
