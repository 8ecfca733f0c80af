"""Install what the notebooks need and open them: what start.bat, start.command, start.sh and the Makefile call.

    python notebooks/lab/start.py [--only-install] [what JupyterLab is to be told ...]

Needs nothing but Python. A first start installs into .venv, later ones open the browser at once. Whatever goes wrong
is told in one sentence; what the programs behind it said lies in logs/.
"""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import webbrowser
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
ENVIRONMENT = ROOT / ".venv"
WINDOWS = sys.platform == "win32"
PYTHON = ENVIRONMENT / ("Scripts/python.exe" if WINDOWS else "bin/python")
REQUIREMENTS = ROOT / "requirements.txt"
INSTALLED = ENVIRONMENT / "installed"  # younger than REQUIREMENTS once these are installed; the Makefile looks, too
CONFIG = ROOT / "notebooks" / "lab" / "config.py"
LOGS = ROOT / "logs"

VERSIONS = ((3, 11), (3, 13))  # oldest and newest Python
ROOM = 5.0  # GB on disk that the first start needs
GROWTH = 3.5  # GB by which a disk fills while all is installed
LONGEST = 165  # characters of the longest path below ROOT that is opened
WINDOWS_LONGEST = 259  # characters of a path, unless Windows is told otherwise
SECONDS_TO_START = 120

NO_NETWORK = re.compile(
    r"dns|resolve|connect|network|timed? ?out|unreachable|retries|certificate|\btls\b", re.IGNORECASE
)
NO_WHEEL = re.compile(r"no usable wheels|no wheels|no matching distribution", re.IGNORECASE)


class Stop(Exception):
    """Reason, in a sentence or two for the person in front of the screen, why it does not go on."""


def say(text: str) -> None:
    """Print a paragraph."""
    print(textwrap.fill(text, 100), flush=True)


class Bar:
    """One line that grows while something is installed: how full the disk has become says how far it is."""

    def __init__(self, title: str) -> None:
        self.title, self.start = title, time.monotonic()
        self.places = [ROOT, Path.home(), Path(tempfile.gettempdir())]
        self.free = self._free()
        self.done = threading.Event()

    def _free(self) -> int:
        disks = {os.stat(place).st_dev: place for place in self.places if place.is_dir()}
        return sum(shutil.disk_usage(place).free for place in disks.values())

    def text(self, share: float) -> str:
        """The line; `share` of the work, 0 to 1."""
        full = round(24 * share)
        minutes, seconds = divmod(int(time.monotonic() - self.start), 60)
        return f"{self.title} [{'#' * full}{'.' * (24 - full)}] {share:4.0%}  {minutes}:{seconds:02d}"

    def _draw(self) -> None:
        while not self.done.wait(0.5):
            share = (self.free - self._free()) / (GROWTH * 1e9)
            print(f"\r{self.text(min(max(share, 0), 0.99))}", end="", flush=True)

    def __enter__(self) -> "Bar":
        self.thread = threading.Thread(target=self._draw, daemon=True)
        if sys.stdout.isatty():
            self.thread.start()
        return self

    def __exit__(self, kind, *_) -> None:
        self.done.set()
        if sys.stdout.isatty():
            self.thread.join()
            print("\r" if kind is None else "", end="")
        print(self.text(1) if kind is None else "", flush=True)


def environment() -> dict:
    """Variables for the programs that are called: nothing of another Python, more patience with slow networks.

    uv is told to trust whom the computer trusts, as networks of institutes ask for; older versions call that TLS.
    """
    foreign = ("PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV")
    patient = {"UV_HTTP_TIMEOUT": "180", "UV_SYSTEM_CERTS": "1", "UV_NATIVE_TLS": "1"}
    return patient | {name: value for name, value in os.environ.items() if name not in foreign}


def call(command: list, log: str) -> str:
    """Run a program; what it printed goes into logs/ and, if it failed, is returned: "" means that it went well."""
    try:
        done = subprocess.run(
            [str(part) for part in command],
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        )
    except OSError as error:
        return str(error)
    LOGS.mkdir(exist_ok=True)
    with (LOGS / log).open("a", encoding="utf-8") as file:
        file.write(f"{' '.join(map(str, command))}\n{done.stdout}\n")
    return "" if done.returncode == 0 else done.stdout.strip() or f"It ended with {done.returncode}."


def check_computer() -> None:
    """Refuse computers for which TensorFlow is not made, and a Python of the wrong version."""
    if not VERSIONS[0] <= sys.version_info[:2] <= VERSIONS[1]:
        oldest, newest = (".".join(map(str, version)) for version in VERSIONS)
        raise Stop(
            f"This is Python {platform.python_version()}, but the notebooks need Python {oldest} to {newest}. "
            f"Install Python 3.12 from python.org, or start with the file notebooks/start.{'bat' if WINDOWS else 'sh'}."
        )
    if sys.maxsize < 2**32:
        raise Stop("This Python is a 32-bit one, for which TensorFlow is not made. Install a 64-bit Python 3.12.")
    if sys.platform == "darwin" and platform.machine() == "x86_64":
        raise Stop(
            "TensorFlow is not made for Macs with an Intel processor any more: use the notebooks in Colab, as the "
            "README says. If your Mac has an Apple chip, this Python is an Intel one: install Python 3.12 for Apple "
            "silicon from python.org."
        )
    if WINDOWS and platform.machine() == "ARM64":
        raise Stop(
            "TensorFlow is not made for the ARM kind of Python on Windows: install the 64-bit (x64) Python 3.12 from "
            "python.org, which runs on this computer, too."
        )


def long_paths() -> bool:
    """Whether paths may have any length: everywhere but on Windows, and there where it is switched on."""
    if not WINDOWS:
        return True
    import winreg

    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"SYSTEM\CurrentControlSet\Control\FileSystem") as key:
            return bool(winreg.QueryValueEx(key, "LongPathsEnabled")[0])
    except OSError:
        return False


def check_place() -> None:
    """Refuse a folder that cannot be written to, whose path is too long, or whose disk is too full."""
    try:
        with tempfile.TemporaryFile(dir=ROOT):
            pass
    except OSError as error:
        raise Stop(
            f"Nothing can be written into {ROOT}. Copy the folder to a place of your own, such as Documents."
        ) from error
    if not long_paths() and len(str(ROOT)) + LONGEST > WINDOWS_LONGEST:
        raise Stop(
            f"The path {ROOT} is too long for Windows by {len(str(ROOT)) + LONGEST - WINDOWS_LONGEST} characters. "
            "Move the folder higher up, for example to C:\\NoCodeDL4Bio."
        )
    free = shutil.disk_usage(ROOT).free / 1e9
    if free < ROOM:
        raise Stop(f"The disk of {ROOT} has {free:.1f} GB left, but {ROOM:.0f} GB are needed. Make room there.")


def is_installed() -> bool:
    """Whether the environment works and holds the versions that are asked for."""
    if not INSTALLED.is_file() or INSTALLED.stat().st_mtime < REQUIREMENTS.stat().st_mtime:
        return False
    return works()


def works() -> bool:
    """Whether the Python of the environment starts; it does not once the Python it was made from is gone."""
    try:
        return subprocess.run([str(PYTHON), "-c", ""], env=environment(), capture_output=True).returncode == 0
    except OSError:
        return False


def make_environment() -> None:
    """Make .venv where there is none that works; nothing but a broken environment is ever overwritten."""
    if works():
        return
    broken = ["--clear"] if (ENVIRONMENT / "pyvenv.cfg").is_file() else []
    if answer := call([sys.executable, "-m", "venv", *broken, ENVIRONMENT], "install.log"):
        lines = answer.splitlines()
        raise Stop(f"Python's own environment could not be made in {ENVIRONMENT}: {lines[-1]}")


def installers() -> list:
    """Commands that install everything, the fastest first: uv, if there is one or pip brings it, then pip itself."""
    local = PYTHON.with_name("uv.exe" if WINDOWS else "uv")
    uv = shutil.which("uv", path=os.pathsep.join([str(ROOT / ".uv"), str(local.parent), os.environ.get("PATH", "")]))
    if not uv:
        call([PYTHON, "-m", "pip", "install", "--quiet", "--retries", "1", "uv"], "install.log")
        uv = local if local.is_file() else None
    fast = [uv, "pip", "install", "--python", PYTHON, "--compile-bytecode"]  # as pip does: a first import is quick then
    slow = [PYTHON, "-m", "pip", "install", "--retries", "2"]
    return [[*one, "--requirement", REQUIREMENTS] for one in ([fast, slow] if uv else [slow])]


def reason(answer: str) -> str:
    """What an installer said, for a person."""
    if "No space left" in answer or "not enough space" in answer:
        return "The disk is full. Make room and start again."
    if NO_NETWORK.search(answer):
        return (
            "There is no connection to the package index, which the first start needs. Connect to the internet (in a "
            "clinic or an institute perhaps outside its network) and start again: it goes on where it stopped."
        )
    if NO_WHEEL.search(answer):
        return "A package is not made for this kind of computer or of Python; the README says which ones do."
    return f"It stopped with: {answer.splitlines()[-1]}"


def install() -> None:
    """Install everything into .venv, unless it is there already.

    Raises
    ------
    Stop
        If the computer, the folder or the network do not allow it.
    """
    if is_installed():
        return
    check_computer()
    check_place()
    say(
        "The first start installs the software into this folder (about 1 GB to download, 4 GB on disk): one to five "
        "minutes, depending on the connection."
    )
    make_environment()
    with Bar("Installing"):
        answer = ""
        for command in installers():
            answer = call(command, "install.log")
            if not answer:
                break
        if answer:
            raise Stop(f"The software could not be installed. {reason(answer)} (All messages: {LOGS / 'install.log'})")
    INSTALLED.touch()


def teach_kernels() -> None:
    """Let new kernels of the environment say what a cell waits for whose page was not set up yet; see fresh_kernel.py.

    IPython runs what lies in this folder of an environment. Where nothing can be written there, it goes without.
    """
    place = ENVIRONMENT / "etc" / "ipython" / "startup" / "50-nocodedl4bio.py"
    try:
        source = (ROOT / "notebooks" / "lab" / "fresh_kernel.py").read_bytes()
        if not place.is_file() or place.read_bytes() != source:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(source)
    except OSError:
        pass


def running() -> str:
    """Address of a JupyterLab that serves this folder already, "" where there is none."""
    command = [str(PYTHON), "-m", "jupyter_server", "list", "--json"]
    listed = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, encoding="utf-8").stdout
    for line in listed.splitlines():
        if line.startswith("{") and Path((one := json.loads(line))["root_dir"]) == ROOT:
            return f"{one['url']}lab?token={one['token']}" if one.get("token") else f"{one['url']}lab"
    return ""


def open_notebooks(options: list) -> None:
    """Start JupyterLab, which opens the browser, and stay until it ends; go to the one that runs here already.

    Raises
    ------
    Stop
        If it does not start.
    """
    if not options and (address := running()):
        webbrowser.open(address)
        say("The notebooks are open already: look at your browser, or copy this address into it:")
        print(address)
        return
    say("Opening the notebooks in your browser (ten seconds, the first time half a minute) ...")
    LOGS.mkdir(exist_ok=True)
    log = LOGS / "lab.log"
    command = [str(PYTHON), "-m", "jupyterlab", "--config", str(CONFIG), "--ServerApp.answer_yes=True", *options]
    with log.open("w", encoding="utf-8") as file:
        server = subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=file, stderr=subprocess.STDOUT)
    try:
        address = address_in(log, server)
        say("Keep this window open while you work: closing it ends the notebooks.")
        say("If no browser opened, copy this address into one:")
        print(address, flush=True)
        server.wait()
    except KeyboardInterrupt:
        server.wait()


def address_in(log: Path, server: subprocess.Popen) -> str:
    """Address that a server which starts writes into its log."""
    end = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < end and server.poll() is None:
        if found := re.search(r"https?://(?:localhost|127\.0\.0\.1)\S*/lab\S*", log.read_text("utf-8", "replace")):
            return found.group()
        time.sleep(0.3)
    server.terminate()
    raise Stop(f"JupyterLab did not start. Start again; if that does not help, the reason is in {log}.")


def main(arguments: list) -> int:
    """Do what the command line asks for; 0 if it went well."""
    if "--help" in arguments:
        print(f"usage: {__doc__}")
        return 0
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # paths may hold letters that an old console does not know
    try:
        install()
        teach_kernels()
        if "--only-install" not in arguments:
            open_notebooks(arguments)
    except Stop as stop:
        say(str(stop))
        return 1
    except KeyboardInterrupt:
        say("Stopped. Start again to go on.")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
