"""A box in the corner of the browser's window that says how far a long cell is, wherever the page stands.

JupyterLab jumps to the end of a page that is run at once, away from the bar. The box is put beside the page, by a small
script, and the title of the browser's tab begins with the percentage; at the end both say so. A page that is opened
later, sent to somebody or made into HTML shows nothing of it: at the end the script is taken out again, and before it
minds the time at which it was written.
"""

import json
import sys
import time
from typing import Any

from IPython.display import display

from utils.locks import this_page

SECONDS = 3  # a shorter cell needs none
KEPT = 60  # seconds for which the end is told, once somebody looks
SILENCE = 300  # seconds without news after which the box goes: the kernel has died, or the page was opened anew
SCRIPT = """
(function (news) {
  const box = document.getElementById("nocode-corner") || document.createElement("div");
  if (Math.abs(Date.now() - news.sent) > 1000 * news.silence) return;
  const own = window.nocodeCorner = window.nocodeCorner || {title: document.title};
  own.place = element.closest && element.closest(".jp-Cell") || own.place || element;  // stays when the output goes
  const end = () => {
    clearTimeout(own.timer);
    if (own.watch) own.watch.disconnect();
    document.title = own.title;
    window.nocodeCorner = null;
    box.remove();
  };
  clearTimeout(own.timer);
  if (news.share === null) { end(); return; }
  box.id = "nocode-corner";
  box.title = "Click to see it on the page";
  box.style.cssText = "position: fixed; right: 24px; bottom: 40px; z-index: 10000; padding: 8px 14px; cursor: pointer;"
    + "background: white; color: black; border: 2px solid #1976d2; border-radius: 6px; font: 14px sans-serif;"
    + "box-shadow: 0 2px 8px rgba(0, 0, 0, 0.3)";
  const bar = document.createElement("progress"), text = document.createElement("div");
  bar.value = news.share;
  bar.style.cssText = "width: 100%; min-width: 220px";
  text.textContent = (news.page && news.page + ": ") + news.text;
  box.replaceChildren(text, bar);
  box.onclick = () => { own.place.scrollIntoView({block: "center"}); if (news.over) end(); };
  if (!box.isConnected) document.body.appendChild(box);
  own.shown = (news.over ? "\\u2713 " : Math.floor(100 * news.share) + " % ") + news.page;
  const entitle = () => { if (document.title !== own.shown) document.title = own.shown; };
  entitle();
  own.watch = own.watch || new MutationObserver(entitle);  // JupyterLab writes its own title whenever a page changes
  const title = document.querySelector("title");
  if (title) own.watch.observe(title, {childList: true});
  const wait = () => { own.timer = setTimeout(end, 1000 * (news.over ? news.kept : news.silence)); };
  if (news.over && !document.hasFocus()) window.addEventListener("focus", wait, {once: true}); else wait();
})
"""


class Corner:
    """The box that goes with one bar; nothing in Colab, whose outputs cannot reach the page, and without a page."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._begin = time.monotonic()

    def tell(self, text: str, share: float) -> None:
        """Say how far it is: `share` from 0 to 1. Nothing is shown in the first seconds."""
        if self._handle is not None or time.monotonic() - self._begin > SECONDS:
            self._show(text=text, share=share, over=False)

    def end(self, text: str, complete: bool) -> None:
        """Say that it is done, or where it is not `complete` (stopped, an error) take the box away."""
        if self._handle is not None:
            minutes, seconds = divmod(round(time.monotonic() - self._begin), 60)
            took = f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
            self._show(text=f"Done after {took}: {text}", share=1 if complete else None, over=True)
            self._handle.update({"text/plain": ""}, raw=True)  # nothing stays in the notebook

    def _show(self, **news: Any) -> None:
        if "google.colab" in sys.modules:
            return
        news |= {"sent": round(1000 * time.time()), "page": this_page(), "silence": SILENCE, "kept": KEPT}
        told = json.dumps(news).replace("<", "\\u003c")  # it may end up within a page
        bundle = {"application/javascript": f"{SCRIPT.strip()}({told});", "text/plain": ""}
        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)
