"""What fits the data of a StarDist model, from their fingerprint."""

from collections.abc import Mapping

from utils.tasks.automatic import Choice

WORK = {"Quick on a CPU": 500e6, "Try out": 40e6}  # pixels that a network learns from in all
BESIDE = 8.0, 8.0  # seconds of a training without its steps: in any case, and for each million pixels of all images
DRAWING = 0.06  # seconds that StarDist's targets of a batch take
SMALL, LARGE = 10, 60  # pixels: width of objects below and above which another grid suits better
MANY_RAYS = 60  # pixels: width of large objects whose outline needs more corners


def grid_choice(fingerprint: Mapping) -> Choice:
    """Coarseness of the network's answer, by the small objects: each must cover some points of the grid."""
    small, width = fingerprint["object_diameter"][:2]
    grid = 1 if small < SMALL / 2 else 4 if small > LARGE / 2 and width > LARGE else 2
    return Choice("training", "grid", grid, f"Objects are {width:.0f} pixels wide, small ones {small:.0f}.")


def rays_choice(fingerprint: Mapping) -> Choice:
    """Corners of an outline, by the large objects."""
    width = fingerprint["object_diameter"][2]
    why = f"Large objects are {width:.0f} pixels wide."
    return Choice("training", "n_rays", 64 if width > MANY_RAYS else 32, why)
