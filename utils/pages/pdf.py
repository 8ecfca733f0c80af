"""A page of HTML printed to PDF by a browser that is on the computer anyway; without one it is said how."""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

PATIENCE = 2.5  # seconds that a notebook waits; a slow computer goes on printing beside it
LONGEST = 120  # seconds after which a browser is given up
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge", "msedge", "chrome")
PLACES = {
    "darwin": (
        "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
        "/Applications/Chromium.app/Contents/MacOS/Chromium",
        "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
    ),
    "win32": tuple(
        rf"{folder}\{program}"
        for folder in (r"C:\Program Files", r"C:\Program Files (x86)", os.path.expandvars(r"%LOCALAPPDATA%"))
        for program in (r"Google\Chrome\Application\chrome.exe", r"Microsoft\Edge\Application\msedge.exe")
    ),
}
HOW = 'To have it as PDF, open it in a browser, choose to print it, and as the printer "Save as PDF".'


def browser() -> str | None:
    """Chromium, Chrome or Edge, which can print without a window; None where none is found."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    return found or next((place for place in PLACES.get(sys.platform, ()) if os.path.isfile(place)), None)


def print_page(page: Path, pdf: Path) -> str:
    """Print a page of HTML to a PDF beside it, and say in a sentence what became of it; nothing is ever raised.

    Waits `PATIENCE` seconds; where that is not enough the browser goes on, and the file appears later. It is written
    whole or not at all, and not where the page has been written anew meanwhile.
    """
    program = browser()
    if program is None:
        return HOW
    try:
        pdf.unlink(missing_ok=True)
        at_work = threading.Thread(target=_print, args=(program, page, pdf, page.stat().st_mtime_ns))
        at_work.start()
        at_work.join(PATIENCE)
    except (OSError, RuntimeError):
        return HOW
    if at_work.is_alive():
        return f"{pdf.name}, to print or to send, will lie beside it in a moment."
    return f"{pdf.name}, to print or to send, lies beside it." if pdf.is_file() else HOW


def _print(program: str, page: Path, pdf: Path, written: int) -> None:
    """Let a browser print into a folder of its own; what goes wrong leaves no file."""
    try:
        with tempfile.TemporaryDirectory(prefix="report_", ignore_cleanup_errors=True) as folder:
            made = Path(folder) / "report.pdf"
            command = [program, "--headless", "--disable-gpu", "--no-pdf-header-footer", "--no-first-run"]
            command += [f"--user-data-dir={folder}/profile", f"--print-to-pdf={made}"]
            command += ["--no-sandbox"] * (hasattr(os, "geteuid") and os.geteuid() == 0)  # Chromium refuses root
            options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            subprocess.run([*command, page.resolve().as_uri()], timeout=LONGEST, check=True, **options)
            if made.stat().st_size and page.stat().st_mtime_ns == written:
                near = pdf.with_name(f".{pdf.name}.new")
                shutil.copyfile(made, near)
                os.replace(near, pdf)
    except (OSError, subprocess.SubprocessError):
        return
