"""What the check is doing, live on a terminal; silent everywhere else."""

import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from fungible.check.model import Finding
from fungible.check.report.words import count, duration, one_line

_STYLE = {"BREAKING": "red", "HIGH": "yellow", "MEDIUM": "cyan"}
_FINDINGS_SHOWN = 5


class Progress:
    """A live region with the phases, what was found so far and the time; it goes away when the report comes.

    Nothing here may end a check: what goes wrong with the terminal is swallowed, and the terminal is put back on
    every way out. Without a terminal all calls do nothing.
    """

    def __init__(self, console: Console | None, *, now: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._now = now
        self._began = now()
        self._live: Live | None = None
        self._spinner = Spinner("dots")
        self._finished: list[tuple[str, float]] = []
        self._phase: tuple[str, str, float] | None = None
        self._steps = (0, 0)
        self._starts = 0
        self._found: list[Finding] = []
        self._note = ""

    def __enter__(self) -> Self:
        self._began = self._now()
        console = self._console
        if console is None or not console.is_terminal or console.is_dumb_terminal:
            return self
        if not console.encoding.startswith("utf"):
            # What can't be encoded would fail in rich's own thread, where nobody catches it.
            return self
        live = Live(console=console, get_renderable=self._shown, refresh_per_second=8, transient=True)
        try:
            live.start()
        except Exception:
            with suppress(Exception):
                live.stop()
        else:
            self._live = live
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        live, self._live = self._live, None
        if live is not None:
            # Also after KeyboardInterrupt: stopping shows the cursor again.
            try:
                live.stop()
            except Exception:
                with suppress(Exception):
                    live.console.show_cursor(True)

    def phase(self, name: str, detail: str = "") -> None:
        """Ends the phase before and begins this one; the same name again only changes the detail."""
        now = self._now()
        if self._phase is not None and self._phase[0] == name:
            self._phase = (name, detail, self._phase[2])
            return
        if self._phase is not None:
            self._finished.append((self._phase[0], now - self._phase[2]))
        self._phase, self._steps, self._note = (name, detail, now), (0, 0), ""

    def step(self, done: int, total: int) -> None:
        """How much of the phase is done; a total of 0 means that nobody knows."""
        self._steps = (done, total)

    def started(self, number: int = 1) -> None:
        """Counts instances that were started."""
        self._starts += number

    def found(self, finding: Finding) -> None:
        """Shows a finding."""
        self._found.append(finding)

    def note(self, text: str) -> None:
        """Shows one line under the phase, until the next note or phase."""
        self._note = text

    def _shown(self) -> RenderableType:
        # Called from rich's own thread, where an error would be printed over the display.
        try:
            return self._region()
        except Exception:
            return Text("")

    def _region(self) -> RenderableType:
        now = self._now()
        rows: list[RenderableType] = [
            Text(f"✓ {one_line(name)}  {duration(seconds)}", style="green", no_wrap=True, overflow="ellipsis")
            for name, seconds in tuple(self._finished)
        ]
        if self._phase is not None:
            self._spinner.update(text=self._current(self._phase))
            rows.append(self._spinner)
        if self._note:
            rows.append(Text(f"  {one_line(self._note)}", style="dim", no_wrap=True, overflow="ellipsis"))
        found = tuple(self._found)
        for finding in found[-_FINDINGS_SHOWN:]:
            line = Text(f"✗ {finding.severity}", style=_STYLE[finding.severity], no_wrap=True, overflow="ellipsis")
            rows.append(line.append(f"  {finding.kind} at step {one_line(finding.step)}", style="default"))
        started = f"{count(self._starts, 'instance')} started" if self._starts else ""
        parts = [duration(now - self._began), started, count(len(found), "finding")]
        rows.append(Text("  ".join(part for part in parts if part), style="dim"))
        return Group(*rows)

    def _current(self, phase: tuple[str, str, float]) -> Text:
        done, total = self._steps
        text = Text(one_line(phase[0]), style="bold", no_wrap=True, overflow="ellipsis")
        if total:
            text.append(f"  {done}/{total}", style="not bold cyan")
        if phase[1]:
            text.append(f"  {one_line(phase[1])}", style="not bold dim")
        return text
