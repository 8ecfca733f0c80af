"""The forms of a notebook without running it: tests and benchmarks call the engine with them as the notebook does."""

from pathlib import Path

import jupytext

from utils.pages.cells import GUARD

SOURCES = Path(__file__).resolve().parent.parent / "notebooks" / "src"


def default_values(notebook: str, overrides: dict | None = None) -> dict[str, dict]:
    """Values of every form of a notebook, in the shape of `overrides`.

    Parameters
    ----------
    notebook
        Name without ending.
    overrides
        {form: {field: value}} to set; presets fill the other fields as they do on the page; without one
        the usual one, whatever the machine.
    """
    forms = {one.form_name: one for one in declared(notebook)}
    given = {name: {"preset": one.usual_preset()} if "preset" in one.fields else {} for name, one in forms.items()}
    return {name: one(**given[name] | (overrides or {}).get(name, {})).values() for name, one in forms.items()}


def declared(notebook: str) -> list[type]:
    """Classes of the forms that a notebook shows, in order."""
    from utils.forms import Form

    cells = jupytext.read(SOURCES / f"{notebook}.py").cells
    space: dict = {}
    imports = "from traitlets import Bool, Enum, Float, Int, Unicode\nfrom utils.forms import Form\n"
    exec(
        imports + "from utils import samples\nfrom utils.images.axes import STACK_AXES\n"
        "from utils.exchange.targets import reasons\n"
        "from utils.forms.fields import Automatic, FolderName, GroupRule, IfTaken, Sizes",
        space,
    )
    for cell in cells:
        source = GUARD.sub("", cell.source).partition("\n")[2].lstrip("\n")
        if cell.cell_type == "code" and source.startswith("class "):
            exec(_declaration(source), space)
    shown = [one for one in space.values() if isinstance(one, type) and issubclass(one, Form) and one is not Form]
    bases = {base for one in shown for base in one.__mro__[1:]}
    return [one for one in dict.fromkeys(shown) if one not in bases]


def _declaration(source: str) -> str:
    """The class statement at the start of a source, without the lines that show it."""
    lines = source.splitlines()
    end = next((i for i, line in enumerate(lines[1:], 1) if line and not line.startswith((" ", ")"))), len(lines))
    return "\n".join(lines[:end])
