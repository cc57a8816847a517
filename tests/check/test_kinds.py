"""What the answers, the files and the names in a witness tell of the kind, without any instance."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from fungible.check.findings.words import _severity
from fungible.check.http.client import Address, Request
from fungible.check.model import Answer, Capture, FilePart, Step
from fungible.check.runs.ground import Break, Ground
from fungible.check.runs.runner import Move, Outcome, Trace
from fungible.check.runs.subject import Subject
from fungible.check.witness import shapes
from fungible.check.witness.credentials import invented, issued, names_session, stripped
from fungible.check.witness.evidence import Look, signed_form
from fungible.check.witness.files import holds_sent, holds_session, holds_upload, purpose
from fungible.check.witness.validators import unknown_validator
from fungible.check.witness.witness import Witness
from fungible.check.witness.writers import with_writer

HOST = "127.0.0.1:8000"
JSON = (("Content-Type", "application/json"),)
HTML = (("Content-Type", "text/html"),)
OK = Answer(status=200)


def outcome(move: Move, answer: Answer, first: Answer | None = None) -> Outcome:
    return Outcome(move, answer, Address("127.0.0.1", 1), move.slot, first=first)


def witness(*rows: tuple[Step, Answer], saw: Answer, writer: int | None = 0, first: Answer | None = None) -> Witness:
    """A witness whose steps one instance answers as given, and whose last one another instance answers with `saw`."""
    moves = [Move(step, slot=at == len(rows) - 1) for at, (step, _) in enumerate(rows)]
    control = [outcome(move, answer) for move, (_, answer) in zip(moves, rows, strict=True)]
    control[-1] = replace(control[-1], first=first)
    ground = Ground(moves, Trace(control), HOST)
    trace = Trace([*control[:-1], outcome(moves[-1], saw)])
    found = Break(len(moves) - 1, trace, tuple(ground.differences(len(moves) - 1, trace)))
    return Witness(tuple(moves), ground, found, writer, False, 3, 3, Look(moves))


def post(id: str, path: str, **more: Any) -> Step:
    return Step(id=id, method="POST", path=path, **more)


def status(number: int, *headers: tuple[str, str]) -> Answer:
    return Answer(status=number, headers=headers)


# --- files ------------------------------------------------------------------------------------------------------------


def written(tmp_path: Path, name: str, data: bytes = b"") -> tuple[str, Path]:
    path = tmp_path / name.replace("/", "_")
    path.write_bytes(data)
    return name, path


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("/root/.config/app/data.json", b"{}", None),
        ("/root/.local/share/app.db", b"", None),
        ("/root/.cache/app/value", b"", None),
        ("/app/upload.tmp", b"", None),
        ("/app/access.log", b"GET / 200\n", "logs"),
        ("/app/logs/today", b"GET / 200\n", "logs"),
        ("/app/db/000003.log", b"\x01\0\0\2", None),
        ("/app/events.log", b"a kite was bought", None),
        ("/app/server.pid", b"1", "process IDs"),
        ("/app/app.db-shm", b"\0", "locks"),
        ("/app/__pycache__/a.pyc", b"\0", "byte code"),
        ("/root/.cache/pip/http/a", b"", "caches of tools"),
    ],
)
def test_a_file_is_left_out_by_its_purpose_alone(name: str, data: bytes, expected: str | None, tmp_path: Path):
    assert purpose(*written(tmp_path, name, data), [b"a kite"]) == expected


def test_a_session_file_is_known_by_the_cookie_in_its_name_or_by_the_names_that_such_files_have(tmp_path: Path):
    named = written(tmp_path, "/app/visitors/0a1b2c3d4e5f6071")
    assert holds_session(["s%3A0a1b2c3d4e5f6071.c2lnbmF0dXJl"], [named]) == named[0]
    assert holds_session(["another-value"], [named]) is None
    assert holds_session([], [written(tmp_path, "/var/lib/php/sess_abc")]) == "/var/lib/php/sess_abc"
    assert holds_session([], [written(tmp_path, "/app/flask_session/2029240f6d1128be")]) is not None


def test_what_was_sent_is_looked_for_in_files(tmp_path: Path):
    upload = post("up", "/files", files=(FilePart(field="f", filename="a", content="a long tail"),))
    note = post("note", "/notes", json={"note": {"text": "buy twine"}})
    kept = written(tmp_path, "/app/a", b"... a long tail ...")
    notes = written(tmp_path, "/app/notes.db", b"SQLite format 3\0 buy twine")
    assert holds_upload([note, upload], [notes, kept], {}) == "/app/a"
    assert holds_sent([note], [kept, notes], {}, beside="/app/a") == "/app/notes.db"
    assert holds_sent([note], [kept, notes], {}, beside="/app/notes.db") is None


# --- credentials ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"), [("Mcp-Session-Id", True), ("sid", True), ("page", False), ("ETag", False)]
)
def test_a_name_tells_that_a_session_is_meant(name: str, expected: bool):
    assert names_session(name) is expected


def test_a_session_in_a_header_or_in_the_query_is_a_credential_and_can_be_left_out_or_invented():
    trace = Trace(values={"s": "0a1b2c3d-9f", "host": HOST}, given={"host": HOST})
    step = Step(id="poll", path="/io?EIO=4&sid={{s}}", headers={"X-Session-Id": "{{s}}", "Accept": "*/*"})
    sent = Request("GET", "/io?EIO=4&sid=0a1b2c3d-9f", (("X-Session-Id", "0a1b2c3d-9f"), ("Accept", "*/*")), b"")
    asked = replace(outcome(Move(step), OK), request=sent)
    assert issued(asked, trace) == ["header X-Session-Id", "query sid"]
    assert stripped(step).path == "/io?EIO=4"
    assert stripped(step).headers == {"Accept": "*/*", "Cookie": ""}
    other = invented(step, trace)
    assert other is not None
    assert (other.path, other.headers["X-Session-Id"]) == ("/io?EIO=4&sid=1b2c3d4e-0a", "1b2c3d4e-0a")
    assert invented(Step(id="home", path="/home", headers={"If-None-Match": "{{s}}"}), trace) is None


def test_a_cookie_of_rack_is_not_said_to_be_of_rails():
    assert (
        signed_form("BAh7CEkiD3Nlc3Npb25faWQ--0123456789abcdef0123456789abcdef01234567")
        == "signed as Rack and Rails do"
    )
    assert signed_form("dGhlIGRhdGE--aXYgaXYgaXYgaXYg--dGFnIHRhZyB0YWcgdGFnIA==") == "encrypted by Rails"


# --- the answers ------------------------------------------------------------------------------------------------------

TRY = post("try", "/sign-in")
FORM = Step(id="form", path="/sign-in")
OUT = post("out", "/sign-out")
HOME = Step(id="home", path="/home")


@pytest.mark.parametrize(
    ("rows", "saw", "expected"),
    [
        ([(TRY, status(401)), (TRY, status(429))], status(401), True),
        ([(FORM, OK), (TRY, status(401)), (FORM, OK), (TRY, status(403))], status(401), True),
        ([(HOME, OK), (TRY, status(401)), (TRY, status(423))], status(200), True),
        ([(HOME, OK), (HOME, status(503))], OK, True),
        ([(HOME, OK), (HOME, OK)], status(429), True),
        ([(OUT, OK), (HOME, status(429))], OK, True),
        ([(HOME, OK), (OUT, OK), (HOME, status(401))], OK, False),
        ([(TRY, status(401)), (TRY, status(401))], OK, False),
        ([(HOME, OK), (HOME, OK)], status(503), False),
        ([(TRY, status(401)), (TRY, status(429))], Answer(error="connection reset"), False),
    ],
)
def test_a_limit_is_the_same_request_refused_in_the_end(rows: list[Any], saw: Answer, expected: bool):
    assert shapes.is_limit(witness(*rows, saw=saw)) is expected


@pytest.mark.parametrize(
    ("refused", "saw", "expected"),
    [
        (status(401), OK, True),
        (status(403), status(204), True),
        (status(303, ("Location", "/login?next=/home")), OK, True),
        (status(303, ("Location", "/goodbye")), OK, False),
        (status(403), status(303, ("Location", "/sign-in")), False),
        (status(401), status(500), False),
        (OK, status(401), False),
        (status(404), OK, False),
    ],
)
def test_a_refusal_that_becomes_an_acceptance_is_seen(refused: Answer, saw: Answer, expected: bool):
    assert shapes.is_accepted(witness((OUT, OK), (HOME, refused), saw=saw)) is expected


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("x-nextjs-cache", "HIT", True),
        ("Age", "12", True),
        ("Age", "0", False),
        ("X-Cache", "Hit from cloudfront", True),
        ("X-Cache", "MISS", False),
        ("CF-Cache-Status", "DYNAMIC", False),
        ("X-Drupal-Cache", "HIT", True),
        ("Cache-Status", "Edge; hit; ttl=20", True),
        ("Cache-Status", "Edge; fwd=miss", False),
        ("Cache-Control", "max-age=60", False),
    ],
)
def test_a_cache_says_that_the_answer_is_its_own(name: str, value: str, expected: bool):
    found = shapes.cache_header(witness((OUT, OK), (HOME, OK), saw=status(200, (name, value))))
    assert (found == f"{name.lower()}: {value}") is expected


@pytest.mark.parametrize(
    ("header", "expected", "saw", "found"),
    [
        ("If-None-Match", 304, 200, True),
        ("If-Modified-Since", 304, 200, True),
        ("If-Match", 204, 412, True),
        ("If-None-Match", 200, 304, False),
        ("If-None-Match", 304, 404, False),
        ("If-Match", 200, 401, False),
        ("X-Etag", 304, 200, False),
    ],
)
def test_a_condition_that_another_instance_finds_unmet_is_seen(header: str, expected: int, saw: int, found: bool):
    first = Step(id="first", path="/logo", capture=(Capture(name="tag", source="header", header="etag"),))
    again = Step(id="again", path="/logo", headers={header: "{{tag}}"})
    name = unknown_validator(witness((first, OK), (again, status(expected)), saw=status(saw)))
    assert name == (header if found else None)


def test_the_writer_of_a_validator_is_the_step_that_gave_it_without_a_run():
    first = Step(id="first", path="/logo", capture=(Capture(name="tag", source="header", header="etag"),))
    again = Step(id="again", path="/logo", headers={"If-None-Match": "{{tag}}"})
    seen = witness((PUBLISH, OK), (first, OK), (again, status(304)), saw=OK, writer=0)
    served = Served("publish")
    assert (with_writer(cast(Subject, served), seen).writer, served.runs) == (1, 0)


START = post("start", "/conversions")
LOOK = Step(id="look", path="/conversions/1")


def told(value: str) -> Answer:
    return Answer(status=200, headers=JSON, body=b'{"outcome": "%s"}' % value.encode())


def job(*rows: tuple[Step, Answer], first: Answer | None = None, flow: Sequence[tuple[Step, Answer]] = ()) -> bool:
    seen = witness(*rows, saw=status(404), first=first)
    whole = witness(*flow, saw=status(404)).ground if flow else seen.ground
    return shapes.job(seen, whole, HOST) is not None


def test_a_job_is_what_changes_while_it_is_polled_whatever_its_states_are_called():
    assert job((START, OK), (LOOK, told("ready")), first=told("thinking"))
    again = Step(id="look-again", path="/conversions/1")
    assert job(
        (START, OK), (LOOK, told("thinking")), flow=[(START, OK), (LOOK, told("thinking")), (again, told("ready"))]
    )
    assert job((START, status(202)), (LOOK, told("ready")))
    assert job((START, OK), (LOOK, status(200, ("Retry-After", "1"))))
    assert job((START, OK), (LOOK, status(200, ("Content-Type", "text/event-stream"))))
    assert job(
        (START, OK),
        (Step(id="task", path="/tasks/1"), Answer(status=200, headers=JSON, body=b'{"task_status": "success"}')),
    )


def test_what_merely_counts_arrives_late_or_is_changed_by_a_write_is_no_job():
    assert not job((START, OK), (LOOK, told("seen 2 times")), first=told("seen 1 times"))
    assert not job((START, OK), (LOOK, told("ready")), first=status(404))
    again = Step(id="look-again", path="/conversions/1")
    change = post("change", "/conversions/1")
    assert not job(
        (START, OK), (LOOK, told("old")), flow=[(START, OK), (LOOK, told("old")), (change, OK), (again, told("new"))]
    )
    assert not job((START, OK), (LOOK, told("ready")))


# --- cookies that are merely set again ---------------------------------------------------------------------------------


def with_cookie(answer: Answer) -> Answer:
    return Answer(
        status=answer.status, headers=(*answer.headers, ("Set-Cookie", "JSESSIONID=2; Path=/")), body=answer.body
    )


def test_a_cookie_that_is_merely_set_again_gives_way_to_the_step_where_something_is_lost():
    moves = [Move(HOME), Move(LOOK, slot=1), Move(Step(id="basket", path="/basket"))]
    basket = Answer(status=200, headers=HTML, body=b"<p>kite</p>")
    empty = Answer(status=200, headers=HTML, body=b"<p>empty</p>")
    answers = [OK, OK, basket]
    ground = Ground(moves, Trace([outcome(m, a) for m, a in zip(moves, answers, strict=True)]), HOST)

    def broken(*seen: Answer) -> Break:
        found = ground.first_break(Trace([outcome(m, a) for m, a in zip(moves, seen, strict=True)]))
        assert found is not None
        return found

    lost = broken(OK, with_cookie(OK), empty)
    assert lost.outcome.move.step.id == "basket"
    assert _severity("session", ground.control.outcomes[2], lost) == "BREAKING"
    mere = broken(OK, with_cookie(OK), basket)
    assert mere.outcome.move.step.id == "look"
    assert _severity("session", ground.control.outcomes[1], mere) == "MEDIUM"


def test_an_answer_sent_whole_in_place_of_304_is_no_refusal_that_fails():
    found = witness((HOME, OK), (HOME, status(304)), saw=OK)
    assert _severity("validator", found.ground.control.outcomes[-1], found.found) == "MEDIUM"


# --- the writer -------------------------------------------------------------------------------------------------------

DRAW, WORDS, PUBLISH, READ = (
    post("draw", "/d"),
    post("words", "/w"),
    post("publish", "/p"),
    Step(id="read", path="/r"),
)


class Served:
    """A subject whose run breaks at `read` unless the step that it hangs on is served where the reader is."""

    def __init__(self, hangs_on: str, broken_at: int = 3) -> None:
        self.hangs_on = hangs_on
        self.broken_at = broken_at
        self.runs = 0

    def lends(self, moves: Sequence[Move]) -> bool:
        return False

    def run(self, moves: Sequence[Move], *, used: bool) -> Trace:
        self.runs += 1
        where = {move.step.id: move.slot for move in moves}
        assert not used
        good = where[self.hangs_on] == where["read"]
        return Trace(
            [outcome(move, OK if good or at != self.broken_at else status(404)) for at, move in enumerate(moves)]
        )


@pytest.mark.parametrize(("hangs_on", "runs"), [("draw", 2), ("words", 2), ("publish", 1)])
def test_the_writer_is_the_step_that_mends_it_where_the_reader_is(hangs_on: str, runs: int):
    seen = witness((DRAW, OK), (WORDS, OK), (PUBLISH, OK), (READ, OK), saw=status(404), writer=2)
    served = Served(hangs_on)
    found = with_writer(cast(Subject, served), seen)
    assert found.writer is not None
    assert found.moves[found.writer].step.id == hangs_on
    assert served.runs == runs


def test_a_writer_that_can_be_no_other_step_costs_no_run():
    seen = witness((FORM, OK), (PUBLISH, OK), (READ, OK), saw=status(404), writer=1)
    served = Served("publish")
    assert with_writer(cast(Subject, served), seen) is seen
    assert served.runs == 0


def test_a_writer_that_is_tied_to_the_one_before_it_stays_as_it_was_named():
    seen = witness((DRAW, OK), (PUBLISH, OK), (READ, OK), saw=status(404), writer=1)
    assert with_writer(cast(Subject, Served("draw", broken_at=1)), seen).writer == 1
