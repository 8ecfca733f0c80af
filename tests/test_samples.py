"""The bundled samples are there, or are made when their images are first looked for."""

import os
import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from utils import paths, samples
from utils.data import sample_makers
from utils.data.crops import load_crops
from utils.data.examples import load_examples
from utils.data.folders import find_images
from utils.errors import DataError
from utils.images.image import write_tiff

TEXT = {"capture_output": True, "text": True, "check": False, "timeout": 120}


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    return tmp_path


def test_real_nuclei_are_cut_as_written(root):
    from stardist.data import test_image_nuclei_2d

    image, labels = test_image_nuclei_2d(return_mask=True)
    places = sample_makers.prepare("nuclei_real")
    train = load_examples(paths.resolve(places["training_source"]), paths.resolve(places["training_target"]))
    test = load_examples(
        paths.resolve(places["test_source"]), paths.resolve(places["test_target"]), classes=train.classes
    )
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


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_missing_part_comes_back_and_the_rest_stays(root):
    places = sample_makers.prepare("nuclei_real")
    folder = root / "data_samples" / "nuclei_real"
    before = contents(folder)
    shutil.rmtree(root / places["test_target"])
    kept = sorted((root / places["training_source"]).iterdir())
    kept[0].write_bytes(b"changed by its owner")
    times = [path.stat().st_mtime_ns for path in kept]
    sample_makers.prepare("nuclei_real")
    assert contents(folder) == before | {kept[0].relative_to(folder): b"changed by its owner"}
    assert [path.stat().st_mtime_ns for path in kept] == times


@pytest.mark.parametrize(
    "wrong",
    ["trian", "train/interphas", "train/prophase/0.tif/x", "train", "train/prophase", "x" * 300, "train/" + "x" * 300],
)
def test_a_typing_error_does_not_bring_back_what_its_owner_moved(root, drawer, wrong):
    sample_makers.prepare("mitosis")
    folder = root / "data_samples" / "mitosis"
    (folder / "train" / "prophase" / "0.tif").rename(folder / "train" / "metaphase" / "moved.tif")
    shutil.rmtree(folder / "test" / "prophase")
    before = contents(folder)
    sample_makers.make_missing(folder / wrong)
    sample_makers.prepare("mitosis")
    assert contents(folder) == before
    assert len(drawer) == 1


@pytest.mark.parametrize("looked_for", ["train", "train/prophase", "train/prophase/0.tif"])
def test_only_the_missing_place_comes_back(root, drawer, looked_for):
    sample_makers.prepare("mitosis")
    folder = root / "data_samples" / "mitosis"
    shutil.rmtree(folder / "test" / "prophase")
    before = contents(folder)
    shutil.rmtree(folder / "train")
    sample_makers.make_missing(folder / "trian")
    assert not (folder / "train").exists()
    sample_makers.make_missing(folder / looked_for)
    assert contents(folder) == before
    assert [path.name for path in (root / "data_samples").iterdir()] == ["mitosis"]


def test_another_page_may_be_quicker(root, drawer, monkeypatch):
    folder = root / "data_samples" / "mitosis"
    draw = sample_makers.DRAWN["mitosis"]

    def both(made):
        draw(made)
        draw(folder)

    monkeypatch.setitem(sample_makers.DRAWN, "mitosis", both)
    sample_makers.make_missing(folder / "train")
    assert len(contents(folder)) == 12


@pytest.mark.parametrize("in_the_way", ["a file", "a link that leads nowhere"])
def test_a_place_that_cannot_be_written_is_told(root, drawer, in_the_way):
    sample_makers.prepare("mitosis")
    folder = root / "data_samples" / "mitosis"
    shutil.rmtree(folder)
    folder.touch() if in_the_way == "a file" else folder.symlink_to(root / "nowhere")
    with pytest.raises(DataError, match="mitosis cannot be written"):
        sample_makers.make_missing(folder / "train")
    assert [path.name for path in folder.parent.iterdir()] == ["mitosis"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has other rights")
def test_a_sample_without_right_to_read_is_told(root, drawer):
    """As another person, because an administrator may read everything."""
    code = (
        "import os, sys; from pathlib import Path; from utils import paths, samples\n"
        "from utils.data import sample_makers; from utils.errors import DataError\n"
        "paths.ROOT = Path(sys.argv[1]); (paths.ROOT / 'data_samples').chmod(0)\n"
        "os.getuid() or os.seteuid(65534)\n"
        "try: sample_makers.make_missing(paths.ROOT / 'data_samples/mitosis/train')\n"
        "except DataError as error: print(error)"
    )
    sample_makers.prepare("mitosis")
    run = subprocess.run([sys.executable, "-c", code, root], cwd=Path(__file__).parents[1], **TEXT)
    (root / "data_samples").chmod(0o755)
    assert "The sample mitosis cannot be written" in run.stdout, run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize("name", ["mitosis", "nuclei_he"])
def test_images_of_a_sample_are_made_when_they_are_looked_for(root, name, drawer):
    places = (samples.SAMPLES | samples.CLASSIFICATION | samples.EXTRA)[name]
    assert find_images(paths.resolve(places["test_source"]), recursive=True)
    assert sorted(path.name for path in (root / "data_samples").iterdir()) == [name]
    assert drawer == (["mitosis"] if name == "mitosis" else [])
    find_images(paths.resolve(places["test_source"]), recursive=True)
    assert len(drawer) == (name == "mitosis")


def test_a_folder_of_classes_is_made_too(root, drawer):
    crops = load_crops(paths.resolve(samples.CLASSIFICATION["mitosis"]["training_source"]))
    assert [one["name"] for one in crops.classes] == ["metaphase", "prophase"]
    assert drawer == ["mitosis"]


def test_what_can_be_made_is_what_is_made(root):
    for name, places in (samples.SAMPLES | samples.CLASSIFICATION | samples.EXTRA).items():
        assert samples.can_be_made(root / places["test_source"])
        assert not samples.can_be_made(root / "data_samples" / name / "mine")
        assert not samples.can_be_made(root / name)
    assert not samples.can_be_made(root / "data_samples")


def test_masks_of_a_sample_are_known_without_the_disk(root):
    for places in (samples.SAMPLES | samples.EXTRA).values():
        for part in ("training", "test"):
            if source := places.get(f"{part}_source"):
                assert samples.annotations_of(root / source) == places.get(f"{part}_target")
    assert samples.annotations_of(root) is None
    assert samples.annotations_of(root / "data_samples/tissue/train/masks") is None


def test_an_interrupted_making_leaves_nothing(root, monkeypatch):
    def stop(folder):
        write_tiff(folder / "train" / "images" / "a.tif", np.zeros((8, 8), "uint8"))
        raise KeyboardInterrupt

    monkeypatch.setitem(sample_makers.DRAWN, "nuclei", stop)
    with pytest.raises(KeyboardInterrupt):
        sample_makers.prepare("nuclei")
    assert list((root / "data_samples").iterdir()) == []


@pytest.mark.parametrize("folder", ["data_samples", "data_samples/mine", "elsewhere/mitosis/train"])
def test_other_missing_folders_are_told_and_not_made(root, folder, drawer):
    with pytest.raises(DataError, match="no"):
        find_images(paths.resolve(folder))
    assert drawer == []
    assert list(root.iterdir()) == []


@pytest.fixture
def drawer(monkeypatch):
    """A quick generator in place of that of `mitosis`; the names of the samples it was asked for."""
    asked = []

    def draw(folder):
        asked.append(folder.name)
        for part, one, number in product(("train", "test"), ("prophase", "metaphase"), range(3)):
            write_tiff(folder / part / one / f"{number}.tif", np.full((16, 16), number, "uint8"))

    monkeypatch.setitem(sample_makers.DRAWN, "mitosis", draw)
    return asked


def test_sample_of(root):
    for name, places in samples.SAMPLES.items():
        assert samples.sample_of(places["training_source"]) == name
        assert samples.sample_of(root / places["training_source"]) == name
        assert samples.sample_of(places["test_source"]) is None
    assert samples.sample_of(root) is None


def test_unknown_samples_are_told():
    with pytest.raises(DataError, match="no sample 'cats'.*nuclei_real"):
        sample_makers.prepare("cats")


def test_these_rooms_do_not_load_tensorflow():
    rooms = "images.stacks", "data.crops", "data.examples", "data.project", "data.uneven", "forms", "metrics.objects"
    code = f"import sys, {', '.join(f'utils.{one}' for one in rooms)}; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=paths.ROOT, check=False).returncode == 0
