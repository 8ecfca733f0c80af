"""The report: self-contained, safe with any name, whole or absent."""

import base64
import io
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from matplotlib.figure import Figure
from PIL import Image as PillowImage

from utils.errors import DataError
from utils.pages.report import write_report

HOSTILE = "<script>alert('x')</script> & \"b\""


def write(path, **changes):
    content = {
        "title": "My model",
        "summary": "Trained on 12 images.\n\nTested on 4.",
        "tables": {"Scores": pd.DataFrame({"score": ["Dice"], "value": [0.91234], "low": [np.nan]})},
        "figures": {"Curve": Figure(figsize=(3, 2))},
        "parameters": {
            "training": {"batch_size": 4, "loss": None, "starting_model": "", "half_resolution": False},
            "seed": 1,
        },
        "warnings": ["Two images are odd."],
        "versions": {"numpy": "2.4"},
        "headline": {"name": "Mean foreground IoU", "value": 0.834, "low": 0.771, "high": 0.88, "meaning": "Good."},
    }
    write_report(path, **(content | changes))
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def test_the_page_holds_everything(tmp_path):
    page = write(tmp_path / "report.html")
    text = page.get_text(" ", strip=True)
    for expected in ("My model", "Trained on 12 images.", "Two images are odd.", "0.912", "numpy", "2.4", "Good."):
        assert expected in text
    assert page.select_one(".headline .value").get_text() == "0.83"
    assert "0.77 to 0.88" in page.select_one(".headline .name").get_text()
    rows = {row.th.get_text(): row.td.get_text() for row in page.select("tr:has(th[scope=row])")}
    assert rows["Training: Batch size"] == "4"
    assert rows["Training: Loss"] == "(empty)"
    assert not {"-", "–"} & {cell.get_text(strip=True) for cell in page.find_all("td")}
    assert rows["Training: Starting model"] == "(empty)"
    assert rows["Training: Half resolution"] == "no"
    assert rows["Seed"] == "1"


def test_figures_are_inside_the_page(tmp_path):
    page = write(tmp_path / "report.html")
    (image,) = page.find_all("img")
    picture = PillowImage.open(io.BytesIO(base64.b64decode(image["src"].removeprefix("data:image/png;base64,"))))
    assert picture.size == (390, 260)
    assert image["alt"] == "Curve"


def test_the_page_needs_no_network(tmp_path):
    write(tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"https?://|//[a-z]|url\(|@import|<link|<script", html)


def test_any_name_is_text_and_nothing_else(tmp_path):
    page = write(
        tmp_path / "report.html",
        title=HOSTILE,
        summary=HOSTILE,
        tables={HOSTILE: pd.DataFrame({f"dice_{HOSTILE}": [HOSTILE]})},
        figures={HOSTILE: Figure(figsize=(1, 1))},
        parameters={HOSTILE: HOSTILE},
        warnings=[HOSTILE],
        versions={HOSTILE: HOSTILE},
        headline={"name": HOSTILE, "value": 0.5, "meaning": HOSTILE},
    )
    assert not page.find_all("script")
    assert page.img["alt"] == HOSTILE
    assert page.get_text().count(HOSTILE) == 14  # everywhere it was given, the title twice


@pytest.mark.parametrize("ends", [{}, {"low": float("nan"), "high": float("nan")}, {"low": None, "high": None}])
def test_score_without_interval(tmp_path, ends):
    page = write(tmp_path / "report.html", headline={"name": "IoU", "value": 0.5, **ends})
    assert "interval" not in page.select_one(".headline").get_text()


def test_without_score_warnings_and_figures(tmp_path):
    page = write(tmp_path / "report.html", headline=None, warnings=[], figures={})
    assert not page.select(".headline, .warnings, figure")
    page = write(tmp_path / "report.html", headline={"name": "IoU", "value": float("nan")})
    assert page.select_one(".headline .value").get_text() == "unknown"


def test_a_failure_leaves_the_old_report(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    write(path)
    before = path.read_bytes()
    with pytest.raises(TypeError):
        write(path, headline={"name": "IoU", "value": "high"})

    def full_disk(file, text, **_):
        file.write_bytes(text[:100].encode())
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full_disk)
    with pytest.raises(DataError, match="No space left"):
        write(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]
