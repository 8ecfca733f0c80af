"""Crops of a time-lapse: classes along the track of each cell, in the order in which they can follow each other."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from utils.errors import DataError, how_many
from utils.files import read_entries
from utils.tasks.phase_order import allowed_moves, along_each_track, phase_order, transitions

ALONG = "classes_along_tracks.csv"
COLUMNS = ("file", "track", "frame")
SMOOTHED, SINGLE = "class along the track", "class of the image alone"


def read_track_table(path: Path) -> pd.DataFrame:
    """Table of which crop shows which cell and when: file, track (str) and frame (float), a row for each crop.

    DataError where a column is missing, a frame is no number, or two crops of a track have the same frame.
    """
    entries = read_entries(path, COLUMNS, ("track table", "crop"))
    table = pd.DataFrame([row for _, row in entries], columns=list(COLUMNS))
    frames = pd.to_numeric(table["frame"], errors="coerce")
    if wrong := table["frame"][frames.isna()].tolist():
        raise DataError(
            f"{path} has {wrong[0]!r} in the column frame, which must be a number: frame or time of each crop."
        )
    table["frame"] = frames
    if (twice := table[table.duplicated(["track", "frame"])]).size:
        raise DataError(
            f"{path} has two crops of the track {twice['track'].iloc[0]!r} in the frame {twice['frame'].iloc[0]:g}, "
            "but a cell is seen once in each. Correct the columns track and frame."
        )
    return table


def along_tracks(
    predicted: pd.DataFrame, tracks: pd.DataFrame, names: Sequence[str], prefix: str = "p_"
) -> tuple[pd.DataFrame, list[str]]:
    """Class of each crop by all that was seen of its cell, and sentences on what was done.

    Parameters
    ----------
    predicted
        Columns file, class and `prefix` + name of each class, a row for each crop.
    tracks
        From `read_track_table`.
    names
        Classes of the model. Those that are phases of the cell cycle follow each other in its order only, others at
        will.

    Returns
    -------
    table, sentences
        file, track, frame, class of the image alone, class along the track; in the order of tracks and frames.

    Raises
    ------
    DataError
        No crop of the table is among those that were classified.
    """
    table = predicted.merge(tracks, on="file").sort_values(["track", "frame"], kind="stable").reset_index(drop=True)
    if not len(table):
        raise DataError(
            f"None of the {how_many(len(tracks), 'file')} in the track table was classified, such as "
            f"{tracks['file'].iloc[0]!r}. Write paths below the folder of images, such as "
            f"{predicted['file'].iloc[0]!r}."
        )
    p = table[[prefix + name for name in names]].to_numpy(float)
    found = along_each_track(table["track"].to_numpy(), p, names, transitions(allowed_moves(names)))
    result = table[list(COLUMNS)].assign(**{SINGLE: table["class"], SMOOTHED: found})
    changed, n_tracks = int((result[SINGLE] != result[SMOOTHED]).sum()), result["track"].nunique()
    order = phase_order(names)
    told = f"in the order {', '.join(order)}" if order else "which may follow in any order"
    sentences = [
        f"{how_many(changed, 'image')} of {len(result)} on {how_many(n_tracks, 'track')} got another class from the "
        f"images before and after ({ALONG}), {told}."
    ]
    if missing := len(predicted) - len(result):
        sentences.append(f"{how_many(missing, 'image')} are on no track of the table.")
    return result, sentences
