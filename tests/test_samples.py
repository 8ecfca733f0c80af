"""The bundled samples are there, and the real one is cut at first use."""

import subprocess
import sys

import numpy as np
import pytest

from utils import paths, samples
from utils.checks import load_examples
from utils.errors import DataError


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    return tmp_path


def test_real_nuclei_are_cut_as_written(root):
    from stardist.data import test_image_nuclei_2d

    image, labels = test_image_nuclei_2d(return_mask=True)
    places = samples.prepare("nuclei_real")
    train = load_examples(places["training_source"], places["training_target"])
    test = load_examples(places["test_source"], places["test_target"], classes=train.classes)
    assert (train.problems, test.problems, train.mask_type) == ([], [], "instance labels")
    assert (len(train.examples), len(test.examples)) == (12, 4)
    for examples, expected, mask in (
        (train.examples, image[:384], labels[:384]),
        (test.examples, image[384:], labels[384:]),
    ):
        rows = [examples[i : i + 4] for i in range(0, len(examples), 4)]
        np.testing.assert_array_equal(np.block([[e.image.array[..., 0] for e in row] for row in rows]), expected)
        np.testing.assert_array_equal(np.block([[e.mask for e in row] for row in rows]), mask > 0)
    assert test.examples[0].name == "nuclei_r3_c0.tif"
    assert train.examples[0].image.array.dtype == image.dtype


def test_missing_crops_come_back_and_others_stay(root):
    places = samples.prepare("nuclei_real")
    files = sorted((root / places["training_source"]).iterdir())
    before = [path.read_bytes() for path in files]
    files[0].unlink()
    files[1].touch()
    times = [path.stat().st_mtime_ns for path in files[1:]]
    samples.prepare("nuclei_real")
    assert [path.read_bytes() for path in files] == before
    assert [path.stat().st_mtime_ns for path in files[1:]] == times


def test_sample_of(root):
    for name, places in samples.SAMPLES.items():
        assert samples.sample_of(places["training_source"]) == name
        assert samples.sample_of(root / places["training_source"]) == name
        assert samples.sample_of(places["test_source"]) is None
    assert samples.sample_of(root) is None


def test_unknown_and_missing_samples_are_told(root):
    with pytest.raises(DataError, match="no sample 'cats'.*nuclei_real"):
        samples.prepare("cats")
    with pytest.raises(DataError, match="no folder .*tissue"):
        samples.prepare("tissue")


def test_these_rooms_do_not_load_tensorflow():
    rooms = "checks, images, masks, pairs, quality, samples, splits"
    code = f"import sys; from utils import {rooms}; samples._cut_real_nuclei; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=paths.ROOT, check=False).returncode == 0
