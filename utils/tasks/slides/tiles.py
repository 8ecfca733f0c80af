"""The tiles of a slide: where they lie, which are done, and the class map that they make together.

Tiles never overlap here: what the network sees around a tile is read with it and thrown away after. So the class of a
pixel does not depend on the tiles, but for the rounding of sums.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile

from utils.errors import DataError
from utils.files import atomic

NOT_TISSUE = 255  # in class maps: glass, pen, folds, blur, and beside the slide
SEEN_WHOLE = 1024  # pixels of the longer side of the smallest copy of a map


@dataclass(frozen=True)
class Grid:
    """Tiles that cover an area without overlap.

    Attributes
    ----------
    shape
        Height and width of the area, in pixels of the map.
    side
        Of a tile, in the same pixels, a multiple of 16 (TIFF); tiles at the right and lower edge reach beyond the area.
    """

    shape: tuple[int, int]
    side: int

    @property
    def size(self) -> tuple[int, int]:
        """Number of tiles down and across."""
        return tuple(-(-length // self.side) for length in self.shape)

    def __len__(self) -> int:
        rows, columns = self.size
        return rows * columns

    def corner(self, number: int) -> tuple[int, int]:
        """Upper left pixel (y, x) of a tile; they are numbered row by row, from 0."""
        row, column = divmod(number, self.size[1])
        return row * self.side, column * self.side


class TileStore:
    """Class maps of the tiles of one slide in a file, written as they are done; a crash loses none of them.

    Parameters
    ----------
    folder
        Gets ``tiles.bin``, the tiles one after the other, and ``done.npy``.
    grid
        Of the slide; a folder that was begun with another is refused.
    n_counts
        How many numbers are kept of each tile.
    """

    def __init__(self, folder: Path, grid: Grid, n_counts: int):
        self.grid, self._tiles, self._done = grid, folder / "tiles.bin", folder / "done.npy"
        folder.mkdir(parents=True, exist_ok=True)
        if not self._done.exists():
            self._tiles.touch()
            with atomic(self._done) as temporary:
                np.save(temporary, np.full((len(grid), n_counts), np.nan))
        self._counts = np.lib.format.open_memmap(self._done, mode="r+")
        if self._counts.shape != (len(grid), n_counts):
            raise DataError(
                f"{folder} holds the beginnings of another prediction. Remove this folder, then run the cell again."
            )

    @property
    def counts(self) -> np.ndarray:
        """Numbers of each tile (n_tiles, n_counts); NaN where it is not done."""
        return np.array(self._counts)

    def open_tiles(self, wanted: Sequence[int]) -> list[int]:
        """Those of the tiles wanted that are not done."""
        return [number for number in wanted if np.isnan(self._counts[number]).any()]

    def put(self, number: int, ids: np.ndarray, counts: Sequence[float]) -> None:
        """Keep a tile (side, side), uint8, and its numbers; it is done only when all of it is written."""
        try:
            with self._tiles.open("r+b") as file:
                file.seek(number * self.grid.side**2)
                file.write(np.ascontiguousarray(ids, np.uint8).tobytes())
        except OSError as error:
            raise DataError(
                f"{self._tiles} could not be written ({error.strerror or error}). Free some space, then run the cell "
                "again: what is done is kept."
            ) from error
        self._counts[number] = counts
        self._counts.flush()

    def tile(self, number: int) -> np.ndarray:
        """Class map (side, side), uint8, of a tile; `NOT_TISSUE` where it was not computed."""
        side = self.grid.side
        if np.isnan(self._counts[number]).any():
            return np.full((side, side), NOT_TISSUE, np.uint8)
        with self._tiles.open("rb") as file:
            file.seek(number * side**2)
            return np.frombuffer(file.read(side**2), np.uint8).reshape(side, side)

    def map(self, downsample: int = 1) -> np.ndarray:
        """Class map (Y, X), uint8, made smaller: every `downsample`-th pixel down and across."""
        return self.lines(0, self.grid.shape[0], downsample)

    def lines(self, first: int, last: int, downsample: int = 1) -> np.ndarray:
        """Lines of `map` from the first to before the last, as far as there are any."""
        side, height = self.grid.side // downsample, -(-self.grid.shape[0] // downsample)
        rows = range(first // side, -(-min(last, height) // side))
        top = rows.start * side
        return np.concatenate([self._row(row, downsample) for row in rows])[first - top : min(last, height) - top]

    def _row(self, row: int, downsample: int) -> np.ndarray:
        """A row of tiles, made smaller, as wide as the map."""
        columns, width = self.grid.size[1], -(-self.grid.shape[1] // downsample)
        return np.hstack([self.small(row * columns + i, downsample) for i in range(columns)])[:, :width]

    def small(self, number: int, downsample: int) -> np.ndarray:
        """Every `downsample`-th pixel, down and across, of a tile; `downsample` divides its side."""
        return self.tile(number)[::downsample, ::downsample]


def write_class_map(
    path: Path, store: TileStore, um_per_pixel: float, colours: np.ndarray, names: Sequence[str]
) -> None:
    """Write the class map of a slide as pyramidal OME-TIFF, whole or not at all; memory does not grow with the slide.

    Parameters
    ----------
    um_per_pixel
        Of the map.
    colours
        Colour table (3, 256), uint16; the values are stored unchanged.
    names
        Of the classes, by their ids, told in the file.
    """
    form = {"photometric": "palette", "colormap": colours, "compression": "zlib", "resolutionunit": "CENTIMETER"}
    told = "; ".join([*(f"{i}: {name}" for i, name in enumerate(names)), f"{NOT_TISSUE}: not measured"])
    size = {"PhysicalSizeX": um_per_pixel, "PhysicalSizeY": um_per_pixel}  # in um, as OME has it
    metadata = {"axes": "YX", "Description": told, **size}
    steps = _steps(store.grid)
    with atomic(path) as temporary, tifffile.TiffWriter(temporary, bigtiff=True, ome=True) as file:
        for step in steps:
            file.write(
                (store.small(number, step) for number in range(len(store.grid))),
                shape=tuple(-(-length // step) for length in store.grid.shape),
                dtype=np.uint8,
                tile=(store.grid.side // step,) * 2,
                resolution=(1e4 / um_per_pixel / step,) * 2,
                subifds=len(steps) - 1 if step == 1 else None,
                subfiletype=0 if step == 1 else 1,
                metadata=metadata if step == 1 else None,
                **form,
            )


def _steps(grid: Grid) -> list[int]:
    """How much smaller each copy of the map is: 1, 2, 4 ..., until it can be seen whole."""
    steps = [1]
    while max(grid.shape) / steps[-1] > SEEN_WHOLE and grid.side % (32 * steps[-1]) == 0:
        steps.append(2 * steps[-1])
    return steps
