"""Names of files that give way to others."""

from datetime import datetime

from utils.paths import dated_name


def test_a_dated_name_is_free_and_a_table_remains_a_table(tmp_path):
    today = f"{datetime.now():%Y-%m-%d}"
    plain, with_suffix = [f"a.csv.{today}", f"a.csv.{today}.1"], [f"a.{today}.csv", f"a.{today}.1.csv"]
    for keep_suffix, names in ((False, plain), (True, with_suffix)):
        for name in names:
            path = dated_name(tmp_path / "a.csv", keep_suffix)
            assert path == tmp_path / name
            path.touch()
    assert dated_name(tmp_path / "v1.2").name == f"v1.2.{today}"
