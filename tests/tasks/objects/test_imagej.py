"""What section 6 writes is opened by ImageJ itself."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.tasks.objects.test_predict import images, predict, rois, tables  # noqa: F401 (a fixture)
from utils.images.image import read_mask

IMAGEJ = Path("/usr/share/java/ij.jar")  # Debian's
MACRO = """
open("LABELS");
getPixelSize(unit, size, height);
print("pixel " + size + " " + unit);
getHistogram(values, counts, 65536);
for (i = 1; i < counts.length; i++) if (counts[i] > 0) print("label " + i + " " + counts[i]);
run("Properties...", "unit=pixel pixel_width=1 pixel_height=1");
roiManager("Open", "ROIS");
for (i = 0; i < roiManager("count"); i++) {
    roiManager("select", i);
    getStatistics(area, mean, lowest, highest);
    print("roi " + Roi.getName + " " + area);
}
"""


@pytest.mark.skipif(
    not IMAGEJ.is_file() or not shutil.which("xvfb-run"),
    reason="ImageJ is not installed: apt-get install imagej xvfb xauth",
)
def test_imagej_finds_each_object_with_its_area(tmp_path, images):  # noqa: F811
    predict(images, tmp_path / "out")
    labels, zipped = tmp_path / "out" / "labels" / "a.tif", tmp_path / "out" / "rois" / "a.zip"
    macro = tmp_path / "look.ijm"
    macro.write_text(MACRO.replace("LABELS", str(labels)).replace("ROIS", str(zipped)))

    command = ["xvfb-run", "-a", "java", "-cp", str(IMAGEJ), "ij.ImageJ", "-batch", str(macro)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)

    lines = [line.split() for line in done.stdout.splitlines()]
    table = tables(tmp_path / "out")[0].query("file == 'a.tif'")
    assert ["pixel", "0.5"] in [one[:2] for one in lines], done.stdout + done.stderr
    found = {int(one[1]): int(one[2]) for one in lines if one[:1] == ["label"]}
    assert found == dict(zip(table["label"], table["area [px]"], strict=True))
    outlines = [one for one in lines if one[:1] == ["roi"]]
    assert [one[1] for one in outlines] == [f"001_{label:03d}" for label in table["label"]]
    for one, (_, x, y) in zip(outlines, rois(zipped).values(), strict=True):
        area = abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
        assert float(one[2]) == pytest.approx(area, abs=0.5 * len(x))  # ImageJ counts whole pixels
    assert read_mask(labels).max() == len(outlines) > 0
