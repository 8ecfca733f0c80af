"""Packages of the BioImage Model Zoo, made by others: unpacked and checked before anything of them is used."""

import re
import shutil
import stat
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import yaml

from utils.errors import ModelError
from utils.files import atomic, file_sha256
from utils.paths import DESCRIPTION, ROOT, resolve

PLACE = ROOT / "models" / "packages"  # where zip files are unpacked, and downloads are kept
NAMES = ("bioimageio.yaml", "rdf.yaml", "model.yaml", "bioimageio.yml", "rdf.yml")  # of the file that describes it
SPECS = ((0, 3), (0, 4), (0, 5))  # format versions that bioimageio.core knows
LARGEST = 4 * 2**30  # bytes of a package, unpacked; the largest of the Zoo are below 2 GiB
LARGEST_TEXT = 2**20  # bytes of the file that describes it
MOST_FILES = 2000
RATIO, SMALL = 100, 50 * 2**20  # bytes unpacked for each byte of a zip file; what is small may be packed tighter
MOST_ENTRIES = 20_000  # of the description, however it repeats itself
SECONDS = 60  # that a server may be silent
CHUNK = 2**20
WEB = re.compile(r"https?://", re.IGNORECASE)


def is_package(source: str | Path) -> bool:
    """Whether a text names a package: a zip file, an address, or a file or folder with its description."""
    if is_address(source) or Path(source).suffix.lower() in (".zip", ".yaml", ".yml"):
        return True
    path = resolve(source)
    return path.is_dir() and not (path / DESCRIPTION).exists() and description_file(path) is not None


def is_address(source: str | Path) -> bool:
    """Whether a text is an address on the web."""
    return bool(WEB.match(str(source)))


def unpack(source: str | Path) -> Path:
    """Folder of a package, from its zip file, its folder, its description, or the address of a zip or a description.

    What is unpacked or downloaded is kept in `PLACE`, and found there the next time. Nothing is checked but what the
    unpacking itself could do harm by; see `check`.

    Raises
    ------
    ModelError
        No such file, no zip file, a zip file that would write elsewhere or become too large, or an address that does
        not answer.
    """
    if is_address(source):
        return _download(str(source).strip())
    path = resolve(source)
    if path.is_dir():
        return path
    if not path.is_file():
        raise ModelError(f"There is no file or folder {path}. Check its name for a typing error.")
    return path.parent if path.suffix.lower() in (".yaml", ".yml") else _unzip(path)


def check(folder: Path) -> dict:
    """Read the description of the package in `folder` and check its files; runs nothing of it.

    Returns
    -------
    dict
        Content of the description, as its author wrote it.

    Raises
    ------
    ModelError
        No description, or none that can be read, of a version or kind that is not known here; a file that lies outside
        of the folder, is too large, or is not the one that the description means (checksum); program code that would
        have to be run.
    """
    described = read_description(folder)
    for source, checksum in _files(described):
        path = local_file(folder, source)
        if path is not None and path.is_file():
            _check_file(path, checksum)
    for step in _steps(described):
        if "source" in step or "callable" in step or step.get("id") == "custom":
            raise ModelError(
                f"The package {folder} prepares images, or works on its results, with program code of its own, which "
                "is not run here. Ask its authors for a package without code."
            )
    return described


def read_description(folder: Path) -> dict:
    """Read the file that describes a package; ModelError where it is none of a model, or cannot be read safely."""
    path = description_file(folder)
    if path is None:
        raise ModelError(
            f"{folder} is no package of the BioImage Model Zoo: there is no {NAMES[0]} or {NAMES[1]} in it. Choose the "
            "zip file or the folder of a model."
        )
    _check_size(path, LARGEST_TEXT)
    try:
        described = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = " ".join(str(getattr(error, "problem", None) or error).split())
        raise ModelError(
            f"{path} cannot be read ({reason}): it is no plain description of a model. Download the package again."
        ) from error
    if not isinstance(described, dict) or described.get("type", "model") != "model":
        raise ModelError(f"{path} does not describe a model. Choose a package of a model.")
    for _ in dictionaries(described):  # counts them
        pass
    _check_version(path, described.get("format_version"))
    return described


def description_file(folder: Path) -> Path | None:
    """File that describes the package in a folder, None where there is none."""
    found = [folder / name for name in NAMES if (folder / name).is_file()]
    more = (one for ending in ("bioimageio", "rdf", "model") for one in sorted(folder.glob(f"*.{ending}.yaml")))
    return next(iter([*found, *more]), None)


def local_file(folder: Path, source: Any) -> Path | None:
    """Path of a file that the description names, None for one on the web; ModelError where it lies elsewhere."""
    if is_address(source):
        return None
    path = Path(folder, _inside(str(source), folder))
    if not path.resolve().is_relative_to(folder.resolve()):
        raise _outside(str(source), folder)
    return path


def needed_file(folder: Path, source: Any, checksum: str | None = None) -> Path:
    """A file that a package cannot do without: downloaded where the description gives an address.

    ModelError where it is not there.
    """
    path = local_file(folder, source)
    if path is None:
        path = PLACE / "files" / f"{checksum or 'unchecked'}" / _name_of(str(source))
        if not path.is_file():
            _fetch(str(source), path)
        _check_file(path, checksum)
    if not path.is_file():
        raise ModelError(
            f"The package {folder} is incomplete: {source}, which its description names, is missing. Download it again."
        )
    return path


def dictionaries(content: Any, most: int = MOST_ENTRIES) -> Iterator[dict]:
    """Each dictionary in a description, however deep; ModelError where there are more than `most` entries."""
    waiting, seen = [content], 0
    while waiting:
        one = waiting.pop()
        seen += 1
        if seen > most:
            raise ModelError(f"The description of the package has more than {most} entries: it is not read.")
        if isinstance(one, dict):
            yield one
        if isinstance(one, dict | list):
            waiting += one.values() if isinstance(one, dict) else one


def listed(described: dict, name: str) -> list[dict]:
    """Dictionaries of a list in a description; none where it is no list."""
    found = described.get(name)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def unzip(path: Path, folder: Path) -> None:
    """Unpack a zip file into a new folder, if it does no harm; ModelError otherwise, and then nothing is left."""
    fresh = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        with zipfile.ZipFile(path) as file:
            for one in _harmless(file, path):
                target = fresh / _inside(one.filename, path)
                target.parent.mkdir(parents=True, exist_ok=True)
                with file.open(one) as packed, target.open("wb") as stream:
                    shutil.copyfileobj(packed, stream, CHUNK)
        fresh.mkdir(parents=True, exist_ok=True)
        fresh.rename(folder)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, zlib.error) as error:
        raise ModelError(f"{path} is damaged or no zip file ({error}). Download the package again.") from error
    except OSError as error:
        raise ModelError(f"{path} could not be unpacked to {folder} ({error.strerror or error}).") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def check_zip(path: Path) -> None:
    """Make sure that a zip file may be unpacked; ModelError otherwise."""
    with zipfile.ZipFile(path) as file:
        _harmless(file, path)


def _unzip(path: Path) -> Path:
    """Folder in `PLACE` that holds the content of a zip file; that inside of it where all lies in one folder."""
    folder = PLACE / f"{path.stem}.{file_sha256(path)[:8]}"
    if not folder.is_dir():
        unzip(path, folder)
    inner = [one for one in folder.iterdir() if one.name != "__MACOSX"]
    alone = inner[0] if len(inner) == 1 and inner[0].is_dir() else folder
    return folder if description_file(folder) else alone


def _harmless(file: zipfile.ZipFile, path: Path) -> list[zipfile.ZipInfo]:
    """Files in a zip file, once it is known that all of them may be unpacked."""
    entries = [one for one in file.infolist() if not one.is_dir()]
    for one in entries:
        _inside(one.filename, path)
        if stat.S_IFMT(one.external_attr >> 16) not in (0, stat.S_IFREG):
            raise ModelError(f"{path} was not unpacked: {one.filename} in it is a link, not a file.")
        if one.flag_bits & 1:
            raise ModelError(f"{path} is locked with a password. Unpack it yourself and choose the folder.")
    size, packed = sum(one.file_size for one in entries), max(1, path.stat().st_size)
    if size > LARGEST or len(entries) > MOST_FILES or (size > SMALL and size > RATIO * packed):
        raise ModelError(
            f"{path} was not unpacked: it would become {len(entries)} files of {size / 2**20:,.0f} MB together, which "
            "no model needs. Download the package again from where it was published."
        )
    return entries


def _inside(name: str, where: Path) -> PurePosixPath:
    """Name of a file as a path below a folder; ModelError where it leads out of it."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or not path.parts or ":" in name or "\0" in name:
        raise _outside(name, where)
    return path


def _outside(name: str, where: Path) -> ModelError:
    return ModelError(
        f"{where} was not opened: it names the file {name!r}, which would lie outside of the package's own folder. Do "
        "not use it; download the package from where it was published."
    )


def _check_version(path: Path, version: Any) -> None:
    found = re.match(r"(\d+)\.(\d+)", str(version))
    if not found or (int(found[1]), int(found[2])) not in SPECS:
        known = ", ".join(f"{major}.{minor}" for major, minor in SPECS)
        raise ModelError(
            f"{path} is written in version {version} of the format, which is not known here (known: {known}). Get the "
            "newest version of these notebooks, or an older one of the package."
        )


def _check_file(path: Path, checksum: str | None) -> None:
    _check_size(path, LARGEST)
    if checksum and file_sha256(path) != str(checksum).lower():
        raise ModelError(
            f"{path} is not the file that the package's description means (its checksum differs): it was changed or "
            "damaged. Download the package again from where it was published."
        )


def _check_size(path: Path, limit: int) -> None:
    if path.stat().st_size > limit:
        raise ModelError(f"{path} has {path.stat().st_size / 2**20:,.0f} MB, which is too large for such a file.")


def _files(described: dict) -> Iterator[tuple[str, str | None]]:
    """Files that a description names, with their checksums where it has them."""
    for one in dictionaries({**described, "config": None}):  # there, programs keep what they like
        if isinstance(source := one.get("source"), str):
            yield source, one.get("sha256")
    for name in ("test_inputs", "test_outputs", "sample_inputs", "sample_outputs", "covers"):
        listed = described.get(name)
        yield from ((one, None) for one in listed or () if isinstance(one, str)) if isinstance(listed, list) else ()


def _steps(described: dict) -> Iterator[dict]:
    """Steps of the preparation of images and of the work on results."""
    for tensor in (one for name in ("inputs", "outputs") for one in listed(described, name)):
        for name in ("preprocessing", "postprocessing"):
            yield from listed(tensor, name)


def _download(address: str) -> Path:
    """Folder in `PLACE` of what lies at an address: a zip file, or a description with the files beside it."""
    try:
        name = _name_of(address)
    except ValueError as error:
        raise _not_downloaded(address, error) from error
    if name.lower().endswith(".zip") or not name.lower().endswith((".yaml", ".yml")):
        path = PLACE / "downloads" / name
        _fetch(address, path)
        return _unzip(path)
    parts = [part for part in urlsplit(address).path.split("/")[-4:-1] if part]
    folder = PLACE / "_".join([urlsplit(address).netloc.replace(":", "_"), *map(_plain, parts)])
    _fetch(address, folder / NAMES[0])
    described = read_description(folder)
    for source, checksum in _files({name: described.get(name) for name in ("inputs", "outputs", "weights")}):
        path = local_file(folder, source)
        wanted = path is not None and path.suffix not in (".py", ".pt", ".pth", ".torch")
        if wanted and not (path.is_file() and checksum and file_sha256(path) == checksum):
            _fetch(urljoin(address, source), path)
    return folder


def _name_of(address: str) -> str:
    return _plain(urlsplit(address).path.rstrip("/").rpartition("/")[2]) or "package.zip"


def _plain(text: str) -> str:
    """Text without signs that a file cannot be called."""
    return re.sub(r"[^\w.-]", "_", unquote(text)).lstrip(".")


def _fetch(address: str, path: Path) -> None:
    """Download a file; ModelError where that fails."""
    try:
        with urllib.request.urlopen(address, timeout=SECONDS) as answer, atomic(path) as temporary:
            if not is_address(answer.url):
                raise ValueError(f"it leads to {answer.url}")
            with temporary.open("wb") as stream:
                _copy(answer, stream)
    except (OSError, ValueError, HTTPException) as error:  # urllib and ssl raise many kinds of them
        raise _not_downloaded(address, error) from error


def _not_downloaded(address: str, error: Exception) -> ModelError:
    return ModelError(
        f"{address} could not be downloaded ({getattr(error, 'reason', None) or error}). Check the address and the "
        "internet connection; or download the package with a browser, and choose the file in the field model_folder."
    )


def _copy(answer: Any, stream: Any) -> None:
    size = 0
    while part := _read(answer):
        size += len(part)
        if size > LARGEST:
            raise ValueError(f"it is larger than {LARGEST / 2**30:.0f} GB")
        stream.write(part)


def _read(answer: Any) -> bytes:
    try:
        return answer.read(CHUNK)
    except (OSError, HTTPException) as error:  # not to be taken for a disk that is full
        raise ValueError(f"the connection broke: {error}") from error
