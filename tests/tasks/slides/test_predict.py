"""A slide that was interrupted goes on where it was, and gives the same."""

import numpy as np
import pytest

from tests.tasks.slides.test_compute import job_of
from utils.tasks.slides.compute import Where
from utils.tasks.slides.predict import compute_slide

RNG = np.random.default_rng(0)


def test_tiles_that_are_done_are_not_computed_again(slide_of, slide_model, tmp_path):
    array = RNG.integers(0, 256, (128, 160, 3), dtype=np.uint8)
    mask = np.ones((4, 5), bool)
    mask[:, 0] = False
    job = job_of(slide_of(array), slide_model(), 32, tissue=Where(mask, 32.0))
    whole, numbers = compute_slide(job, tmp_path / "whole")
    assert numbers == [number for number in range(20) if number % 5]

    def killed(items):
        for i, one in enumerate(items):
            if i == 7:
                raise KeyboardInterrupt
            yield one

    with pytest.raises(KeyboardInterrupt):
        compute_slide(job, tmp_path / "killed", progress=killed)
    asked = []
    again, _ = compute_slide(job, tmp_path / "killed", progress=lambda items: asked.extend(items) or items)
    assert len(asked) == len(numbers) - 7
    np.testing.assert_array_equal(again.map(), whole.map())
    np.testing.assert_allclose(again.counts, whole.counts)
