import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from fungible.check.checkfile import MAX_BYTES, load, parse
from fungible.check.errors import CheckFileError
from fungible.check.model import CheckFile

TOML = """
seed = 7
schedules = ["scatter", "crash"]

[target]
start = "uvicorn shop:app --port {port}"
prepare = ["python manage.py migrate"]
env = { DEBUG = "1" }
ready = { path = "/up", status = [200, 204], timeout = 5 }
instances = 4

[[flows]]
name = "order"
cookies = { lang = "en" }

[[flows.steps]]
id = "form"
path = "/new"
capture = [{ name = "token", from = "body", regex = 'value="([^"]+)"', decode = ["html"] }]

[[flows.steps]]
id = "order"
method = "POST"
path = "/orders"
headers = { X-Token = "{{token}}" }
json = { on = true, day = 2024-05-01, at = 10:30:00, n = 1, price = 1.5, code = "007", tags = ["a"], no = "no" }
expect = { status = [201], json = { "order.state" = "new" } }
poll_seconds = 1.5

[[flows]]
name = "recorded"
har = "flow.har"
"""
YAML = r"""
seed: 7
schedules: [scatter, crash]
target:
  start: uvicorn shop:app --port {port}
  prepare: [python manage.py migrate]
  env: {DEBUG: "1"}
  ready: {path: /up, status: [200, 204], timeout: 5}
  instances: 4
flows:
  - name: order
    cookies: {lang: en}
    steps:
      - id: form
        path: /new
        capture:
          - {name: token, from: body, regex: 'value="([^"]+)"', decode: [html]}
      - id: order
        method: POST
        path: /orders
        headers: {X-Token: "{{token}}"}
        json: {on: true, day: 2024-05-01, at: 10:30:00, n: 1, price: 1.5, code: 007, tags: [a], no: no}
        expect: {status: [201], json: {order.state: new}}
        poll_seconds: 1.5
  - name: recorded
    har: flow.har
"""
JSON = {
    "seed": 7,
    "schedules": ["scatter", "crash"],
    "target": {
        "start": "uvicorn shop:app --port {port}",
        "prepare": ["python manage.py migrate"],
        "env": {"DEBUG": "1"},
        "ready": {"path": "/up", "status": [200, 204], "timeout": 5},
        "instances": 4,
    },
    "flows": [
        {
            "name": "order",
            "cookies": {"lang": "en"},
            "steps": [
                {
                    "id": "form",
                    "path": "/new",
                    "capture": [{"name": "token", "from": "body", "regex": 'value="([^"]+)"', "decode": ["html"]}],
                },
                {
                    "id": "order",
                    "method": "POST",
                    "path": "/orders",
                    "headers": {"X-Token": "{{token}}"},
                    "json": {
                        "on": True,
                        "day": "2024-05-01",
                        "at": "10:30:00",
                        "n": 1,
                        "price": 1.5,
                        "code": "007",
                        "tags": ["a"],
                        "no": "no",
                    },
                    "expect": {"status": [201], "json": {"order.state": "new"}},
                    "poll_seconds": 1.5,
                },
            ],
        },
        {"name": "recorded", "har": "flow.har"},
    ],
}


def check_file(*steps: dict[str, Any], **target: Any) -> CheckFile:
    document: dict[str, Any] = {"target": target, "flows": [{"name": "f", "steps": [*steps]}]}
    return parse(json.dumps(document), "json")


def refused(*steps: dict[str, Any], **target: Any) -> str:
    with pytest.raises(CheckFileError) as caught:
        check_file(*steps, **target)
    return str(caught.value)


def step(**fields: Any) -> dict[str, Any]:
    return {"id": "s", "path": "/"} | fields


# --- formats


def test_the_three_formats_read_alike() -> None:
    one, two, three = parse(TOML, "toml"), parse(YAML, "yaml"), parse(json.dumps(JSON), "json")
    assert one == two == three
    assert one.flows[0].steps is not None
    assert one.flows[0].steps[0].json is UNSET


@pytest.mark.parametrize(
    ("name", "text"),
    [("c.toml", TOML), ("c.yaml", YAML), ("c.YML", YAML), ("c.json", json.dumps(JSON)), ("b.json", "\ufeff{}")],
)
def test_the_ending_says_the_format(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, "utf-8")
    assert load(tmp_path / name) == (parse(TOML, "toml") if name != "b.json" else CheckFile())


def test_yaml_knows_anchors_merges_and_nothing() -> None:
    text = """
    flows:
      - name: f
        steps:
          - &first {id: a, path: /, json: {x: ~, y: null, z: }}
          - {<<: *first, id: b}
    """
    steps = parse(text, "yaml").flows[0].steps or ()
    assert [made.id for made in steps] == ["a", "b"]
    assert steps[0].json == steps[1].json == {"x": None, "y": None, "z": None}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"),
        ("Yes", "Yes"),
        ("NO", "NO"),
        ("true", True),
        ("10:30", "10:30"),
        ("010", "010"),
        ("-5", -5),
        ("1_000", "1_000"),
        ("1.5", 1.5),
        ("12e5", "12e5"),
        ("0x1f", "0x1f"),
        ("2024-01-01 10:00", "2024-01-01 10:00"),
    ],
)
def test_words_of_yaml_are_not_taken_for_something_else(text: str, value: Any) -> None:
    read = parse(f"flows: [{{steps: [{{id: s, path: /, json: [{text}]}}]}}]", "yaml")
    assert (read.flows[0].steps or ())[0].json == [value]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("c.toml", "[target]\nstart = \n", "not TOML: .*line 2"),
        ("c.toml", "[target]\n[target]\n", "not TOML: .*line 2"),
        ("c.toml", "seed = 1\nseed = 2\n", "not TOML: .*line 2"),
        ("c.json", '{"target":\n {,}}', "not JSON: .*line 2"),
        ("c.json", '{"seed": 1, "seed": 2}', "the key 'seed' stands twice"),
        ("c.json", '{"seed": 1' + "0" * 5000 + "}", "not JSON: "),
        ("c.yaml", "target:\n  start: [", "not YAML: (?s:.*)line 2"),
        ("c.yaml", "target: {}\ntarget: {}\n", "the key 'target' stands twice(?s:.*)line 2"),
        ("c.yaml", "target: !!python/object:os.system {}", "not YAML: (?s:.*)line 1"),
        ("c.yaml", "a: 1\n--- \nb: 2", "not YAML: "),
        ("c.yaml", "target: {env: {1: x}}", "the key 1 is no text: write it in quotes"),
        ("c.yaml", "\0", "not YAML: "),
        ("c.yaml", "", "the document is no table"),
        ("c.json", "[]", "the document is no table"),
        ("c.json", "[" * 100_000, "nested too deeply|not JSON"),
        ("c.toml", "a = " + "[" * 5000, "nested too deeply|not TOML"),
        ("c.yaml", "&a [*a]", "nested too deeply"),
        ("c.txt", "", r"c\.txt: a check file ends in \.toml, \.yaml, \.yml or \.json"),
    ],
)
def test_what_can_not_be_read_is_refused_with_its_place(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text, "utf-8")
    with pytest.raises(CheckFileError, match=said) as caught:
        load(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)


def test_a_file_that_is_missing_a_directory_or_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "directory.json").mkdir()
    (tmp_path / "latin.json").write_bytes(b'{"\xff": 1}')
    for name, said in (
        ("none.toml", "can't be read: No such file"),
        ("directory.json", "can't be read: Is a directory"),
        ("latin.json", r"is not UTF-8 text \(byte 2\)"),
    ):
        with pytest.raises(CheckFileError, match=said):
            load(tmp_path / name)


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "c.json").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(CheckFileError, match=f"has {MAX_BYTES + 1} bytes; a check file has at most {MAX_BYTES}"):
        load(tmp_path / "c.json")


# --- keys and types


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"flow": []}, "unknown key 'flow': did you mean 'flows'?"),
        ({"xyz": 1}, "unknown key 'xyz': known are begin, budget, flows, jobs, schedules, seed, sign_in, target"),
        ({"target": {"strat": "x"}}, "unknown key 'strat' in target: did you mean 'start'?"),
        ({"target": {"ready": {"pth": "/"}}}, "unknown key 'pth' in target.ready: did you mean 'path'?"),
        ({"flows": [{}, {"setps": []}]}, "unknown key 'setps' in flows[1]: did you mean 'steps'?"),
        ({"flows": [{"steps": [step(from_="x")]}]}, "unknown key 'from_' in flows[0].steps[0]: did you mean 'form'?"),
        (
            {"flows": [{"steps": [step(), step(capture=[{"source": "json"}])]}]},
            "unknown key 'source' in flows[0].steps[1].capture[0]: known are "
            "cookie, decode, default, from, header, name, path, regex",
        ),
        (
            {"flows": [{"steps": [step(expect={"state": 1})]}]},
            "unknown key 'state' in flows[0].steps[0].expect: did you mean 'status'?",
        ),
        (
            {"flows": [{"steps": [step(files=[{"name": "x"}])]}]},
            "unknown key 'name' in flows[0].steps[0].files[0]: did you mean 'filename'?",
        ),
    ],
)
def test_an_unknown_key_is_named_with_its_place_and_the_nearest_known_one(document: Any, said: str) -> None:
    with pytest.raises(CheckFileError) as caught:
        parse(json.dumps(document), "json")
    assert str(caught.value) == said


def test_keys_of_the_users_own_are_free() -> None:
    check_file(step(json={"strat": {"setps": 1}}, headers={"X-Own": "1"}), env={"ANY": "x"})


@pytest.mark.parametrize(
    ("document", "place"),
    [
        ({"seed": "7"}, "$.seed"),
        ({"schedules": ["scater"]}, "$.schedules[0]"),
        ({"target": []}, "$.target"),
        ({"target": {"instances": "3"}}, "$.target.instances"),
        ({"target": {"setup": "make"}}, "$.target.setup"),
        ({"target": {"env": {"A": 1}}}, "$.target.env[...]"),
        ({"flows": {}}, "$.flows"),
        ({"flows": [{"steps": [{"id": "a"}]}]}, "$.flows[0].steps[0]"),
        ({"flows": [{"steps": [step(), step(expect={"status": 200})]}]}, "$.flows[0].steps[1].expect.status"),
        ({"flows": [{"steps": [step(auth=["ada"])]}]}, "$.flows[0].steps[0].auth"),
        ({"flows": [{"steps": [step(form={"a": True})]}]}, "$.flows[0].steps[0].form[...]"),
        (
            {"flows": [{"steps": [step(capture=[{"name": "a", "from": "html"}])]}]},
            "$.flows[0].steps[0].capture[0].from",
        ),
    ],
)
def test_a_wrong_type_is_named_with_its_place(document: Any, place: str) -> None:
    with pytest.raises(CheckFileError) as caught:
        parse(json.dumps(document), "json")
    assert str(caught.value).endswith(f"`{place}`")


# --- nonsense

TOKEN = {"name": "token", "from": "body"}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"json": 1, "body": "x"}, "has more than one body: json and body"),
        ({"body": "x", "body_base64": "eA=="}, "has more than one body: body and body_base64"),
        ({"json": 1, "files": [{"field": "f", "filename": "f"}]}, "has more than one body: json and form"),
        ({"method": "GET /"}, "'GET /' is no HTTP method"),
        ({"headers": {"X Y": "1"}}, "'X Y' is no name of a header"),
        ({"headers": {"X:": "1"}}, "'X:' is no name of a header"),
        ({"body_base64": "e"}, "the base64 text is broken"),
        ({"body_base64": "é"}, "the base64 text is broken"),
        ({"files": [{"field": "f", "filename": "f", "content_base64": "?"}]}, "the base64 text is broken"),
        (
            {"files": [{"field": "f", "filename": "f", "content": "", "content_base64": ""}]},
            "the file 'f' has both `content` and `content_base64`",
        ),
        ({"expect": {"location": "("}}, "'(' is no regular expression"),
        ({"expect": {"status": [20]}}, "expect.status: 20 is no status of HTTP"),
        ({"capture": [TOKEN | {"regex": "["}]}, "'[' is no regular expression"),
        ({"capture": [{"name": "a", "from": "json"}]}, "the capture 'a' takes from 'json' and needs `path`"),
        ({"capture": [{"name": "a", "from": "header"}]}, "the capture 'a' takes from 'header' and needs `header`"),
        ({"capture": [{"name": "a", "from": "cookie"}]}, "the capture 'a' takes from 'cookie' and needs `cookie`"),
        ({"capture": [TOKEN | {"path": "a"}]}, "the capture 'token' takes from 'body' and has no use for `path`"),
        ({"capture": [TOKEN | {"name": "a b"}]}, "the capture 'a b' has a name that no {{name}} can have"),
        ({"capture": [TOKEN | {"name": "run"}]}, "the capture 'run' would replace {{run}}"),
        ({"poll_seconds": -1}, "poll_seconds is -1; it is in seconds, from 0 to 86400"),
        ({"delay_before": 1e300}, "delay_before is 1e+300; it is in seconds"),
        ({"delay_before": float("nan")}, "delay_before is nan; it is in seconds"),
    ],
)
def test_a_step_that_can_not_be_run_is_refused_with_its_place(fields: dict[str, Any], said: str) -> None:
    found = refused(step(id="first"), step(**fields))
    assert found.startswith("flows[0].steps[1] ('s')")
    assert said in found


def test_two_steps_of_one_flow_have_two_ids() -> None:
    assert refused(step(), step()) == "flows[0].steps[1] ('s'): two steps of one flow have this id"


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ({"start": "x", "at": ["http://a"]}, "target has both `start` and `at`"),
        ({"instances": 1}, "target.instances is 1: one instance can't be compared with itself"),
        ({"ready": {"timeout": -5}}, "target.ready.timeout is -5; it is in seconds"),
        ({"ready": {"status": [0]}}, "target.ready.status: 0 is no status of HTTP"),
    ],
)
def test_a_target_that_can_not_be_run_is_refused(target: dict[str, Any], said: str) -> None:
    assert refused(step(), **target).startswith(said)


@pytest.mark.parametrize(
    ("flows", "said"),
    [
        ([{"name": "a"}], "flows[0] ('a') needs exactly one of `steps`, `har`, `openapi`; it has none"),
        ([{"steps": [step()], "har": "x"}], "it has steps and har"),
        ([{"har": "x", "openapi": "y"}], "it has har and openapi"),
        ([{"steps": []}], "flows[0] ('flow') has no step"),
        ([{"name": "a", "har": "x"}, {"name": "a", "har": "y"}], "flows[1] ('a'): two flows have this name"),
    ],
)
def test_a_flow_has_one_source_and_a_name_of_its_own(flows: Any, said: str) -> None:
    with pytest.raises(CheckFileError) as caught:
        parse(json.dumps({"flows": flows}), "json")
    assert said in str(caught.value)


def test_flows_that_were_given_no_name_may_be_many() -> None:
    assert len(parse('{"flows": [{"har": "a"}, {"openapi": "b"}]}', "json").flows) == 2


# --- {{name}}


@pytest.mark.parametrize(
    "fields",
    [
        {"path": "/{{token}}?x={{token|url}}"},
        {"headers": {"X": "{{host}}"}},
        {"form": {"email": "ada-{{run}}@example.org"}},
        {"expect": {"contains": ["{{token}}"]}},
        {"expect": {"location": "^/{{own}}$"}, "capture": [{"name": "own", "from": "header", "header": "location"}]},
        {"body": "{{ nobody }} and {{x|y}} stand for themselves"},
    ],
)
def test_a_step_may_use_what_was_captured_before_it_and_the_given_names(fields: dict[str, Any]) -> None:
    check_file(step(id="first", capture=[TOKEN]), step(**fields))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"path": "/{{tokn}}"}, " needs {{tokn}}, which no earlier step captures: did you mean 'token'?"),
        ({"json": {"a": ["{{xyz}}"]}}, " needs {{xyz}}, which no earlier step captures: known are host, run, token"),
        (
            {"path": "/{{own}}", "capture": [TOKEN | {"name": "own"}]},
            " needs {{own}}, which no earlier step captures: it is captured only later",
        ),
        (
            {"expect": {"lacks": ["{{toke}}"]}},
            ".expect needs {{toke}}, which no earlier step captures: did you mean 'token'?",
        ),
        ({"body": "{{ token }}"}, ": '{{ token }}' is no placeholder: write {{token}} or {{token|url}}"),
        ({"path": "/{{token|quote}}"}, ": '{{token|quote}}' is no placeholder: write {{token}} or {{token|url}}"),
    ],
)
def test_a_name_that_nothing_gives_is_refused_with_the_nearest_known_one(fields: dict[str, Any], said: str) -> None:
    assert refused(step(id="first", capture=[TOKEN]), step(**fields)) == f"flows[0].steps[1] ('s'){said}"


def test_a_capture_of_another_flow_gives_nothing() -> None:
    flows = [{"name": "a", "steps": [step(capture=[TOKEN])]}, {"name": "b", "steps": [step(path="/{{token}}")]}]
    with pytest.raises(CheckFileError, match=r"^flows\[1\]\.steps\[0\] \('s'\) needs \{\{token\}\}"):
        parse(json.dumps({"flows": flows}), "json")


# --- for all documents

HALVES = st.text(st.sampled_from("a\ud83d\ude00"), max_size=4)
"""What escapes in JSON can say, and is no text: halves of characters."""
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | HALVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from("target flows steps id path capture name from expect status json form files ready".split()),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@pytest.mark.parametrize("kind", ["json", "yaml"])
def test_escapes_make_whole_characters(kind: Any) -> None:
    text = r'{"target": {"start": "run \ud83d\ude00"}, "flows": [{"name": "f", "steps": [{"id": "a", "path": "/"}]}]}'
    assert parse(text, kind).target.start == "run \U0001f600"
    with pytest.raises(CheckFileError, match=r"ud83d.*surrogate pair"):
        parse(text.replace(r"\ude00", ""), kind)


@given(ANY)
def test_any_document_is_a_check_file_or_is_refused(document: Any) -> None:
    with contextlib.suppress(CheckFileError):
        parse(json.dumps(document), "json")
    with contextlib.suppress(CheckFileError):
        parse(json.dumps(document), "yaml")


@given(st.text(), st.sampled_from(["toml", "yaml", "json"]))
def test_any_text_is_a_check_file_or_is_refused(text: str, kind: Any) -> None:
    with contextlib.suppress(CheckFileError):
        parse(text, kind)
