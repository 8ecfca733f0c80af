"""Packages of others: unpacked and checked before anything of them is used."""

import hashlib
import io
import stat
import struct
import urllib.error
import urllib.request
import zipfile

import numpy as np
import pytest
import yaml

from utils.errors import ModelError
from utils.exchange import opening, packages

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """Where packages are unpacked: not among the person's models."""
    monkeypatch.setattr(packages, "PLACE", tmp_path / "packages")
    return tmp_path / "packages"


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def axis(size, letter):
    return {"type": "space", "id": letter, "size": size}


def described(weights, channels=("raw",), outputs=("foreground",), size=None, halo=0, **more):
    """Content of a description, format 0.5; `size` of height and width is a number or {"min": , "step": }."""
    free = size or {"min": 12, "step": 4}
    given = [{"type": "batch"}, {"type": "channel", "channel_names": list(channels)}, axis(free, "y"), axis(free, "x")]
    refer = [{"tensor_id": "input", "axis_id": one} for one in "yx"]
    answer = [axis(one, letter) | ({"halo": halo} if halo else {}) for one, letter in zip(refer, "yx", strict=True)]
    channel = {"type": "channel", "channel_names": list(outputs)}
    return {
        "format_version": "0.5.4",
        "type": "model",
        "name": "a model",
        "description": "of others",
        "authors": [{"name": "A. Curie"}],
        "cite": [{"text": "a paper", "doi": "10.1007/978-3-319-24574-4_28"}],
        "license": "MIT",
        "documentation": "README.md",
        "inputs": [{"id": "input", "axes": given, "test_tensor": {"source": "in.npy"}}],
        "outputs": [
            {"id": "output", "axes": [{"type": "batch"}, channel, *answer], "test_tensor": {"source": "out.npy"}}
        ],
        "weights": weights,
    } | more


def written(folder, rdf, files=()):
    """A package in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bioimageio.yaml").write_text(yaml.safe_dump(rdf) if isinstance(rdf, dict) else rdf)
    for name, content in dict(files).items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def package(tmp_path):
    """Folder of a package whose weights are some bytes."""
    weights = b"some weights"
    entry = {"source": "w.onnx", "sha256": hashlib.sha256(weights).hexdigest(), "opset_version": 13}
    return written(tmp_path / "mine", described({"onnx": entry}), {"w.onnx": weights})


def zipped(folder, path, below=""):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for one in sorted(folder.iterdir()):
            file.write(one, below + one.name)
    return path


@pytest.mark.parametrize("below", ["", "model/"])
def test_a_zip_file_is_unpacked_once(package, tmp_path, place, below):
    path = zipped(package, tmp_path / "m.zip", below)
    folder = packages.unpack(path)
    assert folder.is_relative_to(place)
    assert packages.check(folder)["name"] == "a model"
    assert (folder / "w.onnx").read_bytes() == b"some weights"
    before = (folder / "w.onnx").stat().st_mtime_ns
    assert packages.unpack(str(path)) == folder
    assert (folder / "w.onnx").stat().st_mtime_ns == before


def test_a_folder_and_its_description_are_taken_as_they_are(package, tmp_path, place):
    assert packages.unpack(package) == packages.unpack(package / "bioimageio.yaml") == package
    assert not place.exists()
    (package / "bioimageio.yaml").rename(package / "rdf.yaml")
    assert packages.check(package)["weights"]["onnx"]["source"] == "w.onnx"


def test_what_names_a_package(package, tmp_path, untrained_model):
    model, *_ = untrained_model()
    assert all(map(packages.is_package, (package, "a.zip", "https://zenodo.org/1/rdf.yaml", "HTTP://x.org/1", "r.yml")))
    assert not any(map(packages.is_package, (model, tmp_path, "models/my_unet", "2D_versatile_he")))


def hostile(name, content=b"x", mode=0, path=None):
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("bioimageio.yaml", "type: model")
        file.writestr(info, content)
    return path


@pytest.mark.parametrize(
    "name",
    [
        "../out.txt",
        "a/../../out.txt",
        "/tmp/out.txt",
        "..\\out.txt",
        "C:\\out.txt",
        "C:out.txt",
        "a/..",
        "\\\\server\\x",
    ],
)
def test_a_zip_file_that_would_write_elsewhere_is_refused(name, tmp_path, place):
    path = hostile(name, path=tmp_path / "bad.zip")
    with pytest.raises(ModelError, match="would lie outside of the package's own folder"):
        packages.unpack(path)
    assert not place.exists() or not list(place.iterdir())
    assert sorted(one.name for one in tmp_path.iterdir() if one != place) == ["bad.zip"]


def test_a_link_in_a_zip_file_is_refused(tmp_path, place):
    path = hostile("weights.onnx", b"/etc/passwd", stat.S_IFLNK | 0o777, tmp_path / "bad.zip")
    with pytest.raises(ModelError, match=r"weights\.onnx in it is a link"):
        packages.unpack(path)
    assert not place.exists() or not list(place.iterdir())


def test_a_zip_bomb_is_refused(tmp_path, place, monkeypatch):
    monkeypatch.setattr(packages, "SMALL", 2**20)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as file:
        for i in range(4):
            file.writestr(f"{i}.bin", bytes(2**20))
    with pytest.raises(ModelError, match="which no model needs"):
        packages.unpack(tmp_path / "bomb.zip")
    monkeypatch.setattr(packages, "MOST_FILES", 3)
    with pytest.raises(ModelError, match="would become 4 files"):
        packages.unpack(tmp_path / "bomb.zip")
    assert not place.exists() or not list(place.iterdir())


def test_a_zip_file_that_lies_about_its_size_is_refused(tmp_path, place):
    """What it says is what is read; more than that does not come out."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.bin", bytes(2**20))
    data = (tmp_path / "a.zip").read_bytes().replace(struct.pack("<I", 2**20), struct.pack("<I", 10))
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(ModelError, match="is damaged or no zip file"):
        packages.unpack(tmp_path / "a.zip")
    assert not list(place.iterdir())


@pytest.mark.parametrize("content", [b"", b"no zip at all", b"PK\x03\x04 cut"])
def test_what_is_no_zip_file_is_said(tmp_path, content):
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(ModelError, match="is damaged or no zip file"):
        packages.unpack(tmp_path / "a.zip")
    with pytest.raises(ModelError, match="There is no file or folder"):
        packages.unpack(tmp_path / "b.zip")


def test_a_changed_file_is_refused(package):
    (package / "w.onnx").write_bytes(b"other weights")
    with pytest.raises(ModelError, match=r"w\.onnx is not the file that the package's description means"):
        packages.check(package)


@pytest.mark.parametrize("version", ["0.6.0", "1.0", "0.2.3", None, "newest"])
def test_a_version_that_is_not_known_is_refused(package, version):
    written(package, described({}, format_version=version))
    with pytest.raises(ModelError, match=f"written in version {version} of the format, which is not known"):
        packages.check(package)


@pytest.mark.parametrize(
    "text",
    [
        "a: [1, 2",
        "!!python/object/apply:os.system ['touch owned']",
        "name: !!python/name:os.system",
        "\tname: x",
        "\x00\x01",
        "a: &a [*a]\nb: *c",
    ],
)
def test_what_is_no_plain_description_is_refused(tmp_path, text, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match="is no plain description of a model"):
        packages.check(written(tmp_path / "p", text))
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("text", ["", "just words", "- a\n- b", "type: dataset\nformat_version: 0.2.3"])
def test_what_describes_no_model_is_refused(tmp_path, text):
    with pytest.raises(ModelError, match="does not describe a model"):
        packages.check(written(tmp_path / "p", text))


def test_a_description_that_repeats_itself_without_end_is_refused(tmp_path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)]
    for text in ("\n".join(lines), "a: &a [*a]"):
        with pytest.raises(ModelError, match="entries: it is not read"):
            packages.check(written(tmp_path / "p", f"format_version: 0.5.4\n{text}"))


def test_a_folder_without_description_is_no_package(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="is no package of the BioImage Model Zoo"):
        packages.check(packages.unpack(tmp_path / "empty"))


@pytest.mark.parametrize("source", ["../../secret", "/etc/passwd", "a/../../b", "C:\\x"])
def test_a_file_outside_of_the_package_is_refused(package, source):
    written(package, described({"onnx": {"source": source, "opset_version": 13}}))
    with pytest.raises(ModelError, match="would lie outside"):
        packages.check(package)


def test_a_link_out_of_the_package_is_refused(package, tmp_path):
    (tmp_path / "secret").write_text("mine")
    (package / "w.onnx").unlink()
    (package / "w.onnx").symlink_to(tmp_path / "secret")
    with pytest.raises(ModelError, match="would lie outside"):
        packages.check(package)


@pytest.mark.parametrize(
    "step", [{"id": "custom", "source": "a.py", "callable": "f"}, {"name": "x", "source": "a.py"}, {"callable": "f"}]
)
@pytest.mark.parametrize("where", ["inputs", "outputs"])
def test_program_code_is_refused(package, step, where):
    rdf = packages.read_description(package)
    rdf[where][0]["preprocessing" if where == "inputs" else "postprocessing"] = [step]
    with pytest.raises(ModelError, match="program code of its own, which is not run here"):
        packages.check(written(package, rdf))


def test_a_missing_file_is_named(package):
    with pytest.raises(ModelError, match=r"is incomplete: w2\.onnx"):
        packages.needed_file(package, "w2.onnx")


class Answer(io.BytesIO):
    """What a server answers."""

    def __init__(self, content, url):
        super().__init__(content)
        self.url = url


def serve(monkeypatch, files):
    """Let the web hold `files` by their addresses, and nothing else; returns what was asked for."""
    asked = []

    def answer(address, timeout):
        asked.append(address)
        if address not in files:
            raise urllib.error.URLError("no such place")
        return Answer(files[address], address)

    monkeypatch.setattr(urllib.request, "urlopen", answer)
    return asked


def test_an_address_is_downloaded(package, tmp_path, monkeypatch):
    rdf = packages.read_description(package)
    rdf["weights"]["pytorch_state_dict"] = {"source": "w.pt", "pytorch_version": "2.0"}
    files = {"https://x.org/m/1/rdf.yaml": yaml.safe_dump(rdf).encode(), "https://x.org/m/1/w.onnx": b"some weights"}
    files |= {f"https://x.org/m/1/{name}.npy": b"array" for name in ("in", "out")}
    files["https://x.org/m.zip"] = zipped(package, tmp_path / "m.zip").read_bytes()
    asked = serve(monkeypatch, files)

    folder = packages.unpack("https://x.org/m/1/rdf.yaml")

    assert packages.check(folder)["weights"]["onnx"]["source"] == "w.onnx"
    assert (folder / "w.onnx").read_bytes() == b"some weights"
    assert sorted(asked) == sorted(one for one in files if not one.endswith("zip"))  # no weights that are not run
    assert packages.check(packages.unpack("https://x.org/m.zip"))


@pytest.mark.parametrize("address", ["https://x.org/rdf.yaml", "http://127.0.0.1:9/m.zip", "https://[bad/m.zip"])
def test_an_address_without_network_is_said(address, monkeypatch):
    serve(monkeypatch, {})
    with pytest.raises(ModelError, match="could not be downloaded"):
        packages.unpack(address)


def test_what_is_too_large_is_not_downloaded(monkeypatch, place):
    serve(monkeypatch, {"https://x.org/m.zip": bytes(100)})
    monkeypatch.setattr(packages, "LARGEST", 50)
    with pytest.raises(ModelError, match="could not be downloaded"):
        packages.unpack("https://x.org/m.zip")
    assert not list(place.rglob("*.zip"))


@pytest.mark.parametrize(
    "odd",
    [
        {"inputs": 3},
        {"outputs": {"id": "x"}},
        {"inputs": [1, None, {"preprocessing": 5}]},
        {"weights": [1]},
        {"weights": {"onnx": 7}},
        {"test_inputs": 8, "covers": "a.png"},
        {"config": "none"},
        {"cite": {"text": 1}},
    ],
)
def test_odd_descriptions_are_read_without_harm(package, odd):
    """What is wrong with them is said when the package is run."""
    assert packages.check(written(package, packages.read_description(package) | odd))


def test_a_zip_file_in_which_a_file_is_a_folder_is_refused(tmp_path, place):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("a", "x")
        file.writestr("a/b", "x")
    with pytest.raises(ModelError, match="could not be unpacked"):
        packages.unpack(tmp_path / "a.zip")
    assert not list(place.iterdir())


@pytest.mark.parametrize("files", [{"weights.onnx": b"x"}, {"model/a.txt": b"x", "b.txt": b"y"}])
def test_a_zip_file_without_a_model_is_named_as_it_was_chosen(tmp_path, monkeypatch, files):
    monkeypatch.setattr(packages, "PLACE", tmp_path / "packages")
    with zipfile.ZipFile(tmp_path / "mine.zip", "w") as file:
        for name, content in files.items():
            file.writestr(name, content)
    with pytest.raises(ModelError, match=r"mine\.zip holds no model: neither bioimageio\.yaml"):
        opening.find_model(tmp_path / "mine.zip")
