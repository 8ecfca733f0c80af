"""Groups are read from names by a rule, and guessed only where a part of the names repeats."""

from pathlib import Path

import numpy as np
import pytest

from utils.errors import DataError
from utils.groups import alike, check_group_rule, group_of, groupings, named_groups

SPELLINGS = ["Mu\u0308ller_1.tif", "M\u00fcller_2.tif", "Jäger_1.tif", "Jäger_2.tif"]  # macOS and others


def names(pattern, **values):
    """Names of all combinations: names("P{p}_{f}", p=range(2), f=range(3))."""
    found = [{}]
    for name, several in values.items():
        found = [one | {name: value} for one in found for value in several]
    return [pattern.format(**one) + ".tif" for one in found]


@pytest.mark.parametrize(
    ("files", "rule", "words"),
    [
        (names("P{p:02}_field{f}", p=range(1, 5), f=range(3)), "{group}_*", "4 patients: P01, P02, P03, P04"),
        (names("patient{p}_slide{s}", p=range(1, 3), s=range(2)), "{group}_*", "2 patients: patient1, patient2"),
        (names("Pat{p}-{f}", p=range(8, 15), f=range(3)), "{group}-*", "7 patients: Pat8, Pat9 ... Pat14"),
        (names("patient {p} - {f}", p=range(3), f=range(3)), "{group} - *", "3 patients: patient 0, patient 1"),
        (names("P{p}F{f}", p=range(2), f=range(3)), "number", "2 patients: P0, P1"),
        (names("exp_P{p}_{f}", p=range(2), f=range(3)), "exp_{group}_*", "2 patients: P0, P1"),
        (names("patient_{p}_{f}", p=range(2), f=range(3)), "patient_{group}_*", "2 patients: 0, 1"),
        (names("{d}_mouse{m}_{f}", d="ab", m=range(3), f=range(2)), "*_{group}_*", "3 animals: mouse0, mouse1, mouse2"),
        (names("{i:03}_P{p}", i=[0], p=[0]) + ["001_P0.tif", "002_P1.tif", "003_P1.tif"], "*_{group}", "2 patients"),
        (names("field{f}_P{p}", f=range(3), p=range(3)), "*_{group}", "3 patients: P0, P1, P2"),
        (names("2024010{d}_{i:03}", d=(1, 2), i=range(4)), "{group}_*", "2 days: 20240101, 20240102"),
        (names("img_{i:03}_z{z}", i=range(3), z=range(4)), "img_{group}_*", "3 groups: 000, 001, 002"),
        (names("A{w:02}f{f}", w=range(3), f=range(2)), "number", "3 groups: A00, A01, A02"),
        (names("{p}{f}", p=range(1, 4), f="abc"), "number", "3 groups: 1, 2, 3"),
        (names("Patient {p}{f}", p=range(1, 4), f="ab"), "number", "3 patients: Patient 1, Patient 2, Patient 3"),
        (names("Patient {p}_{f}", p="ABC", f="12"), "{group}_*", "3 patients: Patient A, Patient B, Patient C"),
        (names("P({p})[b]_{f}", p=range(3), f="12"), "{group}_*", "3 patients: P(0)[b], P(1)[b], P(2)[b]"),
        (names("P{p}/{f}", p=range(2), f=range(3)), "folder", "2 patients: P0, P1"),
        (SPELLINGS, "{group}_*", "2 groups: Jäger, M\u00fcller"),
    ],
)
def test_patients_in_names_are_found(files, rule, words):
    found = groupings(np.random.default_rng(0).permutation(files).tolist())[0]
    assert found.rule == rule
    assert str(found).startswith(words)
    assert len(found.group) == len(files)


@pytest.mark.parametrize(
    "files",
    [
        names("img_{i:03}", i=range(9)),
        names("cell_{i}", i=range(9, 20)),
        names("20240101_{i:03}", i=range(9)),
        names("2024-01-01 10.{i:02}.12", i=range(9)),
        names("{i}", i=range(12)),
        names("image ({i})", i=range(5)),
        names("Snap-{i}-Image Export-{i:02}", i=range(5)),
        names("tile_{x}_{y}", x=(0, 512), y=(0, 512)),
        names("x{x}_y{y}", x=(0, 512), y=(0, 512)),
        names("liver_r{r}_c{c}", r=range(3), c=range(3)),
        names("{i:08x}-{i:x}d-4{i}", i=range(1000, 1200, 7)),
        ["P1_0.tif", "P1_1.tif", *names("other{i}", i=range(5))],
        ["a_1.tif", "b_1.tif"],
        ["a.tif"],
        [],
    ],
)
def test_ordinary_names_are_no_patients(files):
    assert groupings(files) == []


def test_all_that_may_be_meant_is_offered_patients_first():
    files = [f"{'ctrl' if p < 3 else 'drug'}_P{p}_slide{s}_{f}.tif" for p in range(1, 5) for s in "12" for f in "12"]
    found = {one.rule: str(one) for one in groupings(files)}
    assert list(found)[0] == "*_{group}_*_*"
    assert found["{group}_*"] == "2 groups: ctrl, drug"
    assert found["*_*_{group}_*"] == "2 slides: slide1, slide2"


def test_classes_are_no_groups_and_patients_within_them_are():
    classes = [one for one in ("anaphase", "interphase") for _ in range(6)]
    assert groupings([f"{one}/{one}_{i:03}.tif" for i, one in enumerate(classes)], classes) == []
    assert groupings([f"{one}/{one}_{i % 6:03}.tif" for i, one in enumerate(classes)], classes) == []
    [found] = groupings([f"{one}/P{i % 3}_{i}.tif" for i, one in enumerate(classes)], classes)
    assert (found.rule, str(found)) == ("{group}_*", "3 patients: P0, P1, P2")
    assert groupings([f"{one}/P{i % 3}/{i}.tif" for i, one in enumerate(classes)], classes)[0].rule == "folder"
    assert groupings([f"crops/P{i % 3}_{i}.tif" for i in range(12)], classes)[0].rule == "{group}_*"  # from a table


@pytest.mark.parametrize("stray", ["overview.tif", "P4.tif", "control.tif"])
@pytest.mark.parametrize("pattern", ["P{p}_{f}", "mouse{p}/{f}"])
def test_a_file_that_does_not_fit_hides_no_patients(stray, pattern):
    files = names(pattern, p=range(3), f=range(4))
    [whole] = groupings(files)[:1]
    [found] = groupings([*files, stray])[:1]
    assert (found.rule, str(found)) == (whole.rule, str(whole))
    assert found.group[:-1] == whole.group
    assert found.group[-1] not in whole.group
    assert groupings([*files, *(f"{one}.tif" for one in "abcdefgh")]) == []


def test_names_of_groups_are_alike_whatever_their_zeros_and_capitals():
    assert alike("P01") == alike("p1") != alike("p10")
    assert alike("pat_A") == alike("PAT_a")


def test_every_rule_that_is_offered_reads_the_groups_that_were_shown():
    rng = np.random.default_rng(0)
    for _ in range(60):
        marks = rng.choice(["P", "day", "", "s-", "x"], rng.integers(2, 5))
        parts = [[f"{mark}{i}" for i in range(rng.integers(1, 5))] for mark in marks]
        separator = rng.choice(["_", "-", " - ", "."])
        files = sorted({separator.join(rng.choice(one) for one in parts) + f"{separator}{i}.tif" for i in range(30)})
        for found in groupings(files):
            folder = Path("/data")
            assert [group_of(folder / file, found.rule, folder) for file in files] == list(found.group)
            assert 1 < len(set(found.group)) < len(files)
            check_group_rule(found.rule)


def test_unanswered_every_image_stands_alone_and_a_lenient_rule_leaves_alone_what_does_not_fit():
    folder = Path("/data")
    assert group_of(folder / "P1_2.tif", "ask", folder) == "P1_2"
    assert group_of(folder / "P1_2.tif", "{group}-*", folder, strict=False) == "P1_2"
    assert group_of(folder / "a.tif", "folder", folder, strict=False) == "a"
    assert {group_of(folder / file, "{group}_*", folder) for file in SPELLINGS[:2]} == {"M\u00fcller"}
    with pytest.raises(DataError, match="does not fit"):
        group_of(folder / "P1_2.tif", "{group}-*", folder)


def test_groups_that_somebody_defined():
    assert named_groups(["a/x.tif", "y.tif"], ["crops/a/x", "y"]) == set()
    assert named_groups(["P1_0.tif", "P1_1.tif"], ["P1", "P1"]) == {"P1"}
