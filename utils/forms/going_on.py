"""Going on where one stopped: trainings that were not finished, settings of last time, models that are there.

What a person chooses of these fills all forms of the page: those that are there at once, the others as they appear. The
choice lives as long as the kernel. A file that is damaged is passed over: nothing here may stop a form.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from utils.errors import UserError
from utils.forms.fields import AUTOMATIC
from utils.forms.settings import OWN, made_by, notebook_name, read_model_settings, read_settings, settings_file
from utils.forms.taken import DAMAGED, where_stopped
from utils.locks import holder_of
from utils.paths import CHOSEN, DESCRIPTION, FOLDER_NAME, SCORES, STATE, TRAINING, resolve, shown_path

MODELS = "models"
REPLACED = re.compile(r"\.\d{4}-\d\d-\d\d(\.\d+)?$")  # how a folder is called that made room for another one
ALL = "filled in here, and in the other forms of this page as they appear"
MOST = 3  # trainings to go on with that are offered, the latest first

Values = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Offer:
    """What a person may fill all forms with.

    Attributes
    ----------
    title, about, done
        Of the button, beside it, and what to say once it was pressed.
    values
        By form and field.
    """

    title: str
    about: str
    done: str
    values: Values


_waiting: dict[str, Mapping[str, Any]] = {}  # forms that are to be filled in when they appear


def offers(now: datetime | None = None) -> list[Offer]:
    """Trainings of this notebook that were not finished, the latest first, then the settings of last time.

    The settings are left out where they are those of such a training. `now` is the present time, for the words.
    """
    now = now or datetime.now()
    last = _last_settings()
    unfinished = [_to_go_on(folder, now) for folder in _unfinished_folders(last[0] if last else {})]
    found = [offer for offer in unfinished if offer][:MOST]
    if last and not any(_same_model(offer.values, last[0]) for offer in found):
        name = last[0].get("data", {}).get("model_name", "")
        about = f"{in_words(last[1], now)}{f', of the model {name}' if name else ''}"
        found.append(Offer("Use my last settings", about, f"Your last settings are {ALL}.", last[0]))
    return found


def choose(offer: Offer) -> None:
    """Keep the values of an offer for forms that appear later; see `taken`."""
    _waiting.clear()
    _waiting.update(offer.values)


def taken(form_name: str) -> Mapping[str, Any]:
    """Values that were chosen for a form which appears now; empty where there are none, and the second time."""
    return _waiting.pop(form_name, {})


def _last_settings() -> tuple[Values, datetime] | None:
    try:
        settings = read_settings()
        return (settings, datetime.fromtimestamp(settings_file().stat().st_mtime)) if settings else None
    except (UserError, OSError, ValueError, OverflowError):
        return None


def _unfinished_folders(settings: Values) -> list[Path]:
    """Model folders in which a training was begun and not finished, the latest first."""
    places = {resolve(MODELS): None}
    if isinstance(own := settings.get("data", {}).get("model_path"), str) and own.strip():
        places[resolve(own)] = None
    folders = [one for place in places for one in _folders(place) if os.path.isdir(one / TRAINING)]
    return sorted((one for one in folders if not REPLACED.search(one.name)), key=_stopped, reverse=True)


def _folders(place: Path) -> Iterator[Path]:
    """Folders in `place` that may be those of models."""
    try:
        with os.scandir(place) as scan:
            names = [entry.name for entry in scan]
    except (OSError, ValueError):
        return
    yield from (place / name for name in names if FOLDER_NAME.fullmatch(name) and os.path.isdir(place / name))


def _stopped(folder: Path) -> float:
    """When an unfinished training last wrote something, in seconds."""
    try:
        return max(path.stat().st_mtime for path in (folder / TRAINING, *(folder / TRAINING).rglob(STATE)))
    except OSError:
        return 0.0


def _to_go_on(folder: Path, now: datetime) -> Offer | None:
    """Offer to go on with the training in `folder`.

    None where it is not of this notebook, another page is at it now, or something is damaged.
    """
    if holder_of(folder):
        return None
    try:
        saved = read_model_settings(folder)
        if made_by(folder, saved) != notebook_name():
            return None
        values = _asked(folder, saved)
        values["data"] |= {"model_name": folder.name, "model_path": shown_path(folder.parent)}
        about = f"stopped {where_stopped(folder, saved)}, {in_words(datetime.fromtimestamp(_stopped(folder)), now)}"
    except (UserError, *DAMAGED):
        return None
    done = f"The settings of {folder.name} are {ALL}: run the cells below, and its training goes on where it stopped."
    return Offer(f"Go on with {folder.name}", about, done, values)


def _asked(folder: Path, saved: Values) -> dict[str, dict[str, Any]]:
    """Values as a person entered them: what was chosen from the data is left to the data again."""
    values = {form: {name: one for name, one in its.items() if name not in OWN} for form, its in saved.items()}
    path = folder / CHOSEN
    for one in json.loads(path.read_text(encoding="utf-8")) if path.exists() else []:
        values[one["form"]][one["field"]] = AUTOMATIC
    return values


def _same_model(values: Values, others: Values) -> bool:
    """Whether two sets of values are of the same model folder."""
    one, other = values.get("data", {}), others.get("data", {})
    places = [(data.get("model_name"), resolve(str(data.get("model_path") or MODELS))) for data in (one, other)]
    return places[0] == places[1]


def in_words(then: datetime, now: datetime) -> str:
    """A time as a person would say it: "today 16:40", "yesterday 16:40", "24 November 16:40", "24 November 2025"."""
    days = {now.date(): "today", now.date() - timedelta(days=1): "yesterday"}
    if then.date() in days:
        return f"{days[then.date()]} {then:%H:%M}"
    return f"{then.day} {then:%B} {then:%H:%M}" if now - then < timedelta(days=300) else f"{then.day} {then:%B %Y}"


def models(tasks: tuple[str, ...], now: datetime | None = None) -> list[tuple[str, str]]:
    """Trained models of one of `tasks` in the folder of models, the latest first: what to say of each, and its path."""
    now, found = now or datetime.now(), []
    for folder in _folders(resolve(MODELS)):
        try:
            path = folder / DESCRIPTION
            if json.loads(path.read_text(encoding="utf-8"))["task"] not in tasks:
                continue
            written = path.stat().st_mtime
            about = f"{folder.name}: trained {in_words(datetime.fromtimestamp(written), now)}{_trained_on(folder)}"
            found.append((written, f"{about}{_score(folder)}", shown_path(folder)))
        except (OSError, ValueError, LookupError, TypeError, OverflowError):
            continue
    return [(about, path) for _, about, path in sorted(found, reverse=True)]


def _trained_on(folder: Path) -> str:
    try:
        source = read_model_settings(folder)["data"]["training_source"]
        return f" on {shown_path(source)}"
    except (UserError, OSError, ValueError, LookupError, TypeError, AttributeError):
        return ""


def _score(folder: Path) -> str:
    try:
        best = json.loads((folder / SCORES).read_text(encoding="utf-8"))["headline"]
        return f", {best['name']} {best['value']:.2f}"
    except (OSError, ValueError, LookupError, TypeError):
        return ""
