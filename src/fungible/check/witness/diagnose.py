"""Names the kind of state by experiment: the witness runs again with one thing made common, and what heals it tells.

The same disk heals what is kept in files; the same start-up randomness heals keys drawn at start; a cold instance in the
reader's place heals a stale copy; a visitor without credentials who is answered the same shows that it was the session.
Where nothing decides, the kind is `in-process-data`, with what was seen as evidence.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec

from fungible.check.http.template import needs
from fungible.check.model import Answer, Kind, Step
from fungible.check.oracle.noise import Oracle
from fungible.check.oracle.places import places_of
from fungible.check.runs.ground import answer_words
from fungible.check.runs.runner import Move, Outcome, alone
from fungible.check.runs.subject import Subject
from fungible.check.runs.world import Mode
from fungible.check.witness.evidence import (
    cookies_set,
    is_session_cookie,
    signed_form,
)
from fungible.check.witness.witness import Witness, closure

_REFUSALS = frozenset({401, 403, 423, 429, 503})
_JOB_PATH = re.compile(r"(job|task|export|import|progress|status|report|queue|render|worker|batch)", re.IGNORECASE)
_JOB_KEYS = frozenset({"status", "state", "progress", "percent", "percentage", "phase"})
_JOB_WORDS = re.compile(
    r"\b(pending|queued|waiting|running|processing|in[ _-]progress|working|started|done|finished|completed?|succeeded|failed|\d+ ?%)",
    re.IGNORECASE,
)


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
        kind = self._crash() if crash else self._warmed() or self._disk() or self._secret() or self._process()
        return Diagnosis(kind, tuple(self._evidence + self._seen()), self._healed_by_disk)

    def _heals(self, mode: Mode, moves: tuple[Move, ...] | None = None) -> bool:
        """True where the witness no longer breaks."""
        moves = self._witness.moves if moves is None else moves
        trace = self._subject.run(moves, mode, used=self._lends(moves, mode))
        return self._witness.ground.first_break(trace) is None

    def _lends(self, moves: Sequence[Move], mode: Mode) -> bool:
        return not any(move.earlier for move in moves) and self._subject.lends(moves, mode)

    def _warmed(self) -> Kind | None:
        """A cold instance answers right, one that has read before does not: it keeps a copy."""
        earlier = [move for move in self._witness.moves[:-1] if move.slot == self._witness.last.slot]
        if not self._witness.warmed or not all(move.step.safe or move.earlier for move in earlier):
            return None
        if self._is_limit():
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
        if self._look.session_file is not None and self._anonymous():
            self._evidence.append(f"the session stands in {self._look.session_file}")
            return "session"
        return "data-on-local-disk"

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
            self._name_signature()
            return "per-instance-secret"
        # Not every random number passes through the kernel: what a token is, and that it is refused, tells as well.
        signed = self._signed_credential()
        if signed is not None and self._anonymous():
            self._evidence.append(f"{signed}, which carries its own proof, and the other instance does not accept it")
            return "per-instance-secret"
        return None

    def _process(self) -> Kind:
        """What only the one process knows."""
        self._evidence.append("only requests to the same process see it")
        if self._is_limit():
            self._evidence.append("the same request, counted by each instance for itself")
            return "rate-limit"
        late = self._late_copy()
        if late is not None:
            return late
        if self._is_job():
            return "job-progress"
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
        if self._is_job():
            self._evidence.append("the work ends with the instance that had begun it; no other one takes it up")
            return "job-progress"
        if self._witness.writer is not None:
            self._evidence.append(
                "it was acknowledged before it was kept anywhere else: an instance killed right after its answer loses it"
            )
        return "in-process-data"

    def _is_limit(self) -> bool:
        """The last request was refused on one instance, and what went before it is the same request."""
        expected = self._witness.ground.control.outcomes[-1].answer.status
        saw = self._witness.found.outcome.answer.status
        if expected not in _REFUSALS or saw == expected:
            return False
        last = self._witness.last
        given = closure(self._witness.moves, {len(self._witness.moves) - 1}) if needs(last.step) else set[int]()
        others = [move for at, move in enumerate(self._witness.moves[:-1]) if at not in given]
        return bool(others) and all(
            (move.step.method, _bare(move.step.path)) == (last.step.method, _bare(last.step.path)) for move in others
        )

    def _is_job(self) -> bool:
        """Work that goes on after its answer: accepted with 202, or asked for again until it is done."""
        answers = self._witness.ground.control.outcomes
        writer = answers[self._witness.writer].answer if self._witness.writer is not None else Answer()
        last = answers[-1]
        named = _JOB_PATH.search(_bare(last.move.step.path)) is not None or last.move.step.poll_seconds > 0
        return writer.status == 202 or (named and _tells_progress(last.answer))

    def _anonymous(self) -> bool:
        """The other instance answers the visitor as one instance answers a visitor without credentials."""
        broken = self._witness.found.outcome
        if not self._issued_credentials(broken):
            return False
        moves = list(alone(self._witness.moves))
        moves[-1] = replace(moves[-1], step=_stripped(moves[-1].step))
        trace = self._subject.run(moves, used=self._lends(moves, self._mode))
        answer = trace.outcomes[-1].answer
        if (answer.status, _where(answer), answer.media_type) != (
            broken.answer.status,
            _where(broken.answer),
            broken.answer.media_type,
        ):
            return False
        if answer.status >= 300:
            return True
        host = self._subject.conditions.host
        oracle = Oracle(places_of(answer, host, trace.plain))
        known = self._witness.ground.oracles[-1]
        oracle.inherit(known)
        return not [
            d
            for d in oracle.differences(places_of(broken.answer, host, self._witness.found.trace.plain))
            if not d.place.startswith("cookie")
        ]

    def _issued_credentials(self, outcome: Outcome) -> list[str]:
        """Credentials in a request that earlier answers of the same run had given: `cookie sid`, `header Authorization`."""
        if outcome.request is None:
            return []
        trace = self._witness.found.trace
        issued = cookies_set(trace)
        found: list[str] = []
        for name, text in outcome.request.headers:
            if name.lower() == "cookie":
                found += [
                    f"cookie {pair.partition('=')[0].strip()}"
                    for pair in text.split(";")
                    if pair.partition("=")[0].strip() in issued or pair.partition("=")[2] in trace.values.values()
                ]
            elif any(
                len(value) >= 6 and value in text for key, value in trace.values.items() if key not in trace.given
            ):
                found.append(f"header {name}")
        return found

    def _carries_something(self) -> bool:
        """The last request sends something that an earlier answer gave: without that no key of the server matters."""
        broken = self._witness.found.outcome
        if self._issued_credentials(broken):
            return True
        # An identifier in a path is looked up, not verified, unless it carries its own proof.
        step, values = broken.move.step, self._witness.found.trace.values
        elsewhere = needs(msgspec.structs.replace(step, path="/"))
        signed = {name for name in needs(step) if signed_form(values.get(name, "")) is not None}
        return bool((elsewhere | signed) - {"host", "run"})

    def _signed_credential(self) -> str | None:
        """`the cookie session is signed by itsdangerous`, where the last request carries such a thing."""
        outcome = self._witness.found.outcome
        if outcome.request is None:
            return None
        for name, text in outcome.request.headers:
            pairs = (
                [pair.strip().partition("=")[::2] for pair in text.split(";")]
                if name.lower() == "cookie"
                else [(name, text)]
            )
            for key, value in pairs:
                form = signed_form(value)
                if form is not None:
                    what = f"the cookie {key}" if name.lower() == "cookie" else f"the header {key}"
                    return f"{what} is {form}"
        return None

    def _name_signature(self) -> None:
        signed = self._signed_credential()
        if signed is not None:
            self._evidence.append(signed)

    def _seen(self) -> list[str]:
        """What was seen besides: files, stores, cookies, the two answers."""
        found: list[str] = []
        outcome = self._witness.found.outcome
        if self._look.left.files:
            more = f" and {len(self._look.left.files) - 6} more" if len(self._look.left.files) > 6 else ""
            found.append("files written: " + ", ".join(self._look.left.files[:6]) + more)
        elif self._subject.can_kill:
            found.append("no file was written")
        if self._look.left.stores or self._look.reader.stores:
            found.append("connected to " + ", ".join(sorted({*self._look.left.stores, *self._look.reader.stores})[:4]))
        issued = [name.removeprefix("cookie ") for name in self._issued_credentials(outcome)]
        if issued:
            named = [f"{name} (a session cookie by its name)" if is_session_cookie(name) else name for name in issued]
            found.append("the request carries what an earlier answer gave: " + ", ".join(named))
        found.append(
            f"one instance: {answer_words(self._witness.ground.control.outcomes[-1].answer)}; several: {answer_words(outcome.answer)}"
        )
        return found


def _bare(path: str) -> str:
    return path.partition("?")[0]


def _where(answer: Answer) -> str:
    return (answer.header("location") or "").partition("?")[0]


def _stripped(step: Step) -> Step:
    """The step as a visitor without credentials sends it: no cookies, no header that carries a captured value."""
    headers = {
        name: text
        for name, text in step.headers.items()
        if name.lower() not in {"authorization", "cookie"} and "{{" not in text
    }
    headers |= {name: text for name, text in step.headers.items() if "{{host}}" in text}
    return msgspec.structs.replace(step, headers={**headers, "Cookie": ""}, auth=None)


def _tells_progress(answer: Answer) -> bool:
    """An answer that says how far something is: a status in JSON, or words such as `running` and `40 %` in a page."""
    try:
        document = json.loads(answer.body)
    except (ValueError, RecursionError):
        return answer.media_type.startswith("text/") and _JOB_WORDS.search(answer.text[:20_000]) is not None
    if not isinstance(document, dict):
        return False
    told = [value for key, value in document.items() if str(key).lower() in _JOB_KEYS]  # pyright: ignore
    return any(isinstance(value, int | float) or _JOB_WORDS.match(str(value)) for value in told)  # pyright: ignore
