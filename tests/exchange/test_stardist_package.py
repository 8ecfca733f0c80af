"""StarDist models of others: packages as StarDist itself makes them, and those that its authors publish."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile

from tests import tiny_objects
from tests.exchange.test_packages import described, sha256, written, zipped
from utils.errors import ModelError
from utils.exchange import opening, packages, saved_model
from utils.exchange.package_task import predicting, starting_model
from utils.fine_tuning.start import open_start
from utils.images.normalise import NORMALISATION, normalisation_range
from utils.tasks.objects import network
from utils.tasks.registry import STARDIST
from utils.tasks.results import predict_folder


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """Where packages are unpacked: not among the person's models."""
    monkeypatch.setattr(packages, "PLACE", tmp_path / "packages")
    return tmp_path / "packages"


def scaled(axes, **more):
    return {"name": "scale_range", "kwargs": {"mode": "per_sample", "axes": axes, "max_percentile": 99.8} | more}


def stardist_package(folder, finder, config=True, axes="yx", bundle=False, **changes):
    """A package of the model of `finder` as StarDist's own export writes it: format 0.4, weights beside a bundle."""
    folder.mkdir()
    kept, thresholds = (json.loads((finder.folder / name).read_text()) for name in ("config.json", "thresholds.json"))
    told = {"thresholds": thresholds}
    if config:
        shutil.copy(finder.folder / "weights_best.h5", folder / "stardist_weights.h5")
        told |= {"config": kept | changes, "weights": "stardist_weights.h5", "python_version": "0.8.3"}
    if bundle:
        saved_model.write(folder, STARDIST.portable(finder.folder), "a model")
    tensor, rays = {"axes": "byxc", "data_type": "float32"}, kept["n_rays"]
    shape = {"min": [1, 64, 64, 1], "step": [0, 16, 16, 0]}
    refer = {"reference_tensor": "input", "scale": [1, 1, 1, 0], "offset": [0, 0, 0, (1 + rays) / 2]}
    entry = {"source": "TF_SavedModel.zip", "tensorflow_version": "1.15"}
    for name in ("in.npy", "out.npy"):
        np.save(folder / name, np.zeros((1, 64, 64, 1), np.float32))
    rdf = described({"tensorflow_saved_model_bundle": entry}) | {
        "format_version": "0.4.9",
        "timestamp": "2022-10-28T16:20:17.690336Z",
        "inputs": [{**tensor, "name": "input", "shape": shape, "preprocessing": [scaled(axes, min_percentile=1)]}],
        "outputs": [{**tensor, "name": "output", "shape": refer, "halo": [0, 16, 16, 0]}],
        "test_inputs": ["in.npy"],
        "test_outputs": ["out.npy"],
        "config": {"stardist": told},
    }
    return written(folder, rdf)


def labels_of(task, model, source, out):
    task.predict(model, source / "images", out)
    return [tifffile.imread(path) for path in sorted((out / "labels").iterdir())]


@pytest.fixture
def source(tmp_path):
    return tiny_objects.write_objects(tmp_path / "new", 3, seed=7)


def as_published(finder, source, out):
    """Labels that the model of `finder` finds with percentiles of each image, as published models are used."""
    predictor = STARDIST.load(finder.folder)
    predictor.normalisation = NORMALISATION
    predict_folder(STARDIST.results(predictor, finder.folder, source / "images", out))
    return [tifffile.imread(path) for path in sorted((out / "labels").iterdir())]


def test_a_package_predicts_as_the_model_that_it_was_made_from(tmp_path, finder, source):
    path = zipped(stardist_package(tmp_path / "p", finder), tmp_path / "stardist.zip")
    folder = opening.find_model(str(path))
    found = labels_of(predicting(folder, STARDIST), folder, source, tmp_path / "out")
    expected = as_published(finder, source, tmp_path / "expected")
    assert sum(one.max() for one in expected) > 5
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_a_bundle_with_thresholds_finds_the_same_objects(tmp_path, finder, source):
    folder = stardist_package(tmp_path / "p", finder, config=False, bundle=True)
    rdf = packages.read_description(folder)
    rdf["weights"]["tensorflow_saved_model_bundle"]["sha256"] = sha256(folder / "TF_SavedModel.zip")
    written(folder, rdf)
    task = predicting(folder)
    found = labels_of(task, folder, source, tmp_path / "out")
    expected = as_published(finder, source, tmp_path / "expected")
    for one, other in zip(found, expected, strict=True):
        assert one.max() == other.max()
        assert ((one > 0) != (other > 0)).mean() < 0.001  # percentiles differ by rounding


def test_a_package_can_be_started_from(tmp_path, finder):
    folder = stardist_package(tmp_path / "p", finder)
    name = starting_model(str(folder))
    assert starting_model(name) == name
    model = STARDIST.starting_network(name, json.loads((finder.folder / "model.json").read_text()))
    for one, other in zip(model.get_weights(), STARDIST.load(finder.folder).network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    task, start = open_start(name)
    assert task is STARDIST
    assert start.description["about"]["title"] == "a model"
    assert start.description["about"]["licence"] == "MIT"
    assert [starting_model(one) for one in ("", "automatic", "2D_versatile_he", "models/my")] == [
        "",
        "automatic",
        "2D_versatile_he",
        "models/my",
    ]


@pytest.mark.parametrize("axes", ["yxc", ["channel", "y", "x"], None])
def test_colours_with_one_range_keep_it(tmp_path, finder, axes):
    folder = stardist_package(tmp_path / "p", finder, axes=axes)  # where none are named it is all of them
    kept = STARDIST.load(Path(starting_model(str(folder)))).normalisation
    array = np.random.default_rng(0).integers(0, 255, (40, 30, 3)).astype(np.uint8) // [1, 2, 3]
    low, high = normalisation_range(array, kept)
    np.testing.assert_allclose(low, 3 * [np.percentile(array, 1)])
    np.testing.assert_allclose(high, 3 * [np.percentile(array, 99.8)])


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"n_dim": 3}, "for stacks"), ({"n_rays": 5}, "could not be loaded"), ({"train_patch_size": None}, "not known")],
)
def test_a_package_that_does_not_fit_is_refused(tmp_path, finder, changes, said):
    folder = stardist_package(tmp_path / "p", finder, **changes)
    with pytest.raises(ModelError, match=said):
        predicting(folder)


def test_weights_that_are_none_are_refused(tmp_path, finder):
    folder = stardist_package(tmp_path / "p", finder)
    (folder / "stardist_weights.h5").write_bytes(b"pickled python")
    with pytest.raises(ModelError, match=r"stardist_weights\.h5 is no file of weights"):
        predicting(folder)
    (folder / "stardist_weights.h5").unlink()
    with pytest.raises(ModelError, match=r"incomplete: stardist_weights\.h5"):
        starting_model(str(folder))


def test_another_package_cannot_be_started_from(tmp_path):
    (tmp_path / "p").mkdir()
    folder = written(tmp_path / "p", described({"onnx": {"source": "w.onnx"}}))
    with pytest.raises(ModelError, match="A training cannot start from the package"):
        starting_model(str(folder))


def test_a_published_model_predicts_by_its_name(tmp_path, finder, source, monkeypatch):
    """Its files are served as the authors of StarDist do: a zip file with three files."""
    for name in ("config.json", "thresholds.json", "weights_best.h5"):
        (tmp_path / "served").mkdir(exist_ok=True)
        shutil.copy(finder.folder / name, tmp_path / "served" / name)
    path = zipped(tmp_path / "served", tmp_path / "2D_versatile_fluo.zip")

    def get_model_folder(cls, name):
        shutil.unpack_archive(path, tmp_path / "cache" / name)
        return tmp_path / "cache" / name

    monkeypatch.setattr(network, "get_model_folder", get_model_folder)
    for module, name in ((network, "PLACED"), (opening, "PUBLISHED_PLACE")):
        monkeypatch.setattr(module, name, tmp_path / "published")
    folder = opening.find_model("2D_versatile_fluo")
    found = labels_of(predicting(folder, STARDIST), folder, source, tmp_path / "out")
    for one, other in zip(found, as_published(finder, source, tmp_path / "expected"), strict=True):
        np.testing.assert_array_equal(one, other)
    told = json.loads((tmp_path / "out" / "prediction.json").read_text())
    assert told["model_folder"].endswith("published/2D_versatile_fluo")


def test_a_published_model_without_network_is_said(tmp_path, monkeypatch):
    def refused(*_):
        raise OSError("no route to host")

    for module, name in ((network, "PLACED"), (opening, "PUBLISHED_PLACE")):
        monkeypatch.setattr(module, name, tmp_path)
    monkeypatch.setattr(network, "get_model_folder", refused)
    with pytest.raises(ModelError, match="The published model 2D_paper_dsb2018 could not be downloaded"):
        predicting(opening.find_model("2D_paper_dsb2018"))


def test_the_form_is_read_with_the_model_that_it_names(tmp_path):
    form = {"model_folder": "2D_versatile_he", "data_folder": str(tmp_path), "result_folder": ""}
    chosen = opening.choose(form, "stardist_segmentation", None, None)
    assert chosen.model.name == "2D_versatile_he"
    assert "predictions_of_2D_versatile_he" in str(chosen.results)
