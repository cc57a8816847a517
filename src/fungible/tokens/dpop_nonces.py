"""Nonces for DPoP proofs that any instance can judge, and that none has to remember.

Source: RFC 9449 sections 8 and 9.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterable
from typing import Final

from fungible.core.errors import SettingError
from fungible.core.keyring import KeyRing, key_ring
from fungible.core.sealing import Sealer

PURPOSE: Final = "dpop-nonce"
CLOCKS_S: Final = 60.0
"""By how much the clocks of two instances may differ: a nonce from further ahead would be good for longer, and a proof
is remembered for so much longer than it is taken here."""


class Nonces:
    """Times, sealed with a secret that all instances share: so a proof can't have been made long ahead.

    Args:
        secret: 32 bytes or more that all instances share; several, the current one first; or a `KeyRing`.
        ttl_s: How long a nonce is good; a new one is offered when half of that is over.
    Raises:
        SettingError: a setting can't be taken.
    """

    def __init__(
        self,
        secret: str | bytes | Iterable[str | bytes] | KeyRing,
        *,
        ttl_s: float = 300,
        now: Callable[[], float] = time.time,
    ) -> None:
        if not 1 <= ttl_s <= 86_400:
            raise SettingError(f"ttl_s={ttl_s!r} must be from 1 s to a day")
        self._sealer = Sealer(key_ring(secret), purpose=PURPOSE)
        self._ttl_s = ttl_s
        self._now = now
        self._made: tuple[float, str] = (float("-inf"), "")

    def current(self) -> str:
        """A nonce to give out; the same one for a tenth of its life, since sealing costs something."""
        now = self._now()
        if not 0 <= now - self._made[0] < self._ttl_s / 10:
            self._made = (now, self._sealer.seal(struct.pack(">d", now)))
        return self._made[1]

    def age_s(self, nonce: str) -> float | None:
        """How old a nonce is, in seconds; None if it is none of ours, too old, or from too far ahead."""
        opened = self._sealer.open(nonce) if len(nonce) <= 256 else None
        if opened is None or len(opened.data) != 8:
            return None
        (made_at,) = struct.unpack(">d", opened.data)
        # An instance whose clock is ahead may have made it: its seal says that it is ours.
        age_s = self._now() - made_at
        return max(0.0, age_s) if -CLOCKS_S <= age_s <= self._ttl_s else None

    def is_due(self, age_s: float) -> bool:
        """Whether a client that has a nonce of that age should be offered a new one."""
        return age_s > self._ttl_s / 2
