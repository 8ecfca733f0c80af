"""Laws of the file chooser: the folder shown is the folder meant, and whatever is chosen reads back as itself."""

import html
import os
import re
import shutil

import numpy as np
import pytest
from traitlets import Unicode

from tests.forms.test_form import _fresh, every, type_in, view  # noqa: F401
from utils import paths
from utils.forms import Form, folders
from utils.forms import chooser as forms_chooser
from utils.forms import places as forms_places
from utils.forms.chooser import Chooser
from utils.forms.fields import parse
from utils.forms.folders import contents, list_folder, natural_key, path_text

NAMES = ["a b", "it's", "'quoted'", '"', "~", "~root", "b..", "50%", "<b>&amp;", "Zellkerne ü", "a2", "A10", "x.tif"]


class Data(Form):
    source = Unicode("data").tag(path=True)
    table = Unicode("").tag(path="file")
    either = Unicode("").tag(path="folder or file")
    plain = Unicode("")


@pytest.fixture
def root(monkeypatch, tmp_path):
    """A project folder of its own; beside it lies a folder that is not in the project."""
    folder = tmp_path / "project"
    (folder / "data").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    for module in (paths, folders, forms_places, forms_chooser):
        monkeypatch.setattr(module, "ROOT", folder)
    return folder


def opened(form, name):
    """The unfolded chooser of a field."""
    unfolding = view(form).rows[name].unfolding
    unfolding.button.click()
    return unfolding.chooser


def here(chooser):
    return html.unescape(re.sub("<[^>]*>", "", chooser.folder.value))


def message(chooser):
    return html.unescape(re.sub("<[^>]*>", "", chooser.message.value))


def labels(chooser):
    return [label for label, _ in chooser.entries.options]


def click(chooser, label):
    chooser.entries.index = labels(chooser).index(label)


def is_unfolded(form, name):
    return bool(view(form).rows[name].unfolding.box.children)


def meant(text):
    """What a path field reads in `text`."""
    return paths.resolve(parse(Unicode().tag(path=True), text))


def random_tree(folder, rng, depth=3):
    for name in rng.choice(NAMES, size=rng.integers(1, 5), replace=False):
        (folder / name).mkdir()
        (folder / ".hidden").mkdir(exist_ok=True)
        if depth > 1:
            random_tree(folder / name, rng, depth - 1)


def test_a_walk_through_any_tree_shows_and_chooses_the_folder_it_is_in(root):
    rng = np.random.default_rng(0)
    random_tree(root, rng)
    random_tree(root.parent / "elsewhere", rng)
    form = Data()
    for _ in range(150):
        chooser = opened(form, "source")
        for _ in range(rng.integers(1, 5)):
            if rng.random() < 0.35 and chooser.here != root.parent:
                chooser.up.click()
            elif labels(chooser):
                inside = chooser.here / (label := rng.choice(labels(chooser)))
                click(chooser, label)
                assert chooser.here == inside
        assert here(chooser) == str(chooser.here)
        assert sorted(labels(chooser)) == sorted(name for name in os.listdir(chooser.here) if name[0] != ".")
        chosen = chooser.here
        chooser.use.click()
        assert not is_unfolded(form, "source")
        assert meant(form.shown["source"]) == paths.resolve(form.source) == chosen
        assert view(form).rows["source"].control.value == form.shown["source"]


@pytest.mark.parametrize("name", NAMES)
def test_a_path_is_written_relative_below_the_project_and_else_absolute(root, name):
    for folder in (root / name, root / name / "sub", root.parent / name):
        text = path_text(folder)
        assert meant(text) == folder
        assert os.path.isabs(text) or folder.is_relative_to(root)
    assert path_text(root / "data" / name / "b") == f"data/{name}/b"
    assert meant(path_text(root)) == root


def test_a_name_that_no_text_can_mean_is_told_and_not_chosen(root):
    for name in ("end ", " start"):
        (root / name).mkdir()
    assert path_text(root / "end ") is None
    assert meant(path_text(root / " start")) == root / " start"  # absolute, so that the space is inside
    form = Data()
    chooser = opened(form, "source")
    chooser.up.click()
    click(chooser, "end ")
    chooser.use.click()
    assert "rename" in message(chooser)
    assert is_unfolded(form, "source")
    assert form.source == "data"


def test_names_are_in_the_order_of_people(root):
    names = ["A1", "a2", "a10", "b", "B2c10", "b02d", "b2e", "10", "9"]
    wanted = ["9", "10", "A1", "a2", "a10", "b", "B2c10", "b02d", "b2e"]
    assert sorted(names, key=natural_key) == wanted
    for name in names:
        (root / "data" / name).mkdir()
    assert labels(opened(Data(), "source")) == wanted


def test_hidden_and_system_names_are_left_out_and_the_rest_is_counted(root):
    data = root / "data"
    for name in (".git", "__pycache__", "__MACOSX", "sub"):
        (data / name).mkdir()
    for name in ("1.TIF", "2.png", "notes.txt", "Thumbs.db", ".DS_Store"):
        (data / name).touch()
    (data / "loop").symlink_to(data / "loop")
    chooser = opened(Data(), "source")
    assert labels(chooser) == ["sub"]
    assert "2 images, 1 folder, 2 other files." in message(chooser)
    click(chooser, "sub")
    assert "nothing in it" in message(chooser)
    (data / "sub" / "model.json").touch()
    assert contents(list_folder(data / "sub")) == "a model, 1 file"


def test_a_name_that_is_not_utf8_is_left_out(root):
    try:
        os.mkdir(os.fsencode(root / "data") + b"/\xff")
    except OSError:
        pytest.skip("this file system refuses such names")
    assert labels(opened(Data(), "source")) == []


def test_a_click_on_a_file_chooses_it(root):
    for name in ("b.csv", "a10.csv", "a2.csv"):
        (root / "data" / name).touch()
    form = Data()
    for name in ("table", "either"):
        chooser = opened(form, name)
        assert labels(chooser) == ["data/"]
        click(chooser, "data/")
        assert labels(chooser) == ["a2.csv", "a10.csv", "b.csv"]
        assert form.values()[name] == ""
        click(chooser, "a10.csv")
        assert form.values()[name] == "data/a10.csv"
        assert not is_unfolded(form, name)
        assert opened(form, name).here == root / "data"
    assert opened(form, "source").use.layout.display != "none"
    assert view(form).rows["either"].unfolding.chooser.use.layout.display != "none"
    assert view(form).rows["table"].unfolding.chooser.use.layout.display == "none"


def test_it_opens_where_the_field_points(root):
    form = Data()
    assert opened(form, "source").here == root / "data"
    opened(form, "source")
    (root / "data" / "f.txt").touch()
    wanted = {"": root, "data/f.txt": root / "data", "data/no/such": root / "data", "data/\0": root / "data"}
    for text, folder in wanted.items():
        type_in(form, "source", text)
        chooser = opened(form, "source")
        assert chooser.here == folder
        assert "cannot" not in message(chooser)
        assert "no longer" not in message(chooser)
        opened(form, "source")


def test_only_path_fields_have_a_chooser_and_it_changes_nothing_until_one_chooses(root):
    form = Data()
    assert view(form).rows["plain"].unfolding is None
    (root / "data" / "sub").mkdir()
    before = form.values()
    chooser = opened(form, "source")
    click(chooser, "sub")
    chooser.cancel.click()
    assert not is_unfolded(form, "source")
    assert opened(form, "source").here == root / "data"  # starts anew
    view(form).rows["source"].unfolding.button.click()
    assert not is_unfolded(form, "source")
    assert form.values() == before


@pytest.fixture
def home(root, monkeypatch, tmp_path):
    """A home folder with a desktop and a folder of documents; no disks."""
    for name in ("Desktop", "Documents"):
        (tmp_path / "home" / name).mkdir(parents=True)
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(tmp_path / "home"))
    monkeypatch.setattr(forms_places, "DISKS", (str(tmp_path / "disks"),))
    return tmp_path / "home"


def offered(chooser):
    return [name for name, _ in chooser.places.options[1:]]


def test_places(root, home, monkeypatch, tmp_path):
    (tmp_path / "drive").mkdir()
    usual = ["Folder of the project", "Home folder", "Desktop", "Documents"]
    chooser = Chooser(print, print)
    chooser.open("")
    assert offered(chooser) == usual
    monkeypatch.setattr(forms_places, "GOOGLE_DRIVE", tmp_path / "drive")
    (root / "data_samples").mkdir()
    for name in ("STICK", "home"):  # /media/STICK and /media/<user>/USB
        (tmp_path / "disks" / name / "USB").mkdir(parents=True)
    chooser.open("data")
    names = ["Folder of this field", usual[0], "Samples", *usual[1:], "Google Drive", "Disk USB", "Disk STICK"]
    assert offered(chooser) == names
    assert chooser.places.index == 0
    folders_of = [root / "data", root, root / "data_samples", home, home / "Desktop", home / "Documents"]
    folders_of += [tmp_path / "drive", tmp_path / "disks" / "home" / "USB", tmp_path / "disks" / "STICK"]
    for place, folder in zip(names * 2, folders_of * 2, strict=True):
        chooser.places.label = place
        assert chooser.here == folder
        assert chooser.places.index == 0  # the same place can be gone to again


def test_the_letters_of_windows_are_disks(monkeypatch):
    monkeypatch.setattr(forms_places.sys, "platform", "win32")
    monkeypatch.setattr(forms_places.os, "listdrives", lambda: ["C:\\", "X:\\"], raising=False)
    assert [name for name, _ in forms_places.disks()] == ["Drive C:", "Drive X:"]


def test_folders_that_were_chosen_are_one_click_away_the_newest_first(root, home):
    for number in range(8):
        (root / f"own_{number}").mkdir()
    form = Data()
    for number in (*range(8), 3):
        chooser = opened(form, "source")
        chooser.go(root / f"own_{number}")
        chooser.use.click()
    shutil.rmtree(root / "own_7")
    other = Chooser(print, print)  # of another notebook
    other.open("data")
    last = [name for name in offered(other) if name.startswith("Last")]
    assert last == [f"Last: own_{number}" for number in (3, 6, 5, 4, 2)]
    other.places.label = "Last: own_5"
    assert other.here == root / "own_5"


@pytest.mark.parametrize("kept", ["", "{", "5", '{"a": 1}', "[1, null]"])
def test_a_damaged_list_of_last_folders_does_no_harm(root, home, kept):
    forms_places.settings.SETTINGS.mkdir()
    (forms_places.settings.SETTINGS / forms_places.CHOSEN).write_text(kept)
    chooser = opened(Data(), "source")
    assert not [name for name in offered(chooser) if name.startswith("Last")]
    chooser.use.click()
    assert forms_places.last_chosen() == [root / "data"]


def test_the_choice_holds_where_the_list_of_last_folders_cannot_be_written(root, monkeypatch):
    (root / "taken").touch()
    monkeypatch.setattr(forms_places.settings, "SETTINGS", root / "taken" / "settings")
    form = Data()
    chooser = opened(form, "source")
    chooser.go(root)
    chooser.use.click()
    assert meant(form.shown["source"]) == root
    assert forms_places.last_chosen() == []


def test_typing_offers_what_may_follow_and_goes_there(root):
    for name in ("Exp1/images", "exp2", "other", "data/sub"):
        (root / name).mkdir(parents=True)
    (root / "exp.txt").touch()
    chooser = opened(Data(), "source")
    steps = [
        ("e", root / "data", ["Exp1", "exp2"]),
        ("exp", root / "data", ["Exp1", "exp2"]),
        ("Exp1", root / "Exp1", ["Exp1", "Exp1/images"]),
        ("Exp1/", root / "Exp1", ["Exp1/images"]),
        ("Exp1/images", root / "Exp1" / "images", ["Exp1/images"]),
        ("zzz", root / "Exp1" / "images", []),
        (str(root / "other"), root / "other", ["other"]),
        ("other/\0", root / "other", []),
    ]
    for text, here, found in steps:
        chooser.typed.value = text
        assert chooser.here == here
        assert list(chooser.typed.options) == found
        assert chooser.typed.value == text
    chooser.up.click()
    assert chooser.typed.value == ""
    assert chooser.here == root


def test_a_folder_that_cannot_be_read_is_told(root, monkeypatch):
    (root / "data" / "secret").mkdir()
    scandir = os.scandir

    def guarded(path):
        if str(path).endswith("secret"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(folders.os, "scandir", guarded)
    chooser = opened(Data(), "source")
    click(chooser, "secret")
    assert chooser.here == root / "data"
    assert here(chooser) == str(root / "data")
    assert f"{root / 'data' / 'secret'} cannot be opened (Permission denied)." in message(chooser)
    click(chooser, "secret")  # a second click on it counts, too
    assert labels(chooser) == ["secret"]
    monkeypatch.setattr(folders.os, "scandir", lambda path: guarded("secret"))
    chooser.up.click()
    assert "cannot be opened" in message(chooser)
    assert labels(chooser) == []


def test_a_folder_that_disappears_is_told(root):
    (root / "data" / "a" / "b").mkdir(parents=True)
    form = Data()
    chooser = opened(form, "source")
    click(chooser, "a")
    shutil.rmtree(root / "data" / "a")
    click(chooser, "b")
    assert "b is no longer there." in message(chooser)
    assert chooser.here == root / "data"
    shutil.rmtree(root / "data")
    chooser.use.click()
    assert f"{root / 'data'} is no longer there." in message(chooser)
    assert chooser.here == root
    assert is_unfolded(form, "source")
    assert form.source == "data"


def test_thousands_of_entries(root):
    for i in range(1200):
        (root / "data" / f"f{i}").mkdir()
    chooser = opened(Data(), "source")
    assert labels(chooser) == [f"f{i}" for i in range(500)]
    assert "1200 folders. 700 more are not listed" in message(chooser)


def test_classes_that_name_the_parts_of_a_form(root):
    form = Data()
    opened(form, "source")
    box, rows = view(form).box, view(form).rows
    assert "form-data" in box._dom_classes
    classes = [name for widget in every(rows["source"].box) for name in widget._dom_classes]
    assert classes[0] == "field-source"
    assert sorted(classes[1:]) == sorted(
        ["note", "choose", "chooser", "places", "up", "typed", "here", "entries", "use", "cancel"]
    )
    assert {"load-last", "load-model", "defaults", "message"} <= {n for w in every(box) for n in w._dom_classes}


def test_a_name_that_is_no_path_is_not_shown_as_one():
    class Models(Form):
        starting_model = Unicode("", help="a model").tag(path=True, names=("2D_demo",))

    form = Models()
    for text, shown in (("2D_demo", False), ("2D_dema", True)):
        form.starting_model = text
        form._repr_mimebundle_()
        assert ("does not exist: " in form._view.rows["starting_model"].note.value) is shown


def test_a_folder_that_is_written_into_need_not_exist():
    class Prediction(Form):
        data_folder = Unicode("", help="images").tag(path=True)
        result_folder = Unicode("", help="results").tag(path=True)

    form = Prediction(data_folder="nowhere/in", result_folder="nowhere/out")
    form._repr_mimebundle_()
    notes = {name: row.note.value for name, row in form._view.rows.items()}
    assert "does not exist: correct it, or press Choose" in notes["data_folder"]
    assert "does not exist yet, and is made" in notes["result_folder"]
