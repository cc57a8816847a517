"""What mends each kind of finding, in the words of the framework, and where more is said about it."""

from typing import Final

from fungible.check.findings.framework_fixes import FRAMEWORK_FIXES
from fungible.check.findings.kinds import KINDS
from fungible.check.findings.protocols import PROTOCOL_FIXES
from fungible.check.model import Kind, Severity

SEVERITY: Final[dict[Kind, Severity]] = {kind: about.severity for kind, about in KINDS.items()}
TITLE: Final[dict[Kind, str]] = {kind: about.title for kind, about in KINDS.items()}
WHAT: Final[dict[Kind, str]] = {kind: about.what for kind, about in KINDS.items()}
FRAMEWORKS: Final[dict[str, str]] = {
    "django": "Django",
    "flask": "Flask",
    "fastapi": "FastAPI or Starlette",
    "express": "Express",
    "spring": "Spring",
    "servlet": "Java servlet containers",
    "rack": "Rack or Sinatra",
    "php": "PHP",
}
"""Names for people, by the name that `recognise` gives."""
PROTOCOLS: Final[dict[str, str]] = {"mcp": "MCP servers", "socket.io": "Socket.IO", "webhook": "webhooks"}
"""Names for people, by the name that `protocol_of` gives."""


def fix_for(kind: Kind, framework: str, protocol: str = "") -> str:
    """What mends a finding, with the names of the framework's settings where it is known.

    Args:
        kind: The kind of the finding.
        framework: As `recognise` gives it: `django`, `flask`, `fastapi`, `express`, `spring`, `servlet`, `rack`, `php`
            or empty.
        protocol: As `protocol_of` gives it for the request that broke: its own way out comes before the framework's.

    Returns:
        One to four sentences.
    """
    return PROTOCOL_FIXES.get(protocol, {}).get(kind) or FRAMEWORK_FIXES.get(framework, {}).get(kind) or KINDS[kind].fix


def ways_out(kind: Kind) -> list[tuple[str, str]]:
    """The frameworks and protocols that have a way out of their own, by their names for people, each with it."""
    fixes = [(name, FRAMEWORK_FIXES.get(framework, {}).get(kind)) for framework, name in FRAMEWORKS.items()]
    fixes += [(name, PROTOCOL_FIXES.get(protocol, {}).get(kind)) for protocol, name in PROTOCOLS.items()]
    return [(name, fix) for name, fix in fixes if fix is not None]


def docs_for(kind: Kind) -> str:
    """The command that says more about the kind, without a network: what the reference says."""
    return f"fungible explain {kind}"
