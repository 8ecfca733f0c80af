"""The page of a notebook that was run without a person."""

import nbformat
import pytest

from notebooks import run
from utils.paths import ROOT


@pytest.mark.parametrize(
    ("link", "seen"),
    [
        ("../README.md#glossary", "../../README.md#glossary"),
        ("../results/one/model/report.html", "model/report.html"),
        ("../results/one/a%20%26%20b.html", "a%20%26%20b.html"),
        ((ROOT / "results" / "one" / "a b").as_uri(), "a%20b"),
        ((ROOT / "models").as_uri(), "../../models"),
        ("https://doi.org/10.1038/x", "https://doi.org/10.1038/x"),
        ("#section", "#section"),
    ],
)
def test_links_lead_from_the_page_to_where_they_led_from_the_notebook(link, seen):
    assert run.relinked(f'<a href="{link}">x</a>', run.RESULTS / "one") == f'<a href="{seen}">x</a>'


def test_no_name_of_a_widget_stands_on_the_page():
    view = "application/vnd.jupyter.widget-view+json"
    printed = ["VBox(children=(Button(description='Look'), Output()))", "a table of a form"]
    cells = [{"outputs": [{"data": {view: {}, "text/plain": text}}]} for text in printed]
    notebook = nbformat.from_dict({"cells": cells})
    shown = [cell.outputs[0].data for cell in run.without_widgets(notebook).cells]
    assert [list(one) for one in shown] == [["text/plain"]] * 2
    assert shown[0]["text/plain"] == "A button: it works in the notebook only."
    assert shown[1]["text/plain"] == "a table of a form"
