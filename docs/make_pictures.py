"""Make the pictures of the README from the models of `make run`: python docs/make_pictures.py.

That of the learning curve is from `make run NOTEBOOK=fine_tuning FULL=1`, those of the walk are screenshots of
`python -m pytest -m slow tests/browser/test_walk.py`.
"""

import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.image import imread
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from utils.fine_tuning.curve import FILE, laws_of  # noqa: E402
from utils.fine_tuning.page import curve_figure  # noqa: E402
from utils.images.image import read_image, read_mask  # noqa: E402
from utils.pages.figures import add_picture, picture_grid, png  # noqa: E402
from utils.pages.pictures import display_image, overlay  # noqa: E402
from utils.tasks.held_out import find_test_set  # noqa: E402
from utils.tasks.objects.figures import object_errors  # noqa: E402
from utils.tasks.pixels.figures import error_map  # noqa: E402
from utils.tasks.registry import STARDIST, UNET  # noqa: E402

DOCS = ROOT / "docs"
NUCLEI = ROOT / "data_samples" / "nuclei_real" / "train"


def result(folder: Path) -> None:
    """Image, annotation, prediction and errors of one test image of the real nuclei."""
    segmenter, example = UNET.load(folder), find_test_set(UNET, folder).examples[1]
    predicted = segmenter.class_ids(example.image.array)
    figure = error_map(example.image.array, example.mask, predicted, segmenter.classes)
    (DOCS / "result.png").write_bytes(png(figure, dpi=80))


def objects(folder: Path) -> None:
    """Annotated and predicted objects of one test image of the synthetic nuclei."""
    segmenter, example = STARDIST.load(folder), find_test_set(STARDIST, folder).examples[4]
    labels = segmenter.find(example.image.array).labels
    figure = object_errors(example.image.array, example.mask, labels, example.image.pixel_size_um)
    (DOCS / "objects.png").write_bytes(png(figure, dpi=60))


def curve(folder: Path) -> None:
    """Learning curve of the fine-tuning notebook."""
    table = pd.read_csv(folder / FILE)
    laws, unit = laws_of(table), "labelled images of each class"
    (DOCS / "curve.png").write_bytes(png(curve_figure(table, laws, None, "Balanced accuracy", unit, 0.9), dpi=70))


def masks() -> None:
    """One right mask as class values and as objects, and three wrong ones."""
    image, labels = read_image(NUCLEI / "images" / "nuclei_r0_c0.tif"), read_mask(NUCLEI / "masks" / "nuclei_r0_c0.tif")
    binary = (labels > 0).astype(np.uint8)
    classes = [{"id": 0, "name": "background", "value": 0}, {"id": 1, "name": "nucleus", "value": 1}]
    panels = {
        "image": display_image(image.array),
        "right: 0 and 255": _grey(binary),
        "right: a number per object": _grey(np.where(labels > 0, 0.3 + 0.7 * labels / labels.max(), 0)),
        "wrong: picture with\noutlines": overlay(image.array, binary, classes),
        "wrong: JPEG, smeared\nvalues": _grey(_jpeg(binary)),
        "wrong: shifted": _grey(np.roll(binary, (12, 9), (0, 1))),
    }
    figure, axes = picture_grid(1, len(panels), (1.9, 1.9))
    for axis, (title, picture) in zip(axes[0], panels.items(), strict=True):
        add_picture(axis, picture, title)
    (DOCS / "masks.png").write_bytes(png(figure, dpi=80))


def _jpeg(binary: np.ndarray) -> np.ndarray:
    """The mask after a JPEG file, brightness raised so that the smeared values are seen."""
    stream = BytesIO()
    Image.fromarray(255 * binary).save(stream, "JPEG", quality=10)
    return (np.asarray(Image.open(stream)) / 255) ** 0.4


def _grey(plane: np.ndarray) -> np.ndarray:
    return np.repeat(plane[..., np.newaxis].astype(float), 3, axis=-1)


def walk() -> None:
    """Screenshots of the walk with fewer colours, which makes them small."""
    for path in sorted((ROOT / "results" / "screenshots").glob("walk_*.png")):
        picture = Image.open(path).convert("RGB")
        if path.stem == "walk_result":  # the table is wider than the page: its pictures
            picture = picture.crop((0, picture.height - 352, picture.width, picture.height))
        picture.quantize(128).save(DOCS / path.name, optimize=True)


if __name__ == "__main__":
    walk()
    result(ROOT / "results" / "unet_segmentation" / "model")
    objects(ROOT / "results" / "stardist_segmentation" / "model")
    curve(ROOT / "results" / "fine_tuning" / "model")
    masks()
    print({path.name: imread(path).shape for path in DOCS.glob("*.png")})
