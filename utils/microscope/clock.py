"""Time of an experiment, in seconds since it began, and the button that stops it."""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

GLANCE_S = 0.2  # between two looks at the stop button while nothing is to be done
HANDLING_S = 0.05  # that a simulated exposure takes beside its light


class Stop:
    """The stop button: the first press ends an experiment after the exposure that runs, the second at once.

    The button is a signal, which only the main thread gets; where something else listens to it that is left alone.
    """

    def __init__(self):
        self.pressed, self._program_ends = False, False

    def press(self, number: int | None = None, frame: object = None) -> None:
        """Ask the experiment to end."""
        if self.pressed and number is not None:
            raise KeyboardInterrupt
        self.pressed, self._program_ends = True, number == signal.SIGTERM

    def end_program(self) -> None:
        """After the experiment: end the program, too, if the system asked for that."""
        if self._program_ends:
            signal.raise_signal(signal.SIGTERM)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hear the button, and the request of the system to end, while the block runs."""
        usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
        main = threading.current_thread() is threading.main_thread()
        heard = [one for one, handler in usual.items() if main and signal.getsignal(one) is handler]
        for one in heard:
            signal.signal(one, self.press)
        try:
            yield
        finally:
            for one in heard:
                signal.signal(one, usual[one])


class Clock:
    """Time that passes by itself."""

    def __init__(self):
        self.began = time.time()

    def now(self) -> float:
        """Seconds since the experiment began."""
        return time.time() - self.began

    def wait(self, until_s: float, stopped: Callable[[], bool]) -> None:
        """Let time pass until then, or until `stopped` says so."""
        while (left := until_s - self.now()) > 0 and not stopped():
            time.sleep(min(GLANCE_S, left))

    def spend(self, seconds: float) -> None:
        """Something took so long: of real time it was taken already."""

    def state(self) -> dict[str, float]:
        """What `restore` needs to go on."""
        return {"began": self.began}

    def restore(self, state: Mapping[str, float]) -> None:
        """Go on with an experiment that began earlier; time has passed since."""
        self.began = float(state.get("began", self.began))


class FakeClock(Clock):
    """Time that passes only where something waits or takes time: eight hours in seconds, for what is simulated."""

    def __init__(self):
        self.time_s = 0.0

    def now(self) -> float:
        """Seconds since the experiment began."""
        return self.time_s

    def wait(self, until_s: float, stopped: Callable[[], bool]) -> None:
        """Be there at once."""
        if not stopped():
            self.time_s = max(self.time_s, until_s)

    def spend(self, seconds: float) -> None:
        """Let the time pass that an exposure takes."""
        self.time_s += seconds + HANDLING_S

    def state(self) -> dict[str, float]:
        """What `restore` needs to go on."""
        return {"time_s": self.time_s}

    def restore(self, state: Mapping[str, float]) -> None:
        """Go on where it stood."""
        self.time_s = float(state.get("time_s", self.time_s))
