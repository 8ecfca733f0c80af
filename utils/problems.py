"""Problems found in the data: gathered, shown as a table, and told all at once."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Literal

import pandas as pd

from utils.errors import DataError

MOST_TOLD = 10


@dataclass(frozen=True)
class Problem:
    """One finding: `what` is wrong with `file` (or folder), and the `remedy`; only errors stop the notebook."""

    severity: Literal["error", "warning"]
    file: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.file}: {self.what}. {self.remedy}".rstrip()


def problem_of(file: str, error: DataError) -> Problem:
    """Problem with the words of `error`: its first sentence is what is wrong (of `file`), the others are the remedy."""
    what, _, remedy = str(error).removeprefix(f"{file} ").partition(". ")
    return Problem("error", file, what.rstrip("."), remedy)


def raise_errors(problems: Sequence[Problem]) -> None:
    """Raise one DataError that tells every error among `problems`: the first 10 in full, then how many more."""
    errors = [str(problem) for problem in problems if problem.severity == "error"]
    if not errors:
        return
    told = errors[:MOST_TOLD] + ([f"... and {len(errors) - MOST_TOLD} more."] if len(errors) > MOST_TOLD else [])
    count = "One problem was" if len(errors) == 1 else f"{len(errors)} problems were"
    raise DataError("\n- ".join([f"{count} found; nothing was written.", *told]))


def problem_table(problems: Sequence[Problem]) -> pd.DataFrame:
    """Table of problems: severity, file, what, remedy; errors first."""
    table = pd.DataFrame([asdict(problem) for problem in problems], columns=[field.name for field in fields(Problem)])
    return table.sort_values("severity", kind="stable", ignore_index=True)
