"""Decimals of tables for people: those that mean something, nothing before the point, whole numbers untouched."""

import numpy as np
import pandas as pd
import pytest

from utils.files import meaningful


@pytest.mark.parametrize(
    ("name", "value", "written"),
    [
        ("foreground_iou", 0.123456, 0.1235),
        ("p_mitosis", 0.99995, 1.0),
        ("glass [% of image]", 71.44165, 71.44),
        ("missed_percent", 1.23456, 1.235),
        ("spot [% of image]", 0.0041999, 0.0042),
        ("spot_share_true", 0.0000412345, 0.00004123),
        ("nucleus [um2]", 123456.789, 123457.0),
        ("nucleus [um2]", 12.34567, 12.35),
        ("perimeter [um]", 0.00123456, 0.001235),
        ("centroid_x [px]", 12345.6789, 12345.7),
        ("pixel size [um]", 0.108333333, 0.108333),
        ("objects per mm2", 1234.567, 1235.0),
        ("mean DAPI", 0.000123456789, 0.000123457),
        ("mean DAPI", 40123.456, 40123.5),
        ("area [um2]", 0.0, 0.0),
    ],
)
def test_a_number_has_the_decimals_that_mean_something(name, value, written):
    table = pd.DataFrame({name: [value, np.nan, -value]})
    seen = meaningful(table)[name]
    assert seen[0] == written
    assert np.isnan(seen[1])
    assert seen[2] == -written
    assert table[name][0] == value


def test_what_is_no_fraction_stays():
    table = pd.DataFrame({"file": ["a"], "area [px]": [1234567], "touches border": [True], "group": [None]})
    pd.testing.assert_frame_equal(meaningful(table), table)
    assert meaningful(pd.DataFrame({"a [um]": np.array([], float)})).empty


def test_float32_is_written_short():
    table = pd.DataFrame({"probability": np.array([0.7], np.float32), "mean x": np.array([0.1], np.float32)})
    assert meaningful(table).to_csv(index=False, float_format="%.7g") == "probability,mean x\n0.7,0.1\n"
