"""What a file is by its first bytes, whatever its name says."""

from pathlib import Path

from utils.errors import DataError

TIFF, PNG, JPEG, BMP, GIF, NPY = (
    "TIFF",
    "PNG",
    "JPEG",
    "BMP",
    "GIF",
    "NumPy array",
)  # what is read; a NumPy array only as a mask
HEAD = 512  # bytes that are looked at
EXPORT = "Open it in Fiji and save it as TIFF."
COPY = "Copy or export it again."
MOVE = "Move it out of the folder, or export the image again."
READ = {
    b"II*\0": TIFF,
    b"MM\0*": TIFF,
    b"II+\0": TIFF,
    b"MM\0+": TIFF,
    b"\x89PNG\r\n\x1a\n": PNG,
    b"\xff\xd8\xff": JPEG,
    b"BM": BMP,
    b"GIF8": GIF,
    b"\x93NUMPY": NPY,
}
# Place in the file, bytes there, what such a file is, what to do.
OTHERS = [
    (8, b"WEBP", "a WebP picture", EXPORT),
    (4, b"ftyp", "a HEIC or AVIF picture, or a video", "Save it as PNG or TIFF in the program that shows it."),
    (4, b"jP  \r\n", "a JPEG 2000 picture", EXPORT),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 picture", EXPORT),
    (0, b"8BPS", "a Photoshop file", "Save it as TIFF in the program it comes from."),
    (0, b"ZISRAWFILE", "a Zeiss file (CZI)", EXPORT),
    (0, b"\x70\0\0\0", "a Leica file (LIF)", EXPORT),
    (0, b"\xda\xce\xbe\x0a", "a Nikon file (ND2)", EXPORT),
    (0, b"\x89HDF", "an HDF5 file", EXPORT),
    (128, b"DICM", "a DICOM file", EXPORT),
    (0, b"SIMPLE  =", "a FITS file", EXPORT),
    (0, b"\xd0\xcf\x11\xe0", "a microscope or office file of an old format", EXPORT),
    (0, b"%PDF", "a PDF document", MOVE),
    (0, b"PK\x03\x04", "a ZIP archive or an office document", "Unpack it, and use the images that are in it."),
    (0, b"\x1f\x8b", "a compressed archive (gzip)", "Unpack it, and use the images that are in it."),
    (
        0,
        b"\0\x05\x16\x07",
        "a file that macOS puts beside another one",
        "Delete it; the image itself has another name.",
    ),
    (0, b"version https://git-lfs", "a placeholder for a file that was not downloaded (Git LFS)", "Download it."),
]
TEXTS = [
    (("<!doctype html", "<html"), "a web page", "Download the image itself again."),
    (("<svg",), "an SVG drawing", "Save it as PNG in the program it comes from."),
    (("<?xml",), "an XML text", MOVE),
]


def kind_of(path: Path) -> str:
    """`TIFF`, `PNG`, `JPEG`, `BMP`, `GIF` or `NPY`; DataError, which says what the file is, where it is none of these.

    OSError where it cannot be opened.
    """
    with open(path, "rb", buffering=0) as file:
        head = file.read(8)
        for start, kind in READ.items():
            if head.startswith(start):
                return kind
        head += file.read(HEAD - len(head))
    what, remedy = _other(head)
    if not what:
        raise DataError(f"{path} cannot be read: damaged, truncated or no image. {COPY}")
    raise DataError(f"{path} cannot be read: it is {what}, not a TIFF, PNG or JPEG as its name says. {remedy}")


def _other(head: bytes) -> tuple[str, str]:
    """What a file is that is not read, and what to do; "" where that is not known."""
    if not head:
        return "empty (0 bytes)", COPY
    if not head.strip(b"\0"):
        return "a file of zeros, as an interrupted copy leaves it", COPY
    for place, start, what, remedy in OTHERS:
        if head[place:].startswith(start):
            return what, remedy
    text = head.decode("utf-8-sig", errors="ignore").lstrip().lower()
    for signs, what, remedy in TEXTS:
        if text.startswith("<") and any(sign in text for sign in signs):
            return what, remedy
    readable = len(text.encode()) > 0.9 * len(head) and all(sign.isprintable() or sign in "\t\n\r\f" for sign in text)
    return ("a text", MOVE) if readable else ("", "")
