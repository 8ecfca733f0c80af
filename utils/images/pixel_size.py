"""How large a pixel is: what a file says of it, and whether that can be true of a microscope."""

import re
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np
import tifffile

# Micrometres per unit, for the spellings that OME-XML and ImageJ use.
MICROMETRES = {
    **dict.fromkeys(["µm", "μm", "um", "micron", "microns", "micrometer", "micrometre", "\\u00b5m"], 1.0),
    **dict.fromkeys(["nm", "nanometer", "nanometre"], 1e-3),
    **dict.fromkeys(["pm", "picometer", "picometre"], 1e-6),
    **dict.fromkeys(["å", "angstrom", "\\u00c5"], 1e-4),
    **dict.fromkeys(["mm", "millimeter", "millimetre"], 1e3),
    **dict.fromkeys(["cm", "centimeter", "centimetre"], 1e4),
    **dict.fromkeys(["m", "meter", "metre"], 1e6),
    **dict.fromkeys(["in", "inch", "inches", '"'], 2.54e4),
}
SMALLEST_UM, LARGEST_UM = 0.005, 20.0  # of a microscope; what lies outside is a printing resolution or a slip
# Dots per inch of printers and scanners that would pass for a microscope's pixels (72 to 1200 are above 20 um).
PRINTING_DPI = (1440, 2400, 2880, 3600, 4800, 5760, 7200, 9600)
ROUNDING = 2e-4  # relative; resolutions are stored rounded
SQUARE = 0.01  # relative difference of width and height that is none
REMEDY = (
    "Sizes and areas of these images are given in pixels; if you know how large a pixel is, write it into the field "
    "pixel_size."
)


class PixelSize(NamedTuple):
    """Width of a pixel in micrometres, None where unknown; `refused`: why what the file says does not count."""

    um: float | None
    refused: str = ""


def pixel_size(tif: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> PixelSize:
    """Pixel size from OME-XML, else ImageJ metadata, else the resolution tags; one rule for all, see `credible`."""
    page = series.keyframe
    told = _of_ome(tif.ome_metadata) if tif.ome_metadata else (None, None)
    if all(told):
        return credible(*told)
    if tif.is_imagej:
        unit = MICROMETRES.get(str((tif.imagej_metadata or {}).get("unit", "")).strip().lower())
    else:
        unit = {tifffile.RESUNIT.CENTIMETER: 1e4, tifffile.RESUNIT.INCH: 2.54e4}.get(page.resolutionunit)
    return credible(*(_per_pixel(page, axis, unit) for axis in "XY")) if unit else PixelSize(None)


def credible(x: float | None, y: float | None) -> PixelSize:
    """Width and height of a pixel in micrometres, as told by a file, if they can be those of a microscope.

    They must be equal (within 1 %), 0.005 to 20 um, and no resolution of printers or scanners (300 dpi = 84.67 um).
    """
    if not x or not y or min(x, y) <= 0 or not np.isfinite([x, y]).all():
        return PixelSize(None)
    told = f"the file says {x:.4g} um per pixel"
    if abs(x - y) > SQUARE * x:
        return PixelSize(None, f"the file says {x:.4g} x {y:.4g} um per pixel, but pixels must be square")
    dpi = 2.54e4 / x
    if any(abs(dpi - one) <= ROUNDING * one for one in PRINTING_DPI):
        return PixelSize(None, f"{told}, which is a resolution for printing ({dpi:.0f} dpi)")
    if SMALLEST_UM * (1 - SQUARE) <= x <= LARGEST_UM:
        return PixelSize(float(x))
    if x > LARGEST_UM and abs(dpi - round(dpi)) <= ROUNDING * dpi:
        return PixelSize(None, f"{told}, which is a resolution for printing ({dpi:.0f} dpi)")
    return PixelSize(None, f"{told}, which no microscope has ({SMALLEST_UM:g} to {LARGEST_UM:g} um)")


def _of_ome(xml: str) -> tuple[float | None, float | None]:
    """Width and height from the first <Pixels> of OME-XML; the unit is micrometre where none is named."""
    try:
        pixels = ElementTree.fromstring(re.sub(r'\sxmlns="[^"]+"', "", xml, count=1)).find(".//Pixels")
        return tuple(
            float(pixels.attrib[f"PhysicalSize{axis}"])
            * MICROMETRES[pixels.attrib.get(f"PhysicalSize{axis}Unit", "µm").lower()]
            for axis in ("XY" if "PhysicalSizeY" in pixels.attrib else "XX")
        )
    except (ElementTree.ParseError, AttributeError, KeyError, ValueError):
        return None, None


def _per_pixel(page: tifffile.TiffPage, axis: str, unit_um: float) -> float | None:
    """Micrometres per pixel from the resolution tag (pixels per unit, a fraction) of `axis`."""
    tag = page.tags.get(f"{axis}Resolution")
    if tag is None or not tag.value[0]:
        return None
    pixels, units = tag.value
    return unit_um * units / pixels
