"""Whole slides: outlines there and back, memory and CPU time from small to large slides, two workers beside one.

    python -m tests.benchmarks.slides [--only outlines|sizes|workers] [--sides 8000 40000] [--half] [--colour]

outlines: GeoJSON -> mask -> GeoJSON -> mask, IoU of each class with the drawing, at downsample 1, 4 and 16 (to reach:
0.98). sizes: slides of 0.25 um per pixel, JPEG, 55 % of them tissue, measured at 0.5 um as section 6 does, each in a
process of its own: peak memory beyond the imported libraries (to reach: 700 MB, growing by 10 % at most), CPU time per
mm2 of tissue (constant to 10 %), and the share of it that the network alone takes (60 %). workers: the tiles of the
smallest slide by one and by two dask workers, each held to one core (to reach: 1.6 times as fast): wall time, which on
a busy machine says little, and CPU-seconds of the one worker by those of the busier of two. An untrained network costs
what a trained one does.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from tests.benchmarks.measure import peak_megabytes
from utils.runtime import load_tensorflow

TILE, UNIT, UM = 256, 8192, 0.25  # pixels of a tile; of the side of the picture that is repeated; um per pixel
STEPS = (1, 4, 16)  # how much smaller the levels are
CLASSES = 4


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["outlines", "sizes", "workers"])
    parser.add_argument("--sides", type=int, nargs="+", default=[8000, 40000])
    parser.add_argument(
        "--half", action="store_true", help="the network that the page trains on a CPU: at half resolution"
    )
    parser.add_argument("--colour", action="store_true", help="the threshold on the stain, no network")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--step", choices=STEPS_OF_A_SIZE, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step:
        print(json.dumps(STEPS_OF_A_SIZE[given.step](given)))
        return
    if given.only in (None, "outlines"):
        outlines()
    if given.only in (None, "sizes"):
        sizes(given)
    if given.only in (None, "workers"):
        workers(given)


def outlines() -> None:
    """A drawing of blobs with holes, some in several parts, later ones over earlier ones, there and back."""
    from utils.images.annotations import class_mask, read_annotations
    from utils.images.geojson import write_geojson

    names = ["Tissue", "Fibrosis", "Vessel"]
    ids = {name: i + 1 for i, name in enumerate(names)}
    with tempfile.TemporaryDirectory() as folder:
        path, back = Path(folder, "drawn.geojson"), Path(folder, "back.geojson")
        for seed in range(3):
            size = 8192
            write_geojson(path, drawing(seed, size, names))
            drawn = read_annotations(path)
            for step in (1, 4, 16):
                shape = (size // step,) * 2
                once = class_mask(drawn, ids, shape, step)
                write_geojson(back, outlined(once, ids, step, Path(folder, f"{seed}_{step}")))
                fine = 2  # pixels of the drawing: both are compared there
                whole = [class_mask(one, ids, (size // fine,) * 2, fine) for one in (drawn, read_annotations(back))]
                overlap = [np.mean([(one == i) for one in whole], axis=0) for i in ids.values()]
                iou = [float((one == 1).sum() / (one > 0).sum()) for one in overlap]
                told = ", ".join(f"{name} {value:.4f}" for name, value in zip(names, iou, strict=True))
                print(f"seed {seed}, downsample {step:2}: {told}", flush=True)


def outlined(mask: np.ndarray, ids: dict[str, int], step: int, folder: Path) -> list[dict]:
    """Annotations of a class map, as section 6 writes them; `step` are full pixels per pixel of it."""
    import shapely

    from utils.images.geojson import ANNOTATION, feature
    from utils.tasks.slides.outlines import class_outline
    from utils.tasks.slides.tiles import Grid, TileStore

    store = TileStore(folder, Grid(mask.shape, len(mask)), 1)
    store.put(0, mask, [0])
    found = {name: class_outline(store, number) for name, number in ids.items()}
    full = {name: shapely.transform(one, lambda points: points * step) for name, one in found.items()}
    return [feature(one, ANNOTATION, name, name, (1, 0, 0)) for name, one in full.items()]


def drawing(seed: int, size: int, names: list[str]) -> list[dict]:
    """Areas as a person draws them: of each class MultiPolygons with holes, those of the next class over them."""
    import shapely

    from utils.images.geojson import ANNOTATION, feature

    rng = np.random.default_rng(seed)

    def blob(radius: float, x: float, y: float) -> shapely.Polygon:
        angles = np.linspace(0, 2 * np.pi, 240, endpoint=False)
        waves = sum(rng.normal(0, 0.15 / k) * np.cos(k * angles + rng.uniform(0, 6.3)) for k in range(1, 9))
        points = np.stack([np.cos(angles), np.sin(angles)], axis=1) * (radius * np.clip(1 + waves, 0.3, 2))[:, None]
        return shapely.make_valid(shapely.Polygon(points + (x, y)))

    drawn = []
    for number, name in enumerate(names):
        for one in range(6):
            parts = []
            for _ in range(3):
                x, y = rng.uniform(0.15 * size, 0.85 * size, 2)
                radius = size * rng.uniform(0.05, 0.09) / (1 + 0.3 * number)
                parts.append(blob(radius, x, y).difference(blob(0.4 * radius, x, y)))
            drawn.append(feature(shapely.union_all(parts), ANNOTATION, f"{name} {one}", name, (1, 0, 0)))
    return drawn


def sizes(given: argparse.Namespace) -> None:
    """Print a row for each size."""
    rows = []
    for side in given.sides:
        with tempfile.TemporaryDirectory() as folder:
            steps = [_step(step, folder, side, given) for step in ("prepare", "measure")]
        rows.append(steps[1])
        print(json.dumps({"side": side, **steps[1]}), flush=True)
    for name in ("tiles: peak beyond libraries, MB", "all: peak beyond libraries, MB", "CPU-s per mm2 of tissue"):
        print(f"{name}: {100 * (rows[-1][name] / rows[0][name] - 1):+.1f} % from the first to the last")


def _step(step: str, folder: str, side: int, given: argparse.Namespace) -> dict:
    """A step of one size, in a process of its own: a child's peak includes its parent's."""
    command = [sys.executable, "-m", "tests.benchmarks.slides", "--step", step, "--folder", folder]
    command += ["--sides", str(side), *(["--half"] if given.half else []), *(["--colour"] if given.colour else [])]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def prepare(given: argparse.Namespace) -> dict:
    """Write a slide, and an untrained model that knows what its pieces look like."""
    load_tensorflow()
    import pandas as pd

    from tests.conftest import model_description, untrained_network
    from utils.tasks.slides.compute import Network
    from utils.tasks.slides.task import load_slide_model
    from utils.tasks.slides.unlike import learn
    from utils.training.model_folder import save_model

    model = given.folder / "model"
    depth = {"filters": 16, "pooling_steps": 3 if given.half else 2, "half_resolution": given.half}
    description = model_description(channels=3, values=tuple(range(CLASSES)), pixel_size_um=0.5, **depth)
    together = {"kind": "percentile", "low": 0, "high": 100, "per": "training set", "channels": "joint"}
    description["normalisation"] = {**together, "range": [[0.0] * 3, [255.0] * 3]}
    network = untrained_network(description)
    fit_last_layer(network)
    history = pd.DataFrame({"epoch": [1], "loss": [1.0], "val_loss": [1.0], "learning_rate": [1e-3]})
    save_model(model, network, description, history)
    looks = np.random.default_rng(0).normal(size=(40, Network(load_slide_model(model), model).n_features))
    learn(looks, [f"P{i % 5}" for i in range(40)]).save(model)
    write_slide(given.folder / "slide.tif", given.sides[0])
    return {"bytes": (given.folder / "slide.tif").stat().st_size}


def fit_last_layer(network) -> None:
    """Least squares from the random features to the classes: a map of areas, not of specks, for the outlines' sake."""
    import keras

    rgb, classes = picture()
    n = UNIT // 2
    seen = rgb.reshape(n, 2, n, 2, 3).mean(axis=(1, 3), dtype=np.float32)[: n // 2, : n // 2]
    truth = np.kron(classes, np.ones((2, 2), np.uint8))[: n // 2, : n // 2].ravel()
    last = network.get_layer("logits")
    found = keras.Model(network.input, last.input).predict(seen[np.newaxis] / 255, verbose=0)[0]
    found = np.pad(found.reshape(len(truth), -1), ((0, 0), (0, 1)), constant_values=1)
    weights = np.linalg.lstsq(found, 10.0 * np.eye(CLASSES, dtype=np.float32)[truth], rcond=None)[0]
    last.set_weights([weights[:-1].reshape(last.kernel.shape), weights[-1]])


def write_slide(path: Path, side: int) -> None:
    """Write a pyramid of JPEG tiles in which one picture of UNIT pixels is repeated: encoded once, quick to write."""
    import tifffile

    unit, _ = picture()
    form = {"photometric": "rgb", "compression": "jpeg", "resolutionunit": "CENTIMETER", "metadata": None}
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for step in STEPS:
            small = unit[::step, ::step]
            options = {"resolution": (1e4 / UM / step,) * 2, "subfiletype": int(step > 1), **form}
            shape = (side // step, side // step, 3)
            file.write(encoded(small, shape), shape=shape, dtype=np.uint8, tile=(TILE, TILE), **options)


def encoded(unit: np.ndarray, shape: tuple[int, ...]):
    """Bytes of each tile of a picture in which `unit` is repeated."""
    import imagecodecs

    n = len(unit) // TILE
    parts = unit.reshape(n, TILE, n, TILE, 3).swapaxes(1, 2)
    known = [[imagecodecs.jpeg8_encode(np.ascontiguousarray(one), level=80) for one in row] for row in parts]
    rows, columns = (-(-length // TILE) for length in shape[:2])
    for row in range(rows):
        for column in range(columns):
            yield known[row % n][column % n]


def picture() -> tuple[np.ndarray, np.ndarray]:
    """A disc of tissue on glass, 55 % of the area: colours (UNIT, UNIT, 3) uint8, and what is what at a quarter of it.

    Classes: glass, tissue with nuclei, fibrous bands, vessels.
    """
    from scipy.ndimage import gaussian_filter, zoom

    rng = np.random.default_rng(0)
    n = UNIT // 4
    noise = [gaussian_filter(rng.normal(size=(n, n)), sigma, mode="wrap") for sigma in (1.5, 40, 30)]
    fine, bands, holes = (one / one.std() for one in noise)
    y, x = (np.indices((n, n), np.float32) - n / 2) / n
    classes = np.where(np.abs(bands) < 0.12, 2, 1)
    classes[holes > 2.2] = 3
    classes[np.hypot(x, y) > np.sqrt(0.55 / np.pi)] = 0
    colours = np.array([(245, 245, 245), (214, 140, 186), (236, 176, 208), (240, 226, 232)], np.float32)[classes]
    colours[(fine > 1.4) & (classes == 1)] = (100, 70, 150)
    colours += np.where(classes > 0, 6 * fine, 0)[..., None]
    large = np.stack([zoom(one, 4, order=1) for one in np.moveaxis(colours, -1, 0)], axis=-1)
    noise = rng.normal(0, 3, large.shape[:2]).astype(np.float32)[..., None]
    return np.clip(large + noise, 0, 255).astype(np.uint8), classes.astype(np.uint8)


def order_of(given: argparse.Namespace):
    """What section 6 measures."""
    from utils.images.stains import PICROSIRIUS_RED
    from utils.tasks.slides.compute import Colour, FromModel, FromStain
    from utils.tasks.slides.measure import Share
    from utils.tasks.slides.results import Order
    from utils.tasks.slides.task import load_slide_model

    if given.colour:
        names, source = Colour.names, FromStain(PICROSIRIUS_RED)
    else:
        names, source = [f"class {i}" for i in range(CLASSES)], FromModel(load_slide_model, given.folder / "model")
    classes = [{"id": i, "name": name} for i, name in enumerate(names)]
    return Order(source, Share(str(names[2]), (2,), (1, 2)), classes, 0.5)


def measure(given: argparse.Namespace) -> dict:
    """Measure the slide as section 6 does; peaks and CPU-seconds, and what of these the network takes by itself."""
    load_tensorflow()
    from utils.images.slides import open_slide
    from utils.tasks.slides import results
    from utils.tasks.slides.cohort import Member

    order, member = order_of(given), Member(open_slide(given.folder / "slide.tif"), "P")
    counted = None if given.colour else watched(order.source)
    libraries, done = peak_megabytes(), {}
    original = results.compute_slide

    def computed(*values):
        start = time.process_time()
        answer = original(*values)
        done.update(peak=peak_megabytes(), seconds=time.process_time() - start)
        return answer

    results.compute_slide = computed
    start, wall = time.process_time(), time.monotonic()
    found = results.measure_cohort([member], order, given.folder / "results").slides
    seconds, wall = time.process_time() - start, time.monotonic() - wall
    area = float(found.filter(like="[mm2]").sum(axis=1).iloc[0])
    return {
        "mm2 of tissue": round(area, 2),
        "tiles": int(found["tiles"].iloc[0]),
        "libraries, MB": round(libraries),
        "tiles: peak beyond libraries, MB": round(done["peak"] - libraries),
        "all: peak beyond libraries, MB": round(peak_megabytes() - libraries),
        "CPU-s per mm2 of tissue": round(seconds / area, 3),
        "of these tiles": round(done["seconds"] / area, 3),
        "wall seconds": round(wall, 1),
        "network, % of CPU": round(100 * counted() / seconds, 1) if counted else 0,
    }


def watched(source):
    """Returns a function that says how many CPU-seconds the network has taken so far.

    These are of the thread that calls it while it does, and of all threads that TensorFlow, not Python, has started.
    """
    import psutil

    from utils.tasks.slides.compute import _engine

    engine = _engine(source)
    original, own = engine._classify, [0.0]

    def call(given):
        start = time.thread_time()
        answer = original(given)
        own[0] += time.thread_time() - start
        return answer

    def seconds() -> float:
        python = {one.native_id for one in threading.enumerate()}
        threads = (one for one in psutil.Process().threads() if one.id not in python)
        return own[0] + sum(one.user_time + one.system_time for one in threads)

    engine._classify = call
    before = seconds()
    return lambda: seconds() - before


def workers(given: argparse.Namespace) -> None:
    """Tiles of the smallest slide by one and by two workers."""
    with tempfile.TemporaryDirectory() as folder:
        _step("prepare", folder, given.sides[0], given)
        for _ in range(given.repeats):
            print(json.dumps(_step("compare", folder, given.sides[0], given)), flush=True)


def compare(given: argparse.Namespace) -> dict:
    """Seconds that one worker and two take for the same tiles, each on a core of its own, and their CPU-seconds."""
    load_tensorflow()
    from utils.images.slides import open_slide
    from utils.images.tissue import find_tissue
    from utils.tasks.slides.cluster import LOCAL, all_answers, connected
    from utils.tasks.slides.cohort import Member

    member = Member(open_slide(given.folder / "slide.tif"), "P")
    job = order_of(given).job(member, find_tissue(member.slide))
    numbers = [number for number in range(len(job.grid)) if job.tissue_of(number).any()]
    wall, cpu = [], []
    for n in (1, 2):
        with connected(LOCAL, n) as client:
            for core, address in enumerate(client.scheduler_info()["workers"]):
                client.run(os.sched_setaffinity, 0, {core}, workers=[address])
            for _ in range(2):  # the first time each loads its libraries and the model
                list(all_answers(job, numbers[: 8 * n], client))
            before = client.run(time.process_time)
            start = time.monotonic()
            assert len(list(all_answers(job, numbers * 2, client))) == 2 * len(numbers)
            wall.append(time.monotonic() - start)
            cpu.append([one - before[who] for who, one in client.run(time.process_time).items()])
    return {
        "tiles": 2 * len(numbers),
        "seconds": [round(one, 1) for one in wall],
        "times as fast": round(wall[0] / wall[1], 2),
        "CPU-seconds of each worker": [[round(one, 1) for one in each] for each in cpu],
        "times as fast by CPU-seconds": round(max(cpu[0]) / max(cpu[1]), 2),
        "load of the machine": os.getloadavg()[0],
    }


STEPS_OF_A_SIZE = {"prepare": prepare, "measure": measure, "compare": compare}

if __name__ == "__main__":
    main()
