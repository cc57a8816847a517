"""The report in every form: for the terminal, the browser, CI servers and code scanning."""

from fungible.check.model import to_json
from fungible.check.report.html import to_html
from fungible.check.report.junit import to_junit
from fungible.check.report.progress import Progress
from fungible.check.report.sarif import to_sarif
from fungible.check.report.text import print_report

__all__ = ["Progress", "print_report", "to_html", "to_json", "to_junit", "to_sarif"]
