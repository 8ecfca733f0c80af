"""Weights that are taken over from a trained network: everything but the head, and the head where classes are known."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest

from utils.tasks.objects import network as objects_network
from utils.tasks.registry import TASKS
from utils.tasks.task import Start
from utils.training import networks
from utils.training.stages import flat_layers, kept_classes, take_over

HEAD = ("logits",)
OBJECTS = {
    "n_rays": 4,
    "grid": [2, 2],
    "n_channel_in": 1,
    "n_classes": None,
    "unet_n_depth": 1,
    "unet_n_filter_base": 2,
    "unet_batch_norm": True,
    "net_conv_after_unet": 4,
    "train_patch_size": [16, 16],
    "train_batch_size": 2,
}


def randomised(network: keras.Model, rng: np.random.Generator) -> keras.Model:
    """The network with weights of no training, those that usually start as 0 or 1 included."""
    network.set_weights([rng.uniform(0.1, 1, weight.shape).astype(weight.dtype) for weight in network.get_weights()])
    return network


def table(names):
    return [{"id": i, "name": name, "value": i, "group": None} for i, name in enumerate(names)]


def weights_of(network) -> dict[str, list[np.ndarray]]:
    """Weights of each layer that has any."""
    return {layer.name: layer.get_weights() for layer in flat_layers(network) if layer.weights}


def body(network, head=HEAD) -> list[bytes]:
    return [array.tobytes() for name, arrays in weights_of(network).items() if name not in head for array in arrays]


def small_classifier(classes, filters=2, levels=1):
    return networks.classifier(1, classes, filters=filters, levels=levels)


def small_unet(classes, filters=2, pooling_steps=1):
    return networks.unet(1, classes, filters=filters, pooling_steps=pooling_steps)


@pytest.fixture(params=[small_classifier, small_unet], ids=["classifier", "U-Net"])
def build(request):
    return request.param


def logits(network) -> np.ndarray:
    """What the network says before softmax of two random images."""
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 1)).astype(np.float32)
    return keras.ops.convert_to_numpy(keras.Model(network.input, network.get_layer("logits").output)(x))


@pytest.mark.parametrize("seed", range(4))
def test_classes_in_another_order_get_the_same_answers_in_that_order(build, seed):
    rng = np.random.default_rng(seed)
    names = [f"class {i}" for i in range(rng.integers(2, 6))]
    order = rng.permutation(len(names))
    old, new = randomised(build(len(names)), rng), randomised(build(len(names)), rng)
    kept = kept_classes(table(names), table([names[i] for i in order]))
    assert kept == order.tolist()
    take_over(new, old, HEAD, kept)
    assert body(new) == body(old)
    for before, after in zip(old.get_layer("logits").get_weights(), new.get_layer("logits").get_weights(), strict=True):
        np.testing.assert_array_equal(after, before[..., order])
    np.testing.assert_allclose(logits(new), logits(old)[..., order], rtol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_of_fewer_classes_the_network_keeps_what_it_knows(build, seed):
    rng = np.random.default_rng(seed)
    names = [f"class {i}" for i in range(5)]
    chosen = rng.permutation(5)[: rng.integers(2, 5)]
    old, new = randomised(build(5), rng), randomised(build(len(chosen)), rng)
    take_over(new, old, HEAD, kept_classes(table(names), table([names[i] for i in chosen])))
    assert body(new) == body(old)
    np.testing.assert_allclose(logits(new), logits(old)[..., chosen], rtol=1e-5)


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_with_a_new_class_the_head_stays_random_and_the_rest_is_kept(build, classes):
    rng = np.random.default_rng(classes)
    old, new = randomised(build(3), rng), build(classes)
    kept = kept_classes(table("abc"), table(["other", *"abc"][:classes]))
    assert kept is None
    head = weights_of(new)["logits"]
    assert body(new) != body(old)
    take_over(new, old, HEAD, kept)
    assert body(new) == body(old)
    for before, after in zip(head, weights_of(new)["logits"], strict=True):
        np.testing.assert_array_equal(after, before)


def test_the_old_network_is_not_changed(build):
    rng = np.random.default_rng(0)
    old, new = randomised(build(3), rng), build(3)
    before = [weight.copy() for weight in old.get_weights()]
    take_over(new, old, HEAD, [2, 0, 1])
    new.set_weights([weight + 1 for weight in new.get_weights()])
    for weight, expected in zip(old.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, expected)


def test_kept_classes_over_random_names():
    rng = np.random.default_rng(0)
    for _ in range(200):
        old = rng.permutation(list("abcdefgh"))[: rng.integers(2, 9)].tolist()
        new = rng.permutation(list("abcdefgh"))[: rng.integers(2, 9)].tolist()
        kept = kept_classes(table(old), table(new))
        assert (kept is None) == bool(set(new) - set(old))
        if kept is not None:
            assert [old[i] for i in kept] == new


def test_names_that_look_like_numbers_are_the_same_class():
    assert kept_classes(table([1, "2"]), table(["2", "1"])) == [1, 0]
    assert kept_classes(table(["G2", "S"]), table(["G2", "s"])) is None


@pytest.mark.parametrize("other", [{"filters": 3}, {"deeper": 2}])
def test_another_architecture_is_an_error(build, other):
    deeper = {"levels": 2} if build is small_classifier else {"pooling_steps": 2}
    arguments = deeper if "deeper" in other else other
    for old, new in ((build(2), build(2, **arguments)), (build(2, **arguments), build(2))):
        with pytest.raises(ValueError):
            take_over(new, old, HEAD, [0, 1])


def test_a_network_in_a_network_is_taken_over_too():
    rng = np.random.default_rng(0)
    old, new = (networks.classifier(1, n, "MobileNetV2") for n in (3, 2))
    randomised(old, rng)
    take_over(new, old, HEAD, [2, 0])
    assert len(body(new)) > 200
    assert body(new) == body(old)


def stardist(n_classes, rng=None):
    network = objects_network.build({**OBJECTS, "n_classes": n_classes}).keras_model
    return network if rng is None else randomised(network, rng)


def started(old, old_names, new_names, task="stardist", network=OBJECTS):
    """The network that fine-tuning begins with; no names: no classes of objects."""

    def described(names):
        objects = {"n_classes": len(names) or None} if task == "stardist" else {"classes": len(names)}
        background = ["background"] if task == "stardist" else []
        return {
            "network": {**network, **objects},
            "classes": table([*background, *(names or ["object"] * bool(background))]),
        }

    source = Start("old", None, described(old_names), SimpleNamespace(network=old), {})
    return TASKS[task].start(described(new_names), source)


CLASS_HEAD = {"features_class", "prob_class"}


@pytest.mark.parametrize(
    ("old_names", "new_names"),
    [
        ([], []),
        (["a", "b"], []),
        ([], ["a", "b"]),
        (["a", "b"], ["b", "a"]),
        (["a", "b"], ["a", "c"]),
        (["a"], ["a", "b"]),
    ],
)
def test_stardist_keeps_outlines_whatever_the_classes(old_names, new_names):
    rng = np.random.default_rng(0)
    old = stardist(len(old_names) or None, rng)
    new = started(old, old_names, new_names)
    before, after = weights_of(old), weights_of(new)
    assert CLASS_HEAD & set(after) == (CLASS_HEAD if new_names else set())
    assert {"prob", "dist"} <= set(after)
    assert body(new, CLASS_HEAD) == body(old, CLASS_HEAD)
    for name in CLASS_HEAD & set(before) & set(after):
        assert before[name][0].tobytes() != after[name][0].tobytes(), name


def test_stardist_keeps_the_classes_of_objects_where_they_are_the_same():
    old = stardist(2, np.random.default_rng(0))
    new = started(old, ["a", "b"], ["a", "b"])
    assert body(new, ()) == body(old, ())


def test_a_stardist_model_can_gain_classes_and_lose_them_again():
    old = stardist(None, np.random.default_rng(0))
    back = started(started(old, [], ["a", "b"]), ["a", "b"], [])
    assert body(back, ()) == body(old, ())


def test_another_stardist_network_is_an_error():
    old = stardist(None)
    for other in ({"n_rays": 8}, {"unet_n_filter_base": 4}, {"unet_batch_norm": False}, {"unet_n_depth": 2}):
        with pytest.raises(ValueError):
            started(old, [], [], network=OBJECTS | other)


def test_a_unet_starts_with_the_classes_of_the_new_masks_in_their_order():
    network = {"channels": 1, "filters": 2, "pooling_steps": 1}
    old = randomised(small_unet(3), np.random.default_rng(0))
    new = started(old, ["background", "a", "b"], ["background", "b", "a"], "unet", network)
    np.testing.assert_allclose(logits(new), logits(old)[..., [0, 2, 1]], rtol=1e-5)
    other = started(old, ["background", "a", "b"], ["background", "c"], "unet", network)
    assert body(other) == body(old)
