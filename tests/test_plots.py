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

from utils import pictures
from utils.errors import DataError
from utils.paths import ROOT
from utils.pictures import class_colours, display_image, overlay, thin, write_png
from utils.plot_scores import confusion_figure, error_map, learning_curves, share_agreement
from utils.plots import png, show_augmented, show_pairs

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
    np.testing.assert_allclose(shown(figure.axes[0]), display_image(one.image.array))


def test_error_map_of_more_classes_names_the_mistakes():
    one = example()
    y_pred = one.mask.copy()
    y_pred[5:7, 5:18] = 2  # 26 of 2080 pixels, tissue called fibrosis
    figure = error_map(one.image.array, one.mask, y_pred, TISSUE)
    assert legend_texts(figure) == ["tissue", "fibrosis", "tissue called fibrosis (1.2 %)"]
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
    identity = figure.axes[0].lines[0]
    np.testing.assert_array_equal(identity.get_xdata(), identity.get_ydata())


def test_a_notebook_shows_the_figure_once(tmp_path):
    code = "import pandas as pd\nfrom utils.plots import show\nfrom utils.plot_scores import learning_curves\n"
    code += "show(learning_curves(pd.DataFrame({'epoch': [1, 2], 'loss': [2.0, 1.0]})))"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(ROOT)}}).execute()
    outputs = notebook.cells[0].outputs
    assert [output.output_type for output in outputs] == ["display_data"]
    assert "image/png" in outputs[0].data
