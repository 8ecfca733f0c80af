"""OME-TIFF sets: one file is what that file holds, with or without its partners."""

import numpy as np
import pytest
import tifffile

from utils.errors import DataError
from utils.images.image import read_image, read_mask
from utils.images.parts import SET
from utils.images.stacks import read_planes

RNG = np.random.default_rng(0)
XML = """<?xml version="1.0" encoding="UTF-8"?>
<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"{uuid}>{images}</OME>"""
IMAGE = """<Image ID="Image:{i}" Name="s"><Pixels ID="Pixels:{i}" DimensionOrder="{order}" Type="uint16" SizeX="20"
SizeY="30" SizeC="{c}" SizeZ="{z}" SizeT="{t}" PhysicalSizeX="0.5" PhysicalSizeY="0.5">{data}</Pixels></Image>"""
DATA = """<TiffData FirstC="{c}" FirstZ="{z}" FirstT="{t}" IFD="{ifd}" PlaneCount="1">
<UUID FileName="{file}">urn:uuid:{file}</UUID></TiffData>"""


def write_set(folder, files, lengths, order="XYCZT", global_uuid=True):
    """Write one OME-TIFF for each of `files` {name: [(c, z, t), ...]}; returns the planes of each by (c, z, t)."""
    planes = {
        name: {place: RNG.integers(1, 60000, (30, 20)).astype(np.uint16) for place in its}
        for name, its in files.items()
    }
    data = "".join(
        DATA.format(c=c, z=z, t=t, ifd=ifd, file=name)
        for name, its in files.items()
        for ifd, (c, z, t) in enumerate(its)
    )
    image = IMAGE.format(i=0, order=order, data=data, **dict(zip("czt", lengths, strict=True)))
    for name in files:
        xml = XML.format(uuid=f' UUID="urn:uuid:{name}"' if global_uuid else "", images=image)
        with tifffile.TiffWriter(folder / name) as writer:
            for number, array in enumerate(planes[name].values()):
                description = xml if number == 0 else None
                writer.write(array, description=description, metadata=None, photometric="minisblack")
    return planes


@pytest.mark.parametrize("global_uuid", [True, False])
@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("axis", ["channel", "time"])
def test_each_file_of_a_set_is_its_own_image(tmp_path, axis, missing, global_uuid):
    places = [(i, 0, 0) if axis == "channel" else (0, 0, i) for i in range(3)]
    names = [f"s_{axis}{i}.ome.tif" for i in range(3)]
    lengths = (3, 1, 1) if axis == "channel" else (1, 1, 3)
    files = dict(zip(names, ([place] for place in places), strict=True))
    planes = write_set(tmp_path, files, lengths, global_uuid=global_uuid)
    if missing:
        (tmp_path / names[1]).unlink()
    for name in names:
        if not (tmp_path / name).exists():
            continue
        (expected,) = planes[name].values()
        for memory_map in (False, True):
            image = read_image(tmp_path / name, memory_map=memory_map)
            np.testing.assert_array_equal(image.array[..., 0], expected)
            assert image.array.shape[-1] == 1
        assert image.pixel_size_um == 0.5
        said = [what for what, _ in image.remarks]
        assert said[0] == SET
        assert (names[1] in " ".join(said)) == missing
        stack = read_planes(tmp_path / name)
        assert len(stack) == 1
        assert stack.remarks == image.remarks
        np.testing.assert_array_equal(read_mask(tmp_path / name), expected)


def test_several_planes_of_a_set_keep_their_axes(tmp_path):
    """One file for each time point, two channels in each, in any order of the pages."""
    files = {f"t{t}.ome.tif": [(1, 0, t), (0, 0, t)] for t in range(2)}
    planes = write_set(tmp_path, files, (2, 1, 2), "XYZCT")
    for name, its in planes.items():
        t = int(name[1])
        image = read_image(tmp_path / name)
        np.testing.assert_array_equal(image.array, np.stack([its[0, 0, t], its[1, 0, t]], axis=-1))


def test_a_stack_of_a_set_is_its_own_stack(tmp_path):
    files = {f"c{c}.ome.tif": [(c, z, 0) for z in range(3)] for c in range(2)}
    planes = write_set(tmp_path, files, (2, 3, 1))
    for name, its in planes.items():
        stack = read_planes(tmp_path / name)
        assert (stack.axes, stack.shape) == ("Z", (3,))
        for image, expected in zip(stack, its.values(), strict=True):
            np.testing.assert_array_equal(image.array[..., 0], expected)


def test_laws_over_random_sets(tmp_path):
    """However the planes are shared out, each comes back from one file only, and from the right one."""
    for number in range(8):
        folder = tmp_path / str(number)
        folder.mkdir()
        c, z, t = (int(n) for n in RNG.integers(1, 4, 3))
        order = ["XYCZT", "XYZCT", "XYTZC", "XYTCZ"][number % 4]
        by = number % 3  # a file for each channel, slice or frame
        files = {}
        for place in np.ndindex(c, z, t):
            files.setdefault(f"f{place[by]}.ome.tif", []).append(place)
        planes = write_set(folder, files, (c, z, t), order, bool(number % 2))
        for name, its in planes.items():
            found = np.concatenate([np.moveaxis(image.array, -1, 0) for image in read_planes(folder / name)])
            assert sorted(found.sum(axis=(1, 2)).tolist()) == sorted(int(one.sum()) for one in its.values())


@pytest.mark.parametrize("global_uuid", [True, False])
@pytest.mark.parametrize("pages", [1, 2])
def test_a_renamed_file_is_not_black(tmp_path, pages, global_uuid):
    """Its metadata tell of the earlier name, which is no partner."""
    planes = write_set(
        tmp_path, {"old.ome.tif": [(c, 0, 0) for c in range(pages)]}, (pages, 1, 1), "XYCZT", global_uuid
    )
    (tmp_path / "old.ome.tif").rename(tmp_path / "Patient 1.tif")
    image = read_image(tmp_path / "Patient 1.tif")
    np.testing.assert_array_equal(image.array, np.stack(list(planes["old.ome.tif"].values()), axis=-1))
    assert image.remarks == ()


def test_planes_that_were_never_recorded_are_not_zeros(tmp_path):
    """A recording that was stopped: the file tells of three channels and holds two."""
    array = RNG.integers(1, 9, (2, 30, 20)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.ome.tif", array, ome=True, metadata={"axes": "CYX"}, photometric="minisblack")
    xml = tifffile.tiffcomment(tmp_path / "a.ome.tif").replace('SizeC="2"', 'SizeC="3"')
    tifffile.tiffcomment(tmp_path / "a.ome.tif", xml)
    with pytest.raises(DataError, match="a.ome.tif says that it has more planes than it holds"):
        read_image(tmp_path / "a.ome.tif")


def test_a_recording_of_micro_manager_in_one_file_keeps_its_axes(tmp_path, monkeypatch):
    array = RNG.integers(1, 9, (3, 30, 20)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", array, imagej=True, metadata={"axes": "TYX"})
    monkeypatch.setattr(tifffile.TiffFile, "is_mmstack", True)
    assert read_planes(tmp_path / "a.tif").axes == "T"


def test_partners_that_only_the_folder_tells_of_are_not_read(tmp_path, monkeypatch):
    """Some formats list their files beside the images, or find them by their names."""
    for name in "ab":
        tifffile.imwrite(tmp_path / f"{name}.tif", np.full((30, 20), ord(name), np.uint8), metadata=None)

    def of_both(tif):
        other = tifffile.TiffFile(tmp_path / "b.tif")
        pages = [tif.pages[0], other.pages[0]]
        return [tifffile.TiffPageSeries(pages, (2, 30, 20), np.uint8, "TYX", parent=tif, kind="mmstack")]

    monkeypatch.setattr(tifffile.TiffFile, "series", property(of_both))
    image = read_image(tmp_path / "a.tif")
    assert (image.array == ord("a")).all()
    assert image.array.shape == (30, 20, 1)
    assert image.remarks[0][0] == SET


def test_a_file_whose_metadata_lie_in_a_companion_is_read(tmp_path):
    xml = """<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:b"><BinaryOnly
    MetadataFile="set.companion.ome" UUID="urn:uuid:a"/></OME>"""
    array = RNG.integers(1, 9, (30, 20)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.ome.tif", array, description=xml, metadata=None)
    np.testing.assert_array_equal(read_image(tmp_path / "a.ome.tif").array[..., 0], array)


def test_planes_of_different_positions_in_one_file_are_named(tmp_path):
    xml = XML.format(
        uuid=' UUID="urn:uuid:a.ome.tif"',
        images="".join(
            IMAGE.format(i=i, order="XYCZT", c=1, z=1, t=1, data=DATA.format(c=0, z=0, t=0, ifd=i, file=name))
            for i, name in enumerate(["a.ome.tif", "a.ome.tif"])
        ),
    )
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as writer:
        for number in range(2):
            writer.write(np.ones((30, 20), np.uint16), description=None if number else xml, metadata=None)
    with pytest.raises(DataError, match="a.ome.tif holds 2 images"):
        read_image(tmp_path / "a.ome.tif")
