"""Several workers in one instance: which of them answers is chosen, so that no verdict is left to luck."""

import contextlib
import os
import time

import pytest
from apps.catalogue import BY_NAME, WORKERS
from apps.plain_runner import launched
from test_faults import checked, told

from fungible.check.http.client import Address, Connection, Request
from fungible.check.instances.worker_options import asked_for
from fungible.check.instances.workers import Workers, workers_of
from fungible.check.isolation.launcher_processes import descendants
from fungible.check.model import Target

ALL = [pytest.param(app, id=app.name) for app in WORKERS]
REQUEST = Request("GET", "/home", (("Host", "app.test"),))


def members(instance):
    return lambda: [instance.process.pid, *descendants(instance.process.pid)]


@contextlib.contextmanager
def running(app, tmp_path, **env):
    with launched(app.command, tmp_path / "app", env) as instance:
        instance.wait_until_listening()
        yield instance


def answered_by(workers, instance, place):
    """The worker that answers a request to a place."""
    connection = Connection(Address("127.0.0.1", instance.port), REQUEST)
    with workers.answering(connection, place):
        connection.release()
        assert connection.receive().status == 303
    return workers.processes[place]


@pytest.mark.parametrize("app", ALL)
def test_each_worker_is_met_and_answers_whenever_it_is_chosen(app, tmp_path):
    with running(app, tmp_path) as instance:
        while len(members(instance)()) < 4:  # the one that listens, and the three that it starts
            time.sleep(0.01)
        workers = workers_of(instance.port, members(instance))
        assert workers is not None
        assert workers.count(Address("127.0.0.1", instance.port)) == 3
        met = [answered_by(workers, instance, place) for place in (0, 1, 2)]
        assert len({*met}) == 3
        assert [answered_by(workers, instance, place) for place in (2, 0, 1, 1, 0, 2)] == [
            met[place] for place in (2, 0, 1, 1, 0, 2)
        ]
        assert workers.missed == 0


def test_an_application_of_one_process_has_nothing_to_choose(tmp_path):
    with running(BY_NAME["python_session"], tmp_path) as instance:
        assert workers_of(instance.port, members(instance)) is None


@pytest.mark.parametrize("app", ALL)
def test_state_in_one_worker_is_found_and_the_witness_names_the_worker(app, tmp_path):
    report = checked(app, tmp_path, schedules=("scatter",))
    assert report.verdict == "stateful", told(report)
    (found,) = report.findings
    assert (found.kind, found.step, found.writer, found.shown) == ("session", app.step, app.writer, "3 of 3"), told(
        report
    )
    assert {request.instance for request in found.witness} == {"A1", "A2"}, told(report)
    assert any("one instance of yours is 3 processes" in line for line in found.evidence), told(report)


@pytest.mark.parametrize("app", ALL)
def test_workers_that_share_what_they_keep_are_left_in_peace(app, tmp_path):
    report = checked(app, tmp_path, mended=True)
    assert (report.verdict, report.findings) == ("stateless", ()), told(report)
    assert any("3 processes" in note for note in report.notes), told(report)


@pytest.mark.parametrize(
    ("command", "number"),
    [
        ("gunicorn -w 4 app:app", 4),
        ("exec gunicorn -w4 -k gthread app:app", 4),
        ("/opt/venv/bin/gunicorn --workers=3 app:app", 3),
        ("python -m gunicorn app:app -w 2", 2),
        ("WEB_CONCURRENCY=3 gunicorn app:app", 3),
        ("env WEB_CONCURRENCY=3 uvicorn app:app", 3),
        ("uvicorn app:app --port {port} --workers 2", 2),
        ("hypercorn -w 2 app:app", 2),
        ("granian --workers 2 app:app", 2),
        ("uwsgi --http :{port} -p 4", 4),
        ("uwsgi --processes 4", 4),
        ("bundle exec puma -w 2 -t 5", 2),
        ("npx pm2-runtime start app.js -i 2", 2),
        ("pm2-runtime app.js -i max", os.cpu_count()),
        ("PHP_CLI_SERVER_WORKERS=4 php -S 127.0.0.1:{port}", 4),
        ("waitress-serve --threads 8 app:app", 1),
        ("gunicorn --threads 8 app:app", 1),
        ("node server.js -w 4", 1),
        ("uvicorn app:app", 1),
        ("gunicorn 'unbalanced -w 2", 2),
    ],
)
def test_options_that_ask_for_several_workers_are_recognised(command, number, monkeypatch):
    monkeypatch.delenv("WEB_CONCURRENCY", raising=False)
    assert asked_for(Target(start=command))[0] == number


def test_variables_that_ask_for_several_workers_are_recognised():
    assert asked_for(Target(start="gunicorn app:app", env={"WEB_CONCURRENCY": "3"})) == (3, "WEB_CONCURRENCY=3")
    assert asked_for(Target(start="gunicorn app:app", env={"GUNICORN_CMD_ARGS": "-w 5"}))[0] == 5
    assert asked_for(Target(start="gunicorn -w 1 app:app", env={"WEB_CONCURRENCY": "3"}))[0] == 1


def test_a_worker_that_was_never_seen_to_accept_is_counted_as_missed():
    workers = Workers(1, lambda: [])
    with workers.answering(Connection(Address("127.0.0.1", 1), REQUEST, timeout_s=1), 0):
        pass
    assert workers.missed == 1
