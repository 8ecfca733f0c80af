"""Light on the sample: what each field had, what it may have, and what filming everything would have taken."""

from collections.abc import Mapping

from utils.microscope.protocol import Protocol
from utils.microscope.scope import Scope


class Light:
    """Doses of the fields of an experiment, in ms of full power; a burst counts on the field where its event was.

    Parameters
    ----------
    protocol, scope
        What is asked for, and the microscope, which knows how strong its channels are.
    before
        Doses of an earlier run of the experiment.
    """

    def __init__(self, protocol: Protocol, scope: Scope, before: Mapping[str, float]):
        self.protocol, self.scope = protocol, scope
        self.dose_ms = {one.name: 0.0 for one in protocol.survey.positions} | dict(before)

    @property
    def slices(self) -> int:
        """Slices of a frame of a burst; a film has no more than the one that was recorded."""
        return max(1, self.protocol.action.z_slices) if self.scope.moves else 1

    @property
    def of_survey(self) -> float:
        """Dose of one survey."""
        return sum(self.scope.dose(one) for one in self.protocol.survey.channels)

    @property
    def of_frame(self) -> float:
        """Dose of one frame of a burst."""
        return self.slices * sum(self.scope.dose(one) for one in self.protocol.action.channels)

    def allows(self, field: str, more_ms: float) -> bool:
        """Whether a field may have so much more."""
        return self.dose_ms[field] + more_ms <= self.protocol.limits.dose_ms

    def allows_survey(self) -> bool:
        """Whether any field may be looked at once more."""
        return any(self.allows(one.name, self.of_survey) for one in self.protocol.survey.positions)

    def reference(self, ran_s: float) -> float:
        """Dose of filming every field as in a burst for `ran_s` seconds, all fields together.

        One camera films one field after the other: where there are many, their exposures fill the time.
        """
        fields, action = len(self.protocol.survey.positions), self.protocol.action
        turn_s = fields * self.slices * sum(one.exposure_ms for one in action.channels) / 1000
        frames = 1 + ran_s // max(1e-3, turn_s, action.interval_s, self.scope.step_s)
        return fields * frames * self.of_frame
