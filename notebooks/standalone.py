"""Write notebooks that need no other file: python -m notebooks.standalone [--folder dist] [name ...].

dist/<notebook>.ipynb holds, as readable text in one cell, those rooms of `utils` and generators of `data_samples` that
the notebook reaches. A second cell writes them into the folder `nocodedl4bio`; then it goes on as it does in a clone.
"""

import argparse
import ast
import sys
from functools import cache
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell

from notebooks.run import NOTEBOOKS, names
from utils.pages.cells import GUARD
from utils.paths import ROOT

# The one place that knows where dist/ is published: "owner/repository/blob/branch/folder" on GitHub. Empty: no badge.
PUBLISHED = ""

INSIDE = ("utils", "data_samples")  # packages whose files are taken along
FILE = "nocodedl4bio.txt"
MARK = "#=====[ {} ]====="
HIDDEN = {"cellView": "form", "jupyter": {"source_hidden": True}}
GLOSSARY = "../README.md#glossary"
ABOUT = """\
## Software

This page is complete in itself: the next two cells hold the software, and write it into a folder `nocodedl4bio`
beside this page (in Colab: on Colab's own disk). Run them and go on. They went well when a number of files appears."""
UNPACK = f'''\
# @title Write the software into a folder
from pathlib import Path

SOFTWARE = Path("nocodedl4bio").resolve()
_, *parts = Path("{FILE}").read_text(encoding="utf-8").split("\\n{MARK.partition("{")[0]}")
for part in parts:
    name, _, text = part.partition("{MARK.partition("}")[2]}\\n")
    path = SOFTWARE / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.rstrip("\\n") + "\\n", encoding="utf-8", newline="\\n")
print(f"{{len(parts)}} files of the software are in {{SOFTWARE}}")'''


@cache  # the notebooks share most files
def imported(source: str) -> set[str]:
    """Names of all modules that Python code imports, inside functions too; of ``from a import b`` a and a.b."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def rooms(source: str) -> list[Path]:
    """Files, relative to `ROOT`, of `INSIDE` that Python code reaches through any chain of imports, sorted."""
    found, todo = set(), [source]
    while todo:
        new = {path for module in imported(todo.pop()) for path in files_of(module)} - found
        found |= new
        todo += [(ROOT / path).read_text(encoding="utf-8") for path in new]
    return sorted(found | templates(found))


def files_of(module: str) -> set[Path]:
    """Files of `INSIDE` that Python reads to import `module`: its own, and that of each package on the way."""
    parts = module.split(".")
    folders = [Path(*parts[:i]) for i in range(1, len(parts) + 1)]
    files = {folder / "__init__.py" for folder in folders} | {folders[-1].with_suffix(".py")}
    return {path for path in files if parts[0] in INSIDE and (ROOT / path).is_file()}


def templates(paths: set[Path]) -> set[Path]:
    """Templates that one of the files names."""
    code = "".join((ROOT / path).read_text(encoding="utf-8") for path in paths)
    there = (path.relative_to(ROOT) for path in (ROOT / "utils").glob("*/templates/*"))
    return {path for path in there if f'"{path.name}"' in code}


def software(paths: list[Path]) -> str:
    """Source of the cell that holds the files; `UNPACK` takes it apart."""
    texts = [f"{MARK.format(path.as_posix())}\n{(ROOT / path).read_text(encoding='utf-8')}" for path in paths]
    return f"%%writefile {FILE}\n# The software of this page, file by file. Nothing to fill in.\n" + "".join(
        texts
    ).rstrip("\n")


def glossary() -> str:
    """The section of the README."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return "## Glossary" + text.partition("\n## Glossary")[2].partition("\n## ")[0].rstrip()


def badge(name: str, published: str) -> str:
    """Markdown of the button "Open in Colab", empty where no address is set."""
    if not published:
        return ""
    address = f"https://colab.research.google.com/github/{published.strip('/')}/{name}.ipynb"
    return f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({address})\n\n"


def standalone(name: str, published: str = PUBLISHED) -> nbformat.NotebookNode:
    """Make the single-file version of a notebook.

    Parameters
    ----------
    name
        Notebook without ending.
    published
        As `PUBLISHED`.

    Returns
    -------
    NotebookNode
        The cells of the notebook, unchanged but for the links to the glossary and the mark of the title; the software
        before section 1, the glossary at the end.
    """
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    code = "\n".join(GUARD.sub("", cell.source) for cell in notebook.cells if cell.cell_type == "code")
    for cell in notebook.cells:
        cell.source = cell.source.replace(GLOSSARY, "#glossary")
        if cell.cell_type == "code":
            cell.source = cell.source.replace("# ", "# @title ", 1)  # what Colab shows of a folded cell
    notebook.cells[0].source = badge(name, published) + notebook.cells[0].source
    setup = next(i for i, cell in enumerate(notebook.cells) if cell.source.startswith("## 1. "))
    notebook.cells[setup:setup] = [
        new_markdown_cell(ABOUT, id="software-about"),
        new_code_cell(software(rooms(code)), id="software", metadata=HIDDEN),
        new_code_cell(UNPACK, id="software-unpack", metadata=HIDDEN),
    ]
    notebook.cells.append(new_markdown_cell(glossary(), id="glossary"))
    notebook.metadata["colab"] = {"provenance": [], "toc_visible": True}
    return notebook


def main() -> int:
    """Write the notebooks named on the command line, all by default."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="*", choices=[*names(), []], help="default: all notebooks")
    parser.add_argument("--folder", type=Path, default=ROOT / "dist")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name in arguments.name or names():
        path = arguments.folder / f"{name}.ipynb"
        nbformat.write(standalone(name), path)
        print(f"wrote {path} ({path.stat().st_size / 1000:.0f} kB)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
