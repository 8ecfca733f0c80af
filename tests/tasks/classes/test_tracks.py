"""Classes along the tracks of a time-lapse of crops."""

import numpy as np
import pandas as pd
import pytest

from tests.tasks.classes.test_predict import classify
from tests.tiny_classifier import NAMES, write_crops
from utils.errors import DataError
from utils.tasks.classes.tracks import ALONG, SINGLE, SMOOTHED, along_tracks, read_track_table

PHASES = ("interphase", "prophase", "metaphase", "anaphase")


def written(path, text):
    path.write_text(text)
    return path


def predicted(*classes):
    p = np.array([np.where(np.array(PHASES) == name, 0.7, 0.1) for name in classes])
    files = [f"c{i}.tif" for i in range(len(classes))]
    return pd.DataFrame({"file": files, "class": classes} | {f"p_{name}": p[:, i] for i, name in enumerate(PHASES)})


def tracks(n, track="1"):
    return pd.DataFrame({"file": [f"c{i}.tif" for i in range(n)], "track": track, "frame": np.arange(n, dtype=float)})


def test_one_odd_image_is_mended():
    seen = ["interphase"] * 3 + ["anaphase"] + ["interphase"] * 3 + ["prophase"] * 3 + ["metaphase"] * 3
    table, told = along_tracks(predicted(*seen), tracks(len(seen)), PHASES)
    expected = ["interphase"] * 7 + ["prophase"] * 3 + ["metaphase"] * 3
    assert table[SMOOTHED].tolist() == expected
    assert table[SINGLE].tolist() == seen
    assert told[0].startswith("1 image of 13 on 1 track got another class")
    assert "in the order interphase, prophase, metaphase, anaphase" in told[0]


def test_frames_count_not_the_order_of_rows_and_tracks_stand_alone():
    seen = ["interphase", "metaphase"] * 4
    mixed = tracks(8).assign(track=["a", "b"] * 4).sample(frac=1, random_state=0)
    table, told = along_tracks(predicted(*seen), mixed, PHASES)
    assert table["track"].tolist() == ["a"] * 4 + ["b"] * 4
    assert (table[SMOOTHED] == table[SINGLE]).all()
    assert told[0].startswith("0 images")


def test_crops_without_a_track_are_told_of():
    assert along_tracks(predicted(*["interphase"] * 5), tracks(3), PHASES)[1][1].startswith("2 images are on no track")
    with pytest.raises(DataError, match="None of the 1 file.*'c9.tif'.*such as 'c0.tif'"):
        along_tracks(predicted("interphase"), tracks(1).assign(file="c9.tif"), PHASES)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("file;track\na.tif;1", "frame"),
        ("file,track,frame\na.tif,1,first", "'first' in the column frame"),
        ("file,track,frame\na.tif,1,2\nb.tif,1,2", "two crops of the track '1' in the frame 2"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path, text, said):
    with pytest.raises(DataError, match=said):
        read_track_table(written(tmp_path / "tracks.csv", text))


def test_a_folder_of_crops_with_tracks(tmp_path):
    images = write_crops(tmp_path / "images", {f"day 1/{i}.tif": 100 for i in range(4)})
    text = "Track;Frame;File\n" + "".join(f"7;{i / 2};day 1/{i}.tif\n" for i in range(4))
    out = tmp_path / "out"
    done = classify(images, out, tracks=written(tmp_path / "tracks.csv", text))
    table = pd.read_csv(out / ALONG)
    assert table["file"].tolist() == [f"day 1/{i}.tif" for i in range(4)]
    assert set(table[SMOOTHED]) == {NAMES[1]}
    assert any("got another class" in one for one in done.warnings)
    with pytest.raises(DataError, match="no track"):
        classify(images, out, tracks=tmp_path / "no track.csv")
    classify(images, out)
    assert not (out / ALONG).exists()  # it would be taken for that of this prediction
