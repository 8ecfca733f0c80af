"""Where models and results are kept: in the folder of the project, in Google Colab on the reader's Google Drive."""

import os
import shutil
from pathlib import Path

from utils.paths import ROOT

MOUNT = Path("/content/drive")  # where Colab's own button mounts the Drive
KEPT = ("models", "results", "settings")
FOLDER = "NoCodeDL4Bio"  # on the Drive
SHORT = "drive"  # link to the whole Drive inside the project, for short paths in the forms


def prepare(root: Path = ROOT) -> str:
    """Say where everything is kept; in Colab offer Google Drive first, because Colab's own disk is emptied.

    Parameters
    ----------
    root
        Folder of the project. On Colab its folders `KEPT` become links to folders of the same names on the Drive; what
        they held is moved there, so that nothing is lost and a training goes on after Colab ended the session.

    Returns
    -------
    str
        Sentences for the page.
    """
    about = f"Folder of the project: {root}"
    drive = _colab_drive()
    if drive is None:
        return about
    if root.is_relative_to(MOUNT):
        return f"{about}\nIt lies on your Google Drive, and so do models and results."
    if not _mounted(drive):
        return (
            f"{about}\nGoogle Drive is NOT connected: Colab deletes models and results when the session ends (after 90 "
            "minutes without you, or 12 hours). To keep them run this cell again and allow the access to Google Drive, "
            "or download them from the folder symbol on the left before you leave."
        )
    kept = MOUNT / "MyDrive" / FOLDER
    for name in KEPT:
        _link(root / name, kept / name)
    _point(root / SHORT, MOUNT / "MyDrive")
    return (
        f"{about}\nGoogle Drive is connected. Models, results and settings are kept there, in the folder {FOLDER}: if "
        "Colab ends the session, run this page again and the training goes on.\nYour own images on the Drive: write "
        f"{SHORT}/ and the folder, such as {SHORT}/my_images."
    )


def _colab_drive():
    """Colab's module for Google Drive, None elsewhere."""
    try:
        from google.colab import drive
    except ImportError:
        return None
    return drive


def _mounted(drive) -> bool:
    """Whether the Drive is there; asks the reader for it where it is not."""
    if not (MOUNT / "MyDrive").is_dir():
        try:
            drive.mount(str(MOUNT))
        except Exception:  # Colab raises several kinds when the reader declines; all mean that there is no Drive
            return False
    return (MOUNT / "MyDrive").is_dir()


def _link(local: Path, kept: Path) -> None:
    """Make `local` a link to `kept`, after its content has moved there; a name that is taken gets a number."""
    kept.mkdir(parents=True, exist_ok=True)
    if local.is_dir() and not local.is_symlink():
        for path in sorted(local.iterdir()):
            shutil.move(path, _free(kept / path.name))
        local.rmdir()
    _point(local, kept)


def _free(path: Path) -> Path:
    """`path`, or the first of `path`.2, `path`.3, ... that is not there."""
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.name}.{number}")
    return free


def _point(link: Path, target: Path) -> None:
    """A link, made anew where it is there already, for example to a Drive that was mounted elsewhere."""
    if link.is_symlink():
        os.unlink(link)
    link.symlink_to(target, target_is_directory=True)
