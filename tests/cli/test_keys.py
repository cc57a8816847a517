"""`fungible keys`: what it prints, what it leaves behind, and with which status it ends."""

import argparse
import json
import stat
from pathlib import Path
from typing import Any

import pytest
from servers import RedisServer

from fungible.cli import keys as command
from fungible.tokens import Key, KeyFiles, TokenIssuer, TokenVerifier, VerifyingKeys

SECRET = "a secret that all instances share: 0123456789"


def keys(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Status, output and errors of a command."""
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    arguments = parser.parse_args(["keys", *words])
    status = arguments.run(arguments)
    out, err = capsys.readouterr()
    return status, out, err


def as_json(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    status, out, err = keys(capsys, *words, "--json")
    assert (status, err) == (0, "")
    return json.loads(out)


@pytest.fixture(params=["directory", "store"])
def home(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where the keys are, empty."""
    monkeypatch.delenv("FUNGIBLE_KEYS", raising=False)
    monkeypatch.delenv("FUNGIBLE_SECRET", raising=False)
    if request.param == "directory":
        return str(tmp_path / "keys")
    monkeypatch.setenv("FUNGIBLE_SECRET", SECRET)
    return f"sqlite:///{tmp_path / 'keys.db'}"


def test_a_ring_is_made_rotated_listed_and_its_old_key_retired(home: str, capsys: pytest.CaptureFixture[str]) -> None:
    made = as_json(capsys, "new", home)
    first = made["key"]["kid"]
    assert (made["changed"], made["key"]["state"], made["key"]["algorithm"]) == (True, "active", "EdDSA")
    assert as_json(capsys, "new", home)["changed"] is False

    rotated = as_json(capsys, "rotate", home, "--algorithm", "ES256")
    second = rotated["key"]["kid"]
    assert (rotated["changed"], rotated["key"]["state"]) == (True, "next")
    again = as_json(capsys, "rotate", home, "--algorithm", "ES256")
    assert (again["changed"], again["key"]["kid"]) == (False, second)

    listed = as_json(capsys, "list", home)["keys"]
    assert [(each["kid"], each["state"]) for each in listed] == [(first, "active"), (second, "next")]
    assert listed[0]["verifies_until"] > listed[1]["signs_from"] + 3600
    assert listed[1]["verifies_until"] is None
    assert Key.from_pem(listed[1]["public_pem"]).kid == second

    status, _, err = keys(capsys, "retire", home, first)
    assert status == 2
    assert "only one that signs" in err
    assert as_json(capsys, "rotate", home, "--algorithm", "ES256", "--now")["key"]["kid"] == second
    # Made in the same second as the first, it may sign from the next one on.
    assert as_json(capsys, "list", home)["keys"][1]["kid"] == second


def test_what_is_printed_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = str(tmp_path)
    status, out, _ = keys(capsys, "new", home, "--algorithm", "HS256")
    kid = KeyFiles(home).known(2e9).keys[0].kid
    assert (status, out) == (0, f"made {kid} (HS256), which signs now\n")
    assert keys(capsys, "new", home)[1] == f"nothing to do: {kid} (HS256), which signs now\n"
    assert "will sign from 20" in keys(capsys, "rotate", home)[1]
    lines = keys(capsys, "list", home)[1].splitlines()
    assert lines[0].split() == ["KID", "ALGORITHM", "STATE", "SIGNS", "FROM", "VERIFIES", "UNTIL"]
    assert [line.split()[2] for line in lines[1:]] == ["active", "next"]
    assert lines[2].endswith("  replaced")
    other = lines[2].split()[0]
    assert keys(capsys, "retire", home, other[:12])[1] == f"retired {other} (HS256): what it signed is refused\n"


@pytest.mark.parametrize("algorithm", ["ES384", "ES512", "RS384", "RS512", "PS256", "PS384", "PS512"])
def test_a_key_of_every_algorithm_can_be_made_and_signs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], algorithm: str
) -> None:
    made = as_json(capsys, "new", str(tmp_path), "--algorithm", algorithm)["key"]
    assert (made["algorithm"], made["state"]) == (algorithm, "active")
    ring = KeyFiles(tmp_path)
    issuer = TokenIssuer(ring, issuer="https://login.example", audience="api")
    judge = TokenVerifier(VerifyingKeys.from_jwks(ring.jwks()), issuer="https://login.example", audience="api")
    assert judge.verify(issuer.issue("ada")).kid == made["kid"]


def test_no_private_key_is_printed_and_its_files_are_for_the_owner_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = ""
    for algorithm in ("EdDSA", "v4.local"):
        for words in (("new", str(tmp_path)), ("rotate", str(tmp_path))):
            for shape in ((), ("--json",)):
                printed += "".join(map(str, keys(capsys, *words, "--algorithm", algorithm, *shape)))
    printed += "".join(map(str, keys(capsys, "list", str(tmp_path), "--json")))
    files = list(tmp_path.glob("*.jwk"))
    assert len(files) == 4
    for file in files:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        jwk = json.loads(file.read_text())
        assert (jwk.get("d") or jwk["k"]) not in printed
        assert jwk["kid"] in printed


def test_a_key_is_printed_where_that_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = keys(capsys, "new", "--print", "--algorithm", "v4.public")
    assert status == 0
    assert Key.from_jwk(json.loads(out)).is_private


def test_several_stores_of_one_server_have_one_ring(
    redis_server: RedisServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    redis_server.revive()
    redis_server.reset()
    secret = tmp_path / "secret"
    secret.write_text(SECRET + "\n")
    folder = tmp_path / "secrets"
    folder.mkdir()
    (folder / "1.key").write_text(SECRET)
    made = as_json(capsys, "new", redis_server.url, "--secret-file", str(secret))
    listed = as_json(capsys, "list", redis_server.url, "--secret-file", str(folder))
    assert [key["kid"] for key in listed["keys"]] == [made["key"]["kid"]]
    assert as_json(capsys, "list", redis_server.url, "--secret-file", str(secret), "--name", "other")["keys"] == []


def test_the_home_may_come_from_the_environment(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FUNGIBLE_KEYS", str(tmp_path / "here"))
    assert keys(capsys, "new")[0] == 0
    assert len(list((tmp_path / "here").glob("*.jwk"))) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("list",), "which keys? Give a directory or the URL of a store, or set FUNGIBLE_KEYS"),
        (("list", "/nowhere/at/all"), "can't be read: No such file or directory"),
        (("rotate", "/nowhere/at/all"), "can't be read: No such file or directory"),
        (("list", "redis://127.0.0.1:1/0"), "keys in a store are sealed: give the secret in FUNGIBLE_SECRET"),
        (("list", "nope://x", "--secret-file", "/nowhere"), "/nowhere can't be read"),
        (("retire", "memory:", "x"), "keys in a store are sealed"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_an_error_is_one_line_that_says_what_to_do(
    words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FUNGIBLE_KEYS", raising=False)
    monkeypatch.delenv("FUNGIBLE_SECRET", raising=False)
    status, out, err = keys(capsys, *words)
    assert (status, out) == (2, "")
    assert err.startswith(f"fungible keys {words[0]}: ")
    assert message in err
    assert err.count("\n") == 1


def test_a_store_that_is_away_or_a_wrong_secret_is_said_to_be_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FUNGIBLE_SECRET", SECRET)
    monkeypatch.setattr(command, "TIMEOUT_S", 0.5)
    assert "unavailable" in keys(capsys, "list", "redis://ada:open-sesame@127.0.0.1:1/0")[2]
    assert "open-sesame" not in keys(capsys, "new", "redis://ada:open-sesame@127.0.0.1:1/0")[2]
    home = f"sqlite:///{tmp_path / 'keys.db'}"
    keys(capsys, "new", home)
    monkeypatch.setenv("FUNGIBLE_SECRET", SECRET[::-1])
    assert "a secret that this instance does not have" in keys(capsys, "rotate", home)[2]
    monkeypatch.setenv("FUNGIBLE_SECRET", "short")
    assert "needs 32 or more" in keys(capsys, "rotate", home)[2]
