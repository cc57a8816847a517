"""What goes wrong with Redis, in words that say what would fix it."""

import errno
import re
import socket
import ssl
from typing import Final

import hiredis

COMMANDS: Final = (
    *("eval", "evalsha", "hgetall", "hget", "hmget", "hset", "hdel", "del", "pexpire", "pexpireat", "pttl", "time"),
    *("get", "set", "xadd", "xrange", "xrevrange", "xdel"),
)
"""All that a store runs, by itself or in its scripts, whose commands Redis holds against the user's rights one by one."""
RIGHTS: Final = " ".join(f"+{command}" for command in COMMANDS)

# By the first word of an error reply. Before Redis 7 an error inside a script has it in the middle of a text.
WORDS: Final = {
    "NOAUTH": "it wants a password: give one in the URL, redis://:password@host",
    "WRONGPASS": "it does not accept the user name and password",
    "NOPERM": f"the user is not permitted what a store does: it needs {RIGHTS}",
    "LOADING": "it is still loading its data",
    "READONLY": "it is a replica, which takes no writes",
    "MASTERDOWN": "it is a replica that has lost its master",
    "OOM": "it is out of memory: maxmemory is reached, and the policy is noeviction",
    "MISCONF": "it takes no writes, for it could not save to its disk",
    "NOREPLICAS": "it takes no writes, for it has too few replicas",
    "BUSY": "it is busy with a script",
    "MOVED": "it is a node of a cluster: use redis+cluster:",
    "ASK": "it is a node of a cluster: use redis+cluster:",
    "CLUSTERDOWN": "the cluster is down, or has no owner for the key",
    "TRYAGAIN": "the cluster is moving the key",
}
CODE: Final = re.compile(rf"\b({'|'.join(WORDS)})\b")
# Redis 6 and 7.0, 7.2, and Valkey word these differently, and name no command within a script before 7.2.
DENIED_COMMAND: Final = re.compile(r"permissions? to run the '([^']+)' command|can't run this command")
DENIED_KEY: Final = re.compile(
    r"(?:permissions? to|can't) access (?:a key|one of the keys|at least one of the keys|the ')"
)
REFUSALS: Final = frozenset({"NOAUTH", "WRONGPASS"})
"""Trying again as before would only be refused again."""


def code_of(error: hiredis.ReplyError) -> str:
    """The code of an error reply: `OOM`; its first word where it has none that we know."""
    text = str(error)
    found = CODE.search(text)
    return found[1] if found else text.partition(" ")[0]


def denied_command(error: hiredis.ReplyError) -> str | None:
    """The command that the user is not permitted to run, if that is the error; empty where the server does not say."""
    found = DENIED_COMMAND.search(str(error))
    return None if found is None else found[1] or ""


def reason_of(error: hiredis.ReplyError, *, prefix: str = "fungible:") -> str:
    """Why a command was not carried out.

    Args:
        prefix: How the store's keys begin.
    """
    command = denied_command(error)
    if command:
        return f"the user is not permitted to run {command}: give it +{command}"
    if command is not None:
        return f"the user is not permitted to run a command of the store's scripts: it needs {RIGHTS}"
    if DENIED_KEY.search(str(error)):
        return f"the user may not access the store's keys: give it the key pattern ~{prefix}*"
    # What follows are the command's arguments: keys and values belong into no log.
    return WORDS.get(code_of(error)) or str(error).partition(", with args")[0][:200]


def reason_unreachable(error: OSError, host: str, port: int) -> str:
    """Why there is no connection."""
    where = f"{host}:{port}" if port else host
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate of {where} is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"no TLS with {where}: {error.reason or error}"
    if isinstance(error, socket.gaierror):
        return f"the host name {host!r} can't be resolved: {error.strerror}"
    # A name with several addresses gives one error that repeats what each attempt ended in.
    if isinstance(error, ConnectionRefusedError) or f"[Errno {errno.ECONNREFUSED}]" in str(error):
        return f"nothing listens at {where}"
    if isinstance(error, FileNotFoundError):
        return f"there is no socket {where}"
    if isinstance(error, PermissionError):
        return f"this user may not write to the socket {where}: see the server's unixsocketperm, and the folder's mode"
    return f"no connection to {where}: {error.strerror or error}"
