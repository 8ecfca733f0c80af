"""A folder of images in; classes, a list to review and montages out."""

import json
import os

import numpy as np
import pandas as pd
import PIL.Image
import pytest
import tifffile

from tests.tiny_classifier import CLASSES, NAMES, Stub, description, write_crops
from utils.errors import DataError
from utils.files import file_sha256, meaningful, write_csv, write_json
from utils.images.image import read_image, write_tiff
from utils.pages.pictures import montage, thumbnail
from utils.tasks.classes import predict
from utils.tasks.classes.predict import (
    FIRST_COLUMNS,
    CropResults,
    check_tables,
    counts_by_class,
    earlier_classes,
    is_corrected,
    keep_corrected,
    prediction_table,
    review_table,
)
from utils.tasks.results import predict_folder
from utils.training.model_folder import NO_RESULT

VALUES = {"a.tif": 0, "b.tif": 100, "c.tif": 200, "day 2/a.tif": 205, "day 2/d.tif": 152}


@pytest.fixture
def images(tmp_path):
    return write_crops(tmp_path / "images", VALUES)


def classify(images, out, stub=None, channels=1, pixel_size_um=None, **options):
    stub = stub or Stub()
    stub.description = description(channels, pixel_size_um=pixel_size_um)
    return predict_folder(CropResults(stub, out.parent / "model", images, out, **options))


def test_all_files_agree(tmp_path, images):
    out = tmp_path / "out"
    predicted = classify(images, out)
    table = pd.read_csv(out / "predictions.csv")
    assert predicted.warnings == []
    assert list(table) == ["file", "class", "broad class", "uncertain", *(f"p_{name}" for name in NAMES)]
    pd.testing.assert_frame_equal(table, meaningful(predicted.table), check_dtype=False, rtol=1e-6)
    assert dict(zip(table["file"], table["class"], strict=True)) == {
        name: NAMES[round(value / 100)] for name, value in VALUES.items()
    }
    assert table["broad class"].tolist() == [CLASSES[round(VALUES[name] / 100)]["group"] for name in table["file"]]
    for name, row in zip(table["file"], table.itertuples(), strict=True):
        np.testing.assert_allclose(row[5:], Stub().scores(VALUES[name]), atol=6e-5)
    assert table["uncertain"].tolist() == [name == "day 2/d.tif" for name in table["file"]]
    review = pd.read_csv(out / "review.csv")
    assert review["file"][0] == "day 2/d.tif"
    assert sorted(os.listdir(out)) == [
        "class_counts.csv",
        "classification.json",
        "montages",
        "predictions.csv",
        "review.csv",
    ]
    assert sorted(os.listdir(out / "montages")) == ["early_ anaphase.png", "métaphase.png", "prophase.png"]
    with PIL.Image.open(out / "montages" / "prophase.png") as picture:
        order = table[table["class"] == "prophase"].sort_values("p_prophase", ascending=False)["file"]
        expected = montage([thumbnail(read_image(images / name).array) for name in order])
        np.testing.assert_array_equal(np.asarray(picture), expected)
    told = json.loads((out / "classification.json").read_text(encoding="utf-8"))
    assert told["classes"] == CLASSES
    assert told["data_folder"] == images.as_posix()


def test_a_montage_holds_at_most_100_from_the_most_to_the_least_probable(tmp_path, images, monkeypatch):
    monkeypatch.setattr(predict, "MOST_SHOWN", 3)
    write_crops(images, {f"more_{i}.tif": 180 + 5 * i for i in range(5)})  # 180 ... 200
    shown = []
    monkeypatch.setattr(predict, "thumbnail", lambda array: shown.append(array.max()) or thumbnail(array))
    classify(images, tmp_path / "out")
    prophase = shown[2:]  # after one early anaphase and one metaphase
    assert len(prophase) == 3
    assert prophase[0] == 200
    assert prophase[-1] == 152


def test_images_are_given_as_they_are_and_one_at_a_time(tmp_path):
    array = np.random.default_rng(0).integers(0, 60000, (9, 14, 2)).astype(np.uint16)
    write_tiff(tmp_path / "images" / "a.tif", array)
    write_crops(tmp_path / "unused", {"x.tif": 0})
    calls = []

    class Counting(Stub):
        def probabilities(self, arrays):
            calls.append(len(arrays))
            return super().probabilities(arrays)

    write_tiff(tmp_path / "images" / "b.tif", array[::-1])
    stub = Counting()
    classify(tmp_path / "images", tmp_path / "out", stub, channels=2)
    assert calls == [1, 1]
    np.testing.assert_array_equal(stub.seen[0], array)
    assert stub.seen[0].dtype == np.uint16


def test_a_bad_image_is_named_and_the_others_are_done(tmp_path, images):
    (images / "broken.tif").write_bytes(b"II*\0nothing")
    write_tiff(images / "colour.tif", np.zeros((8, 8, 3), np.uint8))
    tifffile.imwrite(images / "stack.tif", np.zeros((5, 8, 8), np.uint8), imagej=True, metadata={"axes": "TYX"})
    (images / "desktop.ini").write_text("x")
    (images / ".ipynb_checkpoints").mkdir()
    (images / ".ipynb_checkpoints" / "a.png").write_text("x")
    predicted = classify(images, tmp_path / "out")
    assert sorted(predicted.table["file"]) == sorted(VALUES)
    assert len(predicted.warnings) == 3
    for name in ("broken.tif", "colour.tif", "stack.tif"):
        assert sum(name in one for one in predicted.warnings) == 1


def test_only_bad_images_is_an_error_and_writes_nothing(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "broken.tif").write_bytes(b"II*\0nothing")
    with pytest.raises(DataError, match=r"No image could be classified.*broken\.tif"):
        classify(tmp_path / "images", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["predictions.csv", "review.csv", "class_counts.csv", "montages/prophase.png"])
def test_what_a_person_made_is_never_overwritten(tmp_path, images, name):
    path = tmp_path / "out" / name
    path.parent.mkdir(parents=True)
    path.write_text("file,class\nmine,mine\n")
    with pytest.raises(DataError, match=r"exists and was not written by a prediction.*result_folder"):
        classify(images, tmp_path / "out")
    assert path.read_text() == "file,class\nmine,mine\n"
    assert [one for one in (tmp_path / "out").rglob("*") if one.is_file()] == [path]


def test_predicting_again_replaces_the_results_and_montages_of_classes_no_longer_found(tmp_path, images):
    out = tmp_path / "out"
    classify(images, out)
    write_crops(images, dict.fromkeys(VALUES, 100))
    assert classify(images, out).warnings == []
    assert set(pd.read_csv(out / "predictions.csv")["class"]) == {NAMES[1]}
    assert os.listdir(out / "montages") == ["métaphase.png"]
    other = [one | {"name": f"kind {one['id']}"} for one in CLASSES]
    classify(images, out, Stub(other))
    assert os.listdir(out / "montages") == ["kind 1.png"]
    assert sorted(os.listdir(out)) == [
        "class_counts.csv",
        "classification.json",
        "montages",
        "predictions.csv",
        "review.csv",
    ]


def test_rows_of_images_that_are_gone_are_kept(tmp_path, images):
    out = tmp_path / "out"
    classify(images, out)
    (images / "a.tif").unlink()
    (told,) = classify(images, out).warnings
    assert "1 image of an earlier prediction (a.tif)" in told
    assert len(list(out.glob("predictions*.csv"))) == 2
    assert len(list(out.glob("review*.csv"))) == 2


def test_a_corrected_review_is_kept(tmp_path, images):
    out = tmp_path / "out"
    classify(images, out)
    review = pd.read_csv(out / "review.csv")
    review.loc[0, "class"] = NAMES[0]
    write_csv(out / "review.csv", review)
    (told,) = classify(images, out).warnings
    assert "review.csv holds classes that were corrected by hand" in told
    (kept,) = out.glob("review.*-*.csv")
    assert pd.read_csv(kept)["class"][0] == NAMES[0]
    assert pd.read_csv(out / "review.csv")["class"][0] == NAMES[2]


@pytest.mark.parametrize("place", ["", "results", "results/of/today"])
def test_montages_are_not_classified_and_originals_stay(tmp_path, images, place):
    before = {path: (file_sha256(path), path.stat().st_mtime_ns) for path in images.rglob("*.tif")}
    for _ in range(2):
        predicted = classify(images, images / place)
        assert sorted(predicted.table["file"]) == sorted(VALUES)
        assert predicted.warnings == []
    assert {path: (file_sha256(path), path.stat().st_mtime_ns) for path in images.rglob("*.tif")} == before


def test_images_below_the_result_folder_are_found(tmp_path, images):
    assert len(classify(images, tmp_path).table) == len(VALUES)


def test_what_is_done_stays_when_the_run_is_stopped(tmp_path, images):
    def stopped(files):
        yield from list(files)[:2]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        classify(images, tmp_path / "out", progress=stopped)
    assert len(pd.read_csv(tmp_path / "out" / "predictions.csv")) == 2


def test_a_full_disk_stops_the_run_and_is_no_fault_of_the_image(tmp_path, images, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(DataError, match="could not be written.*No space left"):
        classify(images, tmp_path / "out")


@pytest.mark.parametrize(("trained", "doubtful"), [(0.5, False), (1.0, True), (None, False)])
def test_another_pixel_size_than_in_training_is_doubted(tmp_path, trained, doubtful):
    write_crops(tmp_path / "images", {"a.tif": 0}, pixel_size_um=0.5)
    assert len(classify(tmp_path / "images", tmp_path / "out", pixel_size_um=trained).warnings) == doubtful
    given = {"pixel_size_um": trained, "pixel_size": trained or 0}
    assert classify(tmp_path / "images", tmp_path / "out", **given).warnings == []


def test_the_working_directory_does_not_matter(tmp_path, images, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    classify(images, tmp_path / "out")
    assert os.listdir() == []


def probabilities(rng, n=50):
    return rng.dirichlet(np.full(len(CLASSES), 0.7), n).astype(np.float32)


def test_columns_and_values():
    table = prediction_table({"file": ["a", "b"]}, np.array([[0.1, 0.2, 0.7], [0.6, 0.3, 0.1]], np.float32), CLASSES)
    assert list(table) == ["file", "class", "broad class", "uncertain", *(f"p_{name}" for name in NAMES)]
    assert table["class"].tolist() == ["prophase", "early, anaphase"]
    assert table["broad class"].tolist() == ["B", "A"]
    assert table["p_prophase"].tolist() == pytest.approx([0.7, 0.1])


@pytest.mark.parametrize(
    ("p", "uncertain"),
    [
        ((0.52, 0.44, 0.04), True),  # less than 0.1 apart
        ((0.55, 0.42, 0.03), False),
        ((0.49, 0.26, 0.25), True),  # below 0.5
        ((0.51, 0.25, 0.24), False),
        ((0.03, 0.44, 0.53), True),
        ((0, 1, 0), False),
    ],
)
def test_uncertain(p, uncertain):
    assert prediction_table({"file": ["a"]}, np.array([p], np.float32), CLASSES)["uncertain"].tolist() == [uncertain]


def test_no_rows_keep_the_columns():
    table = prediction_table({"file": [], "label": []}, np.zeros((0, 3), np.float32), CLASSES)
    assert len(table) == 0
    assert list(table)[:5] == ["file", "label", "class", "broad class", "uncertain"]


@pytest.mark.parametrize("seed", range(5))
def test_review_has_all_rows_the_most_uncertain_first(seed):
    p = probabilities(np.random.default_rng(seed))
    table = prediction_table({"file": [f"{i}.tif" for i in range(len(p))]}, p, CLASSES)
    review = review_table(table)
    assert "broad class" not in review  # it follows from the class, which may be corrected
    assert sorted(review["file"]) == sorted(table["file"])
    assert review["uncertain"].is_monotonic_decreasing
    first = np.sort(review[[f"p_{name}" for name in NAMES]].to_numpy(), axis=1)
    lead = first[:, -1] - first[:, -2]
    for one in (True, False):
        assert (np.diff(lead[review["uncertain"] == one]) >= 0).all()
    assert 0 < review["uncertain"].sum() < len(review)


@pytest.mark.parametrize("seed", range(3))
def test_only_a_changed_class_is_a_correction(tmp_path, seed):
    p = probabilities(np.random.default_rng(seed))
    p[0] = (0.4, 0.4, 0.2)  # a tie
    table = prediction_table({"file": ["NA"] * len(p)}, p, CLASSES)
    path = tmp_path / "predictions.csv"
    table.to_csv(path, index=False, float_format="%.7g")
    assert not is_corrected(path)
    assert earlier_classes(path) == list(NAMES)
    for wrong in ("remove", NAMES[(p[3].argmax() + 1) % 3], ""):
        changed = table.copy()
        changed.loc[3, "class"] = wrong
        write_csv(path, changed)
        assert is_corrected(path)
    path.write_text(table.to_csv(index=False).replace("0.", "x"), encoding="utf-8")
    assert is_corrected(path)  # cannot be read: better kept


def test_a_corrected_table_is_kept_under_a_free_name(tmp_path):
    table = prediction_table({"file": ["a"]}, np.array([[0.1, 0.2, 0.7]]), CLASSES)
    write_csv(tmp_path / "review.csv", table)
    assert keep_corrected(tmp_path, ["review.csv", "absent.csv"]) == []
    for i in range(2):
        write_csv(tmp_path / "review.csv", table.assign(**{"class": NAMES[i]}))
        (told,) = keep_corrected(tmp_path, ["review.csv"])
        assert "corrected by hand" in told
        assert not (tmp_path / "review.csv").exists()
    kept = sorted(tmp_path.iterdir())
    assert {pd.read_csv(path)["class"][0] for path in kept} == set(NAMES[:2])
    assert all(path.name in "review.csv" or path.name.startswith("review.2") for path in kept)


def test_tables_of_others_are_refused(tmp_path):
    check_tables(tmp_path, {"t.csv": ("file", "class")})
    write_csv(tmp_path / "t.csv", pd.DataFrame(columns=["file", "class", "more"]))
    check_tables(tmp_path, {"t.csv": ("file", "class")})
    for content in ("file;class\n", "", "class,file\n"):
        (tmp_path / "t.csv").write_text(content)
        with pytest.raises(DataError, match=r"t\.csv exists and was not written by a prediction"):
            check_tables(tmp_path, {"t.csv": ("file", "class")})


def test_without_an_earlier_table_there_are_no_earlier_classes(tmp_path):
    assert earlier_classes(tmp_path / "absent.csv") == []


@pytest.mark.parametrize("seed", range(5))
def test_counts_and_shares_of_the_classes(seed):
    rng = np.random.default_rng(seed)
    p = probabilities(rng, int(rng.integers(1, 40)))
    table = prediction_table({"file": [f"{i}.tif" for i in range(len(p))]}, p, CLASSES)
    shares = counts_by_class(table, CLASSES)
    assert shares["class"].tolist() == list(NAMES)
    assert shares["images"].sum() == len(table)
    assert shares["share [%]"].sum() == pytest.approx(100)
    assert shares["uncertain"].sum() == table["uncertain"].sum()
    assert shares["broad class"].tolist() == [one["group"] for one in CLASSES]
    assert (shares["images"] == [(p.argmax(axis=1) == i).sum() for i in range(3)]).all()


def test_counts_without_any_image():
    table = prediction_table({"file": []}, np.zeros((0, 3), np.float32), CLASSES)
    shares = counts_by_class(table, CLASSES, "objects")
    assert shares["objects"].tolist() == [0, 0, 0]
    assert shares["share [%]"].isna().all()


def test_how_many_of_each_class_is_told_and_written(tmp_path, images):
    predicted = classify(images, tmp_path / "out")
    (told,) = predicted.summary.values()
    written = pd.read_csv(tmp_path / "out" / "class_counts.csv")
    assert written["images"].tolist() == told["images"].tolist()
    assert written["images"].sum() == len(VALUES)
    classify(images, tmp_path / "out")  # it is a result of an earlier prediction, which may be replaced


def test_every_table_of_a_model_to_try_out_says_so(tmp_path, images):
    write_json(tmp_path / "model" / "parameters.json", {"overrides": {"training": {"preset": "Try out"}}})
    classify(images, tmp_path / "out")
    tables = {path.name: pd.read_csv(path) for path in (tmp_path / "out").glob("*.csv")}
    assert sorted(tables) == ["class_counts.csv", "predictions.csv", "review.csv"]
    assert all((table["remark"] == NO_RESULT).all() for table in tables.values())


def test_without_broad_classes_there_is_no_column_of_them():
    alone = [one | {"group": None} for one in CLASSES]
    table = prediction_table({"file": ["a"]}, np.array([[0.1, 0.2, 0.7]]), alone)
    assert list(table) == ["file", "class", "uncertain", *(f"p_{name}" for name in NAMES)]
    assert list(counts_by_class(table, alone)) == ["class", "images", "share [%]", "uncertain"]


@pytest.mark.parametrize("between", ["", ",group", ",broad class"])
def test_results_of_earlier_versions_may_be_written_over(tmp_path, between):
    (tmp_path / "predictions.csv").write_text(f"file,class{between},uncertain,p_x\n")
    check_tables(tmp_path, FIRST_COLUMNS)
