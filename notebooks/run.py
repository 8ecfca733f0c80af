"""Run notebooks headless on their sample: python -m notebooks.run [--preset "Try out"] [name ...].

Writes results/<notebook>/: the executed notebook as HTML, the model folder and the predictions, and prints a summary.
"""

import argparse
import json
import os
import re
import sys
import time
from pathlib import Path
from urllib.parse import quote, unquote

from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert import HTMLExporter
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

from utils.files import write_text
from utils.paths import ROOT

NOTEBOOKS = ROOT / "notebooks"
RESULTS = ROOT / "results"
FIRST = "start_here"  # the page that leads to the others, and trains nothing


def names() -> list[str]:
    """Notebooks that train a model, in the order in which they are offered."""
    return sorted(path.stem for path in (NOTEBOOKS / "src").glob("*.py") if path.stem != FIRST)


def pages() -> list[str]:
    """All notebooks: the first page, then `names`."""
    return [FIRST, *names()]


def overrides(name: str, preset: str) -> dict:
    """Values that make a notebook run on its sample and keep everything in results/<notebook>."""
    if name == FIRST:
        return {"look": {"folder": "data_samples/nuclei"}}
    folder = f"results/{name}"
    curve = {"sizes": "3, 9, 27", "repeats": 1} if preset == "Try out" else {}
    return {
        **({"curve": curve} if name == "fine_tuning" else {}),
        "data": {"model_path": folder, "model_name": "model", "if_model_exists": "replace"},
        "training": {"preset": preset},
        "prediction": {"result_folder": f"{folder}/predictions"},
    }


def execute(name: str, values: dict, folder: Path) -> None:
    """Run one notebook with the given overrides, telling each section as it begins; write its HTML also if it fails."""
    notebook = parameterize_notebook(load_notebook_node(str(NOTEBOOKS / f"{name}.ipynb")), {"overrides": values})
    start = time.monotonic()

    def tell(cell, cell_index) -> None:
        title = cell.source.partition("\n")[0].lstrip("# ")
        if cell.cell_type == "markdown" and cell.source.startswith("#"):
            print(f"  [{time.monotonic() - start:4.0f} s] {title}", flush=True)

    client = NotebookClient(
        notebook, timeout=None, on_cell_start=tell, resources={"metadata": {"path": str(NOTEBOOKS)}}
    )
    try:
        client.execute()
    finally:
        page = HTMLExporter(exclude_input=True).from_notebook_node(without_widgets(notebook))[0]
        write_text(folder / f"{name}.html", relinked(page, folder))


def without_widgets(notebook):
    """The notebook with forms as tables: a page opened later, perhaps offline, cannot draw widgets."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "text/plain" in output.get("data", {}):
                output.data.pop("application/vnd.jupyter.widget-view+json", None)
    return notebook


def relinked(page: str, folder: Path) -> str:
    """The page with its links to files, which are as seen from the notebooks, as seen from the `folder` it lies in."""

    def seen_from(found: re.Match) -> str:
        place = Path(os.path.normpath(NOTEBOOKS / unquote(found[1].removeprefix("file://"))))
        return f'href="{quote(Path(os.path.relpath(place, folder)).as_posix())}{found[2] or ""}"'

    return re.sub(r'href="((?:\.\./|file://)[^"#]*|\w+\.ipynb)(#[^"]*)?"', seen_from, page)


def headline(folder: Path) -> str:
    """Score that the run wrote, in words."""
    path = folder / "model" / "scores.json"
    if not path.exists():
        return "-"
    best = json.loads(path.read_text(encoding="utf-8"))["headline"]
    return f"{best['name']} {'-' if best['value'] is None else format(best['value'], '.3f')}"


def run(name: str, preset: str) -> dict:
    """Run one notebook; returns its row of the summary."""
    folder, start = RESULTS / name, time.monotonic()
    print(f"{name} ({preset})", flush=True)
    row = {"notebook": name, "where": f"results/{name}/{name}.html"}
    try:
        execute(name, overrides(name, preset), folder)
    except CellExecutionError as error:
        print(f"{error.ename}: {error.evalue}", file=sys.stderr)
        return row | {"seconds": time.monotonic() - start, "score": "FAILED"}
    return row | {"seconds": time.monotonic() - start, "score": headline(folder)}


def main() -> int:
    """Run the notebooks named on the command line, all by default; 0 if all went through."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="*", choices=[*pages(), []], help="default: all notebooks")
    parser.add_argument("--preset", default="Try out")
    arguments = parser.parse_args()
    rows = [run(name, arguments.preset) for name in arguments.name or pages()]
    print(f"\n{'notebook':24}{'seconds':>8}  {'headline score':36}where to look")
    for row in rows:
        print(f"{row['notebook']:24}{row['seconds']:8.0f}  {row['score']:36}{row['where']}")
    return int(any(row["score"] == "FAILED" for row in rows))


if __name__ == "__main__":
    sys.exit(main())
