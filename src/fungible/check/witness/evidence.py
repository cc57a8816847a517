"""What can be seen of where an instance keeps things: files written, stores connected, the form of cookies and tokens."""

import base64
import contextlib
import json
import re
import urllib.parse
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fungible.check.http.client import to_bytes
from fungible.check.http.jar import read_set_cookie
from fungible.check.http.template import UnboundError, fill
from fungible.check.instances.starter import Instance
from fungible.check.model import Step
from fungible.check.runs.runner import Trace
from fungible.check.runs.world import World

_STORES = {
    3306: "MySQL or MariaDB",
    5432: "PostgreSQL",
    6379: "Redis",
    11211: "Memcached",
    27017: "MongoDB",
    5672: "RabbitMQ",
    9092: "Kafka",
    9200: "Elasticsearch",
    1433: "SQL Server",
    1521: "Oracle",
    4222: "NATS",
    2379: "etcd",
}
_SESSION_COOKIES = re.compile(
    r"^(?:__Host-|__Secure-)?(connect\.sid|phpsessid|jsessionid|asp\.net_sessionid|laravel_session|_?\w*session\w*|\w*_?sess|sid|\w*sid)$",
    re.IGNORECASE,
)
_STICKY = re.compile(
    r"^(SERVERID|SRV|ROUTEID|AWSALB(CORS|TG|TGCORS)?|BIGipServer.*|INGRESSCOOKIE|route|ARRAffinity(SameSite)?|GCLB|stickysession|lb|X-Oracle-BMC-LBS-Route|KP_UIDz.*|hazelcast.*)$",
    re.IGNORECASE,
)
_SIGNED: tuple[tuple[str, str], ...] = (
    ("a PASETO", r"v[1-4]\.(local|public)\.[\w-]+(\.[\w-]+)?"),
    ("a Fernet token", r"gAAAA[\w=-]{60,}"),
    ("signed by Django", r"[\w.=-]+:[\w-]{6}:[\w-]{27,}"),
    ("signed by itsdangerous", r"[\w.=-]*[\w=-]+\.[\w-]{6,7}\.[\w-]{27,}"),
    ("signed by Rails", r"[\w%+/=-]+--[\w%+/=-]{20,}"),
)
_DULL = re.compile(r"(\.log|\.pid|\.lock|~|\.swp|\.tmp|-shm)$|/(\.cache|__pycache__|\.npm|\.config|node_modules)/")


@dataclass
class Traces:
    """What one instance left behind in a run."""

    files: list[str] = field(default_factory=list[str])
    contents: list[tuple[str, Path]] = field(default_factory=list[tuple[str, Path]])
    stores: list[str] = field(default_factory=list[str])


@dataclass
class Look:
    """What was seen in one run of a witness: at the instance that was written to, and at the one that was asked."""

    writer: Step
    reader_slot: int
    left: Traces = field(default_factory=Traces)
    reader: Traces = field(default_factory=Traces)
    upload: str | None = None
    session_file: str | None = None

    def __call__(self, world: World, trace: Trace) -> None:
        """Looks, before the instances end."""
        for slot, seen in ((0, self.left), (self.reader_slot, self.reader)):
            instance = world.instances.get(slot)
            if instance is not None:
                found = traces_of(instance, instance.address.port)
                seen.files, seen.contents, seen.stores = found.files, found.contents, found.stores
        writer = self.writer if trace.renames is None else trace.renames.apply(self.writer)
        self.upload = holds_upload(writer, self.left.contents, trace.values)
        self.session_file = holds_session(cookies_set(trace).values(), self.left.contents)


def traces_of(instance: Instance, own_port: int) -> Traces:
    """Files an instance wrote since it was ready to start, and servers it is connected to."""
    found = Traces()
    if instance.disk is not None:
        for written in instance.disk.written():
            name = str(written.path)
            if not _DULL.search(name) and written.host.is_file():
                found.files.append(f"{name} ({written.size} bytes)")
                found.contents.append((name, written.host))
    if instance.process is not None:
        for host, port in sorted(set(instance.process.connections())):
            if port != own_port and port in _STORES:
                found.stores.append(f"{_STORES[port]} at {host}:{port}")
            elif port != own_port and port < 32768:
                found.stores.append(f"a server at {host}:{port}")
    return found


def holds_upload(step: Step, contents: Iterable[tuple[str, Path]], values: Mapping[str, str]) -> str | None:
    """The name of a written file in which what the step uploaded, with its values in, stands; None where there is none."""

    def raw(encoded: str | None, text: str | None) -> bytes:
        if encoded is not None:
            return base64.b64decode(encoded)
        with contextlib.suppress(UnboundError):  # a value that was never given: then it was never sent either
            return to_bytes(fill(text or "", values))
        return b""

    sent = [raw(part.content_base64, part.content) for part in step.files]
    if not sent and step.method.upper() in {"PUT", "POST", "PATCH"} and (step.body or step.body_base64):
        kind = next((text for name, text in step.headers.items() if name.lower() == "content-type"), "")
        if not re.search(r"json|urlencoded|xml", kind):
            sent.append(raw(step.body_base64, step.body))
    pieces = [piece[:4096] for piece in sent]
    for name, path in contents:
        data = _start_of(path)
        if any(len(piece) >= 4 and piece in data for piece in pieces) and not data.startswith(b"SQLite format 3"):
            return name
    return None


def holds_session(cookies: Iterable[str], contents: Iterable[tuple[str, Path]]) -> str | None:
    """The name of a written file that is a session's: named after the visitor's cookie, or as session files are."""
    values = [urllib.parse.unquote(value) for value in cookies if len(value) >= 8]
    for name, _ in contents:
        last = Path(name).name
        if (
            any(value[:32] in last for value in values)
            or re.match(r"sess(ion)?[_-]", last, re.IGNORECASE)
            or re.search(r"/\.?(flask_)?sessions?/", name)
        ):
            return name
    return None


def _start_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(16 * 1024 * 1024)
    except OSError:
        return b""


def signed_form(value: str) -> str | None:
    """How a token or cookie is signed, going by its form; None where it is opaque."""
    value = urllib.parse.unquote(value).removeprefix("Bearer ").strip('"')
    if _is_jwt(value):
        return "a JSON Web Token"
    return next((name for name, pattern in _SIGNED if re.fullmatch(pattern, value)), None)


def _is_jwt(value: str) -> bool:
    """Three parts, of which the first is a JSON object with `alg` (RFC 7515 section 4.1.1): other signed forms begin alike."""
    head, _, rest = value.partition(".")
    if rest.count(".") != 1:
        return False
    try:
        document = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    except ValueError:
        return False
    return isinstance(document, dict) and "alg" in document


def is_session_cookie(name: str) -> bool:
    """True for the names that frameworks give to session cookies."""
    return _SESSION_COOKIES.match(name) is not None


def is_sticky_cookie(name: str, value: str) -> bool:
    """True for cookies that load balancers and clusters use to bind a visitor to one instance."""
    return _STICKY.match(name) is not None or (
        name.upper() == "JSESSIONID" and re.search(r"[.!][A-Za-z][\w-]*$", value) is not None
    )


def cookies_set(trace: Trace) -> dict[str, str]:
    """Cookies that answers of a run set: name to value."""
    found: dict[str, str] = {}
    for outcome in trace.outcomes:
        for name, text in outcome.answer.headers:
            cookie = read_set_cookie(text) if name.lower() == "set-cookie" else None
            if cookie is not None and cookie.value and not cookie.deletes:
                found[cookie.name] = cookie.value
    return found
