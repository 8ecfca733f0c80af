"""The meaning of the dimensions of an image: which are height, width, channels, time and depth."""

from pathlib import Path

import numpy as np

from utils.errors import DataError

AXES = ("automatic", "YX", "YXC", "CYX")  # of a plane
STACK_AXES = (*AXES, "TYX", "ZYX", "TYXC", "TCYX", "ZYXC", "ZCYX", "CZYX", "TZYX", "TZYXC", "TZCYX")
MOST_CHANNELS = 64  # more are a sign of axes read in the wrong order


def to_yxc(array: np.ndarray, stored: str, axes: str, path: str | Path) -> np.ndarray:
    """View (Y, X, C) of a plane as stored; dimensions of length 1 other than Y and X do not count.

    `stored` has a letter for each dimension as the file says; "Q", "I": not known, "S": colours. `axes`, one of `AXES`,
    is what the user says; "automatic": as `stored` says; where that is not known, two dimensions are YX, a last one of
    3 or 4 is colour. DataError: stack, time series, unknown dimensions, or `axes` that do not go with the array.
    """
    return plane_to_yxc(array, dimension_letters(array.shape, stored, axes, path), path)


def mask_to_yxc(array: np.ndarray, stored: str, path: str | Path) -> np.ndarray:
    """`to_yxc` of a mask, which no order of axes makes a plane if it is none; DataError where it is none."""
    try:
        return to_yxc(array, stored, "automatic", path)
    except DataError as error:
        raise DataError(
            f"{path} has the dimensions {array.shape}, but a mask is one plane of height x width. Save the plane "
            "that belongs to the image as a file of its own (in Fiji: Image > Stacks > Stack to Images)."
        ) from error


def plane_to_yxc(array: np.ndarray, letters: str, path: str | Path) -> np.ndarray:
    """View (Y, X, C) of a plane whose dimensions have the `letters` "Y", "X", at most one "C", and "1" (dropped)."""
    array = array.squeeze(tuple(i for i, letter in enumerate(letters) if letter == "1"))
    order = letters.replace("1", "")
    array = array[..., np.newaxis] if order == "YX" else np.moveaxis(array, order.index("C"), -1)
    if array.shape[-1] > MOST_CHANNELS:
        raise DataError(
            f"{path} would have {array.shape[-1]} channels, more than {MOST_CHANNELS}. Choose the order of its "
            "dimensions in the field axes, in which C stands for the channels."
        )
    return array


def dimension_letters(shape: tuple[int, ...], stored: str, axes: str, path: str | Path, stacks: bool = False) -> str:
    """Meaning of each dimension: T (time), Z (depth), C, Y or X, or "1" where it has the length 1 and does not count.

    `shape` and `stored` are length and letter of each as the file says, see `to_yxc`; `axes` is one of `STACK_AXES`.
    DataError: unknown dimensions, `axes` that do not go with the shape, or a stack without `stacks`.
    """
    kept = [i for i, length in enumerate(shape) if length > 1 or stored[i] in "YX"]
    lengths, known = tuple(shape[i] for i in kept), "".join(stored[i] for i in kept)
    order = "YX" if len(kept) == 2 else axes if axes != "automatic" else _order(lengths, known)
    if not order or (set(order) & set("TZ") and not stacks):
        raise _question(lengths, known, path, stacks)
    if len(order) != len(kept) or ("S" in known and order[known.index("S")] != "C"):
        raise DataError(
            f"{path} has the dimensions {lengths}, which do not go with {order} in the field axes. Choose another "
            "order there, or automatic; an image of another kind among the others belongs into a folder of its own."
        )
    letters = dict(zip(kept, order, strict=True))
    return "".join(letters.get(i, "1") for i in range(len(shape)))


def _order(shape: tuple[int, ...], stored: str) -> str:
    """Letters of the file where they say all, "YXC" for a last axis of 3 or 4, "" where they are not known."""
    known = stored.replace("S", "C")
    if "YX" in known and set(known) <= set("TZCYX") and len(set(known)) == len(known):
        return known
    return "YXC" if len(shape) == 3 and shape[-1] in (3, 4) and set(known) & set("QI") else ""


def _question(shape: tuple[int, ...], stored: str, path: str | Path, stacks: bool) -> DataError:
    """Error that asks what the dimensions of a file mean, or for single planes; only answers that can be right."""
    if set(stored) & set("TZ"):
        what = f"{path} is a 3D stack or a time series with the dimensions {shape} ({stored}); one plane is needed."
    else:
        what = f"{path} has the dimensions {shape} and does not say what they mean."
    answers = []
    if len(shape) == 3:
        answers += ["if the first are channels, write CYX in the field axes"] * (shape[0] <= MOST_CHANNELS)
        answers += ["if the last are channels, write YXC in the field axes"] * (shape[-1] <= MOST_CHANNELS)
        answers += ["if they are frames or slices, write TYX or ZYX in the field axes"] * stacks
    elif stacks and len(shape) <= max(map(len, STACK_AXES)):
        fitting = [axes for axes in STACK_AXES if len(axes) == len(shape)]
        answers.append(f"choose their order in the field axes ({', '.join(fitting)})")
    separate = "save each plane as a file of its own"
    asked = "; ".join([*answers, f"otherwise {separate}" if answers else f"{separate} (in Fiji: Stack to Images)"])
    return DataError(f"{what} {asked[0].upper()}{asked[1:]}.")
