"""What goes wrong with Redis, in words that say what would fix it."""

import errno
import re
import socket
import ssl
from typing import Final

import hiredis

# By the first word of an error reply. Before Redis 7 an error inside a script has it in the middle of a text.
WORDS: Final = {
    "NOAUTH": "it wants a password: give one in the URL, redis://:password@host",
    "WRONGPASS": "it does not accept the user name and password",
    "NOPERM": "the user is not permitted what a store does: it needs the hash, stream, string and scripting commands",
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
REFUSALS: Final = frozenset({"NOAUTH", "WRONGPASS"})
"""Trying again as before would only be refused again."""


def code_of(error: hiredis.ReplyError) -> str:
    """The code of an error reply: `OOM`; its first word where it has none that we know."""
    text = str(error)
    found = CODE.search(text)
    return found[1] if found else text.partition(" ")[0]


def reason_of(error: hiredis.ReplyError) -> str:
    """Why a command was not carried out."""
    # What follows are the command's arguments: keys and values belong into no log.
    return WORDS.get(code_of(error)) or str(error).partition(", with args")[0][:200]


def reason_unreachable(error: OSError, host: str, port: int) -> str:
    """Why there is no connection."""
    where = f"{host}:{port}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate of {where} is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"no TLS with {where}: {error.reason or error}"
    if isinstance(error, socket.gaierror):
        return f"the host name {host!r} can't be resolved: {error.strerror}"
    # A name with several addresses gives one error that repeats what each attempt ended in.
    if isinstance(error, ConnectionRefusedError) or f"[Errno {errno.ECONNREFUSED}]" in str(error):
        return f"nothing listens at {where}"
    return f"no connection to {where}: {error.strerror or error}"
