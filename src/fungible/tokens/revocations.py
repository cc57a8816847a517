"""Tokens that are dead before their time: known to every instance within a bound, at no cost for a request."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Literal, Protocol

import msgspec
from msgspec import Struct

from fungible.core.errors import SettingError
from fungible.core.leases import elapsed_s
from fungible.core.subjects import check_subject
from fungible.stores.contract import Store
from fungible.stores.following import Following
from fungible.stores.postures import Deployment, Home, require
from fungible.tokens.claims import OUTLIVES_EXP_S
from fungible.tokens.errors import InvalidTokenError
from fungible.tokens.token import Token

TOPIC: Final = "token-revocations"
LIFE_TOLERANCE_S: Final = 60.0
"""By so much a token may live longer than was said: one without `iat` is judged by clocks that differ."""
FAMILY_CLAIM: Final = "sid"

Kind = Literal["id", "family", "subject", "all"]


class UnknownKindError(ValueError):
    """A kind of revocation that this release does not know."""

    def __init__(self, kind: str) -> None:
        super().__init__(f"there is no kind of revocation {kind!r}")


class RevokedTokenError(InvalidTokenError):
    """A token that is well made, and has been revoked."""

    def __init__(self, words: str = "it has been revoked") -> None:
        super().__init__("revoked", words)


class Revocation(Struct, frozen=True, array_like=True):
    """Tokens that are dead: those of an ID or a family, or those of a subject or of anybody issued before an instant.

    A later release may add members at the end, which are passed over here, and kinds: one that is not known here counts
    for anybody's tokens that were issued before its instant, or before it was read where that is 0. What can't be read
    at all counts so, too. So a later release gives the instant with each kind that it adds.
    """

    kind: str
    name: str
    before: float
    forget_at: float


class _Known:
    """What one event loop knows: for each name when to forget it, and with subjects before which instant."""

    def __init__(self) -> None:
        self.ids: dict[str, float] = {}
        self.families: dict[str, float] = {}
        self.subjects: dict[str, tuple[float, float]] = {}
        self.all_before = float("-inf")
        self.forget_all_at = float("-inf")

    def dead(self, token: Token) -> bool:
        subject = self.subjects.get(token.subject)
        family: object = token.claims.get(FAMILY_CLAIM)
        return (
            token.id in self.ids
            # Another issuer's `sid` may be anything that JSON has.
            or (isinstance(family, str) and family in self.families)
            or (subject is not None and token.issued_at < subject[0])
            or token.issued_at < self.all_before
        )


class Revocations:
    """Revokes tokens on every instance, and tells which ones are revoked.

    Args:
        store: Where the feed is.
        bound_s: A revocation holds on every instance within that many seconds. An instance that can't read the feed for
            longer lets nobody in.
        longest_token_s: How long the longest token lives that is checked here: revocations are kept as long, and for as
            long after as a verifier may allow for clocks that differ. A token that lives longer is refused, since its
            revocation would be forgotten too early.
        now: The clock, in Unix seconds.
        instances: How many instances run; by default what the environment says in `FUNGIBLE_INSTANCES`, else 1.
        machines: On how many machines; by default `FUNGIBLE_MACHINES`, else as many as instances.
    Raises:
        SettingError: a setting can't be taken.
        PostureError: several instances can't share a feed that is kept there.
    """

    def __init__(
        self,
        store: Store,
        *,
        bound_s: float = 1.0,
        longest_token_s: float = 86_400.0,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = elapsed_s,
        instances: int | None = None,
        machines: int | None = None,
    ) -> None:
        if not 0 < bound_s <= 3600:
            raise SettingError(f"bound_s={bound_s!r} must be above 0 and at most an hour")
        if not 0 < longest_token_s <= 366 * 86_400:
            raise SettingError(f"longest_token_s={longest_token_s!r} must be above 0 and at most a year")
        require("revocation", store, Deployment.declared(instances=instances, machines=machines))
        self._store = store
        self._longest_s = longest_token_s
        self._now = now
        self._feed: Following[_Known] = Following(
            store,
            TOPIC,
            bound_s=bound_s,
            begin=_Known,
            learn=self._learn,
            skip=self._distrust,
            tidy=self._tidy,
            monotonic=monotonic,
        )

    def homes(self) -> Sequence[Home]:
        """Where the feed is, for `fungible doctor`."""
        return (Home("revocation", self._store.home, self._store.guarantees, "Revocations(store=…)"),)

    async def revoke(self, token: Token) -> None:
        """Revokes one token that has been verified.

        Raises:
            SettingError: it has no ID (`jti`).
            StoreUnavailableError: it may be revoked or not: try again. So do the others here.
        """
        await self.revoke_id(token.id, expires_at=token.expires_at)

    async def revoke_id(self, token_id: str, *, expires_at: float | None = None) -> None:
        """Revokes the token with that `jti`; `expires_at` is when it ends by itself, where that is known."""
        if not token_id:
            raise SettingError("a token without an ID (jti) can't be revoked by it: revoke its subject or its family")
        forget_at = self._kept_until() if expires_at is None else expires_at + OUTLIVES_EXP_S
        await self._publish(Revocation("id", token_id, 0, forget_at))

    async def revoke_families(self, *families: str) -> None:
        """Revokes all tokens of these families (`sid`). One call of the store, however many they are."""
        forget_at = self._kept_until()
        if families:
            await self._publish(*(Revocation("family", family, 0, forget_at) for family in families))

    async def revoke_subject(self, subject: str, *, before: float | None = None) -> None:
        """Revokes the tokens of a subject that were issued before an instant, by default now.

        By the clocks of those who issue: a token that an instance issues within the same second, or whose clock is
        behind, is revoked too, and has to be refreshed.

        Raises:
            TypeError: `subject` is no string.
        """
        check_subject(subject)
        await self._publish_before("subject", subject, before)

    async def revoke_before(self, before: float | None = None) -> None:
        """Revokes everybody's tokens that were issued before an instant, by default now."""
        await self._publish_before("all", "", before)

    async def check(self, token: Token) -> None:
        """Refuses a token that is revoked, by what is known and no older than the bound.

        Raises:
            RevokedTokenError: it is.
            StoreUnavailableError: the feed could not be read for longer than the bound: nobody may be let in.
        """
        known = self._feed.fresh()
        self._judge(token, await self._feed.known() if known is None else known)

    def says(self, token: Token) -> bool | None:
        """Whether a token is revoked, without asking the store; None where `check` has to ask."""
        known = self._feed.fresh()
        if known is None:
            return None
        return known.dead(token) or self._outlives(token)

    def _judge(self, token: Token, known: _Known) -> None:
        if known.dead(token):
            raise RevokedTokenError
        if self._outlives(token):
            raise RevokedTokenError(
                f"it lives longer than the {self._longest_s:g} s for which revocations are kept: raise longest_token_s"
            )

    def _outlives(self, token: Token) -> bool:
        return token.expires_at - (token.issued_at or self._now()) > self._longest_s + LIFE_TOLERANCE_S

    def _kept_until(self) -> float:
        """When no token that was issued by now is taken anywhere."""
        return self._now() + self._longest_s + LIFE_TOLERANCE_S + OUTLIVES_EXP_S

    async def _publish_before(self, kind: Kind, name: str, before: float | None) -> None:
        now = self._now()
        instant = now if before is None else before
        await self._publish(Revocation(kind, name, instant, self._kept_until() + max(0.0, instant - now)))

    async def _publish(self, *entries: Revocation) -> None:
        ttl_s = max(entry.forget_at for entry in entries) - self._now()
        if ttl_s <= 0:
            return
        item = msgspec.msgpack.encode(entries)
        await self._store.append(TOPIC, item, ttl_s=ttl_s)
        self._learn(self._feed.latest(), item)

    def _learn(self, known: _Known, item: bytes) -> None:
        # Items may come twice, and in whatever order instances have written them: the widest and the longest one holds.
        for entry in _decode(item):
            if entry.kind == "id":
                known.ids[entry.name] = max(entry.forget_at, known.ids.get(entry.name, 0.0))
            elif entry.kind == "family":
                known.families[entry.name] = max(entry.forget_at, known.families.get(entry.name, 0.0))
            elif entry.kind == "subject":
                before, forget_at = known.subjects.get(entry.name, (float("-inf"), 0.0))
                known.subjects[entry.name] = (max(entry.before, before), max(entry.forget_at, forget_at))
            elif entry.kind == "all" or entry.before > 0:
                _revoke_all(known, before=entry.before, forget_at=entry.forget_at)
            else:
                raise UnknownKindError(entry.kind)

    def _distrust(self, known: _Known) -> None:
        """An item could not be read: it may be about any token that was issued before now. Nobody else knows which."""
        now = self._now()
        _revoke_all(known, before=now, forget_at=now + self._longest_s + OUTLIVES_EXP_S)

    def _tidy(self, known: _Known) -> None:
        now = self._now()
        for names in (known.ids, known.families):
            _drop(names, [name for name, forget_at in names.items() if forget_at <= now])
        _drop(known.subjects, [name for name, (_, forget_at) in known.subjects.items() if forget_at <= now])
        if known.forget_all_at <= now:
            known.all_before = float("-inf")


_decode = msgspec.msgpack.Decoder(tuple[Revocation, ...]).decode


def _revoke_all(known: _Known, *, before: float, forget_at: float) -> None:
    known.all_before = max(before, known.all_before)
    known.forget_all_at = max(forget_at, known.forget_all_at)


def _drop(names: dict[str, Any], gone: Iterable[str]) -> None:
    for name in gone:
        del names[name]


class Verifier(Protocol):
    """What verifies a token by itself: a `TokenVerifier`, or what an application puts in its place."""

    def verify(self, text: str) -> Token:
        """What a token says.

        Raises:
            InvalidTokenError: it is not to be believed.
        """
        ...


class RevocableVerifier:
    """Verifies tokens and asks whether they are revoked, in one call: for code that has no middleware."""

    def __init__(self, verifier: Verifier, revocations: Revocations) -> None:
        self._verifier = verifier
        self._revocations = revocations

    async def verify(self, text: str) -> Token:
        """What a token says. Asks the store only where what is known is older than the bound.

        Raises:
            InvalidTokenError: it is not to be believed, or `RevokedTokenError`: it is revoked.
            StoreUnavailableError: what is revoked is not known.
        """
        token = self._verifier.verify(text)
        await self._revocations.check(token)
        return token
