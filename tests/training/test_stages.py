"""Stages of a training: what is frozen stays as it is bit for bit, and an interrupted training ends as a whole one."""

from types import SimpleNamespace

import keras
import numpy as np
import pandas as pd
import pytest

from tests import tiny_crops
from utils.data.project import open_crops
from utils.tasks.automatic import settled
from utils.tasks.classes.predict import load_classifier
from utils.tasks.objects import network as objects_network
from utils.tasks.registry import CLASSIFIER, TASKS
from utils.training import model_folder, networks
from utils.training.checkpoints import TrainingState
from utils.training.fit import TrainingStopped, fit, joined
from utils.training.run import Ingredients, run
from utils.training.stages import EVERYTHING, LAST_LAYER, SCRATCH, TWO_STAGES, Stage, flat_layers, stages_of

STRATEGIES = [LAST_LAYER, TWO_STAGES, EVERYTHING, SCRATCH]
OBJECTS = {
    "n_rays": 4,
    "grid": [2, 2],
    "n_channel_in": 1,
    "n_classes": 2,
    "unet_n_depth": 1,
    "unet_n_filter_base": 4,
    "unet_batch_norm": True,
    "net_conv_after_unet": 4,
    "train_patch_size": [16, 16],
    "train_batch_size": 2,
}


def nested_network() -> keras.Model:
    """A backbone with a backbone in it, both with batch normalisation, below a head."""
    layers = keras.layers
    inner = x = keras.Input((8, 8, 3))
    x = layers.BatchNormalization(name="deepest")(layers.Conv2D(3, 3, padding="same")(x))
    inner = keras.Model(inner, x, name="inner")
    outer = x = keras.Input((8, 8, 2))
    x = inner(layers.BatchNormalization()(layers.Conv2D(3, 3, padding="same", use_bias=False)(x)))
    outer = keras.Model(outer, x, name="outer")
    image = keras.Input((8, 8, 2))
    x = layers.GlobalAveragePooling2D()(layers.BatchNormalization()(outer(image)))
    return keras.Model(image, layers.Dense(3, name="logits")(x))


NETWORKS = {
    "classifier": (lambda: networks.classifier(1, 3, filters=4, levels=2), "classification"),
    "U-Net": (lambda: networks.unet(1, 3, filters=4, pooling_steps=1), "unet"),
    "StarDist": (lambda: objects_network.build(OBJECTS).keras_model, "stardist"),
    "nested": (nested_network, "classification"),
}


class Noise(keras.utils.PyDataset):
    """Batches of random numbers far from mean 0 and variance 1, which an untrained batch normalisation knows."""

    def __init__(self, model: keras.Model, steps: int = 2):
        super().__init__()
        self.steps, self.inputs = steps, tuple(side or 16 for side in model.input_shape[1:])
        self.outputs = [
            one.shape for one in keras.tree.flatten(model.compute_output_spec(keras.KerasTensor((4, *self.inputs))))
        ]

    def __len__(self):
        return self.steps

    def __getitem__(self, step):
        rng = np.random.default_rng(step)
        x = rng.normal(2, 5, (4, *self.inputs)).astype(np.float32)
        y = [rng.random(shape).astype(np.float32) for shape in self.outputs]
        return x, tuple(y) if len(y) > 1 else y[0]


def fit_stage(model, stage, folder, eager=True):
    """Train a model in one stage, on noise, with Adam."""
    stage.prepare(model)
    model.compile(keras.optimizers.Adam(), "mse", run_eagerly=eager)
    data = Noise(model)
    fit(model, data, data, folder, number_of_epochs=stage.epochs, initial_learning_rate=stage.rate)


def weights_of(model) -> dict[str, np.ndarray]:
    """All weights and statistics by their path."""
    return {one.path: keras.ops.convert_to_numpy(one).copy() for one in model.weights}


def statistics(model) -> set[str]:
    """Paths of the means and variances of batch normalisation."""
    layers = [layer for layer in flat_layers(model) if isinstance(layer, keras.layers.BatchNormalization)]
    return {one.path for layer in layers for one in (layer.moving_mean, layer.moving_variance)}


def weights_in(model, head) -> set[str]:
    return {weight.path for layer in flat_layers(model) if layer.name in head for weight in layer.weights}


def changed(before, after) -> set[str]:
    return {name for name, value in before.items() if value.tobytes() != after[name].tobytes()}


@pytest.fixture(params=NETWORKS)
def network(request):
    keras.utils.set_random_seed(1)
    build, task = NETWORKS[request.param]
    return build(), TASKS[task].head


def test_what_rests_in_a_stage_is_bit_for_bit_the_same_and_the_rest_learns(network, tmp_path):
    model, head = network
    resting, heads = statistics(model), weights_in(model, head)
    assert len(resting) >= 4
    start = weights_of(model)
    first, second = stages_of(TWO_STAGES, 2, 0.01, 10, head)
    fit_stage(model, first, tmp_path / "1")
    after = weights_of(model)
    assert changed(start, after) == heads
    fit_stage(model, second, tmp_path / "2")
    assert changed(after, weights_of(model)) == set(start) - resting
    (everything,) = stages_of(EVERYTHING, 1, 0.01, 10, head)
    before = weights_of(model)
    fit_stage(model, everything, tmp_path / "3")
    assert changed(before, weights_of(model)) == set(start)


def test_what_rests_stays_the_same_in_a_compiled_training_too(tmp_path):
    model = nested_network()
    start, head = weights_of(model), TASKS["classification"].head
    (stage,) = stages_of(LAST_LAYER, 1, 0.01, 10, head)
    fit_stage(model, stage, tmp_path, eager=False)
    assert changed(start, weights_of(model)) == weights_in(model, head)


def test_a_published_backbone_rests_and_learns_with_all_its_layers():
    """Its layers are a model within the model; that it works as in prediction is seen from its statistics."""
    model, head = networks.classifier(1, 2, "MobileNetV2"), TASKS["classification"].head
    resting, everything = statistics(model), {weight.path for weight in model.weights}
    assert len(resting) > 100
    x = np.random.default_rng(0).normal(2, 5, (2, 32, 32, 1)).astype(np.float32)
    first, second = stages_of(TWO_STAGES, 8, 0.01, 10, head)
    learning = {"first": weights_in(model, head), "second": everything - resting}
    for stage, expected in ((first, learning["first"]), (second, learning["second"])):
        stage.prepare(model)
        before = weights_of(model)
        model(x, training=True)
        assert changed(before, weights_of(model)) == set()
        assert {one.path for one in model.trainable_weights if "seed_generator" not in one.path} == expected
    Stage("", 1, 0.01).prepare(model)
    before = weights_of(model)
    model(x, training=True)
    assert changed(before, weights_of(model)) == resting


def test_stages_can_be_prepared_in_any_order(network):
    model, head = network
    stages = [Stage("", 1, 0.1, h, rest) for h in (None, head) for rest in (False, True)]

    def learning(stage):
        stage.prepare(model)
        return [one.path for one in model.trainable_weights], [layer.trainable for layer in flat_layers(model)]

    expected = [learning(stage) for stage in stages]
    assert len({tuple(paths) for paths, _ in expected}) == 2  # whether normalisation rests is only in the flags
    for number in np.random.default_rng(0).integers(len(stages), size=20):
        assert learning(stages[number]) == expected[number]


def test_a_backbone_that_was_put_to_rest_as_a_whole_is_woken_up():
    model = nested_network()
    model.get_layer("outer").trainable = False
    Stage("", 1, 0.1).prepare(model)
    assert len(model.trainable_weights) == len(nested_network().trainable_weights)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_epochs_add_up_and_learning_rates_are_as_asked(strategy):
    rng = np.random.default_rng(0)
    for epochs in [*range(1, 60), 5000]:
        rate, lower = rng.uniform(1e-5, 1), rng.uniform(1, 100)
        stages = stages_of(strategy, epochs, rate, lower, ["logits"])
        assert sum(stage.epochs for stage in stages) == epochs
        assert all(stage.epochs >= 1 for stage in stages)
        assert len({stage.name for stage in stages}) == len(stages)
        for stage in stages:
            anew = strategy == SCRATCH or stage.head is not None
            assert stage.rate == (rate if anew else rate / lower)
            assert stage.rest_normalisation == (strategy in (LAST_LAYER, TWO_STAGES))


def test_the_head_comes_first_and_takes_a_quarter():
    first, second = stages_of(TWO_STAGES, 20, 0.1, 10, ["logits"])
    assert (first.epochs, first.head, second.epochs, second.head) == (5, ["logits"], 15, None)
    assert [stage.head for stage in stages_of(TWO_STAGES, 1, 0.1, 10, ["logits"])] == [["logits"]]


@pytest.mark.parametrize("name", ["classifier", "U-Net", "StarDist"])
def test_the_head_of_a_task_is_where_its_network_ends(name):
    build, task = NETWORKS[name]
    model, head = build(), TASKS[task].head
    with_weights = [layer.name for layer in flat_layers(model) if layer.weights]
    assert set(head) <= set(with_weights)
    assert set(with_weights[-len(head) :]) == set(head)


class Presses(keras.callbacks.Callback):
    """Press the stop button at a moment, such as "on_train_batch_end", when it comes for the n-th time (from 0)."""

    def __init__(self, moment: str, n: int):
        super().__init__()
        self.left = n
        setattr(self, moment, self._press)

    def _press(self, number, logs=None):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt


def small_network() -> keras.Model:
    """Batch normalisation and a head, quick to train."""
    x = keras.Input((3,))
    hidden = keras.layers.BatchNormalization()(keras.layers.Dense(4)(x))
    return keras.Model(x, keras.layers.Dense(2, name="logits")(keras.layers.Activation("relu")(hidden)))


TRAINING = {"number_of_epochs": 4, "initial_learning_rate": 0.02, "patience": 0, "seed": 4}
FORMS = {"data": {"if_model_exists": "ask"}, "training": TRAINING | {"learning_rate_schedule": "cosine"}}
PLAN = [Stage("head", 2, 0.02, ["logits"], True), Stage("everything", 2, 0.01, rest_normalisation=True)]  # of 2 steps


def train(folder, plan=PLAN, callbacks=()):
    """Run a training of the small network; returns what was published, as (state, weights)."""
    split = pd.DataFrame({"file": ["a"], "sha256": ["0"], "group": ["a"], "role": ["training"], "annotation": ["0"]})
    project = SimpleNamespace(folder=folder / "model", split=split)
    published = []

    def prepare():
        model = small_network()
        return Ingredients(
            model,
            lambda: model.compile(keras.optimizers.Adam(), "mse", run_eagerly=True),
            Noise(model, 2),
            Noise(model, 1),
            lambda state: published.append((state, model.get_weights())),
        )

    try:
        run(project, {"overrides": FORMS}, prepare, callbacks, lambda: plan)
    except TrainingStopped as stopped:
        return stopped, published
    return None, published


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """State and weights of a training in two stages that nobody interrupted."""
    stopped, ((state, weights),) = train(tmp_path_factory.mktemp("whole"))
    assert stopped is None
    return state, weights


def assert_same(one, other):
    """Bit for bit, the history included."""
    assert one[0].history == other[0].history
    assert (one[0].best_epoch, one[0].best_score) == (other[0].best_epoch, other[0].best_score)
    for value, expected in zip(one[1], other[1], strict=True):
        np.testing.assert_array_equal(value, expected)


STOPS = {  # moment, how often it comes before, epochs that are finished then
    "before anything": ("on_train_batch_end", 0, 0),
    "in the first stage": ("on_train_batch_end", 3, 1),
    "at the end of the first stage": ("on_epoch_end", 1, 2),
    "in the first epoch of the second stage": ("on_train_batch_end", 5, 2),
    "in validation in the second stage": ("on_test_batch_end", 3, 3),
    "at the very end": ("on_epoch_end", 3, 4),
}


@pytest.mark.parametrize("when", STOPS)
def test_an_interrupted_training_in_stages_ends_as_if_it_had_not_been(when, tmp_path, whole):
    moment, n, finished = STOPS[when]
    stopped, published = train(tmp_path, callbacks=[Presses(moment, n)])
    assert stopped.state.epoch == finished == len(stopped.state.history)
    assert [row["epoch"] for row in stopped.state.history] == list(range(1, finished + 1))
    assert stopped.state.history == whole[0].history[:finished]
    assert len(published) == bool(finished)  # with nothing finished there is nothing to publish
    again, (result,) = train(tmp_path)
    assert again is None
    assert_same(result, whole)


def test_the_stop_button_says_what_is_saved_of_all_stages(tmp_path):
    stopped, _ = train(tmp_path, callbacks=[Presses("on_train_batch_end", 7)])
    assert "epoch 4 of 4. The 3 finished epochs are saved" in str(stopped)


def test_a_training_can_be_interrupted_in_every_stage(tmp_path, whole):
    for press in (Presses("on_train_batch_end", 3), Presses("on_train_batch_end", 3), Presses("on_epoch_begin", 1)):
        assert train(tmp_path, callbacks=[press])[0] is not None
    assert_same(train(tmp_path)[1][0], whole)


def test_what_is_published_when_stopped_are_the_best_weights_so_far(tmp_path, whole):
    """As if the training had been planned only so far."""
    _, ((state, weights),) = train(tmp_path, callbacks=[Presses("on_train_batch_end", 5)])
    only_first = train(tmp_path / "short", PLAN[:1])[1][0]
    assert_same((state, weights), only_first)


def test_a_second_stage_that_does_harm_is_not_used(tmp_path):
    harmful = Stage("everything", 3, 30.0, rest_normalisation=True)
    _, ((state, weights),) = train(tmp_path / "harm", [PLAN[0], harmful])
    _, ((good, expected),) = train(tmp_path / "good", [PLAN[0]])
    losses = [row["val_loss"] for row in state.history]
    assert min(losses[2:]) > 2 * min(losses[:2])
    assert (state.epoch, state.best_epoch) == (5, good.best_epoch)
    for value, wanted in zip(weights, expected, strict=True):
        np.testing.assert_array_equal(value, wanted)


def test_the_best_of_all_stages_is_told_with_its_epoch_counted_on(whole):
    losses = [row["val_loss"] for row in whole[0].history]
    assert [row["epoch"] for row in whole[0].history] == list(range(1, 5))
    assert whole[0].best_epoch == 1 + int(np.argmin(losses)) > PLAN[0].epochs
    assert whole[0].best_score == min(losses)


def test_the_second_stage_starts_from_the_best_weights_of_the_first(tmp_path):
    """The first stage's last epoch is made harmful: a stage with no rate shows which weights it was given."""
    given = []

    class Sees(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            given.append(self.model.get_weights())

    class Spoils(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 3:
                head = self.model.get_layer("logits")
                head.set_weights([-1000 * value for value in head.get_weights()])

    harmed = Stage("head", 4, 0.01, ["logits"], rest_normalisation=True)
    rest = Stage("everything", 1, 1e-9, rest_normalisation=True)
    train(tmp_path / "both", [harmed, rest], [Spoils(), Sees()])
    state, weights = train(tmp_path / "one", [harmed], [Spoils()])[1][0]
    assert state.best_epoch < 4
    for value, wanted in zip(given[1], weights, strict=True):
        np.testing.assert_array_equal(value, wanted)


def test_joined_counts_on_over_random_stages():
    rng = np.random.default_rng(0)
    for _ in range(50):
        states, losses = [], []
        for _ in range(rng.integers(1, 4)):
            own = rng.random(rng.integers(1, 6)).tolist()
            history = [{"epoch": i, "val_loss": loss} for i, loss in enumerate(own, 1)]
            best = int(np.argmin(own))
            states.append(TrainingState(len(own), own[best], best + 1, history=history))
            losses += own
        whole = joined(states)
        assert [row["epoch"] for row in whole.history] == list(range(1, len(losses) + 1))
        assert [row["val_loss"] for row in whole.history] == losses
        assert (whole.epoch, whole.best_epoch, whole.best_score) == (len(losses), 1 + np.argmin(losses), min(losses))
    assert joined([]).epoch == 0
    assert joined([]).best_score is None


def train_classifier(project, given, callbacks=()):
    """Train a classifier in two stages of 1 and 3 epochs."""
    forms = settled(given["overrides"], CLASSIFIER.choices(project, given["overrides"]))
    description = CLASSIFIER.describe(project, forms["training"])
    stages = stages_of(TWO_STAGES, 4, 0.01, 2, ["logits"])
    run(project, given, lambda: CLASSIFIER.ingredients(project, forms, description), callbacks, lambda: stages)


def test_a_stopped_training_leaves_a_model_that_works_and_goes_on(tmp_path):
    given = tiny_crops.parameters(
        tiny_crops.write_crops(tmp_path / "data", 5), tmp_path, training={"number_of_steps": 2}
    )
    project = open_crops(given["overrides"]["data"], 0)
    with pytest.raises(TrainingStopped):
        train_classifier(project, given, [Presses("on_train_batch_end", 5)])  # in the third epoch, of the second stage
    images = [one.image.array for one in project.dataset.examples]
    p = load_classifier(project.folder).probabilities(images)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-5)
    history = pd.read_csv(project.folder / model_folder.HISTORY)
    assert history["epoch"].tolist() == [1, 2]
    train_classifier(project, given)
    history = pd.read_csv(project.folder / model_folder.HISTORY)
    assert history["epoch"].tolist() == [1, 2, 3, 4]
    assert not (project.folder / model_folder.UNFINISHED).exists()
