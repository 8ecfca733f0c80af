"""Tables on the page: what says nothing is left out, and what is said is in words."""

import numpy as np
import pandas as pd
from bs4 import BeautifulSoup

from utils.pages.page import tidy, worth_showing
from utils.pages.report import write_report


def test_columns_that_say_nothing_are_left_out():
    table = pd.DataFrame(
        {
            "file": ["a/1.tif", "a/2.tif"],
            "group": ["a/1", "a/2"],
            "class": ["x", ""],
            "empty": ["", None],
            "unknown": [np.nan, np.nan],
            "interval": ["-", "–"],
            "another": ["unknown", ""],
            "n": [0, 0],
        }
    )
    assert list(worth_showing(table)) == ["file", "class", "n"]
    assert list(worth_showing(table.assign(group="P1"))) == ["file", "group", "class", "n"]
    assert list(worth_showing(table.iloc[:0])) == list(table)  # an empty table keeps its headings


def test_a_table_of_groups_keeps_their_names():
    uneven = pd.DataFrame({"file": ["", "b.tif"], "group": ["P1", "b"], "feature": ["focus", "focus"]})
    assert list(worth_showing(uneven)) == ["file", "group", "feature"]
    assert list(worth_showing(uneven.iloc[:1])) == ["group", "feature"]


def test_true_and_false_are_yes_and_no():
    page = tidy(pd.DataFrame({"file": ["a"], "uncertain": [False], "correct": [np.True_]})).to_html()
    assert "False" not in page
    assert "True" not in page
    assert ">no<" in page
    assert ">yes<" in page


def test_a_cell_without_a_value_is_empty():
    page = tidy(pd.DataFrame({"file": ["a", "b"], "score": [0.5, np.nan], "of": [None, "x"]})).to_html()
    cells = [cell.get_text(strip=True) for cell in BeautifulSoup(page, "html.parser").find_all("td")]
    assert cells == ["a", "0.50", "", "b", "", "x"]


def test_a_report_has_no_table_without_rows(tmp_path):
    about = {"figures": {}, "parameters": {}, "warnings": [], "versions": {}, "title": "t", "summary": "s"}
    tables = {"Nothing here": pd.DataFrame({"a": []}), "Something here": pd.DataFrame({"a": [1], "group": [""]})}
    write_report(tmp_path / "report.html", tables=tables, **about)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Nothing here" not in page
    assert "Something here" in page
    assert "group" not in page.partition("Something here")[2].partition("</table>")[0]
