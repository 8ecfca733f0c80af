"""Which annotated and which predicted objects belong together, and in what way the others went wrong."""

from dataclasses import dataclass

import numpy as np
from skimage.segmentation import relabel_sequential
from stardist.matching import label_overlap, matching

IOU_THRESHOLD = 0.5
HALF = 0.5  # an object lies in another where that one holds more than this share of its area: at most one does


@dataclass(frozen=True)
class ObjectKinds:
    """What became of each object of an image.

    Attributes
    ----------
    true : dict of int to str
        Label of each annotated object -> "matched", "missed", "merged" or "split".
    predicted : dict of int to str
        Label of each predicted object -> "matched", "false", "merging" or "splitting".
    """

    true: dict[int, str]
    predicted: dict[int, str]


def matched_pairs(match) -> list[tuple[int, int]]:
    """Labels (true, predicted) of the objects that match.

    Parameters
    ----------
    match : namedtuple
        Result of stardist.matching.matching with ``report_matches=True``, which also reports pairs that overlap too
        little to match.
    """
    return [match.matched_pairs[i] for i in match.matched_tps]


def classify_objects(
    labels_true: np.ndarray, labels_pred: np.ndarray, iou_threshold: float = IOU_THRESHOLD
) -> ObjectKinds:
    """Tell for each object of an image whether it was found, and if not, what happened to it.

    An object lies in another where more than half of its area does, the rule of the Cell Tracking Challenge.

    - matched: one annotated and one predicted object whose intersection over union is at least `iou_threshold`, chosen
      one to one by stardist.matching, so that their number is the TP of the scores.
    - merging: a predicted object, not matched, in which two or more annotated objects lie that make up more than half
      of it. merged: an annotated object, not matched, that lies with others in one predicted object, which may match
      the largest of them.
    - splitting and split: the same with annotated and predicted exchanged. An annotated object in pieces is split; a
      predicted object that is a piece of an annotated one, which another piece may match, is splitting.
    - missed and false: the other annotated and the other predicted objects.

    An object to which two of these apply is called by the first of them in this list.

    Parameters
    ----------
    labels_true, labels_pred : ndarray of integers, shape (Y, X), the same for both
        Annotated and predicted labels, 0 = background; gaps in the numbering are allowed.
    iou_threshold : float
        0 to 1.

    Returns
    -------
    ObjectKinds

    Raises
    ------
    ValueError
        If the shapes differ, or labels are negative or no whole numbers.

    References
    ----------
    Maska M et al. (2014) A benchmark for comparison of cell tracking algorithms, Bioinformatics 30:1609,
    doi:10.1093/bioinformatics/btu080 (an object lies in another by more than half).
    Caicedo JC et al. (2019) Evaluation of deep learning strategies for nucleus segmentation in fluorescence images,
    Cytometry A 95:952, doi:10.1002/cyto.a.23863 (missed, extra, merged and split objects).
    """
    pairs = matched_pairs(matching(labels_true, labels_pred, thresh=iou_threshold, report_matches=True))
    true, _, true_labels = relabel_sequential(labels_true)
    pred, _, pred_labels = relabel_sequential(labels_pred)
    overlap = label_overlap(true, pred, check=False).astype(np.int64)
    merging, merged = _together(overlap)
    split, splitting = _together(overlap.T)
    n_true, n_pred = np.array(overlap.shape) - 1
    true_labels, pred_labels = (np.asarray(labels)[1:].tolist() for labels in (true_labels, pred_labels))
    true_kinds = np.select([merged, split], ["merged", "split"], np.full(n_true, "missed")).tolist()
    pred_kinds = np.select([merging, splitting], ["merging", "splitting"], np.full(n_pred, "false")).tolist()
    return ObjectKinds(
        {**dict(zip(true_labels, true_kinds, strict=True)), **{label: "matched" for label, _ in pairs}},
        {**dict(zip(pred_labels, pred_kinds, strict=True)), **{label: "matched" for _, label in pairs}},
    )


def _together(overlap: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find what lies together in one object.

    Parameters
    ----------
    overlap : ndarray of int64, shape (1 + n_parts, 1 + n_hosts)
        Number of pixels shared; index 0 is the background.

    Returns
    -------
    is_host, is_part : ndarray of bool, shapes (n_hosts,) and (n_parts,)
        Hosts in which two or more parts lie that make up more than half of them, and those parts.
    """
    shared = overlap[1:, 1:]
    lies_in = shared > HALF * overlap[1:].sum(axis=1, keepdims=True)
    covered = (shared * lies_in).sum(axis=0)
    is_host = (lies_in.sum(axis=0) >= 2) & (covered > HALF * overlap[:, 1:].sum(axis=0))
    return is_host, (lies_in & is_host).any(axis=1)
