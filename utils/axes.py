"""The meaning of the dimensions of an image: which are height, width and channels."""

from pathlib import Path

import numpy as np

from utils.errors import DataError

AXES = ("automatic", "YX", "YXC", "CYX")
MOST_CHANNELS = 64  # more are a sign of axes read in the wrong order


def to_yxc(array: np.ndarray, stored: str, axes: str, path: str | Path) -> np.ndarray:
    """Bring the dimensions of a plane into one order.

    Parameters
    ----------
    array : ndarray
        As stored; dimensions of length 1 other than Y and X do not count.
    stored : str
        Letter of each dimension as the file says; "Q", "I": not known, "S": colours.
    axes : {"automatic", "YX", "YXC", "CYX"}
        "automatic": as `stored` says; where that is not known, two dimensions are YX, a last one of 3 or 4 is colour.
    path : str or Path
        For messages.

    Returns
    -------
    ndarray
        View of shape (Y, X, C).

    Raises
    ------
    DataError
        Stack, time series, unknown dimensions, or `axes` that do not go with the array.
    """
    kept = [i for i, length in enumerate(array.shape) if length > 1 or stored[i] in "YX"]
    array, stored = array.squeeze(tuple(set(range(array.ndim)) - set(kept))), "".join(stored[i] for i in kept)
    order = "YX" if array.ndim == 2 else _order(array.shape, stored, path) if axes == "automatic" else axes
    if len(order) != array.ndim:
        raise DataError(f"{path} has the dimensions {array.shape}, which do not go with {order} in the field axes.")
    array = array[..., np.newaxis] if order == "YX" else np.moveaxis(array, order.index("C"), -1)
    if array.shape[-1] > MOST_CHANNELS:
        raise DataError(f"{path} would have {array.shape[-1]} channels. Check the field axes.")
    return array


def _order(shape: tuple[int, ...], stored: str, path: str | Path) -> str:
    """Order "YX", "YXC" or "CYX" from the letters of the file; DataError where they are no plane or not known."""
    known = stored.replace("S", "C")
    if known in ("YX", "YXC", "CYX"):
        return known
    if len(shape) == 3 and shape[-1] in (3, 4) and set(known) & set("QI"):
        return "YXC"
    remedy = (
        "If the first are channels, write CYX in the field axes; if the last are, write YXC; "
        "otherwise save each plane as a file of its own."
    )
    if set(known) & set("TZ"):
        what = f"{path} is a 3D stack or a time series with the dimensions {shape} ({stored}); one plane is needed."
    else:
        what = f"{path} has the dimensions {shape} and does not say what they mean."
    raise DataError(f"{what} {remedy}")
