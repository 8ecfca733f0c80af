"""Models are kept where they outlive the session, and nothing is lost on the way."""

import shutil
import sys
from datetime import datetime
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


def test_what_was_made_before_the_drive_came_moves_there_and_the_older_is_renamed(root, colab):
    """Names such as my_unet come again and again: the paths of this session must stay true."""
    write(root / "models" / "m" / "model.json", "new")
    write(root / "models" / "n" / "model.json", "other")
    write(root / "settings" / "unet.json", "new")
    write(storage.MOUNT / "MyDrive" / "NoCodeDL4Bio" / "models" / "m" / "model.json", "old")
    write(storage.MOUNT / "MyDrive" / "NoCodeDL4Bio" / "settings" / "unet.json", "old")
    text = storage.prepare(root)
    today = f"{datetime.now():%Y-%m-%d}"
    models = {"m/model.json": "new", f"m.{today}/model.json": "old", "n/model.json": "other"}
    assert files(root / "models") == models
    assert files(root / "settings") == {"unet.json": "new", f"unet.json.{today}": "old"}
    assert f"An earlier models/m on the Drive is now called m.{today}." in text
    assert f"An earlier settings/unet.json on the Drive is now called unet.json.{today}." in text


def test_a_full_drive_is_told_and_nothing_moves_by_half(root, colab, monkeypatch):
    (storage.MOUNT / "MyDrive").mkdir(parents=True)
    write(root / "models" / "m" / "model.json", "new")
    write(storage.MOUNT / "MyDrive" / "NoCodeDL4Bio" / "models" / "m" / "model.json", "old")

    def full(*_, **__):
        raise OSError(122, "Disk quota exceeded")

    with monkeypatch.context() as context:
        context.setattr(shutil, "copytree", full)
        assert "cannot be used: [Errno 122] Disk quota exceeded" in storage.prepare(root)
    assert files(root) == {"models/m/model.json": "new"}
    assert files(storage.MOUNT) == {"MyDrive/NoCodeDL4Bio/models/m/model.json": "old"}
    assert "is connected. Models" in storage.prepare(root)


def test_something_in_the_way_is_told(root, colab):
    write(root / "drive" / "mine.txt")
    assert "cannot be used" in storage.prepare(root)
    assert (root / "drive" / "mine.txt").is_file()


def test_after_the_drive_is_gone_folders_can_be_made_again(root, colab):
    storage.prepare(root)
    shutil.rmtree(storage.MOUNT)
    colab.declines = True
    assert "NOT connected" in storage.prepare(root)
    (root / "models" / "m").mkdir(parents=True)


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
