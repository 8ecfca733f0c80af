"""Which patches fit a set of images and can be halved by the network."""

from collections.abc import Sequence

from utils.errors import DataError

LARGEST_AUTOMATIC_PATCH = 512


def check_patch(
    sizes: Sequence[tuple[int, int]],
    patch: tuple[int, int],
    multiple_of: int,
    names: Sequence[str] | None = None,
) -> None:
    """Refuse a patch that does not fit.

    Parameters
    ----------
    sizes : sequence of (int, int)
        Height and width of each image.
    patch : (int, int)
        Height and width of the patch.
    multiple_of : int
        2 ** pooling_steps.
    names : sequence of str, optional
        Name of each image, for the message.

    Raises
    ------
    DataError
        Patch larger than the smallest image, or a side that `multiple_of` does not divide.
    """
    small = [i for i, size in enumerate(sizes) if size[0] < patch[0] or size[1] < patch[1]]
    if small:
        least = min(small, key=lambda i: sizes[i][0] * sizes[i][1])
        name = f" {names[least]}" if names is not None else ""
        raise DataError(
            f"The patch of {patch[0]} x {patch[1]} pixels (height x width) is larger than {len(small)} of the images; "
            f"the smallest,{name}, has {sizes[least][0]} x {sizes[least][1]}. "
            "Choose smaller patch_height and patch_width (0 = automatic), or leave the small images out."
        )
    if not all(side > 0 and side % multiple_of == 0 for side in patch):
        raise DataError(
            f"The patch of {patch[0]} x {patch[1]} pixels cannot be halved pooling_steps times. "
            f"Choose multiples of {multiple_of} for patch_height and patch_width."
        )


def automatic_patch(sizes: Sequence[tuple[int, int]], multiple_of: int) -> tuple[int, int]:
    """Side of the largest square patch of 2**n pixels that fits the smallest image, at most 512.

    Parameters
    ----------
    sizes : sequence of (int, int)
        Height and width of each image.
    multiple_of : int
        2 ** pooling_steps.

    Returns
    -------
    (int, int)
        Height and width.

    Raises
    ------
    DataError
        Where the smallest image is smaller than `multiple_of`.
    """
    shortest = min(min(size) for size in sizes)
    side = min(LARGEST_AUTOMATIC_PATCH, 2 ** (int(shortest).bit_length() - 1))
    if side < multiple_of:
        raise DataError(
            f"The smallest image has a side of {shortest} pixels, too small to be halved pooling_steps times "
            f"(it needs {multiple_of}). Choose fewer pooling_steps, or leave the small images out."
        )
    return side, side
