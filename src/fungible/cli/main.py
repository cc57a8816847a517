"""`fungible`: hands over to the command that was named."""

import argparse
import os
import sys
import traceback
from collections.abc import Sequence

from fungible import __version__
from fungible.cli import check, doctor, explain, keys, storage


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="fungible", description="Makes the instances of a web service interchangeable."
    )
    parser.add_argument("--version", action="version", version=f"fungible {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    check.add_parser(commands)
    explain.add_parser(commands)
    doctor.add_parser(commands)
    keys.add_parser(commands)
    storage.add_parser(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command and gives its exit status."""
    arguments = build_parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except KeyboardInterrupt:
        print("fungible: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever reads our output has gone: no traceback for that.
        sys.stderr.close()
        return 141
    except Exception as error:
        if os.environ.get("FUNGIBLE_DEBUG") == "1":
            traceback.print_exc()
        print(_internal_words(error), file=sys.stderr)
        return 2


def _internal_words(error: Exception) -> str:
    what = " ".join(f"{type(error).__name__}: {error}".split())
    return (
        f"fungible: internal error: {what[:500]}\n"
        "This is a fault of Fungible. Please report it, with what the same command prints with FUNGIBLE_DEBUG=1."
    )


if __name__ == "__main__":
    sys.exit(main())
