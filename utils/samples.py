"""The bundled samples: where they lie and what they show; a missing one is made when its images are looked for."""

from pathlib import Path

from utils.paths import ROOT, resolve

REAL = "nuclei_real"
CC0 = "CC0 1.0"
DATA_SCIENCE_BOWL = "nuclei of the 2018 Data Science Bowl (BBBC038, doi:10.1038/s41592-019-0612-7)"
# Where images of a sample that one may train on are from, and what others may do with them.
ORIGINS: dict[str, tuple[str, str]] = {
    REAL: (f"an image of the {DATA_SCIENCE_BOWL}", CC0),
    **{
        name: (f"synthetic images, the sample {name} of NoCodeDL4Bio", CC0)
        for name in ("nuclei", "tissue", "tissue_new_stain", "mitosis", "mitosis_new_marker")
    },
}
STARTING = {task: f"data_samples/starting_models/{task}" for task in ("unet", "stardist")}  # models of `nuclei`
PUBLISHED = ("2D_versatile_fluo", "2D_versatile_he", "2D_paper_dsb2018", "2D_demo")  # models of StarDist's authors
PUBLISHED_PLACE = ROOT / "models" / "published"
PHASES = "earlyana, lateana, telophase -> AA; prophase, prometaphase, metaphase -> BA; interphase -> I; apoptosis -> J"
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


# Whole slides, what was drawn on some of them, and the truth.
SLIDES: dict[str, dict[str, str]] = {
    "slides": {
        "slides": "data_samples/slides/slides",
        "annotations": "data_samples/slides/annotations",
        "about": "12 drawn slides of H&E liver of 8 patients with QuPath annotations and a table of genes: not real",
    }
}


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


def can_be_made(path: Path) -> bool:
    """Whether `path` is one of the folders of a sample, which `make_missing` makes."""
    name = sample_with(path)
    return name is not None and path in folders_of(name)


def annotations_of(path: Path) -> str | None:
    """Folder (from the project's root) of the masks of the sample whose images lie at `path`, there or not yet."""
    for places in (SAMPLES | EXTRA).values():
        for part in ("training", "test"):
            source, target = places.get(f"{part}_source"), places.get(f"{part}_target")
            if source and target and resolve(source) == path:
                return target
    return None


def folders_of(name: str) -> list[Path]:
    """Folders of a sample that are looked for."""
    return [resolve(place) for field, place in all_samples()[name].items() if field not in ("about", "class_groups")]


def sample_with(path: Path) -> str | None:
    """Name of the sample in whose folder `path` lies."""
    folder = resolve("data_samples")
    name = path.relative_to(folder).parts[0] if path.is_relative_to(folder) and path != folder else None
    return name if name in all_samples() else None


def all_samples() -> dict[str, dict[str, str]]:
    """All samples."""
    return SAMPLES | CLASSIFICATION | EXTRA | SLIDES


def descriptions(names: list[str]) -> str:
    """One line for each sample: its folder and what it shows."""
    return "\n".join(f"Sample data_samples/{name}: {all_samples()[name]['about']}" for name in names)


def sample_of(training_source: str | Path) -> str | None:
    """Name of the sample whose training images lie at `training_source` (from the project's root), else None."""
    place = resolve(training_source).resolve()
    known = SAMPLES | CLASSIFICATION
    return next((name for name, places in known.items() if resolve(places["training_source"]).resolve() == place), None)
