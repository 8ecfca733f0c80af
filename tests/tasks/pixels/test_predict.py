"""A folder of images in, files for other software out: values, colours, pixel sizes and counts."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import PIL.Image
import pytest
import tifffile

from utils.errors import DataError
from utils.files import file_sha256, meaningful
from utils.images.decoders import open_tiff
from utils.images.image import Image, read_image, read_mask, write_tiff
from utils.images.pixel_size import pixel_size
from utils.pages.colours import class_colours
from utils.tasks.pixels import predict
from utils.tasks.pixels.predict import measure
from utils.tasks.registry import UNET

RNG = np.random.default_rng(0)
SHAPES = {"a": (40, 50), "ragged": (37, 61), "tiny": (5, 7)}


@pytest.fixture
def images(tmp_path):
    """Folder of three grey 8-bit TIFFs of odd sizes; a.tif has a pixel size of 0.5 um."""
    folder = tmp_path / "images"
    for name, shape in SHAPES.items():
        array = RNG.integers(0, 256, shape).astype(np.uint8)
        write_tiff(folder / f"{name}.tif", array, 0.5 if name == "a" else None)
    return folder


def counts_of(mask, values):
    return [int((mask == value).sum()) for value in values]


def pixel_size_of(path):
    with open_tiff(path, mask=True) as (tif, series, _):
        return pixel_size(tif, series).um


def test_masks_hold_the_values_of_the_training_masks(tmp_path, images, untrained_model):
    values = (0, 50, 200)
    folder, _, description = untrained_model(values=values)
    UNET.predict(folder, images, tmp_path / "out")
    segmenter, seen = UNET.load(folder), set()
    for name, shape in SHAPES.items():
        mask = read_mask(tmp_path / "out" / "masks" / f"{name}.tif")
        assert mask.shape == shape
        assert mask.dtype == np.uint8
        ids = segmenter.class_ids(read_image(images / f"{name}.tif").array)
        np.testing.assert_array_equal(mask, np.array(values)[ids])
        seen |= set(np.unique(mask).tolist())
    assert seen == set(values)
    with tifffile.TiffFile(tmp_path / "out" / "masks" / "a.tif") as tif:  # Fiji does not show them black
        table = tif.pages[0].colormap
        for one in description["classes"]:
            expected = [round(255 * part) * 257 for part in class_colours(description["classes"])[one["id"]]]
            assert table[:, one["value"]].tolist() == expected
        assert table[:, 0].tolist() == [0, 0, 0]
    assert pixel_size_of(tmp_path / "out" / "masks" / "a.tif") == pytest.approx(0.5)


def test_values_above_255_are_written_as_16_bit_with_a_display_range(tmp_path, images, untrained_model):
    folder, *_ = untrained_model(values=(0, 3, 1000))
    UNET.predict(folder, images, tmp_path / "out")
    mask = read_mask(tmp_path / "out" / "masks" / "a.tif")
    assert mask.dtype == np.uint16
    assert set(np.unique(mask)) <= {0, 3, 1000}
    assert 1000 in mask
    with tifffile.TiffFile(tmp_path / "out" / "masks" / "a.tif") as tif:
        assert (tif.imagej_metadata["min"], tif.imagej_metadata["max"]) == (0, 1000)


def test_measurements_agree_with_the_masks(tmp_path, images, untrained_model):
    values = (0, 50, 200)
    folder, *_ = untrained_model(values=values)
    predicted = UNET.predict(folder, images, tmp_path / "out")
    table = pd.read_csv(tmp_path / "out" / "measurements.csv")
    pd.testing.assert_frame_equal(table, meaningful(predicted.table), check_dtype=False)
    assert table["file"].tolist() == ["a.tif", "ragged.tif", "tiny.tif"]
    for _, row in table.iterrows():
        mask = read_mask(tmp_path / "out" / "masks" / row["file"])
        assert (row["height [px]"], row["width [px]"]) == mask.shape
        counts = counts_of(mask, values)
        for name, count in zip(["background", "class 50", "class 200"], counts, strict=True):
            assert row[f"{name} [px]"] == count
            assert row[f"{name} [% of image]"] == pytest.approx(100 * count / mask.size, abs=0.006)
            area = row[f"{name} [um2]"]
            assert area == pytest.approx(count * 0.25, rel=1e-3) if row["file"] == "a.tif" else np.isnan(area)
        shares = [row[f"class {value} [% of all but background]"] for value in (50, 200)]
        assert shares == pytest.approx([100 * count / sum(counts[1:]) for count in counts[1:]], abs=0.006)
    image_shares = table[[column for column in table if column.endswith("[% of image]")]]
    np.testing.assert_allclose(image_shares.sum(axis=1), 100, atol=0.02)
    assert table["pixel size [um]"].tolist()[0] == pytest.approx(0.5)
    assert table["pixel size [um]"].isna().tolist() == [False, True, True]


def test_measure_by_hand():
    names = ["glass", "tissue", "fibrosis"]
    classes = [{"id": i, "name": name, "value": 10 * i, "group": None} for i, name in enumerate(names)]
    ids = np.array([[0, 0, 1, 1, 1], [0, 2, 1, 1, 1]], np.uint8)
    row = measure(ids, Image(Path("x/slide.tif"), ids[..., None], 2.0, "YX"), classes)
    assert row == {
        "file": "slide.tif",
        "width [px]": 5,
        "height [px]": 2,
        "pixel size [um]": 2.0,
        "glass [px]": 3,
        "glass [um2]": 12.0,
        "glass [% of image]": 30.0,
        "tissue [px]": 6,
        "tissue [um2]": 24.0,
        "tissue [% of image]": 60.0,
        "tissue [% of all but glass]": pytest.approx(600 / 7),
        "fibrosis [px]": 1,
        "fibrosis [um2]": 4.0,
        "fibrosis [% of image]": 10.0,
        "fibrosis [% of all but glass]": pytest.approx(100 / 7),
    }
    empty = measure(0 * ids, Image(Path("x/slide.tif"), ids[..., None], None, "YX"), classes)
    assert np.isnan(empty["fibrosis [% of all but glass]"])
    assert np.isnan(empty["glass [um2]"])
    assert empty["glass [% of image]"] == 100
    two = measure((ids > 0).astype(np.uint8), Image(Path("x.tif"), ids[..., None], None, "YX"), classes[:2])
    assert two["tissue [% of image]"] == 70
    assert "tissue [% of all but glass]" not in two


@pytest.mark.parametrize("values", [(0, 255), (0, 50, 200), (0, 1, 2, 3)])
def test_probabilities_sum_to_1_and_give_the_mask(tmp_path, images, untrained_model, values, monkeypatch):
    monkeypatch.setattr("utils.tasks.pixels.predict.TILE", 16)  # several bands of tiles
    monkeypatch.setattr("utils.tasks.pixels.predict.OVERLAP", 4)
    folder, *_ = untrained_model(values=values)
    UNET.predict(folder, images, tmp_path / "out", save_probabilities=True)
    for name, shape in SHAPES.items():
        path = tmp_path / "out" / "probabilities" / f"{name}.tif"
        with tifffile.TiffFile(path) as tif:
            probabilities = tif.asarray()
            assert tif.is_imagej
            assert tif.series[0].axes == "CYX"
        assert probabilities.shape == (len(values), *shape)
        assert probabilities.dtype == np.float32
        np.testing.assert_allclose(probabilities.sum(axis=0), 1, atol=1e-5)
        mask = read_mask(tmp_path / "out" / "masks" / f"{name}.tif")
        chosen = probabilities[1] > 0.5 if len(values) == 2 else probabilities.argmax(axis=0)
        np.testing.assert_array_equal(mask, np.array(values)[chosen.astype(int)])
    expected = 0.5 if name == "a" else None
    assert read_image(path).pixel_size_um == expected
    assert read_image(tmp_path / "out" / "probabilities" / "a.tif").pixel_size_um == pytest.approx(0.5)


def test_probabilities_are_only_written_when_asked_for(tmp_path, images, untrained_model):
    UNET.predict(untrained_model()[0], images, tmp_path / "out")
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == ["masks", "measurements.csv", "overlays", "qupath"]


def test_probabilities_of_an_earlier_prediction_do_not_stay_beside_new_masks(tmp_path, images, untrained_model):
    model, out = untrained_model()[0], tmp_path / "out"
    UNET.predict(model, images, out, save_probabilities=True)
    before = {path.name: path.read_bytes() for path in (out / "probabilities").iterdir()}
    (out / "probabilities" / "of_another.tif").write_bytes(b"kept")
    UNET.predict(model, images, out)
    after = {path.name: path.read_bytes() for path in (out / "probabilities").iterdir()}
    assert not set(before) & set(after)
    assert sorted(after.values()) == sorted([*before.values(), b"kept"]), "nothing is lost"


def test_outlines_that_would_take_long_are_written_only_when_asked_for(tmp_path, images, untrained_model, monkeypatch):
    monkeypatch.setattr(predict, "MOST_PARTS", 0)
    folder, *_ = untrained_model(threshold=0.0)  # everything is foreground
    found = UNET.predict(folder, images, tmp_path / "out")
    assert not (tmp_path / "out" / "qupath").exists()
    (said,) = [one for one in found.warnings if "no outlines for QuPath were written" in one]
    assert str(images / "a.tif") in said  # the one whose pixel size is known
    found = UNET.predict(folder, images, tmp_path / "out", qupath="yes")
    assert (tmp_path / "out" / "qupath" / "a.geojson").is_file()
    assert not any("no outlines" in one for one in found.warnings)


def test_overlays_are_pictures_of_the_image_thinned_where_large(tmp_path, images, untrained_model, monkeypatch):
    monkeypatch.setattr(predict, "OVERLAY_SIDE", 30)
    UNET.predict(untrained_model()[0], images, tmp_path / "out")
    for name, (height, width) in SHAPES.items():
        with PIL.Image.open(tmp_path / "out" / "overlays" / f"{name}.png") as picture:
            step = -(-max(height, width) // 30)
            assert picture.mode == "RGB"
            assert picture.size == (-(-width // step), -(-height // step))
            assert np.ptp(np.asarray(picture)) > 50


def test_the_threshold_of_the_model_is_used(tmp_path, images, untrained_model):
    areas = []
    for threshold in (0.0, 0.5, 1.0):
        folder, *_ = untrained_model(f"m{threshold}", threshold=threshold)
        table = UNET.predict(folder, images, tmp_path / f"out{threshold}").table
        areas.append(table["foreground [% of image]"].mean())
    assert areas[0] == 100 > areas[1] > areas[2] == 0


def test_rgb_png_and_jpeg_beside_each_other(tmp_path, untrained_model):
    (tmp_path / "images").mkdir()
    array = RNG.integers(0, 256, (30, 20, 3)).astype(np.uint8)
    PIL.Image.fromarray(array).save(tmp_path / "images" / "one.png")
    PIL.Image.fromarray(array).save(tmp_path / "images" / "two.JPG", format="JPEG")
    predicted = UNET.predict(untrained_model(channels=3)[0], tmp_path / "images", tmp_path / "out")
    assert predicted.table["file"].tolist() == ["one.png", "two.JPG"]
    assert sorted(os.listdir(tmp_path / "out" / "masks")) == ["one.tif", "two.tif"]


def test_a_bad_image_is_named_and_the_others_are_done(tmp_path, images, untrained_model):
    whole = (images / "a.tif").read_bytes()
    (images / "broken.tif").write_bytes(whole[: len(whole) // 2])
    write_tiff(images / "colour.tif", RNG.integers(0, 256, (20, 20, 3)).astype(np.uint8))
    (images / ".ipynb_checkpoints").mkdir()
    (images / "desktop.ini").write_text("x")
    predicted = UNET.predict(untrained_model()[0], images, tmp_path / "out")
    assert sorted(os.listdir(tmp_path / "out" / "masks")) == ["a.tif", "ragged.tif", "tiny.tif"]
    assert sorted(predicted.table["file"]) == ["a.tif", "ragged.tif", "tiny.tif"]
    broken, colour = predicted.warnings
    assert "broken.tif" in broken
    assert "truncated" in broken
    assert "colour.tif has 3 channels, the model was trained on 1" in colour


def test_only_bad_images_is_an_error(tmp_path, untrained_model):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "broken.tif").write_bytes(b"II*\0nothing")
    with pytest.raises(DataError, match=r"No image could be predicted.*broken\.tif"):
        UNET.predict(untrained_model()[0], tmp_path / "images", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_of_two_images_of_one_name_neither_is_taken_for_the_other(tmp_path, images, untrained_model):
    PIL.Image.fromarray(RNG.integers(0, 256, (9, 9)).astype(np.uint8)).save(images / "ragged.png")
    [warning] = UNET.predict(untrained_model()[0], images, tmp_path / "out").warnings
    assert "ragged.png and" in warning
    assert sorted(os.listdir(tmp_path / "out" / "masks")) == ["a.tif", "tiny.tif"]


def test_annotations_are_never_overwritten(tmp_path, images, untrained_model):
    """The usual layout, images/ and masks/ in one folder, which someone names as the result folder."""
    annotation = np.ones((40, 50), np.uint8)
    write_tiff(tmp_path / "masks" / "a.tif", annotation)
    before = file_sha256(tmp_path / "masks" / "a.tif")
    with pytest.raises(DataError, match=r"a\.tif exists and was not written by a prediction.*result_folder"):
        UNET.predict(untrained_model()[0], images, tmp_path)
    assert file_sha256(tmp_path / "masks" / "a.tif") == before
    assert not (tmp_path / "overlays").exists()


def test_predicting_again_replaces_the_results(tmp_path, images, untrained_model):
    UNET.predict(untrained_model("first", threshold=0.0)[0], images, tmp_path / "out")
    UNET.predict(untrained_model("second", threshold=1.0)[0], images, tmp_path / "out")
    assert read_mask(tmp_path / "out" / "masks" / "a.tif").max() == 0
    assert (pd.read_csv(tmp_path / "out" / "measurements.csv")["foreground [px]"] == 0).all()


def test_originals_and_working_directory_stay_as_they_are(tmp_path, images, untrained_model, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = {path.name: (file_sha256(path), path.stat().st_mtime_ns) for path in images.iterdir()}
    model = untrained_model()[0]
    model_before = {path.name: file_sha256(path) for path in model.iterdir()}
    UNET.predict(model, images, images / "out", save_probabilities=True)  # even inside the folder of the images
    assert {p.name: (file_sha256(p), p.stat().st_mtime_ns) for p in images.iterdir() if p.is_file()} == before
    assert {path.name: file_sha256(path) for path in model.iterdir()} == model_before
    assert Path.cwd() == tmp_path
    written = [path for path in (images / "out").rglob("*") if path.is_file()]
    assert len(written) == 3 * 3 + 2  # and the outlines of a.tif, the one whose pixel size is known
    assert not [path for path in written if path.name.startswith(".")]  # no temporary file is left


def test_a_full_disk_while_writing_probabilities_is_told_and_leaves_nothing(
    tmp_path, images, untrained_model, monkeypatch
):
    real = Path.open

    def full(self, mode="r", *args, **kwargs):
        stream = real(self, mode, *args, **kwargs)
        if mode != "r+b":
            return stream

        class Full:
            def __enter__(self):
                return self

            def __exit__(self, *error):
                stream.close()

            def seek(self, position):
                stream.seek(position)

            def write(self, data):
                raise OSError(28, "No space left on device")

        return Full()

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(DataError, match="No space left"):
        UNET.predict(untrained_model()[0], images, tmp_path / "out", save_probabilities=True)
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def test_one_image_is_in_memory_at_a_time(tmp_path, images, untrained_model, monkeypatch):
    alive = []
    monkeypatch.setattr(
        predict, "read_image", lambda path, *rest, **named: alive.append(path) or read_image(path, *rest, **named)
    )
    order = []

    def progress(files):
        for path in files:
            order.append((path.name, len(alive), len(list((tmp_path / "out").rglob("masks/*.tif")))))
            yield path

    UNET.predict(untrained_model()[0], images, tmp_path / "out", progress=progress)
    assert order == [("a.tif", 0, 0), ("ragged.tif", 1, 1), ("tiny.tif", 2, 2)]  # each written before the next is read


def test_the_pixel_size_of_the_form_is_in_all_that_is_written(tmp_path, images, untrained_model):
    options = {"save_probabilities": True, "pixel_size": 0.2}
    table = UNET.predict(untrained_model()[0], images, tmp_path / "out", **options).table
    assert set(table["pixel size [um]"]) == {0.2}
    written = pd.read_csv(tmp_path / "out" / "measurements.csv")
    np.testing.assert_allclose(written["background [um2]"], 0.04 * written["background [px]"])
    for kind in ("masks", "probabilities"):
        sizes = [pixel_size_of(path) for path in (tmp_path / "out" / kind).iterdir()]
        assert sizes == pytest.approx([0.2] * 3)


def test_what_is_odd_about_files_is_said_once_and_stops_no_other(tmp_path, images, untrained_model):
    for name in ("print1.tif", "print2.tif"):
        options = {"imagej": True, "resolution": (300 / 2.54,) * 2, "metadata": {"unit": "cm"}}
        tifffile.imwrite(images / name, np.arange(900, dtype=np.uint8).reshape(30, 30), **options)
    (images / "page.png").write_text("<!DOCTYPE html><html></html>")
    (images / "nothing.tif").touch()
    predicted = UNET.predict(untrained_model()[0], images, tmp_path / "out")
    assert len(predicted.table) == 5
    for name in ("nothing.tif", "page.png"):
        assert any(f"{name} cannot be read: it is" in text for text in predicted.warnings)
    (said,) = [text for text in predicted.warnings if "84.67" in text]
    assert "(2 images: print1.tif, print2.tif)" in said
    assert "300 dpi" in said
    assert predicted.table.set_index("file")["pixel size [um]"].isna().sum() == 4
    assert "84.67" not in " ".join(
        UNET.predict(untrained_model()[0], images, tmp_path / "out", pixel_size=0.3).warnings
    )


@pytest.mark.parametrize(
    ("trained", "doubtful"), [(0.5, False), (0.55, False), (0.25, True), (1.0, True), (None, False)]
)
def test_another_pixel_size_than_in_training_is_doubted(tmp_path, images, untrained_model, trained, doubtful):
    predicted = UNET.predict(untrained_model(pixel_size_um=trained)[0], images, tmp_path / "out")
    assert len(predicted.warnings) == doubtful
    if doubtful:
        assert "1 image has another pixel size (for example 0.5 um)" in predicted.warnings[0]
