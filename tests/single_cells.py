"""Runs cells of a notebook each by itself, in a process of its own: python tests/single_cells.py NAME ...

First in a kernel in which nothing was run, then in one that start.py has taught what such cells wait for, then where
section 1 was run and nothing else; prints a JSON list of
[notebook, when, first line of the cell, whether it went well, what it said].
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


def code(name: str) -> list[str]:
    """Sources of the code cells of a notebook."""
    cells = json.loads(Path(f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def loads(source: str) -> bool:
    """Whether a cell loads the software, after which nothing is fresh any more."""
    return "\nROOT = " in source


def alone(name: str, when: str, sources: list[str]) -> list[list]:
    """Run cells, each without what the others made."""
    found, kept = [], set(shell.user_ns)
    for source in sources:
        found.append([name, when, source.partition("\n")[0], *run(source)])
        for added in set(shell.user_ns) - kept:
            del shell.user_ns[added]
    return found


def main(names: list[str]) -> None:
    """Run all cells of the notebooks: first those in which nothing was imported yet."""
    guarded = {name: [source for source in code(name)[2:] if not loads(source)] for name in names}
    found = [one for name in names for one in alone(name, "fresh", guarded[name])]
    shell.safe_execfile(str(Path("lab", "fresh_kernel.py").resolve()), shell.user_ns)
    found += [one for name in names for one in alone(name, "taught", guarded[name])]
    for name in names:
        _, setup, *rest = code(name)
        found.append([name, "set-up", setup.partition("\n")[0], *run(setup)])
        found += alone(name, "after set-up", rest)
    print(json.dumps(found))


if __name__ == "__main__":
    os.chdir(Path(__file__).resolve().parent.parent / "notebooks")  # where JupyterLab starts the kernel
    sys.path[:] = [one for one in sys.path if Path(one or ".").resolve() != Path(__file__).resolve().parent.parent]
    main(sys.argv[1:])
