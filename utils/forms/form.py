"""The form that notebooks declare: it shows itself, and its values are gathered and saved."""

import json
import os
import sys
from pathlib import Path
from typing import Any

from IPython.display import display

from utils.errors import FormError, wrapped
from utils.forms import state
from utils.forms.settings import read_settings, settings_file
from utils.forms.view import FormView, as_table
from utils.locks import hold

SECONDS_TO_WAIT = 5  # for another page that saves its settings


class Form(state.Form):
    """Base of the forms in a notebook, see `utils.forms.state`; the last expression of a cell shows it."""

    _view: FormView | None = None

    def _ipython_display_(self) -> None:
        """Show the form; its table gets what is chosen from the data later, until a person types into the widget."""
        handle, texts = display(self._repr_mimebundle_(), raw=True, display_id=True), dict(self.shown)

        def update() -> None:
            if self.shown == texts:
                handle.update(self._repr_mimebundle_(), raw=True)

        if self.headless and handle is not None:
            self.on_redraw(update)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        """The form as a widget, and as table and plain text where no widget can be shown."""
        if self._view is None:
            self._view = FormView(self)
            self.on_redraw(self._view.refresh)
        view = {"version_major": 2, "version_minor": 0, "model_id": self._view.box.model_id}
        table = {} if "google.colab" in sys.modules else {"text/html": as_table(self)}  # Colab might prefer it
        return {"text/plain": str(self), **table, "application/vnd.jupyter.widget-view+json": view}


def save_settings(*forms: Form) -> Path | None:
    """Keep the values of `forms` for "Load my last settings"; call it where they are used, such as before training.

    Settings of other forms in the same file stay. Nothing is saved, and None returned, if one of the forms was given
    overrides: a run without a person must not replace a person's settings. A damaged file is moved to
    ``<name>.json.damaged``. A folder that cannot be written to gives a sentence on the page, because the work itself
    can go on.

    Raises
    ------
    FormError
        If a form shows something that is not valid, or `notebook` was not called.
    """
    values = {form.form_name: form.asked() for form in forms}
    path = settings_file()
    if any(form.headless for form in forms):
        return None
    try:
        with hold(path, wait=SECONDS_TO_WAIT):  # another page may add its forms to the same file
            return _write(path, _undamaged(path) | values)
    except OSError as error:
        reason = error.strerror or error
        print(*wrapped(f"Your settings could not be saved to {path} ({reason}); the work goes on without."), sep="\n")
        return None


def _undamaged(path: Path) -> dict[str, dict[str, Any]]:
    try:
        return read_settings()
    except FormError:
        os.replace(path, path.with_suffix(".json.damaged"))
        return {}


def _write(path: Path, settings: dict[str, dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        unfinished.write_text(json.dumps(settings, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def parameters(*forms: Form) -> dict[str, dict[str, dict[str, Any]]]:
    """What was asked for in `forms`, as overrides: ``papermill -f`` of such a file repeats the run."""
    return {"overrides": {form.form_name: form.asked() for form in forms}}
