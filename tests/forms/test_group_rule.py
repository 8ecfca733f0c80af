"""The field for which images belong together offers what the file names in another field's folder look like."""

import pytest
from traitlets import Unicode

from utils.errors import FormError
from utils.forms import Form, GroupRule, settings
from utils.forms import state as forms_state


@pytest.fixture(autouse=True)
def _fresh(monkeypatch, tmp_path):
    monkeypatch.setattr(forms_state, "_typed", {})
    monkeypatch.setattr(settings, "SETTINGS", tmp_path / "settings")


def make(masks=True, **overrides):
    class Data(Form):
        training_source = Unicode("", help="images").tag(path=True)
        if masks:
            training_target = Unicode("masks", help="masks").tag(path=True)
        group_rule = GroupRule(help="which images belong together").tag(of="training_source")

    return Data(**overrides)


def files(folder, names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return str(folder)


def row_of(form):
    form._repr_mimebundle_()
    return form._view.rows["group_rule"]


PATIENTS = [f"P{p:02}_field{f}.tif" for p in range(1, 5) for f in range(2)]


def test_choices_are_what_is_found_in_the_folder_and_change_with_it(tmp_path):
    form = make()
    row = row_of(form)
    assert row.control.options == (("no groups seen in the file names", "ask"), ("every image stands alone", ""))
    form.training_source = files(tmp_path / "a", PATIENTS)
    labels = ["please choose", "4 patients: P01, P02, P03, P04", "every image stands alone"]
    assert [label for label, _ in row.control.options] == labels
    assert "These look like 4 patients: P01, P02, P03, P04" in row.note.value
    assert form.group_rule == "ask"
    form.training_source = files(tmp_path / "b", [f"img_{i}.tif" for i in range(6)])
    assert len(row.control.options) == 2
    assert form.group_rule == "ask"
    assert "look like" not in row.note.value


def test_a_choice_is_taken_and_kept(tmp_path):
    form = make(training_source=files(tmp_path, PATIENTS))
    row = row_of(form)
    row.control.value = "{group}_*"
    assert form.group_rule == "{group}_*"
    assert "look like" not in row.note.value
    assert make(training_source=str(tmp_path)).group_rule == "{group}_*"
    row.control.value = ""
    assert form.asked()["group_rule"] == ""


def test_a_rule_of_ones_own_can_be_typed_and_a_wrong_one_is_refused_and_stays_seen(tmp_path):
    form = make(training_source=files(tmp_path, PATIENTS))
    row = row_of(form)
    row.own.value = "P{group}_*"
    assert (form.group_rule, row.control.value, row.own.value) == ("P{group}_*", "P{group}_*", "")
    row.own.value = "P_*"
    assert row.control.value == "P_*"
    assert "with {group} once" in row.note.value
    with pytest.raises(FormError, match='group_rule is "P_\\*" but must be a rule'):
        form.asked()
    row.control.value = "ask"
    assert form.group_rule == "ask"
    with pytest.raises(FormError, match="must be a rule"):
        make(group_rule="{group}{group}")


def test_sub_folders_classes_and_tables(tmp_path):
    below = files(tmp_path / "below", [f"P{p}/{i}.tif" for p in range(3) for i in range(2)])
    assert [rule for _, rule in row_of(make(training_source=below)).control.options] == ["ask", "folder", ""]
    classes = files(tmp_path / "classes", [f"{one}/P{p}_{i}.png" for one in "ab" for p in range(3) for i in range(2)])
    assert row_of(make(masks=False, training_source=classes)).control.options[1] == (
        "3 patients: P0, P1, P2",
        "{group}_*",
    )
    table = tmp_path / "table.csv"
    table.write_text("file,class\n" + "".join(f"P{i % 3}_{i}.png,{'ab'[i % 2]}\n" for i in range(12)))
    assert len(row_of(make(masks=False, training_source=str(table))).control.options) == 3
    table.write_text("file,class,group\n" + "".join(f"P{i % 3}_{i}.png,{'ab'[i % 2]},g\n" for i in range(13)))
    assert len(row_of(make(masks=False, training_source=str(table))).control.options) == 2
    table.write_bytes(b"\xff\xfe\x00")
    assert len(row_of(make(masks=False, training_source=str(table))).control.options) == 2
