"""Who is told what a check is doing while it works."""

from fungible.check.model import Finding


class Watcher:
    """What a check tells while it works; does nothing by itself."""

    def phase(self, name: str, detail: str = "") -> None:
        """A part of the check begins."""

    def started(self, number: int = 1) -> None:
        """Instances were started."""

    def ready(self, seconds: float) -> None:
        """An instance took so long to start."""

    def expects(self, starts: float) -> None:
        """About so many more instances will be started."""

    def found(self, finding: Finding) -> None:
        """Something was found."""

    def note(self, text: str) -> None:
        """Something worth a line."""
