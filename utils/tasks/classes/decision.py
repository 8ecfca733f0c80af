"""Who decides on the class of an image: the network, the forest, or both together."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from utils.errors import how_many
from utils.tasks.classes.batches import class_weights, seen_by_forest
from utils.tasks.classes.forest import Forest, fit_forest, mixed, share_of

if TYPE_CHECKING:
    from utils.data.crops import Crop

DECIDES = {"network": 1.0, "forest": 0.0, "both": 0.5}  # field of the form -> share of the network
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)  # among which "automatic" chooses
FEWEST = 10  # validation images below which they choose nothing
ONE_IMAGE = 0.5  # change of the log-loss that a single image may bring by chance


def trained_forest(crops: Sequence["Crop"], description: Mapping, training: Mapping) -> Forest:
    """Forest on images that the network learns from too; classes weigh as the form says in its calibration."""
    n_classes, ids = len(description["classes"]), [one.class_id for one in crops]
    balance = class_weights(ids, n_classes, training["class_weights"])
    seen = [seen_by_forest(one.image.array, description) for one in crops]
    return fit_forest(seen, ids, [one.group for one in crops], n_classes, training["seed"], balance)


def log_losses(network: np.ndarray, forest: np.ndarray, y: np.ndarray, balance: np.ndarray) -> np.ndarray:
    """Log-loss of each image under each of `SHARES`, (n, 5), times the weight of its class."""
    weights = balance[y] / balance[y].mean()
    true = [mixed(network, forest, share)[np.arange(len(y)), y] for share in SHARES]
    return -np.log(np.maximum(np.stack(true, axis=1), 1e-7)) * weights[:, None]


def choose_share(network: np.ndarray, forest: np.ndarray, y: np.ndarray, balance: np.ndarray) -> tuple[float, str]:
    """Share of the network that suits images that neither learned from, and a sentence that says why.

    Half each, the mean that rarely does harm, unless another share has a smaller log-loss by more than one standard
    error of the difference on the same images. `network` and `forest` are calibrated probabilities (n, n_classes), `y`
    class ids (n,), `balance` the weight of an image of each class (n_classes,).
    """
    if len(y) < FEWEST:
        return 0.5, f"with {how_many(len(y), 'validation image')} there is no telling which of the two is better"
    losses = log_losses(network, forest, y, balance)
    gains = losses[:, [SHARES.index(0.5)]] - losses
    noise = gains.std(axis=0, ddof=1) / np.sqrt(len(y)) + ONE_IMAGE / len(y)
    clear = np.flatnonzero(gains.mean(axis=0) > noise)
    share = SHARES[clear[losses[:, clear].mean(axis=0).argmin()]] if len(clear) else 0.5
    half, one, none = (f"{losses[:, SHARES.index(at)].mean():.2f}" for at in (0.5, 1.0, 0.0))
    told = f"log-loss on {how_many(len(y), 'validation image')}: network {one}, forest {none}, half and half {half}"
    return share, told


def told(description: Mapping) -> str:
    """Who decides, in words; empty for models without a forest."""
    if "decides" not in description:
        return ""
    share, why = share_of(description), description["decides"]["why"]
    if share == 1:
        return f"The network decides alone ({why})."
    if share == 0:
        return f"A random forest on measured brightness, shape and texture decides here, not the network ({why})."
    return (
        f"Network and random forest decide together: their probabilities are averaged, the network's with a weight of "
        f"{100 * share:.0f} % ({why})."
    )
