"""What mends each kind of finding, in the words of the framework, and where more is said about it."""

from typing import Final

from fungible.check.findings.framework_fixes import FRAMEWORK_FIXES
from fungible.check.findings.kinds import KINDS
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
    "php": "PHP",
}
"""Names for people, by the name that `recognise` gives."""


def fix_for(kind: Kind, framework: str) -> str:
    """What mends a finding, with the names of the framework's settings where it is known.

    Args:
        kind: The kind of the finding.
        framework: As `recognise` gives it: `django`, `flask`, `fastapi`, `express`, `spring`, `php` or empty.

    Returns:
        One to four sentences.
    """
    return FRAMEWORK_FIXES.get(framework, {}).get(kind) or KINDS[kind].fix


def fixes_by_framework(kind: Kind) -> list[tuple[str, str]]:
    """The frameworks that have a way out of their own, by their names for people, each with it."""
    return [
        (name, fix_for(kind, framework))
        for framework, name in FRAMEWORKS.items()
        if fix_for(kind, framework) != KINDS[kind].fix
    ]


def docs_for(kind: Kind) -> str:
    """The command that says more about the kind, without a network: what the reference says."""
    return f"fungible explain {kind}"
