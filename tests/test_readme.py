"""What the README tells people to type must exist and do what it says."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from notebooks import run as runner
from tests.browser.lab import copy_project
from utils.paths import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
LINES = [
    line.split("#")[0].strip()
    for block in re.findall(r"```(?:bash|powershell)\n(.*?)```", README, flags=re.DOTALL)
    for line in block.splitlines()
]
MAKE = sorted(
    {line for line in LINES if line.startswith("make ")} | {f"make {t}" for t in ("lint", "format", "notebooks")}
)
MODULES = sorted(set(re.findall(r"-m ((?:notebooks|data_samples|tests)\.[\w.]+)", README)))


@pytest.mark.parametrize("command", MAKE)
def test_every_make_command_of_the_readme_is_a_target(command):
    done = subprocess.run(shlex.split(command) + ["-n"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("module", MODULES)
def test_every_module_of_the_readme_answers_to_help(module):
    done = subprocess.run([sys.executable, "-m", module, "--help"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "usage" in done.stdout


def test_every_notebook_is_in_the_table_and_every_file_that_is_linked_exists():
    assert [name for name in runner.pages() if f"| `{name}` |" not in README] == []
    linked = re.findall(r"\]\(((?!http)[^)#]+)\)", README)
    assert linked
    assert [path for path in linked if not (ROOT / path).exists()] == []


def test_each_figure_of_the_readme_names_its_command():
    table = README.partition("## How good, how fast")[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("|")][2:]
    assert rows
    assert [row for row in rows if not re.search(r"`(python -m|make) [^`]+`", row)] == []


def test_environment_for_conda_reads_the_same_list_of_versions():
    text = (ROOT / "environment.yml").read_text(encoding="utf-8")
    assert "--requirement requirements.txt" in text
    assert "==" not in text


def test_no_file_of_the_project_names_a_folder_of_somebodys_machine():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    texts = [
        path for path in tracked if Path(path).suffix in {".py", ".md", ".ipynb", ".toml", ".yml", ".in", ".txt", ""}
    ]
    pattern = re.compile(r"(^|[^\w./])/(work|farm|root|home/[a-z]+)/")
    assert [path for path in texts if pattern.search((ROOT / path).read_text(encoding="utf-8"))] == []


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A copy of the project in which `make run` was run twice for one notebook; what both runs printed."""
    folder = copy_project(tmp_path_factory.mktemp("clone"))
    command = ["make", "run", "NOTEBOOK=unet_segmentation"]
    printed = [subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout for _ in range(2)]
    return folder, printed


@pytest.mark.slow
def test_make_run_can_be_run_twice(clone):
    folder, printed = clone
    assert all(re.search(r"unet_segmentation +\d+ +Mean foreground IoU 0\.\d+", output) for output in printed)
    results = folder / "results" / "unet_segmentation"
    for name in ("unet_segmentation.html", "model/model.json", "model/report.html", "predictions/measurements.csv"):
        assert (results / name).is_file()


@pytest.mark.slow
def test_what_the_readme_shows_without_a_browser_runs_as_it_stands(clone):
    """Each block of that section, in their order, word for word in a shell."""
    folder, _ = clone
    section = README.partition("## Without a browser")[2].partition("\n## ")[0]
    blocks = re.findall(r"```bash\n(.*?)```", section, flags=re.DOTALL)
    assert len(blocks) == 4
    for block in blocks:
        done = subprocess.run(["bash", "-euc", block], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert "already trained" in (folder / "results" / "again.ipynb").read_text(encoding="utf-8")
    for sample in ("nuclei", "tissue"):
        given = json.loads((folder / "models" / sample / "parameters.json").read_text(encoding="utf-8"))["overrides"]
        assert given["data"]["training_source"] == f"data_samples/{sample}/train/images"
        assert given["training"]["number_of_epochs"] == 1
        predicted = pd.read_csv(folder / "results" / sample / "measurements.csv")["file"]
        images = sorted((folder / "data_samples" / sample / "test" / "images").iterdir())
        assert predicted.tolist() == [path.name for path in images]
    summary = pd.read_csv(folder / "results" / "batch" / "summary.csv")
    assert summary["results"].tolist() == [
        "data_samples_nuclei_real_test_images",
        "data_samples_nuclei_real_train_images",
    ]
    assert summary["rows"].tolist() == [4, 12]
    exported = folder / "results" / "unet_segmentation" / "model" / "export"
    assert sorted(path.name for path in exported.rglob("*.*")) == [
        *("README.md", "README.md", "README.md", "README.md", "TF_SavedModel.zip"),
        *("classify_pixels.groovy", "model.onnx", "model.onnx", "model.zip", "predict.py"),
    ]
