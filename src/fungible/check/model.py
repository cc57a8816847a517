"""The words of a check as data: target, flow and step going in, findings and report coming out.

Every structure here is also a file format: the check file is read into `CheckFile`, the JSON report is
`Report` written out. Both are checked by msgspec, so a wrong type is found where it stands.
"""

from typing import Any, ClassVar, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType, field

from fungible.core.redaction import Redacted

Severity = Literal["BREAKING", "HIGH", "MEDIUM"]
Kind = Literal[
    "session",
    "data-on-local-disk",
    "upload",
    "in-process-data",
    "cache",
    "validator",
    "per-instance-secret",
    "job-progress",
    "rate-limit",
    "unsafe-repeat",
    "lost-update",
    "revived-session",
    "sticky-cookie",
    "oversized-cookie",
    "drops-requests",
]
Verdict = Literal["stateless", "stateful", "unjudged"]
ScheduleName = Literal["scatter", "crash", "warm", "repeat", "race", "drain"]
SCHEDULES: tuple[ScheduleName, ...] = ("scatter", "crash", "warm", "repeat", "race", "drain")
DECIDING: frozenset[str] = frozenset({"scatter", "crash", "warm"})
"""The schedules that decide between `stateless` and `stateful`; the others answer questions of their own."""


class Given(Struct, forbid_unknown_fields=True, kw_only=True, frozen=True, omit_defaults=True):
    """Base of what a user writes down: unknown keys are errors."""


class Capture(Given, frozen=True):
    """Takes a value out of an answer; later steps use it as `{{name}}`.

    `from` says where: `json` (with `path`, `data.0.id` or a JSON pointer), `header` (with `header`), `cookie`
    (with `cookie`) or `body`. `regex` narrows the value to its first group. `decode` undoes encodings in order.
    `default` stands in where nothing is found; without it, a step that has nothing to capture has failed.
    """

    name: str
    source: Literal["json", "header", "cookie", "body"] = field(name="from")
    path: str | None = None
    header: str | None = None
    cookie: str | None = None
    regex: str | None = None
    decode: tuple[Literal["html", "url", "base64"], ...] = ()
    default: str | None = None


class Expect(Given, frozen=True):
    """What an answer must be; where it is silent, the baseline is the oracle.

    `location` is a regular expression searched in the Location header; `json` maps a path to its value.
    """

    status: tuple[int, ...] = ()
    contains: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    json: dict[str, Any] = field(default_factory=dict[str, Any])
    location: str | None = None


class FilePart(Given, frozen=True):
    """One file of a `multipart/form-data` body: text in `content` or bytes in `content_base64`."""

    field: str
    filename: str
    content: str | None = None
    content_base64: str | None = None
    content_type: str = "application/octet-stream"


class Step(Given, frozen=True):
    """One request of a flow.

    At most one of `json`, `form` (with `files`: multipart), `body` and `body_base64` is the body. A `Cookie`
    header replaces the visitor's cookies for this one request and leaves the jar alone. `poll_seconds` asks again
    until the answer meets `expect` and has everything to capture.
    `recorded_status` is what a recording saw: it guides, and where it is a refusal (4xx) that one instance repeats, every
    instance must refuse.
    """

    id: str
    path: str
    method: str = "GET"
    visitor: str = "visitor"
    headers: dict[str, str] = field(default_factory=dict[str, str])
    auth: tuple[str, str] | None = None
    json: Any | UnsetType = UNSET
    form: dict[str, str | list[str]] | None = None
    body: str | None = None
    body_base64: str | None = None
    files: tuple[FilePart, ...] = ()
    capture: tuple[Capture, ...] = ()
    expect: Expect = Expect()
    poll_seconds: float = 0
    delay_before: float = 0
    recorded_status: int | None = None

    @property
    def safe(self) -> bool:
        """True for the methods that must change nothing (RFC 9110 section 9.2.1)."""
        return self.method.upper() in {"GET", "HEAD", "OPTIONS", "TRACE"}


class Flow(Given, frozen=True):
    """A named sequence of steps of one or more visitors.

    `cookies` are what the visitor had before the first step, by name.
    """

    name: str
    steps: tuple[Step, ...]
    cookies: dict[str, str] = field(default_factory=dict[str, str])


class FlowSource(Given, frozen=True):
    """A flow as a check file names it: exactly one of `steps`, `har`, `openapi`."""

    name: str = "flow"
    steps: tuple[Step, ...] | None = None
    har: str | None = None
    openapi: str | None = None
    cookies: dict[str, str] = field(default_factory=dict[str, str])


class Ready(Given, frozen=True):
    """When an instance counts as started: `path` answers with one of `status` within `timeout` seconds.

    An empty `status` means any answer below 500.
    """

    path: str = "/"
    status: tuple[int, ...] = ()
    timeout: float = 60


class Target(Given, frozen=True):
    """The application under test, and how to run one more instance of it.

    `setup` runs once, `reset` before each run of a flow (for data in backing services), `prepare` once on each
    fresh disk, `start` for each instance. `{port}` and `{dir}` are replaced in commands and in `env`; `PORT` is
    always in the environment. `shared` paths are common to all instances, as a volume is in production; `private`
    paths are each instance's own, beside the working directory, HOME, /tmp and /var/tmp.
    `host` is the Host header that every instance gets.
    """

    start: str = ""
    setup: tuple[str, ...] = ()
    reset: tuple[str, ...] = ()
    prepare: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict[str, str])
    ready: Ready = Ready()
    shared: tuple[str, ...] = ()
    private: tuple[str, ...] = ()
    instances: int = 3
    host: str | None = None
    directory: str | None = None
    at: tuple[str, ...] = ()


class SignIn(Redacted, Given, frozen=True):
    """An account that exists: what to fill into a sign-in form, or to send as HTTP Basic where that is asked for."""

    _hidden: ClassVar = ("password",)
    user: str
    password: str


class CheckFile(Given, frozen=True):
    """A whole check file.

    Where it has no flows, the application is explored: from the page `begin` on, signed in as `sign_in`.
    `budget` is how long the check may take (`60s`, `5m`), `jobs` how many instances may start at once.
    """

    target: Target = Target()
    flows: tuple[FlowSource, ...] = ()
    schedules: tuple[ScheduleName, ...] = ()
    seed: int | None = None
    begin: str | None = None
    sign_in: SignIn | None = None
    budget: str | None = None
    jobs: int | None = None


class Answer(Struct, frozen=True, kw_only=True):
    """What came back for one request.

    `error` says what went wrong on the connection, in words, and is None where a whole answer arrived.
    `body` is at most the reader's bound long; `truncated` tells that more was to come.
    """

    status: int = 0
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    truncated: bool = False
    error: str | None = None
    seconds: float = 0.0

    def header(self, name: str) -> str | None:
        """The first header of that name, whatever its case."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key.lower() == wanted), None)

    @property
    def media_type(self) -> str:
        """`Content-Type` without parameters, lower case; empty where there is none."""
        return (self.header("content-type") or "").split(";")[0].strip().lower()

    @property
    def text(self) -> str:
        """The body as text: by the declared charset where it is known and right, else UTF-8 with replacements."""
        charset = next(
            (
                p.split("=", 1)[1].strip("\"' ")
                for p in (self.header("content-type") or "").split(";")[1:]
                if "charset=" in p.lower() and "=" in p
            ),
            "utf-8",
        )
        try:
            return self.body.decode(charset)
        except (LookupError, ValueError):
            return self.body.decode("utf-8", "replace")


class Exchange(Struct, frozen=True, kw_only=True):
    """A request and the answer it once got: what a recording or a crawl is made of."""

    step: Step
    answer: Answer


class WitnessRequest(Struct, frozen=True, kw_only=True):
    """One request of a witness: where it went, how to send it by hand, what came back.

    `instance` is a letter, `A` first. `event` is what happens just before: `kill -9 B and wipe its disk`.
    `expected` is what one instance alone answers to the same request of the same sequence.
    """

    instance: str
    step: str
    method: str
    path: str
    curl: str
    answered: str
    expected: str = ""
    event: str = ""
    broken: bool = False


class Finding(Struct, frozen=True, kw_only=True):
    """One thing that would be lost, doubled or refused on several instances.

    `step` is the first step that answered otherwise, `writer` the step whose effect was missed, `also` further
    steps broken by the same cause. `shown` counts the witness: `3 of 3`. `racy` marks a break that does not show
    every time.
    """

    kind: Kind
    severity: Severity
    flow: str
    step: str
    writer: str | None
    schedule: ScheduleName
    title: str
    expected: str
    saw: str
    witness: tuple[WitnessRequest, ...]
    evidence: tuple[str, ...]
    fix: str
    docs: str
    racy: bool = False
    shown: str = "3 of 3"
    also: tuple[str, ...] = ()


class Question(Struct, frozen=True, kw_only=True):
    """One of the five questions of the statelessness checklist, answered from what was run."""

    text: str
    answer: Literal["yes", "no", "not exercised"]
    why: str


class ScheduleRun(Struct, frozen=True, kw_only=True):
    """What one schedule cost and gave, over all flows."""

    name: ScheduleName
    runs: int
    seconds: float
    findings: int
    note: str = ""


class FlowRun(Struct, frozen=True, kw_only=True):
    """A flow as it was checked."""

    name: str
    steps: tuple[str, ...]
    """Lines such as `login: POST /login -> 303`, from the baseline."""
    masked: tuple[str, ...] = ()
    """Places that differ on one instance, and so are not compared: `admin-home: html body/footer/text()`."""


class Report(Struct, frozen=True, kw_only=True):
    """Everything a check found, and what it did not look at."""

    verdict: Verdict
    findings: tuple[Finding, ...]
    not_exercised: tuple[str, ...]
    questions: tuple[Question, ...]
    reason: str = ""
    """Why no verdict was possible; empty otherwise."""
    cut: Literal["", "budget", "interrupt"] = ""
    """What ended the check before it was through, if anything; `not_exercised` then tells what was left out."""
    notes: tuple[str, ...] = ()
    command: str = ""
    framework: str = ""
    isolation: str = ""
    seed: int = 0
    instances: int = 0
    starts: int = 0
    requests: int = 0
    seconds: float = 0.0
    checker_cpu_seconds: float = 0.0
    flows: tuple[FlowRun, ...] = ()
    schedules: tuple[ScheduleRun, ...] = ()
    version: str = ""

    @property
    def exit_status(self) -> int:
        """0 nothing found, 1 found, 2 could not judge, 130 interrupted."""
        if self.cut == "interrupt":
            return 130
        if self.verdict == "unjudged":
            return 2
        return 1 if self.findings else 0


def to_json(report: Report) -> bytes:
    """The report as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(report), indent=1)
