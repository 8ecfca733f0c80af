"""Models for QuPath: its scripts run, in as much of QuPath as they use, and measure brightness as the notebook does."""

import math
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from tests.conftest import model_description
from tests.exchange import fake_qupath
from utils.exchange import any_program, qupath
from utils.images import normalise
from utils.images.normalise import NORMALISATION, SIGNAL, normalisation_range
from utils.training import networks

RNG = np.random.default_rng(0)
needs_groovy = pytest.mark.skipif(not fake_qupath.GROOVY, reason="groovy is not installed: apt-get install groovy")
OWN, PERCENTILE, JOINT = NORMALISATION | {"kind": SIGNAL}, NORMALISATION, NORMALISATION | {"channels": "joint"}
COMMON = NORMALISATION | {"per": "training set", "range": [[3.0, 5.5], [100.0, 201.0]]}


def noisy(shape, dtype, objects=True):
    array = RNG.normal(40, 6, shape)
    if objects and min(shape[:2]) > 4:
        array[1:4, 2:4] += 150
    return (array / 300 if dtype == np.float32 else np.clip(array, -5 if dtype == np.int16 else 0, 255)).astype(dtype)


IMAGES = {
    "8 bits, two channels": noisy((37, 29, 2), np.uint8),
    "8 bits, dark": np.zeros((6, 7, 1), np.uint8),
    "8 bits, one spot": np.pad(np.full((1, 1, 1), 200, np.uint8), ((9, 30), (20, 5), (0, 0))),
    "fractions, three channels": noisy((23, 31, 3), np.float32) * np.float32([1, 2, 5]),
    "16 bits": noisy((53, 31, 1), np.uint16),
    "16 bits, bright": noisy((40, 40, 1), np.uint16) * 250,
    "fractions": noisy((25, 44, 1), np.float32),
    "fractions, flat": np.full((8, 8, 1), 0.25, np.float32),
    "negative": noisy((30, 20, 1), np.int16),
    "one pixel": np.full((1, 1, 1), 9, np.uint16),
    "one row": noisy((1, 50, 1), np.uint16),
    "one column": noisy((50, 1, 1), np.uint8),
    "only noise": noisy((60, 60, 1), np.uint16, objects=False),
}


def model(task="unet", normalisation=OWN, channels=1, names=("background", 'it\'s \\ "good" $x'), **more):
    """As much of a Portable as a script is made of."""
    stardist = task == "stardist"
    network = {"n_rays": 32, "grid": [2, 2], "unet_n_depth": 3} if stardist else {"pooling_steps": 2}
    description = {
        **model_description(channels),
        "task": task,
        "normalisation": normalisation,
        "network": network,
        "classes": [{"id": i, "name": name, "value": i, "group": None} for i, name in enumerate(names)],
        "input": {"patch": [64, 64], "multiple_of": 16 if stardist else 4, "largest_object": 31.5},
        "threshold": 0.35,
        "thresholds": {"prob": 0.45, "nms": 0.3},
        "pixel_size_um": 0.5,
        **more,
    }
    return SimpleNamespace(description=description, outputs={})


BY_HAND = {  # script, image, and what else there is
    "pixels": (model(), IMAGES["16 bits"], {}),
    "three classes": (
        model(names=("nothing", "a", "b"), channels=2, normalisation=COMMON),
        noisy((9, 9, 2), np.uint8),
        {},
    ),
    "objects": (model("stardist"), IMAGES["16 bits"], {"pixel_size": 0.25}),
    "classes of objects": (
        model("stardist", names=("background", "T: cell", "ü")),
        IMAGES["16 bits"],
        {"pixel_size": 0.52},
    ),
    "coarse": (model("stardist"), IMAGES["16 bits"], {"pixel_size": 2.0}),
    "other channels": (model(), IMAGES["8 bits, two channels"], {}),
    "nothing open": (model(), IMAGES["16 bits"], {"open": False}),
    "pasted": (model(), IMAGES["16 bits"], {"from_file": False}),
    "moved": (model(), IMAGES["16 bits"], {"from_file": False}),
    "two planes": (model("stardist"), IMAGES["16 bits"], {"selected": [[0, 0], [2, 1], [2, 1]]}),
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """What each script asked QuPath for, and what it said, by name of the case."""
    place, jobs = tmp_path_factory.mktemp("qupath"), {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(qupath, "BAND", 400)  # several bands of rows
        patch.setattr(any_program, "CHUNK", 500)  # noise of some rows only
        for kind, normalisation in (("own", OWN), ("percentile", PERCENTILE)):
            for name, image in IMAGES.items():
                jobs[f"{kind} {name}"] = model(normalisation=normalisation, channels=image.shape[-1]), image, {}
        for name in (one for one, image in IMAGES.items() if image.shape[-1] > 1):
            jobs[f"joint {name}"] = model(normalisation=JOINT, channels=IMAGES[name].shape[-1]), IMAGES[name], {}
        jobs |= BY_HAND
        scripts = {name: place / f"script {number}" / "run.groovy" for number, name in enumerate(jobs)}
        for name, (one, *_) in jobs.items():
            scripts[name].parent.mkdir()
            scripts[name].write_text(qupath.script(one, 'a "model" */'), encoding="utf-8")
            (scripts[name].parent / "model.onnx").touch()
        setting = scripts["moved"].read_text(encoding="utf-8").replace("modelFolder = ''", "modelFolder = '/nowhere'")
        scripts["moved"].write_text(setting, encoding="utf-8")
    found = fake_qupath.run([(scripts[name], *job[1:]) for name, job in jobs.items()], place)
    return dict(zip(jobs, found, strict=True))


def steps(calls):
    """What QuPath is to do with the pixels: values by name of the step."""
    return {name: values for call, values in calls if call == "ops" for name, values in values[0]}


@needs_groovy
@pytest.mark.parametrize("kind", ["own", "percentile"])
@pytest.mark.parametrize("name", list(IMAGES))
def test_brightness_is_that_of_the_notebook(answers, monkeypatch, kind, name):
    monkeypatch.setattr(normalise, "CHUNK", 500)
    calls, told = answers[f"{kind} {name}"]
    low, high = normalisation_range(IMAGES[name], OWN if kind == "own" else PERCENTILE)
    found = steps(calls)
    assert found, told
    np.testing.assert_allclose(found["subtract"], low, rtol=1e-6)
    np.testing.assert_allclose(found["multiply"], 1 / (high.astype(float) - low), rtol=1e-5)


@needs_groovy
@pytest.mark.parametrize("name", [name for name, image in IMAGES.items() if image.shape[-1] > 1])
def test_channels_have_one_brightness_where_they_have_it_in_the_notebook(answers, name):
    calls, told = answers[f"joint {name}"]
    low, high = normalisation_range(IMAGES[name], JOINT)
    found = steps(calls)
    assert found, told
    np.testing.assert_allclose(found["subtract"], low, rtol=1e-6)
    np.testing.assert_allclose(found["multiply"], 1 / (high.astype(float) - low), rtol=1e-5)


@needs_groovy
def test_pixels_of_two_classes_are_told_by_the_threshold_of_the_model(answers):
    calls, told = answers["pixels"]
    known = dict(calls)
    assert [name for name, _ in known["ops"][0]] == [
        "type",
        "subtract",
        "multiply",
        "dnn",
        "extract",
        "threshold",
        "type",
    ]
    found = steps(calls)
    assert found["dnn"][0].endswith("model.onnx")
    assert found["dnn"][1:] == [512, 512, 64]
    assert (found["extract"], found["threshold"]) == ([1], [0.35])
    assert known["labels"] == [{"0": "background*", "1": 'it\'s \\ "good" $x fff0e442'}]
    assert (known["gives"], known["output"], known["shape"]) == (["CLASSIFICATION"], ["UINT8"], [384, 384])
    assert known["draw"] == [1, "a model", True]
    assert "does not say how large its pixels are" in told


@needs_groovy
def test_of_more_classes_the_likeliest_is_drawn_and_a_common_range_is_not_measured(answers):
    calls, _ = answers["three classes"]
    known, found = dict(calls), steps(calls)
    assert "read" not in known
    assert found["subtract"] == [3.0, 5.5]
    np.testing.assert_allclose(found["multiply"], [1 / 97, 1 / 195.5])
    assert "threshold" not in found
    assert (known["gives"], known["output"], known["channels"]) == (["PROBABILITY"], ["FLOAT32"], [[0, 1]])


@needs_groovy
def test_objects_are_found_at_the_pixel_size_of_the_training(answers):
    calls, _ = answers["objects"]
    known = dict(calls)
    assert (known["threshold"], known["pixel size"], known["simplify"]) == ([0.45], [0.5], [0.0])
    assert (known["tile"], known["padding"]) == ([1024], [128])
    low, high = normalisation_range(IMAGES["16 bits"][::2, ::2], OWN)
    np.testing.assert_allclose(steps(calls)["subtract"], low, atol=2)  # rows at the border of bands are read again
    assert "labels" not in known
    calls, _ = answers["classes of objects"]
    assert dict(calls)["labels"] == [{"1": "T: cell fff0e442", "2": "ü ff009e73"}]
    assert "pixel size" not in dict(calls)  # hardly another one
    calls, told = answers["coarse"]
    assert "pixel size" not in dict(calls)
    assert "pixels of this image are larger" in told.lower()


@needs_groovy
def test_a_script_says_what_is_wrong(answers):
    assert "this image has 0 = c0, 1 = c1. Write those" in answers["other channels"][1]
    assert "Open an image first" in answers["nothing open"][1]
    assert "model.onnx is not there. Open this script from the folder that holds model.onnx" in answers["pasted"][1]
    assert "/nowhere/model.onnx is not there. Open this script from the folder" in answers["moved"][1]
    for name in ("other channels", "nothing open", "pasted", "moved"):
        assert "detect" not in dict(answers[name][0])


@needs_groovy
def test_each_plane_has_its_own_brightness(answers):
    calls, _ = answers["two planes"]
    assert [values for name, values in calls if name == "detect"] == [[1], [2]]
    assert {tuple(values[2:]) for name, values in calls if name == "read"} == {(0, 0), (2, 1)}


@pytest.mark.parametrize(("steps", "half"), [(1, False), (2, False), (2, True), (3, True)])
def test_tiles_share_more_than_a_unet_sees(steps, half):
    network = networks.unet(filters=2, pooling_steps=steps, half_resolution=half)
    unit = networks.input_multiple(steps, half)
    settings = {"pooling_steps": steps, "half_resolution": half}
    tile, padding = qupath.tiling({"task": "unet", "network": settings, "input": {"multiple_of": unit}})
    assert tile % unit == padding % unit == 0
    assert tile >= 4 * padding
    assert seen_by(network, unit) <= padding


@pytest.mark.parametrize(("depth", "grid"), [(2, 1), (3, 2), (2, 4)])
def test_tiles_share_more_than_stardist_sees(tmp_path, depth, grid):
    from utils.tasks.objects.network import build

    settings = {"n_rays": 8, "grid": [grid, grid], "n_channel_in": 1, "axes": "YXC", "unet_n_depth": depth}
    network = build({**settings, "unet_n_filter_base": 2, "net_conv_after_unet": 4}).keras_model
    description = {"task": "stardist", "network": settings, "input": {"largest_object": 5}}
    tile, padding = qupath.tiling(description)
    assert tile % 64 == padding % 64 == 0
    assert grid * seen_by(network, grid * 2**depth) <= padding
    assert qupath.tiling({**description, "input": {"largest_object": 300.5}}) == (4 * 320, 320)


def seen_by(network, unit):
    """Pixels of the output, to the right of a change, that it reaches, with weights that let everything through."""
    for weights in network.trainable_weights:
        weights.assign(np.abs(weights.numpy()) + 0.01)
    if "logits" in [layer.name for layer in network.layers]:
        network = keras.Model(network.input, network.get_layer("logits").output)
    image = np.ones((2, unit, math.ceil(400 / unit) * unit, 1), np.float32)
    image[1, :, :unit] = 2
    outputs = network([image] if isinstance(network.input, list) else image, training=False)
    before, after = np.asarray(outputs[1] if isinstance(outputs, list) else outputs)
    changed = np.flatnonzero(np.abs(before - after).max(axis=(0, 2)) > 0)
    return changed.max() + 1 - unit * before.shape[1] // image.shape[2]


def test_a_notebook_that_stands_alone_takes_the_scripts_along():
    from notebooks.standalone import templates

    names = {path.name for path in templates({Path("utils/exchange/qupath.py")})}
    assert names == {qupath.IMAGE, qupath.BRIGHTNESS, *qupath.TEMPLATES.values()}
