import shlex
import shutil
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fungible.check.findings.curl import curl
from fungible.check.http.client import Request
from fungible.check.http.jar import Jar
from fungible.check.http.template import request_for
from fungible.check.model import FilePart, Step
from fungible.check.runs.runner import Move

HOST = "shop.test"


def made(
    values: dict[str, str] | None = None, *, aside: bool = False, cookies: str = "sid=1", **fields: Any
) -> tuple[str, Request]:
    step = Step(**({"id": "s", "path": "/"} | fields))
    jar = Jar()
    jar.take(cookies + "; Path=/", "/")
    request = request_for(step, values or {}, host=HOST, scheme="http", cookies=jar)
    return curl(Move(step, aside=aside), request, "A", HOST), request


def words(values: dict[str, str] | None = None, **fields: Any) -> list[str]:
    return shlex.split(made(values, **fields)[0])


def after(found: list[str], option: str) -> list[str]:
    """The values of an option, read as curl does: a value may look like an option."""
    values: list[str] = []
    rest = iter(found[1:-1])
    for name in rest:
        if name not in {"-i", "--head", "--globoff", "--path-as-is"}:
            value = next(rest)
            values += [value] if name == option else []
    return values


def test_a_get_is_short() -> None:
    assert made(path="/cart")[0] == "curl -i -b visitor.cookies -c visitor.cookies -H 'Host: shop.test' \"$A/cart\""


def test_a_form_is_sent_as_it_was_in_the_run_that_is_shown() -> None:
    found = words({"t": "a b&c"}, method="post", path="/o/{{t|url}}", form={"csrf": "{{t}}"}, visitor="ada")
    assert found[-1] == "$A/o/a%20b%26c"
    assert after(found, "-X") == ["POST"]
    assert after(found, "--data-raw") == ["csrf=a+b%26c"]
    assert after(found, "-H") == ["Host: shop.test", "Content-Type: application/x-www-form-urlencoded"]
    assert after(found, "-b") == after(found, "-c") == ["ada.cookies"]


def test_an_aside_request_leaves_the_jar_alone() -> None:
    found = words(aside=True)
    assert after(found, "-b") == ["visitor.cookies"]
    assert "-c" not in found


def test_a_cookie_header_of_the_step_replaces_the_jar() -> None:
    found = words(headers={"cookie": "sid=old"})
    assert "Cookie: sid=old" in after(found, "-H")
    assert not {"-b", "-c"} & set(found)
    assert not {"-b", "-c"} & set(words(headers={"Cookie": ""}))


def test_head_waits_for_no_body() -> None:
    found = words(method="HEAD")
    assert "--head" in found
    assert "-X" not in found


def test_a_get_with_a_body_stays_a_get() -> None:
    assert after(words(method="GET", json={"q": 1}), "-X") == ["GET"]


def test_headers_of_the_step_are_shown_and_those_of_every_request_are_not() -> None:
    found = after(words(headers={"User-Agent": "phone", "X-Empty": "", "Accept": "text/html"}), "-H")
    assert sorted(found) == sorted(["Host: shop.test", "User-Agent: phone", "X-Empty;", "Accept: text/html"])


def test_a_host_of_the_steps_own_is_the_one_that_is_sent() -> None:
    assert after(words(headers={"host": "tenant.test"}), "-H") == ["Host: tenant.test"]


def test_a_body_without_a_content_type_gets_none_from_curl() -> None:
    found = words(method="POST", body="<x/>")
    assert after(found, "--data-raw") == ["<x/>"]
    assert "Content-Type:" in after(found, "-H")


@pytest.mark.parametrize("fields", [{"body": "a\0b"}, {"body": "x" * 5000}, {"body_base64": "/w=="}])
def test_a_body_that_no_command_line_can_hold_is_a_file(fields: dict[str, Any]) -> None:
    assert after(words(method="POST", **fields), "--data-binary") == ["@s.body"]


def test_the_parts_of_a_multipart_body_are_shown_as_they_were_sent() -> None:
    found = words(
        {"t": "@x\r\n--y"},
        method="POST",
        form={"{{t|url}}": "{{t}}", "n": ["1", "2"]},
        files=(FilePart(field="f", filename="a;b.png", content_type="image/png", content="\r\n\r\n"),),
        headers={"Content-Type": "multipart/form-data"},
    )
    assert after(found, "--form-string") == ["%40x%0D%0A--y=@x\r\n--y", "n=1", "n=2"]
    assert after(found, "-F") == ['f=@"a;b.png";type=image/png']
    assert not any(header.startswith("Content-Type") for header in after(found, "-H"))


PRINTABLE = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Cn", "Co", "Zl", "Zp", "Cf", "Zs")))


@given(
    st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]),
    st.text(),
    PRINTABLE,
    PRINTABLE,
)
def test_a_shell_reads_back_the_method_the_target_and_the_body(method: str, path: str, body: str, value: str) -> None:
    line, request = made({"p": path}, method=method, path="/{{p}}", body=body, headers={"X-Value": value or "v"})
    found = shlex.split(line)
    assert found[0] == "curl"
    assert "\n" not in line
    assert found[-1] == "$A" + request.target
    assert (after(found, "-X") or ["HEAD" if "--head" in found else "GET"]) == [method]
    assert after(found, "--data-raw") == ([body] if body else [])
    assert f"X-Value: {value or 'v'}" in after(found, "-H")


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize(
    "fields",
    [
        {"path": '/a?b=$x`y`"&c=1'},
        {"path": "/a/../b?c[0]=1!&d={e,f}"},
        {"method": "POST", "path": "/$(id)", "form": {"a": "it's", "b": ["1", "é"]}},
        {"method": "PUT", "json": {"a": "'\"\n$x"}},
        {"method": "PATCH", "body": "@not-a-file\n\n", "headers": {"X-A": "b"}},
        {"method": "DELETE", "headers": {"Cookie": "sid=old"}},
        {"method": "HEAD"},
        {"method": "GET", "body": "x"},
    ],
)
def test_curl_sends_what_we_sent(fields: dict[str, Any], tmp_path: Path) -> None:
    line, request = made(cookies="", **fields)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        read: list[bytes] = []

        def serve() -> None:
            sock, _ = listener.accept()
            with sock:
                data = b""
                while not data.endswith(b"\r\n\r\n" + request.body):
                    data += sock.recv(65536)
                read.append(data)
                sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        environment = {"A": f"http://127.0.0.1:{listener.getsockname()[1]}", "PATH": "/usr/bin:/bin"}
        subprocess.run(["sh", "-c", line], cwd=tmp_path, env=environment, timeout=20, check=True, capture_output=True)
        thread.join(20)
    head = read[0].split(b"\r\n\r\n")[0].decode().split("\r\n")
    assert head[0] == f"{request.method} {request.target} HTTP/1.1"
    sent = {name.lower(): text for name, _, text in (row.partition(": ") for row in head[1:])}
    assert sent["host"] == HOST
    for name, text in request.headers:
        if name.lower() in {"content-type", "x-a", "cookie"}:
            assert sent[name.lower()] == text
    assert ("content-type" in sent) == any(name.lower() == "content-type" for name, _ in request.headers)
