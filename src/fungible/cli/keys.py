"""`fungible keys`: the keys that sign tokens, in a directory or in a store."""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, cast

from fungible.core.errors import FungibleError, SettingError
from fungible.core.keyring import KeyDirectory, KeyRing
from fungible.stores.opening import ALIASES, BACKENDS, open_store
from fungible.tokens.algorithms import ALGORITHMS
from fungible.tokens.jwk import write_pem
from fungible.tokens.key import Key
from fungible.tokens.key_files import KeyFiles, new_key_file
from fungible.tokens.key_store import RECORD, StoredKeys
from fungible.tokens.keys import KeySet, key_set
from fungible.tokens.rotation import Change

SECRET: Final = "FUNGIBLE_SECRET"  # noqa: S105 - the name of a variable
HOME: Final = "FUNGIBLE_KEYS"
TIMEOUT_S: Final = 10.0
"""Nobody's request waits for this: longer than a store's usual deadline."""
_EPILOG: Final = f"""\
HOME is a directory, or the URL of a store; by default what the environment says in {HOME}. In a store the keys are
sealed with a secret of 32 bytes or more, the same that the application gives to StoredKeys: in the environment
variable {SECRET}, or in --secret-file, a file or a directory of files.

exit status: 0 done, or nothing to do; 2 not done

examples:
  fungible keys new /run/secrets/signing-keys
  fungible keys rotate redis://redis.internal/0
  fungible keys rotate redis://redis.internal/0 --min-age 2592000    (hourly, from anywhere: once a month)
  fungible keys list redis://redis.internal/0 --json
  fungible keys retire /run/secrets/signing-keys 3fK9
"""


def add_parser(commands: Any) -> None:
    """Adds the command to the command line."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "keys",
        help="make, rotate, list and retire the keys that sign tokens",
        description="Makes, rotates, lists and retires the keys that sign tokens.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    new = _action(actions, "new", "make a first key, which signs at once; nothing where there is one")
    new.add_argument("--algorithm", choices=list(ALGORITHMS), default="EdDSA", help="(default: EdDSA)")
    new.add_argument("--print", action="store_true", help="print a new private JWK, and keep it nowhere")
    rotate = _action(actions, "rotate", "make the next key, which signs when all instances know it")
    rotate.add_argument("--algorithm", choices=list(ALGORITHMS), help="(default: that of the active key)")
    rotate.add_argument("--min-age", type=_seconds, default=0.0, metavar="SECONDS", help="unless it is younger")
    rotate.add_argument("--now", action="store_true", help="the next key signs now: for an active one that leaked")
    _action(actions, "list", "say which keys there are, and what each does")
    retire = _action(actions, "retire", "take a key away: what it signed is refused")
    retire.add_argument("kid", metavar="KID", help="its name, or the beginning of it; after -- if it begins with -")
    rotate.add_argument(
        "--settle", type=_seconds, metavar="SECONDS", help="from making to signing (directory: 300, store: 120)"
    )
    rotate.add_argument(
        "--longest-life", type=_seconds, default=3600.0, metavar="SECONDS", help="of any token (default: 3600)"
    )


def _action(actions: Any, name: str, words: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=words, description=f"{words.capitalize()}.")
    parser.add_argument("home", metavar="HOME", nargs=None if name == "retire" else "?", help="directory or store URL")
    parser.add_argument("--secret-file", type=Path, metavar="PATH", help=f"what seals keys in a store (${SECRET})")
    parser.add_argument("--name", default=RECORD, help=f"the record's key in a store (default: {RECORD})")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=run)
    return parser


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} must be seconds, 0 or more")
    return value


def run(arguments: argparse.Namespace) -> int:
    """Does it, and gives the exit status."""
    try:
        if arguments.action == "new" and arguments.print:
            print(json.dumps(Key.generate(arguments.algorithm).private_jwk(), indent=1))
            return 0
        home = arguments.home or os.environ.get(HOME)
        if not home:
            raise SettingError(f"which keys? Give a directory or the URL of a store, or set {HOME}")
        if _is_url(home):
            asyncio.run(_in_store(arguments, home))
        else:
            _in_directory(arguments, Path(home))
    except FungibleError as error:
        print(f"fungible keys {arguments.action}: {error}", file=sys.stderr)
        return 2
    return 0


def _is_url(home: str) -> bool:
    scheme = home.partition(":")[0]
    return "://" in home or (":" in home and ALIASES.get(scheme, scheme) in BACKENDS)


def _in_directory(arguments: argparse.Namespace, path: Path) -> None:
    if arguments.action == "new":
        _say_change(arguments, new_key_file(path, arguments.algorithm))
        return
    keys = KeyFiles(path, **_settings(arguments))
    if arguments.action == "list":
        _say_list(arguments, keys.known(time.time()))
    elif arguments.action == "rotate":
        _say_change(arguments, keys.rotate(arguments.algorithm, min_age_s=arguments.min_age, at_once=arguments.now))
    else:
        _say_retired(arguments, keys.retire(arguments.kid))


async def _in_store(arguments: argparse.Namespace, url: str) -> None:
    secret = _secret(arguments.secret_file)
    store = open_store(url, timeout_s=TIMEOUT_S)
    keys = StoredKeys(store, secret, name=arguments.name, **_settings(arguments))
    try:
        if arguments.action == "list":
            await keys.load()
            _say_list(arguments, keys.known(time.time()))
        elif arguments.action == "new":
            _say_change(arguments, await keys.new(arguments.algorithm))
        elif arguments.action == "rotate":
            change = await keys.rotate(arguments.algorithm, min_age_s=arguments.min_age, at_once=arguments.now)
            _say_change(arguments, change)
        else:
            _say_retired(arguments, await keys.retire(arguments.kid))
    finally:
        await keys.aclose()
        await store.aclose()


def _settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """What was said of the ring; the rest is its own defaults."""
    said = {"settle_s": getattr(arguments, "settle", None), "longest_life_s": getattr(arguments, "longest_life", None)}
    return {name: value for name, value in said.items() if value is not None}


def _secret(path: Path | None) -> str | bytes | KeyRing:
    if path is not None and path.is_dir():
        return KeyDirectory(path)
    if path is not None:
        try:
            return path.read_bytes().strip()
        except OSError as error:
            raise SettingError(f"{path} can't be read: {error.strerror}") from None
    secret = os.environ.get(SECRET)
    if not secret:
        raise SettingError(f"keys in a store are sealed: give the secret in {SECRET} or --secret-file")
    return secret


def _say_change(arguments: argparse.Namespace, change: Change) -> None:
    now = time.time()
    about = _about(change.key, key_set(change.keys, now))
    if arguments.json:
        print(json.dumps({"changed": change.changed, "key": about}))
        return
    when = "signs now" if change.key.activates_at <= now else f"will sign from {_time(change.key.activates_at)}"
    verb = "made" if change.changed else "nothing to do:"
    print(f"{verb} {change.key.kid} ({change.key.algorithm}), which {when}")


def _say_retired(arguments: argparse.Namespace, key: Key) -> None:
    if arguments.json:
        print(json.dumps({"retired": key.kid}))
    else:
        print(f"retired {key.kid} ({key.algorithm}): what it signed is refused")


def _say_list(arguments: argparse.Namespace, keys: KeySet) -> None:
    listed = [_about(key, keys) for key in sorted(keys.keys, key=lambda key: key.activates_at)]
    if arguments.json:
        print(json.dumps({"keys": listed}))
        return
    rows = [("KID", "ALGORITHM", "STATE", "SIGNS FROM", "VERIFIES UNTIL")]
    for each in listed:
        until = cast(float | None, each["verifies_until"])
        row = (str(each["kid"]), str(each["algorithm"]), str(each["state"]), _time(cast(float, each["signs_from"])))
        rows.append((*row, "replaced" if until is None else _time(until)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _about(key: Key, keys: KeySet) -> dict[str, object]:
    """What may be said of a key to anybody."""
    public = None if key.is_symmetric else write_pem(key.public_key())
    return {
        "kid": key.kid,
        "algorithm": key.algorithm,
        "state": keys.state(key),
        "signs_from": key.activates_at,
        "verifies_until": None if math.isinf(key.expires_at) else key.expires_at,
        "public_pem": public,
    }


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if at else "always"
