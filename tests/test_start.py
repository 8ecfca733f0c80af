"""A double click: the scripts for each system do the same steps, and whatever goes wrong is told in a sentence."""

import asyncio
import configparser
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from IPython.core.application import ENV_CONFIG_DIRS
from nbclient import NotebookClient

from utils.paths import ROOT

FOLDER = ROOT / "notebooks"
SCRIPTS = ("start.bat", "start.command", "start.desktop", "start.sh")
BAT = (FOLDER / "start.bat").read_bytes().decode("ascii")
ODD = "Übung (1) & Zellen, Größe 5 %"


def loaded(path: Path):
    """A module of the folder `lab`, which is no package."""
    spec = importlib.util.spec_from_file_location(f"lab_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def start(tmp_path, monkeypatch):
    """start.py of a project that lies in a folder with spaces and umlauts, where nothing is installed."""
    module, root = loaded(FOLDER / "lab" / "start.py"), tmp_path / ODD
    root.mkdir()
    (root / "requirements.txt").write_text("numpy\n")
    for name, path in {
        "ROOT": root,
        "ENVIRONMENT": root / ".venv",
        "PYTHON": root / ".venv" / "bin" / "python",
        "REQUIREMENTS": root / "requirements.txt",
        "INSTALLED": root / ".venv" / "installed",
        "LOGS": root / "logs",
    }.items():
        monkeypatch.setattr(module, name, path)
    monkeypatch.setattr(module, "ROOM", 0)
    return module


def test_new_kernels_of_the_environment_are_taught_what_cells_wait_for(start, tmp_path, monkeypatch):
    source = FOLDER / "lab" / "fresh_kernel.py"
    (start.ROOT / "notebooks" / "lab").mkdir(parents=True)
    shutil.copy(source, start.ROOT / "notebooks" / "lab")
    start.teach_kernels()
    (place,) = start.ENVIRONMENT.rglob("*.py")
    assert place.read_bytes() == source.read_bytes()
    folder = place.relative_to(start.ENVIRONMENT).parent
    assert str(Path(sys.prefix) / folder.parent) in ENV_CONFIG_DIRS, "IPython looks there, in its folder startup"
    place.write_text("old")
    start.teach_kernels()
    assert place.read_bytes() == source.read_bytes()
    place.unlink()
    monkeypatch.setattr(Path, "write_bytes", lambda *_: (_ for _ in ()).throw(PermissionError))
    start.teach_kernels()  # a place that nothing can be written to stops nobody


def test_a_kernel_with_that_file_says_it_in_words(tmp_path):
    profile = tmp_path / "ipython" / "profile_default" / "startup"
    profile.mkdir(parents=True)
    shutil.copy(FOLDER / "lab" / "fresh_kernel.py", profile / "50-nocodedl4bio.py")
    cells = ["# Form\n%run_section_1_first\nx = 1", "dir()", "%no_such_magic"]
    page = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    env = os.environ | {"IPYTHONDIR": str(tmp_path / "ipython")}
    NotebookClient(page, kernel_name="python3", timeout=60, allow_errors=True).execute(env=env)
    (said, *_), (names,), (other, *_) = (cell.outputs for cell in page.cells)
    assert said.text.startswith("This cell needs section 1, which was not run yet")
    assert "'x'" not in names.data["text/plain"]
    assert "wait_for" not in names.data["text/plain"], "the page finds no name of it"
    assert "not found" in other.text


# The scripts


@pytest.mark.parametrize("name", ["start.sh", "start.command"])
def test_shells_can_read_the_scripts(name):
    assert subprocess.run(["bash", "-n", FOLDER / name], capture_output=True, text=True, check=False).stderr == ""


def test_all_scripts_come_to_the_same_steps():
    texts = {name: (FOLDER / name).read_text(encoding="utf-8") for name in SCRIPTS}
    assert "notebooks/lab/start.py" in texts["start.sh"]
    assert r"notebooks\lab\start.py" in texts["start.bat"]
    assert all("/start.sh" in texts[name] for name in ("start.command", "start.desktop"))
    python = loaded(FOLDER / "lab" / "start.py")
    asked = "sys.exit(not {} <= sys.version_info[:2] <= {})".format(*python.VERSIONS)
    for name in ("start.sh", "start.bat"):
        assert asked in texts[name]
        assert "uv run --quiet --no-project --python 3.11" in texts[name]
        assert re.search(r'UV_PYTHON_INSTALL_DIR="?(\$PWD|%CD%).\.uv.python"', texts[name])
        for version in ("3.11", "3.12", "3.13"):
            assert version in texts[name]


def test_each_file_has_its_line_ends_and_may_be_run():
    assert BAT.count("\r\n") == BAT.count("\n") > 30
    for name in SCRIPTS[1:]:
        assert b"\r" not in (FOLDER / name).read_bytes()
        assert (FOLDER / name).read_bytes().startswith(b"[Desktop" if name == "start.desktop" else b"#!/")
        assert os.access(FOLDER / name, os.X_OK)
    attributes = (ROOT / ".gitattributes").read_text(encoding="utf-8")
    assert "*.bat text eol=crlf" in attributes
    assert "*.sh text eol=lf" in attributes


class TestBatch:
    """What can be seen of a batch file without Windows."""

    def test_jumps_have_their_labels_and_labels_their_jumps(self):
        labels = set(re.findall(r"^:(\w+)", BAT, re.MULTILINE))
        jumps = set(re.findall(r"\b(?:goto |call :)(\w+)", BAT))
        assert labels == jumps

    def test_what_is_called_comes_back_and_nothing_runs_into_it(self):
        for label in ("try", "bring"):
            before, _, block = BAT.partition(f"\n:{label}\r\n")
            assert before.rstrip().endswith("exit /b 0")
            assert re.search(r"^exit /b 0\r$", block.partition("\r\n\r\n")[0] + "\r", re.MULTILINE)

    def test_paths_stand_in_quotes(self):
        for line in BAT.splitlines():
            outside = "".join(line.split('"')[::2])
            assert not re.search(r"%CD%|%START%|%FITS%|%PATH%|%~dp0|\.venv", outside), line
            assert line.count('"') % 2 == 0, line

    def test_the_window_stays_open_after_a_failure_and_the_code_is_handed_on(self):
        end = BAT.partition("\n:failed\r\n")[2]
        assert end.split() == ["pause", "popd", "exit", "/b", "%CODE%"]
        assert BAT.index('set "CODE=1"') < BAT.index("goto unpack")
        ran = BAT.index('%FOUND% "%START%" %*')
        assert ran < BAT.index('set "CODE=%ERRORLEVEL%"') < BAT.index('if not "%CODE%"=="0" goto failed')

    def test_a_zip_that_was_not_unpacked_is_told_before_anything_else(self):
        assert BAT.index('if not exist "%START%" goto unpack') < BAT.index("call :try")

    def test_brackets_are_closed(self):
        bare = ["".join(line.split('"')[::2]) for line in BAT.splitlines() if not line.startswith("rem")]
        code = [line for line in bare if not line.startswith("echo ")]
        assert sum(line.count("(") - line.count(")") for line in code) == 0


def test_the_entry_for_desktops_is_right():
    entry = configparser.ConfigParser(interpolation=None)
    entry.read(FOLDER / "start.desktop")
    one = dict(entry["Desktop Entry"])
    assert (one["type"], one["terminal"]) == ("Application", "true")
    assert re.search(r" start %k$", one["exec"])  # where the file lies, outside of the quotes


def test_the_desktop_starts_the_script_wherever_it_lies(tmp_path):
    """The line of the entry, its quoting undone as desktops do it."""
    (folder := tmp_path / "my cells").mkdir()
    (folder / "start.sh").write_text('echo "$PWD started"')
    line = re.search(r"^Exec=(.*)$", (FOLDER / "start.desktop").read_text(), re.MULTILINE)[1]
    line = line.replace("\\\\", "\\")  # of a string in the file
    words = re.findall(r'"((?:\\.|[^"\\])*)"|(\S+)', line)
    command = [re.sub(r"\\(.)", r"\1", quoted) if quoted else plain for quoted, plain in words]
    for place in (str(folder / "start.desktop"), f"file://{folder / 'start.desktop'}"):
        command[-1] = place
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.endswith(" started\n")


# start.sh in an empty home


def project(tmp_path, **programs: str) -> tuple[Path, dict]:
    """A folder with the scripts and an empty home, in which `programs` are the only ones beside those of the system."""
    root, home, there = tmp_path / ODD, tmp_path / "home", tmp_path / "programs"
    (root / "notebooks" / "lab").mkdir(parents=True)
    for name in ("start.sh", "start.command", "lab/start.py"):
        (root / "notebooks" / name).write_bytes((FOLDER / name).read_bytes())
    home.mkdir()
    there.mkdir()
    for name in ("dirname", "env", "sh", "bash", "mkdir"):
        (there / name).symlink_to(shutil.which(name))
    for name, text in programs.items():
        path = root / name[1:] if name.startswith("/") else there / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/bash\n{text}\n")
        path.chmod(0o755)
    return root, {"HOME": str(home), "PATH": str(there)}


def press(root: Path, variables: dict, name: str = "start.sh", *arguments: str):
    """Start as a double click does: from another folder, with an empty home."""
    command = ["/bin/bash", str(root / "notebooks" / name), *arguments]
    return subprocess.run(command, cwd="/", env=variables, capture_output=True, text=True, check=False, input="")


FITS = '[ "$1" = -c ] || echo "$0|$PWD|$@"'
WRONG = '[ "$1" = -c ] && exit 1; echo wrong'


@pytest.mark.parametrize("name", ["start.sh", "start.command"])
@pytest.mark.parametrize(
    ("programs", "used"),
    [
        ({"python3.12": FITS, "python3.11": FITS}, "python3.11"),
        ({"python3.11": WRONG, "python3.12": FITS}, "python3.12"),
        ({"python3": FITS, "python3.13": FITS}, "python3.13"),
        ({"python3.12": FITS, "/.venv/bin/python": FITS}, ".venv/bin/python"),
        ({"python3.12": FITS, "/.venv/bin/python": WRONG}, "python3.12"),
        ({"python3.12": WRONG, "uv": 'shift 5; [ "$2" = -c ] || echo "uv|$PWD|$@"'}, "uv"),
    ],
)
def test_the_script_takes_a_python_that_fits(tmp_path, name, programs, used):
    root, variables = project(tmp_path, **programs)
    done = press(root, variables, name, "--only-install")
    assert (done.returncode, done.stderr) == (0, "")
    program, place, rest = done.stdout.strip().split("|")
    assert program.endswith(used)
    assert place == str(root)
    assert rest.split()[-2:] == ["notebooks/lab/start.py", "--only-install"]


def test_without_python_and_without_a_network_one_sentence_says_so(tmp_path):
    root, variables = project(tmp_path, curl="exit 6")
    done = press(root, variables)
    assert done.returncode == 1
    assert "Is there a connection to the internet" in done.stdout
    assert "install Python 3.12 from python.org" in done.stdout
    assert done.stderr == ""


def test_python_is_fetched_into_the_folder_and_not_into_the_home(tmp_path):
    written = """'#!/bin/bash' 'echo $0' > "$UV_UNMANAGED_INSTALL/uv"; chmod +x "$UV_UNMANAGED_INSTALL/uv" """
    installer = f"cat <<'END'\nprintf '%s\\n' {written}\nEND"
    chmod, cat = (f'exec {shutil.which(name)} "$@"' for name in ("chmod", "cat"))
    root, variables = project(tmp_path, curl=installer, chmod=chmod, cat=cat)
    (root / ".uv").mkdir()
    done = press(root, variables)
    assert done.returncode == 0, done
    assert done.stdout.splitlines()[-1] == f"{root}/.uv/uv"
    assert list((tmp_path / "home").iterdir()) == []


def test_the_code_of_a_failure_is_handed_on(tmp_path):
    root, variables = project(tmp_path, **{"python3.12": '[ "$1" = -c ] || exit 7'})
    assert press(root, variables).returncode == 7


def test_it_all_goes_together_where_everything_is_installed(tmp_path):
    """The real Python and steps, in an empty home and a folder with an odd name: nothing is to be done."""
    root, variables = project(tmp_path)
    (root / "requirements.txt").write_text("numpy\n")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", root / ".venv"], check=True)
    (root / ".venv" / "installed").touch()
    done = press(root, variables, "start.sh", "--only-install")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list((tmp_path / "home").iterdir()) == []


# The steps


@pytest.mark.parametrize(
    ("machine", "told"),
    [
        ({"version_info": (3, 10, 9)}, "need Python 3.11 to 3.13"),
        ({"version_info": (3, 14, 0)}, "need Python 3.11 to 3.13"),
        ({"maxsize": 2**31 - 1}, "32-bit"),
        ({"platform": "darwin", "machine": "x86_64"}, "Intel"),
        ({"platform": "win32", "machine": "ARM64"}, "ARM"),
        ({"platform": "darwin", "machine": "arm64"}, ""),
        ({"platform": "win32", "machine": "AMD64"}, ""),
        ({"platform": "linux", "machine": "x86_64"}, ""),
    ],
)
def test_a_computer_that_does_not_do_is_told(start, monkeypatch, machine, told):
    monkeypatch.setattr(start.platform, "machine", lambda: machine.get("machine", "x86_64"))
    monkeypatch.setattr(start, "WINDOWS", machine.get("platform") == "win32")
    for name in set(machine) - {"machine"}:
        monkeypatch.setattr(start.sys, name, machine[name])
    if not told:
        start.check_computer()
        return
    with pytest.raises(start.Stop, match=told):
        start.check_computer()


def test_a_folder_that_does_not_do_is_told(start, monkeypatch, tmp_path):
    start.check_place()
    monkeypatch.setattr(start, "ROOM", 1e9)
    with pytest.raises(start.Stop, match="GB left, but 1000000000 GB are needed"):
        start.check_place()
    monkeypatch.setattr(start, "ROOM", 0)
    monkeypatch.setattr(start, "long_paths", lambda: False)
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    monkeypatch.setattr(start, "ROOT", deep)
    with pytest.raises(start.Stop, match="too long for Windows by"):
        start.check_place()
    monkeypatch.setattr(start, "ROOT", tmp_path / "missing")
    with pytest.raises(start.Stop, match="Nothing can be written into"):
        start.check_place()


UV_OFFLINE = (
    "error: Failed to fetch: https://example.org/simple/yarl/\n  cause: client error (Connect)\n  cause: dns error"
)
PIP_OFFLINE = "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError'\nERROR: No matching"


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (UV_OFFLINE, "no connection"),
        (f"{PIP_OFFLINE} distribution found for numpy", "no connection"),
        ("error: operation timed out", "no connection"),
        ("cause: invalid peer certificate: UnknownIssuer", "no connection"),
        ("Because grpcio==1.85.1 has no usable wheels and you require", "not made for this kind of computer"),
        ("ERROR: No matching distribution found for tensorflow==2.21.0", "not made for this kind of computer"),
        ("OSError: [Errno 28] No space left on device", "disk is full"),
        ("one\nsomething new", "something new"),
    ],
)
def test_what_an_installer_says_is_told_in_words(start, answer, told):
    assert told in start.reason(answer)


def test_uv_is_tried_first_then_pip_and_the_last_reason_is_told(start, monkeypatch):
    called, answers = [], {"uv": UV_OFFLINE, "pip": ""}

    def call(command, log):
        called.append(" ".join(map(str, command)))
        return answers["uv" if str(command[0]) == "/uv" else "pip"]

    monkeypatch.setattr(start, "call", call)
    monkeypatch.setattr(start.shutil, "which", lambda *_, **__: "/uv")
    start.ENVIRONMENT.mkdir()
    start.install()
    assert [re.search(r"/uv pip|-m pip", one)[0] for one in called if "install" in one] == ["/uv pip", "-m pip"]
    assert "--compile-bytecode" in next(one for one in called if one.startswith("/uv"))  # pip does so unasked
    assert start.INSTALLED.is_file()
    start.INSTALLED.unlink()
    answers["pip"] = UV_OFFLINE
    monkeypatch.setattr(start, "works", lambda: True)
    with pytest.raises(start.Stop, match=r"no connection.*install\.log"):
        start.install()
    assert not start.INSTALLED.exists()


def test_a_stop_is_a_sentence_and_no_traceback(start, monkeypatch, capsys):
    monkeypatch.setattr(start.sys, "version_info", (3, 9, 1))
    assert start.main(["--only-install"]) == 1
    printed = capsys.readouterr().out
    assert "the notebooks need Python 3.11 to 3.13" in " ".join(printed.split())
    assert "Traceback" not in printed


def test_new_versions_are_installed_and_old_ones_left_alone(start, monkeypatch):
    monkeypatch.setattr(start, "works", lambda: True)
    assert not start.is_installed()
    start.ENVIRONMENT.mkdir()
    start.INSTALLED.touch()
    assert start.is_installed()
    os.utime(start.INSTALLED, (0, 0))  # as after an update of the project
    assert not start.is_installed()


def test_only_a_broken_environment_is_made_anew(start, monkeypatch):
    called = []
    monkeypatch.setattr(start, "call", lambda command, log: called.append(command) or "")
    start.make_environment()
    start.ENVIRONMENT.mkdir()
    start.make_environment()
    (start.ENVIRONMENT / "pyvenv.cfg").touch()  # of a Python that is gone
    start.make_environment()
    monkeypatch.setattr(start, "works", lambda: True)
    start.make_environment()
    assert ["--clear" in command for command in called] == [False, False, True]


@pytest.mark.parametrize("share", [0, 0.3, 0.99, 1])
def test_the_bar_keeps_its_width(start, share):
    text = start.Bar("Installing").text(share)
    assert re.fullmatch(r"Installing \[#*\.*\] +\d+%  \d+:\d\d", text)
    assert len(text) == len(start.Bar("Installing").text(0))


# What JupyterLab shows


def listed(root: Path, folder: str) -> list[str]:
    config = loaded(FOLDER / "lab" / "config.py")
    shelf = config.Shelf(root_dir=str(root))
    return sorted(one["name"] for one in asyncio.run(shelf.get(folder))["content"])


def test_the_list_of_files_has_the_notebooks_and_nothing_else():
    notebooks = sorted(path.name for path in FOLDER.glob("*.ipynb"))
    assert listed(ROOT, "notebooks") == notebooks
    assert {"README.md", "data_samples", "notebooks"} <= set(listed(ROOT, ""))


def test_what_a_person_puts_there_is_listed_whatever_its_name_elsewhere(tmp_path):
    for path in ("notebooks/my_cells/lab", "notebooks/src", "images/src", "images/lab", "images/start.d"):
        (tmp_path / path).mkdir(parents=True)
    (tmp_path / "images" / "a.py").touch()
    (tmp_path / "notebooks" / "mine.ipynb").write_text("{}")
    assert listed(tmp_path, "notebooks") == ["mine.ipynb", "my_cells"]
    assert listed(tmp_path, "notebooks/my_cells") == ["lab"]
    assert listed(tmp_path, "images") == ["a.py", "lab", "src", "start.d"]


def test_the_browser_opens_the_first_page_where_there_is_one():
    config = loaded(FOLDER / "lab" / "config.py")
    first = "/start_here.ipynb" if (FOLDER / "start_here.ipynb").exists() else ""
    assert config.c.LabApp.default_url == f"/lab/tree/notebooks{first}"
    assert config.c.ServerApp.root_dir == str(ROOT)
