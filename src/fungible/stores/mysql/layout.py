r"""How a record's fields are stored, and how a statement compares and edits some of them in place.

A record's fields are one text, `,"name":"base64"` for each: JSON but for its braces. A field's text is found, replaced
and removed by LOCATE, REPLACE and CONCAT on bytes, so that one UPDATE compares and changes any fields, and what another
instance has done to the others stays. It is unambiguous: a quote within a name has a backslash before it, and values hold
neither quotes nor commas. So `,"` is the start of a field; or a name ends with a comma there, and what comes next, `:"` and
base64, is how no other field goes on.

The JSON functions are not used for this. JSON_MERGE_PATCH of MariaDB 10.11 loses changes: '{"b":"9","a":null}' on
'{"a":"1","b":"2"}' leaves "b" at "2". Both servers quote member names in paths by rules of their own, and compare text by
collations, to which "QQ==" and "qq==" may be equal.
"""

from binascii import b2a_base64
from typing import Final, NamedTuple

import msgspec

from fungible.stores.contract import REMOVED, Changes, Fields, Record

MOST_EDITS: Final = 50
"""Fields edited in place at once: expressions nest one level for each, and the server's stack is bounded."""


class Edit(NamedTuple):
    """Expressions for an UPDATE of a record, with the parameters that they name."""

    fields: str
    guards: str
    """Conditions, each after an AND."""
    parameters: dict[str, bytes]


def encoded(fields: Fields) -> bytes:
    """The text of fields."""
    return b"".join(_entry(name, value) for name, value in fields.items())


def decoded(text: bytes) -> dict[str, bytes]:
    """The fields of a text."""
    return _decoder.decode(b"{%b}" % text[1:])


def edit(record: Record, changes: Changes, *, max_bytes: int) -> Edit:
    """Makes the changes where each named field stands as the record has it.

    It does nothing either where the text would become longer than `max_bytes`. The text is longer than what it holds:
    that may fit all the same.
    """
    fields, added, growth = "fields", b"", 0
    guards: list[str] = []
    parameters: dict[str, bytes] = {}
    for index, (name, value) in enumerate(changes.items()):
        was, now = f"was{index}", f"now{index}"
        if name not in record.fields:
            guards.append(f" AND LOCATE(%({was})s, fields) = 0")
            parameters[was] = _opening(name)
            if value is not REMOVED:
                added += _entry(name, value)
            continue
        guards.append(f" AND LOCATE(%({was})s, fields) > 0")
        parameters[was] = _entry(name, record.fields[name])
        if value != record.fields[name]:
            fields = f"REPLACE({fields}, %({was})s, %({now})s)"
            parameters[now] = b"" if value is REMOVED else _entry(name, value)
            growth += len(parameters[now]) - len(parameters[was])
    if added:
        fields = f"CONCAT({fields}, %(added)s)"
        parameters["added"] = added
    growth += len(added)
    if growth > 0:
        guards.append(f" AND LENGTH(fields) <= {max_bytes - growth}")
    return Edit(fields, "".join(guards), parameters)


def replacement(expected: Fields, fields: Fields) -> Edit:
    """Writes all fields where exactly the expected ones stand, in whatever order."""
    guards = [f" AND LENGTH(fields) = {len(encoded(expected))}"]
    parameters = {"fields": encoded(fields)}
    for index, (name, value) in enumerate(expected.items()):
        guards.append(f" AND LOCATE(%(was{index})s, fields) > 0")
        parameters[f"was{index}"] = _entry(name, value)
    return Edit("%(fields)s", "".join(guards), parameters)


def swap(standing: Fields, fields: Fields) -> Edit:
    """Writes all fields where exactly these stand, in the order in which they were read."""
    return Edit("%(fields)s", " AND fields = %(text)s", {"fields": encoded(fields), "text": encoded(standing)})


def _opening(name: str) -> bytes:
    # Names hold no control characters: these two are all that JSON wants escaped.
    return b',"%b":' % name.replace("\\", "\\\\").replace('"', '\\"').encode()


def _entry(name: str, value: bytes) -> bytes:
    return b'%b"%b"' % (_opening(name), b2a_base64(value, newline=False))


_decoder = msgspec.json.Decoder(dict[str, bytes])
