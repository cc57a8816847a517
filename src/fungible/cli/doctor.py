"""`fungible doctor`: could the declared number of instances run with these homes?"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from fungible.core.errors import FungibleError, SettingError
from fungible.doctor.applications import homes_of_application
from fungible.doctor.diagnosis import Diagnosis, Found, diagnose
from fungible.doctor.django_settings import homes_of_django
from fungible.doctor.homes import home_of
from fungible.doctor.report import to_json, to_sarif, to_text
from fungible.doctor.settings import Settings, find_settings, load_settings
from fungible.stores.postures import Deployment

_EPILOG = """\
exit status: 0 nothing BREAKING, 78 BREAKING on more than one instance, 2 could not judge

examples:
  fungible doctor --instances 3 --home session=redis://localhost --home cache=memory:
  fungible doctor --instances 3 --app shop.main:app
  fungible doctor --instances 3 --machines 1 --django shop.settings
"""


def add_parser(commands: Any) -> None:
    """Adds the command to the command line."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "doctor",
        help="judge whether several instances could run with the homes that state was given",
        description="Compares what the homes of state promise with what the kinds of state need on the declared "
        "number of instances and machines. Opens no connection.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    group: Any = parser.add_argument_group("the deployment")
    group.add_argument(
        "--instances", metavar="N", type=int, help="instances that run, each worker process too (default 1)"
    )
    group.add_argument(
        "--machines", metavar="N", type=int, help="machines they are on, or disks they share (default: one each)"
    )
    group = parser.add_argument_group("where state is kept")
    group.add_argument(
        "--home", metavar="KIND=URL", action="append", default=[], help="a kind of state, and its home; repeatable"
    )
    group.add_argument("--app", metavar="MODULE:NAME", help="import this application, and judge the homes it uses")
    group.add_argument("--django", metavar="MODULE", help="import these Django settings, and judge what they say")
    group.add_argument(
        "--file", metavar="FILE", type=Path, help="settings (default: fungible.toml or pyproject.toml, if here)"
    )
    group = parser.add_argument_group("the report")
    group.add_argument(
        "--format", choices=("text", "json", "sarif"), default="text", help="format of the report (default text)"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Judges, reports, and gives the exit status."""
    try:
        file = arguments.file or find_settings(Path())
        settings = load_settings(file, os.environ) if file is not None else Settings()
        deployment = _deployment(arguments, settings)
        found = _found(arguments, settings, str(file))
        diagnosis = diagnose(found, deployment)
        if not (found.homes or found.findings):
            raise SettingError("\n".join(["no home was found that could be judged", *found.notes]))
    except FungibleError as error:
        print(f"fungible doctor: {error}", file=sys.stderr)
        return 2
    _write(diagnosis, arguments.format, file or _module_file(arguments))
    return diagnosis.exit_status


def _deployment(arguments: argparse.Namespace, settings: Settings) -> Deployment:
    """What the nearest place declares that declares instances: the command line, the environment, the settings file."""
    if arguments.instances is not None:
        declared = arguments.instances, None
    elif os.environ.get("FUNGIBLE_INSTANCES"):
        near = Deployment.from_environment(os.environ)
        declared = near.instances, near.machines
    else:
        declared = 1 if settings.instances is None else settings.instances, settings.machines
    instances, machines = declared
    return Deployment(instances, machines if arguments.machines is None else arguments.machines)


def _found(arguments: argparse.Namespace, settings: Settings, file: str) -> Found:
    found = Found()
    given = dict[str, None]()
    for text in arguments.home:
        kind, equals, url = text.partition("=")
        if not equals or not url:
            raise SettingError(f"--home {kind}: KIND=URL was expected, such as session=redis://localhost")
        found += home_of(kind, url, "--home")
        given[kind] = None
    for kind, url in settings.homes.items():
        if kind not in given:
            found += home_of(kind, url, f"[homes] in {file}")
    if arguments.app is not None:
        found += homes_of_application(arguments.app)
    if arguments.django is not None:
        found += homes_of_django(arguments.django)
    return found


def _write(diagnosis: Diagnosis, form: str, file: Path | None) -> None:
    if form == "text":
        sys.stdout.write(to_text(diagnosis))
        return
    data = to_json(diagnosis) if form == "json" else to_sarif(diagnosis, file=file)
    sys.stdout.buffer.write(data)


def _module_file(arguments: argparse.Namespace) -> Path | None:
    """The file of the module that was imported, if one was."""
    name = (arguments.app or "").partition(":")[0] or arguments.django
    file = getattr(sys.modules.get(name or ""), "__file__", None)
    return None if file is None else Path(file)
