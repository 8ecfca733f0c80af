"""Set-up of the notebook's machine: only what is missing is installed, and nothing that is there is replaced."""

import importlib.metadata
import importlib.util
import os
import platform
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from notebooks.standalone import imported
from utils import runtime
from utils.errors import SetupError
from utils.exchange import export as exchange
from utils.exchange import package_model
from utils.images import slides
from utils.microscope import opening as microscopes
from utils.microscope import page as microscope_page
from utils.paths import ROOT
from utils.tasks.slides import cluster


@pytest.fixture
def pip(monkeypatch):
    """What pip was called with: list of (arguments, lines of the constraints file)."""
    calls = []

    def run(command, check, capture_output, text):
        assert check  # a failed installation is an error
        assert capture_output  # pip's own warnings are not for the page
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


@pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="left alone on other processors")
@pytest.mark.parametrize("own", [None, "0"])
def test_onednn_computes_unless_a_person_says_otherwise(own):
    code = (
        "from utils import runtime; runtime.prepare(); runtime.load_tensorflow(); "
        "from tensorflow.python.framework import test_util; print(test_util.IsMklEnabled())"
    )
    given = {name: value for name, value in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"}
    given |= {"TF_ENABLE_ONEDNN_OPTS": own} if own else {}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=given, capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == str(own is None)


def test_what_matplotlib_says_of_fonts_stays_off_the_page(tmp_path):
    """Found on a machine whose list of fonts was out of date."""
    code = (
        "from utils import runtime; runtime.prepare(); from matplotlib import font_manager; "
        "font_manager.findfont('a font that nobody has')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_only_what_is_missing_is_installed(pip, monkeypatch, capsys):
    real = importlib.util.find_spec
    gone = {"skimage", "stardist"}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in gone else real(name))
    runtime.prepare()
    ((command, _),) = pip
    assert sorted(command[-2:]) == ["scikit-image", "stardist"]
    assert command[-3].endswith("constraints.txt")
    assert "scikit-image" in capsys.readouterr().out


def test_a_failed_installation_is_one_sentence_with_the_reason(monkeypatch):
    def run(command, **_):
        raise subprocess.CalledProcessError(1, command, stderr="WARNING: slow\nERROR: No matching distribution\n")

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(SetupError, match=r"^stardist could not .*internet.*: ERROR: No matching distribution$"):
        runtime.install(["stardist"])


def test_every_package_that_a_room_imports_is_one_that_is_asked_for():
    """Found by running the classification page where cleanlab was not installed yet."""
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "utils").rglob("*.py")]
    names = {name.partition(".")[0] for source in sources for name in imported(source)}
    at_hand = set(sys.stdlib_module_names) | {"utils", "data_samples", "google", "IPython"}
    # By tensorflow, keras, scikit-image, ipywidgets, matplotlib, ipykernel and the Jupyter server.
    brought = {"keras", "h5py", "numpy", "scipy", "PIL", "traitlets", "packaging", "mpl_toolkits", "psutil", "yaml"}
    needed = [*exchange.NEEDED_FOR.values(), package_model.NEEDED, slides.NEEDED, cluster.NEEDED]
    needed += [microscopes.NEEDED, microscope_page.NEEDED]
    late = {name.partition(".")[0] for one in needed for name in one}
    assert names - at_hand - brought - late == runtime.NEEDED.keys() & names
    assert runtime.NEEDED.keys() - names <= {"tensorflow", "tqdm", "ipywidgets", "matplotlib"}


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
        if name.startswith("tensorflow"):
            raise importlib.metadata.PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(runtime, "version", version)
    assert runtime.versions()["tensorflow"] == "unknown"
    assert runtime.versions()["keras"] == "1.0"


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other systems keep memory in other ways")
def test_arrays_have_memory_that_others_gave_back():
    """TensorFlow's data sets of generators had half the time of a random forest go into fresh pages."""
    code = (
        "import resource, numpy as np; from utils.runtime import load_tensorflow; tf = load_tensorflow();"
        "list(tf.data.Dataset.from_generator(lambda: iter((0.0,)), output_signature=tf.TensorSpec(())));"
        "faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt;"
        "work = lambda n: [np.ones(1 << 19).sum() for _ in range(n)];"
        "work(9); before = faults(); work(100); print(faults() - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 5_000  # an array has 1,024 pages


def test_loading_tensorflow_leaves_the_error_stream_open(capfd):
    assert runtime.load_tensorflow().__name__ == "tensorflow"
    print("still heard", file=sys.stderr, flush=True)
    assert "still heard" in capfd.readouterr().err


def test_the_cpu_variant_of_tensorflow_has_its_version(monkeypatch):
    have = {"tensorflow-cpu": "2.20.0"}

    def version(name):
        if name not in have:
            raise importlib.metadata.PackageNotFoundError(name)
        return have[name]

    monkeypatch.setattr(runtime, "version", version)
    assert runtime.versions()["tensorflow"] == "2.20.0"


def driver(monkeypatch, answer):
    """Stand in for nvidia-smi: its answer, or the error that it ends with."""

    def run(command, **_):
        assert command[0] == "nvidia-smi"
        if isinstance(answer, Exception):
            raise answer
        return SimpleNamespace(stdout=answer)

    monkeypatch.setattr(subprocess, "run", run)


NO_CARD = [FileNotFoundError(), subprocess.CalledProcessError(9, "nvidia-smi"), "", "\n"]


@pytest.mark.parametrize("answer", NO_CARD)
def test_without_a_card_the_processor_is_used(monkeypatch, answer, capsys):
    driver(monkeypatch, answer)
    assert runtime.graphics_card() is None
    assert "processor" in runtime.describe()
    runtime.start()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("answer", ["Tesla T4\n", "Tesla T4\nTesla T4\n"])
def test_a_card_is_named_without_loading_tensorflow(monkeypatch, answer):
    driver(monkeypatch, answer)
    monkeypatch.setattr(runtime, "card_is_usable", lambda: True)
    assert "Training will use the graphics card (Tesla T4)" in runtime.describe()
    code = "import sys; from utils import runtime; runtime.describe(); sys.exit('tensorflow' in sys.modules)"
    monkeypatch.undo()
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize(("gpus", "told"), [([], True), (["gpu"], False)])
def test_a_card_that_tensorflow_cannot_use_is_told_with_the_remedy(monkeypatch, capsys, gpus, told):
    tensorflow = runtime.load_tensorflow()
    driver(monkeypatch, "Tesla T4\n")
    monkeypatch.setattr(tensorflow.config, "list_physical_devices", lambda kind: gpus)
    runtime.start()
    assert ("tensorflow[and-cuda]" in capsys.readouterr().out) is told


def test_the_stop_button_says_one_sentence():
    """Found in the browser: pressed outside of training it showed a page of library code."""
    code = (
        "from IPython.core.interactiveshell import InteractiveShell; shell = InteractiveShell.instance();"
        "from utils.pages import cells; cells.begin(''); result = shell.run_cell('raise KeyboardInterrupt');"
        "assert not result.success; shell.run_cell('1 / 0')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    first, *rest = done.stdout.splitlines()
    assert first == "You stopped this cell. Run it again to go on; the cells below it were not run."
    assert any("ZeroDivisionError" in line for line in rest)  # other errors look as always


def test_a_part_of_a_package_that_is_not_there_is_missing(pip, capsys):
    runtime.ensure({"no_such_package.core": "no-such-package", "json.decoder": "json"})
    ((command, _),) = pip
    assert command[-1] == "no-such-package"


def test_keras_keeps_its_backend_whoever_is_loaded_later(monkeypatch):
    """bioimageio.core writes into the environment what it finds there, or another backend."""
    monkeypatch.delenv("KERAS_BACKEND")
    runtime.ensure({})
    assert os.environ["KERAS_BACKEND"] == "tensorflow"
