"""Computing from opening a notebook to its first form: python -m tests.benchmarks.first_form [name ...].

CPU-seconds (user + system, all threads) of a fresh kernel, its own start included, when the first form is on the page.
"""

import argparse

from nbclient import NotebookClient
from nbformat.v4 import new_code_cell
from papermill.iorw import load_notebook_node

from notebooks.run import NOTEBOOKS, names

FORM = "application/vnd.jupyter.widget-view+json"
CLOCK = "import os\nprint(sum(os.times()[:4]), end='')"


def first_form(name: str) -> float:
    """CPU-seconds of the kernel, and of programs that it started, up to the first form."""
    notebook = load_notebook_node(str(NOTEBOOKS / f"{name}.ipynb"))
    client = NotebookClient(notebook, timeout=None, resources={"metadata": {"path": str(NOTEBOOKS)}})
    with client.setup_kernel():
        for i, cell in enumerate(notebook.cells):
            client.execute_cell(cell, i)
            if any(FORM in output.get("data", {}) for output in cell.get("outputs", [])):
                break
        clock = new_code_cell(CLOCK)
        notebook.cells.append(clock)
        client.execute_cell(clock, len(notebook.cells) - 1)
    return float(clock.outputs[0].text)


def main() -> None:
    """Measure the notebooks named on the command line, all by default."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="*", choices=[*names(), []])
    for name in parser.parse_args().name or names():
        print(f"{name:24}{first_form(name):6.1f} CPU-seconds to the first form", flush=True)


if __name__ == "__main__":
    main()
