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
        listed = {quoted(group): ",".join(map(quoted, RNG.permutation(own))) for group, own in pools.items()}
        parts = [f"{own} -> {group}" if RNG.random() < 0.5 else f"{group}: {own}" for group, own in listed.items()]
        assert parse_class_groups(";".join(parts), names) == groups


def test_names_with_spaces_hyphens_and_accents_need_no_quotes():
    names = ["G2/M phase", "g-1", "interphase (é)", "5'-end"]
    assert parse_class_groups(", ".join(names) + " -> all of it", names) == dict.fromkeys(names, "all of it")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a, b -> X; c -> Y; d -> Y", "'d'.*The classes are a, b, c"),
        ("a, b -> X; c, a -> Y", "'a' twice"),
        ("a, b, c", "no colon"),
        ("X: a, b; c", "no colon"),
        ('"X: a", b', "no colon"),
        ("X: a, d", "'d'.*The classes are a, b, c"),
        ("X: a; Y: a", "'a' twice"),
        ("X:", "lacks the classes"),
        (": a, b", "lacks the name"),
        ("X: a; Y: b: c", "'b: c'.*The classes are"),
        ("a -> b -> c", "2 arrows"),
        ("a, b -> X c -> Y", "2 arrows"),
        ("a, b, c ->", "lacks the name of the broad class"),
        ("-> X", "lacks the classes"),
        ("a, b -> X, Y; c -> X", "X , Y where one name"),
        ('a "b" -> X; c -> Y', "where one name"),
        ('"a, b -> X', "double quotes"),
        ('" -> X', "double quotes"),
    ],
)
def test_mistakes(text, message):
    with pytest.raises(DataError, match=f"class_groups.*{message}"):
        parse_class_groups(text, ["a", "b", "c"])


def test_what_is_not_named_stays_one_of_its_own():
    assert parse_class_groups("X: a, b", ["a", "b", "c"]) == {"a": "X", "b": "X", "c": "c"}


def test_a_colon_in_a_name_is_no_trouble():
    assert parse_class_groups("dose: 1, dose: 2 -> any", ["dose: 1", "dose: 2"]) == {"dose: 1": "any", "dose: 2": "any"}
    assert parse_class_groups('any: "dose: 1", b', ["dose: 1", "b"]) == {"dose: 1": "any", "b": "any"}


def test_an_unquoted_comma_shows_how_to_write_it():
    with pytest.raises(DataError, match='The classes are "late, ana", x'):
        parse_class_groups("late, ana -> A; x -> B", ["late, ana", "x"])
