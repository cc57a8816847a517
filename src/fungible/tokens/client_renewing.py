"""Renews a client's tokens: once for any number of requests, threads, event loops and processes.

In a process one caller leads, and the others wait for what it brings. Among processes whoever renews puts a claim into
the holder first, by compare-and-set; the others look until the tokens have changed. A process that was killed leaves
its claim behind: each of the others lets it stand for as long as a renewal may take, by its own clock, and then
claims for itself.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Final

from msgspec.structs import replace

from fungible.core.bridge import run
from fungible.core.errors import SettingError
from fungible.core.leases import Term
from fungible.tokens.client_errors import RefreshFailedError, SignInNeededError
from fungible.tokens.client_holders import ClientTokens, Held, TokenHolder

LOOK_EVERY_S: Final = 0.05
SAVE_WITHIN_S: Final = 2.0
"""How long it may take beyond the request itself until what it brought is held."""

TRY_AGAIN_AFTER_S: Final = 2.0
"""So long after tokens could not be renewed ahead of time they are used as they are."""
NOT_AGAIN_WITHIN_S: Final = 5.0
"""A token that is refused so soon after it was brought is refused for another reason than its age."""
LOGGER: Final = logging.getLogger("fungible.tokens")

Refresh = Callable[[str], Awaitable[ClientTokens]]
"""Spends a refresh token at the token endpoint.

Raises:
    SignInNeededError: the endpoint says that it is no good any more (`invalid_grant`).
    RefreshFailedError: anything else; it may be tried again.
"""


class Renewing:
    """The tokens of one holder, renewed when they are due.

    Args:
        timeout_s: Seconds in which a request to the token endpoint is given up.
        early_s: See `RefreshingAuth`.
    """

    def __init__(
        self,
        holder: TokenHolder,
        refresh: Refresh,
        *,
        early_s: float = 30,
        timeout_s: float = 4,
        now: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        if not 0 <= early_s <= 86_400 or not 0 < timeout_s <= 60:
            raise SettingError(f"early_s={early_s!r} must be 0 to a day, and timeout_s={timeout_s!r} above 0, up to 60")
        self._holder = holder
        self._refresh = refresh
        self._early_s = early_s
        self._timeout_s = timeout_s
        self._now = now
        self._chance = chance
        self._known: ClientTokens | None = None
        self._due_at = float("-inf")
        self._lock = threading.Lock()
        self._led: tuple[int, Future[ClientTokens]] | None = None
        self._brought: tuple[str, float] = ("", 0.0)
        self._distrusted = ""
        self._drawn: tuple[str, float] = ("", 0.0)
        self._tasks: set[asyncio.Task[None]] = set()

    def ready(self) -> ClientTokens | None:
        """Tokens that can be used as they are; None where `tokens` has to be asked."""
        known = self._known
        if known is None or known.access_token == self._distrusted or self._now() >= self._due_at:
            return None
        return known

    async def tokens(self, *, refused: str | None = None) -> ClientTokens:
        """Tokens to use, renewed if they are due.

        Args:
            refused: An access token that a server has just refused: others than this are wanted.
        Raises:
            SignInNeededError: there are none, and none can be had.
            RefreshFailedError: none can be had at the moment.
            StoreUnavailableError: the holder's store is away.
        """
        known = self._known
        if refused is None and self._distrusted:
            refused = self._distrusted
        if refused is None and known is not None and self._is_alive(known) and self._under_way() is not None:
            # Somebody renews them already; until then these are good.
            return known
        while True:
            future, leads = self._lead()
            if leads:
                # Not lost with the caller: others wait for it, and the endpoint may have spent the token already.
                task = asyncio.create_task(self._renew_for_all(future, refused), name="fungible-renews-tokens")
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            try:
                found = await asyncio.shield(_on_this_loop(future))
            except _LeaderStoppedError:
                continue
            if refused is None or leads or found.access_token != refused:
                return found

    def may_help(self, refused: ClientTokens) -> bool:
        """Whether other tokens may do where these were refused: else each request would spend a refresh token."""
        token, at = self._brought
        return token != refused.access_token or not 0 <= self._now() - at < NOT_AGAIN_WITHIN_S

    def distrust(self, refused: ClientTokens) -> None:
        """Tokens were refused, and the request can't be sent again: the next one gets others."""
        self._distrusted = refused.access_token

    def tokens_now(self, *, refused: str | None = None) -> ClientTokens:
        """The same for callers that block."""
        return self.ready_but(refused) or run(self.tokens(refused=refused))

    def ready_but(self, refused: str | None) -> ClientTokens | None:
        """Tokens that can be used as they are, and are not those that were refused."""
        known = self.ready()
        return known if known is not None and known.access_token != refused else None

    def _lead(self) -> tuple[Future[ClientTokens], bool]:
        """What the one who leads will bring, and whether that is the caller."""
        with self._lock:
            led = self._under_way()
            if led is not None:
                return led, False
            future: Future[ClientTokens] = Future()
            self._led = (os.getpid(), future)
            return future, True

    def _under_way(self) -> Future[ClientTokens] | None:
        led = self._led
        # The leader of before a fork is in the other process.
        return led[1] if led is not None and led[0] == os.getpid() and not led[1].done() else None

    async def _renew_for_all(self, future: Future[ClientTokens], refused: str | None) -> None:
        try:
            tokens = await self._renew(refused)
        except Exception as error:
            future.set_exception(error)
        except BaseException:
            # Its event loop ends: somebody else is to lead.
            future.set_exception(_LeaderStoppedError())
            raise
        else:
            if tokens.access_token != self._distrusted:
                self._distrusted = ""
            # Where they could not be renewed in time, that is tried again, but not by each request.
            self._known, self._due_at = tokens, max(self._due(tokens), self._now() + TRY_AGAIN_AFTER_S)
            if tokens.expires_at is not None:
                self._due_at = min(self._due_at, tokens.expires_at)
            future.set_result(tokens)

    async def _renew(self, refused: str | None) -> ClientTokens:
        """What another process has brought meanwhile; else what the endpoint gives."""
        claim_seen, seen_at = "", time.monotonic()
        while True:
            held = await self._holder.load()
            if held is None:
                raise SignInNeededError("there are no tokens: sign in first, and give them to the holder")
            if self._is_good(held.tokens, refused):
                return held.tokens
            if not held.tokens.refresh_token:
                if self._is_alive(held.tokens) and refused is None:
                    return held.tokens
                raise SignInNeededError("the access token is no good any more, and there is no refresh token")
            if held.claim and held.claim != claim_seen:
                claim_seen, seen_at = held.claim, time.monotonic()
            if held.claim and time.monotonic() - seen_at < self._timeout_s + SAVE_WITHIN_S:
                if self._is_alive(held.tokens) and refused is None:
                    return held.tokens
                await asyncio.sleep(LOOK_EVERY_S * (0.5 + self._chance()))
                continue
            claimed, term = Held(held.tokens, os.urandom(8).hex()), Term(self._timeout_s + SAVE_WITHIN_S)
            if await self._holder.save(claimed, expect=held):
                return await self._spend(claimed, refused, term)

    async def _spend(self, claimed: Held, refused: str | None, term: Term) -> ClientTokens:
        """Spends the refresh token, which this caller alone may do now."""
        standing = await self._holder.load()
        if standing is None or standing.claim != claimed.claim:
            return await self._renew(refused)
        # Who was stopped until others may take the claim for dead must not spend it after them: it would look stolen.
        left_s = term.left_s
        if left_s <= 0:
            await self._holder.save(Held(standing.tokens), expect=standing)
            return await self._renew(refused)
        try:
            async with asyncio.timeout(min(self._timeout_s, left_s)):
                tokens = await self._refresh(standing.tokens.refresh_token)
        except SignInNeededError:
            # Not again: each further try would be taken for a thief's.
            if await self._holder.save(Held(replace(standing.tokens, refresh_token="")), expect=standing):
                raise
            return await self._renew(refused)
        except Exception as error:
            await self._holder.save(Held(standing.tokens), expect=standing)
            if self._is_alive(standing.tokens) and refused is None:
                LOGGER.warning("the tokens could not be renewed ahead of time, and are used as they are: %s", error)
                return standing.tokens
            if isinstance(error, TimeoutError):
                raise RefreshFailedError(f"the token endpoint did not answer in {self._timeout_s:g} s") from error
            raise
        if not tokens.refresh_token:
            # RFC 6749 section 6: an endpoint that sends none goes on with the one there is.
            tokens = replace(tokens, refresh_token=standing.tokens.refresh_token)
        self._brought = (tokens.access_token, self._now())
        if not await self._holder.save(Held(tokens), expect=standing):
            # Somebody has signed in anew, or taken this claim for dead: what they hold counts.
            return await self._renew(None)
        return tokens

    def _due(self, tokens: ClientTokens) -> float:
        """When they are renewed: early, and not at the same time in each process. Drawn once for each access token."""
        if self._drawn[0] != tokens.access_token:
            due_at = float("inf") if tokens.expires_at is None else tokens.expires_at
            if tokens.expires_at is not None and tokens.refresh_token:
                life_s = tokens.expires_at - tokens.obtained_at if tokens.obtained_at else float("inf")
                due_at -= min(self._early_s, life_s / 4) * (1 + self._chance())
            self._drawn = (tokens.access_token, due_at)
        return self._drawn[1]

    def _is_good(self, tokens: ClientTokens, refused: str | None) -> bool:
        return tokens.access_token != refused and self._now() < self._due(tokens)

    def _is_alive(self, tokens: ClientTokens) -> bool:
        return tokens.expires_at is None or self._now() < tokens.expires_at


class _LeaderStoppedError(Exception):
    """Who renewed was stopped before there was a result."""


def _on_this_loop(future: Future[ClientTokens]) -> asyncio.Future[ClientTokens]:
    wrapped = asyncio.wrap_future(future)
    # Seen to have failed, also where nobody waits any more.
    wrapped.add_done_callback(lambda done: done.cancelled() or done.exception())
    return wrapped
