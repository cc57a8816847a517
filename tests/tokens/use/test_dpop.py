"""DPoP proofs (RFC 9449): each check of section 4.3, by proofs that another library has made."""

import asyncio
import contextlib
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from contracts.backends import Backend
from contracts.clock import Clock
from contracts.processes import Processes
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc.jwk import ECKey, OctKey, RSAKey
from sessions.visiting import WatchedStore

from fungible.core.errors import SettingError
from fungible.stores.memory import MemoryStore
from fungible.stores.postures import PostureError
from fungible.tokens.dpop import CLOCKS_S, KNOWN, DPoP, Proven, UseNonceError, thumbprint
from fungible.tokens.dpop_proof import InvalidProofError, normalised, read_proof
from tokens.use.conftest import KINDS
from tokens.use.proving import KEYS, b64, hash_of, proof, thumbprint_of
from tokens.use.rig import token_of

# Joserfc says that the name EdDSA is deprecated; it is what clients send today.
pytestmark = pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
SECRET = "only for tests, and long enough for that"


def dpop_over(store: Any = None, **options: Any) -> DPoP:
    options = {"base_url": "https://api.example", "algorithms": KNOWN, "instances": 1, **options}
    return DPoP(store or MemoryStore(), **options)


async def checked(dpop: DPoP, text: str, *, method: str = "GET", path: str = "/orders", **options: Any) -> Proven:
    return await dpop.check(text, method=method, path=path, **options)


@pytest.mark.parametrize("algorithm", KEYS)
async def test_a_right_proof_holds_and_names_its_key(algorithm: str) -> None:
    assert (await checked(dpop_over(), proof(algorithm))).thumbprint == thumbprint_of(algorithm)


def test_every_algorithm_that_proofs_may_have_is_tried_here() -> None:
    assert {*KEYS, "Ed25519"} == set(KNOWN)


def test_the_thumbprint_is_that_of_the_rfc() -> None:
    # RFC 7638 section 3.1, and RFC 8037 appendix A.3.
    rsa = {
        "kty": "RSA",
        "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3"
        "oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6"
        "qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJ"
        "zKnqDKgw",
        "e": "AQAB",
        "alg": "RS256",
    }
    assert thumbprint(rsa) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    okp = {"crv": "Ed25519", "kty": "OKP", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
    assert thumbprint(okp) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_the_proof_of_the_rfc_is_read() -> None:
    # RFC 9449 section 4.1, figure 2.
    text = (
        "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJo"
        "RjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19."
        "eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0"
        "IjoxNTYyMjYyNjE2fQ."
        "2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg"
    )
    read = read_proof(text, ["ES256"])
    assert (read.method, read.url, read.issued_at) == ("POST", "https://server.example.com/token", 1562262616)
    assert read.thumbprint == "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"


def private(algorithm: str) -> dict[str, Any]:
    return KEYS[algorithm].as_dict(private=True)


SYMMETRIC = OctKey.generate_key(256).as_dict(private=True)
WRONG: dict[str, tuple[dict[str, Any] | None, dict[str, Any]]] = {
    "no typ": ({"typ": None}, {}),
    "another typ": ({"typ": "at+jwt"}, {}),
    "alg none": ({"alg": "none"}, {}),
    "a symmetric alg": ({"alg": "HS256", "jwk": SYMMETRIC}, {}),
    "an unknown alg": ({"alg": "ES256K"}, {}),
    "no jwk": ({"jwk": None}, {}),
    "a private key": ({"jwk": private("ES256")}, {}),
    "a symmetric key": ({"jwk": SYMMETRIC}, {}),
    "a key of another type": ({"jwk": KEYS["EdDSA"].as_dict(private=False)}, {}),
    "a key of another curve": ({"jwk": KEYS["ES384"].as_dict(private=False)}, {}),
    "another's key": ({"jwk": ECKey.generate_key("P-256").as_dict(private=False)}, {}),
    "a point off the curve": ({"jwk": {"kty": "EC", "crv": "P-256", "x": b64(b"\1" * 32), "y": b64(b"\1" * 32)}}, {}),
    "a short coordinate": ({"jwk": {"kty": "EC", "crv": "P-256", "x": b64(b"\1" * 31), "y": b64(b"\1" * 32)}}, {}),
    "a key that is none": ({"jwk": {"kty": "EC", "crv": "P-256", "x": 1, "y": None}}, {}),
    "an extension": ({"crit": ["x"], "x": 1}, {}),
    "no jti": (None, {"jti": None}),
    "an empty jti": (None, {"jti": ""}),
    "no htm": (None, {"htm": None}),
    "another method": (None, {"htm": "POST"}),
    "the method in lower case": (None, {"htm": "get"}),
    "no htu": (None, {"htu": None}),
    "another path": (None, {"htu": "https://api.example/orders/1"}),
    "another server": (None, {"htu": "https://evil.example/orders"}),
    "a server whose name begins so": (None, {"htu": "https://api.example.evil/orders"}),
    "another scheme": (None, {"htu": "http://api.example/orders"}),
    "a login in the URL": (None, {"htu": "https://x@api.example/orders"}),
    "no URL": (None, {"htu": "orders"}),
    "no iat": (None, {"iat": None}),
    "an iat that is text": (None, {"iat": "now"}),
    "made long ago": (None, {"iat": int(time.time()) - 3600}),
    "made in the future": (None, {"iat": int(time.time()) + 3600}),
    "an iat beyond all": (None, {"iat": 10**400}),
}


@pytest.mark.parametrize("name", WRONG)
async def test_a_wrong_proof_is_refused_and_the_store_is_not_asked(name: str) -> None:
    header, claims = WRONG[name]
    store = WatchedStore()
    with pytest.raises(InvalidProofError):
        await checked(dpop_over(store), proof(header=header, **claims))
    assert store.calls == []


async def test_a_small_rsa_key_is_refused() -> None:
    small = {"kty": "RSA", "n": b64(b"\xff" * 128), "e": "AQAB"}
    with pytest.raises(InvalidProofError, match="2048"):
        await checked(dpop_over(), proof("RS256", header={"jwk": small}))
    with pytest.raises(InvalidProofError):
        await checked(dpop_over(), proof("RS256", header={"jwk": {**RSAKey.generate_key(2048).as_dict(), "d": "AQ"}}))


async def test_an_algorithm_that_is_not_taken_here_is_refused() -> None:
    with pytest.raises(InvalidProofError, match="algorithm"):
        await checked(dpop_over(algorithms=["EdDSA"]), proof("ES256"))


async def test_a_changed_signature_or_body_is_refused() -> None:
    text = proof()
    head, body, signature = text.split(".")
    for changed in (f"{head}.{body}.{signature[:-2]}AA", f"{head}.{body}.", f"{head}.{b64(b'{}')}.{signature}"):
        with pytest.raises(InvalidProofError):
            await checked(dpop_over(), changed)


async def test_a_proof_is_bound_to_its_access_token_and_to_the_key_of_that(backend: Backend) -> None:
    dpop = dpop_over(backend.open())
    token = token_of(cnf={"jkt": thumbprint_of("ES256")})
    await checked(dpop, proof(ath=hash_of("abc")), token=token, access_token="abc")
    for text in (proof(), proof(ath=hash_of("abd")), proof("EdDSA", ath=hash_of("abc")), proof(ath="é")):
        with pytest.raises(InvalidProofError):
            await checked(dpop, text, token=token, access_token="abc")
    with pytest.raises(InvalidProofError, match="bound to no key"):
        await checked(dpop, proof(ath=hash_of("abc")), token=token_of(), access_token="abc")


async def test_a_proof_is_good_once_on_all_instances(backend: Backend) -> None:
    here, elsewhere = dpop_over(backend.open()), dpop_over(backend.open())
    text = proof()
    await checked(here, text)
    for dpop in (here, elsewhere):
        with pytest.raises(InvalidProofError, match="used before"):
            await checked(dpop, text)
    # The ID is its client's own: another client may have the same.
    same = proof("EdDSA", jti="one"), proof("ES256", jti="one")
    for other in same:
        await checked(here, other)


@pytest.mark.parametrize("backend", [kind for kind in KINDS if kind != "memory"], indirect=True)
async def test_of_several_processes_exactly_one_takes_a_proof(backend: Backend, processes: Processes) -> None:
    proofs = [proof(htu="https://api.example/") for _ in range(20)]
    taken = await processes.race(backend.url, "tokens.use.racers:prove", proofs=proofs)
    assert [sum(each) for each in zip(*taken, strict=True)] == [1] * 20


async def test_a_proof_is_remembered_for_as_long_as_it_would_be_taken() -> None:
    clock, store_clock = Clock(), Clock()
    dpop = dpop_over(MemoryStore(now=store_clock), now=clock, window_s=60, leeway_s=5)
    # From a client whose clock is ahead, to an instance whose clock is behind.
    text = proof(iat=int(clock.time_s) + 4)
    await checked(dpop, text)
    clock.time_s += 68
    store_clock.time_s += 68
    with pytest.raises(InvalidProofError, match="used before"):
        await checked(dpop, text)


@settings(max_examples=200, deadline=None)
@given(
    window_s=st.floats(1, 120),
    leeway_s=st.sampled_from([0.0, 5.0]) | st.floats(0, 60),
    off_s=st.tuples(*[st.floats(-CLOCKS_S / 2, CLOCKS_S / 2)] * 3),
    presented=st.lists(st.tuples(st.integers(0, 2), st.booleans(), st.floats(0, 2)), min_size=2, max_size=6),
    with_nonce=st.booleans(),
)
def test_no_proof_is_good_twice_where_the_clocks_of_instances_differ(
    window_s: float,
    leeway_s: float,
    off_s: tuple[float, float, float],
    presented: list[tuple[int, bool, float]],
    with_nonce: bool,
) -> None:
    """The store's clock is right, and each instance's is off by up to half of what two may differ by.

    The proof is presented soon after an instance begins to take it, and soon before it ends to, by its own clock.
    """
    true = Clock()
    store = MemoryStore(now=true)

    def off(seconds: float) -> Callable[[], float]:
        return lambda: true() + seconds

    secret = SECRET if with_nonce else None
    settings = {"window_s": window_s, "leeway_s": leeway_s, "nonce_secret": secret, "nonce_ttl_s": 3600}
    instances = [dpop_over(store, now=off(seconds), **settings) for seconds in off_s]
    made_at = true() + 200
    text = proof("EdDSA", iat=made_at, nonce=instances[0].nonce())
    begins_s, ends_s = -leeway_s, window_s + leeway_s
    moments = sorted(
        (made_at + (begins_s + seconds if early else ends_s - seconds) - off_s[number], number)
        for number, early, seconds in presented
    )

    async def taken() -> int:
        count = 0
        for true.time_s, number in moments:
            with contextlib.suppress(InvalidProofError):
                await checked(instances[number], text)
                count += 1
        return count

    assert asyncio.run(taken()) <= 1


async def test_a_proof_from_a_client_ahead_is_good_once_at_an_instance_two_seconds_behind() -> None:
    true = Clock()
    true.time_s = float(int(true.time_s))
    store = MemoryStore(now=true)
    ahead, behind = (dpop_over(store, now=lambda off_s=off_s: true() + off_s, leeway_s=5) for off_s in (1.0, -1.0))
    text = proof(iat=int(true.time_s) + 6)
    await checked(ahead, text)
    true.time_s += 6 + 60 + 5 + 0.5
    with pytest.raises(InvalidProofError, match="used before"):
        await checked(behind, text)


async def test_a_nonce_from_further_ahead_than_clocks_differ_is_none_of_ours() -> None:
    clock, ahead = Clock(), Clock()
    here, elsewhere = (dpop_over(nonce_secret=SECRET, now=now) for now in (clock, ahead))
    ahead.time_s = clock.time_s + CLOCKS_S
    await checked(here, proof(nonce=elsewhere.nonce()))
    ahead.time_s += 3600
    with pytest.raises(UseNonceError):
        await checked(here, proof(nonce=elsewhere.nonce()))


async def test_a_nonce_of_ours_is_asked_for_where_there_is_a_secret_and_any_instance_takes_it() -> None:
    clock, store = Clock(), MemoryStore()
    here, elsewhere = (dpop_over(store, nonce_secret=SECRET, now=clock) for _ in range(2))
    nonce = here.nonce()
    assert nonce is not None
    for wrong in (None, "", "x", "é", nonce[:-1], nonce[:-2] + "AA", "A" * 300):
        with pytest.raises(UseNonceError) as caught:
            await checked(elsewhere, proof(nonce=wrong))
        assert caught.value.code == "use_dpop_nonce"
    assert (await checked(elsewhere, proof(nonce=nonce))).next_nonce is None
    clock.time_s += 200
    renewed = (await checked(elsewhere, proof(nonce=nonce, iat=int(clock.time_s)))).next_nonce
    assert renewed not in (None, nonce)
    clock.time_s += 101
    with pytest.raises(UseNonceError):
        await checked(here, proof(nonce=nonce, iat=int(clock.time_s)))
    await checked(here, proof(nonce=renewed, iat=int(clock.time_s)))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://API.example/x", "https://api.example:443/x?q=1#f"),
        ("https://api.example", "https://api.example/"),
        ("https://api.example/a%7eb", "https://api.example/a~b"),
        ("https://api.example/a%2fb", "https://api.example/a%2Fb"),
        ("https://[::1]:443/", "https://[::1]/"),
        ("https://api.example/é", None),
        ("https://api.example/a\nb", None),
        ("https://api.example:99999/", None),
        ("ftp://api.example/", None),
    ],
)
def test_urls_are_compared_in_their_normal_form(one: str, other: str | None) -> None:
    assert normalised(one) == (None if other is None else normalised(other))


async def test_behind_a_proxy_that_strips_a_prefix_the_url_is_that_of_the_client() -> None:
    dpop = dpop_over(base_url=["https://www.example/api/", "https://api.example"])
    await checked(dpop, proof(htu="https://www.example/api/orders"))
    await checked(dpop, proof(htu="https://api.example/orders"))
    with pytest.raises(InvalidProofError):
        await checked(dpop, proof(htu="https://www.example/orders"))


@settings(max_examples=200, deadline=None)
@given(st.text() | st.binary().map(b64) | st.lists(st.binary().map(b64), max_size=4).map(".".join))
def test_no_text_raises_anything_but_our_own_error(text: str) -> None:
    with pytest.raises(InvalidProofError):
        asyncio.run(checked(dpop_over(nonce_secret=SECRET), text))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
PIECES = st.dictionaries(st.sampled_from(["typ", "alg", "jwk", "jti", "htm", "htu", "iat", "ath", "nonce"]), JSON)
JWKS = st.dictionaries(
    st.sampled_from(["kty", "crv", "x", "y", "n", "e", "d", "k"]),
    st.sampled_from(["EC", "OKP", "RSA", "P-256", "Ed25519", "AQAB", "AA", "", "é", "\ud800", b64(b"\xff" * 256)])
    | JSON,
)


@settings(max_examples=300, deadline=None)
@given(PIECES, PIECES, JWKS, st.sampled_from([*KNOWN, "none"]), st.booleans())
def test_no_parts_of_a_proof_raise_anything_but_our_own_error(
    head: dict[str, Any], body: dict[str, Any], jwk: dict[str, Any], algorithm: str, whole: bool
) -> None:
    if whole:
        head = {**head, "typ": "dpop+jwt", "alg": algorithm, "jwk": jwk}
        body = {"jti": "x", "htm": "GET", "htu": "https://api.example/orders", "iat": 0, **body}
    text = ".".join([b64(json.dumps(head).encode()), b64(json.dumps(body).encode()), b64(b"\1" * 64)])
    with pytest.raises(InvalidProofError):
        read_proof(text, KNOWN)


def test_several_instances_can_not_remember_proofs_in_one_process() -> None:
    with pytest.raises(PostureError, match="memory:"):
        DPoP(MemoryStore(), base_url="https://api.example", instances=2)


@pytest.mark.parametrize(
    "wrong",
    [
        {"base_url": "api.example"},
        {"base_url": []},
        {"base_url": "https://api.example/?x"},
        {"algorithms": ["HS256"]},
        {"algorithms": []},
        {"algorithms": "ES256"},
        {"window_s": 0},
        {"nonce_secret": "short"},
    ],
)
def test_settings_that_can_not_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingError):
        dpop_over(**wrong)
