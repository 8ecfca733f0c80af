"""A folder of images and stacks in; labels, tables, ROIs and pictures out."""

import json
import os
import struct
import zipfile
from dataclasses import dataclass

import numpy as np
import pandas as pd
import PIL.Image
import pytest
import tifffile
from scipy import ndimage

from utils.errors import DataError
from utils.files import file_sha256, meaningful
from utils.images.image import read_image, read_mask, write_tiff
from utils.pages.pictures import label_overlay
from utils.tasks.objects import predict as objects_predict
from utils.tasks.objects.predict import ObjectResults
from utils.tasks.results import GrowingTable, predict_folder

RNG = np.random.default_rng(0)
ANGLES = np.linspace(0, 2 * np.pi, 8, endpoint=False)


@dataclass(frozen=True)
class Objects:
    """As utils.tasks.objects.measure.Objects, which imports tensorflow."""

    labels: np.ndarray
    outlines: np.ndarray
    probability: np.ndarray
    class_ids: np.ndarray | None


class Stub:
    """Takes connected bright pixels for objects; one object more, row 0, is covered by the others."""

    def __init__(self, classes=1):
        self.classes = [{"id": i, "name": f"kind {i}" if i else "background"} for i in range(classes + 1)]
        self.seen = []

    def find(self, array):
        self.seen.append(array.shape)
        labels, n = ndimage.label(array[..., 0] > 100)
        labels[labels > 0] += 1
        centres = np.array([(-9, -9), *ndimage.center_of_mass(labels, labels, range(2, n + 2))])
        outlines = centres[:, :, None] + 2 * np.stack([np.sin(ANGLES), np.cos(ANGLES)])
        probability = np.linspace(0.5, 0.9, n + 1, dtype=np.float32)
        class_ids = np.arange(n + 1) % (len(self.classes) - 1) + 1 if len(self.classes) > 2 else None
        return Objects(labels.astype(np.int32), outlines.astype(np.float32), probability, class_ids)


def squares(shape=(40, 50), channels=1):
    """Image (Y, X, C) uint8 with some bright rectangles."""
    array = RNG.integers(0, 90, (*shape, channels)).astype(np.uint8)
    for _ in range(6):
        y, x = (int(RNG.integers(0, side - 5)) for side in shape)
        array[y : y + RNG.integers(2, 9), x : x + RNG.integers(2, 9)] = RNG.integers(120, 250)
    return array


@pytest.fixture
def images(tmp_path):
    """Folder of three grey TIFFs; a.tif has a pixel size of 0.5 um, empty.tif holds nothing."""
    folder = tmp_path / "images"
    write_tiff(folder / "a.tif", squares()[..., 0], 0.5)
    write_tiff(folder / "b.tif", squares((37, 61))[..., 0])
    write_tiff(folder / "empty.tif", np.zeros((20, 30), np.uint8))
    return folder


def predict(images, out, stub=None, channels=1, trained_at=None, **options):
    names = [f"channel {i + 1}" for i in range(channels)]
    stub = stub or Stub()
    stub.description = {"channels": names, "pixel_size_um": trained_at}
    return predict_folder(ObjectResults(stub, out.parent / "model", images, out, **options))


def tables(out):
    return pd.read_csv(out / "objects.csv"), pd.read_csv(out / "counts.csv")


def rois(path):
    """Name -> (position, x, y) of the ROIs in a zip file, as ImageJ's RoiDecoder reads them."""
    found = {}
    with zipfile.ZipFile(path) as file:
        for name in file.namelist():
            data = file.read(name)
            assert data[:4] == b"Iout"
            n, position = struct.unpack(">H", data[16:18])[0], struct.unpack(">i", data[56:60])[0]
            points = np.frombuffer(data[64 + 4 * n : 64 + 12 * n], ">f4").reshape(2, n)
            found[name] = (position, *points)
    return found


def test_labels_tables_rois_and_overlays_agree(tmp_path, images):
    predicted = predict(images, tmp_path / "out")
    objects, counts = tables(tmp_path / "out")
    expected = ["counts.csv", "labels", "objects.csv", "overlays", "prediction.json", "qupath", "rois"]
    assert sorted(os.listdir(tmp_path / "out")) == expected
    assert predicted.warnings == []
    pd.testing.assert_frame_equal(counts, meaningful(predicted.table), check_dtype=False)
    assert counts["file"].tolist() == ["a.tif", "b.tif", "empty.tif"]
    assert counts["objects"].tolist()[2] == 0
    for _, row in counts.iterrows():
        stem = row["file"][:-4]
        labels, mine = read_mask(tmp_path / "out" / "labels" / row["file"]), objects[objects["file"] == row["file"]]
        image = tifffile.imread(images / row["file"])
        np.testing.assert_array_equal(labels, ndimage.label(image > 100)[0])
        assert labels.dtype == np.uint16
        assert mine["label"].tolist() == list(range(1, row["objects"] + 1))
        assert row["objects"] == labels.max()
        assert row["covered [% of image]"] == pytest.approx(100 * (labels > 0).mean(), abs=0.006)
        for _, one in mine.iterrows():
            assert one["area [px]"] == (labels == one["label"]).sum()
            assert one["mean channel 1"] == pytest.approx(image[labels == one["label"]].mean(), rel=1e-5)
            assert (
                one["area [um2]"] == pytest.approx(one["area [px]"] / 4, rel=1e-3)
                if stem == "a"
                else np.isnan(one["area [um2]"])
            )
        found = rois(tmp_path / "out" / "rois" / f"{stem}.zip")
        assert list(found) == [f"001_{label:03d}.roi" for label in mine["label"]]  # the name tells the label
        for (position, x, y), (_, one) in zip(found.values(), mine.iterrows(), strict=True):
            assert position == 0  # seen on every channel
            # ImageJ counts from the corner of the upper left pixel, not from its centre
            assert x.mean() - 0.5 == pytest.approx(one["centroid_x [px]"], abs=0.006)
            assert y.mean() - 0.5 == pytest.approx(one["centroid_y [px]"], abs=0.006)
        with PIL.Image.open(tmp_path / "out" / "overlays" / f"{stem}.png") as picture:
            np.testing.assert_array_equal(np.asarray(picture), label_overlay(image[..., None], labels, brighten=True))
    probability = np.linspace(0.5, 0.9, 1 + counts["objects"][0], dtype=np.float32)[1:]  # row 0 is covered
    np.testing.assert_allclose(objects.loc[objects["file"] == "a.tif", "probability"], probability, atol=6e-5)
    assert counts["objects per mm2"].tolist()[0] == pytest.approx(counts["objects"][0] / (40 * 50 * 0.25e-6), rel=1e-3)
    with tifffile.TiffFile(tmp_path / "out" / "labels" / "a.tif") as tif:  # Fiji does not show it black
        assert (tif.imagej_metadata["min"], tif.imagej_metadata["max"]) == (0, counts["objects"][0])


@pytest.mark.parametrize("axes", ["T", "Z", "TZ"])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_stack_gives_what_its_planes_give_as_files(tmp_path, axes, channels):
    lengths = {"T": 3, "Z": 2}
    shape = tuple(lengths[axis] for axis in axes)
    planes = np.stack([squares(channels=channels) for _ in range(np.prod(shape))])  # (N, Y, X, C)
    planes[1] = 0  # also one without objects
    stack = np.moveaxis(planes.reshape(*shape, *planes.shape[1:]), -1, -3)
    stored = axes + "CYX"
    options = {"imagej": True, "resolution": (4, 4), "metadata": {"axes": stored, "unit": "um"}}
    (tmp_path / "stacks").mkdir()
    tifffile.imwrite(tmp_path / "stacks" / "s.tif", np.moveaxis(stack, -3, stored.index("C")), **options)
    for i, plane in enumerate(planes):
        write_tiff(tmp_path / "single" / f"p{i}.tif", plane if channels > 1 else plane[..., 0], 0.25)
    for folder in ("stacks", "single"):
        predict(tmp_path / folder, tmp_path / f"{folder}_out", Stub(2), channels)
    (objects, counts), (single, single_counts) = tables(tmp_path / "stacks_out"), tables(tmp_path / "single_out")
    assert single["plane"].eq(1).all()
    single["plane"] = single["file"].str[1:-4].astype(int) + 1
    single["file"] = "s.tif"
    pd.testing.assert_frame_equal(objects, single)
    assert len(objects) > 2
    assert counts["plane"].tolist() == list(range(1, len(planes) + 1))
    places = np.array(np.unravel_index(range(len(planes)), shape)).T + 1
    np.testing.assert_array_equal(counts[list(axes)], places)
    same = counts.columns.difference(["file", "plane", "T", "Z"])
    pd.testing.assert_frame_equal(counts[same], single_counts[same])
    with tifffile.TiffFile(tmp_path / "stacks_out" / "labels" / "s.tif") as tif:
        assert tif.series[0].axes == axes + "YX"
        labels = tif.asarray().reshape(-1, *planes.shape[1:3])
    found = rois(tmp_path / "stacks_out" / "rois" / "s.zip")
    for i in range(len(planes)):
        np.testing.assert_array_equal(labels[i], read_mask(tmp_path / "single_out" / "labels" / f"p{i}.tif"))
        for name, (_, *expected) in rois(tmp_path / "single_out" / "rois" / f"p{i}.zip").items():
            position, *points = found.pop(name.replace("001_", f"{i + 1:03d}_"))
            assert position == i + 1
            np.testing.assert_array_equal(points, expected)
    assert not found
    pictures = [file_sha256(tmp_path / path) for path in ("stacks_out/overlays/s.png",)]
    assert pictures == [file_sha256(tmp_path / "single_out" / "overlays" / f"p{len(planes) // 2}.png")]


def test_classes_are_named_counted_and_coloured(tmp_path, images):
    stub = Stub(3)
    predict(images, tmp_path / "out", stub)
    objects, counts = tables(tmp_path / "out")
    for name in ("kind 1", "kind 2", "kind 3"):
        per_file = [(objects["class"][objects["file"] == file] == name).sum() for file in counts["file"]]
        assert counts[f"objects {name}"].tolist() == per_file
    assert objects["class"].tolist()[:3] == ["kind 2", "kind 3", "kind 1"]  # row 0, of kind 1, is covered
    image = tifffile.imread(images / "a.tif")[..., None]
    labels = read_mask(tmp_path / "out" / "labels" / "a.tif")
    ids = {label: label % 3 + 1 for label in range(1, labels.max() + 1)}
    with PIL.Image.open(tmp_path / "out" / "overlays" / "a.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), label_overlay(image, labels, class_ids=ids, brighten=True))


def test_only_16_bits_for_65535_and_32_for_more(tmp_path):
    for n, dtype in ((65535, np.uint16), (65536, np.uint32)):
        array = np.zeros((2 * 256, 2 * 257), np.uint8)
        array[::2, ::2].flat[:n] = 200
        write_tiff(tmp_path / f"{n}" / "many.tif", array)
        write_tiff(tmp_path / "labels.tif", ndimage.label(array > 100)[0].astype(dtype))
        assert predict(tmp_path / f"{n}", tmp_path / f"out{n}", Quick()).table["objects"].tolist() == [n]
        found = read_mask(tmp_path / f"out{n}" / "labels" / "many.tif")
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, read_mask(tmp_path / "labels.tif"))


class Quick(Stub):
    """Without an outline of each of many thousand objects."""

    def find(self, array):
        labels, n = ndimage.label(array[..., 0] > 100)
        return Objects(labels.astype(np.int32), np.full((n, 2, 3), 1e6, np.float32), np.ones(n, np.float32), None)


@pytest.fixture(autouse=True)
def _quick_measurements(request, monkeypatch):
    """Measuring 131 000 objects takes minutes, and is not what this test is about."""
    if request.node.name == "test_only_16_bits_for_65535_and_32_for_more":
        monkeypatch.setattr(objects_predict, "object_table", lambda objects, *_: pd.DataFrame({"label": [1]}))


def test_rois_that_imagej_cannot_hold_are_said_to_be_left_out(tmp_path, images):
    predicted = predict(images, tmp_path / "out", Quick())
    assert ["not all ROIs" in text for text in predicted.warnings] == [True, True]  # the third image has no objects
    assert rois(tmp_path / "out" / "rois" / "a.zip") == {}


def test_a_bad_image_is_named_and_the_others_are_done(tmp_path, images):
    whole = (images / "a.tif").read_bytes()
    (images / "broken.tif").write_bytes(whole[: len(whole) // 2])
    write_tiff(images / "colour.tif", squares(channels=3))
    late = np.stack([squares()[..., 0]] * 3).astype(np.float32)
    late[2, 0, 0] = np.nan
    tifffile.imwrite(images / "late.tif", late, imagej=True, metadata={"axes": "TYX"})
    (images / "desktop.ini").write_text("x")
    predicted = predict(images, tmp_path / "out")
    objects, counts = tables(tmp_path / "out")
    for names in (sorted(os.listdir(tmp_path / "out" / "labels")), counts["file"].tolist()):
        assert names == ["a.tif", "b.tif", "empty.tif"]
    assert set(objects["file"]) == {"a.tif", "b.tif"}  # no row of a stack that is not complete
    assert sorted(os.listdir(tmp_path / "out" / "rois")) == ["a.zip", "b.zip", "empty.zip"]
    broken, colour, nan = predicted.warnings
    assert "Left out" in broken
    assert "broken.tif" in broken
    assert "colour.tif has 3 channels, the model was trained on 1" in colour
    assert "late.tif has pixels without a number (NaN" in nan


def test_only_bad_images_is_an_error(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "broken.tif").write_bytes(b"II*\0nothing")
    with pytest.raises(DataError, match=r"No image could be predicted.*broken\.tif"):
        predict(tmp_path / "images", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_of_two_images_of_one_name_neither_is_taken_for_the_other(tmp_path, images):
    PIL.Image.fromarray(squares()[..., 0]).save(images / "b.png")
    [warning] = predict(images, tmp_path / "out").warnings
    assert "b.png and" in warning
    assert sorted(os.listdir(tmp_path / "out" / "labels")) == ["a.tif", "empty.tif"]


@pytest.mark.parametrize("name", ["labels/a.tif", "rois/a.zip", "counts.csv", "objects.csv"])
def test_what_a_person_made_is_never_overwritten(tmp_path, images, name):
    path = tmp_path / "out" / name
    path.parent.mkdir(parents=True)
    if path.suffix == ".tif":
        write_tiff(path, np.ones((40, 50), np.uint16))
    else:
        path.write_bytes(b"image,cells\na.tif,3\n")
    before = file_sha256(path)
    with pytest.raises(DataError, match=rf"{path.name} exists and was not written by a prediction.*result_folder"):
        predict(images, tmp_path / "out")
    assert file_sha256(path) == before
    assert [one for one in (tmp_path / "out").rglob("*") if one.is_file()] == [path]


def test_labels_corrected_by_hand_after_a_prediction_are_never_overwritten(tmp_path, images):
    predict(images, tmp_path / "out")
    path = tmp_path / "out" / "labels" / "b.tif"
    tifffile.imwrite(path, read_mask(path) * 2, imagej=True)
    with pytest.raises(DataError, match=r"b\.tif exists and was not written by a prediction"):
        predict(images, tmp_path / "out")


def test_predicting_again_replaces_the_results(tmp_path, images):
    predict(images, tmp_path / "out")
    first = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.*")}
    assert predict(images, tmp_path / "out").warnings == []
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.csv")}.items() <= first.items()
    assert set((tmp_path / "out").rglob("*.*")) == set(first)
    write_tiff(images / "a.tif", np.zeros((40, 50), np.uint8), 0.5)
    predict(images, tmp_path / "out")
    assert tables(tmp_path / "out")[1]["objects"][0] == 0
    assert read_mask(tmp_path / "out" / "labels" / "a.tif").max() == 0
    assert rois(tmp_path / "out" / "rois" / "a.zip") == {}


def test_rows_of_images_that_are_not_predicted_again_are_kept(tmp_path, images):
    predict(images, tmp_path / "out")
    objects = (tmp_path / "out" / "objects.csv").read_bytes()
    for path in images.iterdir():
        path.rename(path.with_name(f"new_{path.name}"))
    for again in (False, True):
        warnings = predict(images, tmp_path / "out").warnings
        kept = list((tmp_path / "out").glob("objects.*.csv"))
        assert [path.read_bytes() for path in kept] == [objects]
        assert len(list((tmp_path / "out").glob("counts.*.csv"))) == 1
        assert len(list((tmp_path / "out" / "labels").iterdir())) == 6
        assert set(tables(tmp_path / "out")[1]["file"]) == {"new_a.tif", "new_b.tif", "new_empty.tif"}
        if not again:
            assert "3 images of an earlier prediction (a.tif, b.tif, empty.tif)" in warnings[0]
            assert kept[0].name in warnings[0]


def test_what_is_done_stays_when_the_run_is_stopped(tmp_path, images):
    class Stopped(Stub):
        def find(self, array):
            if len(self.seen) == 1:
                raise KeyboardInterrupt
            return super().find(array)

    with pytest.raises(KeyboardInterrupt):
        predict(images, tmp_path / "out", Stopped())
    objects, counts = tables(tmp_path / "out")
    assert counts["file"].tolist() == ["a.tif"]
    assert set(objects["file"]) == {"a.tif"}
    assert sorted(path.name for path in (tmp_path / "out").rglob("a.*")) == ["a.geojson", "a.png", "a.tif", "a.zip"]
    assert not [path for path in (tmp_path / "out").rglob(".*")]
    predict(images, tmp_path / "out")
    assert len(tables(tmp_path / "out")[1]) == 3


def test_one_plane_is_in_memory_at_a_time(tmp_path, images):
    """Each image is written before the next is read, and each plane is found before the next is read."""
    tifffile.imwrite(images / "z.tif", np.stack([squares()[..., 0]] * 4), imagej=True, metadata={"axes": "TYX"})
    stub, order = Stub(), []

    def progress(steps):
        for step in steps:
            order.append((len(stub.seen), len(list((tmp_path / "out" / "labels").glob("*.tif")))))
            yield step

    predict(images, tmp_path / "out", stub, progress=progress)
    assert order == [(0, 0), (1, 1), (2, 2), (3, 3), (3, 3), (4, 3), (5, 3), (6, 3)]


def test_originals_and_working_directory_stay_as_they_are(tmp_path, images, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = {path.name: (file_sha256(path), path.stat().st_mtime_ns) for path in images.iterdir()}
    predict(images, images / "out")
    assert {p.name: (file_sha256(p), p.stat().st_mtime_ns) for p in images.iterdir() if p.is_file()} == before
    origin = json.loads((images / "out" / "prediction.json").read_text())
    assert origin == {
        "model_folder": (images / "model").as_posix(),
        "data_folder": images.as_posix(),
        "axes": "automatic",
        "classes": Stub().classes,
    }


def test_the_pixel_size_of_the_form_is_in_all_that_is_written(tmp_path, images):
    predict(images, tmp_path / "out", pixel_size=2)
    objects, counts = tables(tmp_path / "out")
    np.testing.assert_allclose(objects["area [um2]"], 4 * objects["area [px]"], rtol=1e-5)
    for path in (tmp_path / "out" / "labels").iterdir():
        assert read_image(path).pixel_size_um == pytest.approx(2)
    assert json.loads((tmp_path / "out" / "prediction.json").read_text())["pixel_size_um"] == 2


def test_the_files_of_a_set_are_counted_once_each(tmp_path):
    """Three time points in three files that name each other are three rows, not nine."""
    (tmp_path / "set").mkdir()
    names = [f"t{t}.ome.tif" for t in range(3)]
    data = "".join(
        f'<TiffData FirstT="{t}" IFD="0" PlaneCount="1"><UUID FileName="{name}">urn:uuid:{name}</UUID></TiffData>'
        for t, name in enumerate(names)
    )
    for name in names:
        xml = (
            '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
            f'UUID="urn:uuid:{name}"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" '
            'Type="uint8" SizeX="60" SizeY="50" SizeC="1" SizeZ="1" '
            f'SizeT="3">{data}</Pixels></Image></OME>'
        )
        array = squares((50, 60))[..., 0]
        tifffile.imwrite(tmp_path / "set" / name, array, description=xml, metadata=None)
    predicted = predict(tmp_path / "set", tmp_path / "out")
    assert predicted.table["file"].tolist() == names
    (said,) = predicted.warnings
    assert "3 images: t0.ome.tif" in said
    assert "a set of files" in said


@pytest.mark.parametrize(("trained", "doubtful"), [(0.5, False), (1.0, True), (None, False)])
def test_another_pixel_size_than_in_training_is_doubted(tmp_path, images, trained, doubtful):
    warnings = predict(images, tmp_path / "out", trained_at=trained).warnings
    assert ["another pixel size (for example 0.5 um)" in text for text in warnings] == [True] * doubtful


def test_a_full_disk_stops_the_run_and_is_no_fault_of_the_image(tmp_path, images, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(objects_predict, "export_imagej_rois", full)
    with pytest.raises(DataError, match="a.tif could not be written .*No space left"):
        predict(images, tmp_path / "out")
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def test_a_table_never_keeps_half_a_row(tmp_path, monkeypatch):
    table = GrowingTable(tmp_path / "t.csv")
    rows = [pd.DataFrame({"file": ["é.tif", "b"], "x [um]": [1 / 3, np.nan]})]
    table.append(rows)
    table.append(rows)
    assert pd.read_csv(tmp_path / "t.csv").to_numpy().shape == (4, 2)
    before = (tmp_path / "t.csv").read_bytes()
    assert before == "file,x [um]\né.tif,0.3333\nb,\né.tif,0.3333\nb,\n".encode()
    real = type(tmp_path).open

    def half(self, *args, **kwargs):
        stream = real(self, *args, **kwargs)

        class Half:
            def __enter__(self):
                return self

            def __exit__(self, *error):
                stream.close()

            def __getattr__(self, name):
                return getattr(stream, name)

            def write(self, data):
                if stream.tell() == len(before):
                    return stream.write(data[:5])
                raise OSError(28, "No space left on device")

        return Half()

    with monkeypatch.context() as patch:
        patch.setattr(type(tmp_path), "open", half)
        with pytest.raises(DataError, match="t.csv could not be written .*No space left"):
            table.append(rows)
    assert (tmp_path / "t.csv").read_bytes() == before
    table.append(rows)
    assert len(pd.read_csv(tmp_path / "t.csv")) == 6
