"""Whether a tile looks like those that the network has learned from: another stain or an artefact must not pass.

The distance is Mahalanobis's [1]_, from the mean of the training pieces, over colours and the network's own features,
with Ledoit and Wolf's estimate of the covariance [2]_, which holds for few pieces, too.

References
----------
.. [1] Lee K et al. (2018) A simple unified framework for detecting out-of-distribution samples, NeurIPS,
   arXiv:1807.03888
.. [2] Ledoit O, Wolf M (2004) J Multivar Anal 88:365, doi:10.1016/S0047-259X(03)00096-4
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.covariance import ledoit_wolf

from utils.files import write_text

FILE = "looks.json"  # in the model folder
WITHIN = 0.99  # share of the tiles of a patient left out that are nearer than the limit
FEWEST = 3  # patients, below which nothing can be left out
MARGIN = 1.5  # times the largest distance seen, where there are fewer
DIGITS = 5  # significant ones that are kept
HALF = "<f2"
LEAST = 1e-8  # is added to each variance: pieces may be all the same


@dataclass(frozen=True)
class Known:
    """What training pieces look like.

    Attributes
    ----------
    mean, scale
        Of each feature (n,).
    covariance
        Of the scaled features (n, n).
    limit
        Distance from which a tile is unlike.
    """

    mean: np.ndarray
    scale: np.ndarray
    covariance: np.ndarray
    limit: float = np.inf

    def distances(self, features: np.ndarray) -> np.ndarray:
        """Distance of each row (n_tiles, n) from the mean; NaN where a feature is not known."""
        apart, precision = (features - self.mean) / self.scale, np.linalg.pinv(self.covariance, hermitian=True)
        return np.sqrt(np.einsum("ij,jk,ik->i", apart, precision, apart) / len(self.mean))

    def save(self, folder: Path) -> None:
        """Write it into a model folder; of the covariance the Cholesky factor, for which half as many digits do.

        Of that the lower half, row by row, as little-endian float16 in base64.
        """
        lower = np.linalg.cholesky(self.covariance + LEAST * np.eye(len(self.mean)))
        packed = b64encode(lower[np.tril_indices(len(lower))].astype(HALF).tobytes()).decode()
        told = {"mean": self.mean, "scale": self.scale, "limit": [self.limit]}
        lines = [f'"{name}": [{", ".join(f"{one:.{DIGITS}g}" for one in values)}]' for name, values in told.items()]
        write_text(folder / FILE, "{" + ",\n ".join([*lines, f'"cholesky": "{packed}"']) + "}\n")


def read_known(folder: Path) -> Known | None:
    """What the pieces that a model has learned from look like; None where that is not known."""
    try:
        told = json.loads((folder / FILE).read_text(encoding="utf-8"))
        mean, scale = (np.array(told[one]) for one in ("mean", "scale"))
        lower = np.zeros((len(mean), len(mean)))
        if "covariance" in told:  # models of the first version
            lower[np.tril_indices(len(mean))] = told["covariance"]
            covariance = lower + np.tril(lower, -1).T
        else:
            lower[np.tril_indices(len(mean))] = np.frombuffer(b64decode(told["cholesky"]), HALF)
            covariance = lower @ lower.T
        return Known(mean, scale, covariance, float(told["limit"][0]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def learn(features: np.ndarray, patients: Sequence[str]) -> Known:
    """What training pieces (n_pieces, n) of patients look like, with the limit set on patients that are left out."""
    patients = np.asarray(patients)
    names = np.unique(patients)
    known = _known(features)
    if len(names) < FEWEST:
        limit = MARGIN * known.distances(features).max()
    else:
        own = (_known(features[patients != one]).distances(features[patients == one]) for one in names)
        limit = np.quantile(np.concatenate(list(own)), WITHIN)
    return Known(known.mean, known.scale, known.covariance, float(limit))


def _known(features: np.ndarray) -> Known:
    mean, scale = features.mean(axis=0), features.std(axis=0)
    scale = np.where(scale > 1e-9, scale, 1.0)  # a feature that never answers: its distance is as it is
    covariance, _ = ledoit_wolf((features - mean) / scale, assume_centered=True)
    return Known(mean, scale, covariance)
