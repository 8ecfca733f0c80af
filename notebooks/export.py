"""Write a model for other programs: python -m notebooks.export MODEL [--to qupath,fiji,zoo,onnx] [--title TEXT] ...

Does what section 7 of the notebooks does: MODEL/export/<program>/ holds the files and a README on how to open them.
Without --to everything is written that this kind of model can become.
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
    from utils.exchange.export import FIELDS, export  # loads TensorFlow
    from utils.exchange.targets import TARGETS, reasons
    from utils.training import origin

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a model folder, such as models/my_unet")
    parser.add_argument("--to", default="", help=f"what to write it for, such as {','.join(TARGETS)}")
    for name in FIELDS:
        parser.add_argument(f"--{name}", default="", help="kept with the model")
    arguments = parser.parse_args()
    model = Path(os.path.abspath(arguments.model))
    possible = [name for name, why in reasons(model).items() if not why]
    targets = [one.strip() for one in arguments.to.split(",")] if arguments.to else possible or list(TARGETS)
    if unknown := [one for one in targets if one not in TARGETS]:
        parser.error(f"--to knows {', '.join(TARGETS)}, not {', '.join(unknown)}")
    try:
        done = export(model, targets, {name: getattr(arguments, name) for name in FIELDS})
    except UserError as error:
        print(f"{error.title}: {error}", file=sys.stderr)
        return 1
    for one in done:
        print(f"{one.target}: {one.problem or one.folder}")
    if against := origin.clash(origin.about(Path(os.path.abspath(arguments.model)))):
        print(against, file=sys.stderr)
    return int(any(one.problem for one in done))


if __name__ == "__main__":
    sys.exit(main())
