"""What a reader sees is written for biologists: sections say what to do, fields give advice, a glossary explains."""

import ast
import re
from pathlib import Path

import jupytext
import pytest
from traitlets import Bool, Enum, Float, Int

from notebooks import run
from utils.errors import label
from utils.forms import Form
from utils.paths import ROOT

NAMES = run.names()
GLOSSARY = "../README.md#glossary"
ENOUGH_WORDS = 12
LONGEST_HELP = 112  # letters: it stands on one line beside or below its field
# fmt: off
UNEXPLAINED = [
    "kwargs", "dtype", "tensor", "callback", "array", "ndarray", "boolean", "string", "tuple", "dict", "integer",
    "float32", "uint8", "backend", "logits", "softmax", "hyperparameter", "stochastic", "gradient", "convolution",
    "embedding", "inference", "regex", "traceback", "exception", "instantiate", "hdf5", "json", "traitlets", "keras",
]
# fmt: on
DONE = re.compile(r"goes well|went well")


def cells(name: str) -> list:
    return jupytext.read(run.NOTEBOOKS / "src" / f"{name}.py").cells


def texts(name: str) -> list[str]:
    return [cell.source for cell in cells(name) if cell.cell_type == "markdown"]


def sections(name: str) -> dict[str, str]:
    """Heading (## or ###) -> the text up to the next heading or code cell, on one line."""
    found = {}
    for text in texts(name):
        for heading, body in re.findall(r"^(###? .*)\n((?:(?!##).*\n?)*)", text, flags=re.MULTILINE):
            found[heading] = " ".join(body.split())
    return found


def above(heading: str, name: str) -> str:
    """Text of the section that a sub-section belongs to."""
    number = re.match(r"### (\d)\.", heading)
    return next((body for one, body in sections(name).items() if number and one.startswith(f"## {number[1]}.")), "")


def fields(name: str) -> dict[str, object]:
    """Name "form.field" -> trait, of every field of a notebook."""
    space: dict = {"Form": Form}
    head = "from traitlets import *\nfrom utils.forms.fields import *\nfrom utils.images.axes import STACK_AXES\n"
    exec(head + "from utils import samples\nfrom utils.exchange.targets import reasons", space)
    for cell in cells(name):
        declared = re.search(r"^class .*?(?=\n\n+\w|\Z)", cell.source, flags=re.MULTILINE | re.DOTALL)
        if cell.cell_type == "code" and declared:
            exec(declared[0], space)
    forms = [one for one in space.values() if isinstance(one, type) and issubclass(one, Form) and one is not Form]
    assert len(forms) >= 5  # else nothing below would be looked at
    return {f"{form.__name__}.{field}": trait for form in forms for field, trait in form.fields.items()}


def glossary(readme: Path = ROOT / "README.md") -> dict[str, str]:
    """Word, in lower case -> its explanation; a row may explain several words: "CPU, GPU", "label image (labels)"."""
    table = readme.read_text(encoding="utf-8").partition("\n## Glossary\n")[2].partition("\n## ")[0]
    rows = [[part.strip() for part in row.strip("|").split("|")] for row in table.splitlines() if row.startswith("| ")]
    words = {word: row[1] for row in rows[1:] for word in re.split(r"[,()]", row[0])}
    return {word.strip().casefold(): meaning for word, meaning in words.items() if word.strip()}


def singular(word: str) -> str:
    return {"losses": "loss", "classes": "class"}.get(word, word.removesuffix("s"))


class TestGlossary:
    def test_words_are_sorted_and_explained_once(self):
        text = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## Glossary\n")[2].partition("\n## ")[0]
        rows = [row.split("|")[1].strip().casefold() for row in text.splitlines() if row.startswith("| ")][1:]
        assert rows == sorted(set(rows))
        assert len(rows) > 50
        assert [word for word, meaning in glossary().items() if len(meaning.split()) < 4] == []

    def test_a_word_that_an_explanation_refers_to_is_there(self):
        words = glossary()
        referred = [word for meaning in words.values() for word in re.findall(r"[Ss]ee \*([^*]+)\*", meaning)]
        assert referred
        assert [word for word in referred if word.casefold() not in words] == []

    @pytest.mark.parametrize("name", NAMES)
    def test_the_top_of_a_page_links_it_and_each_word_linked_is_there(self, name):
        assert f"[glossary]({GLOSSARY})" in texts(name)[0]
        page, known = " ".join(" ".join(texts(name)).split()), glossary()
        linked = re.findall(rf"\[([^\]]+)\]\({re.escape(GLOSSARY)}\)", page)
        asked = [word.casefold() for word in linked if word != "glossary"]
        assert len(asked) >= 5
        assert [word for word in asked if word not in known and singular(word) not in known] == []

    def test_words_of_the_forms_are_explained(self):
        known = glossary()
        for word in (
            "epoch",
            "batch",
            "patch",
            "patience",
            "preset",
            "filters",
            "grid",
            "rays",
            "axes",
            "learning rate",
        ):
            assert word in known, word


@pytest.mark.parametrize("name", NAMES)
class TestSections:
    def test_each_begins_with_words(self, name):
        short = {heading: body for heading, body in sections(name).items() if len(body.split()) < ENOUGH_WORDS}
        assert short == {}
        assert len(sections(name)) >= 10

    def test_each_says_how_to_know_that_it_went_well(self, name):
        """A section that only holds others (3, in one notebook 4) is told by these."""
        holding = ["## 3."] + (["## 4."] if any(heading.startswith("### 4") for heading in sections(name)) else [])
        own = {heading: body for heading, body in sections(name).items() if not heading.startswith(tuple(holding))}
        reads = {"### 3.4 How good is the model, unchanged?"}  # ends with what its figures mean
        assert [heading for heading, body in own.items() if not DONE.search(body) and heading not in reads] == []

    def test_each_says_what_to_fill_in(self, name):
        fills = re.compile(r"\b(fill|choose|leave|named? the folder|named a model)", re.IGNORECASE)
        told = {heading: f"{above(heading, name)} {body}" for heading, body in sections(name).items()}
        assert [heading for heading, body in told.items() if not fills.search(body)] == []

    def test_no_unexplained_jargon(self, name):
        shown = texts(name) + [trait.help for trait in fields(name).values()]
        prose = re.sub(r"`[^`]*`|\]\([^)]*\)", " ", "\n".join(shown)).casefold()
        assert [word for word in UNEXPLAINED if re.search(rf"\b{word}s?\b", prose)] == []


@pytest.mark.parametrize("name", NAMES)
class TestHelp:
    def test_every_field_has_help_of_one_line(self, name):
        for field, trait in fields(name).items():
            assert len(trait.help.split()) >= 3, field
            assert len(trait.help) <= LONGEST_HELP, field
            assert "\n" not in trait.help, field

    def test_a_number_comes_with_a_range_or_the_advice_to_leave_it(self, name):
        for field, trait in fields(name).items():
            if isinstance(trait, (Int, Float)):
                assert re.search(r"\d", trait.help) or "leave" in trait.help, field

    def test_advice_lies_within_what_the_field_takes(self, name):
        for field, trait in fields(name).items():
            if isinstance(trait, (Int, Float)):
                for low, high in re.findall(r"(\d[\d.]*) to (\d[\d.]*)", trait.help):
                    low, high = float(low.rstrip(".")), float(high.rstrip("."))
                    if "pixel" not in trait.help or "patch" in field:  # others tell sizes of objects
                        assert trait.min <= low < high <= trait.max, field

    def test_a_switch_says_when_to_turn_it(self, name):
        for field, trait in fields(name).items():
            if isinstance(trait, Bool):
                assert re.search(r"\bo(n|ff)\b|unless", trait.help), field

    def test_a_text_that_may_be_empty_says_what_empty_means(self, name):
        """Or that the field is filled in by itself."""
        for field, trait in fields(name).items():
            choice = isinstance(trait, (Int, Float, Bool, Enum))
            if not choice and trait.default_value == "":
                assert re.search(r"empty|only|by itself|found|classifier", trait.help), field


def messages(path: Path) -> list[str]:
    """Texts of several words in a file of code, what is computed as "...", without what explains the code."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    explaining = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            found.append("".join(part.value if isinstance(part, ast.Constant) else "..." for part in node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in explaining | parts:
            found.append(node.value)
    return [text for text in found if " " in text.strip()]


class TestMessages:
    """A field that a message names is one that a form has: the page then shows it in the words of the form."""

    known = frozenset(field.split(".")[1] for name in NAMES for field in fields(name))

    def test_fields_named_in_messages_exist(self):
        wrong, labels = [], {label(name) for name in self.known}
        for path in sorted((ROOT / "utils").rglob("*.py")):
            for text in messages(path):
                named = re.findall(r"\bfields? ([a-z]+(?:_[a-z0-9]+)+)\b", text)
                quoted = re.findall(r'\bfields? "([^".]+)"', text)
                wrong += [(path.name, one) for one in named if one not in self.known]
                wrong += [(path.name, one) for one in quoted if one not in labels]
        assert wrong == []

    def test_what_is_read_of_a_file(self, tmp_path):
        path, doc = tmp_path / "code.py", '"""The field no_field."""'
        path.write_text(f'def f(x):\n    {doc}\n    raise E(f"Change the field {{x}} or the field my_name.")')
        assert messages(path) == ["Change the field ... or the field my_name."]
