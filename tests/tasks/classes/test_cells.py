"""Objects of segmented images: cut out, classified, written for people and for StarDist's training."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import PIL.Image
import pytest
import tifffile

from tests.tiny_classifier import CLASSES, NAMES, Stub, description
from utils.data.object_classes import assign_classes, read_class_table
from utils.errors import DataError
from utils.files import file_sha256, meaningful, write_csv, write_json
from utils.images.image import read_mask, write_tiff
from utils.images.stacks import read_planes
from utils.pages.colours import class_colours
from utils.pages.pictures import label_overlay
from utils.tasks.classes.cells import (
    BLOCK,
    CellResults,
    crop_sizes,
    crops_of_objects,
    find_segmented,
    labelled_planes,
    object_boxes,
)
from utils.tasks.objects.predict import SOFTWARE
from utils.tasks.results import ORIGIN, predict_folder
from utils.training.model_folder import NO_RESULT


def scene(seed, shape=(60, 70), channels=1):
    """Image (Y, X, C) uint8 of even squares of 7 x 7 on noise, their labels with gaps, and the value of each label."""
    rng = np.random.default_rng(seed)
    image, labels, values = rng.integers(0, 20, (*shape, channels)).astype(np.uint8), np.zeros(shape, np.uint16), {}
    for y in range(1, shape[0] - 7, 11):
        for x in range(1, shape[1] - 7, 11):
            if rng.random() < 0.6:
                label, value = int(3 * (1 + y * shape[1] + x)), int(rng.choice([3, 60, 101, 148, 200]))
                labels[y : y + 7, x : x + 7], image[y : y + 7, x : x + 7], values[label] = label, value, value
    return image, labels, values


def write_scene(folder, name="a.tif", seed=0, pixel_size_um=None, label_name=None, channels=1):
    image, labels, values = scene(seed, channels=channels)
    write_tiff(folder / "images" / name, image if channels > 1 else image[..., 0], pixel_size_um)
    write_tiff(folder / "labels" / (label_name or f"{Path(name).stem}.tif"), labels)
    return image, labels, values


def classify(folder, out=None, stub=None, told=None, data_folder=None, label_folder=None, **options):
    stub, labels, out = stub or Stub(), label_folder or folder / "labels", out or folder / "out"
    stub.description = told or description()
    data = data_folder or folder / "images"
    return predict_folder(CellResults(stub, folder / "model", data, out, labels=labels, **options))


def test_every_table_of_a_model_to_try_out_says_so(tmp_path):
    write_scene(tmp_path)
    write_json(tmp_path / "model" / "parameters.json", {"overrides": {"training": {"preset": "Try out"}}})
    classify(tmp_path)
    tables = {path.name: pd.read_csv(path) for path in (tmp_path / "out").glob("*.csv")}
    assert sorted(tables) == ["object_class_counts.csv", "object_classes.csv"]
    assert all((table["remark"] == NO_RESULT).all() for table in tables.values())


# ---- crops


@pytest.mark.parametrize("seed", range(20))
def test_crops_are_what_a_mirrored_image_holds_around_each_object(seed):
    rng = np.random.default_rng(seed)
    shape, channels, size = tuple(rng.integers(1, 40, 2)), rng.integers(1, 4), tuple(rng.integers(1, 60, 2))
    image = rng.integers(0, 60000, (*shape, channels)).astype(np.uint16)
    labels = rng.integers(0, 5, shape).astype(np.uint32) * 1000
    crops = list(crops_of_objects(image, labels, size))
    assert [label for label, _ in crops] == [one for one in np.unique(labels) if one]
    padded = np.pad(image, ((60, 60), (60, 60), (0, 0)), mode="symmetric")
    for label, crop in crops:
        ys, xs = np.nonzero(labels == label)
        y, x = ((one.min() + one.max() + 1 - side) // 2 + 60 for one, side in zip((ys, xs), size, strict=True))
        np.testing.assert_array_equal(crop, padded[y : y + size[0], x : x + size[1]])
        assert crop.dtype == image.dtype


def test_an_object_lies_in_the_middle():
    image = np.zeros((30, 30, 1), np.uint8)
    labels = np.zeros((30, 30), int)
    image[4:9, 11:14], labels[4:9, 11:14] = 7, 5
    ((label, crop),) = crops_of_objects(image, labels, (9, 9))
    assert label == 5
    np.testing.assert_array_equal(np.argwhere(crop[..., 0])[[0, -1]], [(2, 3), (6, 5)])
    np.testing.assert_array_equal(crop[::-1, ::-1], crop)


def test_a_context_makes_squares_around_the_bounding_box():
    labels = np.zeros((50, 50), np.uint8)
    labels[5:15, 5:9], labels[30:36, 30:36] = 1, 2
    crops = dict(crops_of_objects(labels[..., None], labels, (9, 9), context=1.5))
    assert crops[1].shape == (15, 15, 1)
    assert crops[2].shape == (9, 9, 1)
    assert (crops[1] == 1).sum() == 40
    assert crop_sizes(object_boxes(labels)[1], (9, 9), 0.01).tolist() == [[1, 1], [1, 1]]  # never empty


def test_no_objects_no_crops():
    labels = np.zeros((5, 6), np.uint16)
    assert list(crops_of_objects(np.zeros((5, 6, 1)), labels, (3, 3))) == []
    assert object_boxes(labels)[1].shape == (0, 4)


def test_image_and_labels_of_other_sizes_are_refused():
    with pytest.raises(ValueError, match="labels"):
        next(crops_of_objects(np.zeros((5, 6, 1)), np.zeros((6, 5), int), (3, 3)))


def test_a_mapped_file_gives_the_same_crops(tmp_path):
    image, labels, _ = scene(0)
    tifffile.imwrite(tmp_path / "big.tif", image[..., 0], byteorder=">")
    mapped = tifffile.memmap(tmp_path / "big.tif", mode="r")[..., None]
    for (_, one), (_, other) in zip(
        crops_of_objects(image, labels, (9, 9)), crops_of_objects(mapped, labels, (9, 9)), strict=True
    ):
        np.testing.assert_array_equal(one, other)
        assert type(other) is np.ndarray


# ---- a folder


def test_table_overlays_and_legend_agree(tmp_path):
    scenes = {f"{name}.tif": write_scene(tmp_path, f"{name}.tif", seed) for seed, name in enumerate("ab")}
    predicted = classify(tmp_path)
    out = tmp_path / "out"
    table = pd.read_csv(out / "object_classes.csv")
    assert predicted.warnings == []
    pd.testing.assert_frame_equal(table, meaningful(predicted.table), check_dtype=False, rtol=1e-6)
    first = ["file", "plane", "label", "class", "broad class", "uncertain"]
    assert list(table) == [*first, *(f"p_{name}" for name in NAMES)]
    for name, (image, labels, values) in scenes.items():
        mine = table[table["file"] == name]
        assert mine["label"].tolist() == sorted(values)
        ids = {label: int(Stub().scores(value).argmax()) for label, value in values.items()}
        assert mine["class"].tolist() == [NAMES[ids[label]] for label in mine["label"]]
        assert mine["broad class"].tolist() == [CLASSES[ids[label]]["group"] for label in mine["label"]]
        assert mine["uncertain"].tolist() == [values[label] == 148 for label in mine["label"]]
        with PIL.Image.open(out / "class_overlays" / f"{name[:-4]}.png") as picture:
            picture = np.asarray(picture)
        shown = {label: one + 1 for label, one in ids.items()}
        np.testing.assert_array_equal(picture, label_overlay(image, labels, class_ids=shown, brighten=True))
        colours = class_colours([{"id": one} for one in (1, 2, 3)])
        for label, one in ids.items():  # outlined in the colour of the class, never in the black of background
            y, x = np.argwhere(labels == label)[0]
            np.testing.assert_allclose(picture[y, x] / 255, colours[one + 1], atol=0.01)
    assert set(table["class"]) == set(NAMES)
    with PIL.Image.open(out / "class_legend.png") as legend:
        legend = np.asarray(legend.convert("RGB")) / 255
    for one in (1, 2, 3):
        assert (np.abs(legend - colours[one]).max(axis=-1) < 0.01).sum() > 50
    told = json.loads((out / "classification.json").read_text(encoding="utf-8"))
    assert told["label_folder"] == (tmp_path / "labels").as_posix()
    assert sorted(os.listdir(out)) == [
        "class_legend.png",
        "class_overlays",
        "classification.json",
        "object_class_counts.csv",
        "object_classes.csv",
    ]


def test_the_table_can_be_trained_on(tmp_path):
    files = []
    for seed, name in enumerate(("a.ome.tif", "b.png.tif")):
        write_scene(tmp_path, name, seed, label_name=name)
        files.append((tmp_path / "images" / name, tmp_path / "labels" / name))
    table = classify(tmp_path).table
    problems = []
    rows = read_class_table(tmp_path / "out" / "object_classes.csv", problems)
    labels = [set(np.unique(read_mask(mask)).tolist()) - {0} for _, mask in files]
    found = assign_classes(rows, files, labels, tmp_path, NAMES, problems)
    assert problems == []
    for (image, _), classes in zip(files, found, strict=True):
        mine = table[table["file"] == image.name]
        assert classes == dict(zip(mine["label"], mine["class"], strict=True))


def test_a_stack_gives_what_its_planes_give_as_files(tmp_path):
    scenes = [write_scene(tmp_path / "single", f"p{i}.tif", i) for i in range(3)]
    for kind, index in (("images", 0), ("labels", 1)):
        (tmp_path / kind).mkdir()
        stack = np.stack([np.squeeze(one[index]) for one in scenes])
        tifffile.imwrite(tmp_path / kind / "s.tif", stack, imagej=True, metadata={"axes": "TYX"})
    table, single = classify(tmp_path).table, classify(tmp_path / "single").table
    assert table["plane"].unique().tolist() == [1, 2, 3]
    assert single["plane"].unique().tolist() == [1]
    pd.testing.assert_frame_equal(table.drop(columns=["file", "plane"]), single.drop(columns=["file", "plane"]))
    middle, shown = tmp_path / "out" / "class_overlays" / "s.png", tmp_path / "single/out/class_overlays/p1.png"
    assert file_sha256(middle) == file_sha256(shown)


def test_a_stardist_prediction_folder_needs_no_other_input(tmp_path):
    image, labels, values = write_scene(tmp_path, "a.png.tif", label_name="unused.tif")
    PIL.Image.fromarray(image[..., 0]).save(tmp_path / "images" / "a.png")
    os.remove(tmp_path / "images" / "a.png.tif")
    folder = tmp_path / "found"
    write_tiff(folder / "labels" / "a.tif", labels, software=SOFTWARE)
    write_json(folder / ORIGIN, {"data_folder": str(tmp_path / "images")})
    (folder / "overlays").mkdir()
    (folder / "overlays" / "a.png").write_text("of the segmentation")
    before = file_sha256(folder / ORIGIN)
    table = classify(tmp_path, out=folder, data_folder=folder, label_folder=folder).table  # results beside StarDist's
    assert table["label"].tolist() == sorted(values)
    assert (table["file"] == "a.png").all()
    assert file_sha256(folder / ORIGIN) == before
    assert (folder / "overlays" / "a.png").read_text() == "of the segmentation"


def test_images_without_objects_are_done(tmp_path):
    write_tiff(tmp_path / "images" / "empty.tif", np.zeros((9, 9), np.uint8))
    write_tiff(tmp_path / "labels" / "empty.tif", np.zeros((9, 9), np.uint16))
    assert classify(tmp_path).table.empty
    assert (tmp_path / "out" / "class_overlays" / "empty.png").exists()
    write_scene(tmp_path, "a.tif")
    table = classify(tmp_path).table
    assert set(table["file"]) == {"a.tif"}
    assert len(pd.read_csv(tmp_path / "out" / "object_classes.csv")) == len(table)


def test_crops_are_given_in_blocks_of_the_size_asked_for(tmp_path):
    labels = np.zeros((100, 100), np.uint16)
    labels[::4, ::4] = np.arange(1, 626).reshape(25, 25)
    write_tiff(tmp_path / "images" / "a.tif", np.zeros((100, 100, 2), np.uint16))
    write_tiff(tmp_path / "labels" / "a.tif", labels)
    calls = []

    class Counting(Stub):
        def probabilities(self, arrays):
            calls.append(len(arrays))
            return super().probabilities(arrays)

    for expected, options in (((12, 12, 2), {}), ((5, 7, 2), {"crop_size": (5, 7)}), ((3, 3, 2), {"context": 3})):
        stub = Counting()
        assert len(classify(tmp_path, stub=stub, told=description(2), **options).table) == 625
        assert {one.shape for one in stub.seen} == {expected}
    assert sum(calls) == 3 * 625
    assert max(calls) == BLOCK


def test_objects_larger_than_their_crops_are_told(tmp_path):
    _, _, values = write_scene(tmp_path)
    (told,) = classify(tmp_path, crop_size=(6, 30)).warnings
    assert f"Of {len(values)} objects only the middle" in told
    assert classify(tmp_path, crop_size=(7, 7)).warnings == []
    assert classify(tmp_path, crop_size=(6, 6), context=1.0).warnings == []
    for fit, n in (("pad", 1), ("resize", 0)):  # a network for 6 x 6 pixels
        assert len(classify(tmp_path, told=description(size=(6, 6), fit=fit), crop_size=(9, 9)).warnings) == n


def test_bad_files_are_named_and_the_others_are_done(tmp_path):
    write_scene(tmp_path, "a.tif")
    write_scene(tmp_path, "colour.tif", channels=3)
    for name in ("broken.tif", "other size.tif", "stack.tif", "fraction.tif", "lonely.tif"):
        write_tiff(tmp_path / "images" / name, np.zeros((8, 9), np.uint8))
    (tmp_path / "labels" / "broken.tif").write_bytes(b"II*\0nothing")
    write_tiff(tmp_path / "labels" / "other size.tif", np.zeros((9, 8), np.uint8))
    write_tiff(tmp_path / "labels" / "fraction.tif", np.full((8, 9), 0.5, np.float32))
    stack = np.zeros((2, 8, 9), np.uint8)
    tifffile.imwrite(tmp_path / "labels" / "stack.tif", stack, imagej=True, metadata={"axes": "TYX"})
    predicted = classify(tmp_path)
    assert set(predicted.table["file"]) == {"a.tif"}
    assert len(predicted.warnings) == 6
    for text in (
        r"broken.tif",
        r"9 x 8 pixels",
        r"has 1 planes, its label image .*has 2",
        r"fraction.tif has fractional",
        r"lonely.tif: there is no mask",
        r"colour.tif has 3 channels",
    ):
        assert pd.Series(predicted.warnings).str.contains(text).sum() == 1, text


def test_only_bad_images_is_an_error_and_writes_nothing(tmp_path):
    write_scene(tmp_path, channels=3)
    with pytest.raises(DataError, match=r"No image could be classified.*a\.tif"):
        classify(tmp_path)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["object_classes.csv", "class_legend.png", "class_overlays/a.png"])
def test_what_a_person_made_is_never_overwritten(tmp_path, name):
    write_scene(tmp_path)
    path = tmp_path / "out" / name
    path.parent.mkdir(parents=True)
    path.write_text("file,label,class\na.tif,1,mine\n")
    with pytest.raises(DataError, match=r"exists and was not written by a prediction.*result_folder"):
        classify(tmp_path)
    assert [one for one in (tmp_path / "out").rglob("*") if one.is_file()] == [path]


def test_predicting_again_replaces_the_results_but_not_corrections(tmp_path):
    write_scene(tmp_path)
    classify(tmp_path)
    assert classify(tmp_path).warnings == []
    table = pd.read_csv(tmp_path / "out" / "object_classes.csv")
    table.loc[0, "class"] = NAMES[1 - NAMES.index(table["class"][0])] if table["class"][0] in NAMES[:2] else NAMES[0]
    write_csv(tmp_path / "out" / "object_classes.csv", table)
    (told,) = classify(tmp_path).warnings
    assert "corrected by hand" in told
    (kept,) = (tmp_path / "out").glob("object_classes.*-*.csv")
    pd.testing.assert_frame_equal(pd.read_csv(kept), table)


def test_originals_and_working_directory_stay_as_they_are(tmp_path, monkeypatch):
    write_scene(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    files = [path for kind in ("images", "labels") for path in (tmp_path / kind).iterdir()]
    before = [(file_sha256(path), path.stat().st_mtime_ns) for path in files]
    classify(tmp_path, out=tmp_path / "images" / "out")
    assert [(file_sha256(path), path.stat().st_mtime_ns) for path in files] == before
    assert os.listdir() == []


@pytest.mark.parametrize(("trained", "doubtful"), [(0.5, False), (1.0, True), (None, False)])
def test_another_pixel_size_than_in_training_is_doubted(tmp_path, trained, doubtful):
    write_scene(tmp_path, pixel_size_um=0.5)
    assert len(classify(tmp_path, told=description(pixel_size_um=trained)).warnings) == doubtful
    assert classify(tmp_path, told=description(pixel_size_um=trained), pixel_size=trained or 0).warnings == []


def write(folder, *names):
    for name in names:
        write_tiff(folder / name, np.zeros((4, 5), np.uint8))
    return folder


def test_pairs_by_name_and_what_has_no_partner(tmp_path):
    images, labels = (
        write(tmp_path / "i", "a.tif", "b.tif", "c.tif"),
        write(tmp_path / "l", "a.tif", "b_labels.tif", "z.tif"),
    )
    pairs, warnings = find_segmented(images, labels)
    assert [(one.name, other.name) for one, other in pairs] == [("a.tif", "a.tif"), ("b.tif", "b_labels.tif")]
    assert len(warnings) == 3
    assert 'some with "_labels" at the end' in warnings[2]
    assert "c.tif" in warnings[0]
    assert "z.tif" in warnings[1]


def test_no_pair_no_folder_and_no_origin_are_told(tmp_path):
    images, labels = write(tmp_path / "i", "a.tif"), write(tmp_path / "l", "b.tif")
    with pytest.raises(DataError, match="No image in .* has a label image"):
        find_segmented(images, labels)
    with pytest.raises(DataError, match="no folder"):
        find_segmented(images, tmp_path / "absent")
    for content in (None, "[]", "{}", "no json"):
        if content:
            (labels / ORIGIN).write_text(content)
        with pytest.raises(DataError, match="does not say which images"):
            find_segmented(labels, labels)


def test_a_prediction_folder_tells_its_images_unless_others_are_named(tmp_path):
    found = tmp_path / "found"
    write(found / "labels", "a.tif")
    write_json(found / ORIGIN, {"data_folder": str(write(tmp_path / "i", "a.tif"))})
    ((image, labels),), _ = find_segmented(found, found)
    assert image == tmp_path / "i" / "a.tif"
    assert labels == found / "labels" / "a.tif"
    ((image, _),), _ = find_segmented(write(tmp_path / "moved", "a.tif"), found)
    assert image == tmp_path / "moved" / "a.tif"


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.float32])
@pytest.mark.parametrize("axes", ["YX", "TYX", "TZYX"])
def test_planes_come_in_order_with_exact_labels(tmp_path, axes, dtype):
    rng = np.random.default_rng(0)
    shape = (2, 3, 6, 7)[4 - len(axes) :] if len(axes) > 2 else (6, 7)
    pixels, labels = rng.integers(0, 200, shape).astype(np.uint8), rng.integers(0, 90, shape).astype(dtype)
    if dtype == np.uint32:
        labels.flat[0] = 70000
    tifffile.imwrite(tmp_path / "i.tif", pixels, photometric="minisblack")
    tifffile.imwrite(tmp_path / "l.tif", labels, photometric="minisblack")
    planes = read_planes(tmp_path / "i.tif", axes)
    found = list(labelled_planes(planes, tmp_path / "l.tif", axes))
    assert len(found) == np.prod(shape[:-2])
    for (image, mine), one, expected in zip(found, pixels.reshape(-1, 6, 7), labels.reshape(-1, 6, 7), strict=True):
        np.testing.assert_array_equal(image.array[..., 0], one)
        np.testing.assert_array_equal(mine, expected)
        assert mine.dtype.kind == "u"


def test_colour_images_and_stacks_of_several_channels(tmp_path):
    labels = np.arange(2 * 6 * 7).reshape(2, 6, 7).astype(np.uint16)
    tifffile.imwrite(tmp_path / "i.tif", np.zeros((2, 3, 6, 7), np.uint16), photometric="minisblack")
    tifffile.imwrite(tmp_path / "l.tif", labels, photometric="minisblack")
    found = list(labelled_planes(read_planes(tmp_path / "i.tif", "TCYX"), tmp_path / "l.tif", "TCYX"))
    assert [image.array.shape for image, _ in found] == [(6, 7, 3)] * 2
    np.testing.assert_array_equal([mine for _, mine in found], labels)
    write_tiff(tmp_path / "rgb.tif", np.zeros((6, 7, 3), np.uint8))
    write_tiff(tmp_path / "one.tif", labels[0])
    ((image, mine),) = labelled_planes(read_planes(tmp_path / "rgb.tif", "YXC"), tmp_path / "one.tif", "YXC")
    assert image.array.shape == (6, 7, 3)
    np.testing.assert_array_equal(mine, labels[0])
    tifffile.imwrite(tmp_path / "c.tif", np.zeros((2, 3, 6, 7), np.uint16), imagej=True, metadata={"axes": "TCYX"})
    with pytest.raises(DataError, match="several channels"):
        list(labelled_planes(read_planes(tmp_path / "l.tif", "TYX"), tmp_path / "c.tif"))
