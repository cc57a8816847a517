"""The addresses that proxies have written into a request, the nearest first.

Everything left of what our own proxies wrote was sent by the client and may be anything: it is read from the right, and
no further than it has to be.
Source: RFC 7239 (Forwarded), sections 4 to 6; X-Forwarded-For as its section 1 describes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

MOST_HOPS: Final = 32
"""What is further away is not looked at."""
LONGEST_NODE: Final = 64
"""Characters of an address with brackets, zone and port."""


def hops_of_list(value: str) -> Iterator[str]:
    """The entries of X-Forwarded-For, from right to left; "" for one that can't be an address."""
    for entry in reversed(value.rsplit(",", MOST_HOPS)[-MOST_HOPS:]):
        yield address_of(entry.strip(" \t"))


def hops_of_forwarded(value: str) -> Iterator[str]:
    """What `for=` says in the elements of Forwarded, from right to left; "" for one without an address."""
    rest: str | None = value
    for _ in range(MOST_HOPS):
        if rest is None:
            return
        rest, element = _last_element(rest)
        yield address_of(_node(element))


def _last_element(value: str) -> tuple[str | None, str]:
    """What stands before the last element, and that element. Commas within quotes part nothing."""
    before, comma, element = value.rpartition(",")
    # A quote that the client has left open must not swallow what our proxy wrote after it: this looks from the right.
    for _ in range(MOST_HOPS):
        if not comma or element.count('"') % 2 == 0:
            break
        before, comma, more = before.rpartition(",")
        element = f"{more},{element}"
    return (before if comma else None), element


def _node(element: str) -> str:
    """What the element says after `for=`, unquoted; "" if nothing, or more than one thing."""
    found = ""
    for pair in element.split(";"):
        name, _, value = pair.partition("=")
        if name.strip(" \t").lower() == "for":
            if found:
                return ""
            found = value.strip(" \t")
    if found.startswith('"'):
        return found[1:-1] if len(found) > 1 and found.endswith('"') and "\\" not in found else ""
    return found


def address_of(node: str) -> str:
    """The address without brackets and port: `[2001:db8::1]:443` is `2001:db8::1`; "" for what can't be one."""
    if len(node) > LONGEST_NODE:
        return ""
    if node.startswith("["):
        inside, bracket, port = node[1:].partition("]")
        return inside if bracket and (not port or _is_port(port)) else ""
    if node.count(":") == 1:
        host, _, port = node.partition(":")
        return host if _is_port(f":{port}") else ""
    return node


def _is_port(text: str) -> bool:
    # An obfuscated port, `_a1`, is as good as any: it isn't used (RFC 7239 section 6.2).
    return text.startswith(":") and 1 < len(text) <= 40 and text[1:].replace("_", "0").isalnum()
