"""What the first page shows: the answer about a folder, anew whenever another one is chosen, and what is there."""

import base64
import io
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np
import PIL.Image
from IPython.display import HTML, display

from utils import runtime
from utils.data.problems import Problem
from utils.errors import with_labels
from utils.first_look import forecast, shelf
from utils.first_look.advice import ALSO, FITS, NOT, TRAINED, Advice, advise, advise_model, summary
from utils.first_look.content import Content, read_content
from utils.first_look.headers import facts
from utils.first_look.survey import Survey, look
from utils.forms.places import keep_chosen
from utils.forms.settings import hand_over
from utils.forms.state import Form
from utils.pages.notes import link
from utils.paths import ROOT

NOTEBOOKS = ROOT / "notebooks"
WORDS = {FITS: "fits", ALSO: "fits, too", TRAINED: "with a trained model", NOT: "not with this folder"}
NOTHING = (
    "No folder is chosen yet: press <i>Choose ...</i> above, go to the folder of your images and press <i>Use this "
    "folder</i>. To try it out, choose <i>Samples</i> in the list <i>Go to ...</i> there."
)
READ = "Read are TIFF, PNG, JPEG, BMP and GIF."
NEXT = (
    "A click on a name opens that page, with your folder in its form. There click on the heading 3.2 and choose "
    "<i>Run &gt; Run All Above Selected Cell</i> in the menu; when the form shows what you want, choose "
    "<i>Run &gt; Run Selected Cell and All Below</i>. With a trained model, run the sections 1, 2 and 6 only."
)
ESTIMATE = (
    "Estimated from how fast this computer calculates, and from the size and number of your images: it may be half or "
    "twice as much. Section 3.2 of the notebook measures it more exactly."
)
LEAST_FREE = 0.8  # share of the free memory that a training may need
PICTURE = 150  # pixels


def show_folder(form: Form) -> None:
    """Show what lies in the folder of the form, and show it anew whenever another one is chosen there."""
    handle = display(HTML(answer(form)), display_id=True)

    def update() -> None:
        handle.update(HTML(_paragraph(f"Looking into {escape(form.folder)} ...")))
        handle.update(HTML(answer(form)))

    if handle is not None:
        form.on_change(update)


def answer(form: Form) -> str:
    """HTML about the folder of the form; other notebooks get it filled in, unless a program has named it."""
    if not form.folder.strip():
        return _paragraph(NOTHING)
    survey = look(form.folder)
    content = read_content(survey.found) if survey.found else Content()
    advice = _advice(survey, content)
    if not form.headless:
        hand_over({one.notebook: one.values for one in advice if one.values})
        if not any(one.severity == "error" for one in survey.problems):
            keep_chosen(survey.folder)
    parts = [_what_lies_in(survey, content), _which_fits(advice), _how_long(survey, content, advice)]
    return f'<div style="max-width: 1100px">{"".join(parts)}</div>'


def show_shelf() -> None:
    """Show models and results of earlier work, and what comes with the project."""
    display(HTML(f'<div style="max-width: 1100px">{_models()}{_results()}{_bundled()}</div>'))


def _advice(survey: Survey, content: Content) -> list[Advice]:
    if survey.found:
        return advise(survey.found, content)
    model = shelf.read_model(survey.model) if survey.model else None
    return advise_model(model, survey.model) if model else []


def _what_lies_in(survey: Survey, content: Content) -> str:
    found, said = survey.found, [escape(note) for note in survey.notes]
    parts = [_heading("What lies in the folder"), _paragraph(link(survey.folder))]
    if found:
        said.insert(0, f"<b>{escape(summary(found))}</b>")
    elif survey.inside:
        said.insert(0, f"<b>{len(survey.inside)} folders in it look like data.</b> Choose one of them above:")
    elif not survey.model and not survey.problems:
        said.insert(0, f"<b>No image was found in it, or in the folders below.</b> {READ}")
    parts.append(_paragraph(" ".join(said)))
    parts.append(
        _table([], [(escape(str(path.relative_to(survey.folder))), escape(what)) for path, what in survey.inside])
    )
    parts.append(_gallery(content))
    rows = [(what, escape(value)) for what, value in facts(content.headers)]
    if found and found.classes:
        rows.append(("Classes", escape(", ".join(f"{name} {count}" for name, count in found.classes.items()))))
    if content.mask_type:
        rows.append(("Masks", escape(f"{content.mask_type}. {content.why}")))
    parts += [_table([], rows), _looked_at(survey, content), _problems([*survey.problems, *content.problems])]
    return "".join(parts)


def _looked_at(survey: Survey, content: Content) -> str:
    number = len(survey.found.images) if survey.found else 0
    if number <= len(content.headers):
        return ""
    return _paragraph(f"{len(content.headers)} of the {number:,} images were opened for this, evenly chosen.")


def _problems(problems: Sequence[Problem]) -> str:
    if not problems:
        return ""
    told = sorted(problems, key=lambda one: one.severity)  # errors first
    items = "".join(f"<li>{escape(with_labels(str(one)))}</li>" for one in told)
    return f'{_heading("What looks wrong")}<ul style="margin-top: 0; overflow-wrap: anywhere">{items}</ul>'


def _which_fits(advice: Sequence[Advice]) -> str:
    if not advice:
        return ""
    rows = [
        (
            link(NOTEBOOKS / f"{one.notebook}.ipynb", one.notebook) if one.fit < NOT else escape(one.notebook),
            f"<b>{WORDS[one.fit]}</b>" if one.fit < NOT else WORDS[one.fit],
            escape(with_labels(one.why)),
        )
        for one in advice
    ]
    return _heading("Which notebook fits") + _table(["notebook", "", "why"], rows) + _paragraph(NEXT)


def _how_long(survey: Survey, content: Content, advice: Sequence[Advice]) -> str:
    """Time and memory of each preset in the notebooks that fit."""
    fitting = [one.notebook for one in advice if one.fit <= ALSO]
    number = len(survey.found.images) if survey.found else 0
    rows, needed = [], 0.0
    for notebook in fitting:
        if found := forecast.forecasts(notebook, content.headers, number, forecast.speed()):
            rows.append((notebook, *(one.time for one in found), f"{found[0].gigabytes:.1f} GB"))
            needed = max(needed, found[0].gigabytes)
    if not rows:
        return ""
    free = forecast.free_gigabytes()
    said = [ESTIMATE, f"{free:.0f} GB of memory are free now."]
    if needed > LEAST_FREE * free:
        said.append("<b>That is not enough</b>: close other programs, take fewer images, or cut them into pieces.")
    if card := runtime.graphics_card():
        said.append(f"With the graphics card ({escape(card)}) it takes a tenth of the time or less.")
    else:
        said.append('There is no graphics card that can be used: "Quick on a CPU" is the preset for this computer.')
    head = ["", *(f'"{preset}"' for preset in forecast.PRESETS), "memory"]
    return _heading("How long the training takes on this computer") + _table(head, rows) + _paragraph(" ".join(said))


def _models() -> str:
    rows = [
        (
            _named(one.folder, one.folder / shelf.REPORT),
            one.noun,
            f"{one.changed:%d %b %Y, %H:%M}",
            escape(one.unfinished or one.score or "not scored"),
            link(NOTEBOOKS / f"{one.notebook}.ipynb", one.notebook) if _is_notebook(one.notebook) else "",
        )
        for one in shelf.models()
    ]
    none = _paragraph("There are none yet." if not rows else "")
    head = ["model", "kind", "trained", "score", "notebook"]
    return _heading("Your models, the newest first") + _table(head, rows) + none


def _is_notebook(name: str) -> bool:
    return (NOTEBOOKS / f"{name}.ipynb").is_file()


def _named(folder: Path, report: Path) -> str:
    """Link to the report of a folder, else to the folder itself, by the name of the folder."""
    name = folder.parent.name if folder.name == "model" else folder.name
    return link(report if report.is_file() else folder, name)


def _results() -> str:
    rows = [
        (link(one.path, one.path.relative_to(ROOT).as_posix()), f"{one.changed:%d %b %Y, %H:%M}", escape(one.what))
        for one in shelf.results()
    ]
    none = _paragraph("There are none yet." if not rows else "")
    return _heading("Your results, the newest first") + _table(["folder or page", "written", "what"], rows) + none


def _bundled() -> str:
    models = [
        (
            f"data_samples/starting_models/{one.folder.name}",
            f"a {one.noun} of fluorescent nuclei, to start from or to use",
        )
        for one in shelf.starting_models()
    ]
    samples = [(f"data_samples/{name}", escape(about)) for name, about in shelf.samples()]
    return _heading("What comes with it") + _table([], [*samples, *models])


def _gallery(content: Content) -> str:
    """Small pictures side by side, each with its title."""
    figures = [
        f'<figure style="margin: 0 8px 8px 0; width: {PICTURE}px"><img alt="" style="width: {PICTURE}px" '
        f'src="data:image/png;base64,{_png(picture)}"><figcaption style="font-size: 85%; overflow-wrap: anywhere">'
        f"{escape(title)}</figcaption></figure>"
        for title, picture in content.pictures
    ]
    return f'<div style="display: flex; flex-wrap: wrap">{"".join(figures)}</div>' if figures else ""


def _png(picture: np.ndarray) -> str:
    """PNG of a picture (Y, X, 3), 0 to 1, as text."""
    image = PIL.Image.fromarray(np.round(255 * picture).astype(np.uint8))
    image.thumbnail((2 * PICTURE, 2 * PICTURE))
    image.save(file := io.BytesIO(), "PNG")
    return base64.b64encode(file.getvalue()).decode()


def _heading(text: str) -> str:
    return f'<h4 style="margin: 1em 0 0.3em 0">{escape(text)}</h4>'


def _paragraph(html: str) -> str:
    return f'<p style="margin: 0.3em 0; overflow-wrap: anywhere">{html}</p>' if html else ""


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Table of cells that are HTML already; nothing without rows."""
    if not rows:
        return ""
    style = (
        "text-align: left; vertical-align: top; white-space: normal; overflow-wrap: anywhere; padding: 3px 10px 3px 0"
    )
    top = "".join(f'<th style="{style}">{escape(name)}</th>' for name in head)
    body = "".join("<tr>" + "".join(f'<td style="{style}">{cell}</td>' for cell in row) + "</tr>" for row in rows)
    return f'<table style="margin: 0.3em 0">{f"<tr>{top}</tr>" if head else ""}{body}</table>'
