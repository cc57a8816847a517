"""Judging one value: was it made by a machine, is it a plain word, is its key that of an identifier?"""

import base64
import binascii
import itertools
import re
import urllib.parse

_OPAQUE = re.compile(r"[A-Za-z0-9._~+/=:@%|$!*-]{8,}")
_ID_KEY = re.compile(
    r"(?:(?:^|[_\-.:])(?:id|pk|uuid|guid|key|number|slug|token|nonce|csrf|xsrf|code|ref)|token)$", re.IGNORECASE
)
_ID_CAMEL = re.compile(r"[a-z](?:Id|ID|Uuid|UUID|Key|Number|Slug|Nonce|Code|Ref)$")
_CAMEL_END = re.compile(r"(?<=[a-z])(?:Ids?|ID|Uuid|UUID|Pk|Key)$")
_WORD = re.compile(r"[a-z]+")
_NOT_VALUES = frozenset({"true", "false", "null", "none", "undefined", "on", "off", "yes", "no", "nan"})
_ID_ENDINGS = ("_id", "-id", "_pk", "_uuid", "_key")
_PEOPLE = frozenset({"user", "account", "member", "person", "people", "profile", "customer", "me"})
_JOINING = frozenset({"register", "registration", "signup", "sign-up", "login", "signin", "sign-in", "auth", "session"})


def is_opaque(value: str) -> bool:
    """True where only a machine would write this: an identifier, a token, a digest, a time stamp."""
    if not _OPAQUE.fullmatch(value):
        return False
    digit = any(c.isdigit() for c in value)
    letter = any(c.isalpha() for c in value)
    if digit and letter:
        return True
    if digit:
        return len(value) >= 12 and value.isdigit()
    changes = sum(a.islower() != b.islower() for a, b in itertools.pairwise(value))
    return len(value) >= 16 and changes >= len(value) // 4


def is_plain_word(value: str) -> bool:
    """True for what any page may hold by chance: `admin`, `welcome`."""
    return len(value) < 12 and _WORD.fullmatch(value) is not None


def is_no_value(value: str) -> bool:
    """True for what never identifies anything: booleans, nothing, the address of a page that is always there."""
    if value.startswith("/") and not re.search(r"[?&=]", value):
        return not any(varies(urllib.parse.unquote(part)) for part in value.split("/"))
    return not value.strip() or value.lower() in _NOT_VALUES


def is_id_key(key: str) -> bool:
    """True for keys under which identifiers stand: `id`, `order_id`, `orderId`, `access_token`."""
    return _ID_KEY.search(key) is not None or _ID_CAMEL.search(key) is not None


def varies(segment: str) -> bool:
    """True for a path segment that is an identifier rather than a name: `17`, `a3f2`, a UUID; not `v1`."""
    return (
        is_opaque(segment)
        or segment.isdigit()
        or (any(c.isdigit() for c in segment) and re.fullmatch(r"v\d+(?:\.\d+)*", segment) is None)
    )


def stem(word: str) -> str:
    """A word without its plural and without `_id`: `Categories` and `category_id` meet in `category`."""
    for ending in _ID_ENDINGS:
        word = word.removesuffix(ending)
    word = _CAMEL_END.sub("", word).lower()
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "xes", "ches", "shes")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") and len(word) > 3 else word


def stems_of_path(path: str) -> frozenset[str]:
    """The stems of the names in a path; where people join, those for people too."""
    names = [urllib.parse.unquote(part) for part in path.partition("?")[0].split("/")]
    stems = {stem(name) for name in names if name and not varies(name)}
    if stems & (_PEOPLE | _JOINING):
        stems |= _PEOPLE
    return frozenset(stems)


def from_base64(value: str) -> str | None:
    """The plain text that a base64 value holds; None where it holds none."""
    if len(value) < 12 or re.fullmatch(r"[A-Za-z0-9+/_-]+={0,2}", value) is None:
        return None
    try:
        # As template.captured undoes it: the alphabet is known by what stands in the value.
        url_safe = re.search(r"[-_]", value) is not None
        text = base64.b64decode(value + "=" * (-len(value) % 4), altchars=b"-_" if url_safe else None).decode("ascii")
    except (binascii.Error, ValueError):
        return None
    return text if len(text) >= 6 and text.isprintable() else None
