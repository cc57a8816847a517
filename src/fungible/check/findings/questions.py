"""The five questions of the statelessness checklist, answered from what was run; and what was not run."""

from collections.abc import Collection, Sequence

from fungible.check.findings.unrun import why_not_run
from fungible.check.http.jar import read_set_cookie
from fungible.check.model import SCHEDULES, Finding, Question, ScheduleName
from fungible.check.runs.subject import Subject

_DATA = frozenset({"in-process-data", "data-on-local-disk", "upload", "job-progress", "cache", "rate-limit"})


def questions(
    findings: Sequence[Finding], subjects: Sequence[Subject], ran: frozenset[ScheduleName], *, judged: bool = True
) -> tuple[Question, ...]:
    """Each question with yes, no or not exercised, and why; where nothing could be `judged`, those alone that findings answer."""
    asked = _questions(findings, subjects, ran)
    return asked if judged else tuple(question for question in asked if question.answer == "no")


def _questions(
    findings: Sequence[Finding], subjects: Sequence[Subject], ran: frozenset[ScheduleName]
) -> tuple[Question, ...]:
    return (
        _answer(
            "Is all context in the request?",
            findings,
            {"in-process-data", "job-progress", "rate-limit", "cache", "sticky-cookie"},
            bool(ran & {"scatter", "warm"}),
            "every request was answered alike by instances that had not served the earlier ones",
        ),
        _answer(
            "Is the session kept outside the instance?",
            findings,
            {"session", "revived-session", "oversized-cookie"},
            bool(ran & {"scatter", "crash"}) and _has_session(subjects),
            "signed-in requests were answered alike by every instance",
            missing="no flow signs in: no answer set a cookie or gave a token that was used later",
        ),
        _answer(
            "Are retries safe?",
            findings,
            {"unsafe-repeat", "lost-update"},
            "repeat" in ran and _has_write(subjects),
            "unsafe requests sent twice took effect once",
            missing="no flow has a request that changes something"
            if "repeat" in ran
            else "the schedule repeat was not run",
        ),
        _answer(
            "Can any instance serve any request?",
            findings,
            {*_DATA, "validator", "session", "per-instance-secret", "drops-requests"},
            bool(ran & {"scatter", "crash", "warm"}),
            "instances were mixed, killed and replaced, and nothing was lost",
        ),
        _answer(
            "Is authentication stateless?",
            findings,
            {"per-instance-secret", "session", "revived-session"},
            bool(ran & {"scatter", "crash", "warm"}) and _has_session(subjects),
            "what one instance signed or remembered, the others accepted",
            missing="no flow signs in",
        ),
    )


def _answer(
    text: str,
    findings: Sequence[Finding],
    kinds: set[str],
    exercised: bool,
    yes: str,
    *,
    missing: str = "the schedules that would tell were not run",
) -> Question:
    against = [finding for finding in findings if finding.kind in kinds]
    if against:
        names = ", ".join(dict.fromkeys(f"{finding.kind} at {finding.step}" for finding in against))
        return Question(text=text, answer="no", why=names)
    if not exercised:
        return Question(text=text, answer="not exercised", why=missing)
    return Question(text=text, answer="yes", why=yes)


def _has_session(subjects: Sequence[Subject]) -> bool:
    for subject in subjects:
        if subject.ground is None:
            continue
        for outcome in subject.ground.control.outcomes:
            if any(
                name.lower() == "set-cookie" and read_set_cookie(text) is not None
                for name, text in outcome.answer.headers
            ):
                return True
            if any(
                "authorization" in name.lower() and "{{" in text for name, text in outcome.move.step.headers.items()
            ):
                return True
    return False


def _has_write(subjects: Sequence[Subject]) -> bool:
    return any(not step.safe for subject in subjects for step in subject.flow.steps)


def sent(subjects: Sequence[Subject]) -> list[tuple[str, str]]:
    """Method and target of each request of the baselines."""
    grounds = [subject.ground for subject in subjects if subject.ground is not None]
    return [(outcome.move.step.method, outcome.target) for ground in grounds for outcome in ground.control.outcomes]


def not_exercised(
    subjects: Sequence[Subject], ran: frozenset[ScheduleName], asked: Collection[ScheduleName] = SCHEDULES
) -> list[str]:
    """What the flows do not touch, so that silence about it means nothing."""
    steps = [step for subject in subjects for step in subject.flow.steps]
    outcomes = [
        outcome for subject in subjects if subject.ground is not None for outcome in subject.ground.control.outcomes
    ]
    rows: list[str] = []
    if not any(not step.safe for step in steps):
        rows.append("no request that changes something (POST, PUT, PATCH, DELETE)")
    if not any(step.files or step.body_base64 for step in steps):
        rows.append("no upload of a file")
    if outcomes and not any(outcome.answer.status in {401, 403, 404, 409, 410, 422, 423, 429} for outcome in outcomes):
        rows.append(
            "no negative step: nothing that must be refused (a signed-out session, a wrong password, an attempt over a limit)"
        )
    if outcomes and not _has_session(subjects):
        rows.append("no sign-in")
    if len({step.visitor for step in steps}) == 1:
        rows.append("only one visitor: nothing that one person writes and another reads")
    rows += [
        f"the schedule {name} was not run: {why_not_run(name, asked, subjects)}"
        for name in SCHEDULES
        if name not in ran
    ]
    return rows
