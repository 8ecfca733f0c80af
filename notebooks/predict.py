"""Predict with one model on many folders: python -m notebooks.predict MODEL FOLDER [FOLDER ...] [--results FOLDER].

Does what section 6 of the notebook of the model's task does, folder by folder: RESULTS/<folder>/ holds masks, label
images or classes, tables and pictures; RESULTS/summary.csv says of each folder what became of it.
"""

import argparse
import os
import sys
from itertools import chain, count
from pathlib import Path

import pandas as pd
from tqdm.auto import tqdm

from utils import runtime
from utils.errors import UserError
from utils.files import write_text
from utils.tasks.choices import name_of_folder


def result_names(folders: list[Path]) -> list[str]:
    """Name of the results of each folder, see `name_of_folder`; only equal names get a number."""
    names: list[str] = []
    for name in map(name_of_folder, folders):
        names.append(next(free for free in chain([name], (f"{name}.{i}" for i in count(2))) if free not in names))
    return names


def earlier_summary(path: Path, folders: list[Path]) -> pd.DataFrame:
    """Rows that earlier commands wrote of other folders."""
    if not path.is_file():
        return pd.DataFrame()
    table = pd.read_csv(path, keep_default_na=False)
    return table[~table["folder"].isin([str(folder) for folder in folders])]


def predict_all(model: Path, folders: list[Path], results: Path) -> pd.DataFrame:
    """Predict on each folder; a folder that cannot be read is told and does not stop the others.

    Parameters
    ----------
    model
        A model folder of any of the notebooks.
    folders
        Folders of images.
    results
        Gets one folder for each of them, and ``summary.csv``, written anew after each; rows of folders that an earlier
        command predicted on stay.

    Returns
    -------
    DataFrame
        Columns folder, results, rows (of the table of results), problem (empty where all went well), remark (why all of
        it is no result, usually empty).

    Raises
    ------
    ModelError
        If `model` is no model folder.
    """
    runtime.prepare()
    runtime.start()
    from utils.tasks.registry import read_task  # loads TensorFlow

    task, _ = read_task(model)
    earlier, rows = earlier_summary(results / "summary.csv", folders), []
    for folder, name in zip(folders, result_names(folders), strict=True):
        row = {"folder": str(folder), "results": name, "rows": 0, "problem": "", "remark": ""}
        try:
            predicted = task.predict(model, folder, results / name, tqdm)
            row |= {"rows": len(predicted.table), "problem": " ".join(predicted.warnings), "remark": predicted.remark}
        except (UserError, OSError) as error:
            row["problem"] = str(error)
        rows.append(row)
        write_text(results / "summary.csv", pd.concat([earlier, pd.DataFrame(rows)]).to_csv(index=False))
    return pd.DataFrame(rows)


def main() -> int:
    """Read the command line; 0 if every folder went well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a model folder, such as models/my_unet")
    parser.add_argument("folder", nargs="+", type=Path, help="folders of images")
    parser.add_argument("--results", type=Path, default=Path("results", "batch"), help="default: results/batch")
    arguments = parser.parse_args()
    model, results, *folders = (
        Path(os.path.abspath(one)) for one in (arguments.model, arguments.results, *arguments.folder)
    )
    folders = list(dict.fromkeys(folders))
    try:
        table = predict_all(model, folders, results)
    except UserError as error:
        print(f"{error.title}: {error}", file=sys.stderr)
        return 1
    for _, row in table.iterrows():
        told = " ".join(one for one in (row["problem"], row["remark"]) if one)
        print(f"{row['folder']}: {row['rows']} rows in {arguments.results / row['results']} {told}".rstrip())
    return int((table["problem"] != "").any())


if __name__ == "__main__":
    sys.exit(main())
