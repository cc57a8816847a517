"""What can be seen of where an instance keeps things: files written, stores connected, the form of cookies and tokens."""

import base64
import json
import re
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fungible.check.http.jar import read_set_cookie
from fungible.check.instances.starter import Instance
from fungible.check.runs.runner import Move, Trace
from fungible.check.runs.world import World
from fungible.check.witness.files import holds_sent, holds_session, holds_upload, purpose, sent_by

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
    ("encrypted by Rails", r"[\w%+/=-]+--[\w%+/=-]{16,}--[\w%+/=-]{20,}"),
    ("signed as Rack and Rails do", r"[\w%+/=-]+--[\w%+/=-]{20,}"),
)


@dataclass
class Traces:
    """What instances left behind in a run. `files` may matter; `hidden` are those that serve another purpose."""

    files: list[str] = field(default_factory=list[str])
    contents: list[tuple[str, Path]] = field(default_factory=list[tuple[str, Path]])
    hidden: dict[str, str] = field(default_factory=dict[str, str])
    """One file for each purpose, such as `logs`, that no visitor could miss."""
    stores: list[str] = field(default_factory=list[str])


@dataclass
class Look:
    """What was seen in one run of a witness: at the instances that came before, and at the one that was asked last."""

    moves: Sequence[Move]
    left: Traces = field(default_factory=Traces)
    reader: Traces = field(default_factory=Traces)
    upload: str | None = None
    session_file: str | None = None
    data_file: str | None = None
    """A file beside the session's that holds what a step sent."""

    def __call__(self, world: World, trace: Trace) -> None:
        """Looks, before the instances end."""
        steps = [move.step if trace.renames is None else trace.renames.apply(move.step) for move in self.moves]
        last = self.moves[-1].slot
        earlier = {move.slot for move in self.moves[:-1]} - {last} or {last}
        sent = [piece for step in steps for piece in sent_by(step, trace.values)]
        for slots, seen in ((earlier, self.left), ({last}, self.reader)):
            for slot in sorted(slots):
                instance = world.instances.get(slot)
                if instance is not None:
                    _add_traces(seen, instance, instance.address.port, sent)
        self.upload = holds_upload(steps, self.left.contents, trace.values)
        self.session_file = holds_session(cookies_set(trace).values(), self.left.contents)
        if self.session_file is not None:
            self.data_file = holds_sent(steps, self.left.contents, trace.values, beside=self.session_file)


def _add_traces(found: Traces, instance: Instance, own_port: int, sent: Sequence[bytes]) -> None:
    """Adds the files an instance wrote since it was ready to start, and the servers it is connected to."""
    if instance.disk is not None:
        for written in instance.disk.written():
            name = str(written.path)
            if not written.host.is_file():
                continue
            why = purpose(name, written.host, sent)
            if why is not None:
                found.hidden.setdefault(why, f"{name} ({written.size} bytes)")
            else:
                found.files.append(f"{name} ({written.size} bytes)")
                found.contents.append((name, written.host))
    if instance.process is not None:
        for host, port in sorted(set(instance.process.connections())):
            if port != own_port and port in _STORES:
                found.stores.append(f"{_STORES[port]} at {host}:{port}")
            elif port != own_port and port < 32768:
                found.stores.append(f"a server at {host}:{port}")


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
