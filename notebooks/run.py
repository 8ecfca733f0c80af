"""Run notebooks headless on their sample: python -m notebooks.run [--preset "Try out"] [name ...].

Writes results/<notebook>/: the executed notebook as HTML, the model folder and the predictions, and prints a summary.
"""

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
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
WATCHES = "smart_microscopy"  # the page that uses models, and trains at most an example
LOG = ROOT / "logs" / "run.log"
AT_ONCE = 2  # notebooks; more would need more memory than a laptop has
THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")

# Seconds of one core that the sections before each one take with the preset "Try out", and all of them.
SECONDS = {
    "classification": {"3.2": 1, "4": 6, "5": 31, "6": 35, "": 39},
    "fine_tuning": {"3.2": 1, "4": 31, "4.2": 38, "4.3": 58, "5": 96, "6": 99, "": 103},
    "slide_fibrosis": {"3.2": 3, "4": 66, "5": 108, "6": 142, "": 200},
    "smart_microscopy": {"3.4": 2, "3.5": 30, "4": 35, "5": 55, "": 60},
    "stardist_segmentation": {"3.2": 1, "4": 8, "5": 64, "6": 76, "": 81},
    "unet_segmentation": {"3.2": 1, "4": 6, "5": 21, "6": 27, "": 30},
}
BACK = "\r" if sys.stdout.isatty() else ""  # to the begin of the line that tells the time left
_running: list[NotebookClient] = []
WIDGET = re.compile(r"[A-Z]\w+\(children=")  # how a box of widgets is printed


def names() -> list[str]:
    """Notebooks that can be run on their sample, in the order in which they are offered."""
    return sorted(path.stem for path in (NOTEBOOKS / "src").glob("*.py") if path.stem != FIRST)


def training() -> list[str]:
    """Those of `names` that train a model of one's own."""
    return [name for name in names() if name != WATCHES]


def pages() -> list[str]:
    """All notebooks: the first page, then `names`."""
    return [FIRST, *names()]


def overrides(name: str, preset: str) -> dict:
    """Values that make a notebook run on its sample and keep everything in results/<notebook>."""
    if name == FIRST:
        return {"look": {"folder": "data_samples/nuclei"}}
    folder = f"results/{name}"
    if name == WATCHES:
        hours = 0.5 if preset == "Try out" else 8
        return {"limits": {"result_folder": folder, "experiment": f"{hours:g}_hours", "duration": hours}}
    own = {}
    if name == "slide_fibrosis":
        own = {"omics": {"patient_table": "data_samples/slides/expression.csv"}}
        own |= {"slides": {"um_per_pixel": 1.0}} if preset == "Try out" else {}
    curve = {"sizes": "3, 9, 27", "repeats": 1} if preset == "Try out" else {}
    return {
        **({"curve": curve} if name == "fine_tuning" else {}),
        "data": {"model_path": folder, "model_name": "model", "if_model_exists": "replace"},
        "training": {"preset": preset},
        "prediction": {"result_folder": f"{folder}/predictions"},
        **own,
    }


def seconds(name: str) -> dict[str, float]:
    """What `SECONDS` says of a notebook; ten seconds in all where it says nothing."""
    return SECONDS.get(name, {"": 10})


class Clock:
    """Tells where several notebooks are, and how long all of them will take.

    Parameters
    ----------
    names
        Notebooks that are to be run.
    preset
        The time left is known of "Try out" only.
    at_once
        How many run at the same time.
    """

    def __init__(self, names: list[str], preset: str, at_once: int) -> None:
        self.start, self.at_once, self.preset = time.monotonic(), at_once, preset
        self.done = dict.fromkeys(names, 0.0)
        self.reckoned = 0.0, self.left(0)  # when, and what was left then

    def reach(self, name: str, section: str) -> None:
        """Note that a notebook came to a section, "" for its end."""
        self.done[name] = seconds(name).get(section, self.done[name])
        elapsed = time.monotonic() - self.start
        self.reckoned = elapsed, self.left(elapsed)

    def left(self, elapsed: float) -> float | None:
        """Seconds that are left after `elapsed` ones, reckoned with the speed so far; None where that is not known."""
        if self.preset != "Try out":
            return None
        done = sum(self.done.values())
        speed = done / elapsed if done > 30 else self.at_once
        todo = [seconds(name)[""] - done for name, done in self.done.items()]
        return max(sum(todo), self.at_once * max(todo)) / speed

    def __str__(self) -> str:
        """Seconds so far and the time left."""
        elapsed = time.monotonic() - self.start
        then, left = self.reckoned
        if left is None:
            return f"[{elapsed:4.0f} s]"
        left = max(left - (elapsed - then), 0)
        return f"[{elapsed:4.0f} s, {'less than a minute' if left < 60 else f'about {left / 60:.0f} min'} left]"


def execute(
    name: str, values: dict, folder: Path, told: Callable[[str], None] = print, threads: int | None = None
) -> None:
    """Run one notebook with the given overrides; write its HTML also if it fails.

    Parameters
    ----------
    name, values
        The notebook; its overrides, by form.
    folder
        Gets the HTML.
    told
        Called with the title of each section as it begins.
    threads
        How many the libraries may use; None: as many as they like.
    """
    notebook = parameterize_notebook(load_notebook_node(str(NOTEBOOKS / f"{name}.ipynb")), {"overrides": values})

    def tell(cell, cell_index) -> None:
        if cell.cell_type == "markdown" and cell.source.startswith("#"):
            told(cell.source.partition("\n")[0].lstrip("# "))

    client = NotebookClient(
        notebook, timeout=None, on_cell_start=tell, resources={"metadata": {"path": str(NOTEBOOKS)}}
    )
    _running.append(client)
    bounded = dict.fromkeys(THREADS, str(threads)) if threads else {}
    LOG.parent.mkdir(exist_ok=True)
    try:
        with LOG.open("ab") as messages:  # warnings of libraries, which nobody could read among the sections
            client.execute(env=bounded | os.environ, stderr=messages)
    finally:
        _running.remove(client)
        page = HTMLExporter(exclude_input=True).from_notebook_node(without_widgets(notebook))[0]
        write_text(folder / f"{name}.html", relinked(page, folder))


def without_widgets(notebook):
    """The notebook with forms as tables: a page opened later, perhaps offline, cannot draw widgets."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "text/plain" in output.get("data", {}):
                output.data.pop("application/vnd.jupyter.widget-view+json", None)
                if WIDGET.match(output.data["text/plain"]):
                    output.data["text/plain"] = "A button: it works in the notebook only."
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


def run(name: str, preset: str, clock: Clock, threads: int) -> dict:
    """Run one notebook; returns its row of the summary."""
    folder, start = RESULTS / name, time.monotonic()

    def told(title: str) -> None:
        section, is_numbered = title.split(" ")[0].rstrip("."), title[:1].isdigit()
        clock.reach(name, section if is_numbered else "1")
        print(f"{BACK}{clock} {name}: {title if is_numbered else f'begins ({preset})'}", flush=True)

    row = {"notebook": name, "where": f"results/{name}/{name}.html"}
    try:
        execute(name, overrides(name, preset), folder, told, threads)
    except CellExecutionError as error:
        print(f"{error.ename}: {error.evalue}", file=sys.stderr)
        return row | {"seconds": time.monotonic() - start, "score": "FAILED"}
    finally:
        clock.reach(name, "")
    return row | {"seconds": time.monotonic() - start, "score": headline(folder)}


def run_all(wanted: list[str], preset: str) -> list[dict]:
    """Run notebooks, `AT_ONCE` at the same time, the longest first; the rows of the summary in the order asked for."""
    cores = os.cpu_count() or 1
    at_once = min(AT_ONCE, cores, len(wanted))
    clock, pool = Clock(wanted, preset, at_once), ThreadPoolExecutor(at_once)
    longest = sorted(wanted, key=lambda name: -seconds(name)[""])
    rows = {name: pool.submit(run, name, preset, clock, cores // at_once) for name in longest}
    try:
        while wait(rows.values(), timeout=1).not_done:
            print(f"{BACK}{clock} " * bool(BACK), end="", flush=True)
        return [rows[name].result() for name in wanted]
    except KeyboardInterrupt:
        print("Stopped. Nothing is lost: run it again to begin anew.", file=sys.stderr)
        for client in _running:
            client.km.provisioner.process.kill()
        os._exit(130)  # threads that wait for a kernel cannot be stopped


def main() -> int:
    """Run the notebooks named on the command line, all by default; 0 if all went through."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="*", choices=[*pages(), []], help="default: all notebooks")
    parser.add_argument("--preset", default="Try out")
    arguments = parser.parse_args()
    start = time.monotonic()
    rows = run_all(list(dict.fromkeys(arguments.name or pages())), arguments.preset)
    print(f"\nAll in {(time.monotonic() - start) / 60:.1f} minutes.\n")
    print(f"{'notebook':24}{'seconds':>8}  {'headline score':36}where to look")
    for row in rows:
        print(f"{row['notebook']:24}{row['seconds']:8.0f}  {row['score']:36}{row['where']}")
    return int(any(row["score"] == "FAILED" for row in rows))


if __name__ == "__main__":
    sys.exit(main())
