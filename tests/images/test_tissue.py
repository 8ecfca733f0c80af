"""Where a slide holds tissue, and why the rest is left out."""

import numpy as np
import pytest

from data_samples.slides import write_slide
from utils.images.slides import open_slide
from utils.images.stains import H_AND_E, PICROSIRIUS_RED, TRICHROME
from utils.images.tissue import FOLD, GLASS, OUT_OF_FOCUS, PEN, TISSUE, detail, find_tissue, tissue_mask

UM = 8.0
WHITE, PINK, DARK = (243, 242, 245), (205, 150, 195), (120, 60, 125)
INKS = {"blue": (40, 70, 170), "green": (40, 130, 80), "black": (35, 35, 40), "red": (200, 40, 45)}


def thumbnail(colour=PINK):
    """A piece of tissue on glass, (150, 200, 3) uint8."""
    rng = np.random.default_rng(0)
    rgb = np.full((150, 200, 3), WHITE, float) + rng.normal(0, 1, (150, 200, 3))
    rgb[30:120, 40:160] = np.array(colour) + rng.normal(0, 8, (90, 120, 1))
    return np.clip(rgb, 0, 255).astype(np.uint8)


def share(classes, kind, place):
    return (classes[place] == kind).mean()


def test_tissue_and_glass():
    classes = tissue_mask(thumbnail(), UM)
    inner = (slice(33, 117), slice(43, 157))
    assert (classes[inner] == TISSUE).all()
    assert (classes == TISSUE).sum() <= 96 * 126
    assert set(np.unique(classes)) == {GLASS, TISSUE}


def test_faint_tissue_is_found_and_fat_in_it_belongs_to_it():
    rgb = thumbnail((225, 205, 222))
    rgb[60:66, 60:66] = WHITE
    assert share(tissue_mask(rgb, UM), TISSUE, np.s_[34:116, 44:156]) == 1


def test_dust_is_no_tissue():
    rgb = thumbnail()
    rgb[5:10, 5:10] = PINK
    assert share(tissue_mask(rgb, UM), GLASS, np.s_[:20, :20]) == 1


@pytest.mark.parametrize("value", [0, 128, 243, 255])
def test_an_even_picture_is_no_error(value):
    classes = tissue_mask(np.full((60, 80, 3), value, np.uint8), UM)
    assert classes.shape == (60, 80)
    if value >= 243:
        assert (classes == GLASS).all()


@pytest.mark.parametrize("ink", INKS)
def test_pens_are_left_out_on_tissue_and_on_glass(ink):
    rgb = thumbnail()
    rgb[10:140, 80:95] = INKS[ink]
    classes = tissue_mask(rgb, UM)
    assert share(classes, PEN, np.s_[10:140, 80:95]) == 1
    assert share(classes, TISSUE, np.s_[35:115, 45:75]) == 1


def test_stains_in_the_colours_of_ink_are_kept():
    for colour, stain in (((185, 60, 75), PICROSIRIUS_RED), ((90, 120, 190), TRICHROME), ((205, 45, 60), TRICHROME)):
        rgb = thumbnail()
        rgb[50:100, 60:140] = colour
        assert share(tissue_mask(rgb, UM, stain), TISSUE, np.s_[35:115, 45:155]) == 1
        assert (tissue_mask(rgb, UM) != TISSUE)[50:100, 60:140].any() or stain == PICROSIRIUS_RED


def test_folds_are_left_out_but_not_lymphocytes():
    rgb = thumbnail()
    rgb[50:60, 50:140] = np.square(np.array(PINK, float)) / 243  # two layers
    rgb[80:95, 60:75] = (130, 110, 175)  # many nuclei: red far darker
    classes = tissue_mask(rgb, UM)
    assert share(classes, FOLD, np.s_[52:58, 55:135]) == 1
    assert share(classes, TISSUE, np.s_[78:97, 58:77]) == 1
    assert not (tissue_mask(rgb, UM, PICROSIRIUS_RED) == FOLD).any()


def test_detail_is_that_of_each_square():
    rgb = np.full((8, 12, 3), 100, np.uint8)
    rgb[:4, :4] += (np.indices((4, 4)).sum(axis=0) % 2 * 50).astype(np.uint8)[..., None]
    sharp = detail(rgb, 4)
    assert sharp.shape == (2, 3)
    assert sharp[0, 0] > 10 * sharp[1, 2]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """A slide with fine detail everywhere but in one part."""
    rng = np.random.default_rng(1)
    rgb = np.full((2000, 2600, 3), WHITE, np.uint8)
    grain = np.kron(rng.normal(0, 30, (400, 500)), np.ones((4, 4)))
    grain[500:1200, 500:1200] = 0
    rgb[200:1800, 400:2400] = np.clip(np.array(PINK) + grain[..., None], 0, 255)
    path = tmp_path_factory.mktemp("slide") / "a.svs"
    write_slide(path, rgb)
    with open_slide(path) as slide:
        return find_tissue(slide)


def test_parts_out_of_focus_are_left_out(found):
    assert found.downsample == 16
    assert found.um_per_pixel == UM
    assert found.thumbnail.shape == (125, 162, 3)
    assert share(found.classes, OUT_OF_FOCUS, np.s_[50:80, 62:92]) == 1
    assert share(found.classes, TISSUE, np.s_[20:105, 115:145]) == 1
    assert found.areas_mm2()["out of focus"] == pytest.approx(0.1225, rel=0.35)


def test_tiles_know_how_much_tissue_they_hold(found):
    assert found.share(1800, 1000, 512) == 1
    assert found.share(0, 0, 256) == 0
    assert found.share(1000, 800, 256) == 0  # out of focus
    assert 0.3 < found.share(400 - 256, 600, 512) < 0.7
    assert found.share(-5000, 0, 256) == 0


def test_the_stain_must_be_known():
    with pytest.raises(KeyError):
        tissue_mask(thumbnail(), UM, "PAS")
    assert tissue_mask(thumbnail(DARK), UM, H_AND_E).any()
