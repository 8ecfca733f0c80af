"""How alike exported networks answer in other programs: small trained ones of every kind, in each release of OpenCV.

    python -m tests.benchmarks.exports [--opencv FOLDER ...] [--steps 60] [--only crops|pixels|objects]

Each network learns for some seconds to tell dim and bright discs; then a row is printed: the largest difference of its
outputs to Keras, each as a share of the largest value where that is above 1, in onnxruntime and in OpenCV with its
default settings, and for StarDist whether the label images after suppression of overlaps are the same. FOLDER holds an
OpenCV, as `pip install --target FOLDER opencv-python-headless==4.10.0.84` makes it (QuPath 0.6: 4.10, 0.7: 4.11, 0.8:
4.13); without one the OpenCV that is installed is asked.
"""

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from utils.runtime import load_tensorflow

SIDE = 128
ASK = """
import sys, cv2, numpy as np
with np.load(sys.argv[2]) as file:
    image = file["image"]
network = cv2.dnn.readNetFromONNX(sys.argv[1])
names = network.getUnconnectedOutLayersNames()
network.setInput(image)
np.savez(sys.argv[3], **dict(zip(names, network.forward(names))))
print(cv2.__version__)
"""


def discs(rng, channels: int, n: int):
    """Images (n, Y, X, channels) of dim and bright discs, labels (n, Y, X), and the class of each label: 1 or 2."""
    import numpy as np

    images = rng.normal(0.1, 0.05, (n, SIDE, SIDE, channels)).astype(np.float32)
    labels, classes = np.zeros((n, SIDE, SIDE), np.int32), []
    y, x = np.mgrid[:SIDE, :SIDE]
    for image, label in zip(images, labels, strict=True):
        classes.append({})
        for number in range(1, 13):
            centre, radius, kind = rng.uniform(8, SIDE - 8, 2), rng.uniform(5, 9), int(rng.integers(1, 3))
            inside = (y - centre[0]) ** 2 + (x - centre[1]) ** 2 < radius**2
            label[inside & (label == 0)] = number
            image[label == number] += 0.4 * kind
            classes[-1][number] = kind
    return images, labels, classes


def pixels(rng, steps: int):
    """Name and trained network of each kind of U-Net."""
    import numpy as np

    from utils.training.networks import unet

    for channels, classes, half in itertools.product((1, 3), (2, 3), (False, True)):
        images, labels, kinds = discs(rng, channels, 24)
        wanted = np.stack(
            [np.take([0, *(one[i] for i in sorted(one))], a) for a, one in zip(labels, kinds, strict=True)]
        )
        network = unet(channels, classes, filters=8, half_resolution=half)
        network.compile("adam", "sparse_categorical_crossentropy")
        network.fit(images, np.minimum(wanted, classes - 1), 4, epochs=max(1, steps // 6), verbose=0)
        yield f"U-Net, {channels} channel(s), {classes} classes, half resolution {half}", network, ["out"], None


def crops(rng, steps: int):
    """Name and trained network of each kind of classifier."""
    import numpy as np

    from utils.training.networks import classifier

    for channels in (1, 3):
        kinds = rng.integers(0, 2, 64)
        images = rng.normal(0.2, 0.1, (64, 32, 32, channels)).astype(np.float32)
        images[:, 8:24, 8:24] += 0.4 * kinds[:, None, None, None]
        network = classifier(channels, 2, filters=8, levels=3)
        network.compile("adam", "sparse_categorical_crossentropy")
        network.fit(images, kinds, 16, epochs=max(1, steps // 4), verbose=0)
        yield f"classifier, {channels} channel(s)", network, ["out"], (32, 32)


def objects(rng, steps: int):
    """Name and trained network of each kind of StarDist, and the StarDist model."""
    import keras
    from stardist.models import StarDistData2D

    from utils.tasks.objects.network import build

    for grid, channels, n_classes in itertools.product((1, 2), (1, 3), (None, 2)):
        images, labels, kinds = discs(rng, channels, 24)
        settings = {"n_rays": 32, "grid": (grid, grid), "n_channel_in": channels, "n_classes": n_classes, "axes": "YXC"}
        model = build({**settings, "unet_n_filter_base": 8, "unet_n_depth": 2, "net_conv_after_unet": 32})
        model.prepare_for_training(optimizer=keras.optimizers.Adam(2e-3))
        given = {"n_classes": n_classes, "classes": kinds} if n_classes else {}
        sizes = {"batch_size": 4, "n_rays": 32, "length": steps, "patch_size": (64, 64), "grid": (grid, grid)}
        data = StarDistData2D(list(images), list(labels), use_gpu=False, **sizes, **given)
        for number in range(steps):
            model.keras_model.train_on_batch(*data[number])
        names = ["prob", "dist", "prob_class"][: len(model.keras_model.outputs)]
        name = f"StarDist, grid {grid}, {channels} channel(s), {n_classes or 1} class(es)"
        yield name, model.keras_model, names, model


def answers(folder: Path, image, opencv: list[Path]) -> dict:
    """What each program answers, {name: (batch, C, Y, X) or (batch, C)} by program."""
    import numpy as np
    import onnxruntime

    network, given = folder / "model.onnx", np.ascontiguousarray(np.moveaxis(image, -1, 0)[np.newaxis])
    session = onnxruntime.InferenceSession(str(network))
    names = [one.name for one in session.get_outputs()]
    found = {"onnxruntime": dict(zip(names, session.run(names, {"image": given}), strict=True))}
    np.savez(folder / "image.npz", image=given)
    for place in opencv or [None]:
        environment = os.environ | ({"PYTHONPATH": str(place)} if place else {})
        command = [sys.executable, "-c", ASK, str(network), str(folder / "image.npz"), str(folder / "found.npz")]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        with np.load(folder / "found.npz") as file:
            found[f"OpenCV {done.stdout.strip()}"] = dict(file)
    return found


def row(name: str, network, names: list[str], more, image, opencv: list[Path]) -> tuple[str, list[str]]:
    """Line of the table for one network, and what the columns are called."""
    import numpy as np

    from utils.exchange.onnx_file import write_onnx

    stardist = hasattr(more, "keras_model")
    with tempfile.TemporaryDirectory() as folder:
        write_onnx(Path(folder) / "model.onnx", network, names, None if stardist else more)
        found = answers(Path(folder), image, opencv)
    outputs = network([image[np.newaxis]] if stardist else image[np.newaxis], training=False)
    wanted = dict(zip(names, outputs if isinstance(outputs, list | tuple) else [outputs], strict=True))
    told = []
    for given in found.values():
        off = [_off(np.moveaxis(given[key], 1, -1), np.asarray(one)) for key, one in wanted.items()]
        same = f", {_labels(more, given, wanted, image)}" if stardist else ""
        told.append(f"{max(off):.1e}{same}")
    return f"| {name} | {' | '.join(told)} |", list(found)


def _off(given, wanted) -> float:
    return float(abs(given - wanted).max() / max(1, abs(wanted).max()))


def _labels(model, given: dict, wanted: dict, image) -> str:
    """Whether another program's outputs give the same label image; and of how many objects."""
    import numpy as np

    both, threshold = [], float(np.quantile(np.asarray(wanted["prob"]), 0.9))  # a tenth of all pixels may be objects
    for one in (wanted, {key: np.moveaxis(value, 1, -1) for key, value in given.items()}):
        maps = np.asarray(one["prob"])[0, ..., 0], np.maximum(1e-3, np.asarray(one["dist"])[0])
        labels, _ = model._instances_from_prediction(image.shape[:2], *maps, prob_thresh=threshold, nms_thresh=0.4)
        both.append(labels)
    return f"{both[0].max()} objects {'the same' if np.array_equal(*both) else 'DIFFER'}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--opencv", nargs="*", type=Path, default=[], help="folders, each with a release of OpenCV")
    parser.add_argument("--steps", type=int, default=60, help="of the training of each network")
    parser.add_argument("--only", choices=("crops", "pixels", "objects"), help="one kind; default: all")
    arguments = parser.parse_args()
    load_tensorflow()
    import keras
    import numpy as np

    keras.utils.set_random_seed(0)
    rng, first = np.random.default_rng(0), True
    for kind in [globals()[arguments.only]] if arguments.only else (crops, pixels, objects):
        for name, network, names, more in kind(rng, arguments.steps):
            side = more[0] if isinstance(more, tuple) else SIDE
            image = discs(rng, network.inputs[0].shape[-1], 1)[0][0][:side, :side]
            line, programs = row(name, network, names, more, image, arguments.opencv)
            if first:
                print(f"| network | {' | '.join(programs)} |\n|{'---|' * (len(programs) + 1)}", flush=True)
            print(line, flush=True)
            first = False


if __name__ == "__main__":
    main()
