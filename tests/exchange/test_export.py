"""Models as files for other programs: what these answer is what the notebook answers."""

import json
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
import tifffile
from stardist.models import Config2D

from tests.conftest import model_description
from utils.errors import DataError
from utils.exchange import any_program, export, qupath, saved_model
from utils.exchange.onnx_file import write_onnx
from utils.exchange.targets import TARGETS, reasons
from utils.files import write_json
from utils.images.image import read_mask, write_tiff
from utils.images.normalise import BOTH, EACH_IMAGE, NORMALISATION, SIGNAL, TOGETHER, common_range, normalisation_of
from utils.tasks.objects.network import build, save
from utils.tasks.portable import Portable
from utils.tasks.registry import CLASSIFIER, STARDIST, UNET
from utils.training import model_folder, networks

RNG = np.random.default_rng(0)
DEPTHS = [(channels, classes, half) for channels in (1, 3) for classes in (2, 3) for half in (False, True)]


def images_for(channels, sides=((48, 64), (37, 61))):
    return [RNG.integers(0, 4000, (*side, channels)).astype(np.uint16) for side in sides]


def assert_alike_in_three_programs(folder, model, channels):
    for room in (any_program, saved_model):
        room.write(folder, model, "a model")
    arrays = [export._whole_multiples(one, model) for one in images_for(channels)]
    for room in (any_program, saved_model):
        assert export.largest_difference(room.read(folder), room.expected, model, arrays) <= 1e-5
    assert export.largest_difference(qupath.read(folder), any_program.expected, model, arrays) <= 1e-5
    qupath.write(folder, model, "a model")
    assert export.largest_difference(qupath.read(folder), qupath.expected, model, arrays) <= 1e-5


@pytest.mark.parametrize(("channels", "classes", "half"), DEPTHS)
def test_a_unet_answers_alike_in_three_programs(tmp_path, untrained_model, channels, classes, half):
    folder, *_ = untrained_model(channels=channels, values=tuple(range(classes)), half_resolution=half)
    assert_alike_in_three_programs(tmp_path / "out", UNET.portable(folder), channels)


def untrained_stardist(folder, grid=1, channels=1, classes=None, seed=0):
    """Model folder of a StarDist network with random weights that holds a tenth of all pixels for objects."""
    rng = np.random.default_rng(seed)
    settings = {"n_rays": 8, "grid": [grid, grid], "n_channel_in": channels, "n_classes": classes, "axes": "YXC"}
    model = build({**settings, "unet_n_filter_base": 4, "unet_n_depth": 2, "net_conv_after_unet": 8})
    for weights in model.keras_model.trainable_weights:
        scale = 0.5 if weights.path.endswith("bias") else (2 / np.prod(weights.shape[:-1])) ** 0.5
        weights.assign(rng.normal(0, scale, weights.shape))
    network = {name: value for name, value in vars(model.config).items() if name in Config2D(**settings).__dict__}
    names = ["background", "object"] if not classes else ["background", *(f"kind {i + 1}" for i in range(classes))]
    description = {
        **model_description(channels),
        "task": "stardist",
        "network": network,
        "classes": [{"id": i, "name": name, "value": i, "group": None} for i, name in enumerate(names)],
        "input": {"patch": [64, 64], "multiple_of": 4 * grid, "largest_object": 30},
    }
    noise = rng.random((1, 128, 128, channels)).astype(np.float32)
    found = model.predict(noise[0], axes="YXC", show_tile_progress=False)[0]
    model.thresholds = {"prob": float(np.quantile(found, 0.9)), "nms": 0.4}
    history = pd.DataFrame({"epoch": [1], "loss": [1.0], "val_loss": [1.0], "learning_rate": [1e-3]})
    save(folder, model, description, history)
    return folder


@pytest.mark.parametrize("grid", [1, 2])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("classes", [None, 2])
def test_a_stardist_model_answers_alike_in_three_programs(tmp_path, grid, channels, classes):
    model = STARDIST.portable(untrained_stardist(tmp_path / "model", grid, channels, classes))
    assert_alike_in_three_programs(tmp_path / "out", model, channels)


def test_the_objects_of_another_program_are_those_of_the_notebook(tmp_path, finder):
    model, stardist = STARDIST.portable(finder.folder), STARDIST.load(finder.folder).model
    any_program.write(tmp_path, model, "a model")
    array = np.concatenate([one.image.array for one in finder.dataset.examples[:2]])
    expected, _ = stardist.predict_instances(model.prepare(array), axes="YXC", show_tile_progress=False)
    for answer in (any_program.read(tmp_path), qupath.read(tmp_path)):
        found = answer(model.prepare(array))
        given = found["prob"][..., 0], np.maximum(1e-3, found["dist"])
        labels, _ = stardist._instances_from_prediction(array.shape[:2], *given)
        np.testing.assert_array_equal(labels, expected)
    assert expected.max() > 5


def test_fiji_is_given_each_object_of_a_grid_once(tmp_path):
    model = STARDIST.portable(untrained_stardist(tmp_path / "model", grid=2))
    array = images_for(1, [(48, 64)])[0]
    probability, distance = model.answer(array).values()  # once: two threads do not round alike each time

    found = saved_model.whole(model, [tf.constant(one[np.newaxis]) for one in (probability, distance)]).numpy()[0]

    assert found.shape == (48, 64, 1 + 8)
    np.testing.assert_array_equal(found[::2, ::2, :1], probability)
    assert found[..., 0].sum() == pytest.approx(probability.sum(), rel=1e-5)
    np.testing.assert_array_equal(found[1::2, 1::2, 1:], distance)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("side", [16, 13])
def test_a_classifier_answers_alike_in_other_programs(tmp_path, channels, half, side):
    model = CLASSIFIER.portable(untrained_classifier(tmp_path / "model", channels, half, side))
    any_program.write(tmp_path / "out", model, "a model")
    arrays = images_for(channels, [(side, side), (side + 9, side - 2)])
    for answer in (any_program.read(tmp_path / "out"), qupath.read(tmp_path / "out")):
        assert export.largest_difference(answer, any_program.expected, model, arrays) <= 1e-5


def untrained_classifier(folder, channels=1, half=False, side=16, normalisation=NORMALISATION):
    """Model folder of a classifier with random weights."""
    shown = channels * (2 if normalisation["per"] == "both" else 1)
    settings = {"channels": shown, "classes": 3, "filters": 4, "levels": 3, "half_resolution": half}
    network, rng = networks.classifier(**settings), np.random.default_rng(0)
    for weights in network.trainable_weights:
        weights.assign(weights.numpy() + rng.normal(0, 0.3, weights.shape))
    description = {
        **model_description(channels),
        "task": "classification",
        "network": settings,
        "classes": [{"id": i, "name": f'{i}\'s "class"', "value": str(i), "group": None} for i in range(3)],
        "normalisation": normalisation,
        "input": {"size": [side, side], "fit": "pad"},
        "temperature": 1.7,
    }
    history = pd.DataFrame({"epoch": [1], "loss": [1.0], "val_loss": [1.0], "learning_rate": [1e-3]})
    model_folder.save_model(folder, network, description, history)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("backbone", list(networks.BACKBONES))
@pytest.mark.parametrize(("channels", "size"), [(1, (40, 37)), (3, (64, 64))])
def test_a_classifier_on_a_backbone_answers_alike_in_other_programs(tmp_path, backbone, channels, size):
    network, rng = networks.classifier(channels, 3, network=backbone), np.random.default_rng(0)
    for weights in network.weights:  # as training leaves them: no layer is without effect
        if weights.path.endswith(("beta", "moving_mean")):
            weights.assign(rng.normal(0, 0.1, weights.shape))
        elif weights.path.endswith(("gamma", "moving_variance")):
            weights.assign(rng.uniform(0.5, 1.5, weights.shape))
    image = rng.random((*size, channels)).astype(np.float32)
    features = keras.Model(network.input, network.get_layer("features").output)(image[np.newaxis])
    network.get_layer("logits").kernel.assign(rng.normal(0, 1, (features.shape[-1], 3)) / np.linalg.norm(features))
    write_onnx(tmp_path / "model.onnx", network, ["probabilities"], size)
    expected = network(image[np.newaxis])[0]
    assert np.ptp(expected) > 1e-3
    for room in (any_program, qupath):
        np.testing.assert_allclose(room.read(tmp_path)(image)["probabilities"], expected, atol=1e-5)


def run_script(folder, image):
    """What the script of an export writes for an image file, with what it prints."""
    done = subprocess.run([sys.executable, folder / "predict.py", image], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with np.load(image.with_suffix(".npz")) as found:
        return dict(found), done.stdout


@pytest.mark.parametrize("per", [EACH_IMAGE, TOGETHER, "percentile", "joint"])
@pytest.mark.parametrize(("channels", "dtype"), [(1, np.uint16), (3, np.uint8), (1, np.float32)])
def test_the_script_gives_the_masks_of_the_notebook(tmp_path, untrained_model, per, channels, dtype):
    array = (20 + 5 * RNG.standard_normal((37, 61, channels))).astype(dtype)
    array[..., -1] *= 1 if channels == 1 else 3  # a range of its own
    array[5:9, 7:12] = 200  # few pixels, which percentiles of the whole image do not see
    array = array / np.float32(400) if dtype == np.float32 else array  # 0 to 1: less than whole numbers are rounded by
    asked = {"percentile": NORMALISATION, "joint": NORMALISATION | {"channels": "joint"}}
    normalisation = asked.get(per) or normalisation_of([array], per)
    folder, _, description = untrained_model(channels=channels, values=(0, 7, 200))
    write_json(
        folder / "model.json", json.loads((folder / "model.json").read_text()) | {"normalisation": normalisation}
    )
    write_tiff(tmp_path / "images" / "a.tif", array if channels > 1 else array[..., 0])
    any_program.write(tmp_path / "out", UNET.portable(folder), 'my "best" \\ model')

    found, _ = run_script(tmp_path / "out", tmp_path / "images" / "a.tif")

    expected = UNET.portable(folder).answer(array)["probabilities"]
    np.testing.assert_allclose(np.moveaxis(found["probabilities"], 0, -1), expected, atol=1e-5)
    mask = tifffile.imread(tmp_path / "images" / "a.mask.tif")
    (tmp_path / "images" / "a.mask.tif").unlink()
    UNET.predict(folder, tmp_path / "images", tmp_path / "results")
    np.testing.assert_array_equal(mask, read_mask(tmp_path / "results" / "masks" / "a.tif"))


@pytest.mark.parametrize(
    ("grid", "channels", "classes"),
    [(2, 1, 2), *(pytest.param(*one, marks=pytest.mark.slow) for one in [(1, 3, None), (4, 1, None)])],
)
def test_the_script_gives_the_objects_of_the_notebook(tmp_path, grid, channels, classes):
    folder = untrained_stardist(tmp_path / "model", grid, channels, classes)
    for name, sides in (("a", (61, 83)), ("b", (64, 48))):
        write_tiff(
            tmp_path / "images" / f"{name}.tif", (images_for(channels, [sides])[0] // 16).astype(np.uint8).squeeze()
        )
    any_program.write(tmp_path / "out", STARDIST.portable(folder), "a model")
    given = [tmp_path / "images" / "a.tif", tmp_path / "images" / "b.tif"]
    for image in given:
        run_script(tmp_path / "out", image)
    found = [tifffile.imread(image.with_suffix(".labels.tif")) for image in given]
    for image in given:
        image.with_suffix(".labels.tif").unlink()
    STARDIST.predict(folder, tmp_path / "images", tmp_path / "results")
    for image, labels in zip(given, found, strict=True):
        expected = tifffile.imread(tmp_path / "results" / "labels" / image.name)
        np.testing.assert_array_equal(labels, expected)
        assert expected.max() > 3


def test_without_stardist_the_script_says_how_to_get_objects(tmp_path):
    any_program.write(tmp_path / "out", STARDIST.portable(untrained_stardist(tmp_path / "model")), "a model")
    write_tiff(tmp_path / "a.tif", images_for(1, [(64, 48)])[0].squeeze())
    (tmp_path / "out" / "stardist.py").write_text("raise ImportError")  # found before the one that is installed
    command = [sys.executable, tmp_path / "out" / "predict.py", tmp_path / "a.tif"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stderr.startswith("Probabilities and distances are written. To get the objects: pip install stardist")
    with np.load(tmp_path / "a.npz") as found:
        assert found["dist"].shape == (8, 64, 48)
    assert "where that is installed" in " ".join(any_program.how(STARDIST.portable(tmp_path / "model")))


@pytest.mark.parametrize("smallest", [1, 7, 16])
def test_the_script_leaves_out_the_specks_that_the_notebook_leaves_out(tmp_path, untrained_model, smallest):
    array = RNG.integers(0, 4000, (61, 83)).astype(np.uint16)
    folder, *_ = untrained_model(values=(0, 255))
    probability = UNET.portable(folder).answer(array[..., np.newaxis])["probabilities"][..., 1]
    decides = {"threshold": float(np.quantile(probability, 0.8)), "smallest_part": smallest}
    write_json(folder / "model.json", json.loads((folder / "model.json").read_text()) | decides)
    write_tiff(tmp_path / "images" / "a.tif", array)
    any_program.write(tmp_path / "out", UNET.portable(folder), "a model")

    run_script(tmp_path / "out", tmp_path / "images" / "a.tif")

    mask = tifffile.imread(tmp_path / "images" / "a.mask.tif")
    assert 0 < mask.astype(bool).mean() <= 0.21
    (tmp_path / "images" / "a.mask.tif").unlink()
    UNET.predict(folder, tmp_path / "images", tmp_path / "results")
    np.testing.assert_array_equal(mask, read_mask(tmp_path / "results" / "masks" / "a.tif"))


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([[29.0], [255.0]], "normalise. Make the image *32-bit* (*Image > Type*), then subtract 29 and divide by 226"),
        ([[29.0] * 3, [255.0] * 3], "*Image > Type > RGB Stack*): *32-bit* alone would make it grey. Make the image"),
        ([[29.0] * 3, [255.0] * 3], "subtract 29 and divide by 226 (*Process > Math*)."),
        ([[9, 9, 9], [19, 29, 19]], "subtract 9, 9, 9 and divide by 10, 20, 10 (*Process > Math*, a number for each"),
    ],
)
def test_fiji_is_told_how_to_bring_the_brightness_to_the_range(values, told):
    assert told in saved_model._brightness({"per": "training set", "range": values}, len(values[0]))


@pytest.mark.parametrize(("difference", "told"), [(1.2e-6, "0.000001"), (0.0, "0"), (3.6e-9, "0.000000004")])
def test_a_difference_is_written_without_powers(difference, told):
    assert export.decimal(difference) == told


@pytest.mark.parametrize("shape", [(20, 30), (3, 20, 30), (20, 30, 4)])
def test_the_script_refuses_an_image_with_other_channels(tmp_path, untrained_model, shape):
    """A grey image would be taken for three equal channels, and answered without a word."""
    folder, *_ = untrained_model(channels=3)
    together = {"normalisation": normalisation_of(images_for(3), TOGETHER)}
    write_json(folder / "model.json", json.loads((folder / "model.json").read_text()) | together)
    any_program.write(tmp_path / "out", UNET.portable(folder), "a model")
    tifffile.imwrite(tmp_path / "a.tif", np.zeros(shape, np.uint8), photometric="minisblack")

    command = [sys.executable, tmp_path / "out" / "predict.py", tmp_path / "a.tif"]
    done = subprocess.run(command, capture_output=True, text=True)

    assert "The model takes images of 3 channel(s)" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "a.npz").exists()


def test_the_script_names_the_class(tmp_path):
    crop = RNG.integers(0, 4000, (16, 16)).astype(np.uint16)
    normalisation = common_range([crop.reshape(-1, 1, 1)], BOTH)
    folder = untrained_classifier(tmp_path / "model", normalisation=normalisation)
    write_tiff(tmp_path / "a.tif", crop)
    any_program.write(tmp_path / "out", CLASSIFIER.portable(folder), "model")

    found, told = run_script(tmp_path / "out", tmp_path / "a.tif")

    expected = CLASSIFIER.portable(folder).answer(crop[..., np.newaxis])["probabilities"]
    np.testing.assert_allclose(found["probabilities"], expected, atol=1e-5)
    assert told.splitlines()[0] == f'0\'s "class": {expected[0]:.4f}'


def test_an_export_lies_beside_the_model_with_what_is_known_of_it(tmp_path, untrained_model):
    folder, *_ = untrained_model()
    known = {"title": "Fibrosis", "authors": "A. Curie", "licence": "CC BY 4.0"}

    done = export.export(folder, ["onnx", "fiji", "qupath"], known)

    assert [(one.target, one.problem) for one in done] == [("onnx", ""), ("fiji", ""), ("qupath", "")]
    assert all(one.difference <= 1e-5 for one in done)
    assert sorted(path.name for path in (folder / "export").iterdir()) == ["fiji", "onnx", "qupath"]
    script = (folder / "export" / "qupath" / "classify_pixels.groovy").read_text(encoding="utf-8")
    assert "def modelFolder = ''" in script
    assert str(tmp_path) not in script  # a folder is passed on as a whole, to other computers
    for one in done:
        told = (one.folder / "README.md").read_text(encoding="utf-8")
        assert told.startswith("# Fibrosis\n\nauthors: A. Curie; licence: CC BY 4.0\n\n")
    export.export(folder, ["onnx"], {"description": "Sirius red"})  # what was told before is remembered
    told = (folder / "export" / "onnx" / "README.md").read_text(encoding="utf-8")
    assert "authors: A. Curie; licence: CC BY 4.0; description: Sirius red" in told
    with zipfile.ZipFile(folder / "export" / "fiji" / "TF_SavedModel.zip") as file:
        assert file.namelist() == ["saved_model.pb", "variables/"]
    assert UNET.load(folder)  # the model is as it was
    write_json(folder / "parameters.json", {"overrides": {"training": {"preset": "Try out"}}})
    (tried,) = export.export(folder, ["onnx"])
    assert "this is no result" in (tried.folder / "README.md").read_text(encoding="utf-8")


def test_a_stranger_is_told_what_the_model_was_made_from(untrained_model, capsys):
    folder, *_ = untrained_model()
    data = {"training_source": "x", "starting_model": "2D_versatile_he", "data_origin": "Curie lab"}
    write_json(folder / "parameters.json", {"overrides": {"data": data}})
    ticked = {"model_folder": str(folder), "onnx": True, "fiji": False}
    export.show_exports(dict.fromkeys(export.FIELDS, "") | ticked | {"licence": "CC BY 4.0"}, None)
    told = (folder / "export" / "onnx" / "README.md").read_text(encoding="utf-8")
    assert "Training images: Curie lab (licence: not said)." in told
    assert "Started from the weights of 2D_versatile_he of StarDist" in told
    clash = 'The licence "CC BY 4.0" allows more than that of the training images of the starting model 2D_versatile_he'
    assert clash in told
    assert capsys.readouterr().out.count(clash) == 1
    export.show_exports(dict.fromkeys(export.FIELDS, "") | ticked | {"licence": "CC BY-NC-SA 4.0"}, None)
    assert "allows more" not in capsys.readouterr().out


def test_what_does_not_answer_alike_is_removed(tmp_path, untrained_model, monkeypatch):
    folder, *_ = untrained_model()
    export.export(folder, ["onnx"])
    write, before = any_program.write_onnx, (folder / "export" / "onnx" / "model.onnx").read_bytes()

    def wrong(path, network, *more):
        bias = network.get_layer("logits").bias
        bias.assign_add([0.01, 0.0])
        write(path, network, *more)
        bias.assign_add([-0.01, 0.0])

    monkeypatch.setattr(any_program, "write_onnx", wrong)
    (done,) = export.export(folder, ["onnx"])

    assert "does not answer as the notebook does" in done.problem
    assert done.difference > 1e-3
    assert [path.name for path in (folder / "export").iterdir()] == ["onnx"]
    assert (folder / "export" / "onnx" / "model.onnx").read_bytes() == before  # the earlier one, which was right


def test_what_a_model_cannot_become_is_said(tmp_path):
    folder = untrained_classifier(tmp_path / "model")
    refused, *_, done = export.export(folder, ["fiji", "qupath", "onnx"])
    assert refused.problem.startswith("Nothing was written for Fiji: a classifier says what a crop shows; Fiji's")
    assert refused.difference != refused.difference  # none was measured
    assert not done.problem
    assert [path.name for path in (folder / "export").iterdir()] == ["onnx"]
    told = reasons(folder)
    assert told["fiji"] in refused.problem
    assert not told["onnx"]


def changed(folder, **new):
    """The same model folder with other words in its model.json."""
    path = folder / "model.json"
    write_json(path, json.loads(path.read_text()) | new)
    return folder


def test_why_a_model_cannot_be_exported_is_known_before(tmp_path, untrained_model):
    forest = changed(untrained_classifier(tmp_path / "forest"), decides={"network": 0.4})
    assert "a random forest decides" in reasons(forest)["onnx"]
    assert all(f": {reasons(forest)[one.target]}." in one.problem for one in export.export(forest, list(TARGETS)))
    assert set(reasons(untrained_model()[0]).values()) == {""}
    stardist = untrained_stardist(tmp_path / "stardist", classes=2)
    assert set(reasons(stardist).values()) == {""}
    network = json.loads((stardist / "model.json").read_text())["network"]
    few = reasons(changed(stardist, network=network | {"n_rays": 3}))
    assert few["qupath"].startswith("QuPath takes 3 directions")
    assert not few["onnx"] + few["fiji"]
    deep = {"network": network, "input": {"patch": [64, 64], "multiple_of": 128}}
    assert "multiples of 128 pixels" in reasons(changed(stardist, **deep))["qupath"]
    assert "do not know models of that kind" in reasons(changed(stardist, task="cellpose"))["onnx"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"task": "stardist", "network": 7}', "null", "{"])
def test_a_damaged_model_can_become_nothing(tmp_path, text):
    assert "there is no finished model" in reasons(tmp_path)["onnx"]
    (tmp_path / "model.json").write_text(text)
    assert "damaged" in reasons(tmp_path)["qupath"]


def test_of_a_model_that_is_not_there_yet_the_kind_tells():
    assert reasons(None, ("classification",))["fiji"]
    assert not reasons(None, ("classification",))["onnx"]
    assert not any(reasons(None, ("stardist", "classification")).values())
    assert not any(reasons(None).values())


def test_files_of_a_person_are_not_overwritten(tmp_path, untrained_model):
    folder, *_ = untrained_model()
    (folder / "export" / "onnx").mkdir(parents=True)
    (folder / "export" / "onnx" / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="was not written by an export"):
        export.export(folder, ["onnx"])
    assert (folder / "export" / "onnx" / "mine.txt").read_text() == "mine"


def test_the_command_line_writes_what_is_asked_for(tmp_path, untrained_model):
    folder, *_ = untrained_model()
    command = [sys.executable, "-m", "notebooks.export", str(folder), "--to", "onnx", "--title", "Mine"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"onnx: {folder / 'export' / 'onnx'}\n")
    assert (folder / "export" / "onnx" / "README.md").read_text().startswith("# Mine\n")


def test_what_is_said_of_the_model_is_said_once(monkeypatch, capsys, tmp_path):
    told = [export.Exported(one, tmp_path, problem=why) for one, why in (("onnx", "no"), ("fiji", "no"))]
    monkeypatch.setattr(export, "export", lambda *_: told)
    export.show_exports(dict.fromkeys(export.FIELDS, "") | {"model_folder": "m"} | dict.fromkeys(TARGETS, True), None)
    assert capsys.readouterr().out == "no\n"


@pytest.mark.parametrize(
    ("channels", "more", "lets"),
    [
        (1, {}, True),
        (1, {"kind": SIGNAL}, True),
        (3, {}, False),
        (3, {"kind": SIGNAL}, False),
        (3, {"channels": "joint"}, True),
        (3, {"per": "training set", "range": [[1.0] * 3, [9.0] * 3]}, False),
    ],
)
def test_the_plugins_of_fiji_have_one_range_for_all_channels(channels, more, lets):
    description = model_description(channels) | {"normalisation": NORMALISATION | more}
    told = saved_model.how(Portable(None, {}, (1, 1), None, description, None, None))[-1]
    assert told.startswith("Let the plugin normalise" if lets else "Do not let the plugin normalise")
    assert ("percentiles 1 and 99.8" in told) == ("per" not in more)
    assert ("becomes 0 there and negative in the notebook" in told) == lets


@pytest.mark.parametrize("room", [any_program, saved_model])
def test_the_thresholds_of_the_training_are_told_where_a_program_has_others(room):
    thresholds = {"prob": 0.6234, "nms": 0.31}
    found = model_description(1) | {"task": "stardist", "thresholds": thresholds, "network": {"n_rays": 8}}
    masks = model_description(1) | {"threshold": 0.41, "smallest_part": 6}
    three = model_description(1, values=(0, 1, 2))
    for description, words in [
        (found, ["0.623", "0.31"]),
        (masks, ["foreground where the probability of it is above 0.41", "fewer than 6 pixels"]),
        (three, ["the one with the highest probability"]),
    ]:
        told = " ".join(room.how(Portable(None, {}, (1, 1), None, description, None, None)))
        assert all(one in told for one in words), told
