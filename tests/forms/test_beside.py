"""One's own data is one field away: annotations are found beside the images, and nothing typed is overwritten."""

import numpy as np
import pytest
from traitlets import Int, Unicode

from tests.forms.test_form import _fresh, type_in, view  # noqa: F401
from utils import paths
from utils.forms import Form, folders, notebook, save_settings
from utils.forms.folders import ANNOTATIONS, annotations_beside, image_folder
from utils.samples import CLASSIFICATION, EXTRA, SAMPLES

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
    for module in (paths, folders):
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
        assert (EMPTIED in note(form)) == bool(nowhere)
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


@pytest.mark.parametrize("name", SAMPLES | EXTRA)
def test_a_sample_that_is_not_made_yet_counts_as_there(root, name):
    places = (SAMPLES | EXTRA)[name]
    for part in {"training", "test"} & {field.partition("_")[0] for field in places}:
        form = run_cell()
        for typed in (places[f"{part}_source"], str(root / places[f"{part}_source"])):
            form.back_to_defaults()
            type_in(form, "training_source", typed)
            target = places.get(f"{part}_target", "")
            assert both(form) == both(run_cell()) == (typed, target)
            if target:
                assert FOUND in note(form)
                assert f"{root / target} (a sample, made when it is needed)" in note(form)
    assert not (root / "data_samples").exists()


def test_the_folder_above_the_images_of_a_sample_is_enough(root):
    form = run_cell()
    type_in(form, "training_source", "data_samples/tissue/test")
    assert both(form) == ("data_samples/tissue/test/images", "data_samples/tissue/test/masks")
    for source in (CLASSIFICATION["mitosis"]["training_source"], "data_samples/tissue"):
        type_in(form, "training_source", source)
        assert both(form) == (source, "")


def test_masks_of_a_sample_are_known_although_others_lie_there(root):
    for folder in ("images", "labels", "mask"):
        (root / "data_samples/nuclei/train" / folder).mkdir(parents=True)
    assert annotations_beside("data_samples/nuclei/train/images") == "data_samples/nuclei/train/masks"


KEPT = "not beside the images"


def test_typed_annotations_that_stay_are_noted_when_the_images_are_elsewhere(root):
    form = run_cell()
    type_in(form, "training_target", "a/my corrected")
    type_in(form, "training_source", "a")
    assert KEPT not in note(form)  # they lie beside the images, even though masks does so too
    for source, said in {"b": KEPT, "a": "", "sample": KEPT, "no/where": KEPT, "": ""}.items():
        type_in(form, "training_source", source)
        for shown in (form, run_cell()):
            assert shown.training_target == "a/my corrected"
            assert (KEPT in note(shown)) == bool(said)
            assert "beside them lies" not in note(shown)
    (root / "b" / "Labels").mkdir()
    type_in(form, "training_source", "b")
    assert "not beside the images; beside them lies Labels" in note(form)
    assert KEPT not in note(run_cell(training_target="given"))
    type_in(form, "training_target", "a/masks")  # typed after the images: meant
    assert KEPT not in note(form)
    assert KEPT not in note(run_cell())


def test_loaded_annotations_are_not_noted():
    notebook("unet")
    form = run_cell()
    type_in(form, "training_source", "b")
    type_in(form, "training_target", "a/masks")
    save_settings(form)
    form.back_to_defaults()
    type_in(form, "training_target", "x")
    type_in(form, "training_source", "a")
    assert "beside them lies masks" in note(form)
    form.load()
    assert both(form) == ("b/images", "a/masks")
    assert KEPT not in note(form)


def fill(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()


@pytest.mark.parametrize(
    ("images", "masks", "belong"),
    [
        (["1.tif", "2.tif"], ["2.png"], True),
        (["1.tif", "2.tif"], ["3.tif"], False),
        (["1.tif"], [], False),
        (["1.tif"], ["1_mask.tif"], True),
        (["1.ome.tif"], ["1-labels.tif"], True),
        (["1.tif", "notes.txt"], ["notes.txt"], False),
        (["notes.txt"], ["other.tif"], True),  # no image to compare with
        ([], ["other.tif"], True),
    ],
)
def test_only_annotations_of_these_images_are_found(root, images, masks, belong):
    fill(root / "c/images", *images)
    fill(root / "c/masks", *masks)
    assert annotations_beside("c/images") == ("c/masks" if belong else "")
    fill(root / "c/labels", *images)
    assert annotations_beside("c/images") == ("c/masks" if belong else "c/labels")


def test_images_in_sub_folders_are_compared_by_these(root):
    (root / "c/images/patient1").mkdir(parents=True)
    (root / "c/masks/patient2").mkdir(parents=True)
    assert annotations_beside("c/images") == ""
    (root / "c/masks/patient1").mkdir()
    assert annotations_beside("c/images") == "c/masks"


def test_the_first_names_are_compared(root, monkeypatch):
    monkeypatch.setattr(folders, "COMPARED", 3)
    fill(root / "c/images", *(f"{number}.tif" for number in range(12)))
    fill(root / "c/masks", "3.tif", "10.tif")
    assert annotations_beside("c/images") == ""
    fill(root / "c/masks", "2.tif")
    assert annotations_beside("c/images") == "c/masks"


def test_images_that_cannot_be_read_are_not_compared(root, monkeypatch):
    fill(root / "c/images", "1.tif")
    fill(root / "c/masks", "2.tif")
    assert annotations_beside("c/images") == ""

    listed = folders.list_folder

    def refuse(folder):
        if folder.name == "images":
            raise PermissionError(13, "Permission denied")
        return listed(folder)

    monkeypatch.setattr(folders, "list_folder", refuse)
    assert annotations_beside("c/images") == "c/masks"


def test_what_was_emptied_or_found_is_looked_for_again_when_the_cell_is_run(root):
    form = run_cell()
    type_in(form, "training_source", "b")
    assert EMPTIED in note(form)
    (root / "b" / "labels").mkdir()
    form = run_cell()
    assert both(form) == ("b/images", "b/labels")
    assert view(form).rows["training_target"].control.value == "b/labels"
    assert FOUND in note(form)
    (root / "b" / "labels").rename(root / "b" / "masks")
    view(form).refresh()
    assert FOUND not in note(form)
    assert both(run_cell()) == ("b/images", "b/masks")
    (root / "b" / "masks").rmdir()
    assert EMPTIED in note(run_cell())
    assert run_cell(training_target="given").training_target == "given"
    type_in(form, "training_target", "typed")
    assert run_cell().training_target == "typed"


def test_nothing_is_emptied_while_no_images_are_named():
    form = run_cell()
    type_in(form, "training_source", "a")
    type_in(form, "training_source", "")
    assert both(form) == both(run_cell()) == ("", "")
    assert not note(form)


def test_a_declaration_must_name_a_path_field():
    for beside in ("nothing", "number"):
        fields = {"number": Int(1), "target": Unicode("").tag(path=True, beside=beside)}
        with pytest.raises(TypeError, match=f"target lies beside {beside}"):
            type("Wrong", (Form,), fields)


class Told(Form):
    form_name = "told"
    training_source = Unicode("").tag(path=True)
    data_origin = Unicode("").tag(advanced=True, of="training_source")


def asked(form):
    return "typed before these images" in view(form).rows["data_origin"].note.value


def test_whose_images_they_are_is_asked_again_where_others_were_chosen(root):
    form = Told()
    assert not asked(form)
    type_in(form, "training_source", "a/images")
    type_in(form, "data_origin", "Curie lab")
    assert not asked(form)
    type_in(form, "training_source", "b/images")
    assert asked(form)
    type_in(form, "data_origin", "Curie lab, 2025")
    assert not asked(form)
    type_in(form, "training_source", "a/images")
    type_in(form, "data_origin", "")
    assert not asked(form)


def test_settings_of_a_model_tell_of_its_own_images(root):
    form = Told()
    form._fill({"data_origin": "Curie lab", "training_source": "a/images"})
    assert not asked(form)
    type_in(form, "training_source", "b/images")
    assert asked(form)
