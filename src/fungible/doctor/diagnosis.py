"""What was looked at, what is wrong with it on the declared deployment, and the verdict."""

from collections import Counter

from msgspec import Struct
from msgspec.structs import replace

from fungible.stores.postures import Deployment, Finding, Home, PostureError, Severity, foretell, judge


class Found(Struct, frozen=True, kw_only=True):
    """What one source, such as an application, shows of where state is kept."""

    homes: tuple[Home, ...] = ()
    findings: tuple[Finding, ...] = ()
    """What is wrong whatever the home promises, such as a session that is kept in a cookie."""
    notes: tuple[str, ...] = ()
    """What could not be judged, or was judged by less than all."""

    def __add__(self, other: "Found") -> "Found":
        return Found(
            homes=self.homes + other.homes,
            findings=self.findings + other.findings,
            notes=self.notes + other.notes,
        )


class Diagnosis(Struct, frozen=True, kw_only=True):
    """The result of `fungible doctor`."""

    deployment: Deployment
    homes: tuple[Home, ...]
    findings: tuple[Finding, ...]
    """On the declared deployment, worst first."""
    would_break: tuple[Finding, ...]
    """With one instance only: what there would be on two, on a machine each."""
    notes: tuple[str, ...]

    @property
    def exit_status(self) -> int:
        """78 (EX_CONFIG) where a finding is BREAKING, otherwise 0."""
        return (
            PostureError.exit_status if any(finding.severity is Severity.BREAKING for finding in self.findings) else 0
        )

    @property
    def counts(self) -> dict[Severity, int]:
        """How many findings there are of each severity, worst first, foretold ones too."""
        counted = Counter(finding.severity for finding in (*self.findings, *self.would_break))
        return {severity: counted[severity] for severity in Severity if counted[severity]}


def diagnose(found: Found, deployment: Deployment) -> Diagnosis:
    """Judges all homes. One instance is served by any; it is told what would break on two.

    Raises:
        SettingError: a home has a kind of state that there is not.
    """
    single = deployment.instances == 1
    findings = list(found.findings)
    homes = tuple(dict.fromkeys(found.homes))
    for home in homes:
        judged = (
            foretell(home.kind, home.home, home.guarantees)
            if single
            else judge(home.kind, home.home, home.guarantees, deployment)
        )
        findings += [replace(finding, seat=home.seat) for finding in judged]
    ordered = tuple(sorted(dict.fromkeys(findings), key=lambda finding: finding.severity))
    return Diagnosis(
        deployment=deployment,
        homes=homes,
        findings=() if single else ordered,
        would_break=ordered if single else (),
        notes=tuple(dict.fromkeys(found.notes)),
    )
