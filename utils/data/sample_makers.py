"""The files of the bundled samples: cut from real images of the stardist package, or drawn by the seeded generators."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from data_samples.generate import MAKERS as DRAWN
from utils.errors import DataError
from utils.images.writing import write_tiff
from utils.paths import resolve
from utils.samples import all_samples, folders_of, sample_with

CROP = 128  # side in pixels of the 4 x 4 crops of the real nuclei image
TEST_ROW = 3


def make(name: str, folder: Path, part: Path) -> None:
    """Write a sample (key of `DRAWN` or `CUT`) to `folder`, or the `part` of it that is missing.

    `part` is a folder inside, ``Path(".")`` for the whole sample; the other files are left as they are. No file is seen
    before all of them are there. DataError where the folder cannot be written to.
    """
    print(f"Making the images of the sample {name} (once) ...", flush=True)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{name}.", dir=folder.parent) as unfinished:
            made = Path(unfinished) / name
            (DRAWN | CUT)[name](made)
            _move(made / part, folder / part)
    except OSError as error:
        raise DataError(
            f"The sample {name} cannot be written to {folder} ({error.strerror or error}). Free some space, or copy "
            "the project to a folder that you may write to."
        ) from error


def _move(made: Path, folder: Path) -> None:
    """Put a finished folder into its place, unless another page was quicker."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        made.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise


def _cut_nuclei(folder: Path) -> None:
    """Crops of the real image of nuclei and its labels: three rows for training, the last one for testing.

    Source: Caicedo et al. (2019) Nucleus segmentation across imaging experiments: the 2018 Data Science Bowl,
    doi:10.1038/s41592-019-0612-7.
    """
    from stardist.data import test_image_nuclei_2d  # slow to import, and needed only where a sample is missing

    image, labels = test_image_nuclei_2d(return_mask=True)
    for row in range(len(image) // CROP):
        part = folder / ("test" if row == TEST_ROW else "train")
        for column in range(image.shape[1] // CROP):
            crop = slice(row * CROP, (row + 1) * CROP), slice(column * CROP, (column + 1) * CROP)
            for kind, array in (("images", image), ("masks", labels.astype("uint16"))):
                write_tiff(part / kind / f"nuclei_r{row}_c{column}.tif", array[crop])


def _whole_nuclei(folder: Path) -> None:
    """The real image of nuclei and its labels, uncut."""
    from stardist.data import test_image_nuclei_2d

    image, labels = test_image_nuclei_2d(return_mask=True)
    for kind, array in (("images", image), ("masks", labels.astype("uint16"))):
        write_tiff(folder / kind / "nuclei.tif", array)


def _histology(folder: Path) -> None:
    """The real H&E image."""
    from stardist.data import test_image_he_2d

    write_tiff(folder / "images" / "histology.tif", test_image_he_2d())


CUT: dict[str, Callable[[Path], None]] = {
    "nuclei_real": _cut_nuclei,
    "nuclei_whole": _whole_nuclei,
    "nuclei_he": _histology,
}


def prepare(name: str) -> dict[str, str]:
    """Make sure that a sample, a key of `SAMPLES`, `CLASSIFICATION` or `EXTRA`, is there, and tell its places.

    These are training_source, training_target, test_source, test_target (relative to the project's root) and about, as
    far as there are; of `CLASSIFICATION` also class_groups. DataError: unknown name, or a missing sample cannot be made
    or written.
    """
    places = all_samples().get(name)
    if places is None:
        raise DataError(f"There is no sample {name!r}. Choose one of {', '.join(all_samples())}.")
    for folder in folders_of(name):
        make_missing(folder)
    return dict(places)


def make_missing(path: Path) -> None:
    """Make the sample that `path` belongs to where its folder is missing, or that of its places which is missing.

    Images of real cells are cut from those in the stardist package; the others are drawn, in seconds, where only the
    software came along (a notebook sent as a single file). A place that is there is left as its owner made it: images
    that were moved or removed do not come back, and a path with a typing error brings nothing back. DataError where its
    files cannot be written.
    """
    name = sample_with(path)
    if name is None:
        return
    folder = resolve("data_samples") / name
    missing = [
        place for place in (folder, *folders_of(name)) if path.is_relative_to(place) and not os.path.exists(place)
    ]
    if missing:
        make(name, folder, missing[0].relative_to(folder))
