"""Write the images of the bundled samples again: `python -m data_samples.generate [--only NAME]`.

The generators are seeded, so that the images come out the same; tests compare them with the committed ones.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

from data_samples.cohorts import make_tissue, make_tissue_new_stain
from data_samples.mitosis import make_mitosis, make_mitosis_new_marker
from data_samples.nuclei import make_nuclei
from data_samples.slides import make_slides

FOLDER = Path(__file__).resolve().parent
MAKERS: dict[str, Callable[[Path], None]] = {
    "nuclei": make_nuclei,
    "tissue": make_tissue,
    "tissue_new_stain": make_tissue_new_stain,
    "mitosis": make_mitosis,
    "mitosis_new_marker": make_mitosis_new_marker,
    "slides": make_slides,
}


def main() -> None:
    """Read the command line and write the samples it names into this folder."""
    parser = argparse.ArgumentParser(description="Write the images of the bundled samples again.")
    parser.add_argument("--only", choices=MAKERS, help="write this sample alone")
    only = parser.parse_args().only
    for name in [only] if only else MAKERS:
        MAKERS[name](FOLDER / name)
        print(f"wrote {FOLDER / name}")


if __name__ == "__main__":
    main()
