"""A model as a package of the BioImage Model Zoo, which bioimageio.core, deepImageJ and others run.

The package holds the network as Keras and TensorFlow read it with the normalisation of the notebooks, a test image and
its answer, and the model folder, so that it is a starting model again here. Where each image has a range of its own
that only this project computes (`utils.exchange.brightness`), it is computed inside the network, and the package says
that images must not be cut into tiles.
"""

import importlib.metadata
import io
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from bioimageio.core import create_prediction_pipeline, test_model
from bioimageio.core.backends import tensorflow_backend
from bioimageio.core.digest_spec import create_sample_for_model
from bioimageio.spec import load_model_description, save_bioimageio_package
from bioimageio.spec.model import v0_5 as spec
from pydantic import ValidationError

from utils.data.splits import read_split
from utils.errors import ModelError
from utils.exchange import zoo_text
from utils.exchange.brightness import brightened
from utils.exchange.onnx_file import OPSET, write_onnx
from utils.exchange.saved_model import FILE as BUNDLE
from utils.exchange.saved_model import bundle, whole
from utils.files import write_csv, write_json, write_text
from utils.images.normalise import SIGNAL
from utils.pages.pictures import result_image, write_png
from utils.paths import DESCRIPTION, SPLIT
from utils.tasks.portable import Portable, difference
from utils.training.networks import reach
from utils.training.origin import ABOUT

PLAIN = "channels_first.onnx"  # the network without normalisation, for OpenCV, and so for QuPath
WITH_ALL = "model.onnx"  # the same network as that of Keras: channels last, normalisation and masks included
ORIGINAL = "keras_v3"  # weights of which the others are made
INPUT = "input"  # as the plugins of Fiji name it, too
LIMIT = 1e-4  # difference to the notebook's answer
AT_THRESHOLD = 100  # pixels in a million whose probability is so close to the threshold that rounding decides
ROOM = 64  # pixels of a tile that count, at least
SHOWN = 256  # pixels of the test image and the cover, at most, where the network takes so few
SMALLEST = 1e-9  # what is added to a range, so that none is 0
TENSORFLOW = "1.15.5"  # reads the bundle, and so does every later one


def tileable(model: Portable) -> bool:
    """Whether parts of an image can be predicted one by one, which needs a range that all images have in common.

    bioimageio.core mirrors an image beyond its border by the halo of a tile before it looks for percentiles.
    """
    return model.size is None and model.description["normalisation"]["per"] == "training set"


def _scaled_outside(model: Portable) -> bool:
    """Whether programs scale each image to its percentiles, which they know how to do, before the network sees it."""
    normalisation = model.description["normalisation"]
    return model.size is None and normalisation["per"] == "image" and normalisation["kind"] != SIGNAL


def _tiles(model: Portable) -> str:
    """What is to be said about tiles."""
    if tileable(model):
        return zoo_text.TILES
    y, x = model.multiple
    return "" if model.size else zoo_text.whole_images(_scaled_outside(model), f"{x} (width) and {y} (height)")


def complete(model: Portable) -> keras.Model:
    """Network from an image as read (batch, Y, X, C) to all it answers (batch, Y, X, channels) or (batch, classes).

    Where programs scale images to percentiles of their own, the network takes what they made of it. Its outputs are
    those of `zoo_text.outputs`; what becomes a mask is a probability still.
    """
    description, alone = model.description, not tileable(model)
    shape = (*(model.size or (None, None)), len(description["channels"]))
    image = keras.Input(shape, batch_size=1 if alone else None, name=INPUT)
    seen = image if _scaled_outside(model) else brightened(image, description["normalisation"])
    answers = model.network([seen] if isinstance(model.network.input, list) else seen)
    answers = list(answers) if isinstance(answers, list | tuple) else [answers]
    if description["task"] == "stardist":
        answers = _of_whole_image(answers, tuple(description["network"]["grid"]))
    elif zoo_text.MASK in zoo_text.outputs(model):
        answers.append(answers[0][..., 1:2])
    return keras.Model(image, answers if len(answers) > 1 else answers[0], name="complete")


def _of_whole_image(answers: Sequence[keras.KerasTensor], grid: tuple[int, int]) -> list[keras.KerasTensor]:
    """Outputs of StarDist for each pixel, as `saved_model.whole` does it; one where there are no classes of objects."""
    probability, *others = answers
    if grid != (1, 1):
        spread = keras.layers.Conv2DTranspose(1, 1, strides=grid, use_bias=False, kernel_initializer="ones")
        probability, others = spread(probability), [keras.layers.UpSampling2D(grid)(one) for one in others]
    return [probability, *others] if len(others) > 1 else [keras.layers.Concatenate()([probability, *others])]


def looks_around(model: Portable) -> int:
    """Pixels around a pixel that its answer depends on; an upper limit."""
    network = model.description["network"]
    if model.description["task"] == "unet":
        return reach(network["pooling_steps"], network.get("half_resolution", False))
    return reach_by_layers(model.network)


def reach_by_layers(network: keras.Model) -> int:
    """The same, layer by layer: StarDist's networks have more settings, and may be of others.

    A value stands for a square of the image, and depends on what lies so far beyond it.
    """
    image, *_ = network.inputs
    sides, beyond = {id(image): 1.0}, {id(image): 0.0}
    for layer in network.layers:
        if isinstance(layer, keras.layers.InputLayer):
            continue
        given = layer.input if isinstance(layer.input, list | tuple) else [layer.input]
        side, far = sides[id(given[0])], max(beyond[id(one)] for one in given)
        after = side
        if isinstance(layer, keras.layers.UpSampling2D | keras.layers.Conv2DTranspose):
            after = side / max(layer.size if hasattr(layer, "size") else layer.strides)
        elif hasattr(layer, "pool_size"):  # of whole squares
            after = side * max(layer.pool_size)
        elif hasattr(layer, "kernel_size"):
            far += side * (max(layer.kernel_size) // 2) * max(layer.dilation_rate)
            after = side * max(layer.strides)
        sides[id(layer.output)], beyond[id(layer.output)] = after, far + max(0, side - after)
    return int(np.ceil(max(beyond[id(one)] for one in network.outputs)))


@dataclass(frozen=True)
class Sides:
    """Height and width that a package takes: `smallest` and multiples of `step` more; `halo` of them do not count."""

    smallest: tuple[int, int]
    step: tuple[int, int]
    halo: tuple[int, int]


def sides(model: Portable) -> Sides:
    """Sizes (Y, X) of the images that a network of any size takes."""
    most = (model.LARGEST - ROOM) // 2  # more than that the tiles of the notebooks do not see either
    far = looks_around(model) if tileable(model) else 0
    halo = tuple(min(-(-far // step), most // step) * step for step in model.multiple)
    room = [-(-ROOM // step) * step for step in model.multiple]
    return Sides(tuple(2 * one + more for one, more in zip(halo, room, strict=True)), tuple(model.multiple), halo)


def sized(array: np.ndarray, model: Portable) -> np.ndarray:
    """An image (Y, X, C) of sides that the package takes: a small one is mirrored, a large one cut in its middle."""
    smallest = model.size or sides(model).smallest
    missing = [max(0, least - side) for least, side in zip(smallest, array.shape, strict=False)]
    array = np.pad(array, [*((one // 2, one - one // 2) for one in missing), (0, 0)], mode="symmetric")
    steps = model.multiple
    wanted = model.size or [side // step * step for side, step in zip(array.shape, steps, strict=False)]
    y, x = ((side - to) // 2 for side, to in zip(array.shape, wanted, strict=False))
    return np.ascontiguousarray(array[y : y + wanted[0], x : x + wanted[1]])


def write(folder: Path, model: Portable, about: Mapping[str, str], image: np.ndarray, source: Path) -> None:
    """Write the package.

    Parameters
    ----------
    folder
        Where to.
    model
        The network.
    about
        What is known of it: title, authors, licence, description, cite.
    image
        A test image (Y, X, C) as read, a part of which becomes that of the package.
    source
        Model folder.
    """
    with tempfile.TemporaryDirectory() as place:
        description = _description(Path(place), model, about, image, source)
        folder.mkdir(parents=True, exist_ok=True)
        name = zoo_text.file_name(about["title"], model.description["task"])
        save_bioimageio_package(description, output_path=folder / name)


def _description(place: Path, model: Portable, about: Mapping, image: np.ndarray, source: Path) -> spec.ModelDescr:
    image = sized(_lively(image), model)
    answers = expected(model, image)
    np.save(place / "test_input.npy", image[np.newaxis].astype(np.float32))
    for name, answer in answers.items():
        np.save(place / f"test_{name}.npy", answer[np.newaxis])
    write_png(place / "cover.png", _cover(image, next(iter(answers.values())), model.description["task"] == "unet"))
    write_text(place / "README.md", zoo_text.documentation(model, about, source, _tiles(model)))
    return spec.ModelDescr(
        **zoo_text.about(about, model, place),
        documentation=spec.FileDescr(source=place / "README.md"),
        covers=[spec.FileDescr(source=place / "cover.png")],
        inputs=[_input(place, model)],
        outputs=[_output(place, model, name, one) for name, one in zoo_text.outputs(model).items()],
        weights=_weights(place, model),
        attachments=[spec.FileDescr(source=path) for path in _attached(place, model, about["title"], source)],
        config=_config(model, source),
    )


def _lively(image: np.ndarray) -> np.ndarray:
    """The part of an image with most to see, at most `SHOWN` pixels wide and high: packages should be small."""
    ys, xs = (range(0, max(1, side - SHOWN + 1), SHOWN // 4) for side in image.shape[:2])
    parts = [image[y : y + SHOWN, x : x + SHOWN] for y in ys for x in xs]
    return max(parts, key=lambda part: float(np.std(part)))


def _space(model: Portable) -> dict:
    size = model.description.get("pixel_size_um")
    return {"unit": "micrometer", "scale": size} if size else {}


def _input(place: Path, model: Portable) -> spec.InputTensorDescr:
    normalisation, axes = model.description["normalisation"], []
    if model.size:
        axes = [spec.SpaceInputAxis(id=spec.AxisId(i), size=size) for i, size in zip("yx", model.size, strict=True)]
    else:
        taken = sides(model)
        for i, least, step in zip("yx", taken.smallest, taken.step, strict=True):
            size = spec.ParameterizedSize(min=least, step=step)
            axes.append(
                spec.SpaceInputAxis(id=spec.AxisId(i), size=size, concatenable=tileable(model), **_space(model))
            )
    names = [str(one) for one in model.description["channels"]]
    steps = []
    if _scaled_outside(model):
        percentiles = {"min_percentile": normalisation["low"], "max_percentile": normalisation["high"]}
        together = ("channel", "y", "x") if normalisation.get("channels") == "joint" else ("y", "x")
        kwargs = spec.ScaleRangeKwargs(axes=tuple(map(spec.AxisId, together)), eps=SMALLEST, **percentiles)
        steps.append(spec.ScaleRangeDescr(kwargs=kwargs))
    return spec.InputTensorDescr(
        id=spec.TensorId(INPUT),
        description="the image as read, not normalised",
        axes=[_batch(model), *axes, spec.ChannelAxis(channel_names=names)],
        data=spec.IntervalOrRatioDataDescr(type="float32"),
        test_tensor=spec.FileDescr(source=place / "test_input.npy"),
        preprocessing=steps,
    )


def _batch(model: Portable) -> spec.BatchAxis:
    return spec.BatchAxis(size=None if tileable(model) else 1)


def _output(place: Path, model: Portable, name: str, output: zoo_text.Output) -> spec.OutputTensorDescr:
    axes, data, steps = [], spec.IntervalOrRatioDataDescr(type="float32"), []
    if output.threshold is not None:
        data = spec.NominalOrOrdinalDataDescr(values=[0, 1], type="uint8")
        steps = [
            spec.BinarizeDescr(kwargs=spec.BinarizeKwargs(threshold=output.threshold)),
            spec.EnsureDtypeDescr(kwargs=spec.EnsureDtypeKwargs(dtype="uint8")),
        ]
    if not model.size:
        for i, halo in zip("yx", sides(model).halo, strict=True):
            size = spec.SizeReference(tensor_id=spec.TensorId(INPUT), axis_id=spec.AxisId(i))
            kind, more = (spec.SpaceOutputAxisWithHalo, {"halo": halo}) if halo else (spec.SpaceOutputAxis, {})
            axes.append(kind(id=spec.AxisId(i), size=size, **more, **_space(model)))
    return spec.OutputTensorDescr(
        id=spec.TensorId(name),
        description=zoo_text.short(output.means, 128),
        axes=[_batch(model), *axes, spec.ChannelAxis(channel_names=list(output.channels))],
        data=data,
        test_tensor=spec.FileDescr(source=place / f"test_{name}.npy"),
        postprocessing=steps,
    )


def _weights(place: Path, model: Portable) -> spec.WeightsDescr:
    """The network for Keras, ONNX and, of one output, TensorFlow.

    bioimageio.core 0.11 takes the outputs of a bundle of TensorFlow in any order, another one each time that it runs.
    """
    network, names = complete(model), list(zoo_text.outputs(model))
    network.save(place / "model.keras")
    versions = {"keras_version": spec.Version(keras.__version__), "backend": ("tensorflow", tf.__version__)}
    found = {ORIGINAL: spec.KerasV3WeightsDescr(source=place / "model.keras", **versions)}
    with suppress(ModelError):  # networks of others have layers that are not known there
        write_onnx(place / WITH_ALL, network, names, model.size, channels_last=True)
        found["onnx"] = spec.OnnxWeightsDescr(source=place / WITH_ALL, opset_version=OPSET, parent=ORIGINAL)
    if len(names) == 1:
        bundle(place / BUNDLE, network)
        found["tensorflow_saved_model_bundle"] = spec.TensorflowSavedModelBundleWeightsDescr(
            source=place / BUNDLE, tensorflow_version=spec.Version(TENSORFLOW), parent=ORIGINAL
        )
    return spec.WeightsDescr(**found)


def _attached(place: Path, model: Portable, title: str, source: Path) -> list[Path]:
    """The model folder as far as training goes on from it, and the plain network for programs with OpenCV.

    The model has its title there, by which what starts from it calls it, however the package is called.
    """
    description = json.loads((source / DESCRIPTION).read_text(encoding="utf-8"))
    found = [Path(shutil.copy(source / name, place / name)) for name in description["sha256"]]
    known = description.get(ABOUT) or {}
    write_json(place / DESCRIPTION, {**description, ABOUT: {"title": title} | known})
    found.append(place / DESCRIPTION)
    if (source / SPLIT).is_file():
        split = read_split(source / SPLIT)  # names of files and groups may be those of patients
        hidden = split.assign(file=[f"image {i + 1}" for i in range(len(split))], group="")
        write_csv(place / SPLIT, hidden)
        found.append(place / SPLIT)
    if model.size:  # QuPath takes no classifiers of crops
        return found
    with suppress(ModelError):  # networks of others have layers that OpenCV does not run
        write_onnx(place / PLAIN, model.network, model.outputs)
        found.append(place / PLAIN)
    return found


def _config(model: Portable, source: Path) -> spec.Config:
    tolerances = [
        spec.ReproducibilityTolerance(
            absolute_tolerance=LIMIT, relative_tolerance=LIMIT, mismatched_elements_per_million=0
        )
    ]
    if zoo_text.MASK in zoo_text.outputs(model):  # the first that fits is taken
        few = {"mismatched_elements_per_million": AT_THRESHOLD, "output_ids": [spec.TensorId(zoo_text.MASK)]}
        tolerances.insert(0, spec.ReproducibilityTolerance(absolute_tolerance=0, relative_tolerance=0, **few))
    more = {"deepimagej": {"pyramidal_model": False, "allow_tiling": tileable(model)}}
    if model.description["task"] == "stardist":
        thresholds = json.loads((source / "thresholds.json").read_text(encoding="utf-8"))
        config = dict(model.description["network"])
        version = importlib.metadata.version("stardist")
        more["stardist"] = {"python_version": version, "thresholds": thresholds, "config": config}
    return spec.Config(bioimageio=spec.BioimageioConfig(reproducibility_tolerance=tolerances), **more)


def _cover(image: np.ndarray, answer: np.ndarray, inverse: bool) -> np.ndarray:
    """Picture (Y, 2 X, 3), uint8: an image beside the probability in the first channel, or 1 - it; a crop alone."""
    picture = result_image(image)
    if answer.ndim == 3:
        found = np.repeat(answer[..., :1], 3, axis=-1)
        picture = np.concatenate([picture, 1 - found if inverse else found], axis=1)
    return np.round(255 * np.clip(picture, 0, 1)).astype(np.uint8)


def expected(model: Portable, array: np.ndarray) -> dict[str, np.ndarray]:
    """What each format must answer for an image (Y, X, C) as read: the outputs of `zoo_text.outputs` by name."""
    answers, outputs = list(model.answer(array).values()), zoo_text.outputs(model)
    if model.description["task"] == "stardist":
        grid = model.description["network"]["grid"]
        both = whole(model, [tf.constant(one[np.newaxis]) for one in answers]).numpy()[0]
        kinds = [np.kron(one, np.ones((*grid, 1), np.float32)) for one in answers[2:]]
        answers = [both[..., :1], both[..., 1:], *kinds] if kinds else [both]
    elif zoo_text.MASK in outputs:
        answers.append((answers[0][..., 1:2] > outputs[zoo_text.MASK].threshold).astype(np.uint8))
    return dict(zip(outputs, answers, strict=True))


def _apart(model: Portable, given: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray]) -> float:
    """Largest difference of an answer to the one wanted; a mask counts where rounding cannot decide."""
    masks = {name: one.threshold for name, one in zoo_text.outputs(model).items() if one.threshold is not None}
    found = [difference(given[name], values) for name, values in wanted.items() if name not in masks]
    for name, threshold in masks.items():
        sure = np.abs(wanted[zoo_text.OUTPUT][..., 1:2] - threshold) > LIMIT
        found.append(float(np.any((given[name] != wanted[name]) & sure)))
    return float(np.max(found))


def export(
    folder: Path, model: Portable, about: Mapping[str, str], images: Sequence[np.ndarray], source: Path
) -> float:
    """Write the package, read it back and return the largest difference to the notebook's answer, see `write`.

    `images` may be of any size.
    """
    images = [sized(one, model) for one in images]
    try:
        write(folder, model, about, images[0], source)
    except ValidationError as error:
        told = "; ".join(f"{one['loc']}: {one['msg']}" for one in error.errors()[:3])
        raise ModelError(f"The model cannot be described as a package of the BioImage Model Zoo: {told}") from error
    differences = []
    with _without_traces():
        answer = read(folder)
        for image in images:
            wanted = expected(model, image)
            differences += [_apart(model, given, wanted) for given in answer(image).values()]
            if tileable(model):  # as parts of a larger image, of which the border does not count
                y, x = sides(model).halo
                inner = slice(y, image.shape[0] - y), slice(x, image.shape[1] - x)
                wanted = {name: one[inner] for name, one in wanted.items()}
                for given in answer(image, as_tile=True).values():
                    differences.append(_apart(model, {name: one[inner] for name, one in given.items()}, wanted))
    return float(np.max(differences))


@contextmanager
def _without_traces() -> Iterator[None]:
    """Let bioimageio.core change nothing for long.

    It leaves weights in the working directory, and switches oneDNN off for every process that is begun afterwards.
    """
    kept, environment = tensorflow_backend.ensure_unzipped, dict(os.environ)
    with tempfile.TemporaryDirectory() as place:
        tensorflow_backend.ensure_unzipped = lambda source, _: kept(source, Path(place, uuid.uuid4().hex))
        try:
            yield
        finally:
            tensorflow_backend.ensure_unzipped = kept
            for name in os.environ.keys() - environment.keys():  # never emptied: other threads may read it
                del os.environ[name]
            os.environ.update(environment)


def how(model: Portable) -> list[str]:
    """How to use it, a paragraph each."""
    told = [
        "The zip file is a package of the BioImage Model Zoo. In Fiji with the update site DeepImageJ: *Plugins > "
        "DeepImageJ > DeepImageJ Install Model*, then *DeepImageJ Run*. In Python: `bioimageio predict` of "
        "bioimageio.core with its name. To publish it, upload it at https://bioimage.io, which asks for authors and "
        "a licence: write them into *Authors* and *Licence* (section 7, under Advanced) and export again.",
        "In these notebooks the zip file is a model to go on from, in the field *Starting model*.",
    ]
    return [*told, *([_tiles(model)] if not model.size else [])]


def read(folder: Path) -> Callable[..., dict[str, dict[str, np.ndarray]]]:
    """What bioimageio.core answers: an image (Y, X, C) as read -> the outputs of each format, by their names.

    With `as_tile` the image is mirrored beyond its border by the halo, which is cut off from the answer, as it is done
    with parts of a larger one.

    ModelError where the package does not pass its own test.
    """
    (file,) = folder.glob("*.zip")
    description = load_model_description(file)
    with redirect_stdout(io.StringIO()):  # Keras would draw a bar for each image
        summary = test_model(description)
    if summary.status != "passed":
        reasons = "; ".join(error.msg for detail in summary.details for error in detail.errors)
        raise ModelError(f"The package does not pass the test of the BioImage Model Zoo: {reasons[:600]}")
    formats = [name for name, entry in description.weights if entry is not None]
    pipelines = {one: create_prediction_pipeline(description, weight_format=one) for one in formats}

    def answer(image: np.ndarray, as_tile: bool = False) -> dict[str, dict[str, np.ndarray]]:
        found, alone = {}, {"skip_input_padding": not as_tile, "skip_output_cropping": not as_tile}
        for one, pipeline in pipelines.items():
            sample = create_sample_for_model(model=description, inputs={INPUT: image[np.newaxis]})
            with redirect_stdout(io.StringIO()):
                result = pipeline.predict_sample_without_blocking(sample, **alone)
            found[one] = {str(name): values.data.to_numpy()[0] for name, values in result.members.items()}
        return found

    return answer
