"""Runs cells of a notebook each by itself, in a process of its own: python tests/single_cells.py NAME.

First in a kernel in which nothing was run, then where section 1 was run and nothing else; prints a JSON list of
[when, first line of the cell, whether it went well, what it said].
"""

import io
import json
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from IPython.core.interactiveshell import InteractiveShell

shell = InteractiveShell.instance(colors="nocolor")


def run(source: str) -> tuple[bool, str]:
    """Whether a cell went well, and what it said."""
    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        result = shell.run_cell(source, store_history=True)
    return result.success, said.getvalue()


def main(name: str) -> None:
    """Run all cells of a notebook."""
    cells = json.loads(Path(f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    _, setup, *rest = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    found = []
    for source in rest:
        found.append(["fresh", source.partition("\n")[0], *run(source)])
        shell.reset()
    shell.run_cell("overrides = {}")
    found.append(["set-up", setup.partition("\n")[0], *run(setup)])
    kept = dict(shell.user_ns)
    for source in rest:
        found.append(["after set-up", source.partition("\n")[0], *run(source)])
        for added in set(shell.user_ns) - set(kept):
            del shell.user_ns[added]
    print(json.dumps(found))


if __name__ == "__main__":
    os.chdir(Path(__file__).resolve().parent.parent / "notebooks")  # where JupyterLab starts the kernel
    sys.path[:] = [one for one in sys.path if Path(one or ".").resolve() != Path(__file__).resolve().parent.parent]
    main(sys.argv[1])
