"""The zoo is what its catalogue says: each fault is there, each shows where it must, and each mended twin is right.

Everything here is plain httpx, so that this truth does not depend on the checker that is held against it.
"""

import contextlib
import os
import shutil
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import httpx
import msgspec
import pytest
from apps.catalogue import APPS, BY_NAME, MISBEHAVING, ORDER, WORKERS, Misbehaving
from apps.plain_runner import Broken, Instance, Run, launched, run_flow, started

from fungible.check.model import Step


def named(*schedules):
    return [pytest.param(app, id=app.name) for app in APPS if not schedules or {*schedules} & {*app.schedules}]


def steps_of(app):
    return msgspec.convert(app.steps, tuple[Step, ...])


def env_of(app, shared, *, mended):
    shared.mkdir(exist_ok=True)
    return {"SHARED_DIR": str(shared), **(app.env_mended if mended else {})}


@contextlib.contextmanager
def instances(app, tmp_path, *, count, mended):
    """Several instances that have nothing in common but the shared directory."""
    kind = "mended" if mended else "faulty"
    env = env_of(app, tmp_path / f"{kind}-shared", mended=mended)
    with contextlib.ExitStack() as stack:
        running = [stack.enter_context(launched(app.command, tmp_path / f"{kind}{n}", env)) for n in range(count)]
        for instance in running:
            instance.wait_until_listening()
        yield running


def ends_in_order(instance):
    """Whether it ends by itself when it is asked to."""
    os.killpg(instance.process.pid, signal.SIGTERM)
    return instance.process.wait(5) == 0


def taking_turns(both, first):
    """Sends every other step to the other instance."""
    return lambda step: both[(first + step) % 2].url


def is_right(app, tmp_path):
    """The flow of the mended one passes on one instance as often as it is run, and when two take turns."""
    with instances(app, tmp_path, count=2, mended=True) as both:
        for first in range(2):
            run_flow(steps_of(app), lambda step: both[0].url)
            run_flow(steps_of(app), taking_turns(both, first))
        assert ends_in_order(both[0])


def is_faulty(app, tmp_path):
    """The flow passes on one instance as often as it is run, and breaks as it must when two take turns."""
    if app.shows_on != "any":
        return shows_on_such_instances_alone(app, tmp_path)
    with instances(app, tmp_path, count=2, mended=False) as both:
        for first in range(2):
            run_flow(steps_of(app), lambda step: both[0].url)
            if {"scatter", "warm"} & {*app.schedules}:
                with pytest.raises(Broken) as broken:
                    run_flow(steps_of(app), taking_turns(both, first))
                assert broken.value.step == app.step
            else:
                run_flow(steps_of(app), taking_turns(both, first))
        assert ends_in_order(both[0]) is ("drain" not in app.schedules)


def shows_on_such_instances_alone(app, tmp_path):
    """Two that take turns break either when they have served nothing, or only once they have served the flow to others."""
    with instances(app, tmp_path, count=2, mended=False) as both:
        for served in (False, True):
            if served == (app.shows_on == "served"):
                with pytest.raises(Broken) as broken:
                    run_flow(steps_of(app), taking_turns(both, 0))
                assert broken.value.step == app.step
            else:
                run_flow(steps_of(app), taking_turns(both, 0))
            for one in both:
                run_flow(steps_of(app), lambda step, url=one.url: url)


def run_with_crashes(app, tmp_path, *, mended):
    """Runs the flow on one instance that crashes after the writer, or after each step where none is named."""
    env = env_of(app, tmp_path / "shared", mended=mended)
    directory = tmp_path / "instance"
    with contextlib.ExitStack() as running, Run() as flow:
        instance = running.enter_context(started(app.command, directory, env))
        for step in steps_of(app):
            flow.step(step, instance.url)
            if app.writer in {None, step.id}:
                instance.kill()
                shutil.rmtree(directory)
                instance = running.enter_context(started(app.command, directory, env))


def survives_crashes(app, tmp_path):
    """A crash takes nothing away from the mended one."""
    run_with_crashes(app, tmp_path, mended=True)


def breaks_by_crashes(app, tmp_path):
    """A crash takes away what the faulty instance alone had."""
    with pytest.raises(Broken) as broken:
        run_with_crashes(app, tmp_path, mended=False)
    assert broken.value.step == app.step


def trials():
    """Every check of an application that takes a while."""
    for app in APPS:
        yield f"{app.name} faulty", partial(is_faulty, app)
        yield f"{app.name} mended", partial(is_right, app)
        if "crash" in app.schedules:
            yield f"{app.name} faulty, crashing", partial(breaks_by_crashes, app)
            yield f"{app.name} mended, crashing", partial(survives_crashes, app)


TRIALS = dict(trials())


@pytest.fixture(scope="module")
def outcomes(request, tmp_path_factory):
    """The trials that were asked for, several under way at a time."""
    asked = [item.callspec.params for item in request.session.items if hasattr(item, "callspec")]
    names = [params["trial"] for params in asked if params.get("trial") in TRIALS]
    threads = ThreadPoolExecutor(6)
    yield {name: threads.submit(TRIALS[name], tmp_path_factory.mktemp("trial")) for name in names}
    threads.shutdown(cancel_futures=True)


@pytest.mark.parametrize("trial", TRIALS)
def test_an_application_is_what_the_catalogue_says(trial, outcomes):
    outcomes[trial].result()


@pytest.mark.parametrize("app", named())
def test_the_catalogue_is_consistent(app):
    ids = [step.id for step in steps_of(app)]
    assert len(ids) == len(set(ids))
    assert 2 <= len(ids) <= 6
    assert app.step is None or app.step in ids
    assert app.writer is None or ids.index(app.writer) <= ids.index(app.step)
    assert (app.kind is None) == (app.step is None)


@pytest.mark.parametrize("app", [pytest.param(app, id=app.name) for app in APPS if app.steps is ORDER])
def test_an_order_with_the_same_key_is_made_twice_by_the_faulty_one_alone(app, tmp_path):
    for mended, count in ((False, 2), (True, 1)):
        with instances(app, tmp_path, count=2, mended=mended) as (one, other):
            basket = httpx.get(one.url + "/basket", verify=False).json()["basket"]
            answers = [
                httpx.post(url + "/orders", json={"basket": basket}, headers={"Idempotency-Key": "k-1"})
                for url in (one.url, other.url)
            ]
            found = httpx.get(f"{one.url}/baskets/{basket}/orders", verify=False).json()
            assert found["count"] == count
            assert len({answer.text for answer in answers}) == count


def at_once(*requests):
    """Sends all requests at the same moment."""
    gate = threading.Barrier(len(requests))

    def one(request):
        with httpx.Client(verify=False) as client:
            gate.wait()
            return client.request(**request)

    with ThreadPoolExecutor() as threads:
        return list(threads.map(one, requests))


def signed_in(instance):
    with httpx.Client(verify=False) as browser:
        browser.post(instance.url + "/sign-in", data={"user": "ada"})
        return {"Cookie": f"session={browser.cookies['session']}"}


@pytest.mark.parametrize("mended", [False, True], ids=["faulty", "mended"])
def test_two_changes_at_once_lose_one_in_the_faulty_one_alone(mended, tmp_path):
    with instances(BY_NAME["python_lost_update"], tmp_path, count=2, mended=mended) as (one, other):

        def changes_kept():
            headers = signed_in(one)
            put = {"method": "PUT", "headers": headers}
            at_once(
                {**put, "url": one.url + "/settings/colour", "json": {"value": "teal"}},
                {**put, "url": other.url + "/settings/size", "json": {"value": "large"}},
            )
            settings = httpx.get(one.url + "/settings", headers=headers, verify=False).json()
            return (settings["colour"] == "teal") + (settings["size"] == "large")

        assert all(changes_kept() == 2 for _ in range(10)) is mended


@pytest.mark.parametrize("mended", [False, True], ids=["faulty", "mended"])
def test_a_slow_request_revives_a_session_in_the_faulty_one_alone(mended, tmp_path):
    with instances(BY_NAME["python_revived_session"], tmp_path, count=2, mended=mended) as (one, other):

        def status_after_sign_out():
            headers = signed_in(one)
            post = {"method": "POST", "headers": headers}
            at_once(
                {**post, "url": one.url + "/draft", "data": {"draft": "dear all"}},
                {**post, "url": other.url + "/sign-out"},
            )
            return httpx.get(other.url + "/home", headers=headers, verify=False).status_code

        assert all(status_after_sign_out() == 303 for _ in range(5)) is mended


SOCKETS = Path("/proc/net/tcp")


def is_read(server: int, client: int) -> bool:
    """Whether a server has taken a connection, and all that was sent over it."""
    for line in SOCKETS.read_text().splitlines()[1:]:
        _, local, remote, _, queues, _, _, _, _, inode, *_ = line.split()
        if [int(end.partition(":")[2], 16) for end in (local, remote)] == [server, client]:
            # One that nobody has accepted yet has no inode (Linux, net/ipv4/tcp_ipv4.c, get_tcp4_sock).
            return inode != "0" and int(queues.partition(":")[2], 16) == 0
    return False


@pytest.mark.skipif(not SOCKETS.exists(), reason="what a server has read is looked up in /proc/net/tcp")
@pytest.mark.parametrize("mended", [False, True], ids=["faulty", "mended"])
@pytest.mark.parametrize("app", named("drain"))
def test_sigterm_drops_what_is_under_way_in_the_faulty_one_alone(app, mended, tmp_path):
    with (
        instances(app, tmp_path, count=1, mended=mended) as (one,),
        socket.create_connection(("127.0.0.1", one.port), 5) as connection,
    ):
        connection.sendall(b"GET /slow HTTP/1.1\r\nHost: app.test\r\n\r\n")
        until = time.monotonic() + 30
        while not is_read(one.port, connection.getsockname()[1]):
            assert time.monotonic() < until
            time.sleep(0.005)
        os.killpg(one.process.pid, signal.SIGTERM)
        answer = b""
        with contextlib.suppress(ConnectionError):
            while part := connection.recv(4096):
                answer += part
        assert (b"slow and done" in answer) is mended
        assert one.process.wait(5) == (0 if mended else -signal.SIGTERM)


@pytest.mark.parametrize(("mended", "too_long"), [(False, True), (True, False)], ids=["faulty", "mended"])
def test_the_cookie_is_too_long_in_the_faulty_one_alone(mended, too_long, tmp_path):
    with instances(BY_NAME["python_oversized_cookie"], tmp_path, count=1, mended=mended) as (one,):
        cookie = httpx.post(one.url + "/sign-in", data={"user": "ada"}).headers["set-cookie"]
        assert (len(cookie.partition(";")[0]) > 4096) is too_long


@pytest.mark.parametrize("mended", [False, True], ids=["faulty", "mended"])
def test_a_cookie_names_the_instance_in_the_faulty_one_alone(mended, tmp_path):
    with instances(BY_NAME["python_sticky_cookie"], tmp_path, count=2, mended=mended) as both:
        cookies = {httpx.get(one.url + "/home", verify=False).headers.get("set-cookie") for one in both}
        assert cookies == {None} if mended else len(cookies) == 2


@pytest.mark.parametrize("app", [pytest.param(app, id=app.name) for app in APPS if app.kind is None])
def test_a_noisy_application_never_answers_alike_but_is_right_on_two_instances(app, tmp_path):
    with instances(app, tmp_path, count=2, mended=False) as both:
        runs = [run_flow(steps_of(app), lambda step, turn=turn: both[(step + turn) % 2].url) for turn in range(3)]
        for step in ("home", "read", "feed"):
            assert len({run[step].content for run in runs}) == 3
        assert runs[0]["feed"].headers["content-encoding"] == "gzip"


# --- applications that can't be judged --------------------------------------------------------------------------------


def ask(port, *, limit=10_000_000, seconds=1.0):
    """All bytes that come back for `/ask`, up to a limit, and how the answer ended: closed, more, silent."""
    received = 0
    with socket.create_connection(("127.0.0.1", port), seconds) as connection:
        connection.sendall(b"GET /ask HTTP/1.1\r\nHost: app.test\r\n\r\n")
        start = b""
        deadline = time.monotonic() + seconds
        try:
            while part := connection.recv(65536):
                start, received = (start + part)[:1000], received + len(part)
                if received > limit or time.monotonic() > deadline:
                    return start, "more"
        except TimeoutError:
            return start, "silent"
        return start, "closed"


ANSWERS = {
    "hangs": (b"", "silent"),
    "closes": (b"", "closed"),
    "cuts": (b"Content-Length: 1000", "closed"),
    "endless": (b"chunked", "more"),
    "drips": (b"chunked", "more"),
    "huge": (b"Content-Length: 1073741824", "more"),
    "charset": (b"caf\xe9", "closed"),
    "unknown-charset": (b"klingon", "closed"),
    "gzip": (b"Content-Encoding: gzip", "closed"),
    "json": (b'{"half": ', "closed"),
    "content-length": (b"plenty", "closed"),
    "headers": (b"no colon here", "closed"),
    "many-headers": (b"X-Much: more", "closed"),
    "not-http": (b"SSH-2.0", "closed"),
}


@pytest.mark.parametrize("how", ANSWERS)
def test_an_application_misbehaves_as_it_says(how, tmp_path):
    with started(Misbehaving(how, True).command, tmp_path / "it", {}) as it:
        assert httpx.get(it.url + "/", verify=False).text.startswith("process ")
        wanted, end = ANSWERS[how]
        start, ended = ask(it.port)
        assert wanted in start
        assert ended == end


@pytest.mark.parametrize("it", [pytest.param(it, id=it.how) for it in MISBEHAVING if it.says])
def test_an_application_ends_at_start_and_says_why(it: Misbehaving, tmp_path):
    with launched(it.command, tmp_path / "it", {}) as instance:
        assert instance.process.wait(10) == 1
        assert it.says in instance.log.read_text()


@pytest.mark.parametrize("how", ["never-listens", "ignores-the-port"])
def test_an_application_never_listens_where_it_was_told_to(how, tmp_path):
    with launched(Misbehaving(how, False).command, tmp_path / "it", {}) as instance:
        with pytest.raises(TimeoutError):
            instance.wait_until_listening(0.5)
        assert instance.process.poll() is None


def test_a_daemon_lives_on_when_the_process_that_was_started_has_ended(tmp_path):
    with launched(Misbehaving("daemonises", True).command, tmp_path / "it", {}) as instance:
        assert instance.process.wait(10) == 0
        pid = int(answer_of_daemon(instance).removeprefix("process "))
        os.kill(pid, signal.SIGKILL)


def answer_of_daemon(instance: Instance) -> str:
    deadline = time.monotonic() + 10
    while True:
        try:
            return httpx.get(instance.url + "/", verify=False).text
        except httpx.ConnectError:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_every_way_to_misbehave_is_tried():
    tried = {*ANSWERS, *(it.how for it in MISBEHAVING if it.says), "never-listens", "ignores-the-port", "daemonises"}
    assert tried == {it.how for it in MISBEHAVING}


def test_every_file_of_the_zoo_is_in_the_catalogue():
    here = os.listdir(os.path.dirname(APPS[0].command.split()[1]))
    files = {name.partition(".")[0] for name in here if name.startswith(("python_", "node_"))}
    assert files == {*BY_NAME, *(app.name for app in WORKERS), "python_misbehaving", "python_public"}
