"""What shall become of single requests: held, or cut off by SIGKILL at a chosen moment.

A plan is made beforehand, by a request of its own, for the request with that `X-Effect`: so a request and its retries
are byte by byte the same. There are moments with names, and those between: a request suspends a few dozen times, in its
own task and in those that it starts, and `steps` says before which of these the process dies.
"""

import asyncio
import os
import signal
from collections.abc import Coroutine, Generator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final

BEFORE_EFFECT, AFTER_EFFECT = "before-effect", "after-effect"
BEFORE_COMMIT, AFTER_COMMIT = "before-commit", "after-commit"
BEFORE_ANSWER, IN_ANSWER, AFTER_ANSWER = "before-answer", "in-answer", "after-answer"
MOMENTS: Final = (
    *(BEFORE_EFFECT, AFTER_EFFECT, BEFORE_COMMIT, AFTER_COMMIT),
    *(BEFORE_ANSWER, IN_ANSWER, AFTER_ANSWER),
)
"""After-commit is when the handler is done; the answers are about to be sent, begun, and given to the kernel whole."""
HEADER = b"x-effect"


@dataclass
class Plan:
    """Of one request."""

    work_s: float = 0.0
    """Between its beginning and its effect."""
    hold: bool = False
    """Whether it waits after its effect until it is released."""
    die: str = ""
    """At which moment the process ends."""
    steps: int = 0
    """Before which suspension the process ends; 0 for none."""
    counted: int = 0
    """How often it has suspended."""
    held: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)

    def reach(self, moment: str) -> None:
        """Dies here, if that was the plan."""
        if moment == self.die:
            die()

    def step(self) -> None:
        """One more suspension."""
        self.counted += 1
        if self.counted == self.steps:
            die()


Plans = dict[str, Plan]
NO_PLAN: Final = Plan()
_counting: ContextVar[Plan | None] = ContextVar("counting", default=None)


def die() -> None:
    """kill -9, by one's own hand: nothing more is run, flushed or closed."""
    os.kill(os.getpid(), signal.SIGKILL)


class Stepped(Coroutine[Any, Any, Any]):
    """A coroutine whose suspensions are counted."""

    def __init__(self, inner: Coroutine[Any, Any, Any], plan: Plan) -> None:
        self._inner, self._plan = inner, plan

    def send(self, value: Any) -> Any:
        given = self._inner.send(value)
        self._plan.step()
        return given

    def throw(self, *error: Any) -> Any:
        given = self._inner.throw(*error)
        self._plan.step()
        return given

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        value: Any = None
        while True:
            try:
                given = self.send(value)
            except StopIteration as end:
                return end.value
            try:
                value = yield given
            except BaseException as error:
                try:
                    value = yield self.throw(error)
                except StopIteration as end:
                    return end.value


def _task(loop: asyncio.AbstractEventLoop, coroutine: Any, **more: Any) -> "asyncio.Task[Any]":
    """Tasks that a counted request starts are counted with it."""
    context = more.get("context")
    plan = _counting.get() if context is None else context.get(_counting)
    return asyncio.Task(coroutine if plan is None else Stepped(coroutine, plan), loop=loop, **more)


class Outermost:
    """An ASGI application within the reach of plans: it stands outside of whatever is measured."""

    def __init__(self, app: Any, plans: Plans) -> None:
        self.app, self.plans = app, plans

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        effect = dict(scope.get("headers", ())).get(HEADER, b"").decode()
        plan = self.plans.get(effect)
        if plan is None or scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_unless_dead(message: Any) -> None:
            starts = message["type"] == "http.response.start"
            if starts:
                plan.reach(BEFORE_ANSWER)
            await send(message)
            if starts:
                plan.reach(IN_ANSWER)
            elif not message.get("more_body"):
                plan.reach(AFTER_ANSWER)

        if not plan.steps:
            await self.app(scope, receive, send_unless_dead)
            return
        asyncio.get_running_loop().set_task_factory(_task)
        _counting.set(plan)
        await Stepped(self.app(scope, receive, send_unless_dead), plan)
