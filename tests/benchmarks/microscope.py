"""Memory and time of an experiment: 1,000 surveys of the simulated culture, and from a decision to the first frame.

`python -m tests.benchmarks.microscope [--surveys 1000]`: memory after 100 surveys and at the end, seconds of computing
for a survey without what decides, and for what lies between an event and the first frame of its burst.
"""

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

from data_samples.culture_pictures import FIELD_UM
from utils.microscope.clock import FakeClock
from utils.microscope.opening import SIMULATED, open_microscope
from utils.microscope.protocol import Acting, Channel, Event, Limits, Looking, Position, Protocol, Survey
from utils.microscope.run import Moment, run

HEREABOUTS = 100  # surveys after which all is loaded that is loaded once
INTERVAL_S = 300.0


class EveryHour:
    """Watcher that sees an event in every twelfth survey, and measures."""

    def __init__(self):
        self.memory_mb: list[float] = []
        self.decided, self.delays = 0.0, []

    def look(self, survey: Survey) -> list[Event]:
        """An event in the middle of the image."""
        self.memory_mb.append(psutil.Process().memory_info().rss / 1e6)
        self.decided = time.process_time()
        if survey.number % 12:
            return []
        return [Event(survey.number, survey.time_s, survey.position, survey.number, 512.0, 512.0, "metaphase", 1.0)]

    def seen(self, moment: Moment) -> None:
        """How long the first frame of a burst took."""
        if moment.text.startswith("Frame 1 of"):
            self.delays.append(time.process_time() - self.decided)

    def state(self) -> dict:
        """Nothing is remembered."""
        return {}

    def restore(self, state: dict) -> None:
        """Nothing is remembered."""


def main() -> None:
    """Run the experiment and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--surveys", type=int, default=1000)
    surveys = parser.parse_args().surveys
    channels = (Channel("H2B", 30.0),)
    protocol = Protocol(
        Looking(channels, INTERVAL_S, (Position("middle", 0, 0),)),
        action=Acting((Channel("H2B", 50.0),), 2, 60.0, 1, 1.0, True),
        limits=Limits(duration_s=surveys * INTERVAL_S),
    )
    watcher = EveryHour()
    microscope = open_microscope(SIMULATED, seed=1, size_um=FIELD_UM, density=300)
    with microscope, tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        run(microscope, protocol, watcher, Path(folder) / "experiment", FakeClock(), watcher.seen)
        used_s = time.process_time() - began
    early, late = watcher.memory_mb[min(HEREABOUTS, surveys // 2)], watcher.memory_mb[-1]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
    print(f"surveys: {len(watcher.memory_mb)}, {used_s:.0f} s of CPU, {used_s / len(watcher.memory_mb):.3f} s each")
    print(f"memory: {early:.0f} MB after {HEREABOUTS} surveys, {late:.0f} MB at the end: {late - early:+.0f} MB")
    print(f"peak {peak:.0f} MB; cells at the end: {len(microscope.culture.cells)}")
    print(
        f"decision to first frame: median {np.median(watcher.delays):.2f} s, most {np.max(watcher.delays):.2f} s of CPU"
    )


if __name__ == "__main__":
    main()
