"""Two pages that save their settings at once lose nothing of each other."""

import json
import subprocess
import sys

import pytest

from tests.test_locks import another
from utils.forms import Form, notebook, save_settings, settings
from utils.paths import ROOT

SAVES = """
import sys
from pathlib import Path
from traitlets import Int
from utils.forms import Form, notebook, save_settings, settings
settings.SETTINGS = Path(sys.argv[1])
notebook("unet")
form = type(sys.argv[2], (Form,), {"number": Int(0)})()
print(flush=True)
sys.stdin.readline()
for form.number in range(1, 31):
    assert save_settings(form)
"""


def test_forms_saved_at_once_by_two_pages_are_all_kept(tmp_path):
    command = [sys.executable, "-c", SAVES, str(tmp_path / "settings")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    running = [subprocess.Popen([*command, name], cwd=ROOT, **pipes) for name in ("Data", "Training")]
    for one in running:
        one.stdout.readline()  # both are ready
    for one in running:
        one.communicate("go\n")
    assert [one.returncode for one in running] == [0, 0]
    saved = json.loads((tmp_path / "settings" / "unet.json").read_text())
    assert saved == {"data": {"number": 30}, "training": {"number": 30}}
    assert [one.name for one in (tmp_path / "settings").iterdir()] == ["unet.json"]


def test_a_page_that_holds_the_settings_for_long_does_not_stop_the_work(tmp_path, monkeypatch):
    from utils.forms import form

    monkeypatch.setattr(settings, "SETTINGS", tmp_path)
    monkeypatch.setattr(form, "SECONDS_TO_WAIT", 0.1)
    notebook("unet")
    with another(tmp_path / "unet.json"):
        assert save_settings(type("Data", (Form,), {})()) == tmp_path / "unet.json"


@pytest.fixture(autouse=True)
def _no_name():
    yield
    notebook("")
