"""JupyterLab in a copy of the project, started by `make lab`, so that no test writes into a user's folders."""

import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from utils.paths import ROOT

SECONDS_TO_START = 90
OPTIONS = (
    "--no-browser --ip=127.0.0.1 --ServerApp.port_retries=0 --allow-root --IdentityProvider.token= "
    "--ServerApp.password= --LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate "
    "--LabApp.expose_app_in_browser=True"
)
# Every test opens the notebook as it is shipped; nothing asks for a decision or looks for news.
SETTINGS = {
    "docmanager-extension/plugin": {"autosave": False},
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}


def chromium() -> str | None:
    """Path of the browser, None where there is none."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def missing() -> str:
    """What these tests need and do not find, in one sentence; empty where everything is there."""
    if chromium() is None:
        return "Chromium is missing: apt-get install chromium"
    if importlib.util.find_spec("playwright") is None:
        return "playwright is missing: pip install --requirement requirements.txt"
    if shutil.which("make") is None:
        return "make is missing: apt-get install make"
    return ""


def copy_project(folder: Path) -> Path:
    """Copy all files that belong to the project, with their times; the environment is linked, not copied."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    (folder / ".venv").symlink_to(sys.prefix, target_is_directory=True)
    return folder


def _environment(private: Path) -> dict[str, str]:
    """Variables that keep settings, workspaces and home of the person who runs the tests out of this."""
    names = ("JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR")
    folders = {name: private / name.lower() for name in (*names, "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")}
    folders["HOME"] = private / "home"
    for folder in folders.values():
        folder.mkdir(parents=True)
    for name, values in SETTINGS.items():
        path = folders["JUPYTERLAB_SETTINGS_DIR"] / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(values), encoding="utf-8")
    return os.environ | {name: str(folder) for name, folder in folders.items()}


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextmanager
def serve(folder: Path, private: Path, by_script: bool = False) -> Iterator[str]:
    """Run `make lab` in the copy; yields the server's address. What it prints lies in private/lab.log.

    `by_script`: by the script that a double click starts.
    """
    port = _free_port()
    # -o: the environment is the one that runs the tests and is not to be installed anew.
    command = ["make", "-o", ".venv/installed", "lab", f"LAB={OPTIONS} --port={port}"]
    if by_script:
        command = ["bash", "notebooks/start.sh", *OPTIONS.split(), f"--port={port}"]
    environment = _environment(private)
    with (private / "lab.log").open("w") as log:
        server = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        address = f"http://127.0.0.1:{port}"
        _wait(server, address, private / "lab.log")
        yield address
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=30)


def _wait(server: subprocess.Popen, address: str, log: Path) -> None:
    end = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < end and server.poll() is None:
        try:
            urllib.request.urlopen(f"{address}/api/status", timeout=2)
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    raise RuntimeError(f"JupyterLab did not start: {log.read_text()[-2000:]}")
