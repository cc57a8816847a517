"""`fungible check`: what would this application lose on several instances?"""

import argparse
import importlib
import math
import os
import secrets
import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import msgspec

from fungible.check.checkfile import load
from fungible.check.errors import CheckError, CheckFileError
from fungible.check.model import SCHEDULES, CheckFile, Flow, FlowSource, Report, SignIn, Target, to_json
from fungible.core.errors import MissingExtraError

if TYPE_CHECKING:
    from rich.console import Console

_DESCRIPTION = """\
Starts several instances of a web application, sends each request of a flow to
another one, kills them, wipes their disks, repeats and races requests, and
names what was lost: the request, the kind of state, the way out.
"""
_EPILOG = """\
Without a flow it follows the application's own API description, or its links
and forms. `fungible explain KIND` says more about a kind of finding.

exit status: 0 nothing found, 1 found, 2 could not judge, 130 stopped (the report has what was found until then)

examples:
  fungible check --start 'uvicorn shop:app --port {port}'
  fungible check --start 'node server.js' --har recording.har
  fungible check --file check.toml --html report.html
  fungible check --at http://web-1:8000 --at http://web-2:8000 --file check.toml
"""
_FORMATS = ("text", "json", "junit", "sarif", "html")


def add_parser(commands: Any) -> None:
    """Adds the command to the command line."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "check",
        help="start several instances of an application and find what they would lose",
        usage="%(prog)s (--start CMD | --at URL --at URL | --file FILE) [options]",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_target(parser.add_argument_group("the application"))
    _add_flows(parser.add_argument_group("what to send"))
    _add_report(parser.add_argument_group("how, and the report"))
    parser.set_defaults(run=run)


def _add_target(group: Any) -> None:
    group.add_argument(
        "--start",
        metavar="CMD",
        help="command that starts one instance in the foreground; {port} is replaced, PORT is set",
    )
    group.add_argument(
        "--at", metavar="URL", action="append", default=[], help="an instance that already runs; give it once for each"
    )
    group.add_argument(
        "--setup", metavar="CMD", action="append", default=[], help="command to run once, before anything is started"
    )
    group.add_argument(
        "--prepare",
        metavar="CMD",
        action="append",
        default=[],
        help="command to run once on each fresh disk; {dir} is replaced",
    )
    group.add_argument(
        "--reset",
        metavar="CMD",
        action="append",
        default=[],
        help="command to run before each run of a flow, to clean databases",
    )
    group.add_argument(
        "--env", metavar="K=V", action="append", default=[], help="environment variable of the instances"
    )
    group.add_argument(
        "--ready", metavar="PATH", help="path that answers below 500 once an instance is ready (default /)"
    )
    group.add_argument(
        "--ready-timeout", metavar="S", type=float, help="seconds an instance has to get ready (default 60)"
    )
    group.add_argument(
        "--shared",
        metavar="PATH",
        action="append",
        default=[],
        help="path that all instances share in production, such as a volume",
    )
    group.add_argument(
        "--private",
        metavar="PATH",
        action="append",
        default=[],
        help="one more path of which each instance has its own",
    )
    group.add_argument("--instances", metavar="N", type=int, help="instances to take turns (default 3)")
    group.add_argument("--host", metavar="HOST", help="Host header that all instances get")
    group.add_argument("--directory", metavar="DIR", help="working directory of the instances (default: here)")
    group.add_argument(
        "--isolation",
        choices=("auto", "0", "1"),
        default="auto",
        help="0: copies and environment; 1: namespaces and overlays (Linux)",
    )


def _add_flows(group: Any) -> None:
    group.add_argument(
        "--file", metavar="FILE", type=Path, help="check file (TOML, YAML or JSON) with target and flows"
    )
    group.add_argument("--har", metavar="FILE", action="append", default=[], help="flow that a browser recorded (HAR)")
    group.add_argument(
        "--openapi",
        metavar="FILE",
        action="append",
        default=[],
        help="API description to make flows of: a file, or a path of the application",
    )
    group.add_argument(
        "--begin", metavar="PATH", help="where to begin to follow forms and links, where there is no flow (default /)"
    )
    group.add_argument(
        "--sign-in", metavar="USER:PASSWORD", help="account to sign in with while following forms and links"
    )
    group.add_argument("--flow", metavar="NAME", action="append", default=[], help="only this flow of the check file")
    group.add_argument(
        "--write-flow", metavar="FILE", type=Path, help="write the flows, as they are sent, to a check file (JSON)"
    )


def _add_report(group: Any) -> None:
    group.add_argument("--schedules", metavar="A,B", help=f"schedules to run: {', '.join(SCHEDULES)} (default: all)")
    group.add_argument(
        "--budget",
        metavar="TIME",
        help="how long it may take (60s, 5m): what tells most runs first, and the report says what was left out",
    )
    group.add_argument(
        "--jobs", metavar="N", type=int, help="instances that may start at once (default: as many as processors)"
    )
    group.add_argument("--seed", metavar="N", type=int, help="seed of everything drawn at random; the report names it")
    group.add_argument("--format", choices=_FORMATS, default="text", help="format of the report (default text)")
    group.add_argument("--output", metavar="PATH", type=Path, help="where the report goes (default: standard output)")
    group.add_argument("--html", metavar="PATH", type=Path, help="also write the HTML report there")
    group.add_argument("--json", metavar="PATH", type=Path, help="also write the JSON report there")
    group.add_argument("--quiet", action="store_true", help="do not say what is being done")


def run(arguments: argparse.Namespace) -> int:
    """Checks, reports, and gives the exit status."""
    try:
        importlib.import_module("yaml")  # what looks for flows needs it, whatever they come from
        from rich.console import Console
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        print(MissingExtraError(needed_by="fungible check", extra="check", module=module), file=sys.stderr)
        return 2
    errors = Console(stderr=True, highlight=False)
    # A terminated check ends what it started, as an interrupted one does; so does one whose terminal has gone.
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:  # nohup wants it to go on
        signal.signal(signal.SIGHUP, _interrupt)
    try:
        _refuse_unwritable(arguments)
        report, base = _checked(arguments, errors)
    except CheckError as error:
        _say(errors, f"fungible check: {error}")
        return 2
    _write(report, arguments, str(base) if base else None)
    if report.verdict == "unjudged" and arguments.output is not None:
        _say(errors, f"fungible check: could not judge: {report.reason}")
    return report.exit_status


def _say(console: "Console", text: str) -> None:
    """A message, broken at words where a terminal shows it."""
    from rich.text import Text

    from fungible.check.report.wrapping import wrapped

    for row in wrapped(Text(text), console.width) if console.is_terminal else [Text(text)]:
        console.print(row, soft_wrap=True)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _refuse_unwritable(arguments: argparse.Namespace) -> None:
    """Found out before the work, not after it."""
    for path in (arguments.output, arguments.html, arguments.json, arguments.write_flow):
        if path is not None and not path.absolute().parent.is_dir():
            raise CheckFileError(f"the folder of {path} does not exist")
        if path is not None and path.is_dir():
            raise CheckFileError(f"{path} is a folder; name a file")


def _checked(arguments: argparse.Namespace, console: "Console") -> tuple[Report, Path | None]:
    from fungible.check.engine import Check
    from fungible.check.report.progress import Progress
    from fungible.check.runs.budget import seconds
    from fungible.check.stopping import SecondInterrupt

    check_file = _check_file(arguments)
    # Paths in a check file are relative to it: it is run the same from anywhere.
    directory = arguments.file.absolute().parent if arguments.file is not None else Path.cwd()
    budget = arguments.budget or check_file.budget
    jobs = check_file.jobs if arguments.jobs is None else arguments.jobs
    if jobs is not None and jobs < 1:
        raise CheckFileError(f"{jobs} jobs: at least one instance has to start at a time")
    seed = next((n for n in (arguments.seed, check_file.seed) if n is not None), secrets.randbelow(1_000_000))
    with Progress(None if arguments.quiet else console) as progress:
        check = Check(
            check_file=check_file,
            directory=directory,
            command=_command(arguments),
            schedules=_schedules(arguments.schedules) or check_file.schedules or SCHEDULES,
            only=arguments.flow,
            isolation_wanted=None if arguments.isolation == "auto" else int(arguments.isolation),
            watcher=progress,  # pyright: ignore[reportArgumentType]
            seed=seed,
            on_flows=_flow_writer(arguments, check_file),
            budget_s=math.inf if budget is None else seconds(budget),
            jobs=jobs,
        )
        try:
            return check.run(), arguments.file
        except SecondInterrupt:
            raise
        except KeyboardInterrupt:
            progress.ends()
            console.print("fungible: stopped; the report has what was found until then", markup=False, soft_wrap=True)
            return check.report(), arguments.file


def _check_file(arguments: argparse.Namespace) -> CheckFile:
    check_file = load(arguments.file) if arguments.file is not None else CheckFile()
    base = arguments.file.absolute().parent if arguments.file is not None else Path.cwd()
    flows = list(check_file.flows)
    # Paths given on the command line are relative to where it was typed.
    flows += [FlowSource(name=Path(path).stem, har=str(Path(path).absolute())) for path in arguments.har]
    flows += [FlowSource(name=Path(path).stem, openapi=_openapi(path)) for path in arguments.openapi]
    changes = _target_changes(arguments, check_file.target, base)
    target = msgspec.structs.replace(check_file.target, **changes)
    if target.start and target.at:
        raise CheckFileError("both a start command and --at were given: either start instances, or ask those that run")
    if target.instances < 2:
        raise CheckFileError(f"{target.instances} instance can't be compared with itself: --instances is 2 or more")
    begin = arguments.begin or check_file.begin
    if begin is not None and not begin.startswith("/"):
        raise CheckFileError(f"--begin {begin!r}: it should be a path of the application, such as /shop")
    sign_in = check_file.sign_in if arguments.sign_in is None else _sign_in(arguments.sign_in)
    return msgspec.structs.replace(check_file, target=target, flows=tuple(flows), begin=begin, sign_in=sign_in)


def _sign_in(text: str) -> SignIn:
    user, colon, password = text.partition(":")
    if not colon or not user or not password:
        raise CheckFileError("--sign-in should look like user:password")
    return SignIn(user=user, password=password)


def _command(arguments: argparse.Namespace) -> str:
    """The command line as the report shows it: without the password."""
    words = ["fungible", *sys.argv[1:]]
    if arguments.sign_in is not None:
        hidden = _sign_in(arguments.sign_in).user + ":***"
        words = [word.replace(arguments.sign_in, hidden) for word in words]
    return shlex.join(words)


def _openapi(path: str) -> str:
    return (
        str(Path(path).absolute()) if Path(path).exists() or not path.startswith(("/", "http://", "https://")) else path
    )


def _target_changes(arguments: argparse.Namespace, target: Target, base: Path) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    for name in ("start", "instances", "host"):
        if getattr(arguments, name) is not None:
            changes[name] = getattr(arguments, name)
    if arguments.directory is not None:
        changes["directory"] = str(Path(arguments.directory).absolute())
    for name in ("setup", "prepare", "reset"):
        changes[name] = (*getattr(target, name), *getattr(arguments, name))
    for name in ("shared", "private"):
        changes[name] = (*getattr(target, name), *(str(Path(path).absolute()) for path in getattr(arguments, name)))
    changes["at"] = (*target.at, *arguments.at)
    changes["env"] = target.env | dict(_pair(text) for text in arguments.env)
    if arguments.at and not arguments.start:
        changes["start"] = ""
    if arguments.ready is not None or arguments.ready_timeout is not None:
        ready = target.ready
        changes["ready"] = msgspec.structs.replace(
            ready, path=arguments.ready or ready.path, timeout=arguments.ready_timeout or ready.timeout
        )
    return changes


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise CheckFileError(f"--env {text!r}: it should look like NAME=value")
    return name, value


def _schedules(text: str | None) -> tuple[Any, ...]:
    names = [name.strip() for name in (text or "").split(",") if name.strip()]
    if text is not None and not names:
        raise CheckFileError(f"no schedule is named in {text!r}; there are {', '.join(SCHEDULES)}")
    for name in names:
        if name not in SCHEDULES:
            raise CheckFileError(f"unknown schedule {name!r}; there are {', '.join(SCHEDULES)}")
    return tuple(name for name in SCHEDULES if name in names)


def _flow_writer(arguments: argparse.Namespace, check_file: CheckFile) -> Callable[[list[Flow], str], None]:
    def write(flows: list[Flow], host: str) -> None:
        if arguments.write_flow is None:
            return
        sources = tuple(FlowSource(name=flow.name, steps=flow.steps, cookies=flow.cookies) for flow in flows)
        target = msgspec.structs.replace(
            check_file.target, directory=_directory_from(arguments, check_file.target), host=host
        )
        document = msgspec.structs.replace(check_file, target=target, flows=sources)
        arguments.write_flow.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n")

    return write


def _directory_from(arguments: argparse.Namespace, target: Target) -> str | None:
    """The working directory as seen from the check file that is written, which may stand elsewhere."""
    base = arguments.file.absolute().parent if arguments.file is not None else Path.cwd()
    working = base / Path(target.directory or ".").expanduser()
    found = os.path.relpath(working, arguments.write_flow.absolute().parent)
    return None if found == "." else found


def _write(report: Report, arguments: argparse.Namespace, check_file: str | None) -> None:
    from fungible.check.report.html import to_html
    from fungible.check.report.junit import to_junit
    from fungible.check.report.sarif import to_sarif

    if arguments.html is not None:
        arguments.html.write_bytes(to_html(report))
    if arguments.json is not None:
        arguments.json.write_bytes(to_json(report))
    if arguments.format == "text":
        _print(report, arguments.output)
        return
    formats: dict[str, Callable[[Report], bytes]] = {
        "json": to_json,
        "junit": to_junit,
        "sarif": lambda report: to_sarif(report, check_file=check_file),
        "html": to_html,
    }
    data = formats[arguments.format](report)
    if arguments.output is not None:
        arguments.output.write_bytes(data)
    else:
        sys.stdout.buffer.write(data + (b"" if data.endswith(b"\n") else b"\n"))


def _print(report: Report, output: Path | None) -> None:
    from rich.console import Console

    from fungible.check.report.text import print_report

    if output is None:
        print_report(report, Console(highlight=False, width=_width(sys.stdout)))
        return
    with output.open("w", encoding="utf-8") as file:
        print_report(report, Console(file=file, highlight=False, width=_width(file)))


def _width(stream: TextIO) -> int | None:
    """Characters in a line where no terminal says it; None where one does."""
    return None if stream.isatty() else int(os.environ.get("COLUMNS") or 100)
