"""A package of others as a function: an image as it was read -> the package's channels, tile by tile where it can be.

What is done to the image before, and to the channels after, is done by `bioimageio.core` as the package says.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from utils import runtime
from utils.errors import ModelError
from utils.exchange.packages import check, description_file, local_file
from utils.exchange.weights import choose_weights, load_weights
from utils.patching.patches import predict_in_tiles

NEEDED = {"bioimageio": "bioimageio.core", "onnx": "onnx", "onnxruntime": "onnxruntime"}  # module -> package
TILE = 512  # pixels of the input that a tile may have, unless the package needs more
WHOLE = 1024  # pixels up to which an image whose size fits is given to the network in one piece
OVERLAP = 32  # pixels over which neighbouring tiles are blended, beside the halo that is dropped
PLACES = {"y": 0, "x": 1, "channel": 2}
MICROMETRES = {"micrometer": 1.0, "nanometer": 1e-3, "millimeter": 1e3}


@dataclass(frozen=True)
class Side:
    """Sizes in pixels that a side of the input may have: `least`, and more by steps; a `step` of 0: that size only."""

    least: int
    step: int

    def fits(self, pixels: int) -> bool:
        """Whether a side may have so many pixels."""
        return pixels == self.least or (self.step > 0 and pixels > self.least and self.next(pixels) == pixels)

    def next(self, pixels: int) -> int:
        """The smallest size that holds so many pixels; `least` where there is no larger one."""
        if not self.step or pixels <= self.least:
            return self.least
        return self.least + -(-(pixels - self.least) // self.step) * self.step


class PackageModel:
    """A package that was checked, with weights that run here.

    Parameters
    ----------
    folder
        Of `utils.exchange.packages.unpack`.
    described
        What `utils.exchange.packages.check` returned for it; None: it is checked now.

    Attributes
    ----------
    described, about
        The description as written, and as bioimageio.core understands it.
    format
        Of the weights that are run.
    channels
        Names of the input's channels.
    names
        Of the channels that come out.
    are_masks
        Which of them are only made of others by a threshold.

    Raises
    ------
    ModelError
        The package is not safe, or is not for one 2-D image at a time.
    """

    def __init__(self, folder: Path, described: Mapping | None = None):
        self.folder, self.described = folder, check(folder) if described is None else described
        runtime.ensure(NEEDED)
        self.format, weights = choose_weights(folder, self.described)
        self.about = _read(folder)
        self._check_tensors()
        self._input, self._outputs = self.about.inputs[0], self.about.outputs
        self._pre, self._post = _steps(folder, self.about)
        self._sides = [_side(folder, _axis(self._input, letter)) for letter in "yx"]
        self._margin, self._shrinks = self._borders()
        fixed = not all(side.step for side in self._sides)  # larger images would be refused
        self._may_be_tiled = fixed or _may_be_tiled(self.described)
        self.channels, self.names = _names(self._input), [name for one in self._outputs for name in _names(one)]
        made = [any(step.id == "binarize" for step in one.postprocessing) for one in self._outputs]
        self.are_masks = [
            mask and not all(made) for one, mask in zip(self._outputs, made, strict=True) for _ in _names(one)
        ]
        self._counts = [_channels_before(one) for one in self._outputs]
        self._run = load_weights(self.format, weights, [str(one.id) for one in self._outputs])

    @property
    def pixel_size_um(self) -> float | None:
        """Width of a pixel that the package was made for, None where it does not say."""
        axis = _axis(self._input, "x")
        return float(axis.scale) * MICROMETRES[axis.unit] if axis.unit in MICROMETRES else None

    def step(self, name: str) -> Mapping | None:
        """Arguments of a step of the work on results, by its name; None where the package has none."""
        steps = [one for output in self._outputs for one in output.postprocessing]
        return next((one.kwargs.model_dump() for one in steps if one.id == name), None)

    def predict(self, array: np.ndarray, without: Sequence[str] = ()) -> np.ndarray:
        """Channels (Y, X, C) of an image (Y, X, C) as read, any dtype and size, may be memory-mapped.

        Steps of the work on results that are named in `without`, as bioimageio.core calls them, are left out.
        """
        prepared, stat = self._prepare(np.asarray(array))
        height, width = prepared.shape[:2]
        if self._whole(height, width):
            raw = self._network(prepared)
        else:
            raw = np.concatenate([block for _, block in self._tiles(prepared)])
        return self._finish(raw, stat, without)

    def difference_on_own_test(self) -> float | None:
        """How far the test image that comes with the package is from the answer that its authors give for it.

        The largest difference, as a share of the largest value where that is above 1, infinite where the image cannot
        be predicted on; None where either is not there. ModelError where it is no plain array.
        """
        pairs = [(one, self._test_array(one)) for one in (self._input, *self._outputs)]
        if any(array is None for _, array in pairs):
            return None
        try:
            given, *wanted = (_plane(array, _axes(one)) for one, array in pairs)
            prepared, stat = self._prepare(given)
            found, expected = self._finish(self._network(prepared), stat), np.concatenate(wanted, axis=-1)
            return float(np.abs(found - expected.astype(np.float64)).max() / max(1, np.abs(expected).max()))
        except Exception:  # a size that does not fit, or an error of the library that runs the weights
            return float("inf")

    def _test_array(self, tensor: Any) -> np.ndarray | None:
        source = getattr(tensor.test_tensor, "source", None)
        path = None if source is None else local_file(self.folder, _relative(source, self.folder))
        if path is None or not path.is_file() or path.suffix != ".npy":
            return None
        try:
            return np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise ModelError(f"{path} is no plain array of numbers, so it was not read. Download it again.") from error

    def _check_tensors(self) -> None:
        given = self.about.inputs
        if len(given) > 1:
            names = ", ".join(str(one.id) for one in given)
            raise ModelError(
                f"The package {self.folder} needs {len(given)} inputs for each image ({names}); here there is the "
                "image alone. Choose another package."
            )
        for one in (*given, *self.about.outputs):
            axes = _axes(one)
            if not {"y", "x"} <= set(axes):
                raise ModelError(
                    f"The package {self.folder} has the tensor {one.id} with the axes {', '.join(axes)}, which is no "
                    "image. Choose a package that segments images."
                )
            if more := set(axes) - {"batch", *PLACES}:
                raise ModelError(
                    f"The package {self.folder} works on stacks (axes {', '.join(axes)}): {', '.join(sorted(more))} is "
                    "more than an image of this notebook has. Choose a package for 2-D images."
                )

    def _borders(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Pixels along Y and X that do not count at each border of a tile, and by how many the output is smaller."""
        margin, shrinks = [], []
        for letter, side in zip("yx", self._sides, strict=True):
            axes = [_axis(one, letter) for one in self._outputs]
            smaller = {-self._offset(axis) for axis in axes}
            if len(smaller) > 1 or (less := smaller.pop()) < 0 or less % 2:
                raise ModelError(f"The package {self.folder} gives images of a size that does not fit its input.")
            wide = max(int(getattr(axis, "halo", 0) or 0) for axis in axes) + less // 2
            margin.append(-(-wide // side.step) * side.step if side.step else wide)
            shrinks.append(less)
        if any(not side.step and side.least <= 2 * wide for side, wide in zip(self._sides, margin, strict=True)):
            raise ModelError(f"The package {self.folder} has a halo as wide as its input: nothing is left of a tile.")
        return tuple(margin), tuple(shrinks)

    def _offset(self, axis: Any) -> int:
        """By how many pixels an axis of an output is longer than that of the input."""
        size = axis.size
        if isinstance(size, int):
            side = self._sides["yx".index(str(axis.id))]
            return size - side.least
        if not hasattr(size, "tensor_id") or axis.scale != _axis(self._input, str(axis.id)).scale:
            raise ModelError(
                f"The package {self.folder} gives images of another resolution than those that it is given, which "
                "cannot be laid over them. Choose another package."
            )
        return int(size.offset)

    def _whole(self, height: int, width: int) -> bool:
        sizes = zip(self._sides, (height, width), strict=True)
        return not any(self._shrinks) and all(
            side.fits(size) and (size <= WHOLE or not side.step or not self._may_be_tiled) for side, size in sizes
        )

    def _tiles(self, prepared: np.ndarray) -> Any:
        """Bands of channels of a prepared image that does not fit the network in one piece."""
        multiple = int(np.lcm.reduce([max(1, side.step) for side in self._sides]))
        least = [
            TILE if self._may_be_tiled else max(TILE, length + 2 * wide)
            for length, wide in zip(prepared.shape, self._margin, strict=False)
        ]
        lengths = [
            side.next(max(size, 4 * wide)) - 2 * wide
            for side, size, wide in zip(self._sides, least, self._margin, strict=True)
        ]
        longest = min(lengths) if self._may_be_tiled else max(lengths)
        tile = max(multiple, longest // multiple * multiple)
        overlap = min(-(-OVERLAP // multiple) * multiple, tile // 2 // multiple * multiple)

        def predict(rows: slice, columns: slice) -> np.ndarray:
            window = _window(prepared, (rows, columns), self._margin, self._sides)
            found = self._network(window)
            y, x = (wide - less // 2 for wide, less in zip(self._margin, self._shrinks, strict=True))
            return found[y : y + rows.stop - rows.start, x : x + columns.stop - columns.start]

        return predict_in_tiles(prepared.shape[:2], predict, tile, overlap, multiple)

    def _prepare(self, array: np.ndarray) -> tuple[np.ndarray, dict]:
        """An image as the network wants it, and the statistics that the work on results may ask for."""
        from bioimageio.core import Sample

        sample = Sample(members={self._input.id: self._tensor(array, self._input)}, stat={}, id="image")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for one in self._pre:
                one(sample)
        return _of_tensor(sample.members[self._input.id]), sample.stat

    def _network(self, array: np.ndarray) -> np.ndarray:
        """All channels (Y, X, C) of a prepared piece."""
        found = self._run(_ordered(array, _axes(self._input)))
        if len(found) < len(self._outputs):
            raise ModelError(f"The weights of the package {self.folder} give fewer outputs than it describes.")
        pieces = [_plane(one, _axes(output)) for one, output in zip(found, self._outputs, strict=False)]
        if [one.shape[-1] for one in pieces] != self._counts:
            raise ModelError(f"The weights of the package {self.folder} give other channels than it describes.")
        return np.concatenate([one.astype(np.float32, copy=False) for one in pieces], axis=-1)

    def _finish(self, raw: np.ndarray, stat: dict, without: Sequence[str] = ()) -> np.ndarray:
        """Channels after the work on results."""
        from bioimageio.core import Sample

        parts = np.split(raw, np.cumsum(self._counts)[:-1], axis=-1)
        members = {one.id: self._tensor(part, one) for one, part in zip(self._outputs, parts, strict=True)}
        sample = Sample(members=members, stat=stat, id="image")
        for one in self._post:
            if type(one).__name__ not in without:
                one(sample)
        return np.concatenate([_of_tensor(sample.members[one.id]) for one in self._outputs], axis=-1)

    def _tensor(self, array: np.ndarray, described: Any) -> Any:
        from bioimageio.core import Tensor
        from bioimageio.core.axis import AxisId

        return Tensor(_ordered(array, _axes(described)), dims=tuple(AxisId(one) for one in _axes(described)))


def _may_be_tiled(described: Mapping) -> bool:
    """Whether a package leaves it open to be run on parts of an image; deepImageJ's entry is the one that says no."""
    config = described.get("config")
    told = config.get("deepimagej") if isinstance(config, Mapping) else None
    return not (isinstance(told, Mapping) and told.get("allow_tiling") is False)


def _read(folder: Path) -> Any:
    """The description as bioimageio.core understands it, whatever its version; asks nothing of the web."""
    from bioimageio.spec import load_model_description

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return load_model_description(description_file(folder), perform_io_checks=False, format_version="latest")
    except Exception as error:  # pydantic's, and those of a description that pydantic has not foreseen
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise ModelError(
            f"The description of the package {folder} has mistakes, so that it cannot be run "
            f"({'; '.join(lines[:4])[:300]}). Download the package again, or tell its authors."
        ) from error


def _steps(folder: Path, about: Any) -> tuple[list, list]:
    """What is done before and after the network."""
    from bioimageio.core.proc_setup import get_required_dataset_measures, setup_pre_and_postprocessing

    if any(get_required_dataset_measures(about)):
        raise ModelError(
            f"The package {folder} normalises images by numbers of its authors' whole set of images, which it does not "
            "hold. Choose another package."
        )
    try:
        return setup_pre_and_postprocessing(about, dataset_for_initial_statistics=())
    except ImportError as error:
        raise ModelError(
            f"The package {folder} works on its results with the software {error.name}, which is not here. Choose "
            "another package."
        ) from error


def _axes(tensor: Any) -> list[str]:
    return [str(one.id) for one in tensor.axes]


def _axis(tensor: Any, name: str) -> Any:
    return next(one for one in tensor.axes if str(one.id) == name)


def _names(tensor: Any) -> list[str]:
    """Names of the channels of a tensor; its own where it has no such axis."""
    if "channel" not in _axes(tensor):
        return [str(tensor.id)]
    return [str(one) for one in _axis(tensor, "channel").channel_names]


def _channels_before(output: Any) -> int:
    """Number of channels of an output as the network gives it; steps that make labels of them make them one."""
    for step in output.postprocessing:
        if step.id == "stardist_postprocessing":
            return step.kwargs.n_rays + 1
        if step.id == "cellpose_flow_dynamics":
            return 3
    return len(_names(output))


def _side(folder: Path, axis: Any) -> Side:
    size = axis.size
    if isinstance(size, int):
        return Side(size, 0)
    if hasattr(size, "min") and hasattr(size, "step"):
        return Side(int(size.min), int(size.step))
    raise ModelError(f"The package {folder} does not say which sizes its images may have along {axis.id}.")


def _relative(source: Any, folder: Path) -> str:
    """Name of a file below the folder of its package."""
    text = str(getattr(source, "path", source))
    return str(Path(text).relative_to(folder)) if Path(text).is_absolute() else text


def _ordered(array: np.ndarray, axes: Sequence[str]) -> np.ndarray:
    """Array (Y, X, C) in the order of the axes of a tensor; without "channel" it has one, which is dropped."""
    array = array if "channel" in axes else array[..., 0]
    array = array.transpose([PLACES[one] for one in axes if one in PLACES])
    return np.expand_dims(array, axes.index("batch")) if "batch" in axes else array


def _plane(array: np.ndarray, axes: Sequence[str]) -> np.ndarray:
    """Array (Y, X, C) of one whose axes are in the order of a tensor."""
    if array.ndim != len(axes):
        raise ModelError(f"The network gives an array of {array.ndim} axes where {', '.join(axes)} are described.")
    if "batch" in axes:
        array = np.take(array, 0, axes.index("batch"))
    rest = [one for one in axes if one in PLACES]
    array = array.transpose([rest.index(one) for one in PLACES if one in rest])
    return array if "channel" in rest else array[..., np.newaxis]


def _of_tensor(tensor: Any) -> np.ndarray:
    return _plane(np.asarray(tensor.data), [str(one) for one in tensor.dims])


def _window(array: np.ndarray, place: Sequence[slice], margin: Sequence[int], sides: Sequence[Side]) -> np.ndarray:
    """A tile with `margin` pixels around it, as large as the network needs it; mirrored beyond the image's border."""
    cut, padding = [], []
    for span, wide, side, length in zip(place, margin, sides, array.shape, strict=False):
        first, last = span.start - wide, span.stop + wide
        last = first + side.next(last - first)
        cut.append(slice(max(0, first), min(length, last)))
        padding.append((max(0, -first), max(0, last - length)))
    return np.pad(array[tuple(cut)], [*padding, (0, 0)], mode="symmetric")
