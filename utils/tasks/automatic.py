"""A setting that the data choose, with the reason in words."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

AUTOMATIC = "automatic"


@dataclass(frozen=True)
class Choice:
    """What a field marked `AUTOMATIC` stands for.

    Attributes
    ----------
    form, field, value
        What is set to what.
    reason
        One sentence for a biologist.
    candidates
        Values between which the data leave doubt, `value` among them: short trials may decide.
    """

    form: str
    field: str
    value: Any
    reason: str
    candidates: Sequence = ()
