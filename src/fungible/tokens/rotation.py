"""How a ring changes: the first key, the next one, an end for one. Pure: a ring goes in, another comes out."""

from __future__ import annotations

import math
from collections.abc import Sequence

from msgspec import Struct

from fungible.core.errors import SettingError
from fungible.tokens.algorithms import algorithm_named
from fungible.tokens.claims import OUTLIVES_EXP_S
from fungible.tokens.errors import UnknownKeyError
from fungible.tokens.key import Key
from fungible.tokens.keys import key_set


class Change(Struct, frozen=True):
    """What a change made of a ring."""

    keys: tuple[Key, ...]
    key: Key
    """The one that the change is about."""
    changed: bool
    """Whether anything is another than before."""


def first_key(keys: Sequence[Key], algorithm: str, *, now: float) -> Change:
    """The ring with a key for that form of token, if it had none that signs or will sign: it signs at once."""
    found = _of_form(keys, algorithm, now)
    if found:
        return Change(tuple(keys), found[0], changed=False)
    key = Key.generate(algorithm, activates_at=math.floor(now), made_at=math.floor(now))
    return Change((*keys, key), key, changed=True)


def rotate(
    keys: Sequence[Key],
    algorithm: str | None,
    *,
    now: float,
    settle_s: float,
    longest_life_s: float,
    min_age_s: float = 0.0,
    at_once: bool = False,
) -> Change:
    """The ring with a next key, which signs in `settle_s` seconds; those before it verify as long as they are needed.

    Of several instances that rotate at the same time one draws a key, and the others find it: where a next key is
    waiting already, or the active one is younger than `min_age_s`, nothing changes, but that the keys which the waiting
    one replaces get an end if they have none.

    Args:
        algorithm: Of the new key; by default that of the active one.
        longest_life_s: Seconds that the longest token lives.
        at_once: The next key signs now, whether it was waiting or is new: for a key that has become known. Instances
            that have not heard of it refuse what it signs, until they have.
    """
    living = [key for key in keys if key.expires_at > now]
    algorithm = algorithm or _only_algorithm(living, now)
    ours = _of_form(living, algorithm, now)
    active = key_set(living, now).signing.get(algorithm_named(algorithm).form)
    waiting = next((key for key in ours if key.activates_at > now), None)
    if waiting is not None and not at_once:
        return _completed(keys, ours, waiting, longest_life_s)
    if active is not None and waiting is None and now - active.activates_at < min_age_s:
        return Change(tuple(keys), active, changed=False)
    begins = math.ceil(now + settle_s) if active is not None and not at_once else math.floor(now)
    # Later than the active one even within a second, or that would go on signing.
    begins = begins if active is None or begins > active.activates_at else math.floor(active.activates_at) + 1
    if waiting is None:
        new = Key.generate(algorithm, activates_at=begins, made_at=math.floor(now))
    else:
        new = waiting.timed(activates_at=min(begins, waiting.activates_at))
    ends = _end_before(new, longest_life_s)
    replaced = {key.kid for key in ours if key is not waiting}
    others = [
        key.timed(expires_at=min(key.expires_at, ends)) if key.kid in replaced else key
        for key in living
        if key is not waiting
    ]
    return Change((*others, new), new, changed=True)


def _completed(keys: Sequence[Key], ours: Sequence[Key], waiting: Key, longest_life_s: float) -> Change:
    """The ring with an end for those that the waiting key replaces: a rotation in files may have been cut short."""
    endless = {key.kid for key in ours if key is not waiting and math.isinf(key.expires_at)}
    ends = _end_before(waiting, longest_life_s)
    completed = tuple(key.timed(expires_at=ends) if key.kid in endless else key for key in keys)
    return Change(completed, waiting, changed=bool(endless))


def _end_before(successor: Key, longest_life_s: float) -> float:
    """When the last token of a key is taken nowhere any more, if that one signs from its time on."""
    return math.ceil(successor.activates_at + longest_life_s + OUTLIVES_EXP_S)


def retire(keys: Sequence[Key], kid: str, *, now: float) -> Change:
    """The ring without that key: what it signed is refused from now on.

    Args:
        kid: Its name, or as much of its beginning as no other has.
    Raises:
        UnknownKeyError: no key has that name, or several begin so.
        SettingError: it signs, and no other is there to do so.
    """
    found = [key for key in keys if key.kid == kid] or [key for key in keys if key.kid.startswith(kid)]
    if len(found) != 1 or not kid:
        raise UnknownKeyError(kid=kid, kids=[key.kid for key in keys])
    gone = found[0]
    left = tuple(key for key in keys if key is not gone)
    if key_set(keys, now).signing.get(gone.form) is gone and gone.form not in key_set(left, now).signing:
        raise SettingError(
            f"the key {gone.kid} is the only one that signs: `fungible keys rotate --now` gives it a successor at once"
        )
    return Change(left, gone, changed=True)


def _of_form(keys: Sequence[Key], algorithm: str, now: float) -> list[Key]:
    form = algorithm_named(algorithm).form
    return [key for key in keys if key.form == form and key.is_private and key.expires_at > now]


def _only_algorithm(keys: Sequence[Key], now: float) -> str:
    signing = key_set(keys, now).signing.values()
    names = {key.algorithm for key in signing} or {key.algorithm for key in keys}
    if len(names) != 1:
        found = ", ".join(sorted(names)) or "no key at all"
        raise SettingError(f"which algorithm shall the next key be for? The ring has {found}")
    return names.pop()
