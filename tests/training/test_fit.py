"""A training that is interrupted at any moment and begun again gives what an uninterrupted one gives."""

import os
import signal
import threading
from functools import cache

import keras
import numpy as np
import pytest

from tests.tiny import blobs
from utils.errors import DataError, UserError
from utils.images.normalise import percentiles
from utils.patching.augmentation import Augmentation
from utils.patching.batches import VALIDATION_PATCHES, Source, TrainingPatches, ValidationPatches, automatic_steps
from utils.tasks.pixels.train import segmentation_loss
from utils.training import checkpoints
from utils.training.checkpoints import load_state
from utils.training.fit import SCHEDULES, TrainingStopped, fit, history_table, learning_rate

EPOCHS, STEPS = 6, 3
PATCH = (16, 16)


def source(rng, shape=(32, 40), wrong=False) -> Source:
    image, mask = blobs(rng, max(shape))
    image, mask = image[: shape[0], : shape[1]], mask[: shape[0], : shape[1]]
    return Source(image, 1 - mask if wrong else mask, *percentiles(image, 1, 99.8))


def patches(seed=0, augmentation=None, steps=STEPS) -> TrainingPatches:
    sources = [source(np.random.default_rng(i)) for i in range(3)]
    return TrainingPatches(sources, PATCH, 2, steps, 0.02, augmentation or Augmentation(flip=True, intensity=20), seed)


@cache
def built_model() -> tuple[keras.Model, list[np.ndarray]]:
    """A compiled network with batch normalisation, and the values of all its variables at the start."""
    keras.utils.set_random_seed(3)
    x = image = keras.layers.Input((None, None, 1))
    x = keras.layers.Conv2D(3, 3, padding="same")(x)
    x = keras.layers.Activation("relu")(keras.layers.BatchNormalization(momentum=0.5)(x))
    model = keras.Model(image, keras.layers.Conv2D(2, 1)(x))
    model.compile(keras.optimizers.Adam(0.01), segmentation_loss("cross-entropy", np.ones(2)))
    model.optimizer.build(model.trainable_variables)
    return model, [keras.ops.convert_to_numpy(one) for one in (*model.variables, *model.optimizer.variables)]


def small_model() -> keras.Model:
    """The network as a new session has it (tracing it anew each time would take most of the tests' time)."""
    model, values = built_model()
    for variable, value in zip((*model.variables, *model.optimizer.variables), values, strict=True):
        variable.assign(value)
    return model


class Interrupt(keras.callbacks.Callback):
    """Press the stop button at one moment, such as "on_epoch_end", once `finished` epochs are saved."""

    def __init__(self, finished: int, moment: str):
        super().__init__()
        self.finished = finished
        setattr(self, moment, self._stop)

    def _stop(self, number, logs=None):
        state = load_state(self.folder)
        if self.finished == (state.epoch if state else 0):
            raise KeyboardInterrupt


def train(folder, schedule="constant", patience=0, wrong=False, stops=(), epochs=EPOCHS, workers=0):
    """Fit, stopped at each of `stops` (callbacks) first; returns state, weights and the messages of the stops."""
    messages = []
    for stop in [*stops, None]:
        model = small_model()
        if stop:
            stop.folder = folder
        data = patches()
        data.workers = workers or data.workers
        try:
            state = fit(
                model,
                data,
                ValidationPatches([source(np.random.default_rng(9), wrong=wrong)], PATCH, 4),
                folder,
                number_of_epochs=epochs,
                initial_learning_rate=0.02,
                learning_rate_schedule=schedule,
                patience=patience,
                callbacks=[stop] if stop else [],
            )
        except TrainingStopped as stopped:
            messages.append(str(stopped))
    return state, model.get_weights(), messages


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """Results of uninterrupted trainings by their arguments, each computed once."""
    known = {}

    def get(*arguments):
        if arguments not in known:
            known[arguments] = train(tmp_path_factory.mktemp("whole"), *arguments)
        return known[arguments]

    return get


def assert_same(one, other):
    (state, weights, _), (expected, expected_weights, _) = one, other
    np.testing.assert_allclose(history_table(state), history_table(expected), rtol=1e-5, atol=1e-6)
    assert list(history_table(state)) == list(history_table(expected))
    assert (state.best_epoch, state.waited) == (expected.best_epoch, expected.waited)
    for value, wanted in zip(weights, expected_weights, strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_resumed_training_gives_the_same(schedule, tmp_path, uninterrupted):
    stops = [Interrupt(1, "on_train_batch_end"), Interrupt(2, "on_epoch_begin"), Interrupt(4, "on_test_batch_end")]
    arguments = (schedule, 6, True)  # validation masks are wrong: its loss soon rises, so that all counters count
    resumed = train(tmp_path, *arguments, stops=stops)
    assert len(resumed[2]) == 3
    assert_same(resumed, uninterrupted(*arguments))


@pytest.mark.parametrize("workers", [1, 5])
def test_batches_made_by_any_number_of_threads_train_alike(workers, tmp_path, uninterrupted):
    stops = [Interrupt(2, "on_train_batch_end")]
    arguments = ("cosine", 6, True)
    assert_same(train(tmp_path, *arguments, stops=stops, workers=workers), uninterrupted(*arguments))


def test_the_counters_are_tested_by_the_resumed_trainings(uninterrupted):
    state, _, _ = uninterrupted("reduce on plateau", 6, True)
    rates = history_table(state)["learning_rate"]
    assert state.best_epoch == 1
    np.testing.assert_allclose(rates, [0.02, 0.02, 0.02, 0.01, 0.01, 0.005])  # halved after 2 epochs without progress


def test_early_stopping_counts_across_an_interruption(tmp_path, uninterrupted):
    arguments = ("constant", 3, True)
    whole = uninterrupted(*arguments)
    assert whole[0].epoch == whole[0].best_epoch + 3 < EPOCHS
    assert_same(train(tmp_path, *arguments, stops=[Interrupt(whole[0].best_epoch + 1, "on_train_batch_end")]), whole)


def test_a_training_that_stopped_early_does_not_go_on_when_it_is_run_again(tmp_path):
    first = train(tmp_path, "constant", 3, True)
    assert_same(train(tmp_path, "constant", 3, True), first)


def test_the_best_weights_are_kept_not_the_last(tmp_path, uninterrupted):
    best = uninterrupted("constant", 6, True)[0].best_epoch
    _, weights, _ = train(tmp_path, "constant", 6, True, epochs=best)
    for value, wanted in zip(weights, uninterrupted("constant", 6, True)[1], strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-5, atol=1e-5)


def test_the_stop_button_says_what_is_saved(tmp_path):
    _, _, messages = train(tmp_path, stops=[Interrupt(2, "on_train_batch_end")], epochs=3)
    assert messages == [
        "You stopped the training in epoch 3 of 3. The 2 finished epochs are saved: run this cell again to go on."
    ]


class Presses(keras.callbacks.Callback):
    """Press the real stop button at a moment, while an object is destroyed: Python drops what is raised there."""

    def __init__(self, moment: str, epochs: int, times: int = 1):
        super().__init__()
        self.epochs, self.times, self.after = epochs, times, []
        setattr(self, moment, self._press)

    def _press(self, number, logs=None):
        class Destroyed:
            def __del__(self):
                os.kill(os.getpid(), signal.SIGINT)

        state = load_state(self.folder)
        if (state.epoch if state else 0) == self.epochs and self.times:
            self.times -= 1
            Destroyed()
            self.after.append(number)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("moment", ["on_train_batch_begin", "on_test_batch_end"])
def test_the_stop_button_is_heard_while_an_object_is_destroyed(moment, tmp_path, uninterrupted):
    before = signal.getsignal(signal.SIGINT)
    press = Presses(moment, 2)
    resumed = train(tmp_path, "constant", 6, True, stops=[press])
    assert len(resumed[2]) == len(press.after) == 1
    assert "in epoch 3 of 6. The 2 finished" in resumed[2][0]
    assert signal.getsignal(signal.SIGINT) is before
    assert_same(resumed, uninterrupted("constant", 6, True))


def test_the_stop_button_in_the_last_checkpoint_is_heard(tmp_path, monkeypatch):
    original = checkpoints.write_json

    def pressed(path, content):
        os.kill(os.getpid(), signal.SIGINT)
        original(path, content)

    monkeypatch.setattr(checkpoints, "write_json", pressed)
    _, _, messages = train(tmp_path, stops=[Interrupt(9, "on_epoch_end")], epochs=1)
    assert len(messages) == 1
    assert load_state(tmp_path).epoch == 1  # the checkpoint was written to its end


def test_a_second_press_stops_at_once(tmp_path):
    class Impatient(keras.callbacks.Callback):
        left = True

        def on_train_batch_begin(self, batch, logs=None):
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGINT)
            self.left = False

    press = Impatient()
    _, _, messages = train(tmp_path, stops=[press], epochs=1)
    assert len(messages) == 1
    assert press.left


def test_a_button_that_something_else_listens_to_is_left_alone(tmp_path):
    heard = []
    before = signal.signal(signal.SIGINT, lambda *_: heard.append(1))
    try:
        _, _, messages = train(tmp_path, stops=[Presses("on_train_batch_begin", 0)], epochs=1)
    finally:
        signal.signal(signal.SIGINT, before)
    assert heard == [1]
    assert messages == []


def test_a_training_in_another_thread_runs_without_a_button(tmp_path):
    thread = threading.Thread(target=train, args=(tmp_path,), kwargs={"epochs": 1})
    thread.start()
    thread.join()
    assert load_state(tmp_path).epoch == 1


@pytest.mark.parametrize("name", ["save_weights", "np.savez", "write_json", "after write_json"])
@pytest.mark.parametrize("call", [1, 3])
def test_the_stop_button_while_a_checkpoint_is_written(name, call, tmp_path, monkeypatch, uninterrupted):
    where, attribute = (np, "savez") if name == "np.savez" else (checkpoints, name.removeprefix("after "))
    original, calls = getattr(where, attribute), []

    def pressed(*arguments, **options):
        calls.append(1)
        if len(calls) == call and name.startswith("after"):
            original(*arguments, **options)
        if len(calls) == call:
            raise KeyboardInterrupt
        return original(*arguments, **options)

    monkeypatch.setattr(where, attribute, pressed)
    with pytest.raises(TrainingStopped) as stopped:
        fit(
            small_model(),
            patches(),
            ValidationPatches([source(np.random.default_rng(9), wrong=True)], PATCH, 4),
            tmp_path,
            number_of_epochs=EPOCHS,
            initial_learning_rate=0.02,
            patience=6,
        )
    finished = call if name.startswith("after") else call - 1
    assert stopped.value.state.epoch == len(stopped.value.state.history) == finished
    saved = (
        "No epoch was finished",
        "The finished epoch is saved",
        *[f"The {n} finished epochs are saved" for n in (2, 3)],
    )
    assert saved[finished] in str(stopped.value)
    monkeypatch.undo()
    assert_same(train(tmp_path, "constant", 6, True), uninterrupted("constant", 6, True))


@pytest.mark.parametrize("failing", ["open", "replace"])
def test_a_full_disk_is_told_and_what_was_saved_before_stays(failing, tmp_path, monkeypatch, uninterrupted):
    import os

    class FillsUp(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                where, name = (os, "replace") if failing == "replace" else (np, "savez")
                monkeypatch.setattr(where, name, full)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with pytest.raises(DataError, match="No space left on device.*Free some space"):
        fit(
            small_model(),
            patches(),
            ValidationPatches([source(np.random.default_rng(9), wrong=True)], PATCH, 4),
            tmp_path,
            number_of_epochs=EPOCHS,
            initial_learning_rate=0.02,
            patience=6,
            callbacks=[FillsUp()],
        )
    monkeypatch.undo()
    assert load_state(tmp_path).epoch == 2
    assert_same(train(tmp_path, "constant", 6, True), uninterrupted("constant", 6, True))


@pytest.mark.parametrize("broken", ["loss", "val_loss"])
def test_a_loss_that_is_no_number_is_told_and_not_saved_as_best(broken, tmp_path):
    validation = [source(np.random.default_rng(9))]
    if broken == "val_loss":
        validation = [Source(validation[0].image, validation[0].mask, np.float32([np.nan]), validation[0].high)]
    data = patches()
    if broken == "loss":
        data.sources = [Source(one.image, one.mask, np.float32([np.nan]), one.high) for one in data.sources]
    with pytest.raises(UserError, match="nan.*epoch 1.*initial_learning_rate"):
        fit(
            small_model(),
            data,
            ValidationPatches(validation, PATCH, 4),
            tmp_path,
            number_of_epochs=2,
            initial_learning_rate=0.02,
        )
    assert load_state(tmp_path) is None


def test_patches_depend_only_on_seed_epoch_and_step():
    data, again = patches(5), patches(5)
    again.epoch = 1
    assert again[1] is not None  # drawn from before, in another order
    again.epoch = 0
    for step in (2, 0, 1):
        for one, other in zip(data[step], again[step], strict=True):
            np.testing.assert_array_equal(one, other)
    again.epoch = 1
    assert not np.array_equal(data[0][0], again[0][0])
    assert not np.array_equal(data[0][0], patches(6)[0][0])
    assert not np.array_equal(data[0][0], data[1][0])


def test_batches_are_used_in_order_each_epoch(tmp_path):
    """Keras shuffles batches by default, with a generator that a resumed session does not know."""
    seen = []

    class Spy(TrainingPatches):
        def __getitem__(self, step):
            seen.append((self.epoch, step))
            return super().__getitem__(step)

    plain = patches(steps=8)
    spy = Spy(plain.sources, PATCH, 2, 8, 0.02, Augmentation(), 0)
    validation = ValidationPatches(plain.sources[:1], PATCH, 4)
    fit(small_model(), spy, validation, tmp_path, number_of_epochs=2, initial_learning_rate=0.01)
    last = [step for epoch, step in seen if epoch == 1][-8:]
    assert last == sorted(last)


def test_patches_are_float32_normalised_by_the_whole_image_and_16_bits_stay():
    one = patches(augmentation=Augmentation())
    images, masks = one[0]
    assert images.dtype == np.float32
    assert images.shape == (2, *PATCH, 1)
    assert masks.shape == (2, *PATCH)
    assert len(np.unique(images)) > 256  # not squeezed to 8 bits
    allowed = {tuple(((s.image.astype(np.float32) - s.low) / (s.high - s.low)).ravel()) for s in one.sources}
    values = set().union(*allowed)
    assert set(images.ravel()) <= values


def test_a_patch_that_is_all_foreground_stays_foreground():
    image = np.full((32, 32, 1), 500, np.uint16)
    whole = Source(image, np.ones((32, 32), np.uint8), *percentiles(image, 1, 99.8))
    data = TrainingPatches([whole], PATCH, 2, 1, 0.02, Augmentation(), 0)
    assert (data[0][1] == 1).all()
    assert np.isfinite(data[0][0]).all()


def test_larger_images_give_more_patches_but_not_in_proportion():
    rng = np.random.default_rng(0)
    data = TrainingPatches([source(rng, (16, 16)), source(rng, (64, 64))], PATCH, 2, 1, 0, Augmentation(), 0)
    np.testing.assert_allclose(data.probability[None], [0.2, 0.8])


@pytest.mark.parametrize("shape", [(16, 16), (33, 40), (47, 17)])
def test_validation_patches_cover_every_pixel_and_are_not_changed(shape):
    one = source(np.random.default_rng(0), shape)
    numbered = Source(np.arange(np.prod(shape), dtype=np.float32).reshape(*shape, 1), one.mask, *np.float32([[0], [1]]))
    data = ValidationPatches([numbered], PATCH, 3)
    batches = [data[i] for i in range(len(data))]
    images = np.concatenate([image for image, _ in batches])
    assert set(images.ravel()) == set(range(np.prod(shape)))
    masks = np.concatenate([mask for _, mask in batches])
    np.testing.assert_array_equal(masks.ravel(), one.mask.ravel()[images.ravel().astype(int)])
    assert all((np.diff(image[..., 0], axis=1) == 1).all() for image in images)  # neither turned nor mirrored
    for (first, _), (second, _) in zip(batches, [data[i] for i in range(len(data))], strict=True):
        np.testing.assert_array_equal(first, second)


def test_validation_patches_are_few_but_from_all_images():
    sources = [source(np.random.default_rng(i), (64, 64)) for i in range(10)]
    data = ValidationPatches(sources, PATCH, 5)
    assert len(data.places) == VALIDATION_PATCHES
    assert sum(len(data[i][0]) for i in range(len(data))) == VALIDATION_PATCHES
    assert {place[0] for place in data.places} == set(range(len(sources)))


def test_automatic_steps():
    sources = [source(np.random.default_rng(0), (64, 64))] * 5
    assert automatic_steps(sources, (16, 16), 1) == 80  # 5 * 4096 / 256
    assert automatic_steps(sources, (64, 64), 4) == 50, "few images need no fewer steps"
    assert automatic_steps(sources, (8, 8), 1) == 200, "an epoch of a large set must end"


def test_learning_rate():
    rates = [learning_rate(step, 1000, 2.0, "cosine") for step in range(1001)]
    assert rates[0] == pytest.approx(2 / 30, rel=1e-3)  # rises over 3 %
    assert max(rates) == pytest.approx(2.0, rel=0.01)
    assert rates[515] == pytest.approx(1 + np.cos(np.pi * 0.515))
    assert rates[1000] == pytest.approx(0, abs=1e-12)
    assert np.argmax(rates) == 29
    for schedule in ("constant", "reduce on plateau"):
        rates = [learning_rate(step, 1000, 2.0, schedule) for step in range(1001)]
        assert rates[15] < rates[29] == rates[1000] == 2.0
    assert learning_rate(99, 10**6, 1.0, "constant") == 1.0 > learning_rate(98, 10**6, 1.0, "constant")
    assert learning_rate(0, 1, 1.0, "constant") == 1.0
