"""Packages of the BioImage Model Zoo: bioimageio.core answers as the notebook does, and they are models here again."""

import json
import os
import shutil
import zipfile

import keras
import numpy as np
import onnxruntime
import pandas as pd
import pytest
import yaml
from stardist.nms import non_maximum_suppression

from tests.conftest import save_untrained
from tests.exchange.test_export import untrained_classifier, untrained_stardist
from tests.notebook_forms import SOURCES, declared
from utils import runtime
from utils.errors import ModelError
from utils.exchange import brightness, export, opening, packages, qupath, zoo, zoo_text
from utils.exchange.brightness import brightened
from utils.exchange.onnx_file import write_onnx
from utils.exchange.package_task import predicting, unpack_start
from utils.files import write_csv, write_json
from utils.fine_tuning.start import open_start
from utils.forms import state
from utils.images import normalise
from utils.images.normalise import BOTH, EACH_IMAGE, NORMALISATION, SIGNAL, TOGETHER, common_range, normalisation_of
from utils.tasks.objects.network import build
from utils.tasks.registry import CLASSIFIER, STARDIST, TASKS, UNET
from utils.training import model_folder, networks, origin

RNG = np.random.default_rng(0)
ABOUT = {"title": "Liver, fibrosis", "authors": "A. Curie", "licence": "CC BY 4.0", "description": "", "cite": ""}


def noisy(shape, dtype=np.uint16, bright=2000, spots=30):
    """An image of noise in which few pixels are bright."""
    array = 100 + 5 * RNG.standard_normal(shape)
    array[tuple(RNG.integers(0, side, spots) for side in shape[:2])] = bright
    return array.astype(dtype) if dtype != np.float32 else (array / 4000).astype(dtype)


IMAGES = {
    "16 bits": noisy((60, 73, 2)),
    "8 bits": noisy((64, 40, 2), np.uint8, 250),
    "float": noisy((51, 64, 2), np.float32),
    "dense": RNG.integers(0, 60000, (40, 90, 2)).astype(np.uint16),
    "a spot": np.pad(np.full((1, 1, 2), 9, np.uint8), [(3, 40), (20, 9), (0, 0)]),
    "constant": np.full((30, 31, 2), 7, np.uint8),
    "negative": noisy((30, 31, 2)).astype(np.float32) - 1000.5,
    "halves": np.round(noisy((33, 31, 2)).astype(np.float32)) / 2,
    "narrow": noisy((200, 2, 2), spots=1),
}


@pytest.mark.parametrize("kind", [SIGNAL, "percentile"])
@pytest.mark.parametrize("chunk", [normalise.CHUNK, 700])
def test_a_network_brightens_images_as_the_notebook_does(monkeypatch, tmp_path, kind, chunk):
    monkeypatch.setattr(normalise, "CHUNK", chunk)  # of a large image not all rows are looked at for its noise
    monkeypatch.setattr(brightness, "CHUNK", chunk)
    asked = NORMALISATION | {"kind": kind}
    image = keras.Input((None, None, 2), batch_size=1)
    network = keras.Model(image, keras.layers.Activation("linear")(brightened(image, asked)))
    write_onnx(tmp_path / "model.onnx", network, ["seen"], channels_last=True)
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    for name, array in IMAGES.items():
        given, wanted = array[np.newaxis].astype(np.float32), normalise.normalised(array, asked)
        for found in (network(given).numpy(), session.run(["seen"], {"image": given})[0]):
            np.testing.assert_allclose(found[0], wanted, rtol=1e-6, atol=1e-6, err_msg=name)


def assert_answers(tmp_path, model, array):
    """The whole network of a package answers for an image as the notebook does, in Keras and as ONNX.

    The image is given as read, or scaled as programs do where they have to.
    """
    given = model.prepare(array) if zoo._scaled_outside(model) else array.astype(np.float32)
    network, names = zoo.complete(model), list(zoo_text.outputs(model))
    found = network(given[np.newaxis])
    write_onnx(tmp_path / "all.onnx", network, names, model.size, channels_last=True)
    session = onnxruntime.InferenceSession(str(tmp_path / "all.onnx"), providers=["CPUExecutionProvider"])
    for answers in (found if len(names) > 1 else [found], session.run(names, {"image": given[np.newaxis]})):
        for (name, output), one in zip(zoo_text.outputs(model).items(), answers, strict=True):
            one = np.asarray(one)[0]
            one = one if output.threshold is None else one > output.threshold
            np.testing.assert_allclose(one, zoo.expected(model, array)[name], rtol=1e-5, atol=1e-5)


def with_normalisation(folder, normalisation):
    description = json.loads((folder / "model.json").read_text())
    write_json(folder / "model.json", description | {"normalisation": normalisation})
    return folder


@pytest.mark.parametrize("per", [EACH_IMAGE, TOGETHER, "percentile"])
def test_the_network_of_a_package_answers_for_images_as_read(tmp_path, untrained_model, per):
    folder, *_ = untrained_model(channels=3, values=(0, 1, 2), half_resolution=True)
    array = noisy((64, 80, 3))
    with_normalisation(folder, NORMALISATION if per == "percentile" else normalisation_of([array], per))
    model = UNET.portable(folder)
    assert_answers(tmp_path, model, array)
    assert zoo.tileable(model) is (per == TOGETHER)


@pytest.mark.parametrize(("grid", "channels", "classes"), [(1, 1, None), (2, 3, None), (2, 1, 2)])
def test_that_of_stardist_gives_probability_and_distances_of_each_pixel(tmp_path, grid, channels, classes):
    model = STARDIST.portable(untrained_stardist(tmp_path / "model", grid, channels, classes))
    array = noisy((64, 48, channels))
    found = {name: one.shape for name, one in zoo.expected(model, array).items()}
    shapes = {"prob": (64, 48, 1), "dist": (64, 48, 8), "prob_class": (64, 48, 3)}
    assert found == (shapes if classes else {"output": (64, 48, 1 + 8)})
    assert_answers(tmp_path, model, array)


def test_the_mask_of_a_package_is_that_of_the_notebook(tmp_path, untrained_model):
    folder, *_ = untrained_model(values=(0, 255))
    array = noisy((64, 48, 1))
    description = json.loads((folder / "model.json").read_text())
    probability = UNET.portable(folder).answer(array)["probabilities"][..., 1]
    threshold = float(np.quantile(probability, 0.7))
    write_json(folder / "model.json", description | {"threshold": threshold, "smallest_part": 1})
    model = UNET.portable(folder)
    assert_answers(tmp_path, model, array)
    found = zoo.expected(model, array)["output_mask"][..., 0]
    np.testing.assert_array_equal(found, UNET.load(folder).class_ids(array))
    assert 0.2 < found.mean() < 0.4
    output = zoo_text.outputs(model)["output_mask"]
    np.save(tmp_path / "test_output_mask.npy", found[np.newaxis, ..., np.newaxis])
    steps = zoo._output(tmp_path, model, "output_mask", output).postprocessing
    assert [one.id for one in steps] == ["binarize", "ensure_dtype"]
    assert steps[0].kwargs.threshold == threshold
    wanted = zoo.expected(model, array)
    assert zoo._apart(model, wanted, wanted) == 0
    wrong = wanted | {"output_mask": 1 - wanted["output_mask"]}
    assert zoo._apart(model, wrong, wanted) == 1


def test_a_model_of_three_classes_has_no_mask(untrained_model):
    folder, *_ = untrained_model(values=(0, 1, 2))
    assert list(zoo_text.outputs(UNET.portable(folder))) == ["output"]


def test_that_of_a_classifier_takes_both_ranges(tmp_path):
    crop = noisy((16, 16, 1))
    folder = untrained_classifier(tmp_path / "model", normalisation=common_range([crop.reshape(-1, 1, 1)], BOTH))
    model = CLASSIFIER.portable(folder)
    assert_answers(tmp_path, model, crop)


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("pooling_steps", [1, 2])
def test_nothing_beyond_its_reach_changes_an_answer(untrained_model, half, pooling_steps):
    folder, network, _ = untrained_model(half_resolution=half, pooling_steps=pooling_steps)
    far, size = zoo.looks_around(UNET.portable(folder)), 128
    assert zoo.reach_by_layers(network) <= far
    for weights in network.trainable_weights:  # that let everything through
        weights.assign(np.abs(weights.numpy()) + 0.01)
    scores = keras.Model(network.input, network.get_layer("logits").output)
    array = RNG.random((1, size, size, 1)).astype(np.float32)
    for place in (64, 61, 63):
        for outside in (slice(0, place - far), slice(place + far + 1, size)):
            changed = array.copy()
            changed[:, outside] += 1
            before, after = scores(array)[0, place, 64].numpy(), scores(changed)[0, place, 64].numpy()
            np.testing.assert_allclose(after, before, rtol=1e-6)


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_what_a_network_looks_at_is_counted_alike_in_all_programs(steps, half):
    """By its settings, as for QuPath, and layer by layer: no less, and not by a tile's step more."""
    counted = zoo.reach_by_layers(networks.unet(filters=2, pooling_steps=steps, half_resolution=half))
    assert counted <= networks.reach(steps, half) < counted + networks.input_multiple(steps, half)


@pytest.mark.parametrize(("depth", "grid"), [(2, 1), (3, 2), (2, 4)])
def test_that_of_stardist_is_counted_alike(depth, grid):
    settings = {"n_rays": 8, "grid": [grid, grid], "n_channel_in": 1, "axes": "YXC", "unet_n_depth": depth}
    network = build({**settings, "unet_n_filter_base": 2, "net_conv_after_unet": 4}).keras_model
    assert 0 < zoo.reach_by_layers(network) <= qupath._reach_of_objects(settings)


def test_images_are_brought_to_sides_that_a_package_takes(untrained_model):
    folder, *_ = untrained_model(pooling_steps=3)
    with_normalisation(folder, normalisation_of([noisy((50, 50, 1))], TOGETHER))
    model = UNET.portable(folder)
    taken = zoo.sides(model)
    for shape in [(1, 300), (20, 30), (131, 97), (512, 512)]:
        found = zoo.sized(noisy((*shape, 1)), model)
        for side, least, step, halo in zip(found.shape, taken.smallest, taken.step, taken.halo, strict=False):
            assert side >= least > 2 * halo > 0
            assert (side - least) % step == halo % step == 0


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("My nuclei", "My nuclei"),
        ("u", "u (U-Net model)"),
        ("Zellkerne (größer) #1", "Zellkerne (gr er) 1"),
        ("细胞核", "(U-Net model)"),
        ("n" * 300, "n" * 64),
    ],
)
def test_a_title_becomes_a_name_in_the_letters_of_the_zoo(title, name):
    assert zoo_text.name(title, "unet") == name
    assert zoo_text.file_name(title, "unet").strip("()_-.zip").isascii()


@pytest.mark.parametrize(
    ("written", "licence"),
    [
        ("CC BY 4.0", "CC-BY-4.0"),
        ("cc-by-nc-sa 4.0", "CC-BY-NC-SA-4.0"),
        ("MIT License", "MIT"),
        ("BSD 3-Clause", "BSD-3-Clause"),
        ("CC0", "CC0-1.0"),
        ("CC BY", "CC-BY-4.0"),
        ("Apache 2.0", "Apache-2.0"),
        ("ask me first", None),
        ("", None),
    ],
)
def test_a_licence_is_known_as_people_write_it(written, licence):
    assert zoo_text.licence_id(written) == licence


@pytest.mark.parametrize(
    ("written", "names"),
    [
        ("A. Curie, B. Hahn and C. Noether", ["A. Curie", "B. Hahn", "C. Noether"]),
        ("Curie, Marie; Hahn/Meitner", ["Curie, Marie", "Hahn Meitner"]),
        (" ", []),
    ],
)
def test_authors_are_told_apart(untrained_model, tmp_path, written, names):
    folder, *_ = untrained_model()
    found = zoo_text.about(ABOUT | {"authors": written}, UNET.portable(folder), tmp_path)
    assert [one.name for one in found["authors"]] == names


def test_what_is_to_be_cited_has_its_address(untrained_model, tmp_path):
    model = UNET.portable(untrained_model()[0])
    told = ABOUT | {"cite": "Curie 1911, see https://doi.org/10.1038/s41592-019-0612-7."}
    assert [str(one.doi) for one in zoo_text.about(told, model, tmp_path)["cite"]] == [
        "10.1038/s41592-019-0612-7",
        "10.1007/978-3-319-24574-4_28",
    ]
    assert len(zoo_text.about(ABOUT | {"cite": "Curie 1911"}, model, tmp_path)["cite"]) == 1


def split_of(folder):
    """Write a split and scores into a model folder."""
    rows = [("patient Meyer 1.tif", "a" * 64, "Meyer", role) for role in ("training", "training", "test")]
    write_csv(folder / "split.csv", pd.DataFrame(rows, columns=["file", "sha256", "group", "role"]))
    headline = {"name": "mean foreground IoU", "value": 0.8714, "low": 0.85, "high": 0.9}
    write_json(folder / "scores.json", {"headline": headline, "test_images": "images set aside", "independent": True})


def test_a_package_is_a_model_again_bit_for_bit(tmp_path, untrained_model, monkeypatch):
    folder, network, description = untrained_model(pixel_size_um=0.5)
    with_normalisation(folder, normalisation_of([], EACH_IMAGE))
    split_of(folder)
    monkeypatch.chdir(tmp_path)

    (done,) = export.export(folder, ["zoo"], ABOUT)

    assert (done.problem, sorted(path.name for path in done.folder.iterdir())) == (
        "",
        ["Liver_fibrosis.zip", "README.md"],
    )
    assert done.difference <= 1e-5
    assert [path.name for path in tmp_path.iterdir()] == ["model"]  # bioimageio.core leaves weights in the place it is
    with zipfile.ZipFile(done.folder / "Liver_fibrosis.zip") as file:
        file.extractall(tmp_path / "package")
    package = tmp_path / "package"
    told = (package / "README.md").read_text(encoding="utf-8")
    assert "0.871 (95% interval 0.850 to 0.900), on images set aside" in told
    assert "2 for training, 1 for test" in told
    assert "Give it whole images" in told
    assert all(b"Meyer" not in path.read_bytes() for path in package.iterdir())
    about = yaml.safe_load((package / "rdf.yaml").read_text(encoding="utf-8"))
    assert about["config"]["deepimagej"]["allow_tiling"] is False
    again = UNET.starting_network(str(package), model_folder.read_model(package))
    for before, after in zip(network.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(after, before)
    assert (package / "weights.h5").read_bytes() == (folder / "weights.h5").read_bytes()


MATRIX = [("unet", one) for one in np.ndindex(2, 2, 2)] + [("stardist", one) for one in np.ndindex(2, 2, 2)]
MATRIX += [("classification", (channels, 0, kind)) for channels in (0, 1) for kind in range(4)]


@pytest.mark.slow
@pytest.mark.parametrize(("task", "kind"), MATRIX)
def test_every_kind_of_model_passes_the_test_of_the_zoo(tmp_path, untrained_model, task, kind):
    channels, (second, third) = (1, 3)[kind[0]], kind[1:]
    if task == "unet":
        folder, *_ = untrained_model(channels=channels, values=(0, 1, 2)[: 2 + second], half_resolution=bool(third))
    elif task == "stardist":
        folder = untrained_stardist(tmp_path / "model", 1 + second, channels, [None, 2][third])
    else:
        pixels = [noisy((20, 20, channels)).reshape(-1, 1, channels)]
        asked = [
            NORMALISATION,
            NORMALISATION | {"kind": SIGNAL},
            *(common_range(pixels, one) for one in (TOGETHER, BOTH)),
        ]
        folder = untrained_classifier(tmp_path / "model", channels, normalisation=asked[third])
    if task != "classification":  # each kind of normalisation with several kinds of networks
        together = normalisation_of([RNG.integers(0, 4096, (64, 64, channels))], TOGETHER, channels == 3)
        asked = [NORMALISATION | {"kind": SIGNAL}, together, NORMALISATION]
        with_normalisation(folder, asked[(kind[0] + 2 * second + third) % 3])
    (done,) = export.export(folder, ["zoo"], ABOUT)
    assert done.problem == ""
    assert done.difference <= 1e-4
    assert TASKS[task].load(folder)


@pytest.mark.slow
def test_a_package_that_answers_otherwise_is_removed(untrained_model, monkeypatch):
    folder, *_ = untrained_model(values=(0, 1, 2))
    real = zoo.bundle

    def wrong(path, network):
        bias = next(one for one in network.weights if one.path.endswith("logits/bias"))
        bias.assign_add([0.01, 0.0, 0.0])
        real(path, network)
        bias.assign_add([-0.01, 0.0, 0.0])

    monkeypatch.setattr(zoo, "bundle", wrong)
    (done,) = export.export(folder, ["zoo"], ABOUT)
    assert "does not pass the test of the BioImage Model Zoo" in done.problem
    assert not list((folder / "export").iterdir())


@pytest.mark.parametrize("before", [{}, {"TF_ENABLE_ONEDNN_OPTS": "1"}])
def test_what_a_library_tells_later_processes_is_taken_back(monkeypatch, before):
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    for name, value in before.items():
        monkeypatch.setenv(name, value)
    with zoo._without_traces():
        os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"
    assert os.environ.get("TF_ENABLE_ONEDNN_OPTS") == before.get("TF_ENABLE_ONEDNN_OPTS")


@pytest.mark.slow
def test_the_objects_of_a_package_are_those_of_the_notebook(finder, tmp_path, monkeypatch):
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "1")
    folder, environment = shutil.copytree(finder.folder, tmp_path / "model"), dict(os.environ)
    (done,) = export.export(folder, ["zoo"], ABOUT)
    assert done.problem == ""
    assert dict(os.environ) == environment  # bioimageio.core switches oneDNN off there, for processes begun later
    model, stardist = STARDIST.portable(folder), STARDIST.load(folder).model
    array = np.concatenate([one.image.array for one in finder.dataset.examples[:2]])
    expected, _ = stardist.predict_instances(model.prepare(array), axes="YXC", show_tile_progress=False)
    y, x = model.description["network"]["grid"]
    with zoo._without_traces():
        answers = zoo.read(done.folder)(array)
    for found in (one["output"] for one in answers.values()):
        labels, _ = stardist._instances_from_prediction(array.shape[:2], found[::y, ::x, 0], found[::y, ::x, 1:])
        np.testing.assert_array_equal(labels, expected)
    assert expected.max() > 5


def test_what_cannot_be_described_is_said(untrained_model, monkeypatch):
    folder, *_ = untrained_model()
    black = [np.zeros((64, 64, 1), np.uint8)]
    with pytest.raises(ModelError, match=r"cannot be described as a package .*too small"):
        zoo.export(folder / "out", UNET.portable(folder), ABOUT, black, folder)


def test_a_version_that_the_zoo_cannot_work_with_is_said(untrained_model, monkeypatch):
    monkeypatch.setattr(export, "version", lambda name: "2.14.3")
    (done,) = export.export(untrained_model()[0], ["zoo"])
    assert 'pip install "pydantic<2.14"' in done.problem


def test_each_target_asks_for_its_packages_alone(untrained_model, monkeypatch):
    asked = []
    monkeypatch.setattr(runtime, "ensure", asked.append)
    monkeypatch.setattr(export, "_export", lambda *_: None)
    folder, *_ = untrained_model()
    export.export(folder, ["onnx"])
    export.export(folder, ["onnx", "zoo"])
    export.export(folder, ["fiji"])
    assert [sorted(one) for one in asked] == [
        ["onnx", "onnxruntime"],
        ["bioimageio.core", "onnx", "onnxruntime", "pydantic"],
        [],
    ]


@pytest.mark.parametrize(("channels", "axes"), [("separate", ["y", "x"]), ("joint", ["channel", "y", "x"])])
def test_programs_take_percentiles_of_the_channels_that_have_them_together(tmp_path, untrained_model, channels, axes):
    folder, *_ = untrained_model(channels=3)
    with_normalisation(folder, NORMALISATION | {"channels": channels})
    np.save(tmp_path / "test_input.npy", np.zeros((1, 64, 64, 3), np.float32))
    steps = zoo._input(tmp_path, UNET.portable(folder)).preprocessing
    (step,) = (one for one in steps if one.id == "scale_range")
    assert [str(one) for one in step.kwargs.axes] == axes


@pytest.fixture
def _fresh_forms(monkeypatch):
    """What is typed here is not typed in the tests after these."""
    monkeypatch.setattr(state, "_typed", {})
    monkeypatch.setattr(state, "_newest", {})


def notebook_form(notebook, name, **given):
    return next(one for one in declared(notebook) if one.form_name == name)(**given)


def model_of(task, folder, finder):
    """Folder of a model that a training of the notebook can start from."""
    if task is STARDIST:
        return shutil.copytree(finder.folder, folder)
    if task is CLASSIFIER:
        return untrained_classifier(folder)
    save_untrained(folder)
    return folder


@pytest.mark.slow
@pytest.mark.usefixtures("_fresh_forms")
@pytest.mark.parametrize("task", [UNET, STARDIST, CLASSIFIER])
def test_a_zip_file_in_the_form_is_a_start_with_the_weights_of_the_model_bit_for_bit(
    tmp_path, monkeypatch, finder, task
):
    folder = model_of(task, tmp_path / "model", finder)
    monkeypatch.setattr(packages, "PLACE", tmp_path / "packages")
    (done,) = export.export(folder, ["zoo"], ABOUT)
    assert done.problem == ""
    (path,) = done.folder.glob("*.zip")
    form = notebook_form(task.notebook, "data", starting_model=str(path))

    name = unpack_start(form)

    assert name == form.starting_model
    assert "packages" in name
    wanted = task.load(folder).network.get_weights()
    for weights in (
        task.starting_network(name, model_folder.read_model(folder)).get_weights(),
        open_start(name)[1].predictor.network.get_weights(),  # fine-tuning
    ):
        for before, after in zip(wanted, weights, strict=True):
            np.testing.assert_array_equal(after, before)
    assert task.starting_network("", model_folder.read_model(folder)) is None


@pytest.mark.usefixtures("_fresh_forms")
def test_a_zip_file_of_a_classifier_is_a_start_in_its_notebook(tmp_path, monkeypatch):
    """As above, without the package's own test, which takes half a minute."""
    folder = untrained_classifier(tmp_path / "model")
    monkeypatch.setattr(packages, "PLACE", tmp_path / "packages")
    with zipfile.ZipFile(tmp_path / "cells.zip", "w") as file:
        for name in ("model.json", "weights.h5"):
            file.write(folder / name, name)
        file.writestr("rdf.yaml", "format_version: 0.5.4\ntype: model\n")
    form = notebook_form("classification", "data", starting_model=str(tmp_path / "cells.zip"))
    again = CLASSIFIER.starting_network(unpack_start(form), model_folder.read_model(folder))
    for before, after in zip(CLASSIFIER.load(folder).network.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(after, before)


@pytest.mark.parametrize("notebook", ["unet_segmentation", "stardist_segmentation", "classification", "fine_tuning"])
def test_every_notebook_unpacks_the_model_that_it_starts_from(notebook):
    text = (SOURCES / f"{notebook}.py").read_text(encoding="utf-8")
    assert "unpack_start(data)" in text
    field = next(one for one in declared(notebook) if one.form_name == "data").fields["starting_model"]
    assert field.metadata["path"] == "folder or file"


def without_its_model_folder(tmp_path, model, folder, array):
    """Package of a model that others have passed on without what makes it a model here."""
    zoo.write(tmp_path / "out", model, ABOUT, array, folder)
    (path,) = (tmp_path / "out").iterdir()
    shutil.unpack_archive(path, tmp_path / "package")
    kept = (tmp_path / "package" / "model.json").read_text(encoding="utf-8")
    assert json.loads(kept)["about"]["title"] == ABOUT["title"]
    (tmp_path / "package" / "model.json").unlink()
    return predicting(tmp_path / "package")


def test_a_mask_is_not_taken_for_one_more_class(tmp_path, untrained_model):
    folder, *_ = untrained_model(values=(0, 255))
    array = noisy((64, 80, 1))
    model = UNET.portable(folder)
    task = without_its_model_folder(tmp_path, model, folder, array)
    assert task.doubt == ""
    assert [one["name"] for one in task.predictor.classes] == ["background", "foreground"]
    expected = model.answer(array)["probabilities"]
    np.testing.assert_allclose(task.predictor.probabilities(array), expected, atol=1e-5)


def test_objects_and_their_classes_follow_from_a_package(tmp_path):
    folder = untrained_stardist(tmp_path / "model", grid=2, classes=5)
    array = noisy((64, 80, 1))
    model, own = STARDIST.portable(folder), STARDIST.load(folder).find(array)
    expected = zoo.expected(model, array)
    task = without_its_model_folder(tmp_path, model, folder, array)
    assert task.doubt == ""
    np.testing.assert_array_equal(task.predictor.find(array).labels, own.labels)
    told = (tmp_path / "package" / "README.md").read_text(encoding="utf-8")
    assert "Output `prob_class`: probability of background, kind 1, kind 2, " in told
    assert "the highest value of `prob_class` in the pixel that the non-maximum suppression has kept" in told
    points, *_ = non_maximum_suppression(  # as the README says
        np.maximum(expected["dist"][::2, ::2], 1e-3),
        expected["prob"][::2, ::2, 0],
        grid=(2, 2),
        prob_thresh=model.description["thresholds"]["prob"],
        nms_thresh=0.4,
    )
    classes = 1 + expected["prob_class"][tuple(points.T)][:, 1:].argmax(axis=-1)
    np.testing.assert_array_equal(classes, own.class_ids)
    assert len(np.unique(classes)) > 1


def test_a_package_is_called_by_its_title(tmp_path, untrained_model, monkeypatch):
    """Its folder also has a part of its checksum in its name, and versions are told apart by that."""
    monkeypatch.setattr(packages, "PLACE", tmp_path / "packages")
    folder, *_ = untrained_model()
    zoo.write(
        tmp_path / "out", UNET.portable(folder), ABOUT | {"title": "Nuclei (größer) & more"}, noisy((64, 64, 1)), folder
    )
    (path,) = (tmp_path / "out").iterdir()
    shutil.copy(path, tmp_path / "downloaded (1).zip")
    form = {"model_folder": str(tmp_path / "downloaded (1).zip"), "data_folder": str(tmp_path), "result_folder": ""}
    chosen = opening.choose(form, "unet_segmentation", None, None)
    assert chosen.results.parent.name == "predictions_of_Nuclei_größer_more"
    assert origin.lines({"about": {"start": origin.started_from(str(chosen.model))}})[1].startswith(
        "Started from the weights of Nuclei (größer) & more"
    )
    (chosen.model / "model.json").unlink()  # as packages of others are
    assert (
        opening.choose(form, "unet_segmentation", None, None).results.parent.name == "predictions_of_Nuclei_gr_er_more"
    )
    assert opening.title_of(folder) == ""
