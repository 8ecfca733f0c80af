"""Messages name fields as the form shows them, and leave paths and what a program reads alone."""

import pytest
from traitlets import Float, Int, Unicode

from utils.data.problems import Problem, problem_table
from utils.errors import DataError, FormError, how_many, label, with_labels
from utils.forms.state import Form
from utils.pages.page import tidy


class Odd(Form):
    model_name = Unicode("my_unet", help="a name")
    patch_height = Int(4, min=1, help="pixels")
    pixel_size_um = Float(0, min=0, help="0 = from the file")
    axes = Unicode("", help="order")
    sizes = Unicode("", help="sizes")


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("Change the field model_name.", 'Change the field "Model name".'),
        ("The field axes is full; the axes stay.", 'The field "Axes" is full; the axes stay.'),
        ("Choose smaller patch_height, or 0.", 'Choose smaller "Patch height", or 0.'),
        ("the fields patch_height and model_name", 'the fields "Patch height" and "Model name"'),
        ("odd.sizes was 1 and is now 2", '"Sizes" was 1 and is now 2'),
        ("Write it in the field pixel_size_um (0.5).", 'Write it in the field "Pixel size [µm]" (0.5).'),
        ("model_name", '"Model name"'),
        ("model_name: give one", '"Model name": give one'),
    ],
)
def test_a_field_is_named_as_in_the_form(written, shown):
    assert with_labels(written) == shown
    assert with_labels(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "models/model_name/patch_height.tif",
        r"C:\data\model_name",
        "model_name.tif is empty",
        "a_model_name and model_names",
        'its fields are "model_name", "axes"',
        "--model_name=x",
        "the axes and sizes of images",
        "my-model_name",
        "",
    ],
)
def test_paths_files_and_other_words_stay(text):
    assert with_labels(text) == text


def test_labels():
    assert [label(one) for one in ("number_of_epochs", "n_rays", "size_um", "axes", "qupath", "")] == [
        "Number of epochs",
        "N rays",
        "Size [µm]",
        "Axes",
        "QuPath",
        "",
    ]


def test_an_error_shows_words_and_keeps_its_text_for_programs():
    error = DataError("Fill in the field model_name.")
    assert str(error) == "Fill in the field model_name."
    assert error._render_traceback_()[0] == 'Please check your data: Fill in the field "Model name".'


def test_a_refused_value_is_named_as_in_the_form():
    form = Odd()
    form.enter("patch_height", "ten")
    with pytest.raises(FormError) as error:
        form.patch_height  # noqa: B018
    assert '"Patch height" is "ten" but must be' in " ".join(error.value._render_traceback_())


def test_an_unknown_field_is_told_with_the_names_that_a_program_needs():
    with pytest.raises(FormError) as error:
        Odd(model_nam="x")
    told = " ".join(error.value._render_traceback_())
    assert 'Did you mean "model_name"?' in told
    assert '"patch_height", "pixel_size_um"' in told


def test_a_table_of_problems_names_fields_as_in_the_form():
    problem = Problem("error", "data/model_name/a b.tif", "it has 3 axes", "Write YX in the field axes.")
    page = tidy(problem_table([problem])).to_html()
    assert "in the field &quot;Axes&quot;." in page or 'in the field "Axes".' in page
    assert "data/model_name/a b.tif" in page


@pytest.mark.parametrize(("number", "words"), [(0, "0 images"), (1, "1 image"), (2, "2 images"), (1000, "1000 images")])
def test_a_number_with_its_noun(number, words):
    assert how_many(number, "image") == words
