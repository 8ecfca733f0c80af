"""Microscopes by the names on the form: the simulated culture, Micro-Manager's demo, a configuration file, a film."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from utils import runtime
from utils.errors import MicroscopeError
from utils.microscope.protocol import Limits
from utils.microscope.replay import Replay
from utils.microscope.scope import SIMULATED, Microscope, Scope
from utils.paths import resolve

NEEDED = {"pymmcore_plus": "pymmcore-plus", "mm_test_adapters": "mm-test-adapters"}  # module -> package
DEMO = "Micro-Manager demo"


def open_microscope(
    source: str, limits: Limits | None = None, step_s: float = 0.0, pixel_size_um: float = 0.0, **culture: Any
) -> Scope:
    """Microscope, or what stands for one, by its name on the form.

    Parameters
    ----------
    source
        `SIMULATED`, `DEMO`, the path of a Micro-Manager configuration file (.cfg), or that of a film: see
        `utils.microscope.replay.Replay`.
    limits
        Where the stage may go.
    step_s, pixel_size_um
        Of a film that does not say so itself.
    **culture
        Of the simulated culture, see `data_samples.culture.Culture`.

    Raises
    ------
    MicroscopeError
        The configuration is not there or does not load; it has no camera.
    DataError, FormError
        The film is none, or does not say what must be known.
    """
    if source not in (SIMULATED, DEMO) and (path := resolve(source)).suffix.lower() != ".cfg":
        if not path.exists():
            raise MicroscopeError(f"There is neither a configuration file nor a film {path}. Check its name.")
        return Replay(path, step_s, pixel_size_um)
    runtime.ensure(NEEDED)
    if source == SIMULATED:
        from utils.microscope.simulated import simulated_microscope  # loads pymmcore-plus

        return simulated_microscope(limits, **culture)
    path = _test_adapters() / "MMConfig_demo.cfg" if source == DEMO else path
    return Microscope(_loaded(path, source == DEMO), limits, DEMO if source == DEMO else path.name)


def _loaded(path: Path, demo: bool) -> Any:
    """Core with the devices of a configuration file."""
    from pymmcore_plus import CMMCorePlus

    if not path.is_file():
        raise MicroscopeError(f"There is no configuration file {path}. Check its name for a typing error.")
    core = CMMCorePlus()
    found = [] if demo else list(core.getDeviceAdapterSearchPaths())
    core.setDeviceAdapterSearchPaths([*found, str(_test_adapters())])
    try:
        core.loadSystemConfiguration(str(path))
    except (RuntimeError, OSError, ValueError) as error:  # of the devices, of the file, of its text
        with suppress(RuntimeError):
            core.unloadAllDevices()
        reason = str(error) if not isinstance(error, UnicodeError) else "it is no text"
        raise MicroscopeError(
            f"{path} could not be loaded: {reason[:300]}. Load it in Micro-Manager first: what works there works here."
        ) from error
    return core


def _test_adapters() -> Path:
    """Folder of Micro-Manager's demo devices."""
    import mm_test_adapters

    return Path(mm_test_adapters.device_adapter_path())
