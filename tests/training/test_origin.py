"""Origin and licence of images and weights: known of what comes with the project, kept through all retraining."""

import json

import pytest

from utils.files import file_sha256, write_json
from utils.samples import CLASSIFICATION, SAMPLES, STARTING
from utils.tasks.objects.network import PUBLISHED
from utils.tasks.registry import read_task
from utils.training import model_folder, origin
from utils.training.origin import about, clash, lines

LAB = {"data_origin": "biopsies of the Curie lab, 2024", "data_licence": "CC BY 4.0"}


@pytest.fixture
def made(tmp_path):
    """Return a function: name, values of the form data, more forms -> folder of a model that was made with them."""

    def make(name="model", more=None, **data):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        (folder / "weights.h5").write_bytes(b"")
        forms = {"data": {"training_source": "x", **data}, **(more or {})}
        write_json(folder / "parameters.json", {"overrides": forms})
        content = {"format": 1, "task": "unet", "sha256": {"weights.h5": file_sha256(folder / "weights.h5")}}
        write_json(folder / "model.json", content | {"about": origin.to_keep(folder, content)})
        return folder

    return make


def test_what_the_form_says_is_kept_and_told(made):
    folder = made(**LAB)
    assert json.loads((folder / "model.json").read_text())["about"] == {
        "data": "biopsies of the Curie lab, 2024",
        "data_licence": "CC BY 4.0",
    }
    told = lines(model_folder.read_model(folder))
    assert told == ["Training images: biopsies of the Curie lab, 2024 (licence: CC BY 4.0)."]


def test_nothing_said_is_said(made):
    assert lines(model_folder.read_model(made())) == ["Training images: their origin is not said."]
    told = lines(model_folder.read_model(made("licensed", data_licence="CC0")))
    assert told == ["Training images: of unknown origin (licence: CC0)."]


@pytest.mark.parametrize("sample", [*SAMPLES, *CLASSIFICATION])
def test_samples_know_their_own(made, sample):
    known = about(made(training_source=(SAMPLES | CLASSIFICATION)[sample]["training_source"]))
    assert known["data_licence"] == "CC0 1.0"
    assert "Data Science Bowl" in known["data"] if sample == "nuclei_real" else f"the sample {sample} " in known["data"]


def test_a_person_knows_better_than_the_sample(made):
    known = about(made(training_source=SAMPLES["nuclei"]["training_source"], data_origin="mine"))
    assert known == {"data": "mine"}  # the licence of the sample is not that of other images


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_models_know_their_own(made, name):
    (_, start) = lines(model_folder.read_model(made(starting_model=name, **LAB)))
    assert start.startswith(f"Started from the weights of {name} of StarDist by Uwe Schmidt, Martin Weigert (licence: ")
    assert "MoNuSeg" in start if name == "2D_versatile_he" else "2018 Data Science Bowl" in start


@pytest.mark.parametrize("task", STARTING)
def test_the_models_of_the_project_know_their_own(made, task):
    (_, start) = lines(model_folder.read_model(made(starting_model=STARTING[task])))
    assert "of synthetic nuclei, of NoCodeDL4Bio (licence: CC0 1.0); its training images: synthetic images" in start


def test_a_chain_of_any_length_is_kept_when_its_models_are_gone(made):
    names = [f"model_{i}" for i in range(30)]
    folders = [made(names[0], starting_model="2D_versatile_he", data_origin="origin 0")]
    for i in range(1, 30):
        folders.append(made(names[i], starting_model=str(folders[-1]), data_origin=f"origin {i}"))
    for folder in folders[:-1]:
        (folder / "model.json").unlink()
        (folder / "parameters.json").unlink()

    first, *started = lines(model_folder.read_model(folders[-1]))

    assert first == "Training images: origin 29 (licence: not said)."
    assert len(started) == 30
    for i, told in enumerate(reversed(started[:-1])):
        assert told == (
            f"Started from the weights of model_{i} (licence: not said); its training images: origin {i} (licence: not "
            "said)."
        )
    assert "CC BY-NC-SA 4.0 (MoNuSeg)" in started[-1]


def test_what_the_starting_model_was_called_goes_with_it(made):
    first = made("first", **LAB)
    origin.remember(first, {"title": "Fibrosis", "authors": "A. Curie", "licence": "CC BY-SA 4.0", "description": "x"})
    (_, start) = lines(model_folder.read_model(made("second", starting_model=str(first))))
    assert start == (
        "Started from the weights of Fibrosis by A. Curie (licence: CC BY-SA 4.0); its training images: biopsies of "
        "the Curie lab, 2024 (licence: CC BY 4.0)."
    )


def test_what_starts_from_nothing_says_so(made):
    scratch = made(more={"strategy": {"strategy": "from scratch"}}, starting_model="2D_versatile_he")
    assert len(lines(model_folder.read_model(scratch))) == 1
    assert len(lines(model_folder.read_model(made("left_open", starting_model="automatic")))) == 1


def test_a_backbone_started_from_imagenet():
    description = {"network": {"network": "ResNet50"}}
    (start,) = [origin.made_from(model_folder.Path("nowhere"), description)["start"]]
    assert start["data"].startswith("ImageNet")
    assert "non-commercial" in clash({"licence": "CC BY 4.0", "start": start})


def test_a_fine_tuned_model_names_its_start_in_model_json(tmp_path, made):
    start = made("start", **LAB)
    found = origin.made_from(tmp_path, {"starting_model": {"name": str(start), "sha256": {}}})
    assert found["start"] == {"name": "start", "data": LAB["data_origin"], "data_licence": "CC BY 4.0"}


def test_a_missing_starting_model_is_named_all_the_same(made, tmp_path):
    (_, start) = lines(model_folder.read_model(made(starting_model=str(tmp_path / "gone"))))
    assert start == "Started from the weights of gone (licence: not said); its training images: of unknown origin."


def test_models_that_name_each_other_end(made, tmp_path):
    for name, other in (("a", "b"), ("b", "a"), ("own", "own")):
        folder = made(name, starting_model=str(tmp_path / other))
        description = json.loads((folder / "model.json").read_text())
        description.pop("about", None)
        write_json(folder / "model.json", description)
    assert 1 < len(lines(model_folder.read_model(tmp_path / "a"))) < 30
    assert 1 < len(lines(model_folder.read_model(tmp_path / "own"))) < 30


ODD = [
    "",
    "[]",
    "{",
    '{"overrides": []}',
    '{"overrides": {"data": []}}',
    '{"overrides": {"data": {"starting_model": 3}}}',
]


@pytest.mark.parametrize("text", [*ODD, '{"overrides": {"strategy": 1, "data": {"training_source": 7}}}', "\x00"])
def test_files_of_others_are_no_reason_to_fail(untrained_model, text):
    folder, *_ = untrained_model()
    (folder / "parameters.json").write_text(text)
    (folder / "about.json").write_text(text)
    assert lines(model_folder.read_model(folder))[0].startswith("Training images")


@pytest.mark.parametrize(
    "odd", [None, [], "text", {"start": []}, {"start": {"start": "x"}}, {"licence": 4}, {"data": {}}]
)
def test_odd_entries_are_no_reason_to_fail(untrained_model, odd):
    folder, *_ = untrained_model()
    write_json(folder / "model.json", json.loads((folder / "model.json").read_text()) | {"about": odd})
    description = model_folder.read_model(folder)
    assert lines(description)
    assert isinstance(clash(description.get("about", {})), str)


def test_old_folders_keep_what_they_were_told(untrained_model):
    folder, *_ = untrained_model()
    write_json(folder / "about.json", {"title": "Old", "licence": "CC0"})
    assert about(folder) == {"title": "Old", "licence": "CC0"}
    assert origin.remember(folder, {"licence": "MIT", "cite": ""}) == {"title": "Old", "licence": "MIT"}
    assert about(folder) == {"title": "Old", "licence": "MIT"}
    assert read_task(folder)[1]["about"] == {"title": "Old", "licence": "MIT"}


def test_a_later_answer_needs_no_new_training(made):
    folder = made()
    before = json.loads((folder / "parameters.json").read_text())
    split = model_folder.pd.DataFrame({"file": ["a"], "sha256": ["1"], "annotation": ["2"], "role": ["training"]})
    split.to_csv(folder / "split.csv", index=False)
    asked = {"overrides": {"data": before["overrides"]["data"] | LAB}}

    assert model_folder.open_folder(folder, asked, split) == "finished"
    assert about(folder) == {"data": LAB["data_origin"], "data_licence": LAB["data_licence"]}
    assert model_folder.open_folder(folder, before, split) == "finished"  # an empty field takes nothing away
    assert about(folder) == {"data": LAB["data_origin"], "data_licence": LAB["data_licence"]}


def test_what_is_trained_keeps_it_also_where_it_goes_on(tmp_path, untrained_model):
    folder = tmp_path / "model"
    folder.mkdir()
    write_json(folder / "parameters.json", {"overrides": {"data": {"training_source": "x", **LAB}}})
    untrained_model("model")
    assert json.loads((folder / "model.json").read_text())["about"]["data"] == LAB["data_origin"]
    origin.remember(folder, {"title": "Fibrosis"})
    untrained_model("model", seed=1)
    assert about(folder) == {"title": "Fibrosis", "data": LAB["data_origin"], "data_licence": "CC BY 4.0"}


MORE_OPEN = [
    ("CC BY 4.0", "CC BY-NC 4.0", "not for commercial use"),
    ("MIT", "CC-BY-NC-SA-4.0", "not for commercial use, to be passed on under the same licence only"),
    ("CC BY-NC 4.0", "cc by-nc-sa 3.0", "to be passed on under the same licence only"),
    ("BSD 3-Clause", "GPL-3.0", "to be passed on under the same licence only"),
    ("CC0 1.0", "Creative Commons Attribution-NonCommercial", "not for commercial use"),
    ("CC BY 4.0", "CC BY-ND 4.0", "not to be changed"),
    ("CC BY 4.0", "All rights reserved", "not to be passed on"),
]
AS_OPEN = [
    *(("CC BY-NC-SA 4.0", other) for other in ("CC BY-NC-SA 4.0", "CC BY-NC 4.0", "CC BY-SA 4.0", "CC0", "MIT", "")),
    *((own, other) for own in ("CC BY 4.0", "MIT") for other in ("CC BY 4.0", "CC0 1.0", "BSD 3-Clause", "Apache 2.0")),
    ("", "CC BY-NC 4.0"),
    ("CC BY 4.0", "from Sasha's lab, incl. Andrews et al."),
]


@pytest.mark.parametrize("place", ["data", "start", "start's data", "far"])
@pytest.mark.parametrize(("own", "other", "why"), [*MORE_OPEN, *((*pair, "") for pair in AS_OPEN)])
def test_licences_that_clash_are_told(place, own, other, why):
    known = {
        "data": {"data_licence": other},
        "start": {"start": {"name": "A", "licence": other}},
        "start's data": {"start": {"name": "A", "data_licence": other}},
        "far": {"start": {"name": "B", "start": {"name": "A", "data_licence": other}}},
    }[place]
    told = clash({"licence": own} | known)
    assert told == "" if not why else f'("{other}": {why})' in told
    assert not why or place == "data" or "starting model A" in told
    assert told.count(".") <= 1 + sum(text.count(".") for text in (own, other))  # one sentence


def test_a_model_of_stardists_clashes_with_a_free_licence(made):
    folder = made(starting_model="2D_versatile_he")
    assert "not for commercial use" in clash(origin.remember(folder, {"licence": "CC BY 4.0"}))
    assert clash(origin.remember(folder, {"licence": "CC BY-NC-SA 4.0"})) == ""
