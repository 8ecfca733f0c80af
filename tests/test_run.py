"""The page of a notebook that was run without a person."""

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
        ("unet_segmentation.ipynb", "../../notebooks/unet_segmentation.ipynb"),
    ],
)
def test_links_lead_from_the_page_to_where_they_led_from_the_notebook(link, seen):
    assert run.relinked(f'<a href="{link}">x</a>', run.RESULTS / "one") == f'<a href="{seen}">x</a>'
