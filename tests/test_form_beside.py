"""One's own data is one field away: annotations are found beside the images, and nothing typed is overwritten."""

import numpy as np
import pytest
from traitlets import Int, Unicode

from tests.test_forms import _fresh, type_in, view  # noqa: F401
from utils import form_folders, paths
from utils.form_beside import ANNOTATIONS, annotations_beside, image_folder
from utils.forms import Form, notebook, save_settings

FOUND, EMPTIED = "found beside the images", "emptied"


def run_cell(**overrides):
    """Run the cell of the form, as on each Run All."""

    class Data(Form):
        training_source = Unicode("sample/images").tag(path=True)
        training_target = Unicode("sample/annotated").tag(path=True, beside="training_source")
        number = Int(1)

    return Data(**overrides)


@pytest.fixture(autouse=True)
def root(monkeypatch, tmp_path):
    """A project with a sample and two folders of one's own, a with masks and b without."""
    for folder in ("sample/images", "sample/annotated", "a/images", "a/masks", "b/images"):
        (tmp_path / folder).mkdir(parents=True)
    for module in (paths, form_folders):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    return tmp_path


def note(form):
    return view(form).rows["training_target"].note.value


def both(form):
    return form.training_source, form.training_target


def test_the_annotations_beside_the_images_are_filled_in_and_stay():
    form = run_cell()
    assert both(form) == ("sample/images", "sample/annotated")
    type_in(form, "training_source", "a/images")
    for shown in (form, run_cell(), run_cell()):
        assert both(shown) == ("a/images", "a/masks")
        assert view(shown).rows["training_target"].control.value == "a/masks"
        assert FOUND in note(shown)


def test_the_folder_above_the_images_is_enough(root):
    form = run_cell()
    type_in(form, "training_source", "a")
    assert both(form) == ("a/images", "a/masks")
    assert view(form).rows["training_source"].control.value == "a/images"
    (root / "a" / "1.TIF").touch()
    type_in(form, "training_source", "b")
    type_in(form, "training_source", "a")
    assert form.training_source == "a"  # it holds images itself


@pytest.mark.parametrize("name", ANNOTATIONS)
def test_every_name_is_found_in_any_case(root, name):
    for written in (name, name.upper(), name.title()):
        folder = root / f"case {written}"
        (folder / "IMAGES").mkdir(parents=True)
        (folder / written).mkdir()
        form = run_cell()
        type_in(form, "training_source", str(folder))
        assert both(form) == (f"case {written}/IMAGES", f"case {written}/{written}")


def test_the_first_of_the_names_counts_and_never_the_images_themselves(root):
    rng = np.random.default_rng(0)
    for trial in range(60):
        names = rng.choice([*ANNOTATIONS, "raw", "other"], size=rng.integers(1, 6), replace=False)
        for name in names:
            (root / str(trial) / name).mkdir(parents=True)
        wanted = [name for name in ANNOTATIONS if name in names[1:]]
        assert annotations_beside(f"{trial}/{names[0]}") == (f"{trial}/{wanted[0]}" if wanted else "")


def test_where_nothing_lies_beside_the_images_the_sample_is_not_kept():
    for nowhere in ("b/images", "b", "no/such/folder", "", "a\0", "/"):
        run_cell().back_to_defaults()
        form = run_cell()
        type_in(form, "training_source", nowhere)
        assert form.training_target == ""
        assert EMPTIED in note(form)
        assert run_cell().training_target == ""
        type_in(form, "training_source", "a")
        assert form.training_target == "a/masks"
        type_in(form, "training_source", nowhere)
        assert form.training_target == ""


def test_what_a_person_typed_is_never_overwritten():
    form = run_cell()
    type_in(form, "training_target", "my/own")
    for source in ("a", "b", "nowhere", "a/images"):
        type_in(form, "training_source", source)
        assert form.training_target == "my/own"
        assert FOUND not in note(form)
    type_in(form, "training_target", "")  # an empty field may be filled
    type_in(form, "training_source", "b")
    type_in(form, "training_source", "a")
    assert form.training_target == "a/masks"
    type_in(form, "training_target", "my/other")
    type_in(run_cell(), "training_source", "b")
    assert run_cell().training_target == "my/other"


def test_the_same_folder_again_changes_nothing():
    form = run_cell()
    form.enter("training_source", ' "sample/images" ')
    assert both(form) == ("sample/images", "sample/annotated")
    type_in(form, "number", "5")
    assert both(form) == ("sample/images", "sample/annotated")
    assert not any(word in note(form) for word in (FOUND, EMPTIED))


def test_headless_stays_exactly_what_was_given():
    assert both(run_cell(training_source="a")) == ("a", "sample/annotated")
    assert both(run_cell(training_source="a/images", training_target="")) == ("a/images", "")
    form = run_cell(training_target="given")
    type_in(form, "training_source", "a")
    assert both(form) == ("a/images", "given")
    assert "set by overrides" in note(form)


def test_any_sequence_of_folders_ends_as_the_last_one_says(root):
    rng = np.random.default_rng(1)
    choices = ["a", "b", "a/images", "b/images", "sample/images", "", "x", str(root / "a"), "./a/"]
    for _ in range(60):
        form, typed = run_cell(), None
        form.back_to_defaults()
        last = "sample/images"
        for _ in range(rng.integers(1, 6)):
            if rng.random() < 0.2:
                typed = "typed/by/me"
                type_in(form, "training_target", typed)
            last = image_folder(str(rng.choice(choices)))
            type_in(form, "training_source", last)
            assert form.training_source == last
            if form.training_target != "sample/annotated":  # the sample, never left
                assert form.training_target == (typed or annotations_beside(last))
            form = run_cell() if rng.random() < 0.5 else form


def test_loaded_settings_follow_the_next_folder(root):
    notebook("unet")
    form = run_cell()
    type_in(form, "training_source", "a")
    save_settings(form)
    form.back_to_defaults()
    form.load()
    assert both(form) == ("a/images", "a/masks")
    assert FOUND in note(form)
    type_in(form, "training_source", "b")
    assert form.training_target == ""
    type_in(form, "training_target", "typed")
    save_settings(form)
    form.load()
    type_in(form, "training_source", "a")
    assert form.training_target == "typed"


def test_choosing_counts_as_typing():
    form = run_cell()
    unfolding = view(form).rows["training_source"].unfolding
    unfolding.button.click()
    unfolding.chooser.go(paths.ROOT / "a")
    unfolding.chooser.use.click()
    assert both(form) == both(run_cell()) == ("a/images", "a/masks")
    unfolding = view(form).rows["training_target"].unfolding
    unfolding.button.click()
    assert unfolding.chooser.here == paths.ROOT / "a" / "masks"
    unfolding.chooser.use.click()
    assert FOUND not in note(form)
    type_in(form, "training_source", "b")
    assert form.training_target == "a/masks"  # chosen by the person


def test_a_declaration_must_name_a_path_field():
    for beside in ("nothing", "number"):
        fields = {"number": Int(1), "target": Unicode("").tag(path=True, beside=beside)}
        with pytest.raises(TypeError, match=f"target lies beside {beside}"):
            type("Wrong", (Form,), fields)
