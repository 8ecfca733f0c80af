"""Models are kept where they outlive the session, and nothing is lost on the way."""

import sys
from types import SimpleNamespace

import pytest

from utils import storage


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "MOUNT", tmp_path / "content" / "drive")
    (tmp_path / "project").mkdir()
    return tmp_path / "project"


@pytest.fixture
def colab(monkeypatch):
    """Colab's module: a reader who allows the access, unless `declines` is set; counts how often it is asked."""
    state = SimpleNamespace(declines=False, asked=0)

    def mount(path):
        state.asked += 1
        if state.declines:
            raise ValueError("mount failed")
        (storage.MOUNT / "MyDrive").mkdir(parents=True)

    monkeypatch.setitem(sys.modules, "google.colab", SimpleNamespace(drive=SimpleNamespace(mount=mount)))
    return state


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def write(path, text="x"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_elsewhere_nothing_changes(root):
    assert storage.prepare(root) == f"Folder of the project: {root}"
    assert list(root.iterdir()) == []


def test_models_written_through_the_project_lie_on_the_drive(root, colab):
    assert "Google Drive is connected" in storage.prepare(root)
    write(root / "models" / "m" / "model.json")
    assert files(storage.MOUNT / "MyDrive" / "NoCodeDL4Bio") == {"models/m/model.json": "x"}
    write(storage.MOUNT / "MyDrive" / "my_images" / "a.tif")
    assert (root / "drive" / "my_images" / "a.tif").read_text() == "x"


def test_the_reader_is_asked_once_and_a_second_run_changes_nothing(root, colab):
    first = storage.prepare(root)
    write(root / "models" / "m" / "model.json")
    assert storage.prepare(root) == first
    assert colab.asked == 1
    assert (root / "models" / "m" / "model.json").read_text() == "x"


def test_what_was_made_before_the_drive_came_moves_there_and_replaces_nothing(root, colab):
    write(root / "models" / "m" / "model.json", "new")
    write(root / "models" / "n" / "model.json", "other")
    write(storage.MOUNT / "MyDrive" / "NoCodeDL4Bio" / "models" / "m" / "model.json", "old")
    storage.prepare(root)
    assert files(root / "models") == {"m/model.json": "old", "m.2/model.json": "new", "n/model.json": "other"}


def test_a_new_session_finds_the_models_of_the_last(root, colab, tmp_path):
    storage.prepare(root)
    write(root / "models" / "m" / "model.json")
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    storage.prepare(fresh)
    assert files(fresh / "models") == {"m/model.json": "x"}


def test_a_declined_drive_is_told_and_leaves_everything(root, colab):
    colab.declines = True
    write(root / "models" / "m" / "model.json")
    text = storage.prepare(root)
    assert "NOT connected" in text
    assert "run this cell again" in text
    assert files(root) == {"models/m/model.json": "x"}
    colab.declines = False
    assert "is connected" in storage.prepare(root)
    assert files(root / "models") == {"m/model.json": "x"}


def test_a_project_on_the_drive_stays_as_it_is(colab, root):
    project = storage.MOUNT / "MyDrive" / "tool"
    write(project / "models" / "m" / "model.json")
    assert "lies on your Google Drive" in storage.prepare(project)
    assert files(project) == {"models/m/model.json": "x"}
    assert not (project / "models").is_symlink()
