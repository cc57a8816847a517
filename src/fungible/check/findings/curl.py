"""A request as a curl command that a person can run by hand."""

import re
import shlex

from fungible.check.http.client import Request
from fungible.check.model import Step
from fungible.check.runs.runner import Move

_OURS = frozenset(
    {"user-agent", "accept", "accept-encoding", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"}
)
"""Headers that we send of our own accord; where a step has one of them, it belongs to the request."""
_PLACED = frozenset({"host", "cookie", "content-length", "connection", "expect", "transfer-encoding"})
_MOST_BODY = 2000
_PARAMETER = re.compile(r'\b(name|filename)="([^"]*)"')


def curl(move: Move, request: Request, instance: str, host: str) -> str:
    """`curl -i -b ada.cookies -c ada.cookies -X POST "$A/login" -d 'name=ada'`; `$A` is the instance's URL.

    Captured values stand as they were sent in the run that is shown; cookies go through curl's own jar, one a visitor.
    """
    step = move.step
    own = {name.lower() for name in step.headers}
    words = ["curl", "-i", *_cookies(move, request, own)]
    if request.method == "HEAD":
        words.append("--head")  # with -X it would wait for a body that never comes
    elif request.method != "GET" or request.body:
        words += ["-X", request.method]
    words += ["-H", f"Host: {_header(request, 'host') or host}"]
    for name, text in request.headers:
        low = name.lower()
        if low in _PLACED or (low in _OURS and low not in own) or (step.files and low == "content-type"):
            continue
        words += ["-H", f"{name}: {text}" if text else f"{name};"]  # `Name:` would take the header away
    words += _body(step, request)
    if request.body and not step.files and _header(request, "content-type") is None:
        words += ["-H", "Content-Type:"]  # else curl calls every body a form
    if re.search(r"[\[\]{}]", request.target):
        words.append("--globoff")
    if "/." in request.target:
        words.append("--path-as-is")
    return " ".join(map(shlex.quote, words)) + " " + _url(instance, request.target)


def _header(request: Request, wanted: str) -> str | None:
    return next((text for name, text in request.headers if name.lower() == wanted), None)


def _cookies(move: Move, request: Request, own: set[str]) -> list[str]:
    if "cookie" in own:
        explicit = _header(request, "cookie")
        return [] if explicit is None else ["-H", f"Cookie: {explicit}"]
    jar = f"{move.step.visitor}.cookies"
    return ["-b", jar, *([] if move.aside else ["-c", jar])]


def _url(instance: str, target: str) -> str:
    """The URL as a shell must see it: `$A` is to be replaced in it, and nothing else."""
    if re.search(r'[\\"$`!]', target):
        return f'"${instance}"{shlex.quote(target)}'
    return f'"${instance}{target}"'


def _body(step: Step, request: Request) -> list[str]:
    if step.files:
        return _parts(request.body)
    if not request.body:
        return []
    try:
        text = request.body.decode()
    except UnicodeDecodeError:
        return ["--data-binary", f"@{step.id}.body"]
    if len(text) > _MOST_BODY or not all(char.isprintable() or char in "\n\r\t" for char in text):
        return ["--data-binary", f"@{step.id}.body"]
    return ["--data-raw", text]


def _parts(body: bytes) -> list[str]:
    """The parts of a multipart body: fields as they were sent, files by their names."""
    words: list[str] = []
    mark = body.partition(b"\r\n")[0]
    for piece in body.split(b"\r\n" + mark):
        head, _, content = piece.partition(b"\r\n\r\n")
        names = dict(_PARAMETER.findall(head.decode("utf-8", "replace")))
        if "filename" in names:
            kind = head.rpartition(b": ")[2].decode("utf-8", "replace")
            words += ["-F", f'{names["name"]}=@"{names["filename"]}";type={kind}']
        elif "name" in names:
            # Not -F, which reads a file where the text begins with @ or <.
            words += ["--form-string", f"{names['name']}={content.decode('utf-8', 'replace')}"]
    return words
