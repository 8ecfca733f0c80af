"""The page of a notebook that was run without a person."""

import re
import threading
from html import unescape

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

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


def test_the_time_left_shrinks_to_nothing_and_follows_the_speed_of_the_machine():
    """Law: a machine that takes k times as long as reckoned is told k times the rest."""
    for slow in (0.5, 1, 3):
        clock = run.Clock(run.names(), "Try out", 2)
        total = sum(run.seconds(name)[""] for name in run.names())
        assert clock.left(0) >= total / 2
        for name in run.names():
            clock.reach(name, "5")
        done = sum(run.seconds(name).get("5", 0) for name in run.names())
        assert clock.left(slow * done / 2) >= slow * (total - done) / 2 - 1e-6
        for name in run.names():
            clock.reach(name, "")
        assert clock.left(slow * total / 2) == 0


def test_while_a_section_runs_the_time_left_runs_down(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(run.time, "monotonic", lambda: now[0])
    clock, told = run.Clock(run.names(), "Try out", 2), []
    for now[0] in (0, 30, 60, 90, 1000):
        told.append(int((re.search(r"about (\d+) min", str(clock)) or [0, 0])[1]))
    assert told == sorted(told, reverse=True)
    assert told[0] > told[-1] == 0
    assert str(clock) == "[1000 s, less than a minute left]"


def test_the_last_notebook_alone_is_not_reckoned_as_two():
    clock = run.Clock(["classification", "fine_tuning"], "Try out", 2)
    clock.reach("classification", "")
    alone = run.SECONDS["fine_tuning"][""]
    assert clock.left(run.SECONDS["classification"][""] / 2) == pytest.approx(alone)


def test_the_time_left_is_told_of_the_preset_whose_time_is_known():
    assert re.fullmatch(r"\[ +0 s, about \d+ min left\]", str(run.Clock(run.names(), "Try out", 2)))
    assert re.fullmatch(r"\[ +0 s\]", str(run.Clock(run.names(), "Quick on a CPU", 2)))


def test_every_section_that_is_reckoned_with_is_there_and_later_ones_come_later():
    for name, sections in run.SECONDS.items():
        source = (run.NOTEBOOKS / "src" / f"{name}.py").read_text(encoding="utf-8")
        assert set(sections) - {""} <= set(re.findall(r"^# ##+ (\d(?:\.\d)?)", source, re.MULTILINE))
        assert np.all(np.diff(list(sections.values())) > 0)


def test_two_run_at_once_and_the_table_keeps_its_order(monkeypatch, capsys):
    together = threading.Barrier(2, timeout=10)

    def execute(name, values, folder, told, threads):
        assert threads >= 1
        told("A title")
        together.wait()
        told("3.2 Look")

    monkeypatch.setattr(run, "execute", execute)
    monkeypatch.setattr(run.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(run, "headline", lambda folder: "0.5")
    rows = run.run_all(["classification", "fine_tuning", "new", "unet_segmentation"], "Try out")
    assert [row["notebook"] for row in rows] == ["classification", "fine_tuning", "new", "unet_segmentation"]
    printed = capsys.readouterr().out
    assert len(re.findall(r"^\[ +\d+ s, .* left\] \w+: begins \(Try out\)$", printed, re.MULTILINE)) == 4
    assert len(re.findall(r"\w+: 3.2 Look$", printed, re.MULTILINE)) == 4


def test_one_that_fails_does_not_stop_the_other(monkeypatch, capsys):
    def execute(name, values, folder, told, threads):
        if name == "one":
            raise run.CellExecutionError("", "DataError", "No images.")

    monkeypatch.setattr(run, "execute", execute)
    monkeypatch.setattr(run, "headline", lambda folder: "0.5")
    assert [row["score"] for row in run.run_all(["one", "two"], "Try out")] == ["FAILED", "0.5"]
    assert "DataError: No images." in capsys.readouterr().err


def test_a_notebook_tells_its_sections_and_keeps_to_its_threads(monkeypatch, tmp_path, capfd):
    for name in run.THREADS:
        monkeypatch.delenv(name, raising=False)
    cells = [
        new_markdown_cell("# A title"),
        new_code_cell("overrides = {}", metadata={"tags": ["parameters"]}),
        new_markdown_cell("## 1. Set-up\n\nWords"),
        new_code_cell(f"import os; print([os.environ[name] for name in {run.THREADS}])"),
    ]
    notebook, told = new_notebook(cells=cells), []
    monkeypatch.setattr(run, "LOG", tmp_path / "logs" / "run.log")
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    monkeypatch.setattr(run, "NOTEBOOKS", tmp_path)
    nbformat.write(notebook, tmp_path / "one.ipynb")
    run.execute("one", {}, tmp_path, told.append, threads=3)
    assert told == ["A title", "1. Set-up"]
    assert "WARNING" not in capfd.readouterr().err
    assert run.LOG.is_file()
    assert str(["3", "3", "3"]) in unescape((tmp_path / "one.html").read_text(encoding="utf-8"))


def test_no_name_of_a_widget_stands_on_the_page():
    view = "application/vnd.jupyter.widget-view+json"
    printed = ["VBox(children=(Button(description='Look'), Output()))", "a table of a form"]
    cells = [{"outputs": [{"data": {view: {}, "text/plain": text}}]} for text in printed]
    notebook = nbformat.from_dict({"cells": cells})
    shown = [cell.outputs[0].data for cell in run.without_widgets(notebook).cells]
    assert [list(one) for one in shown] == [["text/plain"]] * 2
    assert shown[0]["text/plain"] == "A button: it works in the notebook only."
    assert shown[1]["text/plain"] == "a table of a form"
