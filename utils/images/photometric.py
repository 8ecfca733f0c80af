"""What the stored numbers of a picture mean: brightness, colours, or the values of a mask.

    stored as            image                                mask
    black is 0           the numbers                          the numbers
    white is 0           the numbers, as in Fiji; a remark    as shown: white is foreground; refused with more values
    red, green, blue     the numbers                          one number if all three are equal, else refused
    colour table         TIFF: the numbers if the table       the numbers; black and white if it shows these the other
                         rises in brightness, else refused;   way round; refused if black is not 0, or greys fall
                         PNG: red, green, blue
    CMYK, YCbCr          red, green, blue (8 bits)            refused
    CIELab, camera raw   refused                              refused
    transparency         left out                             left out; refused where it hides something

Numbers of 1 to 16 bits are what they are; a PNG of 1, 2 or 4 bits is spread over 0 to 255, as all programs show it.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import PIL.Image
import tifffile

from utils.errors import DataError

PHOTOMETRIC = tifffile.PHOTOMETRIC
GREY = (PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.MINISWHITE)
COLOURS = {PHOTOMETRIC.SEPARATED: "CMYK", PHOTOMETRIC.YCBCR: "YCbCr"}  # what Pillow calls what it can turn into RGB
SAMPLES = {"CMYK": 4, "YCbCr": 3}
JPEG = (6, 7, 34892, 33007)  # compressions whose decoder gives red, green and blue
APERIO = 33003  # JPEG 2000 that holds YCbCr and says RGB
ALPHA = (tifffile.EXTRASAMPLE.ASSOCALPHA, tifffile.EXTRASAMPLE.UNASSALPHA)
CMYK_INKS = 1  # of the tag InkSet
FULL_RANGE = (0, 255, 128, 255, 128, 255)  # of the tag ReferenceBlackWhite: black and white of Y, Cb, Cr
COEFFICIENTS = (0.299, 0.587, 0.114)  # of the tag YCbCrCoefficients
SAVE_RGB = "Save it with red, green and blue in the program it comes from, or in Fiji (Image > Type > RGB Color)."
SAVE_MASK = (
    "Export it with one channel in which each class or object has a value of its own (0 = background, 1, 2, ...)."
)
SAVE_GREY = "In Fiji choose Image > Lookup Tables > Grays, check that the background is 0 (black), and save it again."
WHITE_IS_ZERO = (
    "stored with white as 0; the numbers are used as they are, as in Fiji",
    "Check in the pictures that dark and bright are right.",
)
TURNED = ("to be shown turned, which is done neither here nor in Fiji", "Check that its mask lies on it.")


def check_image(page: tifffile.TiffPage, path: Path) -> None:
    """Refuse a TIFF whose numbers are neither brightness nor colours that can be told."""
    if page.photometric == PHOTOMETRIC.PALETTE:
        _check_brightness_scale(page.colormap, path)
        return
    if page.photometric in (*GREY, PHOTOMETRIC.RGB) and page.compression != APERIO:
        return
    if page.photometric not in COLOURS or not _can_be_turned(page) or page.compression == APERIO:
        raise DataError(f"{path} is stored in {_name(page)}, which are not red, green and blue. {SAVE_RGB}")


def check_mask(page: tifffile.TiffPage, path: Path) -> None:
    """Refuse a TIFF whose numbers are no values of a mask, whatever they are."""
    if page.photometric not in (*GREY, PHOTOMETRIC.RGB, PHOTOMETRIC.PALETTE, PHOTOMETRIC.MASK):
        raise DataError(f"{path} is a colour picture ({_name(page)}), not a mask. {SAVE_MASK}")
    if page.compression in JPEG:
        raise DataError(f"{path} is compressed as JPEG, which smears the values of a mask. Save it without.")


def remarks(page: tifffile.TiffPage) -> list[tuple[str, str]]:
    """What is to be said of a TIFF image that is read (what, remedy)."""
    orientation = page.tags.get("Orientation")
    turned = orientation is not None and orientation.value not in (0, 1)
    return [WHITE_IS_ZERO] * (page.photometric == PHOTOMETRIC.MINISWHITE) + [TURNED] * turned


def _name(page: tifffile.TiffPage) -> str:
    """Kind of colours, for a message."""
    if page.compression == APERIO:
        return "YCbCr colours (JPEG 2000)"
    names = {
        PHOTOMETRIC.SEPARATED: "CMYK colours",
        PHOTOMETRIC.YCBCR: "YCbCr colours",
        PHOTOMETRIC.CIELAB: "CIELab colours",
        PHOTOMETRIC.ICCLAB: "CIELab colours",
        PHOTOMETRIC.ITULAB: "CIELab colours",
        PHOTOMETRIC.MASK: "values of transparency",
    }
    return names.get(page.photometric, "raw values of a camera or another kind of numbers")


def _can_be_turned(page: tifffile.TiffPage) -> bool:
    """Whether CMYK or YCbCr are stored so that `to_rgb` gives what other programs show."""
    plain = page.bitspersample == 8 and page.dtype == np.uint8
    if page.photometric == PHOTOMETRIC.SEPARATED:
        ink = page.tags.get("InkSet")
        return plain and (ink is None or ink.value == CMYK_INKS) and _colours(page) == SAMPLES["CMYK"]
    if page.compression in JPEG:
        return not page.extrasamples and page.planarconfig == tifffile.PLANARCONFIG.CONTIG
    range_, coefficients = page.tags.get("ReferenceBlackWhite"), page.tags.get("YCbCrCoefficients")
    usual = (range_ is None or _fractions(range_.value, 6) == FULL_RANGE) and (
        coefficients is None or np.allclose(_fractions(coefficients.value, 3), COEFFICIENTS, atol=1e-3)
    )
    subsampling = page.tags.get("YCbCrSubSampling")
    whole = subsampling is not None and tuple(subsampling.value) == (1, 1)  # without the tag it is (2, 2)
    return plain and usual and whole and _colours(page) == SAMPLES["YCbCr"]


def _colours(page: tifffile.TiffPage) -> int:
    return page.samplesperpixel - len(page.extrasamples)


def _fractions(value: Sequence[int], n: int) -> tuple[float, ...]:
    """Numbers of a tag that holds them as pairs or as they are."""
    flat = [float(one) for one in value]
    return tuple(a / b for a, b in zip(flat[::2], flat[1::2], strict=True)) if len(flat) == 2 * n else tuple(flat)


def split_alpha(array: np.ndarray, series: tifffile.TiffPageSeries) -> tuple[np.ndarray, np.ndarray | None]:
    """View of an array with the dimensions of the series without its transparency, and that, None where it has none."""
    extra, axes = series.keyframe.extrasamples, series.axes
    if not extra or "S" not in axes or not set(extra) & set(ALPHA):
        return array, None
    axis = axes.index("S") - len(axes)
    first = array.shape[axis] - len(extra)
    colours, more = np.split(array, [first], axis=axis)
    alpha = [i for i, one in enumerate(extra) if one in ALPHA]
    return colours, np.take(more, alpha[0], axis=axis)


def to_rgb(array: np.ndarray, series: tifffile.TiffPageSeries) -> np.ndarray:
    """Red, green and blue of CMYK or YCbCr that were not turned into them by the decoder; others as they are."""
    page = series.keyframe
    if page.photometric not in COLOURS or (page.photometric == PHOTOMETRIC.YCBCR and page.compression in JPEG):
        return array
    axis = series.axes.index("S") - len(series.axes)
    last = np.moveaxis(array, axis, -1)
    flat = np.ascontiguousarray(last).reshape(-1, last.shape[-2], last.shape[-1])
    picture = PIL.Image.frombytes(COLOURS[page.photometric], flat.shape[1::-1], flat.tobytes()).convert("RGB")
    return np.moveaxis(np.asarray(picture).reshape(*last.shape[:-1], 3), -1, axis)


def _check_brightness_scale(colormap: np.ndarray, path: Path) -> None:
    """Refuse a colour table (3, n) in which a higher index is not at least as bright in red, green and blue."""
    if (np.diff(colormap.astype(np.int64), axis=1) < 0).any():
        raise DataError(
            f"{path} is stored with a table of colours, so that its numbers are no intensities. In Fiji choose "
            "Image > Lookup Tables > Grays (fluorescence) or Image > Type > RGB Color (colours) and save it again."
        )


def check_hidden(values: np.ndarray, alpha: np.ndarray | None, opaque: int, path: Path) -> None:
    """Refuse a mask whose transparency (Y, X) hides something that `values` (Y, X) or (Y, X, C) mark."""
    if alpha is None or (alpha == opaque).all():
        return
    marked = values.any(axis=-1) if values.ndim > alpha.ndim else values != 0
    if (marked & (alpha != opaque)).any():
        raise DataError(
            f"{path} has transparent pixels that are not 0, so that it cannot be told what it marks. Save it without "
            "transparency (in Fiji: Image > Type > 8-bit)."
        )


def white_is_zero(mask: np.ndarray, bits: int, path: Path) -> np.ndarray:
    """Mask (Y, X) as it is shown where 0 is stored for white: foreground is white.

    DataError for other values than black and white, which Fiji and other programs read in opposite ways.
    """
    white = 2**bits - 1
    if mask.dtype.kind not in "bu" or not ((mask == 0) | (mask == white)).all():
        raise DataError(f"{path} is stored with white as 0 and holds more than black and white. {SAVE_GREY}")
    return np.where(mask, 0, white).astype(mask.dtype if mask.dtype.kind == "u" else np.uint8)


def is_grey(table: np.ndarray) -> bool:
    """Whether a colour table (n, 3) holds greys only, whichever of them are used; black at its end fills it up."""
    filled = table[: np.flatnonzero(table.any(axis=1)).max(initial=0) + 1]
    return bool((filled == filled[:, :1]).all())


def of_table(mask: np.ndarray, table: np.ndarray, white: int, path: Path) -> np.ndarray:
    """Values of a mask of indices (Y, X) from its colour table (n, 3), in which `white` is the brightest.

    The indices are the values; a table of black and white that shows them the other way round gives 0 and 255.
    DataError where background cannot be 0: black is shown for another value than 0, or greys fall.
    """
    used = np.flatnonzero(np.bincount(mask.ravel(), minlength=len(table))[: len(table)])
    shown, first = table[used], table[0]
    grey, black = is_grey(table), (shown == 0).all(axis=1)
    if not grey:
        if first.any() and (black & (used > 0)).any():
            raise DataError(f"{path} shows black, which is usually background, for a value that is not 0. {SAVE_MASK}")
        return mask
    levels = shown[:, 0].astype(np.int64)
    whole = len(used) == 1 and used[0] == 0 and levels[0] == white
    if (np.diff(levels) > 0).all() and not (black & (used > 0)).any() and not whole:
        return mask
    if not np.isin(levels, (0, white)).all():
        raise DataError(f"{path} shows higher values darker, so that its background cannot be told. {SAVE_GREY}")
    return np.where(table[mask, 0] == white, 255, 0).astype(np.uint8)
