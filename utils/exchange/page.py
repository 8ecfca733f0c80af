"""Section 7 of the notebooks: what became of each export."""

from collections.abc import Mapping
from pathlib import Path

from utils.exchange.export import FIELDS, TARGETS, export
from utils.pages.notes import note


def show_exports(folder: Path, form: Mapping) -> None:
    """Write what is ticked in the form `export`, and say where it is or why it is not."""
    targets = [name for name in TARGETS if form[name]]
    if not targets:
        note("Nothing is ticked in the form above, so nothing was written.")
        return
    for one in export(folder, targets, {name: form[name] for name in FIELDS}):
        if one.problem:
            note(one.problem)
        else:
            about = f"its answers differ from the notebook's by at most {one.difference:.1g}"
            note(f"For {TARGETS[one.target].title}: {one.folder} ({about}). README.md says how to open it.", one.folder)
