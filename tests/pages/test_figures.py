"""Pictures and figures: what is shown is what was given; facts about axes, legends and colours, no stored pixels."""

from types import SimpleNamespace

import nbclient
import nbformat
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from mpl_toolkits.axes_grid1.anchored_artists import AnchoredSizeBar
from PIL import Image as PillowImage
from scipy.spatial import KDTree
from skimage.segmentation import find_boundaries

from utils.errors import DataError
from utils.metrics.objects import object_score_table, object_scores
from utils.pages import pictures
from utils.pages.colours import FEWEST_OUTLINES, OUTLINE_COLOURS, class_colours, label_colours, standing_out
from utils.pages.figures import png, show_augmented, show_pairs
from utils.pages.pictures import (
    BRIGHTENED,
    SAMPLE,
    display_image,
    label_outlines,
    label_overlay,
    line_width,
    overlay,
    result_image,
    thin,
    write_png,
)
from utils.pages.score_figures import confusion_figure, learning_curves
from utils.paths import ROOT
from utils.tasks.objects.figures import (
    KINDS,
    OUTLINES,
    ap_curve,
    count_agreement,
    object_errors,
    show_augmented_objects,
    show_objects,
)
from utils.tasks.pixels.figures import error_map, share_agreement

BINARY = [{"id": 0, "name": "background"}, {"id": 1, "name": "nucleus"}]
TISSUE = [{"id": 0, "name": "glass"}, {"id": 1, "name": "tissue"}, {"id": 2, "name": "fibrosis"}]


def random_image(rng, n_channels, dtype, shape=(40, 52)):
    image = rng.gamma(2, 0.12, (*shape, n_channels)).clip(0, 1)
    return (image * (np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 7.5)).astype(dtype)


def example(name="cell.tif", shape=(40, 52), pixel_size_um=None, n_channels=1, seed=0):
    rng = np.random.default_rng(seed)
    mask = np.zeros(shape, np.uint8)
    mask[5:15, 5:20], mask[20:30, 10:30] = 1, 2
    image = SimpleNamespace(array=random_image(rng, n_channels, np.uint16, shape), pixel_size_um=pixel_size_um)
    return SimpleNamespace(name=name, image=image, mask=mask, group=name)


def shown(ax):
    return np.asarray(ax.images[0].get_array())


def legend_texts(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("n_channels", [1, 2, 3, 5])
def test_any_image_becomes_a_picture_that_keeps_the_order_of_brightness(dtype, n_channels):
    rng = np.random.default_rng(n_channels)
    for channel in range(n_channels):
        image = np.zeros((40, 52, n_channels), dtype)
        image[..., channel] = random_image(rng, 1, dtype)[..., 0]
        picture = display_image(image)
        assert picture.shape == (40, 52, 3)
        assert 0 <= picture.min() < picture.max() <= 1
        in_order = picture.reshape(-1, 3)[np.argsort(image[..., channel], axis=None)]
        assert (np.diff(in_order, axis=0) >= 0).all()  # never inverted


def test_few_bright_spots_and_constant_images_are_shown():
    spots = np.zeros((100, 100, 1), np.uint16)
    spots[50, 50] = 900
    assert display_image(spots)[50, 50].tolist() == [1, 1, 1]
    assert display_image(spots).sum() == 3
    assert display_image(np.full((4, 4, 1), 255, np.uint8)).min() == 1
    assert display_image(np.zeros((4, 4, 1), np.float32)).max() == 0


def test_sixteen_bits_with_one_hot_pixel_keep_their_contrast():
    image = np.random.default_rng(0).integers(100, 300, (64, 64, 1)).astype(np.uint16)
    image[0, 0] = 65535
    assert len(np.unique(display_image(image))) > 150


def test_colours_of_a_photograph_stay():
    photograph = np.zeros((50, 50, 3), np.uint8)
    photograph[:25], photograph[25:] = (200, 100, 150), (240, 230, 235)
    picture = display_image(photograph)
    assert (np.argsort(picture[0, 0]) == [1, 2, 0]).all()
    assert picture[0, 0].tolist() != [0, 0, 0]


def test_class_colours_differ_and_background_is_black():
    colours = class_colours([{"id": i, "name": str(i)} for i in range(22)])
    assert colours[0] == (0, 0, 0)
    rgb = np.array(list(colours.values()))
    assert rgb.min() >= 0
    assert rgb.max() <= 1
    distances = np.abs(rgb[:, None] - rgb).sum(-1)[~np.eye(22, dtype=bool)]
    assert distances.min() > 0.15


@pytest.mark.parametrize("contours", [True, False])
@pytest.mark.parametrize("n_channels", [1, 3, 4])
def test_overlay_paints_classes_and_leaves_background(contours, n_channels):
    one = example(n_channels=n_channels)
    painted = overlay(one.image.array, one.mask, TISSUE, contours)
    assert painted.dtype == np.uint8
    assert painted.shape == (*one.mask.shape, 3)
    plain = np.round(255 * display_image(one.image.array)).astype(np.uint8)
    np.testing.assert_array_equal(painted[one.mask == 0], plain[one.mask == 0])
    colour = np.round(255 * np.array(class_colours(TISSUE)[2]))
    assert (painted[20, 10] == colour).all() == contours  # the corner of class 2
    before, after = (np.abs(p[25, 20].astype(float) - colour).sum() for p in (plain, painted))
    assert after < before


def test_overlay_of_a_large_image_is_thinned_and_stays_in_step():
    image = np.zeros((100, 900, 1), np.uint8)
    ids = np.zeros((100, 900), np.uint8)
    ids[50:, 450:] = 1
    painted = overlay(image, ids, BINARY, contours=False, max_side=300)
    assert painted.shape == (34, 300, 3)
    np.testing.assert_array_equal(painted.any(axis=-1), thin(ids, 300) > 0)


def test_overlay_refuses_another_size():
    with pytest.raises(ValueError, match="pixels"):
        overlay(np.zeros((4, 5, 1)), np.zeros((5, 4), int), BINARY)


def test_png_comes_back_as_written_and_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    picture = np.random.default_rng(0).integers(0, 256, (7, 9, 3)).astype(np.uint8)
    write_png(tmp_path / "a.png", picture)
    np.testing.assert_array_equal(np.asarray(PillowImage.open(tmp_path / "a.png")), picture)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pictures.PillowImage.Image, "save", full)
    with pytest.raises(DataError, match="a.png"):
        write_png(tmp_path / "a.png", np.zeros((3, 3, 3), np.uint8))
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    np.testing.assert_array_equal(np.asarray(PillowImage.open(tmp_path / "a.png")), picture)


@pytest.mark.parametrize("n", [0, 1, 3, 4, 6])
def test_pairs_show_each_image_above_its_mask(n):
    examples = [example(f"{i}.tif", shape=(40, 52 + i), seed=i) for i in range(n)]
    figure = show_pairs(examples, TISSUE, n=10)
    filled = [ax for ax in figure.axes if ax.images]
    assert len(filled) == 2 * n
    assert len(png(figure)) > 1000
    for ax in filled:
        if ax.get_title():
            one = examples[int(ax.get_title().split(".")[0])]
            np.testing.assert_allclose(shown(ax), display_image(one.image.array))
    painted = {shown(ax).tobytes() for ax in filled if not ax.get_title()}
    assert painted == {overlay(one.image.array, one.mask, TISSUE).tobytes() for one in examples}
    assert legend_texts(figure) == ["tissue", "fibrosis"]


def test_pairs_drawn_depend_on_the_seed_only():
    examples = [example(f"{i}.tif") for i in range(9)]
    titles = [[ax.get_title() for ax in show_pairs(examples, TISSUE, n=3, seed=seed).axes] for seed in (0, 0, 1)]
    assert titles[0] == titles[1] != titles[2]
    assert len(titles[0]) == 2 * 3


@pytest.mark.parametrize("width", [30, 128, 700, 2000, 5000])
@pytest.mark.parametrize("pixel_size_um", [0.003, 0.1, 0.65, 12.0])
def test_scale_bar_is_round_about_a_fifth_and_true(width, pixel_size_um):
    figure = show_pairs([example(shape=(35, width), pixel_size_um=pixel_size_um)], TISSUE)
    ax = figure.axes[0]
    (bar,) = [artist for artist in ax.artists if isinstance(artist, AnchoredSizeBar)]
    um = float(bar.txt_label.get_text().removesuffix(" µm"))
    assert f"{um:e}"[:2] in ("1.", "2.", "5.")
    assert 0.1 <= um / (width * pixel_size_um) <= 0.4
    drawn = bar.size_bar.get_children()[0].get_width() / shown(ax).shape[1]
    assert drawn == pytest.approx(um / (width * pixel_size_um), rel=0.02)


def test_no_scale_bar_without_pixel_size():
    assert not show_pairs([example()], TISSUE).axes[0].artists


@pytest.mark.parametrize("n_channels", [1, 3])
def test_augmented_patches_share_their_contrast(n_channels):
    rng = np.random.default_rng(0)
    before = rng.random((8, 16, 16, n_channels)).astype(np.float32)
    masks = np.zeros((8, 16, 16), np.uint8)
    figure = show_augmented(before, masks, 0.5 * before, masks, BINARY)
    pictures_shown = [shown(ax).astype(float) for ax in figure.axes if ax.images]
    assert len(pictures_shown) == 12
    for above, below in zip(pictures_shown[:6], pictures_shown[6:], strict=True):
        assert below.mean() < 0.6 * above.mean()
    assert legend_texts(figure) == ["nucleus"]
    assert not any(ax.artists for ax in figure.axes)
    with_bars = show_augmented(before, masks, before, masks, BINARY, 0.5)
    assert [len(ax.artists) for ax in with_bars.axes if ax.images] == 6 * [1] + 6 * [0]  # a zoom changes the scale


def history(n):
    epochs = np.arange(1, n + 1)
    val_loss = (epochs - 7.0) ** 2 / 100 + 0.2
    return pd.DataFrame({"epoch": epochs, "loss": 1 / epochs, "val_loss": val_loss, "learning_rate": 3e-4})


def test_learning_curves_mark_the_best_epoch():
    figure = learning_curves(history(20))
    loss_ax, rate_ax = figure.axes
    np.testing.assert_array_equal(loss_ax.lines[0].get_ydata(), history(20)["loss"])
    np.testing.assert_array_equal(loss_ax.lines[1].get_ydata(), history(20)["val_loss"])
    assert loss_ax.lines[2].get_xdata().tolist() == [7]
    assert "epoch 7" in loss_ax.get_title()
    np.testing.assert_array_equal(rate_ax.lines[0].get_ydata(), np.full(20, 3e-4))


def test_a_learning_rate_that_falls_is_said_to():
    rows = history(20)
    falling = rows.assign(learning_rate=0.01 * np.cos(np.linspace(0, 1.568, 20)))
    told = "Learning rate by epoch"
    assert learning_curves(falling).axes[1].get_title() == f"{told}\n(falls from that of the form)"
    assert learning_curves(falling.iloc[:1]).axes[1].get_title() == told
    assert learning_curves(rows.assign(learning_rate=0.003)).axes[1].get_title() == told


@pytest.mark.parametrize("epochs", [1, 3, 1000])
def test_titles_of_learning_curves_lie_within_the_figure(epochs):
    falling = history(epochs).assign(learning_rate=np.geomspace(0.01, 1e-9, epochs))
    figure = learning_curves(falling)
    png(figure)
    for ax in figure.axes:
        box = ax.title.get_window_extent()
        assert 0 <= box.x0 < box.x1 <= figure.bbox.width


def test_learning_curves_of_a_run_just_begun():
    assert len(png(learning_curves(history(0)))) > 1000
    assert len(png(learning_curves(history(1)))) > 1000
    figure = learning_curves(history(3)[["epoch", "loss"]])
    assert len(figure.axes[0].lines) == 1
    unfinished = history(2).assign(val_loss=np.nan)
    assert len(png(learning_curves(unfinished))) > 1000


def test_confusion_figure_shows_counts_and_percentages_of_the_truth():
    cm = np.array([[90, 10, 0], [1, 3, 0], [0, 0, 0]])
    figure = confusion_figure(cm, ["glass", "tissue", "fibrosis"], unit="images")
    ax = figure.axes[0]
    assert [text.get_text() for text in ax.texts][:4] == ["90 %\n90", "10 %\n10", "0 %\n0", "25 %\n1"]
    assert [text.get_text() for text in ax.texts][6:] == ["none"] * 3
    assert [label.get_text() for label in ax.get_yticklabels()] == ["glass", "tissue", "fibrosis"]
    assert "images" in ax.get_title()
    assert len(png(figure)) > 1000


def test_error_map_of_two_classes():
    one = example()
    y_true, y_pred = (one.mask == 1).astype(np.uint8), np.roll(one.mask == 1, 3, axis=1).astype(np.uint8)
    figure = error_map(one.image.array, y_true, y_pred, BINARY, pixel_size_um=0.5, name="cell.tif")
    assert len(figure.axes) == 4
    errors = shown(figure.axes[3])
    (legend,) = figure.legends
    colours = [to_rgb(patch.get_facecolor()) for patch in legend.get_patches()]
    counts = [np.isclose(errors, colour).all(axis=-1).sum() for colour in colours]
    assert counts == [(y_true & y_pred).sum(), (~y_true & y_pred & 1).sum(), (y_true & ~y_pred & 1).sum()]
    assert [word in text for word, text in zip(("rightly", "positive", "negative"), legend_texts(figure), strict=True)]
    assert (errors[(y_true | y_pred) == 0] == 0).all()
    np.testing.assert_allclose(shown(figure.axes[0]), result_image(one.image.array))


def test_error_map_of_more_classes_names_the_mistakes():
    one = example()
    y_pred = one.mask.copy()
    y_pred[5:7, 5:18] = 2  # 26 of 2080 pixels, tissue called fibrosis
    figure = error_map(one.image.array, one.mask, y_pred, TISSUE)
    assert legend_texts(figure) == ["tissue", "fibrosis", "tissue called fibrosis (1.2 %)"]
    assert figure.legends[1].get_title().get_text() == "Mistakes (share of the image)"
    colour = to_rgb(figure.legends[1].get_patches()[0].get_facecolor())
    np.testing.assert_array_equal(np.isclose(shown(figure.axes[3]), colour).all(axis=-1), y_pred != one.mask)


def test_error_map_with_many_kinds_of_mistakes_and_with_none():
    rng = np.random.default_rng(0)
    one, y_pred = example(), rng.integers(0, 3, (40, 52))
    assert len(legend_texts(error_map(one.image.array, one.mask, y_pred, TISSUE))) == 2 + 6
    assert "no mistakes" in legend_texts(error_map(one.image.array, one.mask, one.mask, TISSUE))
    assert len(png(error_map(one.image.array, one.mask, y_pred, TISSUE))) > 1000


def test_share_agreement_has_a_panel_per_class_with_its_error():
    per_image = pd.DataFrame({"true_share_tissue": [0.5, 0.7], "predicted_share_tissue": [0.6, 0.7]})
    per_image = per_image.assign(true_share_fibrosis=[0.0, 0.1], predicted_share_fibrosis=[0.0, 0.1])
    figure = share_agreement(per_image, TISSUE)
    titles = [" ".join(ax.get_title().split()) for ax in figure.axes]
    assert titles == [
        "tissue: off by 5.0 percentage points on average",
        "fibrosis: off by 0.0 percentage points on average",
    ]
    np.testing.assert_allclose(figure.axes[0].collections[0].get_offsets(), [[50, 60], [70, 70]])
    assert figure.axes[0].get_xlabel() == "annotated area (% of the image)"
    in_part = share_agreement(per_image, TISSUE, whole=False)
    assert in_part.axes[0].get_ylabel() == "predicted area (% of what was annotated)"
    identity = figure.axes[0].lines[0]
    np.testing.assert_array_equal(identity.get_xdata(), identity.get_ydata())


def test_a_notebook_shows_the_figure_once(tmp_path):
    code = "import pandas as pd\nfrom utils.pages.figures import show\n"
    code += "from utils.pages.score_figures import learning_curves\n"
    code += "show(learning_curves(pd.DataFrame({'epoch': [1, 2], 'loss': [2.0, 1.0]})))"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(ROOT)}}).execute()
    outputs = notebook.cells[0].outputs
    assert [output.output_type for output in outputs] == ["display_data"]
    assert "image/png" in outputs[0].data


def touching_objects(shape=(40, 52)):
    """Nine boxes side by side, and one apart."""
    labels = np.zeros(shape, np.uint16)
    for i, (y, x) in enumerate(np.ndindex(3, 3)):
        labels[4 + 8 * y : 12 + 8 * y, 4 + 8 * x : 12 + 8 * x] = i + 1
    labels[32:38, 40:50] = 10
    return labels


def spread_objects(rng, n=60, shape=(200, 240)):
    """Cells that touch, as in a tissue: each pixel belongs to the nearest of some points, or to the background."""
    points = rng.uniform(0, 1, (n, 2)) * shape
    distance, nearest = KDTree(points).query(np.argwhere(np.ones(shape)))
    return np.where(distance < rng.uniform(8, 30), nearest + 1, 0).reshape(shape).astype(np.int32)


@pytest.mark.parametrize("contours", [True, False])
@pytest.mark.parametrize("n_channels", [1, 3, 4])
def test_label_overlay_outlines_or_tints_objects_and_leaves_the_rest(contours, n_channels):
    image, labels = random_image(np.random.default_rng(0), n_channels, np.uint16), touching_objects()
    painted = label_overlay(image, labels, contours)
    assert painted.dtype == np.uint8
    assert painted.shape == (*labels.shape, 3)
    plain = np.round(255 * display_image(image)).astype(np.uint8)
    np.testing.assert_array_equal(painted[labels == 0], plain[labels == 0])
    colours = np.round(255 * label_colours(labels, standing_out(display_image(thin(image, SAMPLE)))))
    for number in range(1, 11):
        inside = label_outlines(labels) & (labels == number)
        assert (painted[inside] == colours[number]).all(axis=-1).all() == contours
        rest = (labels == number) & ~inside
        before, after = (np.abs(one[rest].astype(float) - colours[number]).sum() for one in (plain, painted))
        assert (after < before) == (not contours)  # inside of its outline an object is seen as it is
        assert contours <= (painted[rest] == plain[rest]).all()


@pytest.mark.parametrize(("n_colours", "alike"), [(FEWEST_OUTLINES, 0.03), (len(OUTLINE_COLOURS), 0)])
def test_touching_objects_differ_in_colour(n_colours, alike):
    rng = np.random.default_rng(1)
    for labels in [touching_objects(), *(spread_objects(rng) for _ in range(5))]:
        colours = label_colours(labels, OUTLINE_COLOURS[:n_colours])
        assert colours.shape == (labels.max() + 1, 3)
        same = touching = 0
        for a, b in ((labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1])):
            border = (a != b) & (a > 0) & (b > 0)
            touching += border.sum()
            same += (colours[a[border]] == colours[b[border]]).all(axis=-1).sum()
        assert touching > 40
        assert same <= alike * touching
        assert len(np.unique(colours[1:], axis=0)) == n_colours  # all are used, also for lone objects


def test_more_neighbours_than_colours_share_those_that_fewest_have():
    labels = np.zeros((7, 60), int)
    labels[3] = 1 + np.arange(60) // 2
    assert len(label_colours(labels)) == 31
    crowd = np.arange(1, 10).reshape(3, 3)  # each within three pixels of each other
    counts = np.unique(label_colours(crowd)[1:], axis=0, return_counts=True)[1]
    assert sorted(counts) == [1, 2, 2, 2, 2]


def test_outlines_lie_inside_of_both_touching_objects():
    labels = touching_objects()
    lines = label_outlines(labels)
    assert not (lines & (labels == 0)).any()
    assert lines[4:28, 11].all()  # right border of the first column of boxes
    assert lines[4:28, 12].all()  # left border of the second
    assert not lines[6:10, 6:10].any()
    rng = np.random.default_rng(2)
    cells = spread_objects(rng)
    expected = find_boundaries(cells, mode="inner", connectivity=2)
    np.testing.assert_array_equal(label_outlines(cells, shown=max(cells.shape) * 2), expected)
    large = np.zeros((1500, 1500), np.uint16)
    large[300:900, 300:900] = 1
    assert label_outlines(large)[600].sum() == 20  # thicker on what will be shown smaller
    assert label_outlines(large, shown=1500)[600].sum() == 4
    many = np.kron(np.arange(50 * 50).reshape(50, 50), np.pad(np.ones((20, 20), np.int32), 5))
    assert label_outlines(many).sum() < 0.6 * (many > 0).sum()  # small objects are not covered by their outlines


@pytest.mark.parametrize("side", [64, 128, 256, 320, 512, 1024, 2048])
@pytest.mark.parametrize("shown", [275, 550, 1000])
def test_an_outline_is_seen_at_the_size_that_it_is_shown(side, shown):
    on_screen = line_width((side, side // 2), shown) * shown / side
    assert on_screen >= 1.3
    assert on_screen <= max(2.7, shown / side)  # no wider, unless a pixel is


def test_label_overlay_in_the_colours_of_the_classes():
    image, labels = random_image(np.random.default_rng(0), 1, np.uint8), touching_objects() * 7
    class_ids = {7 * number: 1 + number % 2 for number in range(1, 11)}
    painted = label_overlay(image, labels, class_ids=class_ids)
    colours = class_colours(TISSUE)
    for label, class_id in class_ids.items():
        inside = label_outlines(labels) & (labels == label)
        assert (painted[inside] == np.round(255 * np.array(colours[class_id]))).all()
    with pytest.raises(KeyError):
        label_overlay(image, labels, class_ids={7: 1})


def test_label_overlay_of_large_and_empty_images():
    image, labels = np.zeros((100, 900, 1), np.uint8), np.zeros((100, 900), np.uint32)
    assert label_overlay(image, labels).shape == (100, 900, 3)
    assert label_overlay(image[:1, :1], labels[:1, :1]).shape == (1, 1, 3)
    labels[50:, 450:], labels[10, 11] = 70_000, 3  # the small one is lost by thinning
    painted = label_overlay(image, labels, contours=False, max_side=300)
    np.testing.assert_array_equal(painted.any(axis=-1), thin(labels, 300) == 70_000)
    with pytest.raises(ValueError, match="pixels"):
        label_overlay(image, labels.T)
    with pytest.raises(ValueError):
        label_overlay(image, -labels.astype(int))


def object_example(name="cell.tif", pixel_size_um=None, seed=0):
    one = example(name, pixel_size_um=pixel_size_um, seed=seed)
    one.mask = np.roll(touching_objects(), seed, axis=1)
    return one


@pytest.mark.parametrize("n", [0, 1, 3, 6])
def test_objects_are_shown_below_their_images(n):
    examples = [object_example(f"{i}.tif", 0.5, i) for i in range(n)]
    figure = show_objects(examples, n=10)
    filled = [ax for ax in figure.axes if ax.images]
    assert len(png(figure)) > 1000
    titled = {ax.get_title().split(".")[0]: shown(ax) for ax in filled if ax.get_title()}
    assert sorted(titled) == [str(i) for i in range(n)]
    for i, picture in titled.items():
        np.testing.assert_allclose(picture, display_image(examples[int(i)].image.array))
    painted = {shown(ax).tobytes() for ax in filled if not ax.get_title()}
    assert painted == {label_overlay(one.image.array, one.mask).tobytes() for one in examples}
    assert sum(len(ax.artists) for ax in filled) == n  # scale bars


def test_augmented_objects_share_their_contrast():
    before = np.random.default_rng(0).random((8, 40, 52, 1)).astype(np.float32)
    labels = np.stack([touching_objects()] * 8)
    figure = show_augmented_objects(before, labels, 0.5 * before, labels[:, ::-1])
    pictures_shown = [shown(ax).astype(float) for ax in figure.axes if ax.images]
    assert len(pictures_shown) == 12
    for above, below in zip(pictures_shown[:6], pictures_shown[6:], strict=True):
        assert below[:4].mean() < 0.6 * above[:4].mean()
    assert pictures_shown[6][33, 45].tolist() != pictures_shown[0][33, 45].tolist()


def errors_of(true, predicted):
    """Truth and prediction of boxes in a row: (start, stop) of each object."""
    labels = np.zeros((2, 20, 100), np.uint16)
    for one, objects in zip(labels, (true, predicted), strict=True):
        for number, (start, stop) in enumerate(objects, start=1):
            one[5:15, start:stop] = number
    return labels


def test_object_errors_have_their_colours_and_numbers():
    y_true, y_pred = errors_of(
        [(0, 10), (12, 18), (24, 32), (32, 40), (44, 64)], [(0, 10), (24, 40), (44, 53), (53, 62), (80, 90)]
    )
    image = np.zeros((20, 100, 1), np.uint8)
    figure = object_errors(image, y_true, y_pred, pixel_size_um=0.5, name="cell.tif")
    assert figure.get_suptitle() == "cell.tif"
    assert figure.axes[0].artists  # scale bar
    assert [ax.get_title() for ax in figure.axes[2:]] == [
        "5 annotated objects: 2 matched, 1 missed, 1 merged, 1 split",
        "5 predicted objects: 2 matched, 1 false, 2 splitting",
    ]
    kinds = (
        ["matched", "missed", "matched", "merged", "split"],
        ["matched", "matched", "splitting", "splitting", "false"],
    )
    for ax, labels, of in zip(figure.axes[2:], (y_true, y_pred), kinds, strict=True):
        for number, kind in enumerate(of, start=1):
            edge = shown(ax)[label_outlines(labels) & (labels == number)]
            np.testing.assert_allclose(edge, np.broadcast_to(KINDS[kind][0], edge.shape), atol=1e-6)
    outlines = shown(figure.axes[1])
    assert outlines[5, 5].tolist() == pytest.approx(OUTLINES["both"])
    assert outlines[5, 15].tolist() == pytest.approx(OUTLINES["annotated"])
    assert outlines[5, 85].tolist() == pytest.approx(OUTLINES["predicted"])
    (legend,) = [one for one in figure.legends if not one.get_title().get_text()]
    colours = [to_rgb(patch.get_facecolor()) for patch in legend.get_patches()]
    assert len(colours) == len(set(colours)) == 5


def test_object_errors_with_nothing_in_them():
    image = np.zeros((20, 100, 1), np.uint8)
    nothing, some = errors_of([], [(0, 10)])
    titles = [ax.get_title() for ax in object_errors(image, nothing, some).axes]
    assert titles[2:] == ["0 annotated objects", "1 predicted objects: 1 false"]
    figure = object_errors(image, nothing, nothing)
    assert len(png(figure)) > 1000
    assert legend_texts(figure) == ["annotated", "predicted", "both"]


def scores_for_figures(n_images=6):
    rng = np.random.default_rng(0)
    pairs = []
    for i in range(n_images):
        y_true = touching_objects()
        y_pred = np.where(rng.permutation(11)[y_true] > 2, y_true, 0)
        pairs.append((f"{i}.tif", f"{i}.tif", y_true, np.roll(y_pred, i % 3, axis=1), None, None))
    return object_scores(pairs)


def test_ap_curve_shows_the_table():
    table = object_score_table(scores_for_figures())
    figure = ap_curve(table)
    ap_ax, others_ax = figure.axes
    np.testing.assert_array_equal(ap_ax.lines[0].get_ydata(), table["AP"])
    np.testing.assert_array_equal(ap_ax.lines[0].get_xdata(), table["iou_threshold"])
    band = ap_ax.collections[0].get_paths()[0].vertices
    assert band[:, 1].min() == pytest.approx(table["AP low"].min())
    assert band[:, 1].max() == pytest.approx(table["AP high"].max())
    assert [line.get_label() for line in others_ax.lines] == ["precision", "recall", "F1", "PQ"]
    for line in others_ax.lines:
        np.testing.assert_array_equal(line.get_ydata(), table[line.get_label()])
    assert len({line.get_linestyle() for line in others_ax.lines}) == 4  # told apart without colours
    assert "TP / (TP + FP + FN)" in ap_ax.get_legend().get_texts()[0].get_text()


def test_ap_curve_without_an_interval_and_without_objects():
    assert not ap_curve(object_score_table(scores_for_figures(2))).axes[0].collections
    empty = np.zeros((4, 4), np.uint16)
    assert len(png(ap_curve(object_score_table(object_scores([("a", "a", empty, empty, None, None)]))))) > 1000


def test_count_agreement_has_a_point_per_image():
    per_image = pd.DataFrame({"true objects": [10, 20, 0], "predicted objects": [12, 20, 1]})
    (ax,) = count_agreement(per_image).axes
    np.testing.assert_array_equal(ax.collections[0].get_offsets(), [[10, 12], [20, 20], [0, 1]])
    assert "off by 1.0 on average" in ax.get_title()
    assert ax.get_xlabel() == "annotated number of objects"
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), ax.lines[0].get_ydata())
    assert len(png(count_agreement(per_image[2:]))) > 1000


def bright_and_faint(faint=0.05):
    """A bright and a faint object on a noisy background, uint16 (Y, X, 1), and their labels."""
    rng = np.random.default_rng(0)
    labels = np.zeros((80, 80), np.uint8)
    labels[10:30, 10:30], labels[50:65, 50:65] = 1, 2
    image = 500 + rng.normal(0, 60, labels.shape) + np.array([0, 20_000, 20_000 * faint])[labels]
    return image.clip(0).astype(np.uint16)[..., None], labels


def test_a_faint_object_is_seen_beside_a_bright_one_in_pictures_of_results():
    image, labels = bright_and_faint()
    found = labels * (labels == 1)
    figures = [error_map(image, labels > 0, found > 0, BINARY), object_errors(image, labels, found)]
    for figure in figures:
        picture = shown(figure.axes[0])
        assert display_image(image)[labels == 2].mean() < 0.1
        assert picture[labels == 2].mean() > 0.2
        assert picture[labels == 2].mean() > 1.5 * picture[labels == 0].mean()
        assert figure.get_supxlabel().strip() == BRIGHTENED
        assert png(figure)
    assert label_overlay(image, labels * 0, brighten=True)[labels == 2].mean() > 50
    assert label_overlay(image, labels * 0)[labels == 2].mean() < 26


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_bright_field_keeps_its_brightness_and_says_nothing(dtype):
    image, labels = bright_and_faint()
    scale = np.iinfo(dtype).max / 30_000
    slide = np.repeat((scale * (25_000.0 - image)).clip(0), 3, axis=-1).astype(dtype)
    figure = error_map(slide, labels > 0, labels > 0, BINARY)
    np.testing.assert_allclose(shown(figure.axes[0]), display_image(slide))
    assert figure.get_supxlabel() == ""
    np.testing.assert_array_equal(overlay(slide, labels, TISSUE, brighten=True), overlay(slide, labels, TISSUE))


@pytest.mark.parametrize("classes", [2, 3])
def test_the_line_below_covers_neither_pictures_nor_legends(classes):
    image, labels = bright_and_faint()
    figure = error_map(image, np.minimum(labels, classes - 1), 0 * labels, TISSUE[:classes])
    png(figure)
    line = figure._supxlabel.get_window_extent()
    lowest = min(ax.get_window_extent().y0 for ax in figure.axes)
    text_top = line.y0 + 0.25 * figure.dpi  # blank lines are above the text
    for legend in figure.legends:
        assert text_top <= legend.get_window_extent().y0 + 2
        assert legend.get_window_extent().y1 <= lowest + 2
