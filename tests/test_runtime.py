"""Set-up of the notebook's machine: only what is missing is installed, and nothing that is there is replaced."""

import importlib.metadata
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from utils import runtime


@pytest.fixture
def pip(monkeypatch):
    """What pip was called with: list of (arguments, lines of the constraints file)."""
    calls = []

    def run(command, check):
        assert check  # a failed installation is an error
        constraints = Path(command[command.index("--constraint") + 1])
        calls.append((command, constraints.read_text(encoding="utf-8").splitlines()))

    monkeypatch.setattr(subprocess, "run", run)
    return calls


def installed(monkeypatch, **versions):
    found = [SimpleNamespace(name=name, version=version) for name, version in versions.items()]
    monkeypatch.setattr(runtime, "distributions", lambda: found)
    return found


def test_every_present_version_is_a_constraint(pip):
    runtime.install(["some-package", "another"])
    ((command, constraints),) = pip
    assert command[:4] == [sys.executable, "-m", "pip", "install"]
    assert command[-2:] == ["some-package", "another"]
    assert f"numpy=={importlib.metadata.version('numpy')}" in constraints
    assert len({line.split("==")[0].lower() for line in constraints}) == len(constraints) > 50
    assert not Path(command[command.index("--constraint") + 1]).exists()  # removed afterwards


def test_what_pip_cannot_read_is_no_constraint(pip, monkeypatch):
    # packages of a Linux distribution carry versions like these; one such line makes pip refuse everything
    found = installed(monkeypatch, numpy="2.0", gpg="1.16.0-unknown", torch="2.6.0+cu124")
    found += [SimpleNamespace(name=None, version="1"), SimpleNamespace(name="broken", version=None)]
    runtime.install(["x"])
    assert pip[0][1] == ["numpy==2.0", "torch==2.6.0+cu124"]


def test_of_two_copies_the_one_that_is_imported_counts(pip, monkeypatch):
    found = installed(monkeypatch, PyYAML="6.0.2")
    found.append(SimpleNamespace(name="pyyaml", version="5.4.1"))  # older, further down in sys.path
    runtime.install(["x"])
    assert pip[0][1] == ["PyYAML==6.0.2"]


def test_nothing_is_installed_where_nothing_is_missing(pip, capsys):
    runtime.prepare()
    assert pip == []
    assert capsys.readouterr().out == ""


def test_only_what_is_missing_is_installed(pip, monkeypatch, capsys):
    real = importlib.util.find_spec
    gone = {"skimage", "stardist"}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in gone else real(name))
    runtime.prepare()
    ((command, _),) = pip
    assert sorted(command[-2:]) == ["scikit-image", "stardist"]
    assert command[-3].endswith("constraints.txt")
    assert "scikit-image" in capsys.readouterr().out


def test_every_module_named_is_one_of_its_package():
    brought = importlib.metadata.packages_distributions()
    for module, package in runtime.NEEDED.items():
        assert package in [name.lower() for name in brought[module]]


def test_versions_of_what_numbers_depend_on():
    versions = runtime.versions()
    assert versions["numpy"] == importlib.metadata.version("numpy")
    assert {"tensorflow", "keras", "numpy"} <= versions.keys()


def test_an_unknown_version_does_not_lose_a_trained_model(monkeypatch):
    # TensorFlow comes under several names (tensorflow-cpu, tensorflow-macos): saving must not fail on them

    def version(name):
        if name == "tensorflow":
            raise importlib.metadata.PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(runtime, "version", version)
    assert runtime.versions()["tensorflow"] == "unknown"
    assert runtime.versions()["keras"] == "1.0"


def test_loading_tensorflow_leaves_the_error_stream_open(capfd):
    assert runtime.load_tensorflow().__name__ == "tensorflow"
    print("still heard", file=sys.stderr, flush=True)
    assert "still heard" in capfd.readouterr().err


@pytest.mark.parametrize(("gpus", "words"), [([], "processor"), (["gpu"], "graphics card (H200)")])
def test_description_says_what_will_be_used(monkeypatch, gpus, words):
    tf = runtime.load_tensorflow()
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: gpus)
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: {"device_name": "H200"})
    assert words in runtime.describe()
