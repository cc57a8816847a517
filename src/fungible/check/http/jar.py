"""The cookies of one visitor, without ports: what a browser behind one load balancer would hold (RFC 6265)."""

import email.utils
import re
import time
from dataclasses import dataclass, field


@dataclass(frozen=True)
class SetCookie:
    """One Set-Cookie header, read as section 5.2 says; attribute names in lower case."""

    name: str
    value: str
    attributes: dict[str, str]

    @property
    def deletes(self) -> bool:
        """True where the cookie is gone as soon as it arrives."""
        max_age = self.attributes.get("max-age", "")
        if re.fullmatch(r"-?[0-9]+", max_age):
            return max_age.startswith("-") or not max_age.strip("0")
        try:
            at = email.utils.parsedate(self.attributes.get("expires", "")[:64])
        except (ValueError, TypeError, IndexError):
            return False
        # Field by field: no year is too early or too late to be compared.
        return at is not None and at[:6] <= tuple(time.gmtime())[:6]


def read_set_cookie(header: str) -> SetCookie | None:
    """The cookie of a Set-Cookie header; None where there is no name (section 5.2, step 5). Quotes are part of the value."""
    first, *rest = header.split(";")
    name, equals, value = first.partition("=")
    if not equals or not name.strip():
        return None
    attributes: dict[str, str] = {}
    for part in rest:
        key, _, text = part.partition("=")
        if key.strip():
            attributes[key.strip().lower()] = text.strip()
    return SetCookie(name.strip(), value.strip(), attributes)


def path_of(target: str) -> str:
    """The path of a request target, without query; `/` where it has none (section 5.1.4)."""
    if not target.startswith("/"):
        parts = target.partition("://")
        target = "/" + parts[2].partition("/")[2] if parts[1] else "/"
    return target.partition("?")[0].partition("#")[0]


@dataclass
class Jar:
    """Cookies by name and path. Domain and Secure are ignored: every request goes to the one application."""

    _cookies: dict[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])

    def set(self, name: str, value: str, path: str = "/") -> None:
        """Puts a cookie as if an answer had set it."""
        self._cookies[name, path] = value

    def take(self, header: str, request_path: str) -> None:
        """Applies one Set-Cookie header that came for a request to `request_path`."""
        cookie = read_set_cookie(header)
        if cookie is None:
            return
        path = cookie.attributes.get("path", "")
        if not path.startswith("/"):
            path = path_of(request_path).rpartition("/")[0] or "/"
        if cookie.deletes:
            self._cookies.pop((cookie.name, path), None)
        else:
            self._cookies[cookie.name, path] = cookie.value

    def header(self, request_path: str) -> str:
        """The Cookie header for a request, longest paths first (section 5.4); empty where nothing applies."""
        path = path_of(request_path)
        fitting = [(len(at), name, value) for (name, at), value in self._cookies.items() if _matches(path, at)]
        fitting.sort(key=lambda row: -row[0])
        return "; ".join(f"{name}={value}" for _, name, value in fitting)

    def get(self, name: str) -> str | None:
        """A cookie's value, whatever its path."""
        return next((value for (key, _), value in self._cookies.items() if key == name), None)

    def copy(self) -> "Jar":
        """A jar of its own with the same cookies."""
        return Jar(dict(self._cookies))


def _matches(path: str, at: str) -> bool:
    """Path matching (section 5.1.4)."""
    return path == at or (path.startswith(at) and (at.endswith("/") or path[len(at) : len(at) + 1] == "/"))
