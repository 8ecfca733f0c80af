"""Section 7 of the notebooks: what became of each export."""

from collections.abc import Mapping
from pathlib import Path

from utils import runtime
from utils.pages.notes import note
from utils.tasks.choices import chosen_model

# What only exports need, and the packages that bring it.
NEEDED = {"onnx": "onnx", "onnxruntime": "onnxruntime"}


def show_exports(form: Mapping, trained: Path | None) -> None:
    """Write what is ticked in the form `export`, and say where it is or why it is not.

    `trained` is the folder of the model trained in this session, None without one.
    """
    if not (form["onnx"] or form["fiji"]):
        note("Nothing is ticked in the form above, so nothing was written.")
        return
    folder = chosen_model(form["model_folder"], trained)
    runtime.ensure(NEEDED)
    from utils.exchange.export import FIELDS, TARGETS, export

    for one in export(folder, [name for name in TARGETS if form[name]], {name: form[name] for name in FIELDS}):
        if one.problem:
            note(one.problem)
        else:
            about = f"its answers differ from the notebook's by at most {one.difference:.1g}"
            note(f"For {TARGETS[one.target].title}: {one.folder} ({about}). README.md says how to open it.", one.folder)
