"""The methods of a paper: every number from what the run wrote, only what was used is cited, and facts are right."""

import copy
import re

import pandas as pd
import pytest

from tests.notebook_forms import declared
from utils.forms.fields import AUTOMATIC, Automatic
from utils.tasks.bibliography import ENTRIES, bibtex, cited, gathered, in_one_line, named_in
from utils.tasks.methods import SETTINGS, Run, origins, paragraphs, references
from utils.tasks.registry import CLASSIFIER, STARDIST, UNET

TASKS = {"unet": UNET, "stardist": STARDIST, "classification": CLASSIFIER}
NETWORKS = {
    "unet": {"pooling_steps": 3, "filters": 17, "half_resolution": True},
    "stardist": {"n_rays": 37, "grid": [2, 2], "unet_n_depth": 3, "unet_n_filter_base": 29, "unet_batch_norm": True}
    | {"n_classes": 5},
    "classification": {"network": "small CNN", "classes": 3, "filters": 19, "levels": 4, "half_resolution": True},
}


def content(task):
    """What a run wrote, as nested dictionaries: each number of the paragraph once, each with another value."""
    names = ["background", "nucleus"] if task != "classification" else ["G1", "S", "G2"]
    return {
        "description": {
            "channels": ["red", "green", "blue"],
            "classes": [{"id": i, "name": name, "value": i, "group": None} for i, name in enumerate(names)],
            "normalisation": {"kind": "percentile", "low": 1, "high": 99.8, "per": "image", "channels": "separate"},
            "pixel_size_um": 0.31,
            "network": NETWORKS[task],
            "input": {"size": [71, 73], "fit": "pad"} if task == "classification" else {"patch": [112, 144]},
            "threshold": 0.43,
            "threshold_images": 41,
            "smallest_part": 5,
            "nms_threshold": 0.37,
            "temperature": 1.23,
            "calibration": {"validation_images": 67, "fitted": True},
            "decides": {"network": 0.75, "forest": 0.25, "why": ""},
            "versions": {"tensorflow": "2.21.0", "keras": "3.15.1"},
            "about": {"data": "biopsies", "data_licence": "CC BY 4.0"},
            "automatic": [{"form": "training", "field": "patch_width", "value": 1, "reason": "", "trials": [{}, {}]}],
            "run": {
                "parameters": 123456,
                "epochs": 6,
                "kept_epoch": 5,
                "stages": [{"epochs": 9, "rate": 0.0021, "last_layer": False}],
                "steps": 53,
                "batch_size": 11,
                "seconds": 1234.5,
                "processor": "Some CPU (8 cores)",
                "graphics_card": "",
            },
        },
        "forms": {
            "data": {},
            "augmentation": {"flip": True, "rotate_90": True, "rotation": 46, "zoom": 27, "shift": 6, "intensity": 23}
            | {"blur": 1.5, "noise": 7, "stain": 14, "empty": 8},
            "training": {"learning_rate_schedule": "cosine", "patience": 1, "min_fraction": 0.03}
            | {"loss": "weighted cross-entropy + Dice", "class_weights": "balanced"},
        },
        "roles": {"training": 31, "validation": 12, "test": 10},
        "val_loss": [9.0, 8.0, 7.0, 6.0, 0.512, 0.6],
        "scores": {
            "headline": {"name": "Score", "value": 0.834, "low": 0.771, "high": 0.883},
            "test_images": "images set aside before training",
            "independent": True,
            "number_of_images": 10,
            "classical": [
                {"method": "network", "value": 0.83, "difference": None, "low": None, "high": None},
                {"method": "Otsu threshold", "value": 0.62, "difference": 0.21, "low": 0.11, "high": 0.32},
            ],
            "random_forest": [{"level": "classes", "score": "balanced_accuracy", "random forest": 0.58}]
            if task == "classification"
            else None,
        },
        "scratch": {"headline": {"value": 0.444, "low": 0.333, "high": 0.555}},
    }


def run_of(given):
    roles = [role for role, n in given["roles"].items() for _ in range(n)]
    split = pd.DataFrame({"file": [f"{i}.tif" for i in range(len(roles))], "role": roles})
    split["group"] = given.get("groups") or [str(i) for i in range(len(roles))]
    if "folds" in given["scores"]:
        split["fold"] = [1 + i % len(given["scores"]["folds"]) for i in range(len(split))]
    history = pd.DataFrame({"epoch": range(1, len(given["val_loss"]) + 1), "val_loss": given["val_loss"]})
    tested = pd.DataFrame({"group": [str(i) for i in range(given["scores"].get("number_of_images", 0))]})
    return Run(given["description"], given["forms"], split, history, given["scores"], tested, given["scratch"])


def told(task, given):
    run = run_of(given)
    return "\n".join(paragraphs(run, TASKS[task].methods(run)))


def changed(given, path, value):
    given = copy.deepcopy(given)
    place = given
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return given


COMMON = [
    (("roles", "training"), 33, "33 for training"),
    (("roles", "validation"), 14, "14 for validation"),
    (("roles", "test"), 13, "13 for test"),
    (("roles", "training"), 34, "56 annotated images"),
    (("description", "channels"), ["red"], "1 channel"),
    (("description", "pixel_size_um"), 0.65, "0.65 µm"),
    (("description", "normalisation", "low"), 2, "percentile 2 became 0"),
    (("description", "normalisation", "high"), 99, "99 became 1"),
    (("description", "about", "data"), "slides", "slides"),
    (("description", "about", "data_licence"), "CC0", "CC0"),
    (("forms", "augmentation", "rotation"), 33, "33°"),
    (("forms", "augmentation", "zoom"), 12, "change of size by up to 12 %"),
    (("forms", "augmentation", "shift"), 4, "shifts by up to 4 %"),
    (("forms", "augmentation", "intensity"), 15, "contrast by up to 15 % and of brightness by up to 7.5 %"),
    (("forms", "augmentation", "blur"), 2.5, "up to 2.5 pixels"),
    (("forms", "augmentation", "noise"), 5, "up to 5 % of the range"),
    (("forms", "augmentation", "empty"), 3, "3 % of the patches"),
    (("description", "run", "parameters"), 654321, "654,321 parameters"),
    (("description", "run", "epochs"), 5, "took 5 epochs"),
    (("description", "run", "steps"), 59, "59 batches"),
    (("description", "run", "batch_size"), 13, "batches of 13 "),
    (("description", "run", "stages", 0, "rate"), 0.0043, "0.0043"),
    (("description", "run", "stages", 0, "epochs"), 77, "planned for 77 epochs"),
    (("description", "run", "kept_epoch"), 4, "epoch 4 were kept"),
    (("description", "run", "seconds"), 600, "10 minutes"),
    (("description", "run", "seconds"), 45.5, "45.5 seconds"),
    (("description", "run", "processor"), "Other (2 cores)", "Other (2 cores)"),
    (("description", "run", "graphics_card"), "H100", "on H100"),
    (("description", "versions", "tensorflow"), "2.22.0", "TensorFlow 2.22.0"),
    (("description", "automatic"), [], "Software"),
    (("forms", "training", "patience"), 31, "ended early. "),
    (("val_loss", 5), 0.4, "ended early. "),
    (("forms", "training", "learning_rate_schedule"), "reduce on plateau", "for 2 epochs"),
    (("forms", "training", "learning_rate_schedule"), "constant", "constant afterwards"),
    (("val_loss", 4), 0.467, "0.467"),
    (("scores", "headline", "value"), 0.91, "Score was 0.91"),
    (("scores", "headline", "low"), 0.7, "interval 0.70 to"),
    (("scores", "headline", "high"), 0.95, "to 0.95)"),
    (("scores", "number_of_images"), 25, "tested on 25 images"),
    (("scores", "test_images"), "the folder x", "the folder x"),
    (("scores", "independent"), False, "not independent"),
    (("scores", "classical", 1, "value"), 0.51, "reached 0.51"),
    (("scores", "classical", 1, "difference"), 0.17, "+0.17"),
    (("scores", "classical", 1, "low"), -0.05, "-0.05 to"),
    (("scores", "classical", 1, "high"), 0.41, "to +0.41"),
    (("scratch", "headline", "value"), 0.456, "reached 0.46"),
    (("scratch", "headline", "low"), 0.2, "interval 0.20"),
    (("scratch", "headline", "high"), 0.66, "to 0.66"),
]
OWN = {
    "unet": [
        (("description", "network", "pooling_steps"), 4, "4 pooling steps"),
        (("description", "network", "filters"), 23, "23 filters"),
        (("description", "network", "half_resolution"), False, "each further one, gave"),
        (("description", "input", "patch"), [160, 192], "160 x 192"),
        (("description", "threshold"), 0.61, "above 0.61"),
        (("description", "threshold_images"), 48, "36 of the training images"),
        (("description", "smallest_part"), 6, "parts of fewer than 6 pixels were left out"),
        (("forms", "augmentation", "stain"), 9, "each stain by up to 9 %"),
        (("forms", "training", "min_fraction"), 0.05, "at least 5 %"),
        (("forms", "training", "loss"), "Dice", "as loss the soft Dice loss"),
        (("forms", "training", "loss"), "cross-entropy", "as loss cross-entropy."),
    ],
    "stardist": [
        (("description", "network", "n_rays"), 64, "64 directions"),
        (("description", "network", "grid"), [4, 4], "4 x 4 pixels"),
        (("description", "network", "unet_n_depth"), 2, "2 pooling steps"),
        (("description", "network", "unet_n_filter_base"), 32, "32 filters"),
        (("description", "network", "n_classes"), 7, "7 classes of objects"),
        (("description", "network", "n_classes"), None, "37 directions ("),
        (("description", "input", "patch"), [160, 192], "160 x 192"),
        (("description", "threshold"), 0.61, "probability of 0.61"),
        (("description", "nms_threshold"), 0.51, "more than 0.51"),
        (("forms", "augmentation", "stain"), 9, "each stain by up to 9 %"),
        (("forms", "training", "min_fraction"), 0.05, "at least 5 %"),
    ],
    "classification": [
        (("description", "network", "levels"), 5, "5 levels"),
        (("description", "network", "filters"), 24, "24 filters"),
        (("description", "network", "classes"), 4, "4 classes"),
        (("description", "input", "size"), [61, 62], "61 x 62"),
        (("description", "input", "fit"), "resize", "stretched"),
        (("description", "temperature"), 2.1, "temperature of 2.1"),
        (("description", "calibration", "validation_images"), 87, "87 validation images"),
        (("description", "calibration", "fitted"), False, "An image was given"),
        (("description", "decides", "network"), 0.25, "weight of 0.25"),
        (("description", "decides", "network"), 1.0, "not used"),
        (("forms", "training", "class_weights"), "none", "as loss cross-entropy."),
        (("description", "network", "network"), "ResNet50", "ResNet50 (He et al. 2016)"),
        (("scores", "random_forest", 0, "random forest"), 0.66, "reached 0.66"),
        (("scores", "random_forest", 0, "network"), 0.71, "the network alone reached 0.71 and a forest"),
    ],
}


@pytest.mark.parametrize(
    ("task", "path", "value", "expected"), [(task, *one) for task in TASKS for one in [*COMMON, *OWN[task]]]
)
def test_each_number_is_that_of_the_run(task, path, value, expected):
    given = content(task)
    before, after = told(task, given), told(task, changed(given, path, value))
    assert before != after
    assert expected in after


def automatic(notebook):
    """Fields of a notebook that may say automatic."""
    found = {name: one for form in declared(notebook) for name, one in form.fields.items()}
    return {name for name, one in found.items() if isinstance(one, Automatic) or one.default_value == AUTOMATIC}


def test_settings_are_told_in_words_of_the_field_not_of_the_form():
    for notebook in ("unet_segmentation", "stardist_segmentation", "classification"):
        fields = automatic(notebook) - {"axes", "mask_type", "qupath"}
        assert len(fields) > 15
        assert not fields - {*SETTINGS}
        given = content("unet")
        given["description"]["automatic"] = [{"form": "", "field": name} for name in sorted(fields)]
        assert "_" not in told("unet", given)
    fields = ["patch_height", "patch_width", "flip", "zoom", "n_rays"]
    given["description"]["automatic"] = [{"form": "", "field": name} for name in fields]
    one = "by fixed rules were the size of the patches, the augmentation and the number of directions."
    assert one in told("unet", given)


def test_thresholds_are_chosen_only_where_there_was_something_to_choose_by():
    given = content("stardist")
    assert "both thresholds were chosen on the 12 validation images" in told("stardist", given)
    given["description"].pop("threshold_images")  # of earlier versions
    assert "both thresholds were chosen on the 12 validation images" in told("stardist", given)
    given["description"]["threshold_images"] = 0
    assert "chosen on" not in told("stardist", given)
    assert "as no validation image showed an object" in told("stardist", given)


def test_a_time_that_was_given_is_told():
    given = content("unet")
    given["description"]["automatic"].append(
        {"form": "training", "field": "number_of_epochs", "value": 9, "reason": ""}
    )
    assert "bounded by a time" not in told("unet", given)
    given["forms"]["training"]["time_for_training"] = "automatic"
    assert "bounded by a time" not in told("unet", given)
    given["forms"]["training"]["time_for_training"] = 1.0
    assert "The number of epochs was bounded by a time of 1 min" in told("unet", given)


CONSTANTS = "0 1 2 180 95 0.3 16 11.5"  # ranges, twice as many, turns, intervals, dropout, specks, half of 23


@pytest.mark.parametrize("task", TASKS)
def test_no_number_comes_from_elsewhere(task):
    given = content(task)
    text = told(task, given)
    for key in references(run_of(given), TASKS[task].methods(run_of(given))):
        text = text.replace(cited(key), "")
    written = {one.rstrip(".").replace(",", "") for one in re.findall(r"\d[\d.,]*\d|\d", text)}
    plain = re.findall(r"\d+\.?\d*", str(given)) + ["53", "41", "29", "20.6", "3", "10"]
    known = {f"{float(one):.{digits}f}" for one in plain for digits in range(4)}
    known |= {f"{100 * float(one):g}" for one in plain} | {f"{float(one):g}" for one in plain} | set(plain)
    assert written - known - {*CONSTANTS.split(), "2.21.0", "3.15.1"} == set()


@pytest.mark.parametrize("task", TASKS)
def test_the_text_is_whole(task):
    text = told(task, content(task))
    assert not re.search(r"[{}]|None|nan|  |\.\.|\( | ,|\*\*|automatic ", text), text
    assert len(text.split("\n")) == 3
    for sentence in re.findall(r"\b(?:is|are|will|has) ", text):
        assert sentence.strip() in ("is", "are"), sentence  # of a definition; all else is over
    assert not re.search(r"\b(excellent|powerful|state.of.the.art|novel|easy|robust|best performing)\b", text)


@pytest.mark.parametrize("chosen", [None, 41])
def test_several_classes_of_pixels(chosen):
    given = content("unet")
    given["description"]["classes"].append({"id": 2, "name": "fibrosis", "value": 2, "group": None})
    given["description"]["share_images"] = chosen
    text = told("unet", given)
    assert ("cover the same shares" in text) == bool(chosen)
    assert "was given its most probable class" in text
    if chosen:
        assert f"{chosen - given['roles']['validation']} of the training images" in text


@pytest.mark.parametrize("task", TASKS)
def test_models_of_earlier_versions_leave_out_what_they_do_not_say(task):
    given = content(task)
    for entry in ("run", "about", "automatic", "versions", "calibration", "threshold_images", "decides"):
        given["description"].pop(entry)
    given["scores"], given["scratch"], given["forms"]["augmentation"] = {}, {}, {}
    given["forms"]["training"] = {}
    text = told(task, given)
    assert "took 6 epochs" in text
    assert not re.search(r"[{}]|None|nan|  |\.\.|\( | ,", text), text


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("names", [("low", "high"), ("difference", "low", "high"), ("value", "low", "high")])
@pytest.mark.parametrize("nothing", [None, float("nan")])
def test_scores_that_are_unknown_are_no_numbers(task, names, nothing):
    given = content(task)
    for place in (given["scores"]["headline"], given["scores"]["classical"][1], given["scratch"]["headline"]):
        place.update(dict.fromkeys(names, nothing))
    given["description"]["pixel_size_um"] = None
    text = told(task, given)
    assert not re.search(r"[{}]|None|nan|  |\.\.|\( | ,", text), text
    assert "confidence interval" not in text
    assert ("was unknown" in text) == ("value" in names)
    assert not {"wilson1927", "newcombe1998"} & set(references(run_of(given), TASKS[task].methods(run_of(given))))


def test_a_fine_tuned_model_tells_what_its_form_does_not_ask_for():
    given = content("classification")
    given["forms"]["training"].pop("class_weights")
    assert "counted alike" not in told("classification", given)
    given["description"]["training"] = {"class_weights": "balanced", "patience": 3}
    assert "counted alike" in told("classification", given)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(("size", "turn"), [([112, 144], 180), ([96, 96], 90)])
def test_turns_are_those_that_fit_what_is_shown(task, size, turn):
    where = "size" if task == "classification" else "patch"
    assert f"turns by multiples of {turn}°" in told(task, changed(content(task), ("description", "input", where), size))


def test_stains_of_whole_images_are_left_alone_and_not_told():
    given = content("classification")
    assert "stain" not in told("classification", given)
    assert "tellez2018" not in references(run_of(given), CLASSIFIER.methods(run_of(given)))


def test_one_range_of_all_colours_is_told_as_it_was_found():
    given, (low, high) = content("unet"), ([3.0, 3.0, 3.0], [250.0, 250.0, 250.0])
    given["description"]["normalisation"] |= {"per": "training set", "channels": "joint", "range": [low, high]}
    text = told("unet", given)
    assert "the smallest percentile 1 and the largest 99.8 of any channel of the training images (3 to 250)" in text


def test_classes_in_turn_are_told_in_place_of_a_share_that_did_not_matter():
    given = changed(content("unet"), ("description", "balanced"), True)
    assert "patches of 112 x 144 pixels (height x width), around pixels of all classes in turn" in told("unet", given)
    assert "at least 3 %" not in told("unet", given)


def test_specks_are_told_only_where_they_are_left_out():
    given = content("unet")
    assert "parts of fewer than 5 pixels were left out" in told("unet", given)
    for smallest in (1, None):
        given["description"]["smallest_part"] = smallest
        if smallest is None:
            given["description"].pop("smallest_part")
        assert "left out" not in told("unet", given)
    three = [{"id": i, "name": name} for i, name in enumerate("abc")]
    assert "left out" not in told("unet", changed(content("unet"), ("description", "classes"), three))


def test_intervals_are_told_as_they_are_found():
    assert "fell on few images, the closer that number was brought to the 10." in told("unet", content("unet"))


def test_patients_and_folds_are_told():
    given = content("unet")
    given["groups"] = [f"patient {i % 7}" for i in range(53)]
    assert "53 annotated images of 7 groups" in told("unet", given)
    assert "never divided between" in told("unet", given)
    given["scores"]["folds"] = [{"fold": i, "epochs": 20 + i} for i in range(1, 5)]
    assert "divided into 4 parts (cross-validation)" in told("unet", given)
    assert "4 such models, each trained on the other parts for 21 to 24 epochs" in told("unet", given)


def test_stages_and_the_start_are_told():
    given = content("unet")
    given["description"]["about"]["start"] = {"name": "M", "data": "other slides", "data_licence": "CC0"}
    given["description"]["run"]["stages"] = [
        {"epochs": 4, "rate": 0.001, "last_layer": True},
        {"epochs": 8, "rate": 0.0001, "last_layer": False},
    ]
    text = told("unet", given)
    assert "Its training started from the weights of M (licence: not said); its training images: other slides" in text
    assert "the last layers for up to 4 epochs (learning rate 0.001), then all layers for up to 8 epochs (" in text
    assert text.count("random weights") == 1  # of the other one, trained for comparison
    given["description"]["about"]["start"]["start"] = {"name": "N"}
    assert "The training of that model started from the weights of N" in told("unet", given)


@pytest.mark.parametrize("normalisation", ["signal", "training set", "both", "joint"])
def test_each_normalisation_is_told(normalisation):
    given = content("unet")
    per = normalisation if normalisation in ("training set", "both") else "image"
    given["description"]["normalisation"] |= {"kind": "signal percentile", "per": per, "range": [[12, 13], [345, 346]]}
    given["description"]["normalisation"]["channels"] = "joint" if normalisation == "joint" else "separate"
    text = told("unet", given)
    assert ("12 to 345" in text) == (per != "image")
    assert ("All channels together" in text) == (normalisation == "joint")
    assert cited("weigert2018") not in text


def test_only_what_was_used_is_cited():
    given = content("unet")
    keys = references(run_of(given), UNET.methods(run_of(given)))
    assert {"ronneberger2015", "milletari2016", "otsu1979", "tellez2018", "weigert2018", "wilson1927"} <= set(keys)
    assert not {"schmidt2018", "northcutt2021", "geurts2006", "he2016", "guo2017"} & set(keys)
    given["forms"]["training"] |= {"loss": "cross-entropy", "learning_rate_schedule": "constant"}
    given["forms"]["augmentation"] = {}
    given["scores"] = {}
    given["description"]["normalisation"] |= {"kind": "signal percentile"}
    keys = references(run_of(given), UNET.methods(run_of(given)))
    assert keys == ["abadi2016", "chollet2015", "kingma2015", "ronneberger2015", "vanderwalt2014"]
    given["description"]["normalisation"] |= {"kind": "percentile", "per": "training set", "range": [[1], [2]]}
    assert references(run_of(given), UNET.methods(run_of(given))) == keys
    given["forms"]["data"] = {"label_review": "reviewed.csv"}
    assert "northcutt2021" in references(run_of(given), UNET.methods(run_of(given)))


def test_the_optimiser_is_told_and_cited():
    given = content("unet")
    given["description"]["optimiser"] = "Muon"
    text, keys = told("unet", given), references(run_of(given), UNET.methods(run_of(given)))
    assert "Muon (Jordan et al. 2024; Liu et al. 2025) for kernels and Adam (Kingma and Ba 2015)" in text
    assert {"jordan2024", "liu2025", "kingma2015"} <= set(keys)
    given["description"]["optimiser"] = "Adam"
    assert "with the optimiser Adam (Kingma and Ba 2015)" in told("unet", given)


@pytest.mark.parametrize("task", TASKS)
def test_every_reference_stands_in_the_text_and_the_other_way_round(task):
    given = content(task)
    text, keys = told(task, given), references(run_of(given), TASKS[task].methods(run_of(given)))
    packages = {"vanderwalt2014", "pedregosa2011", "weigert2018", "deng2009"}  # of software and data
    assert [key for key in keys if cited(key) not in text and key not in packages] == []
    assert [key for key in ENTRIES if cited(key) in text and key not in keys] == []


def test_bibtex_can_be_read():
    text = bibtex(ENTRIES)
    assert text.count("{") == text.count("}")
    assert re.findall(r"@(\w+)\{(\w+),", text) == [(ENTRIES[key].kind, key) for key in sorted(ENTRIES)]
    assert not re.search(r"[^\\][&%#]", text)
    for entry in ENTRIES.values():
        assert re.fullmatch(r"10\.\d{4,9}/\S+", entry.more.get("doi", "10.1234/5"))
        assert 1900 < entry.year < 2027
        assert in_one_line(entry).endswith(".")
        assert not re.search(r"\.\.|, ,|None", in_one_line(entry))


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("nuclei (BBBC038, doi:10.1038/s41592-019-0612-7)", ["caicedo2019"]),
        ("https://doi.org/10.1109/TMI.2019.2947628 and 10.1109/tmi.2018.2865709.", ["kumar2020", "naylor2019"]),
        ("our own, 2024", []),
        ("", []),
        ("doi:10.5281/zenodo.1234567", []),
    ],
)
def test_images_are_cited_by_their_doi(text, keys):
    assert named_in(text) == keys
    own = gathered([], [text]).keys() - set(keys)
    assert own == ({"images1"} if "zenodo" in text else set())


@pytest.mark.parametrize(
    "odd", ["a {b} 10.1/x", "100 % of & #1_ \\ 10.1234/a_b}", '10.1234/ä, "x"', "10.12345/(x)", "}" * 9]
)
def test_odd_words_on_images_leave_bibtex_whole(odd):
    text = bibtex(gathered([], [odd]))
    assert text.count("{") == text.count("}")


def test_the_images_of_all_models_before_are_cited():
    given = content("unet")
    given["description"]["about"]["start"] = {
        "name": "A",
        "start": {"name": "B", "data": "doi:10.1038/s41592-019-0612-7"},
    }
    assert origins(run_of(given)) == ["biopsies", "doi:10.1038/s41592-019-0612-7"]
    assert "caicedo2019" in gathered([], origins(run_of(given)))
