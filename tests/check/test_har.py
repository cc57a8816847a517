import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import UNSET
from recordings import entry, har

from fungible.check.errors import CheckFileError
from fungible.check.flows.har import Recording, read_har
from fungible.check.flows.har_entries import MAX_BYTES

BASE = "http://shop.test:8000"


@pytest.fixture
def read(tmp_path: Path) -> Any:
    def reader(*entries: dict[str, Any]) -> Recording:
        path = tmp_path / "flow.har"
        path.write_text(json.dumps(har(*entries)))
        return read_har(path)

    return reader


def step(recording: Recording, number: int = 0) -> Any:
    return recording.exchanges[number].step


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckFileError, match=r"none\.har: No such file"):
        read_har(tmp_path / "none.har")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"log": {"entries": [}}', "not JSON: .* line 1, column 22"),
        ("[]", "log.entries"),
        ('{"log": {"entries": 3}}', "log.entries"),
        ('{"log": {"entries": []}}', "no entry"),
        ('{"log": {"entries": [null, 3, {}, {"request": []}]}}', "no entry"),
        ("[" * 100_000, "not a HAR file"),
    ],
)
def test_what_is_no_recording_is_refused_with_the_reason(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "a.har").write_text(text)
    with pytest.raises(CheckFileError, match=said):
        read_har(tmp_path / "a.har")


def test_a_file_too_large_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "big.har").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(CheckFileError, match="record a shorter flow"):
        read_har(tmp_path / "big.har")


def test_a_byte_order_mark_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "a.har").write_bytes(b"\xef\xbb\xbf" + json.dumps(har(entry("GET", BASE + "/"))).encode())
    assert len(read_har(tmp_path / "a.har").exchanges) == 1


def test_only_the_application_s_own_requests_are_kept(read: Any) -> None:
    recording = read(
        entry("GET", BASE + "/", _resourceType="document"),
        entry("GET", "https://cdn.test/jquery.js", answer_mime="text/javascript", _resourceType="script"),
        entry("GET", "https://cdn.test/a.js", answer_mime="text/javascript", _resourceType="script"),
        entry("GET", "https://cdn.test/b.js", answer_mime="text/javascript", _resourceType="script"),
        entry("GET", BASE + "/style.css", answer_mime="text/css"),
        entry("GET", BASE + "/logo", answer_mime="image/png"),
        entry("GET", "data:image/png;base64,AAAA"),
        entry("GET", BASE.replace("http", "ws") + "/live", status=101, _resourceType="websocket"),
        entry("OPTIONS", BASE + "/api", headers={"Access-Control-Request-Method": "PUT"}, status=204),
        entry("GET", BASE + "/aborted", status=0),
        entry("POST", BASE + "/pixel", answer_mime="image/gif"),
    )
    assert [one.step.path for one in recording.exchanges] == ["/", "/pixel"]
    assert recording.host == "shop.test:8000"
    assert not recording.https
    assert any("3 recorded requests to other hosts" in note for note in recording.notes)


def test_a_recording_of_assets_alone_keeps_them(read: Any) -> None:
    assert len(read(entry("GET", BASE + "/a.png", answer_mime="image/png")).exchanges) == 1


def test_an_uploaded_picture_is_no_asset(read: Any) -> None:
    body = '--b\r\nContent-Disposition: form-data; name="pic"; filename="me.png"\r\nContent-Type: image/png\r\n\r\nPNG\r\n--b--\r\n'
    recording = read(
        entry("GET", BASE + "/", answered="<img src=/logo.png>"),
        entry("POST", BASE + "/avatar", text=body, mime="multipart/form-data; boundary=b", status=303),
        entry("GET", BASE + "/logo.png", answer_mime="image/png"),
        entry("GET", BASE + "/media/91ab.png", answer_mime="image/png"),
    )
    assert [one.step.path for one in recording.exchanges] == ["/", "/avatar", "/media/91ab.png"]


def test_step_ids_are_the_comments_or_made_from_the_request_and_unique(read: Any) -> None:
    recording = read(
        entry("GET", BASE + "/", comment="the start page"),
        entry("GET", BASE + "/admin/", comment="admin-home"),
        entry("GET", BASE + "/admin/", comment="admin-home"),
        entry("POST", BASE + "/cart/81723"),
        entry("POST", BASE + "/cart/5"),
    )
    assert [one.step.id for one in recording.exchanges] == [
        "get-home",
        "admin-home",
        "admin-home-2",
        "post-cart",
        "post-cart-2",
    ]


def test_headers_of_the_client_and_the_connection_go_the_others_stay(read: Any) -> None:
    recording = read(
        entry(
            "GET",
            BASE + "/a?b=c#d",
            headers={
                ":authority": "shop.test:8000",
                "Host": "shop.test:8000",
                "User-Agent": "Firefox",
                "sec-fetch-mode": "navigate",
                "Accept": "text/html",
                "Accept-Encoding": "gzip",
                "Connection": "keep-alive",
                "Origin": BASE,
                "Referer": BASE + "/cart",
                "Authorization": "Basic dTpw",
                "X-CSRF-Token": "t",
                "If-Match": '"1"',
                "Idempotency-Key": "k",
                "Cache-Control": "no-cache",
            },
        )
    )
    assert step(recording).headers == {
        "Accept": "text/html",
        "Origin": "http://{{host}}",
        "Referer": "http://{{host}}/cart",
        "X-CSRF-Token": "t",
        "If-Match": '"1"',
        "Idempotency-Key": "k",
    }
    assert step(recording).auth == ("u", "p")
    assert step(recording).path == "/a?b=c"


def test_a_form_is_a_form_where_it_is_sent_again_as_it_was(read: Any) -> None:
    urlencoded = "application/x-www-form-urlencoded"
    recording = read(
        entry("POST", BASE + "/a", text="x=1&x=2&y=a+b%26&z=", mime=urlencoded + "; charset=utf-8"),
        entry("POST", BASE + "/b", text="x=1&y=2&x=3", mime=urlencoded),
    )
    assert step(recording).form == {"x": ["1", "2"], "y": "a b&", "z": ""}
    assert step(recording).headers == {}
    assert step(recording, 1).body == "x=1&y=2&x=3"
    assert step(recording, 1).headers == {"Content-Type": urlencoded}


def test_json_is_json_unless_that_would_lose_something(read: Any) -> None:
    recording = read(
        entry("POST", BASE + "/a", text='{"a": [1, null]}', mime="application/json; charset=utf-8"),
        entry("PATCH", BASE + "/a", text="[]", mime="application/merge-patch+json"),
        entry("POST", BASE + "/a", text='{"a": 1, "a": 2}', mime="application/json"),
        entry("POST", BASE + "/a", text='{"a": "{{name}}"}', mime="application/json"),
        entry("POST", BASE + "/a", text="", mime="application/json"),
    )
    assert step(recording).json == {"a": [1, None]}
    assert step(recording).headers == {}
    assert step(recording, 1).headers == {"Content-Type": "application/merge-patch+json"}
    assert step(recording, 2).body == '{"a": 1, "a": 2}'
    assert step(recording, 3).body_base64 is not None
    assert step(recording, 4).json is UNSET
    assert step(recording, 4).headers == {"Content-Type": "application/json"}


def test_a_multipart_body_is_read_by_its_boundary(read: Any) -> None:
    body = (
        '--xYz\r\nContent-Disposition: form-data; name="title"\r\n\r\nA\r\n'
        '--xYz\r\nContent-Disposition: form-data; name="doc"; filename="a b.txt"\r\nContent-Type: text/plain\r\n\r\nline\r\nline\r\n'
        '--xYz\r\nContent-Disposition: form-data; name="pic"; filename="p.png"\r\nContent-Type: image/png\r\n\r\n\udc89PNG\0\r\n--xYz--\r\n'
    )
    one = step(read(entry("POST", BASE + "/up", text=body, mime="multipart/form-data; boundary=xYz")))
    assert one.form == {"title": "A"}
    assert [(f.field, f.filename, f.content_type, f.content, f.content_base64) for f in one.files] == [
        ("doc", "a b.txt", "text/plain", "line\r\nline", None),
        ("pic", "p.png", "image/png", None, "iVBORwA="),
    ]
    assert one.headers == {}


def test_parameters_without_a_text_and_binary_bodies(read: Any) -> None:
    given = entry("POST", BASE + "/a")
    given["request"]["postData"] = {
        "mimeType": "application/x-www-form-urlencoded",
        "params": [{"name": "q", "value": "a b"}],
    }
    recording = read(given, entry("PUT", BASE + "/b", text="\udcff\0", mime="application/octet-stream"))
    assert step(recording).form == {"q": "a b"}
    assert step(recording, 1).body_base64 == "/wA="
    assert step(recording, 1).headers == {"Content-Type": "application/octet-stream"}


def test_what_a_jar_sends_is_no_cookie_header(read: Any) -> None:
    recording = read(
        entry(
            "GET",
            BASE + "/",
            headers={"Cookie": "consent=yes"},
            answer_headers=[("Set-Cookie", "sid=a1; Path=/\ncart=1; Path=/shop")],
        ),
        entry("GET", BASE + "/x", headers={"Cookie": "sid=a1; consent=yes"}),
        entry(
            "GET",
            BASE + "/shop/",
            headers={"Cookie": "cart=1; consent=yes; sid=a1"},
            answer_headers=[("Set-Cookie", "sid=; Max-Age=0; Path=/")],
        ),
        entry("GET", BASE + "/x", headers={"Cookie": "consent=yes"}),
    )
    assert recording.cookies == {"consent": "yes"}
    assert all("Cookie" not in one.step.headers for one in recording.exchanges)


def test_a_signed_out_cookie_sent_again_was_meant(read: Any) -> None:
    recording = read(
        entry("POST", BASE + "/login", answer_headers=[("Set-Cookie", "sid=a1; Path=/; HttpOnly")]),
        entry(
            "POST",
            BASE + "/logout",
            headers={"Cookie": "sid=a1"},
            answer_headers=[("Set-Cookie", "sid=; expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/")],
        ),
        entry("GET", BASE + "/me", headers={"Cookie": "sid=a1"}),
        entry("GET", BASE + "/me"),
    )
    assert [one.step.headers.get("Cookie") for one in recording.exchanges] == [None, None, "sid=a1", None]


def test_a_cookie_kept_back_was_meant(read: Any) -> None:
    recording = read(
        entry("POST", BASE + "/login", answer_headers=[("Set-Cookie", "sid=a1; Path=/")]),
        entry("GET", BASE + "/me"),
        entry("GET", BASE + "/me", headers={"Cookie": "sid=a1"}),
    )
    assert [one.step.headers.get("Cookie") for one in recording.exchanges] == [None, "", None]


def test_an_expiry_is_measured_by_the_answer_s_own_date(read: Any) -> None:
    date = ("Date", "Mon, 01 Jan 2001 00:00:00 GMT")
    recording = read(
        entry(
            "POST",
            BASE + "/login",
            answer_headers=[date, ("Set-Cookie", "sid=a1; Path=/; Expires=Mon, 15-Jan-2001 00:00:00 GMT")],
        ),
        entry("GET", BASE + "/me", headers={"Cookie": "sid=a1"}),
    )
    assert "Cookie" not in step(recording, 1).headers


def test_an_export_without_any_cookie_was_cleaned(read: Any) -> None:
    recording = read(entry("POST", BASE + "/login"), entry("GET", BASE + "/me"))
    assert recording.cookies == {}
    assert all("Cookie" not in one.step.headers for one in recording.exchanges)


def test_a_cookie_that_a_script_made_of_an_answer_is_sent_by_name(read: Any) -> None:
    recording = read(
        entry("POST", BASE + "/login", answered={"token": "t0ken-123456"}, answer_mime="application/json"),
        entry("GET", BASE + "/me", headers={"Cookie": "jwt=t0ken-123456"}),
    )
    assert recording.cookies == {}
    assert step(recording, 1).headers["Cookie"] == "jwt=t0ken-123456"


def test_answers_keep_their_bytes(read: Any) -> None:
    recording = read(
        entry("GET", BASE + "/", answered="\u00e9".encode("latin-1"), answer_mime="text/html; charset=latin-1")
    )
    assert recording.exchanges[0].answer.text == "\u00e9"


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                "request response headers url method status postData text log entries content name value params mimeType".split()
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(document=_json)
def test_any_document_is_read_or_refused(tmp_path: Path, document: Any) -> None:
    path = tmp_path / "any.har"
    path.write_text(
        json.dumps(
            {
                "log": {
                    "entries": [entry("GET", BASE + "/"), document, {"request": document, "response": {"status": 200}}]
                }
            }
        )
    )
    assert read_har(path).exchanges
    path.write_text(json.dumps(document))
    with pytest.raises(CheckFileError):
        read_har(path)


@pytest.mark.parametrize(
    "header",
    ["Basic dTpw=", "Basic dXA=", "Basic dTpwCg", "Basic w7E6cA=", "basic dTpw", "Basic e3t4fX06cA==", "Bearer dTpw"],
)
def test_what_is_no_plain_basic_authentication_is_sent_as_it_was(header: str, read: Any) -> None:
    sent = step(read(entry("GET", BASE + "/", headers={"Authorization": header})))
    assert (sent.auth, sent.headers) == (None, {"Authorization": header})
