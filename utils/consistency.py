"""What is odd about the images of one folder when they are seen side by side."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import PIL.Image

from utils.images import Image
from utils.problems import Problem

# Formats of microscopes and screens that are not read: their images would be missed without a word.
OTHER_FORMATS = {".czi", ".lif", ".nd2", ".oib", ".oif", ".lsm", ".vsi", ".svs", ".ndpi", ".mrxs", ".ims", ".dv"}
OTHER_FORMATS |= {".bmp", ".gif", ".jp2", ".webp", ".heic", ".npy", ".zip"}
ORIENTATION = 0x0112  # EXIF tag; 1 = upright


def compare(images: Sequence[Image], masks: bool = True) -> list[Problem]:
    """Find what differs between images: channels, pixel types, pixel sizes; and images that show nothing.

    Parameters
    ----------
    images : sequence of Image
        All images of a folder.
    masks : bool
        Whether they have masks, on which a photograph that is turned may not lie.

    Returns
    -------
    list of Problem
        Errors for channels (one network takes one number of them), warnings for the rest.
    """
    remedy = "Check that all come from the same microscope settings and export."
    sizes = {image.path: image.pixel_size_um and round(image.pixel_size_um, 4) for image in images}
    return [
        *_odd({image.path: image.array.shape[-1] for image in images}, "number of channels", "error", remedy),
        *_odd({image.path: str(image.array.dtype) for image in images}, "pixel type", "warning", remedy),
        *_odd(sizes, "pixel size in um", "warning", "Rescale the images to one pixel size if this is true."),
        *(_constant(image) for image in images if image.array.min() == image.array.max()),
        *(_turned(image.path) for image in images if masks and _is_turned(image.path)),
    ]


def not_read(folder: Path) -> list[Problem]:
    """Warnings about files in `folder` whose format is not read."""
    remedy = "Open it in Fiji and save it as TIFF if it belongs to the data."
    return [
        Problem("warning", str(path), "this format is not read", remedy)
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in OTHER_FORMATS and not path.name.startswith(".")
    ]


def _odd(values: Mapping[Path, object], name: str, severity: str, remedy: str) -> list[Problem]:
    """A problem for each file whose value is not the most frequent one."""
    usual = Counter(values.values()).most_common(1)[0][0] if values else None
    return [
        Problem(severity, str(path), f"{name}: {value or 'unknown'}, but {usual or 'unknown'} in most images", remedy)
        for path, value in values.items()
        if value != usual
    ]


def _constant(image: Image) -> Problem:
    """Problem of an image that shows nothing."""
    what = f"all pixels have the value {image.array.flat[0]}"
    return Problem("warning", str(image.path), what, "Check the file; leave it out if it is empty.")


def _is_turned(path: Path) -> bool:
    """Whether a JPEG is shown turned or mirrored by viewers that heed its EXIF data."""
    if path.suffix.lower() not in {".jpg", ".jpeg"}:
        return False
    with PIL.Image.open(path) as picture:
        return picture.getexif().get(ORIENTATION, 1) not in (0, 1)


def _turned(path: Path) -> Problem:
    """Problem of a photograph that some programs show turned and some do not."""
    what = "the camera asks for this photograph to be turned, which is done here but not in Fiji"
    return Problem("warning", str(path), what, "Check in the overlays that its mask lies on it.")
