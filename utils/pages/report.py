"""One self-contained HTML page per model: what it was trained on, how, and how well it does."""

import base64
import datetime
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.figure import Figure
from pandas.api.types import is_numeric_dtype

from utils.errors import label, with_labels
from utils.files import atomic
from utils.metrics.intervals import in_words
from utils.pages.figures import png
from utils.pages.page import heading, worth_showing

TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,  # a class or file name may hold any character
    undefined=StrictUndefined,
    trim_blocks=True,
)


def write_report(
    path: str | os.PathLike,
    *,
    title: str,
    summary: str,
    tables: Mapping[str, pd.DataFrame],
    figures: Mapping[str, Figure],
    parameters: Mapping[str, object],
    warnings: Sequence[str],
    versions: Mapping[str, str],
    headline: Mapping[str, object] | None = None,
    methods: Sequence[str] = (),
    cite: Sequence[str] = (),
) -> None:
    """Write the page; figures and style are inside it, so that it can be sent or archived alone.

    Parameters
    ----------
    path
        Usually report.html in the model folder. Written whole or not at all.
    title, summary
        Heading of the page, and a few plain sentences; an empty line starts a new paragraph.
    tables, figures
        Heading -> table and caption -> figure, in the order of the page. Row labels of tables are not shown; cells
        without a value are empty.
    parameters, versions
        Name -> value, which may itself be a mapping, as in the parameters of one form; software -> version.
    warnings
        What the reader must know before trusting the scores.
    headline
        The score shown big: name, value (0 to 1), and where known low, high and meaning, as from `Task.headline`, and
        a remark.
    methods, cite
        Paragraphs on how it was done, for a paper, and what to cite there.

    Raises
    ------
    DataError
        If the disk is full or the folder cannot be written to.
    """
    page = TEMPLATES.get_template("report.html").render(
        title=title,
        written=datetime.datetime.now().strftime("%d %B %Y, %H:%M"),
        headline=_headline(headline) if headline else None,
        summary=[with_labels(paragraph.strip()) for paragraph in summary.split("\n\n") if paragraph.strip()],
        warnings=[with_labels(warning) for warning in warnings],
        tables={name: _table(worth_showing(table)) for name, table in tables.items() if len(table)},
        figures={name: _embedded(figure) for name, figure in figures.items()},
        methods=methods,
        cite=cite,
        lists={"Parameters": _flat(parameters), "Versions": versions},
    )
    with atomic(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _text(value: object) -> str:
    """A value as the page shows it: three significant digits for fractions, yes or no, nothing for what is missing."""
    if value is None or (isinstance(value, float) and math.isnan(value)) or value is pd.NA:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
    return str(value)


def _embedded(figure: Figure) -> dict[str, str]:
    """Figure as text inside the page, and its width: 11 inches, a page of the notebook, fill the report's 60 rem."""
    return {
        "data": base64.b64encode(png(figure, dpi=130)).decode(),
        "width": f"{figure.get_figwidth() * 60 / 11:.1f}rem",
    }


def _headline(headline: Mapping[str, object]) -> dict[str, str]:
    low, high = ends = [headline.get(end) for end in ("low", "high")]
    known = all(end is not None and not math.isnan(end) for end in ends)
    return {
        "name": str(headline["name"]),
        "value": in_words(headline["value"]),
        "interval": f"{low:.2f} to {high:.2f}" if known else "",
        "meaning": str(headline.get("meaning", "")),
        "remark": str(headline.get("remark", "")),
    }


def _table(table: pd.DataFrame) -> dict[str, list]:
    columns = [{"name": heading(name), "number": is_numeric_dtype(table[name])} for name in table.columns]
    return {"columns": columns, "rows": [[_text(cell) for cell in row] for row in table.itertuples(index=False)]}


def _flat(parameters: Mapping[str, object]) -> dict[str, str]:
    """Parameters of all forms in one list, named "Form: Field" as the forms show them."""
    flat = {}
    for name, value in parameters.items():
        if isinstance(value, Mapping):
            flat |= {f"{label(str(name))}: {field}": text for field, text in _flat(value).items()}
        else:
            flat[label(str(name))] = _text(value) or "(empty)"
    return flat
