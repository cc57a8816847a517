"""No verdict from a flow in which nothing could have broken, nor from answers that are chance on one instance."""

import msgspec
import pytest
from apps.catalogue import filled, get, post
from test_faults import told

from fungible.check.engine import Check
from fungible.check.model import Answer, CheckFile, Step
from fungible.check.oracle.noise import Noise
from fungible.check.runs import exercise
from fungible.check.runs.ground import Ground
from fungible.check.runs.runner import Move, Outcome, Trace
from fungible.check.runs.steadiness import unsteady

HOST = "app.test"


def report_of(steps, tmp_path):
    target = {"start": filled("{python} {apps}/python_public.py {port}"), "directory": str(tmp_path)}
    document = {"target": target, "flows": [{"name": "public", "steps": steps}]}
    return Check(
        check_file=msgspec.convert(document, CheckFile), directory=tmp_path, schedules=("scatter", "crash", "warm")
    ).run()


def test_pages_that_are_only_read_are_not_judged(tmp_path):
    report = report_of([get("home", "/home"), get("about", "/about")], tmp_path)
    assert (report.verdict, report.exit_status) == ("unjudged", 2), told(report)
    assert report.reason == exercise.MISSING


def test_a_token_that_is_checked_can_be_judged(tmp_path):
    token = {"Authorization": "Bearer zoo"}
    report = report_of([get("me", "/me", headers=token), get("again", "/me", headers=token)], tmp_path)
    assert (report.verdict, report.findings) == ("stateless", ()), told(report)


def test_a_token_that_nobody_looks_at_can_not(tmp_path):
    token = {"Authorization": "Bearer zoo"}
    report = report_of([get("home", "/home", headers=token), get("about", "/about", headers=token)], tmp_path)
    assert (report.verdict, report.reason) == ("unjudged", exercise.MISSING), told(report)


def test_a_status_that_is_chance_on_one_process_is_not_judged(tmp_path):
    steps = [{"id": f"chance-{n}", "path": "/chance"} for n in range(6)]
    report = report_of([*steps, get("me", "/me", headers={"Authorization": "Bearer zoo"})], tmp_path)
    assert (report.verdict, report.exit_status) == ("unjudged", 2), told(report)
    assert "now so, now so" in report.reason, told(report)
    assert "status 200 or 303" in report.reason, told(report)


def trace_of(*pairs):
    """A run on one instance: steps with the bodies or answers that came back."""
    outcomes = []
    for step, said in pairs:
        answer = said if isinstance(said, Answer) else Answer(status=200, body=said.encode())
        step = msgspec.convert(step, Step)
        request = exercise_request(step)
        outcomes.append(Outcome(Move(step), answer, None, 1, request))
    return Trace(outcomes)


def exercise_request(step):
    from fungible.check.http.jar import Jar
    from fungible.check.http.template import request_for

    values = {"id": "4711", "host": HOST, "run": "x"}
    return request_for(step, values, host=HOST, scheme="http", cookies=Jar())


def shown(*pairs):
    trace = trace_of(*pairs)
    ground = Ground([outcome.move for outcome in trace.outcomes], trace, HOST)
    return exercise._reads_back(trace) or exercise._changes(ground, HOST)


WRITE = post("write", "/notes", form={"text": "buy twine"})


@pytest.mark.parametrize(
    "pairs",
    [
        [(WRITE, "saved"), (get("list", "/notes"), "<li>buy twine")],
        [(post("w", "/n", json={"a": [{"b": "buy twine"}]}), "saved"), (get("list", "/notes"), "buy twine")],
        [(get("a", "/notes"), "none"), (WRITE, "ok"), (get("b", "/notes"), "one")],
        [(post("a", "/tickets"), "1"), (post("b", "/tickets"), "2")],
        [
            (post("a", "/n", capture=[{"name": "id", "from": "body"}]), "4711"),
            (get("b", "/n/{{id}}"), "here"),
        ],
        [(get("a", "/quote"), "q"), (get("b", "/quote"), Answer(status=429))],
    ],
    ids=["text", "json", "changes", "counts", "identifier", "limit"],
)
def test_what_is_read_back_could_have_broken(pairs):
    assert shown(*pairs)


@pytest.mark.parametrize(
    "pairs",
    [
        [(get("a", "/"), "x"), (get("b", "/about"), "y")],
        [(WRITE, "buy twine"), (get("list", "/notes"), "none")],
        [(WRITE, "ok"), (get("echo", "/echo?text=buy twine"), "buy twine")],
        [(post("a", "/search", form={"q": "ab"}), "x"), (get("b", "/"), "about")],
        [
            (get("a", "/n", capture=[{"name": "id", "from": "body"}]), "4711"),
            (get("b", "/n/{{id}}"), "here"),
        ],
        [(WRITE, Answer(status=403, body=b"no")), (get("list", "/notes"), "buy twine")],
    ],
    ids=["reads", "own answer", "echo", "short", "link", "refused"],
)
def test_what_is_not_read_back_could_not(pairs):
    assert not shown(*pairs)


def ground_of(step, *answers):
    """What is learned from several runs of one step."""
    traces = [trace_of((step, answer)) for answer in answers]
    ground = Ground([traces[0].outcomes[0].move], traces[0], HOST)
    for trace in traces[1:]:
        ground.learn(trace)
    return ground


def answer(status=200, **headers):
    return Answer(status=status, headers=tuple((name.replace("_", "-"), text) for name, text in headers.items()))


@pytest.mark.parametrize(
    ("one", "other", "steady"),
    [
        (answer(200), answer(401), False),
        (answer(303, location="/home"), answer(303, location="/sign-in"), False),
        (answer(200, location="/home"), answer(200), False),
        (answer(200, set_cookie="sid=1"), answer(200), False),
        (answer(200, set_cookie="sid=1"), answer(200, set_cookie="sid=; max-age=0"), False),
        (answer(303, location="/notes/17"), answer(303, location="/notes/18"), True),
        (answer(303, location="/n/5e2f-aa17"), answer(303, location="/n/91ac-bb04"), True),
        (answer(200, set_cookie="sid=1"), answer(200, set_cookie="sid=2"), True),
    ],
)
def test_status_location_and_cookies_are_never_noise(one, other, steady):
    found = unsteady(ground_of(get("step", "/"), one, other), "flow")
    assert (found == []) is steady


def test_a_step_that_allows_several_statuses_may_give_them():
    step = {"id": "step", "path": "/", "expect": {"status": [200, 304]}}
    assert unsteady(ground_of(step, answer(200), answer(304)), "flow") == []


def test_a_noise_of_text_is_none_of_it():
    ground = ground_of(get("step", "/"), answer(200), answer(200))
    ground.oracles[0].noise["html body/footer/text()"] = Noise({0, 1}, [])
    assert unsteady(ground, "flow") == []
