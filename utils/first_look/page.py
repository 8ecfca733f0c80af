"""What the first page shows: the answer about a folder, anew whenever another one is chosen, and what is there."""

import base64
import io
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np
import PIL.Image
from IPython.display import HTML, display
from ipywidgets import Button, Layout, VBox

from utils import runtime
from utils.data.problems import Problem
from utils.errors import with_labels
from utils.first_look import forecast, shelf
from utils.first_look.advice import ALSO, FITS, NOT, TRAINED, Advice, advise, advise_model, summary
from utils.first_look.content import Content, read_content
from utils.first_look.headers import CROP, LOOKED_AT, facts
from utils.first_look.survey import Survey, look
from utils.forms.folders import path_text
from utils.forms.places import keep_chosen
from utils.forms.settings import hand_over
from utils.forms.state import Form
from utils.pages.notes import link
from utils.paths import ROOT, resolve

NOTEBOOKS = ROOT / "notebooks"
WORDS = {FITS: "fits", ALSO: "fits, too", TRAINED: "with a trained model", NOT: "not with this folder"}
MEANING = {
    "instance labels": "Every object has a number of its own",
    "binary": "Marked or not",
    "soft edges": "Marked or not, with soft edges",
    "classes": "A number for each kind of area",
}
NOTHING = (
    "No folder is chosen yet: press <i>Choose ...</i> above, go to the folder of your images and press <i>Use this "
    "folder</i>. To try it out, choose <i>Samples</i> in the list <i>Go to ...</i> there."
)
READ = "Read are TIFF, PNG, JPEG, BMP and GIF."
NEXT = (
    "<i>Open ...</i> opens that page, with your folder in its form. There click on the heading 3.2 and choose "
    "<i>Run &gt; Run All Above Selected Cell</i> in the menu; when the form shows what you want, choose "
    "<i>Run &gt; Run Selected Cell and All Below</i>."
)
NOT_KEPT = (
    "<b>Your folder cannot be filled in there</b>: the folder <i>settings</i> of the project cannot be written to, so "
    "choose it there again."
)
USE = (
    "<i>Open ...</i> opens that page. Section 6 alone will do there (Colab: sections 1, 2 and 6): what was found here "
    "is filled in already."
)
DRAW = (
    'Nothing can be done with these images alone. <a href="../README.md#your-own-data">The README says</a> how masks '
    "are drawn and how images are sorted into classes; 10 to 20 images are a good start. Then choose the folder again."
)
ESTIMATE = (
    "Estimated from how fast this computer calculates, and from the size and number of your images: it may be half or "
    "twice as much. Section 3.2 of the notebook measures it more exactly."
)
LEAST_FREE = 0.8  # share of the free memory that a training may need
PICTURE = 200  # pixels wide, on the page


def show_folder(form: Form) -> None:
    """Show what lies in the folder of the form, and show it anew whenever another one is chosen there."""
    html, inside = answer(form)
    handle = display(HTML(html), display_id=True)
    if form.headless or handle is None:
        return
    offers = VBox(_offers(form, inside))
    display(offers)

    def update() -> None:
        offers.children = ()
        handle.update(HTML(_paragraph(f"Looking into {escape(form.folder)} ...")))
        html, inside = answer(form)
        handle.update(HTML(html))
        offers.children = _offers(form, inside)

    form.on_change(update)


def _offers(form: Form, inside: Sequence[tuple[Path, str]]) -> tuple[Button, ...]:
    """A button for each folder that can be chosen further down."""
    texts = {text: f"{_below(path, form.folder)}: {what}" for path, what in inside if (text := path_text(path))}
    buttons = [Button(description=words, layout=Layout(width="max-content")) for words in texts.values()]
    for button, text in zip(buttons, texts, strict=True):
        button.add_class("offer")
        button.on_click(lambda _, text=text: form.enter("folder", text))
    return tuple(buttons)


def _below(path: Path, folder: str) -> str:
    """A path as seen from the folder that a field names."""
    above = resolve(folder)
    return str(path.relative_to(above) if path.is_relative_to(above) else path)


def answer(form: Form) -> tuple[str, list[tuple[Path, str]]]:
    """HTML about the folder of the form, and folders further down to choose from; other notebooks get it filled in.

    That is, unless a program has named it.
    """
    if not form.folder.strip():
        return _paragraph(NOTHING), []
    survey = look(form.folder)
    content = read_content(survey.found) if survey.found else Content()
    advice = _advice(survey, content)
    kept = form.headless or hand_over({one.notebook: one.values for one in advice if one.values})
    if not form.headless and not any(one.severity == "error" for one in survey.problems):
        keep_chosen(survey.folder)
    inside = survey.inside if survey.found is None or content.side > CROP else []
    parts = [
        _what_lies_in(survey, content, inside if form.headless else []),
        _which_fits(advice),
        _paragraph("" if kept else NOT_KEPT),
        _how_long(survey, content, advice),
    ]
    return f'<div style="max-width: 1100px">{"".join(parts)}</div>', inside


def show_shelf() -> None:
    """Show models and results of earlier work, and what comes with the project."""
    display(HTML(f'<div style="max-width: 1100px">{_models()}{_results()}{_bundled()}</div>'))


def _advice(survey: Survey, content: Content) -> list[Advice]:
    if survey.found:
        return advise(survey.found, content)
    model = shelf.read_model(survey.model) if survey.model else None
    return advise_model(model, survey.model) if model else []


def _what_lies_in(survey: Survey, content: Content, listed: Sequence[tuple[Path, str]]) -> str:
    """What was found; `listed` are folders to choose from, where there are no buttons."""
    found, said = survey.found, [escape(note) for note in survey.notes]
    parts = [_heading("What lies in the folder"), _paragraph(link(survey.folder))]
    if found:
        said.insert(0, f"<b>{escape(summary(found))}</b>")
    elif survey.model:
        said.insert(0, "<b>A trained model.</b>")
    elif survey.inside:
        said.insert(0, f"<b>{len(survey.inside)} folders in it look like data.</b> Choose one of them with a click:")
    elif not (survey.problems or survey.notes):
        said.insert(0, f"<b>No image was found in it, or in the folders below.</b> {READ}")
    parts.append(_paragraph(" ".join(said)))
    parts.append(_table([], [(escape(_below(path, str(survey.folder))), escape(what)) for path, what in listed]))
    parts.append(_gallery(content))
    rows = [(what, escape(value)) for what, value in facts(content.headers)]
    if found and found.classes:
        rows.append(("Classes", escape(", ".join(f"{name} {count}" for name, count in found.classes.items()))))
    if content.mask_type:
        rows.append(("Masks", escape(f"{MEANING.get(content.mask_type, content.mask_type)}. {content.why}")))
    parts += [_table([], rows), _looked_at(survey, content), _problems([*survey.problems, *content.problems])]
    return "".join(parts)


def _looked_at(survey: Survey, content: Content) -> str:
    number = len(survey.found.images) if survey.found else 0
    if number <= LOOKED_AT:
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
    words = WORDS if advice[0].fit == FITS else WORDS | {ALSO: "may fit"}
    rows = [
        (
            _opened(one.notebook, "Open ") if one.fit < NOT else escape(one.notebook),
            f'<span style="white-space: nowrap">{f"<b>{words[one.fit]}</b>" if one.fit < NOT else words[NOT]}</span>',
            escape(with_labels(one.why)),
        )
        for one in advice
    ]
    best = advice[0]
    then = DRAW if best.fit == NOT else NEXT if "data" in best.values else USE
    return _heading("Which notebook fits") + _table(["notebook", "", "why"], rows) + _paragraph(then)


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
            _opened(one.notebook),
        )
        for one in shelf.models()
    ]
    none = _paragraph("There are none yet." if not rows else "")
    head = ["model", "kind", "trained", "score", "notebook"]
    return _heading("Your models, the newest first") + _table(head, rows) + none


def _opened(notebook: str, before: str = "") -> str:
    """Link that opens a notebook; its name alone where there is none."""
    path = NOTEBOOKS / f"{notebook}.ipynb"
    return link(path, before + notebook) if path.is_file() else escape(notebook)


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
            f"{one.noun} model of fluorescent nuclei, to start from or to use",
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
    """PNG of a picture uint8 (Y, X, 3) as text."""
    PIL.Image.fromarray(picture).save(file := io.BytesIO(), "PNG")
    return base64.b64encode(file.getvalue()).decode()


def _heading(text: str) -> str:
    return f'<h4 style="margin: 1em 0 0.3em 0">{escape(text)}</h4>'


def _paragraph(html: str) -> str:
    return f'<p style="margin: 0.3em 0; overflow-wrap: anywhere">{html}</p>' if html else ""


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Table of cells that are HTML already; nothing without rows."""
    if not rows:
        return ""
    style = "text-align: left; vertical-align: top; padding: 3px 12px 3px 0; white-space: "
    top = "".join(f'<th style="{style}nowrap">{escape(name)}</th>' for name in head)
    body = ""
    for first, *others in rows:
        cells = "".join(f'<td style="{style}normal; overflow-wrap: anywhere">{cell}</td>' for cell in others)
        body += f'<tr><td style="{style}nowrap">{first}</td>{cells}</tr>'
    return f'<table style="margin: 0.3em 0">{f"<tr>{top}</tr>" if head else ""}{body}</table>'
