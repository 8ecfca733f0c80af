"""Packages of others, run: as bioimageio.core does it, in tiles, with what their channels mean."""

import shutil

import numpy as np
import onnx
import pytest
import yaml
from onnx import TensorProto, helper, numpy_helper
from scipy.ndimage import uniform_filter

from tests.exchange.test_packages import described, sha256, written
from utils.errors import DataError, ModelError
from utils.exchange import channels, package_model, packages
from utils.exchange.channels import BACKGROUND, BOUNDARY, DISTANCE, FOREGROUND, LABELS
from utils.exchange.package_model import PackageModel, Side
from utils.exchange.package_task import predicting
from utils.exchange.weights import choose_weights
from utils.images.image import write_tiff

RNG = np.random.default_rng(0)
FLOAT = {"id": "ensure_dtype", "kwargs": {"dtype": "float32"}}


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """Where packages are unpacked: not among the person's models."""
    monkeypatch.setattr(packages, "PLACE", tmp_path / "packages")
    return tmp_path / "packages"


def blurring(path, channels=1, outputs=1, size=None, valid=False):
    """ONNX file: mean of 3 x 3 pixels of the first channel, times 1, 2, ... for each output; zeros around it."""
    kernel = np.zeros((outputs, channels, 3, 3), np.float32)
    kernel[:, 0] = (np.arange(outputs) + 1).reshape(-1, 1, 1) / 9
    sides = size or ("height", "width")
    pads = [0, 0, 0, 0] if valid else [1, 1, 1, 1]
    graph = helper.make_graph(
        [helper.make_node("Conv", ["image", "w"], ["out"], kernel_shape=[3, 3], pads=pads)],
        "blur",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, channels, *sides])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(kernel, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def package_of(folder, given=("raw",), outputs=("foreground",), size=None, halo=4, before=(FLOAT,), after=(), **more):
    """A package that blurs the first channel."""
    folder.mkdir(parents=True)
    fixed = (size, size) if isinstance(size, int) else None
    path = blurring(folder / "w.onnx", len(given), len(outputs), fixed)
    entry = {"source": path.name, "sha256": sha256(path), "opset_version": 13}
    rdf = described({"onnx": entry}, given, outputs, size, halo)
    rdf["inputs"][0]["preprocessing"] = list(before)
    rdf["outputs"][0]["postprocessing"] = list(after)
    return written(folder, rdf | more)


def blurred(array):
    return uniform_filter(array[..., 0].astype(np.float64), 3, mode="reflect")


@pytest.mark.parametrize("shape", [(64, 64), (61, 47), (5, 130), (33, 8), (1, 1)])
@pytest.mark.parametrize("size", [None, 24])
def test_tiles_answer_as_the_whole_image_does(tmp_path, monkeypatch, shape, size):
    """Whatever its size, and whether or not the network takes only one: what a tile's border changes is dropped."""
    monkeypatch.setattr(package_model, "TILE", 24)
    monkeypatch.setattr(package_model, "WHOLE", 0)
    monkeypatch.setattr(package_model, "OVERLAP", 4)
    model = PackageModel(package_of(tmp_path / "p", size=size))
    array = RNG.integers(0, 4000, (*shape, 1)).astype(np.uint16)
    np.testing.assert_allclose(model.predict(array)[..., 0], blurred(array), rtol=1e-5)


def test_what_a_valid_convolution_takes_off_is_put_back(tmp_path, monkeypatch):
    folder = package_of(tmp_path / "p", size=24, halo=0)
    blurring(folder / "w.onnx", size=(24, 24), valid=True)
    rdf = packages.read_description(folder)
    rdf["weights"]["onnx"]["sha256"] = sha256(folder / "w.onnx")
    for one in rdf["outputs"][0]["axes"][2:]:
        one["size"]["offset"] = -2
    written(folder, rdf)
    array = RNG.integers(0, 255, (40, 31, 1)).astype(np.uint8)
    np.testing.assert_allclose(PackageModel(folder).predict(array)[..., 0], blurred(array), rtol=1e-5)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([{"id": "zero_mean_unit_variance", "kwargs": {"axes": ["x", "y"]}}], [{"id": "sigmoid"}]),
        (
            [
                {
                    "id": "scale_range",
                    "kwargs": {"axes": ["channel", "y", "x"], "min_percentile": 1, "max_percentile": 99},
                }
            ],
            [],
        ),
        (
            [{"id": "scale_linear", "kwargs": {"gain": 0.5, "offset": -3}}],
            [{"id": "clip", "kwargs": {"min": 0, "max": 9}}],
        ),
        (
            [{"id": "fixed_zero_mean_unit_variance", "kwargs": {"mean": 3, "std": 2}}],
            [{"id": "binarize", "kwargs": {"threshold": 1}}],
        ),
    ],
)
def test_it_answers_as_bioimageio_core_does(tmp_path, before, after):
    from bioimageio.core import Sample, create_prediction_pipeline

    folder = package_of(tmp_path / "p", ("red", "green"), ("a", "b"), before=[FLOAT, *before, FLOAT], after=after)
    model = PackageModel(folder)
    array = RNG.normal(5, 3, (48, 32, 2)).astype(np.float32)
    pipeline = create_prediction_pipeline(model.about, weight_format="onnx")
    sample = Sample(members={model.about.inputs[0].id: model._tensor(array, model.about.inputs[0])}, stat={}, id="a")
    answer = pipeline.predict_sample_without_blocking(sample, skip_input_padding=True, skip_output_cropping=True)
    expected = package_model._of_tensor(answer.members[model.about.outputs[0].id])
    np.testing.assert_allclose(model.predict(array), expected, atol=1e-5)


def test_a_package_of_the_earlier_format_is_read(tmp_path):
    folder = package_of(tmp_path / "p")
    np.save(folder / "in.npy", np.zeros((1, 1, 16, 16), np.float32))
    np.save(folder / "out.npy", np.zeros((1, 1, 16, 16), np.float32))
    old = packages.read_description(folder)
    tensor = {"axes": "bcyx", "data_type": "float32"}
    shape = {"min": [1, 1, 16, 16], "step": [0, 0, 8, 8]}
    scale = {"name": "scale_range", "kwargs": {"mode": "per_sample", "axes": "yx", "max_percentile": 100}}
    refer = {"reference_tensor": "input", "scale": [1, 1, 1, 1], "offset": [0, 0, 0, 0]}
    old |= {
        "format_version": "0.4.9",
        "timestamp": "2022-10-28T16:20:17.690336Z",
        "inputs": [{**tensor, "name": "input", "shape": shape, "preprocessing": [scale]}],
        "outputs": [{**tensor, "name": "output", "shape": refer, "halo": [0, 0, 4, 4]}],
        "test_inputs": ["in.npy"],
        "test_outputs": ["out.npy"],
    }
    model = PackageModel(written(folder, old))
    array = RNG.integers(0, 200, (50, 21, 1)).astype(np.uint8)
    expected = uniform_filter((array[..., 0] - array.min()) / np.ptp(array).astype(float), 3, mode="reflect")
    np.testing.assert_allclose(model.predict(array)[..., 0], expected, atol=1e-4)
    assert channels.meanings(model, "fg") == [FOREGROUND]


def test_its_own_test_image_is_compared(tmp_path):
    folder = package_of(tmp_path / "p")
    model = PackageModel(folder)
    assert model.difference_on_own_test() is None
    array = RNG.random((16, 12, 1)).astype(np.float32)
    np.save(folder / "in.npy", array.transpose(2, 0, 1)[np.newaxis])
    np.save(folder / "out.npy", model.predict(array).transpose(2, 0, 1)[np.newaxis])
    assert model.difference_on_own_test() < 1e-6
    assert not predicting(folder).doubt
    np.save(folder / "out.npy", np.ones((1, 1, 16, 12), np.float32))
    assert "answers its own test image otherwise" in predicting(folder).doubt


def test_a_test_image_that_does_not_fit_is_said(tmp_path):
    folder = package_of(tmp_path / "p", size=24)
    for name in ("in", "out"):
        np.save(folder / f"{name}.npy", np.zeros((1, 1, 10, 10), np.float32))
    assert PackageModel(folder).difference_on_own_test() == np.inf
    np.save(folder / "in.npy", np.zeros((10, 10)))
    assert PackageModel(folder).difference_on_own_test() == np.inf


def test_pickled_python_in_place_of_an_array_is_refused(tmp_path):
    folder = package_of(tmp_path / "p")
    for name in ("in", "out"):
        np.save(folder / f"{name}.npy", np.array([{"a": 1}], object), allow_pickle=True)
    assert "is no plain array of numbers" in refused(folder)


def test_other_channels_than_described_are_said(tmp_path):
    folder = package_of(tmp_path / "p", outputs=["foreground", "boundary"])
    change(folder, lambda rdf: rdf["outputs"][0]["axes"][1].update(channel_names=["foreground"]))
    with pytest.raises(ModelError, match="give other channels than it describes"):
        predicting(folder).predictor.class_ids(np.zeros((16, 16, 1), np.uint8))


def test_stardists_own_step_finds_objects(tmp_path):
    """Each pixel's probability and distances, as format 0.5 describes them: a channel of labels comes out."""
    rays, blob = 8, np.zeros((48, 64), np.float32)
    blob[10:30, 8:28] = blob[12:28, 40:56] = 1
    values = {"prob_threshold": 0.4, "nms_threshold": 0.3, "n_rays": rays, "grid": [1, 1], "b": 2}
    step = {"id": "stardist_postprocessing", "kwargs": values}
    folder = package_of(tmp_path / "p", outputs=["c"] + [f"r{i}" for i in range(rays)], after=[step])
    change(folder, lambda rdf: rdf["outputs"][0]["axes"][1].update(channel_names=["labels"]))
    task = predicting(folder)
    found = task.predictor.find(uniform_filter(blob, 9)[..., np.newaxis])
    assert task.name == "stardist"
    assert found.labels.max() >= 2
    assert found.outlines.shape[1:] == (2, rays)


def test_sizes_of_sides():
    side = Side(10, 4)
    assert [side.next(n) for n in (1, 10, 11, 14, 15)] == [10, 10, 14, 14, 18]
    assert [n for n in range(24) if side.fits(n)] == [10, 14, 18, 22]
    assert [n for n in range(24) if Side(12, 0).fits(n)] == [12]


# --- what is refused


def change(folder, edit):
    """The same package with another description."""
    rdf = packages.read_description(folder)
    edit(rdf)
    return written(folder, rdf)


def refused(folder):
    with pytest.raises(ModelError) as caught:
        predicting(folder)
    return str(caught.value)


def third_axis(rdf):
    for tensor in (*rdf["inputs"], *rdf["outputs"]):
        tensor["axes"].insert(2, {"type": "space", "id": "z", "size": 8})


def test_stacks_are_refused(tmp_path):
    assert "works on stacks (axes batch, channel, z, y, x)" in refused(change(package_of(tmp_path / "p"), third_axis))


def test_several_inputs_are_refused(tmp_path):
    def second(rdf):
        rdf["inputs"].append({**rdf["inputs"][0], "id": "mask"})

    assert "needs 2 inputs for each image (input, mask)" in refused(change(package_of(tmp_path / "p"), second))


def test_another_resolution_is_refused(tmp_path):
    def half(rdf):
        for one in rdf["outputs"][0]["axes"][2:]:
            one["scale"] = 2.0

    assert "images of another resolution" in refused(change(package_of(tmp_path / "p", halo=0), half))


def test_weights_for_pytorch_alone_are_refused(tmp_path):
    def torch(rdf):
        code = {"source": "net.py", "callable": "Net", "sha256": "0" * 64}
        state = {"source": "w.pt", "pytorch_version": "2.0", "architecture": code}
        rdf["weights"] = {"pytorch_state_dict": state, "torchscript": {"source": "t.pt", "pytorch_version": "2.0"}}

    folder = change(package_of(tmp_path / "p"), torch)
    said = refused(folder)
    assert "no weights that run here: it has pytorch_state_dict, torchscript; needed are onnx, keras_v3," in said
    assert "none; needed" in refused(change(folder, lambda rdf: rdf.update(weights={})))


def test_code_beside_weights_that_run_is_left_alone(tmp_path):
    """As in packages that hold the network for PyTorch, too."""

    def torch(rdf):
        code = {"source": "net.py", "callable": "Net", "sha256": "0" * 64}
        rdf["weights"]["pytorch_state_dict"] = {"source": "w.pt", "pytorch_version": "2.0", "architecture": code}

    assert predicting(change(package_of(tmp_path / "p"), torch)).name == "unet"


def test_an_incomplete_package_is_refused(tmp_path):
    folder = package_of(tmp_path / "p")
    (folder / "w.onnx").unlink()
    assert "is incomplete: w.onnx, which its description names, is missing" in refused(folder)


@pytest.mark.parametrize("content", [b"", b"no network", b"\x08\x07"])
def test_weights_that_are_none_are_refused(tmp_path, content):
    folder = package_of(tmp_path / "p")
    (folder / "w.onnx").write_bytes(content)
    change(folder, lambda rdf: rdf["weights"]["onnx"].update(sha256=sha256(folder / "w.onnx")))
    assert "could not be loaded" in refused(folder)


def test_a_description_with_mistakes_is_refused(tmp_path):
    def mistake(rdf):
        rdf["inputs"][0]["axes"][2]["size"] = "large"

    assert "has mistakes, so that it cannot be run" in refused(change(package_of(tmp_path / "p"), mistake))


def test_numbers_of_a_whole_set_of_images_are_refused(tmp_path):
    step = {"id": "zero_mean_unit_variance", "kwargs": {"axes": ["batch", "x", "y"]}}
    assert "numbers of its authors' whole set of images" in refused(package_of(tmp_path / "p", before=[FLOAT, step]))


def test_external_weights_elsewhere_are_refused(tmp_path):
    folder = package_of(tmp_path / "p")
    model = onnx.load(folder / "w.onnx")
    (one,) = model.graph.initializer
    one.ClearField("raw_data")
    one.data_location = TensorProto.EXTERNAL
    one.external_data.add(key="location", value="../../secret")
    (folder / "w.onnx").write_bytes(model.SerializeToString())
    change(folder, lambda rdf: rdf["weights"]["onnx"].update(sha256=sha256(folder / "w.onnx")))
    assert "would lie outside" in refused(folder)


def test_a_damaged_model_folder_is_said(tmp_path, untrained_model):
    folder, *_ = untrained_model()
    (folder / "weights.h5").unlink()
    assert "is missing" in refused(folder)
    shutil.rmtree(folder)
    assert "is not a model folder" in refused(folder)


# --- Keras and TensorFlow


def keras_package(folder, layers, suffix):
    import keras

    folder.mkdir()
    path, name = folder / f"w{suffix}", "keras_v3" if suffix == ".keras" else "keras_hdf5"
    keras.Sequential([keras.Input((None, None, 1)), *layers]).save(path)
    entry = {"source": path.name, "sha256": sha256(path)}
    entry |= (
        {"keras_version": "3.10", "backend": ["tensorflow", "2.20"]}
        if name == "keras_v3"
        else {"tensorflow_version": "2.20"}
    )
    rdf = described({name: entry}, halo=4)
    for tensor in (*rdf["inputs"], *rdf["outputs"]):
        tensor["axes"].append(tensor["axes"].pop(1))
    rdf["inputs"][0]["preprocessing"] = [FLOAT]
    return written(folder, rdf)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_weights_of_keras_are_run(tmp_path, suffix):
    import keras

    blur = keras.layers.Conv2D(
        1, 3, padding="same", use_bias=False, kernel_initializer=keras.initializers.Constant(1 / 9)
    )
    model = PackageModel(keras_package(tmp_path / "p", [blur, keras.layers.ReLU()], suffix))
    array = RNG.integers(0, 99, (30, 21, 1)).astype(np.uint8)
    np.testing.assert_allclose(model.predict(array)[..., 0], blurred(array), rtol=1e-5)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_lambda_layer_is_refused(tmp_path, suffix):
    import keras

    folder = keras_package(tmp_path / "p", [keras.layers.Lambda(lambda x: x + 1)], suffix)
    assert "they hold a layer Lambda, which may be program code" in refused(folder)


@pytest.mark.parametrize(
    "network",
    [
        {"class_name": "run", "module": "os", "config": {}},
        {"class_name": "run", "module": "kerasevil.layers", "config": {}},
        {"class_name": "get_file", "module": "keras.utils", "config": {}},
        {"class_name": "eval", "module": "builtins", "config": "1"},
        {"a": [{"class_name": "Functional", "module": "keras", "config": [{"registered_name": "Lambda"}]}]},
        {"class_name": "TorchModuleWrapper", "module": "keras.layers", "config": {"module": "pickled"}},
    ],
)
def test_code_in_the_description_of_a_network_is_refused(tmp_path, network):
    import json
    import zipfile

    folder = tmp_path / "p"
    folder.mkdir()
    with zipfile.ZipFile(folder / "w.keras", "w") as file:
        file.writestr("config.json", json.dumps(network))
    entry = {"source": "w.keras", "keras_version": "3.10", "backend": ["tensorflow", "2.20"]}
    assert "which may be program code" in refused(written(folder, described({"keras_v3": entry})))


def test_weights_without_a_network_are_refused(tmp_path):
    import h5py

    folder = tmp_path / "p"
    folder.mkdir()
    with h5py.File(folder / "w.h5", "w") as file:
        file["a"] = [1]
    said = refused(written(folder, described({"keras_hdf5": {"source": "w.h5", "tensorflow_version": "2.9"}})))
    assert "no network that they belong to" in said


def bundle_package(folder, function, tmp_path):
    """A package whose weights are a TensorFlow bundle of a function."""
    import tensorflow as tf

    module = tf.Module()
    signature = tf.TensorSpec((None, None, None, 1), tf.float32, name="input")
    module.run = tf.function(lambda x: {"output": function(x)}, input_signature=[signature])
    tf.saved_model.save(module, str(tmp_path / "saved"), signatures={"serving_default": module.run})
    folder.mkdir()
    shutil.make_archive(str(folder / "tf"), "zip", tmp_path / "saved")
    entry = {"source": "tf.zip", "sha256": sha256(folder / "tf.zip"), "tensorflow_version": "2.20"}
    rdf = described({"tensorflow_saved_model_bundle": entry}, halo=4)
    for tensor in (*rdf["inputs"], *rdf["outputs"]):
        tensor["axes"].append(tensor["axes"].pop(1))
    rdf["inputs"][0]["preprocessing"] = [FLOAT]
    return written(folder, rdf)


def test_a_bundle_of_tensorflow_is_run(tmp_path):
    import tensorflow as tf

    kernel = tf.constant(np.full((3, 3, 1, 1), 1 / 9, np.float32))
    folder = bundle_package(tmp_path / "p", lambda x: tf.nn.conv2d(x, kernel, 1, "SAME"), tmp_path)
    array = RNG.integers(0, 99, (30, 21, 1)).astype(np.uint8)
    np.testing.assert_allclose(PackageModel(folder).predict(array)[..., 0], blurred(array), rtol=1e-5)


def test_a_bundle_that_reads_files_is_refused(tmp_path):
    import tensorflow as tf

    def steal(x):
        return x + tf.cast(tf.strings.length(tf.io.read_file("/etc/passwd")), tf.float32)

    assert "the operation ReadFile, which may be program code" in refused(
        bundle_package(tmp_path / "p", steal, tmp_path)
    )


# --- what channels mean


@pytest.mark.parametrize(
    ("names", "asked", "words"),
    [
        (["foreground"], "", [FOREGROUND]),
        (["foreground_prob", "Boundaries"], "", [FOREGROUND, BOUNDARY]),
        (["cell border", "cellForeground"], "", [BOUNDARY, FOREGROUND]),
        (["background", "nucleus", "stroma"], "", [BACKGROUND, "nucleus", "stroma"]),
        (["distance", "fg"], "", [DISTANCE, FOREGROUND]),
        (["instance_labels"], "", [LABELS]),
        (["probability"], "Foreground", [FOREGROUND]),
        (["channel0", "channel1"], " foreground ,contour", [FOREGROUND, BOUNDARY]),
        (["c0", "c1", "c2"], "ignore, ignore, tumour", ["ignore", "ignore", "tumour"]),
        (["foreground", "boundary"], "boundary, foreground", [BOUNDARY, FOREGROUND]),
    ],
)
def test_what_channels_mean(tmp_path, names, asked, words):
    assert channels.meanings(PackageModel(package_of(tmp_path / "p", outputs=names)), asked) == words


@pytest.mark.parametrize(
    ("names", "asked", "said"),
    [
        (["probability"], "", "what it means. Write a word for it into the field package_channels (under"),
        (["channel0", "channel1"], "", "For example: foreground, boundary."),
        (["foreground", "prediction_2"], "", "does not say"),
        (["boundary distance"], "", "does not say"),
        (["background"], "", "does not say"),
        (["foreground"], "foreground, boundary", "another number of channels than the field package_channels says"),
        (["a", "b"], "foreground,", "another number"),
        (["a", "b"], "foreground, fg", "cannot be understood"),
        (["a", "b"], "background, ignore", "cannot be understood"),
    ],
)
def test_what_is_not_known_is_asked_for(tmp_path, names, asked, said):
    with pytest.raises(ModelError) as caught:
        predicting(package_of(tmp_path / "p", outputs=names), package_channels=asked)
    assert said in str(caught.value)
    assert "into the field package_channels (under Advanced)" in str(caught.value)
    assert str(caught.value).endswith("For example: foreground." if len(names) == 1 else "foreground, boundary.")


def test_a_typing_error_is_no_class(tmp_path):
    package = package_of(tmp_path / "p", outputs=["probability"])
    with pytest.raises(ModelError, match="says 'foregroud'. Did you mean foreground"):
        predicting(package, package_channels="foregroud")


def test_touching_objects_are_separated_by_their_boundary():
    foreground, boundary = np.zeros((40, 60), np.float32), np.zeros((40, 60), np.float32)
    foreground[5:35, 5:55] = 1
    boundary[5:35, 29:31] = 0.9
    foreground[1:3, 57:59] = boundary[1:3, 57:59] = 0.8
    labels = channels.separated(foreground, boundary)
    assert sorted(np.unique(labels)) == [0, 1, 2, 3]
    assert labels[20, 10] != labels[20, 50]
    np.testing.assert_array_equal(labels > 0, foreground > 0.5)
    assert len(np.unique(channels.separated(boundary=boundary))) == 1  # a gap leads around it
    boundary[:, 29:31] = 0.9
    everything = channels.separated(boundary=boundary)
    assert everything.min() == 1
    assert everything[0, 0] != everything[0, 59]


def test_touching_objects_are_separated_by_distances():
    y, x = np.mgrid[:40, :70]
    discs = [np.hypot(y - 20, x - at) for at in (20, 44)]
    distance = np.maximum(0, 14 - np.minimum(*discs)).astype(np.float32)
    labels = channels.separated((distance > 0).astype(np.float32), distance=distance)
    assert labels.max() == 2
    assert labels[20, 20] != labels[20, 44]


def test_outlines_run_along_the_border_of_objects():
    labels = np.zeros((30, 30), np.int32)
    labels[5:15, 8:20], labels[0, 29] = 1, 3
    outlines = channels.outlines_of(labels)
    assert outlines.shape == (3, 2, channels.CORNERS)
    assert np.ptp(outlines[0], axis=1) == pytest.approx([10, 12], abs=1)
    assert outlines[0].mean(axis=1) == pytest.approx([9.5, 13.5], abs=0.5)
    assert not outlines[1].any()
    assert outlines[2].mean(axis=1) == pytest.approx([0, 29], abs=0.1)


def test_numbers_that_are_no_probabilities_are_said(tmp_path):
    task = predicting(package_of(tmp_path / "p"))
    with pytest.raises(ModelError, match="gives numbers from 3.11 to 7 where probabilities"):
        task.predictor.class_ids(np.full((16, 16, 1), 7, np.uint8))
    with pytest.raises(ModelError, match="where probabilities"):
        task.predictor.class_ids(np.full((16, 16, 1), np.nan, np.float32))


# --- a folder of images


@pytest.fixture
def images(tmp_path):
    """Two images of bright squares, and one of colours, which does not fit."""
    array = np.zeros((40, 56), np.float32)
    array[4:20, 4:20] = array[24:36, 30:50] = 1
    write_tiff(tmp_path / "images" / "a.tif", array, 0.5)
    write_tiff(tmp_path / "images" / "b.tif", array[:20])
    write_tiff(tmp_path / "images" / "c.tif", np.zeros((20, 20, 3), np.uint8))
    return tmp_path / "images"


def test_classes_are_written_as_those_of_a_unet(tmp_path, images):
    folder = package_of(tmp_path / "p")
    found = predicting(folder).predict(folder, images, tmp_path / "out", save_probabilities=True, qupath="yes")
    assert found.table["foreground [px]"].tolist() == [16 * 16 - 4 + 12 * 20 - 4, 16 * 16 - 4]
    assert any("c.tif has 3 channels, the model was trained on 1" in one for one in found.warnings)
    assert sorted(one.relative_to(tmp_path / "out").as_posix() for one in (tmp_path / "out").rglob("*.*")) == [
        "masks/a.tif",
        "masks/b.tif",
        "measurements.csv",
        "overlays/a.png",
        "overlays/b.png",
        "probabilities/a.tif",
        "probabilities/b.tif",
        "qupath/a.geojson",
        "qupath/b.geojson",
    ]


def test_objects_are_written_as_those_of_stardist(tmp_path, images):
    folder = package_of(
        tmp_path / "p", outputs=["labels"], before=[FLOAT], after=[{"id": "binarize", "kwargs": {"threshold": 0.5}}]
    )
    task = predicting(folder)
    found = task.predict(folder, images, tmp_path / "out", save_probabilities=True, qupath="yes")
    assert task.name == "stardist"
    assert found.table["objects"].tolist() == [1, 1]  # the package says that both squares are one
    names = {one.relative_to(tmp_path / "out").as_posix() for one in (tmp_path / "out").rglob("*.*")}
    assert {"labels/a.tif", "rois/a.zip", "overlays/b.png", "qupath/a.geojson", "objects.csv", "counts.csv"} <= names
    assert task.result_figure(tmp_path / "out", found.table)


def test_a_folder_of_images_that_do_not_fit_is_said(tmp_path, images):
    folder = package_of(tmp_path / "p", given=["red", "green"])
    with pytest.raises(DataError, match="has 1 channels, the model was trained on 2"):
        predicting(folder).predict(folder, images, tmp_path / "out")


def test_the_first_weights_that_run_are_taken(tmp_path):
    folder = package_of(tmp_path / "p")
    more = {"keras_hdf5": {"source": "k.h5"}, "tensorflow_js": {"source": "j"}, "torchscript": {"source": "t.pt"}}
    rdf = packages.read_description(folder)
    assert choose_weights(folder, rdf | {"weights": more | rdf["weights"]})[0] == "onnx"
    (folder / "w.onnx").rename(folder / "kept")
    with pytest.raises(ModelError, match="incomplete: w.onnx"):
        choose_weights(folder, rdf | {"weights": more | rdf["weights"]})
    assert yaml.safe_dump(rdf)


def test_a_package_is_checked_once(tmp_path, monkeypatch):
    """The files of a package may be large."""
    read = []
    monkeypatch.setattr(packages, "file_sha256", lambda path: read.append(path.name) or sha256(path))
    predicting(package_of(tmp_path / "p"))
    assert read == ["w.onnx"]
