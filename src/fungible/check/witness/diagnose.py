"""Names the kind of state by experiment: the witness runs again with one thing made common, and what heals it tells.

The same disk heals what is kept in files; the same start-up randomness heals keys drawn at start; a cold instance in the
reader's place heals a stale copy; a visitor without credentials who is answered the same shows that it was the session.
What the answers tell by themselves is asked first, since it costs no run. Where nothing decides, the kind is
`in-process-data`, with what was seen as evidence.
"""

from dataclasses import dataclass, replace

import msgspec

from fungible.check.http.template import needs
from fungible.check.model import Answer, Kind, Step
from fungible.check.oracle.noise import Oracle
from fungible.check.oracle.places import Places, places_of
from fungible.check.runs.runner import Move, Outcome, Trace, alone
from fungible.check.runs.subject import Subject
from fungible.check.runs.world import Mode
from fungible.check.witness import shapes
from fungible.check.witness.credentials import invented, issued, signed, stripped
from fungible.check.witness.evidence import is_session_cookie, signed_form
from fungible.check.witness.files import uploaded_in
from fungible.check.witness.validators import differs
from fungible.check.witness.witness import Witness


@dataclass(frozen=True)
class Diagnosis:
    """The kind of state, and what speaks for it."""

    kind: Kind
    evidence: tuple[str, ...]
    on_disk: bool = False


class Diagnosing:
    """The experiments on one witness."""

    def __init__(self, subject: Subject, witness: Witness) -> None:
        self._subject = subject
        self._witness = witness
        self._mode = subject.mode
        self._evidence: list[str] = []
        self._look = witness.look
        self._healed_by_disk = False

    def kind(self) -> Diagnosis:
        """Runs the experiments in the order in which they exclude each other."""
        if self._mode.common_disk:
            self._evidence.append("seen while the instances had one disk, so that faults of the disk could not hide it")
        if self._mode.common_randomness:
            self._evidence.append("seen while the instances drew the same random numbers at start, for the like reason")
        crash = any(move.kill_after for move in self._witness.moves)
        kind = self._told() or (
            self._crash() if crash else self._warmed() or self._disk() or self._secret() or self._process()
        )
        return Diagnosis(kind, tuple(self._evidence + self._seen()), self._healed_by_disk)

    def _heals(self, mode: Mode, moves: tuple[Move, ...] | None = None) -> bool:
        """True where the witness no longer breaks."""
        moves = self._witness.moves if moves is None else moves
        trace = self._subject.run(moves, mode, used=self._subject.lends(moves, mode))
        return self._witness.broken_by(trace) is None

    def _told(self) -> Kind | None:
        """What the answers tell, with one more run at most: where none of it is so, the experiments follow."""
        if shapes.is_limit(self._witness):
            self._evidence.append("the same request, counted by each instance for itself")
            return "rate-limit"
        validator = differs(self._subject, self._witness)
        if validator is not None:
            self._evidence.append(
                f"both instances give the same body, and neither knows the other's validator ({validator})"
            )
            return "validator"
        header = shapes.cache_header(self._witness)
        if header is not None:
            self._evidence.append(f"the answer says itself that it comes from a cache ({header})")
            return "cache"
        return self._accepted()

    def _accepted(self) -> Kind | None:
        """What is refused, and is accepted elsewhere: a sign-in that lives on. A page left open by a copy is told with it."""
        if not shapes.is_accepted(self._witness):
            return None
        redirected = self._witness.ground.control.outcomes[-1].answer.status in shapes.REDIRECTS
        if redirected and self._warmed() is not None:
            self._evidence.append(
                "what had been ended, such as a signed-out session, is let in as long as the copy lives"
            )
            return "cache"
        if self._anonymous():
            self._evidence.append("the other instance answers as it answers a visitor without credentials")
            return "session"
        self._evidence.append("one instance refuses it after what went before, another one still accepts it")
        return "revived-session"

    def _warmed(self) -> Kind | None:
        """A cold instance answers right, one that has read before does not: it keeps a copy."""
        last = self._witness.last
        earlier = [move for move in self._witness.moves[:-1] if move.slot == last.slot]
        if not self._witness.warmed or not all(move.step.safe or move.earlier for move in earlier):
            return None
        # Where the writer wrote files of its own, a cold instance may lack them just as well: it is asked.
        cold = replace(last, slot=max(move.slot for move in self._witness.moves) + 1)
        if self._look.left.files and not self._heals(self._mode, (*self._witness.moves[:-1], cold)):
            return None
        self._evidence.append(
            "an instance that had served nobody gives the right answer; one that had served another visitor goes by what it learned then"
            if any(move.earlier for move in earlier)
            else "an instance that had not read it before gives the right answer; one that had, gives the old one"
        )
        return "cache"

    def _disk(self) -> Kind | None:
        """One disk for all instances heals what is kept in files."""
        if not self._subject.can_kill or self._mode.common_disk:
            return None
        if self._subject.sees_files and not self._look.left.files:
            return None
        common = replace(self._mode, common_disk=True)
        if self._heals(common):
            self._evidence.append("it does not happen when the instances have one disk")
        elif self._heals(replace(common, late=frozenset({self._witness.last.slot}))):
            self._evidence.append(
                "it does not happen when the second instance starts on the first one's disk after the write: each process also holds its own copy of the file"
            )
        else:
            return None
        self._healed_by_disk = True
        if self._look.upload is not None:
            self._evidence.append(f"what was uploaded stands in {self._look.upload}")
            return "upload"
        if self._is_session_file():
            self._evidence.append(f"the session stands in {self._look.session_file}")
            return "session"
        return "data-on-local-disk"

    def _is_session_file(self) -> bool:
        """A session's file was written, and the request names a session: what the page says to others does not matter.

        Unless another file holds what was sent: then it may be that one which is missed, and the page decides.
        """
        if self._look.session_file is None or not issued(self._witness.found.outcome, self._witness.found.trace):
            return False
        return self._look.data_file is None or self._anonymous()

    def _secret(self) -> Kind | None:
        """The same random numbers at start heal what hangs on a key drawn at start."""
        if not self._subject.can_kill or not self._carries_something():
            return None
        if self._mode.common_randomness:
            return None
        if self._subject.common_randomness and self._heals(replace(self._mode, common_randomness=True)):
            self._evidence.append(
                "it does not happen when the instances draw the same random numbers while they start: a key is drawn at start"
            )
            form = signed(self._witness.found.outcome)
            self._evidence += [form] if form is not None else []
            return "per-instance-secret"
        # Not every random number passes through the kernel: what a token is, and that it is refused, tells as well.
        form = signed(self._witness.found.outcome)
        if form is not None and self._anonymous():
            self._evidence.append(f"{form}, which carries its own proof, and the other instance does not accept it")
            return "per-instance-secret"
        return None

    def _process(self) -> Kind:
        """What only the one process knows."""
        self._evidence.append("only requests to the same process see it")
        late = self._late_copy()
        if late is not None:
            return late
        if self._job():
            return "job-progress"
        if self._is_upload():
            return "upload"
        if self._anonymous():
            self._evidence.append("the other instance answers as it answers a visitor without credentials")
            return "session"
        return "in-process-data"

    def _late_copy(self) -> Kind | None:
        """An instance that starts after the write answers right: the others hold what they read when they started."""
        if not self._subject.can_kill or self._witness.last.slot == 0:
            return None
        if not (self._look.left.stores or self._subject.has_shared or self._mode.common_disk) or not self._heals(
            replace(self._mode, late=frozenset({self._witness.last.slot}))
        ):
            return None
        killed = tuple(
            replace(move, kill_after=at == self._witness.writer, slot=0) for at, move in enumerate(self._witness.moves)
        )
        if not self._heals(self._mode, killed):
            self._evidence.append(
                "it arrives in the shared store only some time after the answer; an instance killed in between loses it"
            )
            return "in-process-data"
        self._evidence.append(
            "an instance started after the write gives the right answer: each keeps what it read when it started"
        )
        return "cache"

    def _crash(self) -> Kind:
        """What a killed instance takes with it, although other instances would have seen it in time."""
        if self._job():
            self._evidence.append("the work ends with the instance that had begun it; no other one takes it up")
            return "job-progress"
        if self._is_upload():
            return "upload"
        if self._witness.writer is not None:
            self._evidence.append(
                "it was acknowledged before it was kept anywhere else: an instance killed right after its answer loses it"
            )
        return "in-process-data"

    def _job(self) -> bool:
        """Work that goes on after its answer."""
        shown = shapes.job(self._witness, self._subject.baseline, self._subject.conditions.host)
        if shown is not None:
            self._evidence.append(shown)
        return shown is not None

    def _is_upload(self) -> bool:
        """What is missed is an uploaded file that stands on the instance's disk, with a list in the process besides."""
        control = self._witness.ground.control
        steps = [
            move.step if control.renames is None else control.renames.apply(move.step) for move in self._witness.moves
        ]
        if self._look.upload is None or not uploaded_in(steps, control.outcomes[-1].answer.body, control.values):
            return False
        self._evidence.append(
            f"what was uploaded stands in {self._look.upload}; which files there are, each process knows"
        )
        return True

    def _anonymous(self) -> bool:
        """The other instance answers the visitor as one instance answers a visitor without credentials."""
        broken = self._witness.found.outcome
        if not issued(broken, self._witness.found.trace):
            return False
        last = self._witness.last.step
        others = [stripped(last), invented(last, self._witness.found.trace)]
        return any(step is not None and self._answered_alike(step, broken) for step in others)

    def _answered_alike(self, step: Step, broken: Outcome) -> bool:
        """Whether one instance gives to `step`, in the last place, the answer that was seen."""
        moves = list(alone(self._witness.moves))
        moves[-1] = replace(moves[-1], step=step)
        trace = self._subject.run(moves, used=self._subject.lends(moves, self._mode))
        answer = trace.outcomes[-1].answer
        if (answer.status, _where(answer), answer.media_type) != (
            broken.answer.status,
            _where(broken.answer),
            broken.answer.media_type,
        ):
            return False
        if answer.status >= 300:
            return True
        oracle = Oracle(self._places(trace.outcomes[-1], trace))
        oracle.inherit(self._witness.ground.oracles[-1])
        return not [
            d
            for d in oracle.differences(self._places(broken, self._witness.found.trace))
            if not d.place.startswith("cookie")
        ]

    def _places(self, outcome: Outcome, trace: Trace) -> Places:
        return places_of(outcome.answer, self._subject.conditions.host, trace.plain)

    def _carries_something(self) -> bool:
        """The last request sends something that an earlier answer gave: without that no key of the server matters."""
        broken = self._witness.found.outcome
        if issued(broken, self._witness.found.trace):
            return True
        # An identifier in a path is looked up, not verified, unless it carries its own proof.
        step, values = broken.move.step, self._witness.found.trace.values
        elsewhere = needs(msgspec.structs.replace(step, path="/"))
        signed = {name for name in needs(step) if signed_form(values.get(name, "")) is not None}
        return bool((elsewhere | signed) - {"host", "run"})

    def _seen(self) -> list[str]:
        """What was seen besides: files, stores, cookies."""
        outcome = self._witness.found.outcome
        left, reader = self._look.left, self._look.reader
        found = self._files_seen() if self._subject.can_kill else []
        if left.stores or reader.stores:
            found.append("connected to " + ", ".join(sorted({*left.stores, *reader.stores})[:4]))
        given = [name.removeprefix("cookie ") for name in issued(outcome, self._witness.found.trace)]
        if given:
            named = [f"{name} (a session cookie by its name)" if is_session_cookie(name) else name for name in given]
            found.append("the request carries what an earlier answer gave: " + ", ".join(named))
        return found

    def _files_seen(self) -> list[str]:
        """The files written, or what else was: that no file was written is said only where none was."""
        left = self._look.left
        if left.files:
            more = f" and {len(left.files) - 6} more" if len(left.files) > 6 else ""
            return ["files written: " + ", ".join(left.files[:6]) + more]
        if left.hidden:
            return ["no file was written but " + ", ".join(f"{why} ({name})" for why, name in left.hidden.items())]
        return ["no file was written on the instance's own disk"]


def _where(answer: Answer) -> str:
    return (answer.header("location") or "").partition("?")[0]
