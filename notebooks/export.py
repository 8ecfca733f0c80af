"""Write a model for other programs: python -m notebooks.export MODEL [--to onnx,fiji,zoo] [--title TEXT] ...

Does what section 7 of the notebooks does: MODEL/export/<program>/ holds the files and a README on how to open them.
"""

import argparse
import os
import sys
from pathlib import Path

from utils import runtime
from utils.errors import UserError


def main() -> int:
    """Read the command line; 0 if all that was asked for was written."""
    runtime.prepare()
    runtime.start()
    from utils.exchange.export import FIELDS, TARGETS, export  # loads TensorFlow

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a model folder, such as models/my_unet")
    parser.add_argument("--to", default=",".join(TARGETS), help="what to write it for; default: %(default)s")
    for name in FIELDS:
        parser.add_argument(f"--{name}", default="", help="kept with the model")
    arguments = parser.parse_args()
    targets = [one.strip() for one in arguments.to.split(",")]
    if unknown := [one for one in targets if one not in TARGETS]:
        parser.error(f"--to knows {', '.join(TARGETS)}, not {', '.join(unknown)}")
    try:
        done = export(
            Path(os.path.abspath(arguments.model)), targets, {name: getattr(arguments, name) for name in FIELDS}
        )
    except UserError as error:
        print(f"{error.title}: {error}", file=sys.stderr)
        return 1
    for one in done:
        print(f"{one.target}: {one.problem or one.folder}")
    return int(any(one.problem for one in done))


if __name__ == "__main__":
    sys.exit(main())
