"""Cells that wait for others: what a cell says where what it needs is not there, and what the page does after an error.

Each cell of a notebook but the first two begins with one of the `MAGICS`. Where section 1 was not run they do not
exist, and IPython shows their name, which says what to do, in place of a traceback. Afterwards they look whether the
cell finds what it needs (and the names after the magic, which stand for cells that make nothing that it uses), and say
in one line which section makes it, or where something went wrong on the way.
"""

import ast
import json
import os
import re
import sys
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

from IPython import get_ipython

from utils.errors import Interrupted, NotYet
from utils.pages import corner
from utils.pages.notes import note
from utils.paths import ROOT

MAGICS = ("run_section_1_first", "run_the_cells_above_first")
RUN_ABOVE = "click on this cell and choose Run > Run All Above Selected Cell (Colab: Runtime > Run before), then run it"
WATCHED = ("JPY_SESSION_NAME", "VSCODE_PID")  # set where a person looks at the page, not where a program runs it
GUARD = re.compile(rf"^%(?:{'|'.join(MAGICS)})(.*)$", re.MULTILINE)


class Cell(NamedTuple):
    """A code cell of a notebook, and the heading above it; its first line is its title."""

    heading: str
    source: str

    @property
    def title(self) -> str:
        """What is seen of it where it is folded."""
        return self.source.partition("\n")[0].lstrip("# ")


_cell = {"source": "", "notebook": ""}
_failed: dict[str, str] = {}  # names that are not there because a cell went wrong: heading of its section


def begin(notebook: str) -> None:
    """Let the cells of `notebook` speak in words; called in section 1."""
    _cell["notebook"] = notebook
    shell = get_ipython()
    if shell is None:
        return
    corner.watch()  # first: what follows may hide an error from it
    shell.user_ns.setdefault("overrides", {})  # its cell, which a program fills in, may not have been run
    for name in MAGICS:
        shell.register_magic_function(lambda line: check(shell.user_ns), "line", name)
    shell.set_custom_exc((KeyboardInterrupt, NotYet, NameError), _told)
    for event, callback in (("pre_run_cell", _before), ("post_run_cell", _after)):
        if callback not in shell.events.callbacks[event]:
            shell.events.register(event, callback)


def run_section_1(notebook: str, space: dict[str, Any]) -> None:
    """Run the set-up of a notebook, where it was not run, with the names of the page, `space`; `NotYet` in one file."""
    if "forms" in space:
        return
    setup = next((one.source for one in _cells(notebook) if "\nROOT = " in one.source), None)
    if setup is None:
        raise NotYet("Please run section 1 first.")
    exec(compile(setup, "<section 1>", "exec"), space)


def check(space: dict[str, Any]) -> None:
    """Refuse, by `NotYet`, a cell that needs what other cells make and have not made; `space` holds what there is.

    A cell that only declares fields of a form is run here, where it was not.
    """
    makers = _makers(_cell["notebook"])
    for name in needed(_cell["source"]):
        if name not in space and name in makers and _only_declares(makers[name].source):
            _declare(name, space)
        elif name not in space and (name in makers or name in _failed):
            raise missing(name)


def _only_declares(source: str) -> bool:
    return all(isinstance(one, ast.ClassDef) for one in _parsed(source).body)


def _declare(name: str, space: dict[str, Any]) -> None:
    """Declare a class of a form's fields as the notebook does, and those that it builds on."""
    makers = _makers(_cell["notebook"])
    source = makers[name].source
    for other in needed(source):
        if other in makers and other not in space:
            _declare(other, space)
    exec(compile(_parsed(source), f"<{name}>", "exec"), space)


def missing(name: str) -> NotYet:
    """What to say where `name` is not there: which section went wrong, or which cell was not run."""
    if name in _failed:
        section = _failed[name] or "a cell above"
        return NotYet(f"Nothing was done here: this waits for {section}, where something went wrong.", section)
    maker = _makers(_cell["notebook"]).get(name)
    if maker and maker.heading == _section_of(_cell["source"]):
        return NotYet(f'This cell needs the cell "{maker.title}" of this section: run that first.')
    if maker:
        return NotYet(f"This cell needs {maker.heading}, which was not run yet: {RUN_ABOVE}.", maker.heading)
    return NotYet(f"This cell needs what the cells above make: {RUN_ABOVE}.")


def _told(shell, kind, error, trace, tb_offset=None) -> None:
    """Show a sentence in place of where in the code it happened; called by IPython."""
    if isinstance(error, KeyboardInterrupt):
        print("You stopped this cell. Run it again to go on; the cells below it were not run.")
        return
    if isinstance(error, NameError):
        if not _is_of_the_cell(trace, shell.user_ns, error.name):
            shell.showtraceback((kind, error, trace), tb_offset=tb_offset)
            return
        error = missing(error.name)
    error = missing(error.name) if error.name in _failed else error
    note(str(error), section=error.section)


def _is_of_the_cell(trace, space: dict[str, Any], name: str | None) -> bool:
    """Whether a name was missing in the cell itself, and is one that cells make: else it is a mistake in the code."""
    while trace.tb_next is not None:
        trace = trace.tb_next
    makers = _makers(_cell["notebook"])
    return trace.tb_frame.f_globals is space and (name in makers or name in _failed or not makers)


def _before(info) -> None:
    _cell["source"] = info.raw_cell or ""


def _after(result) -> None:
    """Remember what a cell that went wrong did not make; let cells below it run on a page that a person looks at."""
    error, space = result.error_in_exec, get_ipython().user_ns
    if isinstance(error, KeyboardInterrupt | SystemExit | Interrupted):
        return
    source = result.info.raw_cell or ""
    origin = _origin(error, source)
    for name in made(source):
        _failed.pop(name, None)
        if error is not None:
            space.pop(name, None)
            if origin is not None:
                _failed[name] = origin
    if isinstance(error, Exception) and is_watched(space):
        result.error_in_exec = None  # else Jupyter leaves out all cells below, and the end of the page says nothing


def _origin(error: BaseException | None, source: str) -> str | None:
    """Heading of the section where it began to go wrong; None where nothing did, or cells above were not run."""
    waiting = [_failed[name] for name in (*needed(source), getattr(error, "name", "")) if name in _failed]
    if waiting or error is None:
        return waiting[0] if waiting else None
    if isinstance(error, NotYet) or (isinstance(error, NameError) and error.name in _makers(_cell["notebook"])):
        return None
    return _section_of(source)


def is_watched(space: dict[str, Any]) -> bool:
    """Whether a person runs the page, not a program, which has to learn of an error."""
    return ("google.colab" in sys.modules or any(name in os.environ for name in WATCHED)) and not space.get("overrides")


def needed(source: str) -> list[str]:
    """Names that a cell takes from others in any case, in the order of the code; none where it is no Python."""
    tree = _parsed(source)
    names = [node for node in _certain(tree) if isinstance(node, ast.Name)]
    own = {node.id for node in names if isinstance(node.ctx, ast.Store)} - _read_first(names)
    own |= {one.name for one in tree.body if isinstance(one, ast.ClassDef)}
    named = [name for more in GUARD.findall(source) for name in more.split()]
    return list(dict.fromkeys(named + [one.id for one in names if isinstance(one.ctx, ast.Load) and one.id not in own]))


def _read_first(names: list[ast.Name]) -> set[str]:
    """Names that are read before they are given a value."""
    read: set[str] = set()
    seen: set[str] = set()
    for node in sorted(names, key=lambda one: (one.lineno, isinstance(one.ctx, ast.Store))):
        if isinstance(node.ctx, ast.Load) and node.id not in seen:
            read.add(node.id)
        seen.add(node.id)
    return read


def _certain(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those in branches that may not be run."""
    yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(node, ast.If | ast.IfExp) and child is not node.test:
            continue
        if isinstance(node, ast.BoolOp) and child in node.values[1:]:
            continue
        yield from _certain(child)


def made(source: str) -> list[str]:
    """Names that a cell gives a value to, and does not need itself; those of its classes, too."""
    body = _parsed(source).body
    names = [node for one in body if isinstance(one, ast.Assign) for node in ast.walk(one)]
    stored = [node.id for node in names if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
    classes = [one.name for one in body if isinstance(one, ast.ClassDef)]
    return [name for name in dict.fromkeys(classes + stored) if name not in needed(source)]


def _parsed(source: str) -> ast.Module:
    """Syntax tree of a cell without its magics; an empty one where it is no Python."""
    try:
        return ast.parse(re.sub(r"^\s*[%!].*$", "", source, flags=re.MULTILINE))
    except (SyntaxError, ValueError):
        return ast.Module([], [])


@cache
def _cells(notebook: str) -> list[Cell]:
    """Code cells of the file of a notebook; none where it lies elsewhere."""
    path, heading, found = ROOT / "notebooks" / f"{notebook}.ipynb", "", []
    try:
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            source = "".join(cell["source"])
            if cell["cell_type"] == "code":
                found.append(Cell(heading, source))
            elif headings := re.findall(r"^##+ (.*)$", source, re.MULTILINE):
                heading = headings[-1]
    except (OSError, ValueError, LookupError, TypeError):
        return []
    return found


@cache
def _makers(notebook: str) -> dict[str, Cell]:
    """Names that cells of a notebook make after section 1, and the first cell that makes each."""
    found: dict[str, Cell] = {}
    for cell in _cells(notebook):
        for name in made(cell.source) if GUARD.search(cell.source) else ():
            found.setdefault(name, cell)
    return found


def _section_of(source: str) -> str:
    """Heading of the section that a cell stands in; its first line differs in Colab."""
    body = source.partition("\n")[2]
    return next((one.heading for one in _cells(_cell["notebook"]) if one.source.partition("\n")[2] == body), "")
