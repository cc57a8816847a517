"""URLs that name a home: `redis://user:secret@host:6379/0?timeout_s=1`."""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from fungible.core.errors import SettingError
from fungible.core.redaction import redacted

HALF_ENCODED: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
OF_FILES: Final = ("sqlite", "file")
"""Schemes of URLs that have no login, and whose paths may have any character."""
ENCODE: Final = "percent-encode what stands in a password or a name: / as %2F, ? as %3F, # as %23, @ as %40, % as %25"


class HomeURL(NamedTuple):
    """The parts of a URL that names a home, percent-decoded."""

    scheme: str
    username: str | None
    password: str | None
    hosts: tuple[tuple[str, int | None], ...]
    """Host and port each; several for what runs on many servers."""
    path: str
    """What follows the hosts, without its leading slash."""
    options: Mapping[str, str]

    def __repr__(self) -> str:
        # Options may be secrets, too: `sentinel_password`.
        return redacted(self, "username", "password", "options")

    @property
    def redacted(self) -> str:
        """The URL for messages and logs: no user name, no password, no options."""
        hosts = ",".join(f"{_bracketed(host)}:{port}" if port else _bracketed(host) for host, port in self.hosts)
        if not hosts and self.scheme.endswith("+unix"):
            return f"{self.scheme}:///{self.path}"
        if not hosts:
            return f"{self.scheme}:{self.path}"
        return f"{self.scheme}://{hosts}/{self.path}".removesuffix("/")

    def socket_path(self) -> str:
        """The Unix socket that a URL of a scheme such as `redis+unix` names.

        Raises:
            SettingError: it names none, or a host.
        """
        if self.hosts or not self.path:
            raise SettingError(
                f"{self.redacted}: the path of a Unix socket was expected, behind three slashes: "
                f"{self.scheme}:///run/server.sock"
            )
        return f"/{self.path}"

    def option(self, name: str, default: str, *, allowed: tuple[str, ...] = ()) -> str:
        """An option's text; `allowed` lists what it may say.

        Raises:
            SettingError: it says something else.
        """
        value = self.options.get(name, default)
        if allowed and value not in allowed:
            raise SettingError(f"{self.redacted}: the option {name}={value!r} can be {' or '.join(allowed)}")
        return value

    def seconds(self, name: str, default: float) -> float:
        """An option that is a time in seconds.

        Raises:
            SettingError: it is no number above 0.
        """
        text = self.options.get(name)
        if text is None:
            return default
        try:
            value = float(text)
        except ValueError:
            value = 0.0
        if not 0 < value < float("inf"):
            raise SettingError(f"{self.redacted}: the option {name}={text!r} must be a number of seconds above 0")
        return value

    def refuse_options_but(self, *known: str) -> None:
        """Refuses an option that nothing reads: most likely it is misspelt, and would be missed.

        Raises:
            SettingError: there is one that is not in `known`.
        """
        unknown = sorted(set(self.options) - set(known))
        if unknown:
            raise SettingError(
                f"{self.redacted}: there is no option {unknown[0]!r}; there are: {', '.join(sorted(known)) or 'none'}"
            )


def parse_home_url(text: str) -> HomeURL:
    """Takes a URL apart.

    Raises:
        SettingError: `text` is no URL, or can be read in two ways, since a password in it is not percent-encoded. The
            message never holds any part of it but the scheme.
    """
    if any(mark in text.strip() for mark in "\t\r\n"):
        # urlsplit passes over them, and a password would be another one.
        raise SettingError(f"there is a tab or a line break within the URL: {ENCODE}")
    try:
        parts = urlsplit(text)
    except ValueError:
        # The words of urlsplit may quote the login.
        raise SettingError(
            f"a URL such as redis://localhost was expected; this one can't be taken apart: {ENCODE}"
        ) from None
    if not parts.scheme:
        raise SettingError("a URL with a scheme was expected, such as redis://localhost, sqlite:///data.db or memory:")
    if not parts.netloc and "@" in parts.path and not text.startswith(f"{parts.scheme}:///"):
        raise SettingError(f"{parts.scheme}: the login and the host must follow two slashes: {parts.scheme}://…")
    _refuse_ambiguity(parts)
    login, _, hosts = parts.netloc.rpartition("@")
    username, _, password = login.partition(":")
    return HomeURL(
        scheme=parts.scheme,
        username=unquote(username) or None,
        password=unquote(password) or None,
        hosts=tuple(_host(part, parts.scheme) for part in hosts.split(",") if part),
        path=unquote(parts.path[1:] if parts.netloc or text.startswith(f"{parts.scheme}:///") else parts.path),
        options=dict(parse_qsl(parts.query, keep_blank_values=True)),
    )


def _refuse_ambiguity(parts: SplitResult) -> None:
    """Refuses what another reader may take for another host, or for another file.

    Source: RFC 3986 section 3.2: the authority ends at the first "/", "?" or "#", also within what was meant as a password.
    """
    if parts.scheme not in OF_FILES and "@" in f"{parts.path}{parts.query}{parts.fragment}":
        raise SettingError(f"{parts.scheme}: an @ stands behind the host's place: {ENCODE}")
    if parts.fragment:
        raise SettingError(f"{parts.scheme}: a # stands in the URL, and nothing reads what follows it: {ENCODE}")
    if HALF_ENCODED.search(parts.netloc.rpartition("@")[0]):
        raise SettingError(f"{parts.scheme}: a % in the login is not followed by two hexadecimal digits: {ENCODE}")


def _host(text: str, scheme: str) -> tuple[str, int | None]:
    try:
        parts = urlsplit(f"//{text}")
        return unquote(parts.hostname or ""), parts.port
    except ValueError:
        # Not quoted: where the "@" was left out it is user name and password.
        raise SettingError(f"{scheme}: a host must be name, name:port, 1.2.3.4:port or [::1]:port") from None


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
