"""The middleware: who is let in, and what those are told who are not (RFC 6750 section 3, RFC 9449 section 7)."""

import asyncio
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sessions.visiting import WatchedStore
from starlette.applications import Starlette
from starlette.middleware import Middleware

from fungible.core.errors import SettingError
from fungible.doctor.applications import homes_of
from fungible.stores import StoreUnavailableError
from fungible.stores.memory import MemoryStore
from fungible.tokens import TokenIssuer
from fungible.tokens.dpop import DPoP
from fungible.tokens.middleware import TokenMiddleware
from fungible.tokens.revocations import Revocations
from tokens.use.proving import hash_of, proof, thumbprint_of
from tokens.use.rig import ISSUER, KEYS, NAMES, VERIFIER, bearer, client, guarded, whoami

pytestmark = pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
BARE = 'Bearer realm="api"'
TEXT = ISSUER.issue("ada", {"scope": "read write"}, token_id="an-id")


async def asked(app: Any, headers: Any = None, path: str = "/orders") -> httpx.Response:
    async with client(app) as http:
        return await http.get(path, headers=headers)


async def test_a_good_token_lets_its_subject_in() -> None:
    answer = await asked(guarded(), bearer(TEXT))
    assert (answer.status_code, answer.text) == (200, "ada an-id")
    # The name of the scheme is not case-sensitive (RFC 9110 section 11.1).
    assert (await asked(guarded(), {"Authorization": f"bEaReR  {TEXT} "})).status_code == 200


async def test_who_sends_no_credentials_is_told_the_scheme_and_no_error() -> None:
    for headers in ({}, {"Authorization": "Basic YTpi"}, {"Authorization": "Bearers x"}, {"Authorization": ""}):
        answer = await asked(guarded(), headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == BARE
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"] == "no_credentials"
        assert answer.headers["cache-control"] == "no-store"


async def test_a_token_that_is_no_good_is_refused_by_the_standards_code() -> None:
    expired = TokenIssuer(KEYS, **NAMES, instances=1, now=lambda: 1e9).issue("ada")
    for text, words in (("x.y.z", "is not valid"), (TEXT[:-4] + "AAAA", "is not valid"), (expired, "expired")):
        answer = await asked(guarded(), bearer(text))
        assert answer.status_code == 401
        challenge = answer.headers["www-authenticate"]
        assert challenge.startswith(f'{BARE}, error="invalid_token", error_description="')
        assert words in challenge
        assert text not in answer.text + challenge


async def test_a_header_that_can_not_be_meant_is_a_bad_request() -> None:
    for value in ("Bearer", "Bearer ", "Bearer a b", "Bearer a,b", "Bearer =", "Bearer é", "bearer,x", "DPoP"):
        answer = await asked(guarded(), [("Authorization", value.encode("latin-1"))])
        assert answer.status_code == 400, value
        assert 'error="invalid_request"' in answer.headers["www-authenticate"]


async def test_several_authorization_headers_are_refused_even_if_they_agree() -> None:
    answer = await asked(guarded(required=False), [("Authorization", f"Bearer {TEXT}")] * 2)
    assert answer.status_code == 400


async def test_a_token_in_the_url_or_the_body_is_not_looked_at() -> None:
    assert (await asked(guarded(), path=f"/orders?access_token={TEXT}")).status_code == 401
    async with client(guarded()) as http:
        assert (await http.post("/", data={"access_token": TEXT})).status_code == 401


async def test_a_token_without_the_scopes_is_told_which_ones_it_needs() -> None:
    assert (await asked(guarded(scopes=["read", "write"]), bearer(TEXT))).status_code == 200
    answer = await asked(guarded(scopes=["read", "admin"]), bearer(TEXT))
    assert answer.status_code == 403
    challenge = answer.headers["www-authenticate"]
    assert 'error="insufficient_scope"' in challenge
    assert 'scope="read admin"' in challenge


async def test_where_a_token_may_be_missing_a_bad_one_is_refused_all_the_same() -> None:
    app = guarded(required=False)
    assert (await asked(app)).text == "None None"
    assert (await asked(app, {"Authorization": "Basic YTpi"})).text == "None None"
    assert (await asked(app, bearer(TEXT))).text == "ada an-id"
    assert (await asked(app, bearer("x.y.z"))).status_code == 401


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/health", 200),
        ("/health/", 401),
        ("/health/x", 401),
        ("/public/x", 200),
        ("/public/", 200),
        ("/public", 401),
        ("/public/%2e%2e/orders", 401),
        ("/public//orders", 401),
        ("/public/..%5corders", 401),
        ("/Health", 401),
    ],
)
async def test_only_the_exempt_paths_need_no_token(path: str, status: int) -> None:
    app = guarded(exempt=["/health", "/public/"])
    assert (await asked(app, path=path)).status_code == status


async def test_on_an_exempt_path_a_bad_token_is_not_looked_at_and_a_good_one_names_nobody() -> None:
    app = guarded(exempt=["/health"])
    assert (await asked(app, bearer("x.y.z"), "/health")).status_code == 200
    assert (await asked(app, bearer(TEXT), "/health")).text == "None None"


async def test_a_revoked_token_is_refused_and_where_none_can_know_the_answer_is_503(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = WatchedStore()
    revocations = Revocations(store, instances=1)
    app = guarded(revocations=revocations, retry_after_s=7)
    assert (await asked(app, bearer(TEXT))).status_code == 200
    await revocations.revoke(VERIFIER.verify(TEXT))
    assert (await asked(app, bearer(TEXT))).status_code == 401

    async def away(verb: str, number: int, done: bool) -> None:
        raise StoreUnavailableError(home="memory:", reason="gone")

    store.meets = away
    refusing = guarded(revocations=Revocations(store, instances=1), retry_after_s=7)
    for _ in range(5):
        answer = await asked(refusing, bearer(TEXT))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "7")
    assert "www-authenticate" not in answer.headers
    assert [record.message for record in caplog.records if record.name == "fungible.tokens"] == [
        "requests are refused, as it is not known whether their tokens are good: the store memory: is unavailable: gone"
    ]
    # Garbage costs no store call, and is refused for what it is.
    assert (await asked(app, bearer("x.y.z"))).status_code == 401


def dpop_over(store: Any = None, **options: Any) -> DPoP:
    return DPoP(store or MemoryStore(), base_url="https://api.example", instances=1, **options)


def bound(text: str = "") -> str:
    return ISSUER.issue("ada", {"cnf": {"jkt": thumbprint_of("ES256")}})


async def test_a_bound_token_is_taken_with_its_proof_alone() -> None:
    app, text = guarded(dpop=dpop_over()), bound()
    good = {"Authorization": f"DPoP {text}", "DPoP": proof(ath=hash_of(text))}
    assert (await asked(app, good)).status_code == 200
    again = await asked(app, good)
    assert again.status_code == 401
    plain, with_dpop = again.headers.get_list("www-authenticate")
    assert plain == BARE
    assert with_dpop.startswith('DPoP realm="api", algs="ES256 EdDSA Ed25519", error="invalid_dpop_proof"')
    for headers in (
        bearer(text),
        {"Authorization": f"DPoP {text}"},
        {"Authorization": f"Bearer {text}", "DPoP": proof(ath=hash_of(text))},
        {"Authorization": f"DPoP {text}", "DPoP": proof("EdDSA", ath=hash_of(text))},
        {"Authorization": f"DPoP {TEXT}", "DPoP": proof(ath=hash_of(TEXT))},
        [("Authorization", f"DPoP {text}"), *([("DPoP", proof(ath=hash_of(text)))] * 2)],
    ):
        assert (await asked(app, headers)).status_code == 401
    # A token that is bound to nothing goes on, unless proofs are required.
    assert (await asked(app, bearer(TEXT))).status_code == 200
    assert (await asked(guarded(dpop=dpop_over(required=True)), bearer(TEXT))).status_code == 401


async def test_where_proofs_are_not_taken_a_bound_token_is_no_good_however_it_is_sent() -> None:
    for text in (bound(), ISSUER.issue("ada", {"cnf": {"x5t#S256": "x"}}), ISSUER.issue("ada", {"cnf": "x"})):
        for headers in (bearer(text), {"Authorization": f"DPoP {text}", "DPoP": proof(ath=hash_of(text))}):
            assert (await asked(guarded(), headers)).status_code == 401
            assert (await asked(guarded(dpop=dpop_over()), bearer(text))).status_code == 401


async def test_a_proof_without_a_nonce_is_told_which_one_to_take() -> None:
    app, text = guarded(dpop=dpop_over(nonce_secret="only for tests, and long enough for that")), bound()
    first = await asked(app, {"Authorization": f"DPoP {text}", "DPoP": proof(ath=hash_of(text))})
    assert first.status_code == 401
    assert 'error="use_dpop_nonce"' in first.headers.get_list("www-authenticate")[1]
    nonce = first.headers["dpop-nonce"]
    second = await asked(app, {"Authorization": f"DPoP {text}", "DPoP": proof(ath=hash_of(text), nonce=nonce)})
    assert second.status_code == 200


def heard(app: Any, headers: list[tuple[bytes, bytes]], *, can_answer: bool) -> list[Any]:
    """What a WebSocket's handshake is answered."""
    sent: list[Any] = []
    extensions = {"websocket.http.response": {}} if can_answer else {}
    scope = {"type": "websocket", "path": "/ws", "raw_path": b"/ws", "headers": headers, "extensions": extensions}

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent


def test_a_websocket_is_let_in_by_its_handshakes_header() -> None:
    sent = heard(guarded(), [(b"authorization", f"Bearer {TEXT}".encode())], can_answer=True)
    assert [message["type"] for message in sent] == ["websocket.accept", "websocket.close"]
    assert sent[1]["reason"] == "ada an-id"


def test_a_websocket_without_a_token_is_refused_before_it_stands() -> None:
    [start, body] = heard(guarded(), [], can_answer=True)
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 401)
    assert (b"www-authenticate", BARE.encode()) in start["headers"]
    assert body["type"] == "websocket.http.response.body"
    [close] = heard(guarded(), [], can_answer=False)
    assert (close["type"], close["code"]) == ("websocket.close", 1008)


def test_what_is_no_request_passes_through() -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    asyncio.run(TokenMiddleware(app, verifier=VERIFIER)({"type": "lifespan"}, None, None))  # type: ignore[arg-type]
    assert seen == ["lifespan"]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"authorization", b"dpop", b"x"]),
            st.binary(max_size=60)
            | st.sampled_from([b"Bearer ", b"DPoP ", b"Bearer", b"Basic "]).flatmap(
                lambda start: st.binary(max_size=40).map(lambda rest: start + rest)
            ),
        ),
        max_size=4,
    )
)
def test_no_headers_let_anybody_in_or_raise(headers: list[tuple[bytes, bytes]]) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("let in")

    middleware = TokenMiddleware(app, verifier=VERIFIER, dpop=dpop_over())
    scope = {"type": "http", "method": "GET", "path": "/", "raw_path": b"/", "headers": headers}
    asyncio.run(middleware(scope, None, send))  # type: ignore[arg-type]
    assert sent[0]["status"] in (400, 401)
    assert all("\n" not in value.decode("latin-1") for _, value in sent[0]["headers"])


def test_the_doctor_finds_the_homes_of_a_middleware_that_is_noted_down_and_of_one_that_is_built() -> None:
    options: dict[str, Any] = {
        "verifier": VERIFIER,
        "revocations": Revocations(MemoryStore(), instances=1),
        "dpop": dpop_over(),
    }
    noted = Starlette(middleware=[Middleware(TokenMiddleware, **options)])
    for app in (noted, TokenMiddleware(whoami, **options)):
        found = homes_of(app, "app")
        assert [home.kind for home in found.homes] == ["revocation", "dpop-proof"]


@pytest.mark.parametrize(
    "wrong",
    [{"scopes": "read"}, {"scopes": ["a b"]}, {"exempt": "/x"}, {"exempt": ["x"]}, {"realm": ""}, {"realm": 'a"b'}],
)
def test_settings_that_can_not_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingError):
        guarded(**wrong)


async def test_exempt_paths_begin_below_what_the_application_is_mounted_at() -> None:
    app = guarded(exempt=["/health", "/public/"])
    for path, status in (("/v1/health", 200), ("/v1/public/x", 200), ("/v1", 401), ("/v1/public//x", 401)):
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request"}

        async def send(message: Any, sent: list[Any] = sent) -> None:
            sent.append(message)

        await app({"type": "http", "method": "GET", "path": path, "root_path": "/v1", "headers": []}, receive, send)
        assert (path, sent[0]["status"]) == (path, status)
