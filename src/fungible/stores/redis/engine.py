"""Whether a server can hold a store: what it permits, and does as Redis does, is tried once, at the first ping."""

from typing import Final

from hiredis import ReplyError

from fungible.stores.redis.clients import Client
from fungible.stores.redis.connection import Reply
from fungible.stores.redis.failures import WORDS, code_of, denied_command, reason_of
from fungible.stores.redis.records import CHANGE_HEAD
from fungible.stores.redis.scripts import Script

HEAD: Final = CHANGE_HEAD.pack(b"8 bytes.", 1.5, 2, 3, 4)
ACTIVE_REPLICA: Final = b"role:active-replica"


async def why_unfit(client: Client, check: Script, *, prefix: str) -> str:
    """Why a server can't hold a store, in words; empty where it can. Its capabilities count, and not its name.

    Raises:
        StoreUnavailableError: it does not answer.
    """
    # No record, rate or feed has an empty name.
    for kind, letter in (("record", "r"), ("rate", "l"), ("feed", "f")):
        key = f"{prefix}{letter}:"
        if kind == "record":
            read: Reply = await client.call(key, ("HGETALL", key), repeatable=True)
            if isinstance(read, ReplyError):
                return reason_of(read, prefix=prefix)
        # Not by its digest: both commands are needed, and the other is tried by what `ping` does next.
        found: Reply = await client.call(key, ("EVAL", check.text, 1, key, kind, HEAD), repeatable=True)
        if isinstance(found, ReplyError):
            return _refused("EVAL", found, prefix)
        if found:
            return _against(found, prefix)
    role: Reply = await client.call(key, ("INFO", "replication"), repeatable=True)
    # Users without this right are believed.
    if isinstance(role, bytes) and ACTIVE_REPLICA in role:
        return (
            "it is an active replica, where the last of two writers wins and no compare-and-set holds: "
            "use one master, or Sentinel"
        )
    return ""


def _against(found: list[bytes], prefix: str) -> str:
    """What the script has found, in words: all commands that are not permitted, or else the first thing that is wrong."""
    pairs = [(name.decode(), ReplyError(text.decode())) for name, text in zip(found[::2], found[1::2], strict=True)]
    denied = [name.lower() for name, error in pairs if denied_command(error) is not None]
    if denied:
        rights = " ".join(f"+{name}" for name in denied)
        return f"the user is not permitted to run {', '.join(denied)}: give it {rights}"
    return _refused(*pairs[0], prefix)


def _refused(command: str, error: ReplyError, prefix: str) -> str:
    reason = reason_of(error, prefix=prefix)
    if code_of(error) in WORDS or denied_command(error) is not None:
        return reason
    return f"this server can't hold a store: {command}: {reason}"
