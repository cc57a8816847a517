"""From where a request came: nobody chooses their own address, whatever they send."""

import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from limit_asking import application, ask, limit_of

from fungible.core.errors import SettingError
from fungible.limits import by_address, client_address
from fungible.limits.addresses import Addresses
from fungible.limits.forwarded import MOST_HOPS, hops_of_forwarded, hops_of_list

PROXY, CLIENT = "10.0.0.1", "198.51.100.7"
TRUSTED = ("10.0.0.0/8", "fd00::/8")


def scope_of(peer: str | None, *lines: str, name: str = "x-forwarded-for") -> dict[str, Any]:
    headers = [(name.encode(), line.encode("latin-1")) for line in lines]
    return {"client": None if peer is None else (peer, 1234), "headers": headers}


def seen(*lines: str, peer: str | None = PROXY, trusted: tuple[str, ...] = TRUSTED) -> str:
    return Addresses(trusted).address(scope_of(peer, *lines))


def test_without_trusted_proxies_headers_are_nothing() -> None:
    assert seen("203.0.113.5", trusted=()) == PROXY


def test_a_peer_that_is_not_trusted_is_the_client_whatever_it_sends() -> None:
    assert seen("203.0.113.5", peer=CLIENT) == CLIENT


def test_behind_a_trusted_proxy_it_is_what_that_has_seen() -> None:
    assert seen(CLIENT) == CLIENT
    assert seen() == PROXY


@pytest.mark.parametrize("forged", ["203.0.113.5", "10.9.9.9", "127.0.0.1, 203.0.113.5", "x", "", ",,,", "[::1"])
def test_what_the_client_has_sent_itself_is_not_looked_at(forged: str) -> None:
    assert seen(f"{forged}, {CLIENT}") == CLIENT
    assert seen(forged, CLIENT) == CLIENT
    assert seen(f"{forged}, {CLIENT}, 10.3.3.3") == CLIENT


@pytest.mark.parametrize(
    "junk", ["unknown", "_hidden", "999.1.1.1", "1.2.3", "0x7f.1", "127.1", "1.2.3.4:x:y", "x" * 9000, "\xe4"]
)
def test_what_cant_be_read_is_answered_for_by_the_nearest_that_is_known(junk: str) -> None:
    assert seen(junk) == PROXY
    assert seen(f"{CLIENT}, {junk}") == PROXY
    assert seen(f"{CLIENT}, {junk}, 10.3.3.3") == "10.3.3.3"


def test_where_all_are_trusted_it_began_at_the_first() -> None:
    assert seen("10.3.3.3, 10.2.2.2") == "10.3.3.3"


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("198.51.100.7:4711", CLIENT),
        ("2001:db8::7", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("[2001:db8::7]:4711", "2001:db8::7"),
        ("2001:DB8:0:0::7", "2001:db8::7"),
        ("fe80::7%eth0", "fe80::7"),
        ("::ffff:198.51.100.7", CLIENT),
        ("[::ffff:c633:6407]:80", CLIENT),
        ("[2001:db8::7]x", PROXY),
        ("[2001:db8::7", PROXY),
    ],
)
def test_addresses_are_written_in_many_ways_and_are_one(written: str, address: str) -> None:
    assert seen(written) == address


def test_a_trusted_proxy_may_be_written_as_ipv4_within_ipv6() -> None:
    assert seen(CLIENT, peer="::ffff:10.0.0.1") == CLIENT


def test_who_connects_over_a_unix_socket_is_trusted_only_if_that_is_said() -> None:
    assert seen(CLIENT, peer=None) == "unix"
    assert seen(CLIENT, peer="") == "unix"
    assert seen(CLIENT, peer=None, trusted=("unix",)) == CLIENT
    assert seen("junk", peer=None, trusted=("unix",)) == "unix"


def test_a_name_that_a_test_client_gives_is_taken_as_it_is() -> None:
    assert seen(CLIENT, peer="testclient") == "testclient"


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("for=198.51.100.7", CLIENT),
        ('For="198.51.100.7:4711";proto=https;by=10.0.0.1', CLIENT),
        ('for="[2001:db8::7]:4711"', "2001:db8::7"),
        ("for=203.0.113.5, for=198.51.100.7", CLIENT),
        ("proto=https;for=198.51.100.7 , for=10.2.2.2", CLIENT),
        # A quote that the client has left open does not swallow what the proxy wrote.
        ('for="203.0.113.5, for=198.51.100.7', CLIENT),
        ('for="203.0.113.5\\, for=198.51.100.7', CLIENT),
        ('x="", for="198.51.100.7"', CLIENT),
        ('secret="a, b;for=203.0.113.5", for=198.51.100.7', CLIENT),
        ("for=unknown", PROXY),
        ("for=_hidden", PROXY),
        ("for=198.51.100.7;for=203.0.113.5", PROXY),
        ('for="198.51.100.7', PROXY),
        ('for="198.51.100\\.7"', PROXY),
        ("proto=https", PROXY),
        ("198.51.100.7", PROXY),
    ],
)
def test_forwarded_is_read_as_rfc_7239_says(written: str, address: str) -> None:
    found = Addresses(TRUSTED, proxy_header="forwarded").address(scope_of(PROXY, written, name="forwarded"))
    assert found == address


def test_only_the_header_that_was_named_is_read() -> None:
    assert Addresses(TRUSTED).address(scope_of(PROXY, "for=203.0.113.5", name="forwarded")) == PROXY
    forwarded = Addresses(TRUSTED, proxy_header="forwarded")
    assert forwarded.address(scope_of(PROXY, "203.0.113.5")) == PROXY


def test_an_endless_header_is_read_from_the_right_and_not_far() -> None:
    assert len(list(hops_of_list("10.0.0.1," * 100_000))) == MOST_HOPS
    assert len(list(hops_of_forwarded("for=10.0.0.1," * 100_000))) == MOST_HOPS
    assert len(list(hops_of_forwarded('",' * 100_000))) <= MOST_HOPS


@given(st.text(string.printable + "ä", max_size=200), st.sampled_from(["x-forwarded-for", "forwarded"]))
def test_whatever_comes_before_a_hop_of_ours_changes_nothing(before: str, name: Any) -> None:
    hop = CLIENT if name == "x-forwarded-for" else f"for={CLIENT}"
    addresses = Addresses(TRUSTED, proxy_header=name)
    assert addresses.address(scope_of(PROXY, f"{before},{hop}", name=name)) == CLIENT
    assert addresses.address(scope_of(PROXY, before, hop, name=name)) == CLIENT


@given(st.text(string.printable, max_size=300), st.sampled_from(["x-forwarded-for", "forwarded"]))
def test_whatever_is_sent_there_is_an_address(text: str, name: Any) -> None:
    assert Addresses(TRUSTED, proxy_header=name).address(scope_of(PROXY, text, name=name))


@pytest.mark.parametrize(
    ("prefix", "same"),
    [(64, {"2001:db8:1:2::1", "2001:db8:1:2:ffff::1"}), (48, {"2001:db8:1:2::1", "2001:db8:1:9::1"})],
)
def test_who_shares_an_ipv6_network_shares_a_limit(prefix: int, same: set[str]) -> None:
    addresses = Addresses((), ipv6_prefix=prefix)
    assert len({addresses.key(scope_of(each)) for each in same}) == 1
    assert len({addresses.key(scope_of(each)) for each in {*same, "2001:db8:2::1"}}) == 2


def test_ipv4_addresses_are_told_apart_in_whatever_form() -> None:
    keys = [Addresses().key(scope_of(each)) for each in ("192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2")]
    assert keys == ["192.0.2.1", "192.0.2.1", "192.0.2.2"]


async def test_functions_of_ones_own_find_the_same_address() -> None:
    found: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        found.append(client_address(scope))

    limited = application(limit_of(1, by=lambda scope: by_address(scope)), app=app, trusted_proxies=TRUSTED)
    for client in ("203.0.113.5", "203.0.113.6"):
        await ask(limited, client=(PROXY, 1), headers={"X-Forwarded-For": client})
    assert found == ["203.0.113.5", "203.0.113.6"]
    refused = await ask(limited, client=(PROXY, 1), headers={"X-Forwarded-For": "203.0.113.6"})
    assert refused.status == 429


@pytest.mark.parametrize("trusted", [("10.0.0.1/8",), ("proxy",), ("10.0.0.0/33",), ("",)])
def test_a_network_that_is_none_is_refused(trusted: tuple[str, ...]) -> None:
    with pytest.raises(SettingError, match="trusted_proxies"):
        Addresses(trusted)


def test_one_network_alone_must_be_several() -> None:
    with pytest.raises(SettingError, match="must be several"):
        Addresses("10.0.0.0/8")


@pytest.mark.parametrize("options", [{"proxy_header": "x-real-ip"}, {"ipv6_prefix": 0}, {"ipv6_prefix": 129}])
def test_other_settings_that_cant_be_taken_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(SettingError):
        Addresses((), **options)
