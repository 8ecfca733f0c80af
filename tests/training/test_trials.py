"""Short trials choose the best candidate, once, and go on after a crash."""

import pytest

from utils.training.trials import TRIALS, described, run_trials, share_of_each

CANDIDATES = [{"training.normalisation": "each image"}, {"training.normalisation": "both"}, {"augmentation.zoom": 0}]
SCORES = {"each image": 0.5, "both": 0.8, 0: 0.7}


def score(candidate, seed):
    return SCORES[next(iter(candidate.values()))]


def test_the_best_is_found_and_all_are_told(tmp_path):
    tried = run_trials(tmp_path, CANDIDATES, score)
    assert tried.best == CANDIDATES[1]
    assert tried.table["score"].tolist() == [0.5, 0.8, 0.7]
    assert tried.table["candidate"].tolist() == ["normalisation: each image", "normalisation: both", "zoom: 0"]
    assert (tried.table["CPU-s"] >= 0).all()


def test_of_equal_ones_the_first_is_kept(tmp_path):
    assert run_trials(tmp_path, CANDIDATES, lambda *_: 0.5).best == CANDIDATES[0]


def test_what_the_rules_say_is_kept_unless_another_is_clearly_better(tmp_path):
    assert run_trials(tmp_path, CANDIDATES, score, lead=0.31).best == CANDIDATES[0]
    assert run_trials(tmp_path, CANDIDATES, score, lead=0.29).best == CANDIDATES[1]


def test_after_a_crash_finished_trials_are_not_repeated(tmp_path):
    asked = []

    def crashing(candidate, seed):
        asked.append(candidate)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return score(candidate, seed)

    with pytest.raises(KeyboardInterrupt):
        run_trials(tmp_path, CANDIDATES, crashing)
    assert run_trials(tmp_path, CANDIDATES, crashing).best == CANDIDATES[1]
    assert asked == [CANDIDATES[0], CANDIDATES[1], CANDIDATES[1], CANDIDATES[2]]
    run_trials(tmp_path, CANDIDATES, crashing)
    assert len(asked) == 4
    run_trials(tmp_path, CANDIDATES, crashing, seed=1)
    assert len(asked) == 7


@pytest.mark.parametrize("text", ["", "[1, 2]", '{"a": 1}', '{"a": {"score": null}}'])
def test_a_damaged_file_is_begun_anew(tmp_path, text):
    (tmp_path / TRIALS).write_text(text)
    assert run_trials(tmp_path, CANDIDATES, score).best == CANDIDATES[1]


def test_all_trials_together_take_a_fifth_of_the_training():
    assert sum(share_of_each(4) for _ in range(4)) == pytest.approx(0.2)
    with pytest.raises(ValueError, match="no candidate"):
        run_trials(None, [], score)


def test_words():
    assert described({"training.fit": "pad", "augmentation.zoom": 5}) == "fit: pad, zoom: 5"
