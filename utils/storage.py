"""Where models and results are kept: in the folder of the project, in Google Colab on the reader's Google Drive."""

import os
import shutil
import tempfile
from pathlib import Path

from utils.paths import ROOT, dated_name

MOUNT = Path("/content/drive")  # where Colab's own button mounts the Drive
KEPT = ("models", "results", "settings")
FOLDER = "NoCodeDL4Bio"  # on the Drive
SHORT = "drive"  # link to the whole Drive inside the project, for short paths in the forms
NOT_CONNECTED = (
    "Google Drive is NOT connected: Colab deletes models and results when the session ends (after 90 minutes without "
    "you, or 12 hours). To keep them run this cell again and allow the access to Google Drive, or download them from "
    "the folder symbol on the left before you leave."
)
CANNOT_BE_USED = (
    "Google Drive is connected, but cannot be used: {}. What you have made stays in the folder of the project, which "
    "Colab deletes when the session ends. Free some space on the Drive or move what is in the way, then run this cell "
    "again."
)
CONNECTED = (
    f"Google Drive is connected. Models, results and settings are kept there, in the folder {FOLDER}: if Colab ends "
    "the session, run this page again and the training goes on.\nYour own images on the Drive: write "
    f"{SHORT}/ and the folder, such as {SHORT}/my_images."
)


def prepare(root: Path = ROOT) -> str:
    """Say where everything is kept; in Colab offer Google Drive first, because Colab's own disk is emptied.

    On Colab the folders `KEPT` of the project become links to folders of the same names on the Drive; what they held
    moves there, so that nothing is lost and a training goes on after Colab ended the session. The paths of this session
    stay true: what the Drive held under such a name is kept under a name with the date.
    """
    about = f"Folder of the project: {root}"
    drive = _colab_drive()
    if drive is None:
        return about
    if root.is_relative_to(MOUNT):
        return f"{about}\nIt lies on your Google Drive, and so do models and results."
    if not _mounted(drive):
        _remove_dangling(root)
        return f"{about}\n{NOT_CONNECTED}"
    try:
        renamed = [one for name in KEPT for one in _keep(root / name, MOUNT / "MyDrive" / FOLDER / name)]
        _point(root / SHORT, MOUNT / "MyDrive")
    except OSError as error:
        return f"{about}\n{CANNOT_BE_USED.format(error)}"
    told = [f"An earlier {new.parent.name}/{old} on the Drive is now called {new.name}." for old, new in renamed]
    return "\n".join([about, CONNECTED, *told])


def _colab_drive():
    """Colab's module for Google Drive, None elsewhere."""
    try:
        from google.colab import drive
    except ImportError:
        return None
    return drive


def _mounted(drive) -> bool:
    """Whether the Drive is there; asks the reader for it where it is not."""
    if not os.path.isdir(MOUNT / "MyDrive"):
        try:
            drive.mount(str(MOUNT))
        except Exception:  # Colab raises several kinds when the reader declines; all mean that there is no Drive
            return False
    return os.path.isdir(MOUNT / "MyDrive")


def _remove_dangling(root: Path) -> None:
    """Remove links to a Drive that is gone: folders can be made in their place."""
    for name in (*KEPT, SHORT):
        if (root / name).is_symlink() and not os.path.isdir(root / name):
            os.unlink(root / name)


def _keep(local: Path, kept: Path) -> list[tuple[str, Path]]:
    """Make `local` a link to `kept`, with all that it held; the names that were taken there, and what they became."""
    kept.mkdir(parents=True, exist_ok=True)
    renamed = []
    if local.is_dir() and not local.is_symlink():
        # Copied as a whole before anything changes: the Drive may be full, or the session end in between.
        with tempfile.TemporaryDirectory(prefix=".coming.", dir=kept) as coming:
            shutil.copytree(local, coming, dirs_exist_ok=True)
            for path in sorted(Path(coming).iterdir()):
                there = kept / path.name
                if there.exists():
                    renamed.append((path.name, there.rename(dated_name(there))))
                path.rename(there)
        shutil.rmtree(local)
    _point(local, kept)
    return renamed


def _point(link: Path, target: Path) -> None:
    """A link, made anew where it is there already, for example to a Drive that was mounted elsewhere."""
    if link.is_symlink():
        os.unlink(link)
    link.symlink_to(target, target_is_directory=True)
