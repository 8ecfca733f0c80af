"""Predict with one model on many folders: python -m notebooks.predict MODEL FOLDER [FOLDER ...] [--results FOLDER].

MODEL is the folder of a model of any notebook, a package of the BioImage Model Zoo (its zip file, folder or address),
or a model that the authors of StarDist publish, such as 2D_versatile_he. Does what section 6 of the notebook of the
model's task does, folder by folder: RESULTS/<folder>/ holds masks, label images or classes, tables and pictures;
RESULTS/summary.csv says of each folder what became of it.
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
from utils.exchange.opening import find_model
from utils.exchange.packages import is_address
from utils.files import write_text
from utils.samples import PUBLISHED
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


def absolute(model: str) -> str | Path:
    """A model as it is named, its path made absolute where it is one."""
    return model if model in PUBLISHED or is_address(model) else Path(os.path.abspath(model))


def predict_all(model: str | Path, folders: list[Path], results: Path, package_channels: str = "") -> pd.DataFrame:
    """Predict on each folder; a folder that cannot be read is told and does not stop the others.

    Parameters
    ----------
    model
        A model folder of any of the notebooks, or what else `utils.exchange.opening.find_model` finds.
    folders
        Folders of images.
    results
        Gets one folder for each of them, and ``summary.csv``, written anew after each; rows of folders that an earlier
        command predicted on stay.
    package_channels
        What the channels of a package mean, see `utils.exchange.channels.meanings`.

    Returns
    -------
    DataFrame
        Columns folder, results, rows (of the table of results), problem (empty where all went well), remark (why all of
        it is no result, usually empty).

    Raises
    ------
    ModelError
        If `model` is no model, or none that can be used.
    """
    runtime.prepare()
    runtime.start()
    from utils.exchange.package_task import predicting  # loads TensorFlow

    model = find_model(model)
    task = predicting(model, package_channels=package_channels)
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
    parser.add_argument("model", help="a model folder, such as models/my_unet; a package; a published StarDist model")
    parser.add_argument("folder", nargs="+", type=Path, help="folders of images")
    parser.add_argument("--results", type=Path, default=Path("results", "batch"), help="default: results/batch")
    parser.add_argument("--channels", default="", help="what the channels of a package mean: foreground,boundary")
    arguments = parser.parse_args()
    results, *folders = (Path(os.path.abspath(one)) for one in (arguments.results, *arguments.folder))
    folders = list(dict.fromkeys(folders))
    try:
        table = predict_all(absolute(arguments.model), folders, results, arguments.channels)
    except UserError as error:
        print(f"{error.title}: {error}", file=sys.stderr)
        return 1
    for _, row in table.iterrows():
        told = " ".join(one for one in (row["problem"], row["remark"]) if one)
        print(f"{row['folder']}: {row['rows']} rows in {arguments.results / row['results']} {told}".rstrip())
    return int((table["problem"] != "").any())


if __name__ == "__main__":
    sys.exit(main())
