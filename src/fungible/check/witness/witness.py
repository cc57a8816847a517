"""Shrinks a break to the fewest requests and instances that still show it, and shows it three times of three."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from fungible.check.http.template import needs
from fungible.check.runs.ground import Break, Ground
from fungible.check.runs.placement import apart, closure
from fungible.check.runs.runner import Move, Trace
from fungible.check.runs.subject import Subject
from fungible.check.runs.world import Mode, World
from fungible.check.stopping import Threads
from fungible.check.witness.evidence import Look

TIMES = 3
_MOST_TRIES = 14
_MOST_AFTER_OTHERS = 6
"""Of a break that shows only on instances that served others: each try has to serve those first."""


@dataclass(frozen=True)
class Witness:
    """The smallest sequence found: its last move breaks on several instances and passes on one.

    `writer` is the index of the move whose effect is missed, or None. `warmed` tells that the last move's instance had to
    serve something earlier: a cold one gives the right answer.
    """

    moves: tuple[Move, ...]
    ground: Ground
    found: Break
    writer: int | None
    warmed: bool
    broke: int
    passed: int
    look: Look

    @property
    def racy(self) -> bool:
        """True where it does not show every time."""
        return self.broke < TIMES or self.passed < TIMES

    def broken_by(self, trace: Trace) -> Break | None:
        """Where another run of the same moves breaks; that a cookie is set again is no break where more than that was lost."""
        found = self.ground.first_break(trace)
        return found if found is None or not found.only_cookies or self.found.only_cookies else None

    @property
    def last(self) -> Move:
        """The move that breaks."""
        return self.moves[-1]


class Shrinker:
    """Finds the witness of one break."""

    def __init__(self, subject: Subject, moves: Sequence[Move], at: int, mode: Mode | None = None) -> None:
        self._subject = subject
        self._moves = list(moves[: at + 1])
        self._mode = mode
        self._earlier = any(move.earlier for move in self._moves)
        self._left = _MOST_AFTER_OTHERS if self._earlier else _MOST_TRIES
        self._used = not self._earlier
        """Whether tries may have used instances. What those show counts once fresh ones have shown it, too."""

    def shrink(self, fallback: tuple[Ground, Break]) -> Witness:
        """The witness; where nothing smaller shows the break, the run that was `fallback`."""
        witness = self._shrunk(fallback)
        if witness is None:
            self._used, self._left = False, _MOST_TRIES
            witness = self._shrunk(fallback)
        assert witness is not None, "fresh instances are not asked to confirm what fresh ones have shown"
        return witness

    def _lends(self, moves: Sequence[Move]) -> bool:
        return self._used and self._subject.lends(moves, self._mode)

    def _shrunk(self, fallback: tuple[Ground, Break]) -> Witness | None:
        found = self._simple(fallback)
        if found is None:
            placed, best = self._place()
            if best is None:
                placed, best = self._moves, fallback
            found = self._pair(placed)
            if found is None:
                found = (*self._greedy(placed, best), None) if best is not fallback else (placed, best, None)
        placed, best, writer = found
        if writer is None:
            writer = _likely_writer(placed)
        crash = any(move.kill_after for move in placed)
        warmed = not crash and any(move.slot == placed[-1].slot for move in placed[:-1])
        look = Look(placed)
        before, used = 1, self._lends(placed)
        if best is not fallback and used:
            confirmed = self._fresh(placed, look)
            if confirmed is None:
                return None
            best, before = confirmed, 2
        elif best is fallback and len(best[0].moves) > len(placed):
            # What one instance answers to all of the flow is none of the witness's: its last move must be the last.
            best = (self._subject.ground_for(placed), best[1])
        broke, passed = self._confirm(placed, best[0], look, before, used)
        return Witness(tuple(placed), best[0], best[1], writer, warmed, broke, passed, look)

    def _simple(self, fallback: tuple[Ground, Break]) -> tuple[list[Move], tuple[Ground, Break], int | None] | None:
        """The most likely answer first: the latest write and the move that breaks, each on an instance of its own."""
        if any(move.kill_after or move.aside or move.earlier for move in self._moves):
            return None
        placed = apart(self._moves, len(self._moves) - 1)
        for kept, writer in itertools.islice(_pairs(placed), 2):
            moves = [move for at, move in enumerate(placed) if at in kept]
            # Where that is the very run that broke, it has been tried.
            found = fallback if moves == self._moves else self._try(moves)
            if found is not None:
                fewer, found = self._greedy(moves, found) if len(moves) > 2 else (moves, found)
                return fewer, found, next((at for at, move in enumerate(fewer[:-1]) if move is placed[writer]), None)
        return None

    def _place(self) -> tuple[list[Move], tuple[Ground, Break] | None]:
        """The simplest placement that still breaks: the last move alone elsewhere, or with what its instance served before."""
        crash = any(move.kill_after for move in self._moves)
        last = len(self._moves) - 1
        warmed = [replace(move, slot=1 if move.slot == self._moves[-1].slot else 0) for move in self._moves]
        if self._earlier:
            return self._moves, None  # each try would have to serve the others first
        ways = [self._moves] if crash else [apart(self._moves, last), warmed, self._moves]
        if any(move.aside for move in self._moves):
            ways = ways[1:]
        for way in ways:
            found = self._try(way)
            if found is not None:
                return way, found
        return self._moves, None

    def _try(self, moves: Sequence[Move]) -> tuple[Ground, Break] | None:
        """Runs a sequence alone and as placed; it counts only if its last move is the first to break."""
        if self._left <= 0:
            return None
        self._left -= 1
        used = self._lends(moves)
        ground, found = self._subject.compare(moves, self._mode, used)
        if found is None or found.at != len(moves) - 1 or self._is_unsteady(moves, ground, used):
            return None
        if found.certain:
            return ground, found
        # What stands on a page that the whole flow never shows may vary too: one more run on one instance tells.
        self._subject.learn(ground)
        found = ground.first_break(found.trace)
        return (ground, found) if found is not None and found.at == len(moves) - 1 else None

    def _is_unsteady(self, moves: Sequence[Move], ground: Ground, used: bool) -> bool:
        """True where one instance itself answers the last request now so, now so.

        Asked only where it is not answered as in the whole flow: something that earlier runs have used up in a shared store,
        such as a rate limit, must not accuse.
        """
        answer = ground.control.outcomes[-1].answer
        known = next(
            (o.answer for o in self._subject.baseline.control.outcomes if o.move.step.id == moves[-1].step.id), answer
        )
        if answer.status == known.status:
            return False
        again = self._subject.control(moves, used=used).outcomes[-1].answer
        return again.status != answer.status

    def _pair(self, placed: Sequence[Move]) -> tuple[list[Move], tuple[Ground, Break], int | None] | None:
        """One earlier move and the last one, with what those two need."""
        for kept, writer in _pairs(placed):
            moves = [move for at, move in enumerate(placed) if at in kept]
            found = self._try(moves)
            if found is not None:
                fewer, found = self._greedy(moves, found) if len(moves) > 2 else (moves, found)
                at = next((at for at, move in enumerate(fewer[:-1]) if move is placed[writer]), None)
                return fewer, found, at
            if self._left <= 4:
                return None
        return None

    def _greedy(self, placed: list[Move], best: tuple[Ground, Break]) -> tuple[list[Move], tuple[Ground, Break]]:
        """Leaves out one move after the other, as long as the last one still breaks."""
        at = 0
        while at < len(placed) - 1 and self._left > 0:
            moves = placed[:at] + placed[at + 1 :]
            if _closed(moves):
                found = self._try(moves)
                if found is not None:
                    placed, best = moves, found
                    continue
            at += 1
        return placed, best

    def _fresh(self, moves: Sequence[Move], look: Look) -> tuple[Ground, Break] | None:
        """The witness on instances that have served nothing, which alone counts; None where they do not show it."""
        crash = any(move.kill_after for move in moves)
        with Threads(2) as threads:
            grounded = threads.submit(self._subject.ground_for, moves)
            trace = threads.submit(self._subject.run, moves, self._mode, look=_no_look if crash else look).result()
        ground = grounded.result()
        found = ground.first_break(trace)
        return (ground, found) if found is not None and found.at == len(moves) - 1 else None

    def _confirm(self, moves: Sequence[Move], ground: Ground, look: Look, before: int, used: bool) -> tuple[int, int]:
        """How often the witness breaks and one instance passes, of three times each; the search has shown either `before`.

        Once it was shown on fresh instances, used ones may show it again; what they do not show, fresh ones are asked for.
        """
        crash = any(move.kill_after for move in moves)
        last = len(moves) - 1

        def breaks(first: bool) -> bool:
            # Where files are looked at, there must be none of others.
            looks = first and not crash and before == 1
            look_now = look if looks else _no_look
            if used and not looks and self._breaks_last(ground, self._subject.run(moves, self._mode, used=True), last):
                return True
            return self._breaks_last(ground, self._subject.run(moves, self._mode, look=look_now), last)

        def passes() -> bool:
            # One instance alone is asked whether it is chance: for that, one that has served others will do.
            if self._subject.reserve is not None and not self._breaks_last(
                ground, self._subject.control(moves, used=True), last
            ):
                return True
            return not self._breaks_last(ground, self._subject.control(moves), last)

        with Threads(1 if used else 2) as threads:
            again = [threads.submit(breaks, not turn) for turn in range(TIMES - before)]
            controls = [threads.submit(passes) for _ in range(TIMES - before)]
            broke = before + sum(future.result() for future in again)
            passed = before + sum(future.result() for future in controls)
        if crash and self._subject.can_kill:
            # What the killed instance had would be gone with its disk.
            self._subject.run([replace(move, kill_after=False) for move in moves], self._mode, look=look)
        return broke, passed

    def _breaks_last(self, ground: Ground, trace: Trace, last: int) -> bool:
        found = ground.first_break(trace)
        return found is not None and found.at == last


def _no_look(world: World, trace: Trace) -> None:
    """Looks at nothing."""


def _closed(moves: Sequence[Move]) -> bool:
    """True where every value that a move needs is captured by an earlier one."""
    known: set[str] = {"host", "run"}
    for move in moves:
        if not needs(move.step) <= known:
            return False
        known |= {capture.name for capture in move.step.capture}
    return True


def _pairs(placed: Sequence[Move]) -> Iterator[tuple[set[int], int]]:
    """Sets of moves worth trying, most likely writer first: writes before reads, late before early.

    Where the last move's instance has served something (it was warmed), the latest such read stays in.
    """
    last = len(placed) - 1
    if any(move.earlier for move in placed):
        yield from _pairs_after_others(placed)
        return
    here = [at for at in range(last) if placed[at].slot == placed[last].slot and placed[last].slot != 0]
    warm = (
        {next((at for at in reversed(here) if placed[at].step.path == placed[last].step.path), here[-1])}
        if here
        else set[int]()
    )
    candidates = [at for at in range(last) if at not in warm]
    ordered = sorted(candidates, key=lambda at: (placed[at].step.safe, -at))
    seen: list[set[int]] = []
    for writer in ordered:
        kept = closure(placed, {writer, last} | warm)
        if kept not in seen and len(kept) < len(placed):
            seen.append(kept)
            yield kept, writer


def _pairs_after_others(placed: Sequence[Move]) -> Iterator[tuple[set[int], int]]:
    """The latest write and the last move, with all that the instance of either has served to others."""
    last = len(placed) - 1
    writer = next((at for at in reversed(range(last)) if not placed[at].earlier and not placed[at].step.safe), None)
    if writer is not None:
        for slot in (placed[last].slot, placed[writer].slot):
            served = {at for at in range(last) if placed[at].earlier and placed[at].slot == slot}
            yield closure(placed, {writer, last} | served), writer


def _likely_writer(moves: Sequence[Move]) -> int | None:
    """The latest write before the last move; else the latest request."""
    earlier = [at for at in range(len(moves) - 1) if not moves[at].aside and not moves[at].earlier]
    writes = [at for at in earlier if not moves[at].step.safe]
    return (writes or earlier or [None])[-1]
