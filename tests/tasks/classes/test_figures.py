"""Figures of classifications: what is shown is what was given; facts about axes and texts, no stored pixels."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from utils.data.crops import Crop
from utils.images.image import Image
from utils.metrics.calibration import calibration_curve
from utils.metrics.classes import class_scores
from utils.pages.figures import png
from utils.pages.pictures import display_image
from utils.tasks.classes.figures import COLUMNS, gallery, grad_cam_figure, show_classes, worst_mistakes
from utils.tasks.classes.page import calibration_figure, comparison_figure, confusions

CLASSES = [{"id": i, "name": name, "group": group} for i, (name, group) in enumerate(["aI", "bJ", "cI"])]


def random_crops(n=30, seed=0):
    rng = np.random.default_rng(seed)
    shapes = rng.integers(9, 50, (n, 2))
    arrays = [rng.integers(0, 4000, (*shape, 1 + i % 3)).astype(np.uint16) for i, shape in enumerate(shapes)]
    return [
        Crop(f"{i}.tif", Image(Path(f"{i}.tif"), array, None, "YXC"), i % 3, f"{i}.tif")
        for i, array in enumerate(arrays)
    ]


def random_scores(crops, right=(), seed=0):
    p = np.random.default_rng(seed).dirichlet([0.5] * 3, len(crops)).astype(np.float32)
    y, names = np.array([one.class_id for one in crops]), [one.name for one in crops]
    p[list(right)] = np.eye(3)[y[list(right)]]
    return class_scores(names, names, y, p, CLASSES)


def pictures(ax):
    return [np.asarray(one.get_array()) for one in ax.images]


def texts(ax):
    return [one.get_text() for one in ax.texts]


@pytest.mark.parametrize("n", [1, 7, 8, 19])
def test_gallery_shows_each_crop_whole_and_in_proportion(n):
    crops = random_crops(n)
    figure = gallery([one.image.array for one in crops], [one.name for one in crops], columns=8, title="Crops")
    (ax,) = figure.axes
    assert texts(ax) == [one.name for one in crops]
    places = set()
    for shown, one, drawn in zip(pictures(ax), crops, ax.images, strict=True):
        np.testing.assert_allclose(shown, display_image(one.image.array))
        left, right, bottom, top = drawn.get_extent()
        assert (bottom - top) / (right - left) == pytest.approx(shown.shape[0] / shown.shape[1])
        assert max(bottom - top, right - left) <= 1
        assert 0 <= left < right <= 8
        assert 0 <= top < bottom <= ax.get_ylim()[0]
        places.add((int(left), round((top + bottom) / 2, 3)))
    assert len(places) == n  # none covers another
    assert figure.get_suptitle() == "Crops"
    assert len(png(figure)) > 1000


def test_gallery_frames_and_long_titles():
    arrays = [one.image.array for one in random_crops(3)]
    figure = gallery(arrays, ["x" * 50 + "\nend", "b", "c"], frames=[(1, 0, 0), None, (0, 0, 1)])
    (ax,) = figure.axes
    assert [patch.get_edgecolor()[:3] for patch in ax.patches] == [(1, 0, 0), (0, 0, 1)]
    long, end = texts(ax)[0].split("\n")
    assert len(long) < 20
    assert "…" in long
    assert end == "end"
    with pytest.raises(ValueError):
        gallery(arrays, ["a"])
    for title, said in (("", "There is nothing to show."), ("No mistake", "No mistake."), ("All are right.",) * 2):
        empty = gallery([], [], title=title)
        assert [text.get_text() for text in empty.texts] == [said]
        assert not empty.axes
        assert empty.get_figheight() < 0.5, "a line, no empty picture"


def test_each_class_has_a_row_of_its_own_crops():
    crops = [one for one in random_crops(30) if one.class_id < 2][:18]  # none of the third class
    figure = show_classes(crops, CLASSES, n=5, seed=1)
    assert len(figure.axes) == 3
    for ax, one in zip(figure.axes, CLASSES, strict=True):
        members = {display_image(crop.image.array).tobytes() for crop in crops if crop.class_id == one["id"]}
        assert {picture.tobytes() for picture in pictures(ax)} <= members
        assert len(pictures(ax)) == min(5, len(members))
        assert texts(ax) == [f"{one['name']}\n({one['group']})\n{len(members)} images"]
    assert len(png(figure)) > 1000


def with_pixel_sizes(crops, sizes):
    return [replace(one, image=replace(one.image, pixel_size_um=size)) for one, size in zip(crops, sizes, strict=True)]


@pytest.mark.parametrize("seed", range(3))
def test_scale_bars_have_the_same_length_in_micrometres_in_crops_of_any_size(seed):
    rng = np.random.default_rng(seed)
    crops = with_pixel_sizes(random_crops(12, seed), rng.uniform(0.1, 2, 12))
    figure = worst_mistakes(crops, random_scores(crops, seed=seed), n=12)
    (ax,) = figure.axes
    length = float(figure.get_supxlabel().removeprefix("White bars: ").removesuffix(" µm"))
    by_name = {one.name: one for one in crops}
    assert len(ax.patches) == len(ax.images) > 3
    for bar, drawn, text in zip(ax.patches, ax.images, texts(ax), strict=True):
        one, (left, right, bottom, top) = by_name[text.split("\n")[0]], drawn.get_extent()
        columns = bar.get_width() / (right - left) * one.image.array.shape[1]
        assert columns * one.image.pixel_size_um == pytest.approx(length)
        assert bar.get_x() + bar.get_width() < right
        assert top < bar.get_y() < bar.get_y() + bar.get_height() < bottom


def test_scale_bars_only_where_the_pixel_size_is_known():
    crops = random_crops(12)
    assert not any(ax.patches for ax in show_classes(crops, CLASSES).axes)
    assert show_classes(crops, CLASSES).get_supxlabel() == ""
    figure = show_classes(with_pixel_sizes(crops, [0.5] + [None] * 11), CLASSES, n=12)
    assert sum(len(ax.patches) for ax in figure.axes) == 1
    assert len(png(figure)) > 1000


def test_worst_mistakes_come_first():
    crops = random_crops(30)
    scores = random_scores(crops, right=range(5))
    wrong = np.flatnonzero(~scores.per_image["correct"])
    p_true = scores.p[wrong, scores.y_true[wrong]]
    order = wrong[np.argsort(p_true, kind="stable")]
    figure = worst_mistakes(crops, scores, n=6)
    (ax,) = figure.axes
    assert [text.split("\n")[0] for text in texts(ax)] == [f"{i}.tif" for i in order[:6]]
    for text, shown, i in zip(texts(ax), pictures(ax), order, strict=False):
        np.testing.assert_allclose(shown, display_image(crops[i].image.array))
        y_pred = scores.p[i].argmax()
        words = [CLASSES[crops[i].class_id]["name"], f"called {CLASSES[y_pred]['name']}"]
        assert text.split("\n")[1:] == [*words, f"at {100 * scores.p[i].max():.0f} %"]
    assert f"6 of {len(wrong)} mistakes among 30" in figure.get_suptitle()
    (line,) = worst_mistakes(crops, random_scores(crops, right=range(30))).texts
    assert line.get_text() == "No mistake among 30 test images."


def test_confusions_of_classes_and_groups():
    scores = random_scores(random_crops(30))
    figures = confusions(scores)
    assert len(figures) == 2
    for figure, cm in zip(figures.values(), (scores.confusion, scores.group_confusion), strict=True):
        assert [int(text.split("\n")[-1]) for text in texts(figure.axes[0])] == cm.ravel().tolist()
    plain = [one | {"group": None} for one in CLASSES]
    names = scores.per_image["file"].tolist()
    assert len(confusions(class_scores(names, names, scores.y_true, scores.p, plain))) == 1


def test_calibration_figure_shows_the_curve_and_all_images():
    scores = random_scores(random_crops(30))
    left, right = calibration_figure(scores.y_true, scores.p).axes
    curve = calibration_curve(scores.y_true, scores.p)
    data = left.lines[1].get_xydata()
    np.testing.assert_allclose(data, curve[["probability", "accuracy"]])
    heights = [sum(bar.get_height() for bar in bars) for bars in right.containers]
    n_right = scores.per_image["correct"].sum()
    assert heights == [n_right, 30 - n_right]
    assert len(png(calibration_figure(np.array([0]), np.array([[1.0, 0.0]])))) > 1000


def test_comparison_figure_has_a_line_for_each_score():
    crops = random_crops(30)
    one, other = random_scores(crops, seed=1), random_scores(crops, right=range(20), seed=2)
    (ax,) = comparison_figure(one.table, other.table).axes
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert len(labels) == 3 + 3 + 3 + 2
    assert labels[:4] == ["Accuracy", "Balanced accuracy", "Macro-F1", "recall of a"]
    for line, scores in zip(ax.lines, (one, other), strict=True):
        table = scores.table.set_index(["level", "score", "class"])["value"]
        assert line.get_xdata()[1] == table["classes", "balanced_accuracy", ""]
        assert line.get_xdata()[labels.index("recall of b")] == table["classes", "recall", "b"]
        assert line.get_xdata()[labels.index("broad classes: recall of I")] == table["broad classes", "recall", "I"]
    assert [line.get_label() for line in ax.lines] == ["network", "random forest"]


@pytest.mark.parametrize("n", [0, 1, 5, COLUMNS + 2])
def test_grad_cam_figure_shows_image_and_map(n):
    rng = np.random.default_rng(0)
    images, maps = rng.random((n, 20, 24, 2)).astype(np.float32), rng.random((n, 20, 24)).astype(np.float32)
    figure = grad_cam_figure(images, maps, [f"{i}.tif\nclass a" for i in range(n)])
    shown = [ax for ax in figure.axes if ax.get_title()]
    assert [ax.get_title() for ax in shown] == [f"{i}.tif\nclass a" for i in range(min(n, COLUMNS))]
    overlaid = [ax for ax in figure.axes if len(ax.images) == 2]
    for ax, cam in zip(overlaid, maps, strict=False):
        np.testing.assert_array_equal(pictures(ax)[1], cam)
    assert len(overlaid) == len(shown)
    assert len(png(figure)) > 1000
