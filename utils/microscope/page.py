"""What the sections of the notebook of the microscope show and do."""

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from IPython.display import Markdown, display
from matplotlib.figure import Figure

from utils import runtime
from utils.errors import DataError, FormError, how_many
from utils.files import write_csv
from utils.microscope import figures
from utils.microscope.clock import Clock, FakeClock
from utils.microscope.files import EVENT_COLUMNS, EVENTS, NOTES, SURVEYS
from utils.microscope.find import DIAMETER_UM, PREFIX, Finder
from utils.microscope.judge import Judged, judge, marked
from utils.microscope.opening import SIMULATED, open_microscope
from utils.microscope.protocol import BEFORE, CLEAR, Protocol, Survey, lacking, protocol_of, stage_limits
from utils.microscope.replay import Replay
from utils.microscope.run import TRUTH, Moment, run
from utils.microscope.scope import Scope
from utils.microscope.tracks import TRACKS, append_rows, append_tracks, read_tracks
from utils.microscope.watcher import Watcher
from utils.pages.figures import as_image, show
from utils.pages.notes import note
from utils.pages.page import show_figures, show_tables, tidy
from utils.pages.report import write_report
from utils.paths import resolve, shown_path
from utils.tasks.example import example_values, train_example
from utils.tasks.phase_order import along_each_track, moves_within
from utils.training.progress import with_progress

DOSE, REPORT, TRACKS_DONE = "dose.csv", "report.html", "tracks.csv"
DRAWN_S = 2.0  # between two drawings of the live page
THRESHOLDS = (0.3, 0.5, 0.7, 0.9)
NEEDED = {"laptrack": "laptrack"}  # module -> package
NUCLEI = ("h2b", "dapi", "hoechst", "dna", "nucle")  # in the name of a channel
MARGIN = 1.5  # fields of view: side of a simulated culture beyond the positions
ANOTHER = 1000  # added to the seed of a simulated culture for the trial: never the one that is scored
WHOLE_TRACK = "class_of_track"  # column: with all that was seen later, too


def open_scope(values: Mapping[str, Any]) -> Scope:
    """Section 2: open what the form microscope names, and show what was found."""
    runtime.ensure(NEEDED)
    source, culture = values["microscope"].strip() or SIMULATED, {"seed": values["seed"]}
    more = culture if source == SIMULATED else {}
    step_s, size = 60 * values["time_step"], values["pixel_size"]
    scope = open_microscope(source, stage_limits(values), step_s, size, **more)
    if size and source != SIMULATED:  # whose pixels are those of its truth
        scope.pixel_size_um = size
    show_tables({"What was found": scope.describe()})
    if not scope.pixel_size_um:
        raise FormError("Nothing says how wide a pixel is. Write it in micrometres into the field pixel_size.")
    return scope


def field_um(scope: Scope) -> tuple[float, float]:
    """Height and width of what the camera sees."""
    return scope.shape[0] * scope.pixel_size_um, scope.shape[1] * scope.pixel_size_um


def plan(scope: Scope, forms: Mapping[str, Mapping[str, Any]]) -> Protocol:
    """Section 3.4: the protocol, shown in words; FormError that says all that the microscope lacks for it."""
    protocol = protocol_of(forms, _nuclei_first(scope.channels), field_um(scope))
    if scope.step_s > protocol.survey.interval_s:  # a film has nothing between its frames
        protocol = replace(protocol, survey=replace(protocol.survey, interval_s=scope.step_s))
    if lacks := lacking(protocol, scope.channels, scope.moves):
        raise FormError(" ".join(lacks))
    show_tables({"What will be done": _in_words(protocol)})
    return protocol


def _nuclei_first(channels: Sequence[str]) -> list[str]:
    """Channels of a microscope, those first whose names say that they show nuclei."""
    return sorted(channels, key=lambda name: not any(word in name.casefold() for word in NUCLEI))


def _in_words(protocol: Protocol) -> pd.DataFrame:
    survey, event, action, limits = protocol.survey, protocol.event, protocol.action, protocol.limits
    looked = ", ".join(f"{one.name} {one.exposure_ms:g} ms" for one in survey.channels)
    rows = [
        ("Survey", f"{how_many(len(survey.positions), 'position')} every {survey.interval_s / 60:g} min: {looked}"),
        ("Positions", ", ".join(one.name for one in survey.positions)),
    ]
    if event.classes:
        n = f" in {event.n_frames} surveys in a row" if event.n_frames > 1 else ""
        rows.append(("Event", f"{' or '.join(event.classes)} with a probability of at least {event.probability:g}{n}"))
        filmed = ", ".join(f"{one.name} {one.exposure_ms:g} ms" for one in action.channels)
        slices = f", {action.z_slices} slices" if action.z_slices > 1 else ""
        rows.append(("Burst", f"{action.frames} frames, one every {action.interval_s:g} s{slices}: {filmed}"))
    else:
        rows.append(("Event", "none: cells are only counted"))
    none, is_shared = "no limit", action.frames and action.centre and len(survey.positions) > 1
    on_top = ", plus what films centred on cells of the next field light of it" if is_shared else ""
    rows += [
        ("Time", f"{limits.duration_s / 3600:g} h" if np.isfinite(limits.duration_s) else none),
        ("Light on a field", f"{limits.dose_ms / 1000:g} s{on_top}" if np.isfinite(limits.dose_ms) else none),
        ("Disk", f"{limits.disk_mb:g} MB" if np.isfinite(limits.disk_mb) else none),
    ]
    return pd.DataFrame(rows, columns=["what", "how"])


def find_with(scope: Scope, protocol: Protocol, event: Mapping[str, Any], model_path: str = "models") -> Finder:
    """Section 3.4: what finds cells and says what they are, by values of the form event.

    Without a classifier an example is trained on the sample mitosis, unless cells are only counted. ModelError where a
    model knows no cells as this microscope shows them.
    """
    classifier = resolve(event["classifier"]) if event["classifier"] else None
    if classifier is None and protocol.event.classes:
        note(
            "No classifier is named: an example is trained on the sample mitosis, half a minute if it is not there yet."
        )
        classifier = with_progress(_example, model_path)
    detector = resolve(event["detector"]) if event["detector"] else None
    channels = [one.name for one in protocol.survey.channels]
    finder = load_finder(channels, classifier, detector, event["cell_diameter"])
    for remark in finder.remarks(scope.pixel_size_um):
        note(remark)
    return finder


def load_finder(
    channels: Sequence[str], classifier: Path | None, detector: Path | None, diameter_um: float = DIAMETER_UM
) -> Finder:
    """`Finder` with models from their folders, compiled and warm, so that the first survey waits for nothing.

    Cells are looked for in the first of `channels`; the classifier sees as many of them as it was trained on.
    """
    from utils.tasks.registry import CLASSIFIER, STARDIST  # loads TensorFlow

    model = CLASSIFIER.load(classifier) if classifier else None
    shown: Sequence[str] = channels[: len(model.description["channels"])] if model else ()
    finder = Finder(channels[0], model, STARDIST.load(detector) if detector else None, diameter_um, shown)
    if model:
        blank = np.zeros((*model.description["input"]["size"], len(finder.shown)), np.uint16)
        for n in (1, 2):  # the first call compiles; a batch takes other paths than one cell
            model.probabilities([blank] * n)
    return finder


def _example(model_path: str, callbacks: Sequence) -> Path:
    from utils.tasks.registry import CLASSIFIER  # loads TensorFlow

    return train_example(CLASSIFIER, example_values(model_path), callbacks)


def dry_run(scope: Scope, protocol: Protocol, finder: Finder, most_um: float, look: bool, folder: Path) -> Watcher:
    """Section 3.5: what would be filmed now. Lights the sample once where `look` says so, else nothing.

    A simulated culture is another one than that of the experiment.
    """
    watcher = Watcher(protocol, finder, most_um)
    surveys = _looked(scope, protocol) if look else _last_surveys(protocol, scope, folder)
    if not surveys:
        note("There is no survey yet, and nothing was lit. Tick look_once to look at all positions once.")
        return watcher
    rows = []
    for one in surveys:
        _, cells, labels = watcher.preview(one)
        show(figures.survey_figure(one, cells, labels, finder.classes, protocol.event.probability))
        rows.append(_would(one, cells))
    total = pd.concat(rows, ignore_index=True).fillna(0)
    filmed = "How many cells would be filmed, by the least probability that is asked for"
    show_tables({filmed if watcher.wanted else "How many cells were found": total})
    return watcher


def _looked(scope: Scope, protocol: Protocol) -> list[Survey]:
    """One survey of all positions, of a simulated culture of its own."""
    with _fresh(scope, protocol, ANOTHER) as other:
        return _surveys(other, protocol)


def _fresh(scope: Scope, protocol: Protocol, seed: int = 0) -> AbstractContextManager[Scope]:
    """The same microscope; of a simulated one a new culture, which no experiment has lit yet, under all positions."""
    if scope.name != SIMULATED:
        return nullcontext(scope)
    reach = max(max(abs(one.x_um), abs(one.y_um)) for one in protocol.survey.positions)
    size = 2 * reach + MARGIN * max(field_um(scope))
    return open_microscope(SIMULATED, protocol.limits, seed=scope.culture.seed + seed, size_um=size)


def _surveys(scope: Scope, protocol: Protocol) -> list[Survey]:
    found = []
    for position in protocol.survey.positions:
        scope.move(position)
        images = {one.name: scope.snap(one) for one in protocol.survey.channels}
        found.append(Survey(0, 0.0, position, scope.pixel_size_um, images))
    return found


def _last_surveys(protocol: Protocol, scope: Scope, folder: Path) -> list[Survey]:
    """The newest survey of each position that lies in the folder of the experiment."""
    import tifffile

    if not (folder / SURVEYS).is_file():
        return []
    table = pd.read_csv(folder / SURVEYS, dtype={"position": str}).groupby("position").last()
    found = []
    for position in protocol.survey.positions:
        if position.name in table.index and (path := folder / table.loc[position.name, "file"]).is_file():
            names = [one.name for one in protocol.survey.channels]
            planes = tifffile.imread(path).reshape(len(names), *scope.shape)
            time_s = float(table.loc[position.name, "time_s"])
            images = dict(zip(names, planes, strict=True))
            found.append(Survey(int(table.loc[position.name, "survey"]), time_s, position, scope.pixel_size_um, images))
    return found


def _would(survey: Survey, cells: pd.DataFrame) -> pd.DataFrame:
    """Cells of a survey, and how many of them would be events at some thresholds."""
    row = {"position": survey.position.name, "cells": len(cells)}
    if "p_event" in cells:
        row |= {f"from {least:g}": int((cells["p_event"] >= least).sum()) for least in THRESHOLDS}
    return pd.DataFrame([row])


class Live:
    """The page while an experiment runs; also keeps tracks.csv and dose.csv.

    Parameters
    ----------
    watcher
        That of the run.
    folder
        Of the experiment.
    """

    def __init__(self, watcher: Watcher, folder: Path):
        self.watcher, self.folder = watcher, folder
        self.moment: Moment | None = None
        self._survey, self._next, self._handles = None, 0.0, {}

    def __call__(self, moment: Moment) -> None:
        """Show how it stands; what takes long to draw only from time to time."""
        self.moment = moment
        if moment.survey is not None and moment.survey is not self._survey:
            self._survey = moment.survey
            append_tracks(self.folder / TRACKS, moment.survey, self.watcher.cells)
            self._append_dose(moment)
        if time.monotonic() >= self._next:
            self.draw()
            self._next = time.monotonic() + DRAWN_S

    def end(self) -> None:
        """Keep the light of the bursts since the last survey, too, and show how it ended."""
        if self._survey is not None:
            self._append_dose(self.moment)
        self.draw()

    def draw(self) -> None:
        """Show the last survey, events, light and time."""
        moment = self.moment
        if moment is None:
            return
        self._put("text", Markdown(_told(moment, self.watcher.protocol)))
        if moment.survey is not None:
            self._put("survey", as_image(_picture(moment.survey, self.watcher)))
        if len(moment.events):
            columns = ["event", "cell", "time_s", "position", "class", "probability", "frames", "complete"]
            newest = moment.events[columns].iloc[::-1].head(8)
            self._put("events", tidy(newest.assign(time=newest.pop("time_s").map(figures.in_hours))))
        if (self.folder / DOSE).is_file():
            self._put("dose", as_image(figures.dose_figure(pd.read_csv(self.folder / DOSE))))

    def _put(self, name: str, shown: object) -> None:
        """Show something at its place on the page."""
        if name not in self._handles:
            self._handles[name] = display(shown, display_id=True)
        elif self._handles[name]:
            self._handles[name].update(shown)

    def _append_dose(self, moment: Moment) -> None:
        light = {"dose_ms": sum(moment.dose_ms.values()), "reference_ms": moment.reference_ms}
        append_rows(self.folder / DOSE, pd.DataFrame([{"time_s": moment.time_s} | light]))


def _picture(survey: Survey, watcher: Watcher) -> Figure:
    """The last survey as the watcher saw it."""
    least = watcher.protocol.event.probability
    return figures.survey_figure(survey, watcher.cells, watcher.labels, watcher.finder.classes, least)


def _told(moment: Moment, protocol: Protocol) -> str:
    """How an experiment stands, in two lines."""
    light, whole = sum(moment.dose_ms.values()) / 1000, moment.reference_ms / 1000
    share = f", {100 * light / whole:.0f} % of filming everything" if whole else ""
    left = f"; {figures.in_hours(moment.remaining_s)} left" if np.isfinite(moment.remaining_s) else ""
    seen, filmed = how_many(len(moment.events), "event"), how_many(moment.bursts, "burst")
    return (
        f"**{figures.in_hours(moment.time_s)}**{left}. {seen} so far, {filmed} running. Light: {light:.1f} s on "
        f"{how_many(len(protocol.survey.positions), 'field')}{share}.\n\n{moment.text}"
    )


def observe(scope: Scope, protocol: Protocol, watcher: Watcher, folder: Path, when_full: str) -> Path:
    """Section 4: do the experiment, or go on with the one in `folder`; simulated and recorded time passes by itself."""
    quick = isinstance(scope, Replay) or scope.name == SIMULATED
    live = Live(watcher, folder)
    watcher.forget()
    try:
        with _fresh(scope, protocol) as mine:
            run(mine, protocol, watcher, folder, FakeClock() if quick else Clock(), live, when_full=when_full)
    finally:
        live.end()
    note(f"{live.moment.text}. Everything is in {folder}".replace("..", "."), folder)
    return folder


class Outcome(NamedTuple):
    """What is shown of an experiment and goes into its report."""

    tables: dict[str, pd.DataFrame]
    figures: dict[str, Figure]
    summary: str


def conclude(scope: Scope, protocol: Protocol, watcher: Watcher, folder: Path, wrong: str, forms: Mapping) -> Path:
    """Section 5: how well it went, shown and written to report.html.

    `wrong` are numbers of bursts that show no event, "none" where all do, "" where nobody has looked. With a simulated
    culture the truth is known, and they are not needed.
    """
    events = _table(folder / EVENTS)
    outcome = _outcome(scope, protocol, watcher, folder, events, _numbers(wrong, events))
    for one in (outcome.summary, *_warnings(scope)):
        note(one)
    show_tables(outcome.tables)
    show_figures(outcome.figures)
    path = folder / REPORT
    write_report(
        path,
        title=f"Experiment {folder.name}",
        summary=f"{scope.name}.\n\n{outcome.summary}",
        tables={"What was done": _in_words(protocol), "What was found": scope.describe(), **outcome.tables},
        figures=outcome.figures,
        parameters=forms,
        warnings=_warnings(scope),
        versions=runtime.versions(),
    )
    note(f"The report is {path}", path)
    return path


def _outcome(
    scope: Scope, protocol: Protocol, watcher: Watcher, folder: Path, events: pd.DataFrame, wrong: list | None
) -> Outcome:
    light, until_s = _light(folder)
    found = _judged(scope, protocol, watcher, folder, events, until_s)
    tables, drawn, verdicts = {}, {}, dict.fromkeys(wrong or (), "marked as wrong")
    if found is not None:
        tables["How well events were caught"] = _late(found)
        really = found.told["phase"].map("really: {}".format) + np.where(found.told["late"], ", begun late", "")
        verdicts = dict(zip(found.told["event"], really, strict=True))
    elif watcher.wanted and wrong is not None:
        shown = figures.shown_bursts(folder, events)["event"].tolist()
        tables["How many bursts show an event, by your marks"] = marked(events, wrong, shown)
    names = [one.name for one in protocol.survey.positions]
    if watcher.wanted:
        true = None if found is None else found.true
        drawn["When events were seen and filmed"] = figures.time_line(events, names, until_s, true)
        drawn["The bursts"] = figures.burst_montage(folder, events, verdicts)
    else:
        tables["How many cells were counted"] = _counted(folder, names)
    if (folder / DOSE).is_file():
        drawn["Light"] = figures.dose_figure(pd.read_csv(folder / DOSE))
    if (folder / NOTES).is_file():
        tables["What went wrong or was left out"] = _table(folder / NOTES)
    whole = f", {100 * light[0] / light[1]:.0f} % of what filming everything would have taken" if light[1] else ""
    seen = f"{how_many(len(events), 'event')} and {how_many(_divided(folder), 'division')}"
    summary = f"{seen} in {figures.in_hours(until_s)}; {light[0] / 1000:.1f} s of light in all{whole}."
    return Outcome(tables, drawn, summary)


def _judged(
    scope, protocol: Protocol, watcher: Watcher, folder: Path, events: pd.DataFrame, until_s: float
) -> Judged | None:
    """Judgement of a simulated experiment that waited for something; None of others."""
    if not (folder / TRUTH).is_file() or not watcher.wanted:
        return None
    waited = [watcher.names[i] for i in watcher.wanted]
    return judge(protocol, phases_meant(waited), pd.read_csv(folder / TRUTH), events, until_s, field_um(scope))


def phases_meant(waited: Sequence[str]) -> Sequence[str]:
    """Phases in which a burst is right: of mitosis entry prophase, too, in which it begins early, not wrongly."""
    return BEFORE if set(CLEAR) <= set(waited) <= set(BEFORE) else waited


def _late(found: Judged) -> pd.DataFrame:
    """Scores, and how late bursts began, in one table."""
    delay = found.delay_min
    row = {
        "what": "minutes from the event to the first frame (median, 10 to 90 %)",
        "counts": how_many(len(delay), "event"),
    }
    if len(delay):
        row |= dict(zip(("value", "low", "high"), delay.quantile([0.5, 0.1, 0.9]), strict=True))
    return pd.concat([found.table(), pd.DataFrame([row])], ignore_index=True)


def _numbers(text: str, events: pd.DataFrame) -> list[int] | None:
    """Numbers of events in a text, "none" for no number; None where it is empty. DataError for what is no number."""
    if not text.strip():
        return None
    if text.strip().casefold() == "none":
        return []
    known = set(events["event"]) if len(events) else set()
    found = []
    for one in text.replace(";", ",").split(","):
        if one.strip():
            if not one.strip().isdigit() or int(one) not in known:
                raise DataError(f"The field wrong_bursts has {one.strip()!r}, which is no number of an event.")
            found.append(int(one))
    return found


def _light(folder: Path) -> tuple[tuple[float, float], float]:
    """Light so far and that of filming everything, in ms, and the end of the experiment, s."""
    if not (folder / DOSE).is_file():
        return (0.0, 0.0), 0.0
    last = pd.read_csv(folder / DOSE).iloc[-1]
    return (float(last["dose_ms"]), float(last["reference_ms"])), float(last["time_s"])


def _counted(folder: Path, names: Sequence[str]) -> pd.DataFrame:
    """Cells in the first and the last survey of each position, and the fewest and the most in any."""
    looked = _table(folder / SURVEYS).set_index(["survey", "position"]).index
    tracks = read_tracks(folder / TRACKS) if (folder / TRACKS).is_file() else pd.DataFrame(columns=looked.names)
    cells = tracks.groupby(looked.names).size().reindex(looked, fill_value=0)
    rows = [(name, cells.xs(name, level="position")) for name in names if name in looked.get_level_values("position")]
    columns = ["position", "surveys", "cells at first", "cells at last", "fewest", "most"]
    return pd.DataFrame([(name, len(n), n.iloc[0], n.iloc[-1], n.min(), n.max()) for name, n in rows], columns=columns)


def _divided(folder: Path) -> int:
    """How many cells divided, as far as tracks.csv tells: those that others have for their parent."""
    if not (folder / TRACKS).is_file():
        return 0
    tracks = read_tracks(folder / TRACKS)
    return int(tracks.loc[tracks["parent"] > 0, "parent"].nunique())


def _warnings(scope: Scope) -> list[str]:
    if scope.name == SIMULATED:
        return ["The cells were simulated: what the protocol does with real ones must be found out with real ones."]
    if isinstance(scope, Replay):
        return ["A film was replayed: bursts show what was recorded then, so light was neither spent nor saved."]
    return []


def _table(path: Path) -> pd.DataFrame:
    return (
        pd.read_csv(path, dtype={"position": str, "file": str})
        if path.is_file()
        else pd.DataFrame(columns=EVENT_COLUMNS)
    )


def list_files(folder: Path, watcher: Watcher) -> None:
    """Section 6: what lies in the folder; tracks.csv gets the classes that follow from whole tracks."""
    if (folder / TRACKS).is_file():
        tracks = read_tracks(folder / TRACKS)
        if watcher.names and len(tracks):
            p = tracks[[PREFIX + name for name in watcher.names]].to_numpy(float)
            moves = moves_within(watcher.names, watcher.protocol.survey.interval_s)
            tracks[WHOLE_TRACK] = along_each_track(tracks["track"].to_numpy(), p, watcher.names, moves)
        write_csv(folder / TRACKS_DONE, tracks)
    rows = [
        (name, how_many(len(list(folder.glob(pattern))), noun), what)
        for name, pattern, noun, what in (
            ("surveys/", "surveys/*.tif", "image", "one OME-TIFF for each look at a position"),
            ("bursts/", "bursts/*.tif", "film", "one OME-TIFF for each burst: time, slices, channels"),
            (EVENTS, EVENTS, "table", "a row for each event, with its files"),
            (TRACKS_DONE, TRACKS_DONE, "table", "a row for each cell in each survey"),
            (REPORT, REPORT, "page", "to read and to archive"),
        )
    ]
    show_tables({f"Files in {shown_path(folder)}": pd.DataFrame(rows, columns=["name", "number", "what it holds"])})
    note(f"All of it lies in {folder}", folder)
