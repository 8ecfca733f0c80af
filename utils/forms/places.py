"""Where a search for a folder may start, which folders were chosen last, and what a typed path may go on with."""

import json
import os
import sys
from pathlib import Path

from utils.errors import DataError
from utils.files import write_json
from utils.forms import settings
from utils.forms.folders import list_folder, meant, path_text
from utils.paths import ROOT
from utils.storage import MOUNT

GOOGLE_DRIVE = MOUNT / "MyDrive"
DISKS = ("/Volumes", "/media", "/run/media", "/mnt")  # folders that hold disks, on macOS and Linux
PLAIN_HOME = ("Desktop", "Documents", "Pictures", "Downloads")
CHOSEN = "folders.json"  # in the folder of the settings
MOST_CHOSEN, MOST_COMPLETIONS = 6, 30
LONGEST = 60  # letters of a path in the list


def places(named: Path | None) -> list[tuple[str, str]]:
    """Where a search may start: name and path of the folders that exist, `named` being the one of the field."""
    home = Path(os.path.expanduser("~"))
    known = [("Folder of this field", named)]
    known += [(f"Last: {_shortened(folder)}", folder) for folder in last_chosen() if folder != named]
    known += [("Folder of the project", ROOT), ("Samples", ROOT / "data_samples"), ("Home folder", home)]
    known += [(name, home / name) for name in PLAIN_HOME]
    known += [("Google Drive", GOOGLE_DRIVE), *disks()]
    return [(name, str(path)) for name, path in known if path and os.path.isdir(path)]


def disks() -> list[tuple[str, Path]]:
    """Name and path of the disks of this computer: letters on Windows, else what is mounted for people."""
    if sys.platform == "win32":
        drives = (
            os.listdrives() if hasattr(os, "listdrives") else [f"{letter}:\\" for letter in "CDEFGHIJKLMNOPQRSTUVW"]
        )
        return [(f"Drive {drive[:2]}", Path(drive)) for drive in drives]
    user = os.path.basename(os.path.expanduser("~"))
    found = [Path(place, name) for place in DISKS for name in _folders(Path(place))]
    inside = [path / name for path in found if path.name == user for name in _folders(path)]  # /media/<user>/<disk>
    return [(f"Disk {path.name}", path) for path in [*inside, *found] if path.name != user]


def last_chosen() -> list[Path]:
    """Folders chosen last, the newest first; none where that was not kept or cannot be read."""
    try:
        kept = json.loads((settings.SETTINGS / CHOSEN).read_text(encoding="utf-8"))
        return [Path(one) for one in kept if isinstance(kept, list) and isinstance(one, str)][:MOST_CHOSEN]
    except (OSError, ValueError, TypeError):
        return []


def keep_chosen(folder: Path) -> None:
    """Put `folder` first among those chosen last; where it cannot be kept, it is not: nothing else depends on it."""
    folders = [folder, *(one for one in last_chosen() if one != folder)]
    try:
        write_json(settings.SETTINGS / CHOSEN, [str(one) for one in folders[:MOST_CHOSEN]])
    except (DataError, OSError, ValueError):
        return


def completions(text: str) -> list[str]:
    """Texts of the folders that a path which begins with `text` may mean, as `utils.forms.folders.path_text`."""
    path = meant(text)
    if path is None:
        return []
    parent, begun = (path, "") if text.rstrip(" \"'").endswith(("/", "\\")) else (path.parent, path.name.casefold())
    names = [name for name in _folders(parent) if name.casefold().startswith(begun)]
    return [found for name in names[:MOST_COMPLETIONS] if (found := path_text(parent / name))]


def _folders(folder: Path) -> list[str]:
    try:
        return list_folder(folder).folders
    except (OSError, ValueError):
        return []


def _shortened(path: Path) -> str:
    text = path_text(path) or str(path)
    return text if len(text) <= LONGEST else f"...{text[-LONGEST:]}"
