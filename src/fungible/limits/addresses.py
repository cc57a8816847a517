"""From which address a request came: the connection's own, or what a proxy that is trusted says of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, Literal, NamedTuple

from fungible.core.asgi import Scope, header
from fungible.core.errors import SettingError
from fungible.limits.forwarded import hops_of_forwarded, hops_of_list

ProxyHeader = Literal["x-forwarded-for", "forwarded"]
ADDRESSES: Final = "fungible.addresses"
"""Where the middleware leaves its `Addresses` in the ASGI scope."""
UNIX: Final = "unix"
"""Stands for who connects over a Unix socket, and has no address."""
REMEMBERED: Final = 4096
"""Addresses of which it is remembered what was made of them."""
_HOPS: Final[dict[str, Callable[[str], Iterator[str]]]] = {
    "x-forwarded-for": hops_of_list,
    "forwarded": hops_of_forwarded,
}


class Hop(NamedTuple):
    """One address on a request's way."""

    address: str
    key: str
    """Who shares a limit with it: for IPv6 its network, as one subscriber has all of that."""
    trusted: bool


class Addresses:
    """Finds the address of a request's client.

    Args:
        trusted: The proxies whose word is taken: networks, addresses, and `unix` for whoever connects over a Unix
            socket. All others are clients, whatever they send.
        proxy_header: The one header that is read. Never both: a proxy passes on what it does not write itself.
        ipv6_prefix: How many bits of an IPv6 address tell clients apart.
    Raises:
        SettingError: one of them can't be taken.
    """

    def __init__(
        self,
        trusted: Iterable[str] = (),
        *,
        proxy_header: ProxyHeader = "x-forwarded-for",
        ipv6_prefix: int = 64,
    ) -> None:
        if isinstance(trusted, str):
            raise SettingError(f"trusted_proxies={trusted!r} must be several: ({trusted!r},)")
        if proxy_header not in _HOPS:
            raise SettingError(f"proxy_header={proxy_header!r} must be 'x-forwarded-for' or 'forwarded'")
        if not 1 <= ipv6_prefix <= 128:
            raise SettingError(f"ipv6_prefix={ipv6_prefix!r} must be from 1 to 128 bits")
        names = tuple(trusted)
        self._networks = tuple(_network(name) for name in names if name != UNIX)
        self._trusts_anybody = bool(names)
        self._ipv6_shift = 128 - ipv6_prefix
        self._ipv6_prefix = ipv6_prefix
        self._header = proxy_header.encode()
        self._hops = _HOPS[proxy_header]
        self._unix = Hop(UNIX, UNIX, UNIX in names)
        self._hop = lru_cache(REMEMBERED)(self._judged)

    def address(self, scope: Scope) -> str:
        """The client's address: IPv4 or IPv6 as text, or `unix`."""
        return self._client(scope).address

    def key(self, scope: Scope) -> str:
        """Who shares a limit with the client: its IPv4 address, or its IPv6 network."""
        return self._client(scope).key

    def _client(self, scope: Scope) -> Hop:
        peer: tuple[str, int] | None = scope.get("client")
        host = peer[0] if peer else ""
        # A server that names its clients in its own way has its word taken for it.
        known = (self._hop(host) or Hop(host, host, trusted=False)) if host else self._unix
        if not self._trusts_anybody or not known.trusted:
            return known
        for text in self._hops(header(scope["headers"], self._header) or ""):
            hop = self._hop(text)
            # What can't be read was written by nobody we trust: the nearest that is known has to answer for it.
            if hop is None:
                break
            known = hop
            if not hop.trusted:
                break
        return known

    def _judged(self, text: str) -> Hop | None:
        address = _parsed(text)
        if address is None:
            return None
        trusted = any(address in network for network in self._networks if network.version == address.version)
        if isinstance(address, IPv4Address):
            return Hop(str(address), str(address), trusted)
        network = IPv6Address(int(address) >> self._ipv6_shift << self._ipv6_shift)
        return Hop(str(address), f"{network}/{self._ipv6_prefix}", trusted)


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    """The address, without its zone; one of IPv4 within IPv6 is one of IPv4 (RFC 4291 section 2.5.5.2)."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv4Address):
        return address
    return address.ipv4_mapped or IPv6Address(int(address))


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text)
    except ValueError as error:
        raise SettingError(
            f"trusted_proxies: {text!r} is no network, such as '10.0.0.0/8', nor 'unix': {error}"
        ) from None


_CONNECTION: Final = Addresses()
"""Trusts nobody: the connection's own address."""


def by_address(scope: Scope) -> str:
    """A limit for each client address, for IPv6 for each /64 (or as the middleware's `ipv6_prefix` says).

    Behind proxies the middleware must be told which to trust: else all clients share that of the proxy.
    """
    addresses: Addresses = scope.get(ADDRESSES, _CONNECTION)
    return addresses.key(scope)


def client_address(scope: Scope) -> str:
    """The client's address as the `LimitMiddleware` around this request sees it, for logs; `unix` where it has none."""
    addresses: Addresses = scope.get(ADDRESSES, _CONNECTION)
    return addresses.address(scope)
