"""A box in the corner of the browser's window that says how far a long cell is, wherever the page stands.

JupyterLab jumps to the end of a page that is run at once, away from the bars. The box is put beside the page, by a
small script, and the title of the browser's tab begins with the percentage; at the end both say so. A clock in it goes
on by itself, and the kernel gives a sign of life every few seconds: where that fails to come the box says so. A page
that is opened later, sent to somebody or made into HTML shows nothing of it: at the end the script is taken out again,
and before it minds the time at which it was written.
"""

import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from IPython import get_ipython
from IPython.display import display

from utils.locks import this_page

SECONDS = 3  # a shorter cell needs none, unless it trains
KEPT = 60  # seconds for which the end is told, once somebody looks
BEAT = 5  # seconds between two signs of life
SILENCE = 30  # seconds without one after which that is said: the kernel has died, or the computer slept
NEARLY = 0.9  # of the whole: what is left of such a bar is what is left
OLD = 300  # seconds after which news are none: the page was saved and opened anew
SCRIPT = """
(function (news) {
  const box = document.getElementById("nocode-corner") || document.createElement("div");
  if (Math.abs(Date.now() - news.sent) > 1000 * news.old) return;
  const own = window.nocodeCorner = window.nocodeCorner || {title: document.title, heard: 0};
  own.place = element.closest && element.closest(".jp-Cell") || own.place || element;  // stays when the output goes
  own.heard += 1;
  const end = () => {
    clearTimeout(own.timer);
    clearInterval(own.ticking);
    if (own.watch) own.watch.disconnect();
    document.title = own.title;
    window.nocodeCorner = null;
    box.remove();
  };
  clearTimeout(own.timer);
  clearInterval(own.ticking);
  if (news.share === null) { end(); return; }
  box.id = "nocode-corner";
  box.title = "Click to see it on the page";
  box.style.cssText = "position: fixed; right: 24px; bottom: 40px; z-index: 10000; padding: 8px 14px; cursor: pointer;"
    + "background: white; color: black; border: 2px solid #1976d2; border-radius: 6px; font: 14px sans-serif;"
    + "box-shadow: 0 2px 8px rgba(0, 0, 0, 0.3); max-width: 420px";
  const [bar, text, clock] = ["progress", "div", "div"].map(one => document.createElement(one));
  bar.value = news.share;
  bar.style.cssText = "width: 100%; min-width: 220px";
  clock.style.cssText = "font-size: 12px; color: #555";
  const name = news.page && news.page + ": ";
  text.textContent = name + news.text;
  const began = Date.now() - 1000 * news.took;
  const tick = () => {
    const seconds = Math.round((Date.now() - began) / 1000);
    clock.textContent = `running for ${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  };
  box.replaceChildren(text, bar);
  if (!news.over) { box.append(clock); tick(); own.ticking = setInterval(tick, 1000); }
  box.onclick = () => { own.place.scrollIntoView({block: "center"}); if (news.over || own.silent) end(); };
  if (!box.isConnected) document.body.appendChild(box);
  own.silent = false;
  own.shown = (news.over ? "\\u2713 " : Math.floor(100 * news.share) + " % ") + news.page;
  const entitle = () => { if (!own.silent && document.title !== own.shown) document.title = own.shown; };
  entitle();
  own.watch = own.watch || new MutationObserver(() => own.entitle());  // JupyterLab writes its own whenever it changes
  own.entitle = entitle;
  const title = document.querySelector("title");
  if (title) own.watch.observe(title, {childList: true});
  const later = (act, seconds) => { own.timer = setTimeout(act, 1000 * seconds); };
  const once_seen = () => {
    const wait = () => later(end, news.kept);
    if (document.hasFocus()) wait(); else window.addEventListener("focus", wait, {once: true});
  };
  const silent = () => {
    clearInterval(own.ticking);
    own.silent = true;
    document.title = own.title;
    text.textContent = `${name}no sign of life for ${news.silence} seconds. The kernel has stopped, or this computer `
      + "slept: look at the page. If nothing goes on there, run the cells again.";
    bar.remove();
    clock.remove();
    once_seen();
  };
  if (news.over) once_seen(); else later(own.heard > 1 ? silent : end, news.silence);
})
"""


class Corner:
    """The box of one cell; nothing in Colab, whose outputs cannot reach the page, and without a page."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._began = time.monotonic()
        self._news: dict[str, Any] = {"text": "", "share": 0.0}
        self._doing, self._span = False, (0.0, 1.0)
        self._writing, self._over = threading.RLock(), threading.Event()

    def doing(self, text: str) -> None:
        """Say at once what is done; that stands until a bar moves."""
        self._doing = True
        self._show(text=text)

    def tell(self, text: str, share: float, moved: bool = True) -> None:
        """Say how far a bar is: `share` from 0 to 1, of what `stretch` says. Nothing is shown in the first seconds.

        A bar that has not `moved` leaves what `doing` said; "{share}" in the text is the percentage of the whole.
        """
        begin, end = self._span
        share = begin + (end - begin) * share
        self._doing &= not moved
        news = {"share": share} if self._doing else {"share": share, "text": text.format(share=f"{100 * share:.0f} %")}
        self._news |= news
        if self._handle is not None or time.monotonic() - self._began > SECONDS:
            self._show()

    @property
    def is_whole(self) -> bool:
        """Whether a bar tells of nearly all that the cell does, as far as is known."""
        return self._span[1] - self._span[0] > NEARLY

    @contextmanager
    def stretch(self, begin: float, end: float) -> Iterator[None]:
        """Let bars meanwhile tell of a part of the whole, from `begin` to `end` of what was theirs before."""
        before = self._span
        low, high = before
        self._span = low + begin * (high - low), low + end * (high - low)
        try:
            yield
        finally:
            self._span = before

    def go_on_from(self, share: float) -> None:
        """Let bars from now on tell of what comes after this share of the whole."""
        self._span = share, 1.0

    def end(self, complete: bool) -> None:
        """Say that the cell is done, or where it is not `complete` (stopped, an error) take the box away."""
        self._over.set()
        if self._handle is None:
            return
        minutes, seconds = divmod(round(time.monotonic() - self._began), 60)
        took = f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
        self._show(text=f"Done after {took}", share=1 if complete else None, over=True)
        self._handle.update({"text/plain": ""}, raw=True)  # nothing stays in the notebook

    def _show(self, **news: Any) -> None:
        if not on_page() or (self._over.is_set() and not news.get("over")):  # a button that was pressed later has none
            return
        with self._writing:
            self._news |= news
            told = {"over": False, **self._news, "took": round(time.monotonic() - self._began)}
            told |= {"sent": round(1000 * time.time()), "page": this_page()}
            told |= {"silence": SILENCE, "kept": KEPT, "old": OLD}
            script = json.dumps(told).replace("<", "\\u003c")  # it may end up within a page
            bundle = {"application/javascript": f"{SCRIPT.strip()}({script});", "text/plain": ""}
            if self._handle is None:
                self._handle = display(bundle, raw=True, display_id=True)
                threading.Thread(target=self._beat, daemon=True).start()
            else:
                self._handle.update(bundle, raw=True)

    def _beat(self) -> None:
        """Repeat the news from time to time, while the cell runs."""
        while not self._over.wait(BEAT):
            with self._writing:
                if not self._over.is_set():
                    self._show()


_cell = {"corner": Corner()}


def on_page() -> bool:
    """Whether the code runs in a kernel whose outputs can reach the browser's window."""
    return getattr(get_ipython(), "kernel", None) is not None and "google.colab" not in sys.modules


def now() -> Corner:
    """The box of the cell that runs."""
    return _cell["corner"]


def watch() -> None:
    """Give each cell from now on a box of its own, and let it say when the cell is done."""
    shell = get_ipython()
    for event, callback in (("pre_run_cell", _begin), ("post_run_cell", _end)):
        if shell is not None and callback not in shell.events.callbacks[event]:
            shell.events.register(event, callback)


def _begin(info: Any = None) -> None:
    _cell["corner"] = Corner()


def _end(result: Any) -> None:
    now().end(complete=result.error_before_exec is None and result.error_in_exec is None)
