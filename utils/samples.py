"""The bundled samples: where they lie, and the real nuclei image that is cut out at first use."""

from pathlib import Path

from utils.errors import DataError
from utils.images import find_images, write_tiff
from utils.paths import resolve

REAL = "nuclei_real"
CROP = 128  # side in pixels of the 4 x 4 crops of the real nuclei image
TEST_ROW = 3
PHASES = "earlyana, lateana, telophase -> AA; prophase, prometaphase, metaphase -> BA; interphase -> I; apoptosis -> J"


def _places(name: str, about: str) -> dict[str, str]:
    """Paths of one segmentation sample, relative to the root of the project, and what it is."""
    folder = f"data_samples/{name}"
    return {
        "training_source": f"{folder}/train/images",
        "training_target": f"{folder}/train/masks",
        "test_source": f"{folder}/test/images",
        "test_target": f"{folder}/test/masks",
        "about": about,
    }


SAMPLES: dict[str, dict[str, str]] = {
    name: _places(name, about)
    for name, about in {
        REAL: "real fluorescent nuclei (2018 Data Science Bowl), 16 crops of 128 x 128 pixels, each nucleus annotated",
        "tissue": "synthetic H&E-like tissue: background, tissue and fibrosis, several patients",
        "tissue_new_stain": "synthetic tissue of other patients with another stain, for fine-tuning a model of tissue",
        "nuclei": "synthetic fluorescent nuclei that touch and overlap, 16-bit, each nucleus annotated",
    }.items()
}


# One folder for each class, in place of images and masks.
CLASSIFICATION: dict[str, dict[str, str]] = {
    name: {
        "training_source": f"data_samples/{name}/train",
        "test_source": f"data_samples/{name}/test",
        "class_groups": class_groups,
        "about": about,
    }
    for name, class_groups, about in (
        ("mitosis", PHASES, "synthetic single cells with shining chromatin in 8 phases of division, 64 x 64 pixels"),
        ("mitosis_new_marker", "", "synthetic single cells with another marker, in G2 or not, 64 x 64 pixels"),
    )
}


# Images for section 5 and 6 of a notebook only: nobody trains on them.
EXTRA: dict[str, dict[str, str]] = {
    "nuclei_whole": {
        "test_source": "data_samples/nuclei_whole/images",
        "test_target": "data_samples/nuclei_whole/masks",
        "about": "the real image of 512 x 512 pixels that nuclei_real is cut from, as a test for a model of nuclei",
    },
    "nuclei_he": {
        "test_source": "data_samples/nuclei_he/images",
        "about": "a real H&E image without annotation, to look at the results only (The Cancer Imaging Archive)",
    },
}


def prepare(name: str) -> dict[str, str]:
    """Make sure that a sample is there.

    Parameters
    ----------
    name : str
        Key of `SAMPLES`, `CLASSIFICATION` or `EXTRA`. Missing files of real images are made from those in the
        stardist package [1]_.

    Returns
    -------
    dict
        training_source, training_target, test_source, test_target (relative to the project's root) and about, as far as
        there are; of `CLASSIFICATION` also class_groups.

    Raises
    ------
    DataError
        Unknown name, or the sample's folders are missing or cannot be written.

    References
    ----------
    .. [1] Caicedo et al. (2019) Nucleus segmentation across imaging experiments: the 2018 Data Science Bowl,
       https://doi.org/10.1038/s41592-019-0612-7
    """
    known = SAMPLES | CLASSIFICATION | EXTRA
    places = known.get(name)
    if places is None:
        raise DataError(f"There is no sample {name!r}. Choose one of {', '.join(known)}.")
    if name in _MAKERS:
        _MAKERS[name](places)
    for field in places.keys() - {"about", "class_groups"}:
        find_images(places[field], recursive=name in CLASSIFICATION)
    return dict(places)


def sample_of(training_source: str | Path) -> str | None:
    """Name of the sample whose training images lie at `training_source` (from the project's root), else None."""
    place = resolve(training_source).resolve()
    known = SAMPLES | CLASSIFICATION
    return next((name for name, places in known.items() if resolve(places["training_source"]).resolve() == place), None)


def _cut_real_nuclei(places: dict[str, str]) -> None:
    """Write those of the 16 crops that are not there yet: uppermost three rows for training, the last for testing."""
    from stardist.data import test_image_nuclei_2d  # slow to import, and needed only where this sample is used

    image, labels = test_image_nuclei_2d(return_mask=True)
    for row in range(len(image) // CROP):
        part = "test" if row == TEST_ROW else "training"
        for column in range(image.shape[1] // CROP):
            crop = slice(row * CROP, (row + 1) * CROP), slice(column * CROP, (column + 1) * CROP)
            for field, array in ((f"{part}_source", image), (f"{part}_target", labels.astype("uint16"))):
                path = resolve(places[field]) / f"nuclei_r{row}_c{column}.tif"
                if not path.exists():
                    write_tiff(path, array[crop])


def _write_whole_nuclei(places: dict[str, str]) -> None:
    """Write the real nuclei image and its labels, uncut, where they are missing."""
    from stardist.data import test_image_nuclei_2d  # slow to import

    image, labels = test_image_nuclei_2d(return_mask=True)
    for field, array in (("test_source", image), ("test_target", labels.astype("uint16"))):
        path = resolve(places[field]) / "nuclei.tif"
        if not path.exists():
            write_tiff(path, array)


def _write_histology(places: dict[str, str]) -> None:
    """Write the real H&E image where it is missing."""
    from stardist.data import test_image_he_2d  # slow to import

    path = resolve(places["test_source"]) / "histology.tif"
    if not path.exists():
        write_tiff(path, test_image_he_2d())


_MAKERS = {REAL: _cut_real_nuclei, "nuclei_whole": _write_whole_nuclei, "nuclei_he": _write_histology}
