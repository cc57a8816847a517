"""What the check is doing, what the time goes to, and how long it will take: one line, renewed on a terminal."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from fungible.check.model import Finding
from fungible.check.report.words import count, duration, one_line

_WORDS = {"prepare": "preparing", "explore": "looking for flows"}
_EVERY_S = 15.0
"""How often a line comes where there is no terminal, such as in the log of a CI server."""


class Progress:
    """One line with the phase, the starts and what they take, the time, and how long it will about be.

    On a terminal it is renewed, and goes away when the report comes; elsewhere it is printed now and then. Nothing here
    may end a check: what goes wrong with the terminal is swallowed, and the terminal is put back on every way out.
    """

    def __init__(self, console: Console | None, *, now: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._now = now
        self._began = now()
        self._live: Live | None = None
        self._spinner = Spinner("dots")
        self._phase = ("", "")
        self._starts = 0
        self._ready: list[float] = []
        self._expected: tuple[float, int] | None = None
        self._found: list[Finding] = []
        self._over = threading.Event()

    def __enter__(self) -> Self:
        self._began = self._now()
        console = self._console
        if console is None:
            return self
        # What can't be encoded would fail in rich's own thread, where nobody catches it.
        if console.is_terminal and not console.is_dumb_terminal and console.encoding.startswith("utf"):
            live = Live(console=console, get_renderable=self._shown, refresh_per_second=8, transient=True)
            try:
                live.start()
            except Exception:
                with suppress(Exception):
                    live.stop()
            else:
                self._live = live
        else:
            threading.Thread(target=self._print_now_and_then, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ends()

    def ends(self) -> None:
        """Shows nothing more. Idempotent."""
        self._over.set()
        live, self._live = self._live, None
        if live is not None:
            # Also after KeyboardInterrupt: stopping shows the cursor again.
            try:
                live.stop()
            except Exception:
                with suppress(Exception):
                    live.console.show_cursor(True)

    def phase(self, name: str, detail: str = "") -> None:
        """Begins a phase."""
        first = not self._phase[0]
        self._phase = (name, detail)
        if first:
            self._print()

    def started(self, number: int = 1) -> None:
        """Counts instances that were started."""
        self._starts += number

    def ready(self, seconds: float) -> None:
        """An instance took so long to start."""
        self._ready.append(seconds)

    def expects(self, starts: float) -> None:
        """About so many more instances will be started."""
        self._expected = (starts, self._starts)

    def found(self, finding: Finding) -> None:
        """Counts a finding, and names it."""
        self._found.append(finding)
        self._print()

    def note(self, text: str) -> None:
        """Nothing is shown of it: the report has all notes."""

    def line(self) -> str:
        """`scatter shop: 12 starts of 4.1 s, 49 s so far, about 1 min 10 s more; 1 finding (session at step view)`."""
        name, detail = self._phase
        mean = sum(self._ready) / len(self._ready) if self._ready else 0.0
        each = f" of {duration(mean)}" if self._ready else ""
        elapsed = self._now() - self._began
        left = self._left(elapsed)
        parts = [
            f"{count(self._starts, 'start')}{each}" if self._starts else "",
            f"{duration(elapsed)} so far" if elapsed >= 1 else "",
            f"about {duration(left)} more" if left is not None else "",
        ]
        doing = " ".join(part for part in (_WORDS.get(name, name), detail) if part)
        cost = ", ".join(part for part in parts if part)
        found = ""
        if self._found:
            last = self._found[-1]
            found = f"{count(len(self._found), 'finding')} (last: {last.kind} at step {last.step})"
        said = ": ".join(part for part in (doing, cost) if part)
        return one_line("; ".join(part for part in (said, found) if part))

    def _left(self, elapsed: float) -> float | None:
        """About how many seconds are left, from what a start has cost until now with all that is done between them."""
        if self._expected is None or not self._ready:
            return None
        expected, then = self._expected
        starts_left = max(0.0, expected - (self._starts - then))
        return starts_left * elapsed / max(1, len(self._ready))

    def _shown(self) -> RenderableType:
        # Called from rich's own thread, where an error would be printed over the display.
        with suppress(Exception):
            frame = str(self._spinner.render(self._now()))
            return Text(f"{frame} {self.line()}", no_wrap=True, overflow="ellipsis")
        return Text("")

    def _print_now_and_then(self) -> None:
        while not self._over.wait(_EVERY_S):
            self._print()

    def _print(self) -> None:
        """A line where there is no terminal to renew one on."""
        if self._live is None and self._console is not None and not self._over.is_set():
            with suppress(Exception):
                line = self.line().encode(self._console.encoding, "backslashreplace").decode(self._console.encoding)
                self._console.print(
                    f"fungible check: {line}", markup=False, highlight=False, emoji=False, soft_wrap=True
                )
