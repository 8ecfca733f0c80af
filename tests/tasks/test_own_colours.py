"""Pictures for people show images in the colours of their files, also where they are of what a network is given."""

import numpy as np
import pytest

from tests import tiny, tiny_crops, tiny_objects
from utils.images.image import write_tiff
from utils.images.normalise import normalisation_range
from utils.pages.pictures import display_image, display_limits, label_overlay, overlay
from utils.patching.batches import Source, drawn_before_and_after
from utils.tasks.automatic import settled
from utils.tasks.classes.batches import in_own_values, prepared
from utils.tasks.registry import CLASSIFIER, STARDIST, UNET

SIDE = 32
NOTHING = {"flip": False, "rotate_90": False, "rotation": 0, "zoom": 0, "intensity": 0, "blur": 0, "noise": 0}


def stained(rng, mask):
    """Purple nuclei on pink tissue, uint8 (Y, X, 3)."""
    colours = np.where(mask[..., None] > 0, (110, 60, 150), (230, 170, 210))
    return (colours + rng.normal(0, 6, (*mask.shape, 3))).clip(0, 255).astype(np.uint8)


def write_slides(folder, n=6):
    rng = np.random.default_rng(0)
    for i in range(n):
        mask = np.zeros((SIDE, SIDE), np.uint8)
        mask[4:14, 6:16], mask[18:28, 14:26] = 1, 2
        write_tiff(folder / "images" / f"{i}.tif", stained(rng, mask))
        write_tiff(folder / "masks" / f"{i}.tif", mask)
    return folder


def shown(figure):
    return [np.asarray(picture.get_array()) for axes in figure.axes for picture in axes.images]


@pytest.mark.parametrize(
    ("task", "small", "paint"),
    [
        (UNET, tiny, lambda one, project: overlay(one.image.array, one.mask, project.dataset.classes)),
        (STARDIST, tiny_objects, lambda one, project: label_overlay(one.image.array, one.mask)),
    ],
    ids=["U-Net", "StarDist"],
)
@pytest.mark.parametrize("per", ["each image", "all images together"])
def test_patches_before_augmentation_look_like_the_files(tmp_path, task, small, paint, per):
    """A patch is as large as an image here, so that it must look as the image itself does."""
    size = {"patch_height": SIDE, "patch_width": SIDE, "normalisation": per}
    objects = {"mask_type": "instance labels"}
    given = small.parameters(write_slides(tmp_path / "data"), tmp_path, training=size, data=objects)["overrides"]
    project = task.open(given["data"])
    forms = settled(given, task.choices(project, given))
    pictures = shown(task.augmentation_preview(project, forms["training"], forms["augmentation"] | NOTHING))
    assert len(pictures) == 8
    for picture, one in zip(pictures[:4], project.examples("training"), strict=False):
        expected = paint(one, project)
        assert np.abs(picture.astype(int) - expected).max() <= 1
        assert (expected[0, 0, [0, 2]] > expected[0, 0, 1] + 20).all()  # pink, not green


@pytest.mark.parametrize("per", ["each image", "all images together", "both"])
def test_crops_before_augmentation_look_like_the_files(tmp_path, per):
    rng = np.random.default_rng(0)
    for name in tiny_crops.CLASSES:
        for i in range(4):
            mask = tiny_crops.crop(rng, name, SIDE)[..., 0] > 100
            write_tiff(tmp_path / "data" / name / f"{i}.tif", stained(rng, mask))
    given = tiny_crops.parameters(tmp_path / "data", tmp_path, training={"normalisation": per})["overrides"]
    project = CLASSIFIER.open(given["data"])
    forms = settled(given, CLASSIFIER.choices(project, given))
    figure = CLASSIFIER.augmentation_preview(project, forms["training"], forms["augmentation"] | NOTHING)
    pictures = shown(figure)
    expected = [display_image(one.image.array) for one in project.examples("training")]
    for picture in pictures[: len(pictures) // 2]:
        assert min(np.abs(picture - one).max() for one in expected) < 0.01


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_normalisation_is_undone_exactly(dtype, channels):
    rng = np.random.default_rng(channels)
    image = (rng.gamma(2, 40, (20, 24, channels)).clip(0, 255) * (200 if dtype == np.uint16 else 1)).astype(dtype)
    source = Source(image, np.ones((20, 24), np.uint8), np.full(channels, 7.0), np.full(channels, 99.0))
    before, _, after, _ = drawn_before_and_after([source], (20, 24), 0, NOTHING | {"stain": 0}, 0)
    for patches in (before, after):
        np.testing.assert_allclose(patches[0], image, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(display_image(before[0], display_limits(image)), display_image(image), atol=1e-3)


@pytest.mark.parametrize("per", ["image", "both", "training set"])
@pytest.mark.parametrize("fit", ["pad", "resize"])
def test_a_crop_is_shown_as_the_network_sees_it_but_in_its_own_values(per, fit):
    rng = np.random.default_rng(0)
    image = rng.integers(30, 220, (24, 24, 3)).astype(np.uint8)
    normalisation = {"kind": "percentile", "low": 1, "high": 99.8, "per": per, "range": [[3.0] * 3, [180.0] * 3]}
    description = {"normalisation": normalisation, "input": {"size": [24, 24], "fit": fit}}
    np.testing.assert_allclose(in_own_values(prepared(image, description), image, description), image, atol=1e-3)
    assert (normalisation_range(image, normalisation | {"per": "image"})[0] > 3).all()
