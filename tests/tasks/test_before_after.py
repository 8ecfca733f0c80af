"""Before and after fine-tuning: which images are shown, in which order, and that each panel shows its own model."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from mpl_toolkits.axes_grid1.anchored_artists import AnchoredSizeBar

from utils.data.crops import Crop
from utils.images.image import Image
from utils.metrics.confusion import confusion_matrix
from utils.metrics.pixels import mean_iou
from utils.pages.colours import YELLOW
from utils.pages.figures import WIDTH, png
from utils.pages.pictures import display_image, label_outlines
from utils.tasks.classes.figures import CROP_COLUMNS, RIGHT, WRONG, classes_before_after
from utils.tasks.objects.figures import KINDS, objects_before_after
from utils.tasks.pixels.figures import pixels_before_after

TOP = 5  # row of the upper outline of all boxes
MODELS = ("unchanged", "fine-tuned", "from scratch")
CELLS = [{"id": 0, "name": "G2"}, {"id": 1, "name": "other"}]
BINARY = [{"id": 0, "name": "background"}, {"id": 1, "name": "nucleus"}]
TISSUE = [{"id": i, "name": name} for i, name in enumerate(["glass", "tissue", "fibrosis", "vessel"])]
LONG = "the_name_that_somebody_thought_of_on_a_friday_evening_" * 2


def crops_of(class_ids, n_channels=1, prefix=""):
    rng = np.random.default_rng(0)
    arrays = [
        rng.integers(0, 4000, (*rng.integers(20, 60, 2), n_channels)).astype(np.uint16) for _ in range(len(class_ids))
    ]
    return [
        Crop(f"{prefix}{i}.tif", Image(Path(f"{i}.tif"), array, None, "YXC"), class_id, "")
        for i, (array, class_id) in enumerate(zip(arrays, class_ids, strict=True))
    ]


def answers_of(*p_first):
    """Probabilities of two classes from those of the first."""
    return np.stack([p_first, 1 - np.array(p_first)], axis=1)


def example(mask, name="cell.tif", n_channels=1, pixel_size_um=None, seed=0):
    array = np.random.default_rng(seed).integers(0, 4000, (*mask.shape, n_channels)).astype(np.uint16)
    return SimpleNamespace(name=name, image=SimpleNamespace(array=array, pixel_size_um=pixel_size_um), mask=mask)


def boxes(*spans, shape=(20, 100)):
    """Labels of boxes in a row: (start, stop) of each."""
    labels = np.zeros(shape, np.int32)
    for number, (start, stop) in enumerate(spans, start=1):
        labels[TOP:15, start:stop] = number
    return labels


def shown(ax):
    return np.asarray(ax.images[0].get_array())


def rows_of(figure, n_models):
    return np.array(figure.axes).reshape(-1, 2 + n_models)


def titles(row):
    return [ax.get_title() for ax in row]


def legend(figure):
    patches = [patch for one in figure.legends for patch in one.get_patches()]
    return {patch.get_label(): to_rgb(patch.get_facecolor()) for patch in patches}


def boxes_of(artists, figure):
    """Places of texts or legends on the page, in inches."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return [one.get_window_extent(canvas.get_renderer()).extents / figure.dpi for one in artists]


def test_hardest_images_come_first_with_the_answer_of_each_model():
    crops = crops_of([0, 0, 0, 1, 1])
    answers = {"unchanged": answers_of(0.9, 0.4, 0.8, 0.9, 0.3), "fine-tuned": answers_of(0.7, 0.6, 0.1, 0.2, 0.4)}
    figure = classes_before_after(crops, answers, CELLS)
    (ax,) = figure.axes
    # mean probability of the true class: 0.5 (image 1), 0.45 (2), 0.45 (3); images 0 and 4 are right
    expected = [
        ["2.tif", "true class: G2", "✓ unchanged: G2 80 %", "✗ fine-tuned: other 90 %"],
        ["3.tif", "true class: other", "✗ unchanged: G2 90 %", "✓ fine-tuned: other 80 %"],
        ["1.tif", "true class: G2", "✗ unchanged: other 60 %", "✓ fine-tuned: G2 60 %"],
    ]
    assert np.array([text.get_text() for text in ax.texts]).reshape(3, 4).tolist() == expected
    for text in ax.texts:
        sign = text.get_text()[0]
        colour = {one[0]: one[1] for one in (RIGHT, WRONG)}.get(sign)
        assert colour is None or text.get_color() == colour
    for picture, i in zip(ax.images, (2, 3, 1), strict=True):
        np.testing.assert_allclose(picture.get_array(), display_image(crops[i].image.array))
    first, second = figure.get_suptitle().split("\n")
    assert first == "Mistakes among 5 test images: unchanged 2, fine-tuned 1"
    assert second == "Shown: all 3, the hardest first, that at least one model gets wrong"


@pytest.mark.parametrize("n_models", [1, 2, 3])
def test_counts_and_choice_agree_with_the_probabilities(n_models):
    rng = np.random.default_rng(n_models)
    y_true = rng.integers(0, 3, 40)
    classes = [{"id": i, "name": name} for i, name in enumerate("abc")]
    answers = {name: rng.dirichlet([1] * 3, 40) for name in MODELS[:n_models]}
    figure = classes_before_after(crops_of(y_true), answers, classes, n=7)
    wrong = np.array([p.argmax(axis=1) != y_true for p in answers.values()])
    for name, each in zip(answers, wrong, strict=True):
        assert f"{name} {each.sum()}" in figure.get_suptitle()
    assert f"the 7 hardest of {wrong.any(axis=0).sum()} that" in figure.get_suptitle()
    p_true = np.mean([p[np.arange(40), y_true] for p in answers.values()], axis=0)
    candidates = np.flatnonzero(wrong.any(axis=0))
    order = candidates[np.argsort(p_true[candidates], kind="stable")][:7]
    files = [text.get_text() for text in figure.axes[0].texts if text.get_text().endswith(".tif")]
    assert files == [f"{i}.tif" for i in order]


def test_no_mistake_is_said():
    figure = classes_before_after(crops_of([0, 1]), {"fine-tuned": answers_of(0.9, 0.2)}, CELLS)
    (line,) = figure.texts
    assert "Mistakes among 2 test images: fine-tuned 0" in line.get_text()
    assert "No model takes any of them for another class" in line.get_text()
    assert len(png(figure)) > 1000


@pytest.mark.parametrize("n_channels", [1, 3, 4])
def test_crops_and_their_texts_stay_in_their_columns_however_long_the_names(n_channels):
    crops = crops_of([0] * 5, n_channels, prefix=LONG)
    classes = [one | {"name": one["name"] + LONG} for one in CELLS]
    figure = classes_before_after(crops, {name + LONG: answers_of(*[0.0] * 5) for name in MODELS}, classes)
    (ax,) = figure.axes
    for i, (left, _, right, _) in enumerate(boxes_of(ax.texts, figure)):
        column = (i // 5) % CROP_COLUMNS
        assert WIDTH / CROP_COLUMNS * column + 1 < left < right < WIDTH / CROP_COLUMNS * (column + 1)
    for picture in ax.images:
        left, right, bottom, top = picture.get_extent()
        assert (bottom - top) / (right - left) == pytest.approx(np.divide(*shown_shape(picture)))
        assert -0.01 <= top < bottom <= ax.get_ylim()[0]
    left, _, right, _ = boxes_of([figure._suptitle], figure)[0]
    assert 0 < left < right < WIDTH


def shown_shape(picture):
    return np.asarray(picture.get_array()).shape[:2]


def random_tissue(rng, n, classes, shapes=None):
    shapes = [(40, 52)] * n if shapes is None else shapes
    return [
        example(rng.integers(0, len(classes), shape).astype(np.uint8), f"{i}.tif", seed=i)
        for i, shape in enumerate(shapes)
    ]


def disturbed(rng, mask, share, n_classes):
    return np.where(rng.random(mask.shape) < share, rng.integers(0, n_classes, mask.shape), mask)


@pytest.mark.parametrize("classes", [BINARY, TISSUE])
@pytest.mark.parametrize("n_models", [1, 2, 3])
def test_worst_images_by_mean_iou_and_a_panel_for_each_model(classes, n_models):
    rng = np.random.default_rng(n_models)
    examples = random_tissue(rng, 5, classes, rng.integers(20, 90, (5, 2)))
    predictions = {
        name: [disturbed(rng, one.mask, rng.uniform(0.05, 0.9), len(classes)) for one in examples]
        for name in MODELS[:n_models]
    }
    scores = np.array(
        [
            [mean_iou(confusion_matrix(one.mask, y, len(classes))) for one, y in zip(examples, each, strict=True)]
            for each in predictions.values()
        ]
    )
    figure = pixels_before_after(examples, predictions, classes, n=3)
    rows = rows_of(figure, n_models)
    order = np.argsort(scores.mean(axis=0))[:3]
    assert len(rows) == 3
    assert figure.get_suptitle().startswith("3 of 5 test images")
    for row, i in zip(rows, order, strict=True):
        heads = [f"{name}\nmean IoU {score:.2f}" for name, score in zip(predictions, scores[:, i], strict=True)]
        assert titles(row) == [f"{i}.tif", "annotation", *heads]
        np.testing.assert_allclose(shown(row[0]), display_image(examples[i].image.array))
        for ax, each in zip(row[2:], predictions.values(), strict=True):
            assert_mistakes_are_painted(shown(ax), examples[i].mask, each[i], legend(figure), classes)


def assert_mistakes_are_painted(picture, y_true, y_pred, colours, classes):
    """Every pixel of a frequent mistake has its colour of the legend, and no right one has."""
    if len(classes) == 2:
        keys = {(0, 1): "found, but not annotated", (1, 0): "annotated, but missed", (1, 1): "found, rightly"}
    else:
        names = [one["name"] for one in classes]
        keys = {(i, j): f"{names[i]} called {names[j]} (" for i in range(4) for j in range(4) if i != j}
        assert np.ptp(picture[y_true == y_pred], axis=-1).max() < 1e-6  # grey
    named = 0
    for (true, predicted), key in keys.items():
        colour = [value for text, value in colours.items() if text.startswith(key)]
        pixels = picture[(y_true == true) & (y_pred == predicted)]
        if colour:
            np.testing.assert_allclose(pixels, np.broadcast_to(colour[0], pixels.shape), atol=1e-6)
        named += len(colour)
    assert named == (3 if len(classes) == 2 else 5)


def test_images_without_foreground_come_last_and_say_so():
    empty, some = np.zeros((30, 30), np.uint8), np.pad(np.ones((10, 10), np.uint8), 10)
    examples = [example(empty, "empty.tif"), example(some, "some.tif"), example(empty, "invented.tif")]
    figure = pixels_before_after(examples, {"fine-tuned": [empty, some, some]}, BINARY)
    assert [titles(row)[::2] for row in rows_of(figure, 1)] == [
        ["invented.tif", "fine-tuned\nmean IoU 0.00"],
        ["some.tif", "fine-tuned\nmean IoU 1.00"],
        ["empty.tif", "fine-tuned\nnothing to find or found"],
    ]
    assert len(png(figure)) > 1000


@pytest.mark.parametrize("n_channels", [1, 2, 3, 4])
def test_large_images_are_thinned_and_their_scale_bar_stays_true(n_channels):
    mask = np.zeros((300, 2100), np.uint8)
    mask[:, :900] = 1
    one = example(mask, n_channels=n_channels, pixel_size_um=0.5)
    (row,) = rows_of(pixels_before_after([one], {"unchanged": [mask]}, BINARY), 1)
    assert {shown(ax).shape for ax in row} == {(100, 700, 3)}
    (bar,) = [artist for artist in row[0].artists if isinstance(artist, AnchoredSizeBar)]
    length = float(bar.txt_label.get_text().split()[0])
    assert bar.size_bar.get_children()[0].get_width() == pytest.approx(length / 1.5)


@pytest.mark.parametrize("n_classes", [3, 12])
def test_names_far_too_long_leave_titles_and_legends_apart(n_classes):
    rng = np.random.default_rng(0)
    classes = [{"id": i, "name": f"{i}{LONG}{i}"} for i in range(n_classes)]
    examples = random_tissue(rng, 2, classes)
    for one in examples:
        one.name = LONG + one.name
    predictions = {name + LONG: [disturbed(rng, one.mask, 0.5, n_classes) for one in examples] for name in MODELS}
    figure = pixels_before_after(examples, predictions, classes)
    first, second = sorted(boxes_of(figure.legends, figure), key=lambda extents: extents[0])
    assert 0 <= first[0] < first[2] <= second[0] < second[2] <= WIDTH
    heads = boxes_of([ax.title for ax in rows_of(figure, 3)[0]], figure)
    assert all(left[2] < right[0] for left, right in zip(heads, heads[1:], strict=False))
    assert max(extents[3] for extents in heads) < boxes_of([figure._suptitle], figure)[0][1]


def test_objects_have_the_colours_of_their_kinds_and_counts_above():
    # true: found, missed, two merged (of which the larger is found), missed under a false one
    y_true = boxes((0, 10), (12, 18), (24, 34), (34, 40), (60, 80))
    y_pred = boxes((0, 10), (24, 40), (74, 95))
    one = example(y_true, pixel_size_um=0.5)
    figure = objects_before_after([one], {"unchanged": [y_pred], "fine-tuned": [y_true]})
    (row,) = rows_of(figure, 2)
    assert titles(row) == [
        *("cell.tif", "annotation"),
        *("unchanged\nAP 0.33\n2 of 5 found, 1 wrong", "fine-tuned\nAP 1.00\n5 of 5 found, 0 wrong"),
    ]
    assert row[0].artists  # scale bar
    outlines = label_outlines(y_true)
    np.testing.assert_allclose(shown(row[1])[outlines], np.broadcast_to(YELLOW, (outlines.sum(), 3)), atol=1e-6)
    picture = shown(row[2])
    for x, kind in ((3, "matched"), (27, "matched"), (37, "merged"), (15, "missed"), (63, "missed"), (90, "false")):
        assert picture[TOP, x].tolist() == pytest.approx(KINDS[kind][0], abs=1e-6)
    colours = legend(figure)
    kinds = {KINDS[kind][1]: KINDS[kind][0] for kind in ("matched", "missed", "false", "merged")}
    assert colours == kinds | {"annotation (outlines)": YELLOW}
    assert YELLOW not in [colour for colour, _ in KINDS.values()]


@pytest.mark.parametrize("n_models", [1, 2, 3])
@pytest.mark.parametrize("n_channels", [1, 3, 4])
def test_worst_images_by_ap_and_a_panel_for_each_model(n_models, n_channels):
    spans = [(10 * i, 10 * i + 8) for i in range(8)]
    examples = [
        example(boxes(*spans, shape=shape), f"{i}.tif", n_channels)
        for i, shape in enumerate([(20, 100), (60, 90), (30, 80), (25, 120)])
    ]
    found = np.random.default_rng(n_models).permuted([[1, 3, 5, 7]] * n_models, axis=1)  # objects, by model and image
    predictions = {
        name: [boxes(*spans[:k], shape=one.mask.shape) for one, k in zip(examples, each, strict=True)]
        for name, each in zip(MODELS, found, strict=False)
    }
    figure = objects_before_after(examples, predictions, n=3)
    order = np.argsort(found.mean(axis=0), kind="stable")[:3]
    for row, i in zip(rows_of(figure, n_models), order, strict=True):
        heads = [
            f"{name}\nAP {k / 8:.2f}\n{k} of 8 found, 0 wrong" for name, k in zip(MODELS, found[:, i], strict=False)
        ]
        assert titles(row) == [f"{i}.tif", "annotation", *heads]
        for ax, k in zip(row[2:], found[:, i], strict=True):
            for number, (start, _) in enumerate(spans):
                colour = KINDS["matched" if number < k else "missed"][0]
                assert shown(ax)[TOP, start + 3].tolist() == pytest.approx(colour, abs=1e-6)


def test_images_without_objects_are_drawn():
    nothing, some = boxes(), boxes((10, 20))
    examples = [example(nothing, f"{i}.tif") for i in range(2)] + [example(some, "2.tif")]
    figure = objects_before_after(examples, {"fine-tuned": [nothing, some, nothing]})
    assert [titles(row)[::2] for row in rows_of(figure, 1)] == [
        ["1.tif", "fine-tuned\nAP 0.00\n0 of 0 found, 1 wrong"],
        ["2.tif", "fine-tuned\nAP 0.00\n0 of 1 found, 0 wrong"],
        ["0.tif", "fine-tuned\nnothing to find or found\n0 of 0 found, 0 wrong"],
    ]
    assert len(png(figure)) > 1000


def test_labels_far_above_the_number_of_objects():
    y_true = boxes((0, 10), (12, 22)) * 70_000
    (row,) = rows_of(objects_before_after([example(y_true)], {"unchanged": [(y_true > 70_000) * 99_999]}), 1)
    assert shown(row[2])[TOP, [3, 15]].tolist() == [
        pytest.approx(KINDS[kind][0], abs=1e-6) for kind in ("missed", "matched")
    ]


def test_a_large_image_is_thinned_after_scoring():
    y_true = np.zeros((40, 2400), np.int32)
    y_true[1, 1] = 1  # a single pixel that thinning leaves out
    y_true[3:30, 300:600] = 2
    (row,) = rows_of(objects_before_after([example(y_true)], {"unchanged": [y_true]}), 1)
    assert titles(row)[2] == "unchanged\nAP 1.00\n2 of 2 found, 0 wrong"
    assert {shown(ax).shape for ax in row} == {(14, 800, 3)}


def test_answers_that_do_not_belong_to_the_images_are_refused():
    mask = boxes((0, 10)).astype(np.uint8)
    for wrong in ({}, {"unchanged": [mask]}, {"unchanged": [mask, mask], "fine-tuned": [mask] * 3}):
        with pytest.raises(ValueError):
            pixels_before_after([example(mask)] * 2, wrong, BINARY)
        with pytest.raises(ValueError):
            objects_before_after([example(mask)] * 2, wrong)
    with pytest.raises(ValueError, match="'fine-tuned' has 1 answers to 2 images"):
        classes_before_after(crops_of([0, 1]), {"fine-tuned": answers_of(0.3)}, CELLS)
    with pytest.raises(ValueError):
        pixels_before_after([example(mask)], {"unchanged": [mask[:, 1:]]}, BINARY)
    with pytest.raises(ValueError):
        objects_before_after([example(mask)], {"unchanged": [mask[:, 1:]]})
    with pytest.raises(ValueError):
        objects_before_after([], {"unchanged": []})
