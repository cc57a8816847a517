"""What a kind of state needs of its home on the declared deployment: pure functions over data."""

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import ClassVar, Final, Protocol, runtime_checkable

from msgspec import Struct
from msgspec.structs import replace

from fungible.core.errors import FungibleError, SettingError
from fungible.stores.contract import Guarantees, Lack, Reach, Survives
from fungible.stores.needs import NEEDS, WITHOUT
from fungible.stores.needs import Severity as Severity

LOGGER: Final = logging.getLogger("fungible.postures")


class Finding(Struct, frozen=True, kw_only=True):
    """Why a home does not fit what is kept there, on the declared deployment."""

    code: str
    """Stable, and listed in the reference: `session-home-process`."""
    severity: Severity
    kind: str
    """The kind of state: `session`."""
    home: str
    """The home's URL without user name, password and options."""
    problem: str
    """What would happen, to be read after kind and home: `would differ on each instance`."""
    way_out: str
    seat: str = ""
    """Where the home is declared; empty where that is not known."""

    def __str__(self) -> str:
        return f"{self.severity} {self.kind} at {self.home} {self.problem}; {self.way_out}"


class Deployment(Struct, frozen=True):
    """How many copies of the application run, and on how many machines.

    Every process counts as an instance, each worker of a server too. A container counts as a machine unless its
    disk is shared: what matters is who sees the same files.
    """

    instances: int = 1
    machines: int | None = None
    """None: as many as instances, which is the safe thing to assume."""

    def __post_init__(self) -> None:
        if self.instances < 1:
            raise SettingError(f"instances is {self.instances}; it must be 1 or more")
        if self.machines is not None and not 1 <= self.machines <= self.instances:
            raise SettingError(
                f"machines is {self.machines}; it must be from 1 to the number of instances, which is {self.instances}"
            )

    @property
    def apart(self) -> int:
        """On how many machines the instances are."""
        return self.instances if self.machines is None else self.machines

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> "Deployment":
        """What `FUNGIBLE_INSTANCES` and `FUNGIBLE_MACHINES` declare; one instance where nothing is declared.

        Raises:
            SettingError: one of them is no whole number, or does not go with the other.
        """
        return cls(_count(environ, "FUNGIBLE_INSTANCES") or 1, _count(environ, "FUNGIBLE_MACHINES"))

    @classmethod
    def declared(cls, *, instances: int | None = None, machines: int | None = None) -> "Deployment":
        """What the application says, and where it says nothing, what the environment declares.

        Raises:
            SettingError: they are no whole numbers of 1 or more, or do not go together.
        """
        found = cls.from_environment()
        if instances is None and machines is None:
            return found
        return cls(
            instances=found.instances if instances is None else instances,
            machines=found.machines if machines is None else machines,
        )


def _count(environ: Mapping[str, str], name: str) -> int | None:
    text = environ.get(name, "").strip()
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise SettingError(f"{name}={text!r} must be a whole number, 1 or more")
    return int(text)


class Home(Struct, frozen=True):
    """A home that a part of the application has for a kind of state."""

    kind: str
    home: str
    """Its URL without user name, password and options."""
    guarantees: Guarantees
    seat: str
    """Where it is declared, in words that lead there: `SessionMiddleware(store=…)`."""


@runtime_checkable
class HasHomes(Protocol):
    """A built part of an application that says where it keeps its state, such as a middleware."""

    def homes(self) -> Sequence[Home]:
        """The homes it uses. Opens nothing."""
        ...


@runtime_checkable
class DeclaresHomes(Protocol):
    """The same of a class that is not built yet, from the settings it will be built with."""

    @classmethod
    def homes_declared(cls, **settings: object) -> Sequence[Home]:
        """The homes that an instance built with these settings would use. Opens nothing."""
        ...


class Located(Protocol):
    """What of a `Store` is judged."""

    @property
    def guarantees(self) -> Guarantees:
        """What it promises."""
        ...

    @property
    def home(self) -> str:
        """Its URL for messages."""
        ...


def judge(kind: str, home: str, guarantees: Guarantees, deployment: Deployment) -> list[Finding]:
    """What is wrong with a home for a kind of state, worst first.

    Args:
        kind: One of `NEEDS`: `session`.
        home: The home's URL without user name, password and options.
        guarantees: What the home promises.
        deployment: What it must serve. One instance is served by anything: see `foretell`.
    Raises:
        SettingError: there is no such kind.
    """
    if kind not in NEEDS:
        raise SettingError(f"there is no kind of state {kind!r}; there are: {', '.join(NEEDS)}")
    if deployment.instances == 1:
        return []
    found = [replace(finding, home=home) for finding in _of(kind, guarantees, deployment)]
    return sorted(found, key=lambda finding: finding.severity)


def foretell(kind: str, home: str, guarantees: Guarantees) -> list[Finding]:
    """What would be wrong if the application ran on two instances, on a machine each."""
    return judge(kind, home, guarantees, Deployment(2))


def _of(kind: str, guarantees: Guarantees, deployment: Deployment) -> Iterator[Finding]:
    """The findings of one home. A home that is seen by too few is not also said to be short-lived."""
    if guarantees.reach is Reach.PROCESS or (guarantees.reach is Reach.MACHINE and deployment.apart > 1):
        yield _finding(kind, guarantees.reach)
    elif guarantees.survives is Survives.NOTHING and NEEDS[kind].lasting:
        yield _finding(kind, guarantees.survives)
    else:
        # What ends with its server's process or machine is forgotten at a restart, whether it says so or not.
        implied = {Lack.RESTART} if guarantees.survives is Survives.PROCESS else set[Lack]()
        for lack in Lack:
            on_one_clock = lack is Lack.COMMON_CLOCK and deployment.apart == 1
            if lack in guarantees.lacks | implied and lack in NEEDS[kind].lacks and not on_one_clock:
                yield _finding(kind, lack)


def _finding(kind: str, cause: Reach | Survives | Lack) -> Finding:
    needs = NEEDS[kind]
    aspect, severity, way_out = cause.value, needs.apart, needs.way_out
    if isinstance(cause, Reach):
        problem = needs.differs.format(unit="instance" if cause is Reach.PROCESS else "machine")
    elif isinstance(cause, Survives):
        aspect, problem = "ends", "would be gone when an instance ends"
    else:
        severity, problem = needs.lacks[cause]
        way_out = WITHOUT[cause]
    code = f"{kind}-home-{aspect}"
    return Finding(code=code, severity=severity, kind=kind, home="", problem=problem, way_out=way_out)


def catalogue() -> Iterator[Finding]:
    """Every finding there can be, each with an empty home: what the reference lists."""
    for kind, needs in NEEDS.items():
        yield _finding(kind, Reach.PROCESS)
        yield _finding(kind, Reach.MACHINE)
        if needs.lasting:
            yield _finding(kind, Survives.NOTHING)
        for lack in needs.lacks:
            yield _finding(kind, lack)


class PostureError(FungibleError):
    """The set-up can't run on the declared deployment. The message has every finding on a line of its own."""

    code = "posture"
    exit_status: ClassVar[int] = 78
    """For commands that end by it: EX_CONFIG of sysexits.h."""

    def __init__(self, findings: Iterable[Finding], deployment: Deployment) -> None:
        self.findings = tuple(findings)
        lines = "\n".join(str(finding) for finding in self.findings)
        super().__init__(f"this set-up can't run on {deployment.instances} instances:\n{lines}")


def require(
    kind: str, store: Located, deployment: Deployment, *, warn: Callable[[Finding], None] = LOGGER.warning
) -> None:
    """Refuses a store that can't serve a kind of state on the declared deployment: to be called at start.

    Args:
        kind: One of `NEEDS`.
        store: The home; no connection is opened.
        deployment: Usually `Deployment.from_environment()`.
        warn: Called with each finding, if none is BREAKING.
    Raises:
        PostureError: a finding is BREAKING; it has all of them.
        SettingError: it is no store, but a URL for instance.
    """
    if not isinstance(getattr(store, "guarantees", None), Guarantees):
        # Its value may be a URL with a password.
        raise SettingError(f"store= takes an open store, and was given a {type(store).__name__!r}: open_store(url)")
    findings = judge(kind, store.home, store.guarantees, deployment)
    if any(finding.severity is Severity.BREAKING for finding in findings):
        raise PostureError(findings, deployment)
    for finding in findings:
        warn(finding)
