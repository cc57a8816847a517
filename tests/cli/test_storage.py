"""`fungible storage`: what it prints, and with which status it ends."""

import pytest
from servers import PostgreSQLServer

from fungible.cli.main import main

NOTHING = "nothing to apply: memory: has no tables, or makes them by itself\n"


@pytest.fixture
def server(postgresql_server: PostgreSQLServer) -> PostgreSQLServer:
    postgresql_server.revive()
    postgresql_server.reset()
    return postgresql_server


def storage(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Status, output and errors of a command."""
    status = main(["storage", *words])
    out, err = capsys.readouterr()
    return status, out, err


@pytest.mark.parametrize("name", ["postgresql_server", "mariadb_server"])
def test_migrating_says_what_was_applied_and_then_that_there_is_nothing_to_do(
    name: str, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    server = request.getfixturevalue(name)
    server.revive()
    server.reset()
    needs = "version 0, and this release needs 1: run `fungible storage migrate`\nmissing 0001 records\n"
    assert storage(capsys, "status", server.url) == (1, needs, "")
    assert storage(capsys, "migrate", server.url, "--dry-run") == (0, "would apply 0001 records\n", "")
    assert storage(capsys, "status", server.url) == (1, needs, "")
    assert storage(capsys, "migrate", server.url) == (0, "applied 0001 records\n", "")
    assert storage(capsys, "migrate", server.url) == (0, "nothing to apply: version 1\n", "")
    assert storage(capsys, "migrate", server.url, "--dry-run") == (0, "nothing to apply: version 1\n", "")
    assert storage(capsys, "status", server.url) == (0, "up to date: version 1\n", "")


def test_the_url_may_come_from_the_environment_where_nobody_sees_its_password(
    server: PostgreSQLServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FUNGIBLE_STORE", server.url)
    assert storage(capsys, "migrate") == (0, "applied 0001 records\n", "")
    assert storage(capsys, "status", "memory:")[1] == NOTHING  # the URL goes before


def test_tables_of_a_newer_release_are_said_to_be_so(
    server: PostgreSQLServer, capsys: pytest.CaptureFixture[str]
) -> None:
    storage(capsys, "migrate", server.url)
    server.run_sql("INSERT INTO fungible_migrations (number, name) VALUES (2, 'from tomorrow')")
    words = "version 2, of a newer release than this one, which has 1\n"
    assert storage(capsys, "status", server.url) == (0, f"up to date: {words}", "")
    assert storage(capsys, "migrate", server.url) == (0, f"nothing to apply: {words}", "")


@pytest.mark.parametrize("action", ["migrate", "status"])
def test_a_store_without_tables_has_nothing_to_do(action: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert storage(capsys, action, "memory:") == (0, NOTHING, "")


@pytest.mark.parametrize("action", ["migrate", "status"])
@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "which store? Give its URL, or set FUNGIBLE_STORE"),
        ("nope:", "no store has the scheme 'nope'"),
        ("localhost", "a URL with a scheme was expected"),
        ("postgresql://ada:open-sesame@127.0.0.1:1/shop", "127.0.0.1:1/shop is unavailable: connection refused"),
        ("postgresql://ada:open-sesame@127.0.0.1/shop?pool=3", "there is no option 'pool'"),
    ],
    ids=["none", "scheme", "no URL", "away", "option"],
)
def test_an_error_is_one_line_without_the_password(
    action: str, url: str, words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FUNGIBLE_STORE", raising=False)
    status, out, err = storage(capsys, action, *([url] if url else []))
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert words in err
    assert err.startswith(f"fungible storage {action}: ")
    assert "open-sesame" not in err


def test_a_wrong_password_is_one_line_without_it(server: PostgreSQLServer, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = storage(capsys, "migrate", server.url.replace("open-sesame", "open-barley"))
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "password authentication failed" in err
    assert "open-barley" not in err
