"""Class groups are read as written, and what is wrong is told."""

import numpy as np
import pytest

from utils.data.crops import parse_class_groups
from utils.errors import DataError

RNG = np.random.default_rng(0)
PIECES = ["a", "é", "1", " ", "-", ">", "->", ",", ";", '"', "→", "\n", "'", "."]


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


def random_name():
    return "x" + "".join(RNG.choice(PIECES, RNG.integers(0, 5))) + "y"


def test_by_hand():
    text = "earlyana, lateana, telophase -> AA; prophase→BA ;\ninterphase->I;"
    names = ["earlyana", "interphase", "lateana", "prophase", "telophase"]
    groups = {"earlyana": "AA", "interphase": "I", "lateana": "AA", "prophase": "BA", "telophase": "AA"}
    assert parse_class_groups(text, names) == groups
    assert list(parse_class_groups(text, names)) == names


def test_no_groups():
    for text in ("", "  ", " ; "):
        assert parse_class_groups(text, ["a", "b"]) == {}


def test_any_names_come_back():
    """Names of any characters, quoted, in any order and grouping."""
    for _ in range(200):
        names = list({random_name() for _ in range(RNG.integers(1, 7))})
        groups = {name: random_name() for name in names}
        pools = {group: [name for name in names if groups[name] == group] for group in set(groups.values())}
        parts = [f"{','.join(map(quoted, RNG.permutation(own)))} -> {quoted(group)}" for group, own in pools.items()]
        assert parse_class_groups(";".join(parts), names) == groups


def test_names_with_spaces_hyphens_and_accents_need_no_quotes():
    names = ["G2/M phase", "g-1", "interphase (é)", "5'-end"]
    assert parse_class_groups(", ".join(names) + " -> all of it", names) == dict.fromkeys(names, "all of it")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a, b -> X; c -> Y; d -> Y", "'d'.*The classes are a, b, c"),
        ("a, b -> X; c, a -> Y", "'a' twice"),
        ("a, b -> X", "no group to c"),
        ("a, b, c", "no arrows"),
        ("a -> b -> c", "2 arrows"),
        ("a, b -> X c -> Y", "2 arrows"),
        ("a, b, c ->", "nothing after"),
        ("-> X", "nothing before"),
        ("a, b -> X, Y; c -> X", "X , Y where one name"),
        ('a "b" -> X; c -> Y', "where one name"),
        ('"a, b -> X', "double quotes"),
        ('" -> X', "double quotes"),
    ],
)
def test_mistakes(text, message):
    with pytest.raises(DataError, match=f"class_groups.*{message}"):
        parse_class_groups(text, ["a", "b", "c"])


def test_an_unquoted_comma_shows_how_to_write_it():
    with pytest.raises(DataError, match='The classes are "late, ana", x'):
        parse_class_groups("late, ana -> A; x -> B", ["late, ana", "x"])
