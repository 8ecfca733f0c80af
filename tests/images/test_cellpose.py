"""Labels of Cellpose are read, whatever wrote them, and nothing that a file holds is ever run."""

import io
import os
import pathlib
import pickle
from collections import OrderedDict

import numpy as np
import pytest

from utils.errors import DataError
from utils.images.image import read_image, read_mask

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 70, (14, 11))


def cellpose(masks):
    """Content of a _seg.npy file as Cellpose 1 to 4 write it."""
    return {
        "outlines": masks.astype(np.uint16) % 3,
        "colors": RNG.integers(0, 255, (70, 3)),
        "masks": masks,
        "chan_choose": [0, 0],
        "img": None,
        "filename": pathlib.Path("folder") / "a.tif",
        "flows": [RNG.integers(0, 255, (1, 14, 11, 3)).astype(np.uint8), [], RNG.normal(size=(2, 14, 11)), None],
        "ismanual": np.zeros(70, bool),
        "manual_changes": [],
        "model_path": 0,
        "flow_threshold": 0.4,
        "cellprob_threshold": np.float32(0),
        "normalize_params": OrderedDict(lowhigh=None, percentile=[1.0, 99.0], names=np.array(["a", None], object)),
        "diameter": np.float64(30),
    }


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.int32, ">u2", np.float32])
@pytest.mark.parametrize("order", ["C", "F"])
def test_labels_come_back(tmp_path, dtype, order):
    masks = np.asarray(LABELS.astype(dtype), order=order)
    np.save(tmp_path / "a_seg.npy", cellpose(masks))
    again = read_mask(tmp_path / "a_seg.npy")
    assert again.dtype.kind == "u"
    np.testing.assert_array_equal(again, LABELS)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_every_protocol_is_read(tmp_path, protocol):
    file = io.BytesIO()
    np.save(file, np.array(None, object))
    header = file.getvalue()[: file.getvalue().index(b"\n") + 1]
    content = np.array(cellpose(LABELS.astype(np.uint16)), object)
    (tmp_path / "a_seg.npy").write_bytes(header + pickle.dumps(content, protocol))
    np.testing.assert_array_equal(read_mask(tmp_path / "a_seg.npy"), LABELS)


def test_a_plain_array_is_a_mask(tmp_path):
    np.save(tmp_path / "a.npy", LABELS.astype(np.uint16))
    np.testing.assert_array_equal(read_mask(tmp_path / "a.npy"), LABELS)
    with pytest.raises(DataError, match="a.npy is an array of NumPy, not an image"):
        read_image(tmp_path / "a.npy")


class Runs:
    """Runs something when it is unpickled."""

    def __init__(self, call, *given):
        self.call, self.given = call, given

    def __reduce__(self):
        return self.call, self.given


@pytest.mark.parametrize("place", ["dictionary", "array", "key", "alone"])
@pytest.mark.parametrize("call", ["system", "eval", "exec", "open", "getattr", "import"])
def test_a_malicious_file_runs_nothing(tmp_path, monkeypatch, place, call):
    monkeypatch.chdir(tmp_path)
    trap = {
        "system": Runs(os.system, "touch run"),
        "eval": Runs(eval, "open('run', 'w')"),
        "exec": Runs(exec, "open('run', 'w')"),
        "open": Runs(open, "run", "w"),
        "getattr": Runs(getattr, pathlib.Path("run"), "touch"),
        "import": Runs(__import__, "this"),
    }[call]
    masks = LABELS.astype(np.uint16)
    content = {
        "dictionary": {"masks": masks, "filename": trap},
        "array": {"masks": masks, "flows": np.array([trap, None], object)},
        "key": {"masks": masks, "more": [{"deep": (1, trap)}]},
        "alone": trap,
    }[place]
    np.save(tmp_path / "a_seg.npy", np.array(content, object), allow_pickle=True)
    with pytest.raises(DataError, match="a_seg.npy holds more than numbers and texts .* was not run"):
        read_mask(tmp_path / "a_seg.npy")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a_seg.npy"]


def test_a_crafted_dtype_or_state_does_no_harm(tmp_path):
    """numpy itself would take the bytes of such an array for addresses of objects; stand-ins must not be changed."""
    file = io.BytesIO()
    np.save(file, np.array(None, object))
    header = file.getvalue()[: file.getvalue().index(b"\n") + 1]
    reconstruct = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
    dtype = b"cnumpy\ndtype\n(S'%s'\nI0\nI1\ntR"
    state = b"(I1\n(I1\nt" + dtype % b"O8" + b"I0\nS'AAAAAAAA'\ntb"
    poison = b"cnumpy.core.multiarray\n_reconstruct\n}S'__setstate__'\ncbuiltins\nprint\nsb."
    for content in (b"}S'masks'\n" + reconstruct + state + b"s.", poison, b"cos\nsystem\n.", b"garbage", b""):
        (tmp_path / "a_seg.npy").write_bytes(header + content)
        with pytest.raises(DataError, match="a_seg.npy (holds|cannot be read)"):
            read_mask(tmp_path / "a_seg.npy")
    np.save(tmp_path / "a_seg.npy", cellpose(LABELS.astype(np.uint16)))
    np.testing.assert_array_equal(read_mask(tmp_path / "a_seg.npy"), LABELS)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"outlines": LABELS}, "no labels called masks"),
        ({"masks": None}, "no labels called masks"),
        ({"masks": np.zeros((3, 14, 11), np.uint16)}, "no mask of one plane"),
        ([1, 2], "no labels called masks"),
        ({"masks": np.full((4, 4), -1)}, "negative"),
        ({"masks": np.array([["a"]])}, "no labels called masks"),
    ],
)
def test_what_is_missing_is_said(tmp_path, content, said):
    file = io.BytesIO()
    np.save(file, np.array(None, object))
    header = file.getvalue()[: file.getvalue().index(b"\n") + 1]
    (tmp_path / "a_seg.npy").write_bytes(header + pickle.dumps(content))
    with pytest.raises(DataError, match=f"a_seg.npy h.*{said}"):
        read_mask(tmp_path / "a_seg.npy")
