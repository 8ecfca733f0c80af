"""What a cell needs of others, and what a page does where something went wrong."""

import json
import re
import subprocess
import sys

import pytest
from IPython.core.interactiveshell import InteractiveShell

from notebooks import run
from utils.errors import DataError, NotYet
from utils.pages import cells
from utils.paths import ROOT

NAMES = run.names()


@pytest.fixture(scope="module")
def every():
    command = [sys.executable, "tests/single_cells.py", *NAMES]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module", params=NAMES)
def alone(request, every):
    """What each cell of a notebook says that is run alone: (when, title, went well, text)."""
    return [rest for name, *rest in every if name == request.param]


class TestAlone:
    def test_no_cell_shows_a_traceback(self, alone):
        for when, title, _, text in alone:
            assert "Traceback" not in text, (when, title, text)
            assert "Error" not in text.replace("UsageError", ""), (when, title, text)

    def test_in_a_fresh_kernel_each_says_what_to_run(self, alone):
        fresh = [(title, text) for when, title, _, text in alone if when == "fresh"]
        assert len(fresh) > 12
        for title, text in fresh:
            assert "`%run_section_1_first`" in text or "`%run_the_cells_above_first`" in text, title

    def test_where_the_kernel_was_taught_each_says_it_in_a_sentence(self, alone):
        taught = [(title, well, text) for when, title, well, text in alone if when == "taught"]
        assert len(taught) > 12
        for title, well, text in taught:
            assert not well, title
            assert text.startswith("This cell needs "), title
            assert len(text.splitlines()) == 1
            assert "Error" not in text
            assert "%" not in text

    def test_after_section_1_each_goes_well_or_says_what_to_run(self, alone):
        after = [(title, well, text) for when, title, well, text in alone if when == "after set-up"]
        for title, well, text in after:
            assert well or ("This cell needs" in text and len(text.splitlines()) == 1), (title, text)
        forms = [well for title, well, _ in after if title.startswith("# Form") and "augmentation" not in title]
        assert len(forms) >= 4
        assert all(forms)

    def test_the_section_that_is_needed_is_named(self, alone):
        texts = {title: text for when, title, _, text in alone if when == "after set-up"}
        if "# Check the protocol" in texts:  # the microscope reads no folder of data
            assert "2. Microscope" in texts["# Check the protocol"]
            assert "4. Run" in texts["# List the files"]
            return
        assert "3.1 Fill in the form" in texts["# Read and show the data"]
        predict = texts.get("# Predict") or texts["# Measure"]
        assert re.search('"Form: (new images|slides to measure)" of this section', predict)


@pytest.mark.parametrize(
    ("source", "needs", "makes"),
    [
        ("a = b", ["b"], ["a"]),
        ("a = a + 1", ["a"], []),
        ("a, c = b, 2", ["b"], ["a", "c"]),
        ("a = b if c else d", ["c"], ["a"]),
        ("a = b or c", ["b"], ["a"]),
        ("if a:\n    b = c", ["a"], []),
        ("a = 1\nb = a", [], ["a", "b"]),
        ("from x import a\na.f(b.c)", ["a", "b"], []),
        ("f(lambda: g(a))", ["f", "g", "a"], []),
        ("class A(B):\n    x = C(1)\n\n\na = A()", ["B", "C"], ["A", "a"]),
        ("# Train\n%run_the_cells_above_first begin end\na = 1", ["begin", "end"], ["a"]),
        ("%matplotlib inline\n!ls\na = b", ["b"], ["a"]),
        ("a = = 1", [], []),
        ("", [], []),
        ("a.b = c\na[1] = d", ["c", "a", "d"], []),
    ],
)
def test_what_a_cell_needs_and_makes(source, needs, makes):
    found = cells.needed(source)
    assert sorted(one for one in found) == sorted(needs)
    assert cells.made(source) == makes


@pytest.fixture
def shell(monkeypatch, tmp_path):
    """A kernel in which section 1 of a small notebook was run, on a page that a person looks at."""
    code = [
        ("## 1. Set-up", "# Load the software\nx = 0"),
        ("### 3.2 Look at the data", "# Read\n%run_the_cells_above_first\nproject = open_it()"),
        ("### 3.4 Start", "# Start\n%run_the_cells_above_first\nbeginning = begin(project)"),
        ("## 4. Train", "# Train\n%run_the_cells_above_first beginning\ntrained = train(project)"),
        ("## 5. Evaluate", "# Score\n%run_the_cells_above_first\nresult = score(project, other if given else trained)"),
        ("## 5. Evaluate", "# Show\n%run_the_cells_above_first\nprint(result)"),
        ("## 6. Predict", "# Predict\n%run_section_1_first\nprint(predict())"),
    ]
    page = [cell for heading, source in code for cell in ({"cell_type": "markdown", "source": heading},
            {"cell_type": "code", "source": source})]  # fmt: skip
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "small.ipynb").write_text(json.dumps({"cells": page}))
    shell = InteractiveShell()
    monkeypatch.setattr(cells, "ROOT", tmp_path)
    monkeypatch.setattr(cells, "get_ipython", lambda: shell)
    monkeypatch.setattr("utils.pages.notes.get_ipython", lambda: None)
    monkeypatch.setenv("JPY_SESSION_NAME", "small.ipynb")
    for kept in (cells._cells, cells._makers):
        kept.cache_clear()
    cells._failed.clear()
    cells.begin("small")
    shell.user_ns |= dict.fromkeys(("open_it", "begin", "train"), lambda *given: "made")
    shell.user_ns |= {"score": lambda *given: given[-1], "given": False, "overrides": {}, "predict": lambda: "masks"}
    shell.page = [source for _, source in code[1:]]
    yield shell
    for kept in (cells._cells, cells._makers):
        kept.cache_clear()
    cells._failed.clear()


def fails(error):
    def function(*given):
        raise error

    return function


def run_all(shell, capsys, first=0):
    """Run cells below each other as Jupyter does; the text of each, None where it was left out."""
    said = [None] * len(shell.page)
    for i, source in enumerate(shell.page[first:], first):
        result = shell.run_cell(source, store_history=True)
        said[i] = capsys.readouterr().out.strip()
        if not result.success:
            break
    return said


def waits(section):
    return f"Nothing was done here: this waits for {section}, where something went wrong."


class TestAfterAnError:
    def test_all_goes_well(self, shell, capsys):
        assert run_all(shell, capsys) == ["", "", "", "", "made", "masks"]

    def test_each_later_cell_waits_in_one_line_and_the_others_run(self, shell, capsys):
        shell.user_ns["open_it"] = fails(DataError("there is no folder"))
        first, *rest, last = run_all(shell, capsys)
        assert "Please check your data: there is no folder" in first
        assert rest == [waits("3.2 Look at the data")] * 4
        assert last == "masks"

    def test_what_was_made_before_is_not_taken_in_its_place(self, shell, capsys):
        run_all(shell, capsys)
        shell.user_ns["open_it"] = fails(DataError("another folder"))
        assert run_all(shell, capsys)[1:5] == [waits("3.2 Look at the data")] * 4

    def test_a_cell_that_makes_nothing_of_use_holds_up_those_that_name_it(self, shell, capsys):
        shell.user_ns["begin"] = fails(DataError("other channels"))
        said = run_all(shell, capsys)
        assert said[2:5] == [waits("3.4 Start")] * 3

    def test_a_branch_that_is_not_run_needs_nothing(self, shell, capsys):
        shell.user_ns |= {"train": fails(DataError("full disk")), "given": True, "other": "an earlier model"}
        assert run_all(shell, capsys)[3:] == ["", "an earlier model", "masks"]
        shell.user_ns["given"] = False
        assert run_all(shell, capsys, first=3)[3:] == [waits("4. Train"), waits("4. Train"), "masks"]

    def test_mended_and_run_again_from_there(self, shell, capsys):
        shell.user_ns["open_it"] = fails(DataError("there is no folder"))
        run_all(shell, capsys)
        shell.user_ns["open_it"] = lambda: "made"
        assert run_all(shell, capsys) == ["", "", "", "", "made", "masks"]

    def test_an_error_of_the_code_holds_up_the_same_way(self, shell, capsys):
        shell.user_ns["open_it"] = fails(ZeroDivisionError("1 / 0"))
        assert run_all(shell, capsys)[1] == waits("3.2 Look at the data")

    def test_a_program_learns_of_the_error(self, shell, capsys, monkeypatch):
        shell.user_ns["open_it"] = fails(DataError("there is no folder"))
        shell.user_ns["overrides"] = {"data": {}}
        assert run_all(shell, capsys)[1:] == [None] * 5
        shell.user_ns["overrides"] = {}
        monkeypatch.delenv("JPY_SESSION_NAME")
        assert run_all(shell, capsys)[1:] == [None] * 5

    def test_the_stop_button_says_one_sentence_and_stops_the_page(self, shell, capsys):
        shell.user_ns["open_it"] = fails(KeyboardInterrupt())
        said = run_all(shell, capsys)
        assert said[0] == "You stopped this cell. Run it again to go on; the cells below it were not run."
        assert said[1:] == [None] * 5

    def test_what_a_person_has_to_do_first_is_no_error(self, shell, capsys):
        shell.user_ns["predict"] = fails(
            NotYet("Choose a model in the form above, then run this cell.", name="trained")
        )
        said = run_all(shell, capsys)
        assert said[-1] == "Choose a model in the form above, then run this cell."
        shell.user_ns["train"] = fails(DataError("full disk"))
        assert run_all(shell, capsys)[-1] == waits("4. Train")

    def test_a_name_that_no_cell_makes_is_a_mistake_in_the_code(self, shell, capsys):
        shell.run_cell("print(my_own)", store_history=True)
        assert "NameError" in capsys.readouterr().out
        shell.user_ns["predict"] = fails(NameError("name 'project' is not defined", name="project"))
        assert "NameError" in run_all(shell, capsys)[-1]


def test_where_the_file_of_the_notebook_is_elsewhere_a_cell_still_says_what_to_do(shell, capsys, tmp_path):
    (tmp_path / "notebooks" / "small.ipynb").unlink()
    for kept in (cells._cells, cells._makers):
        kept.cache_clear()
    (said,) = [run_all(shell, capsys, first=5 - i)[5 - i] for i in (1,)]
    assert said.startswith("This cell needs what the cells above make: click on this cell")


@pytest.mark.parametrize("name", NAMES)
def test_each_cell_but_the_first_two_begins_with_what_has_to_be_run_first(name):
    page = json.loads((run.NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in page if cell["cell_type"] == "code"]
    for source in (one for one in code[2:] if "\nROOT = " not in one):
        assert cells.GUARD.match(source.splitlines()[1]), source


def section_6(name):
    page = json.loads((run.NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in page if cell["cell_type"] == "code"]
    first = next(i for i, source in enumerate(code[2:], 2) if "\nROOT = " in source)
    last = next(i for i, source in enumerate(code[first + 1 :], first + 1) if "\nclass " not in source)
    return code[first : last + 1]


@pytest.mark.parametrize("name", run.training())
def test_section_6_loads_the_software_itself(name):
    load, *_, form, predict = section_6(name)
    assert f'cells.run_section_1("{name}", globals())' in load
    assert re.search(r"^class Prediction\(", form, re.MULTILINE)
    assert re.search(r"show_prediction|slide_page.measure", predict)


def test_section_6_alone_asks_for_the_model_without_anything_red():
    """In a kernel in which nothing was run: it loads the software, shows its form, and says what to choose in it."""
    script = (
        "import json, sys; from IPython.core.interactiveshell import InteractiveShell\n"
        "shell = InteractiveShell.instance()\n"
        "for source in json.load(sys.stdin): shell.run_cell(source, store_history=True)"
    )
    command, given = [sys.executable, "-c", script], json.dumps(section_6("unet_segmentation"))
    done = subprocess.run(command, cwd=run.NOTEBOOKS, input=given, capture_output=True, text=True, check=True)
    told = 'Choose a model in the field "Model folder" of the form above, then run this cell.'
    assert "Ready: " in done.stdout
    assert done.stdout.splitlines()[-1] == told
    assert "Error" not in done.stdout + done.stderr
