"""A request as a curl command that a person can run by hand."""

import shlex

from fungible.check.client import Request
from fungible.check.model import Step
from fungible.check.runner import Move

_OURS = frozenset(
    {
        "host",
        "user-agent",
        "accept-encoding",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "cookie",
        "content-length",
    }
)
_MOST_BODY = 2000


def curl(move: Move, request: Request, instance: str, host: str) -> str:
    """`curl -i -b ada.cookies -c ada.cookies -X POST "$A/login" -d 'name=ada'`; `$A` is the instance's URL.

    Captured values stand as they were sent in the run that is shown; cookies go through curl's own jar, one a visitor.
    """
    step = move.step
    words = ["curl", "-i"]
    explicit = next(
        (
            text
            for name, text in request.headers
            if name.lower() == "cookie" and any(n.lower() == "cookie" for n in step.headers)
        ),
        None,
    )
    jar = f"{step.visitor}.cookies"
    words += (
        ["-H", f"Cookie: {explicit}"] if explicit is not None else ["-b", jar, *([] if move.aside else ["-c", jar])]
    )
    if request.method != "GET":
        words += ["-X", request.method]
    words += ["-H", f"Host: {host}"]
    for name, text in request.headers:
        plain = name.lower() == "accept" and text == "*/*"
        if name.lower() in _OURS or plain or (step.files and name.lower() == "content-type"):
            continue
        words += ["-H", f"{name}: {text}"]
    words += _body(step, request)
    return " ".join(shlex.quote(word) for word in words) + f' "${instance}{_escaped(request.target)}"'


def _escaped(target: str) -> str:
    """A target inside double quotes of a shell."""
    return "".join(f"\\{char}" if char in '\\"$`' else char for char in target)


def _body(step: Step, request: Request) -> list[str]:
    if step.files:
        words = [word for name, value in (step.form or {}).items() for word in ("-F", f"{name}={value}")]
        return words + [
            word for part in step.files for word in ("-F", f"{part.field}=@{part.filename};type={part.content_type}")
        ]
    if not request.body:
        return []
    try:
        text = request.body.decode()
    except UnicodeDecodeError:
        return ["--data-binary", f"@{step.id}.body"]
    if len(text) > _MOST_BODY or (not text.isprintable() and "\n" not in text):
        return ["--data-binary", f"@{step.id}.body"]
    return ["--data-raw", text]
