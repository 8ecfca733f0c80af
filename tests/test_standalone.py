"""The single-file notebooks: complete, readable, running in an empty folder with Colab's versions and the lock's."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from functools import cache
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

from notebooks import run, standalone
from utils.paths import ROOT

NAMES = run.names()
built = cache(standalone.standalone)  # every test reads the same ones
KEPT_BY_COLAB = ("tensorflow-cpu", "keras", "numpy", "scikit-image", "ipywidgets", "traitlets", "ipython", "pandas")
SHORT = {"training": {"preset": "Try out", "number_of_epochs": 1}}
SHORTER = {
    "fine_tuning": {"curve": {"sizes": "3", "repeats": 1}},
    "slide_fibrosis": {"slides": {"um_per_pixel": 2.0}, "data": {"test_in_turn": False}},
}
STAND_IN = '''
"""In place of Colab's own module: a Drive that is an ordinary folder, or a reader who declines."""
import os
from pathlib import Path
import utils.storage
utils.storage.MOUNT = Path(os.environ["DRIVE"])
def mount(path):
    if os.environ.get("DECLINED"):
        raise ValueError("mount failed")
    (Path(path) / "MyDrive").mkdir(parents=True, exist_ok=True)
'''


def execute(path: Path, values: dict, kernel: str = "python3", watch=None) -> nbformat.NotebookNode:
    """Run a notebook in its folder; `watch` gets the client as soon as the training begins."""
    notebook = parameterize_notebook(load_notebook_node(str(path)), {"overrides": values})
    client = NotebookClient(
        notebook, timeout=None, kernel_name=kernel, resources={"metadata": {"path": str(path.parent)}}
    )

    def begins(cell, cell_index):
        if watch and "with_progress(task.train" in cell.source:
            threading.Thread(target=watch, args=(client,), daemon=True).start()

    client.on_cell_start = begins
    client.execute()
    return notebook


def outputs(notebook) -> list:
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def told(notebook) -> str:
    """The sentences on the page."""
    return "\n".join(output.data.get("text/plain", "") for output in outputs(notebook) if "data" in output)


def complaints(notebook) -> str:
    """What libraries wrote to the error stream."""
    return "".join(output.text for output in outputs(notebook) if output.get("name") == "stderr")


def alone(name: str, folder: Path) -> Path:
    """The single-file version in an empty folder."""
    path = folder / f"{name}.ipynb"
    nbformat.write(built(name), path)
    return path


@pytest.mark.parametrize("name", NAMES)
class TestFile:
    def test_it_is_a_valid_notebook_whose_other_cells_are_those_of_the_clone(self, name):
        made = built(name)
        nbformat.validate(made)
        original = nbformat.read(run.NOTEBOOKS / f"{name}.ipynb", as_version=4)
        added = [cell for cell in made.cells if cell.id.startswith("software") or cell.id == "glossary"]
        assert [cell.cell_type for cell in added] == ["markdown", "code", "code", "markdown"]
        rest = [cell for cell in made.cells if cell not in added]
        expected = [cell.source.replace("../README.md#glossary", "#glossary") for cell in original.cells]
        assert [cell.source.replace("# @title ", "# ") for cell in rest] == expected
        assert {cell.source.startswith("# @title ") for cell in rest if cell.cell_type == "code"} == {True}

    def test_the_two_cells_give_back_the_files(self, name, tmp_path):
        """Law: written and taken apart, each file is what it was; every module that these files import is there."""
        code = [cell for cell in built(name).cells if cell.id in ("software", "software-unpack")]
        (tmp_path / "cells.ipy").write_text(code[1].source, encoding="utf-8")
        first, _, body = code[0].source.partition("\n")
        assert first == f"%%writefile {standalone.FILE}"
        (tmp_path / standalone.FILE).write_text(body + "\n", encoding="utf-8")
        subprocess.run([sys.executable, "cells.ipy"], cwd=tmp_path, check=True, capture_output=True)
        written = {path for path in (tmp_path / "nocodedl4bio").rglob("*") if path.is_file()}
        names = {path.relative_to(tmp_path / "nocodedl4bio") for path in written}
        pages = Path("utils/pages/templates/report.html")
        assert {Path("utils/forms/form.py"), Path("data_samples/generate.py"), pages} <= names
        for one in names:
            there, here = (tmp_path / "nocodedl4bio" / one).read_bytes(), (ROOT / one).read_bytes()
            assert there == here or (here.strip() == b"" and there.strip() == b"")
        # A fresh kernel finds the software even where only section 1 is run.
        setup = next(cell.source for cell in built(name).cells if "\nROOT = " in cell.source)
        search = setup.partition("sys.path")[0] + "print(ROOT)"
        for folder, told in ((tmp_path, "nocodedl4bio"), (tmp_path / "nocodedl4bio" / "utils", "nocodedl4bio")):
            done = subprocess.run(
                [sys.executable, "-c", search], cwd=folder, capture_output=True, text=True, check=True
            )
            assert done.stdout.strip().endswith(told)
        for module in set().union(
            *(standalone.imported((ROOT / one).read_text("utf-8")) for one in names if one.suffix == ".py")
        ):
            path = Path(*module.split(".")).with_suffix(".py")
            assert path in names or not (ROOT / path).is_file() or path.parts[0] == "tests"

    def test_it_is_readable_text(self, name):
        """No archive, no base64: nothing that a reader or a virus scanner cannot look into."""
        lines = [line for cell in built(name).cells for line in cell.source.splitlines()]
        assert max(len(line) for line in lines) <= 400
        assert not [line for line in lines if re.search(r"[A-Za-z0-9+/=]{100}", line)]

    def test_the_badge_is_there_only_with_an_address(self, name):
        plain = built(name).cells[0].source
        assert "colab" not in plain.partition("\n")[0].lower()
        assert plain.startswith("# ")
        first = standalone.standalone(name, "team/tool/blob/main/dist/").cells[0].source
        address = f"https://colab.research.google.com/github/team/tool/blob/main/dist/{name}.ipynb"
        assert first.startswith("[![Open in Colab](")
        assert f"]({address})" in first
        assert first.endswith(plain)


def test_a_page_without_its_software_says_so(tmp_path):
    setup = next(
        c.source for c in nbformat.read(run.NOTEBOOKS / f"{NAMES[0]}.ipynb", 4).cells if "\nROOT = " in c.source
    )
    done = subprocess.run([sys.executable, "-c", setup], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "run the cells under Software first" in done.stderr
    assert "Traceback" not in done.stderr


def test_imports_inside_functions_and_of_parts_are_found():
    code = "import a.b\nfrom c import d as e\ndef f():\n    from utils.g import h\n    import i, j"
    assert standalone.imported(code) == {"a.b", "c", "c.d", "utils.g", "utils.g.h", "i", "j"}


def test_make_standalone_writes_all(tmp_path):
    command = [sys.executable, "-m", "notebooks.standalone", "--folder", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    assert sorted(path.stem for path in tmp_path.glob("*.ipynb")) == NAMES


@pytest.mark.slow
@pytest.mark.parametrize("name", run.training())
def test_it_runs_in_an_empty_folder_with_the_versions_of_the_lock(name, tmp_path):
    notebook = execute(alone(name, tmp_path), settings(name))
    check_run(notebook, tmp_path / "nocodedl4bio")
    assert {path.name for path in tmp_path.iterdir()} == {f"{name}.ipynb", "nocodedl4bio", standalone.FILE}


def settings(name: str) -> dict:
    """Nothing filled in but what makes the run short."""
    return SHORT | SHORTER.get(name, {})


def check_run(notebook, folder: Path) -> None:
    """The run wrote a model with scores and predictions, and no library spoke in between."""
    assert complaints(notebook) == ""
    assert f"Folder of the project: {folder}" in told(notebook)
    model = next(path for path in (folder / "models").iterdir() if path.name.startswith("my_"))
    headline = json.loads((model / "scores.json").read_text(encoding="utf-8"))["headline"]
    assert 0 <= headline["value"] <= 1
    assert (model / "report.html").is_file()
    assert [path for path in (folder / "results").rglob("*.csv")]


def python_of_colab() -> str:
    """A Python 3.13, from the path or from pyenv."""
    found = [shutil.which("python3.13"), *sorted(Path.home().glob(".pyenv/versions/3.13*/bin/python"))]
    for one in filter(None, found):
        if subprocess.run([one, "-c", "import venv, ensurepip"], capture_output=True, check=False).returncode == 0:
            return str(one)
    pytest.skip(
        "Python 3.13, which Google Colab has, is missing: the single-file notebooks are not tried with its versions"
    )


@pytest.fixture(scope="session")
def colab(tmp_path_factory):
    """Python of an environment with Colab's versions, known to Jupyter as the kernel "colab"."""
    folder = tmp_path_factory.mktemp("colab")
    subprocess.run([python_of_colab(), "-m", "venv", folder / "env"], check=True)
    python = str(folder / "env" / "bin" / "python")
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, "--requirement", ROOT / "tests" / "colab.txt"], check=True, capture_output=True)
    kernel = {"argv": [python, "-m", "ipykernel_launcher", "-f", "{connection_file}"], "language": "python"}
    (folder / "share" / "kernels" / "colab").mkdir(parents=True)
    text = json.dumps(kernel | {"display_name": "Colab"})
    (folder / "share" / "kernels" / "colab" / "kernel.json").write_text(text, encoding="utf-8")
    (folder / "google" / "colab").mkdir(parents=True)
    (folder / "google" / "colab" / "__init__.py").touch()
    (folder / "google" / "colab" / "drive.py").write_text(STAND_IN, encoding="utf-8")
    return folder


@pytest.fixture
def session(colab, tmp_path, monkeypatch):
    """A session of Colab: its kernel, and a Drive in `tmp_path`/drive."""
    monkeypatch.setenv("JUPYTER_PATH", str(colab / "share"))
    monkeypatch.setenv("PYTHONPATH", str(colab))
    monkeypatch.setenv("DRIVE", str(tmp_path / "drive"))
    (tmp_path / "content").mkdir()
    return tmp_path / "content", tmp_path / "drive" / "MyDrive" / "NoCodeDL4Bio"


def versions(colab: Path) -> dict[str, str]:
    command = [colab / "env" / "bin" / "python", "-m", "pip", "list", "--format", "json"]
    listed = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return {one["name"].lower().replace("_", "-"): one["version"] for one in listed}


@pytest.mark.slow
@pytest.mark.parametrize("name", run.training())
def test_it_runs_in_colab_and_replaces_nothing_there(name, colab, session):
    content, kept = session
    before = versions(colab)
    assert set(KEPT_BY_COLAB) <= before.keys()
    notebook = execute(alone(name, content), settings(name), "colab")
    check_run(notebook, content / "nocodedl4bio")
    after = versions(colab)
    assert {package: after[package] for package in before} == before
    assert "stardist" in after
    assert (kept / "models").is_dir()
    assert "Google Drive is connected" in told(notebook)
    assert {path.name for path in kept.iterdir()} == {"models", "results", "settings"}


@pytest.mark.slow
def test_a_training_goes_on_in_a_new_session_of_colab(colab, session, tmp_path):
    """Colab ends the session after the first epoch: its disk is gone, the Drive is not."""
    content, kept = session
    values = {"training": SHORT["training"] | {"number_of_epochs": 3}}
    ended = threading.Event()

    def disconnect(client):
        while not list(kept.glob("models/*/training/state.json")):
            time.sleep(0.05)
        ended.set()
        os.kill(client.km.provisioner.pid, signal.SIGKILL)

    with pytest.raises((DeadKernelError, CellExecutionError)):
        execute(alone("unet_segmentation", content), values, "colab", disconnect)
    assert ended.is_set()
    shutil.rmtree(content)
    content.mkdir()
    notebook = execute(alone("unet_segmentation", content), values, "colab")
    history = pd.read_csv(kept / "models" / "my_unet" / "history.csv")
    assert history["epoch"].tolist() == [1, 2, 3]
    assert "went on where it had been stopped" in told(notebook)


@pytest.mark.slow
def test_without_the_drive_the_page_says_what_to_do(colab, session, monkeypatch):
    content, _ = session
    monkeypatch.setenv("DECLINED", "yes")
    path = alone("unet_segmentation", content)
    notebook = nbformat.read(path, as_version=4)
    form = next(i for i, cell in enumerate(notebook.cells) if "\nclass Data(" in cell.source)
    notebook.cells = notebook.cells[: form + 1]
    nbformat.write(notebook, path)
    text = told(execute(path, {}, "colab"))
    assert "Google Drive is NOT connected" in text
    assert "run this cell again" in text
