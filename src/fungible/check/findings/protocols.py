"""Protocols that have a way out of their own, whatever framework serves them: MCP, Socket.IO, webhooks."""

import re
from typing import Final

import msgspec
from msgspec import UNSET

from fungible.check.model import Kind, Step

_SOCKET_IO = re.compile(r"[?&]EIO=\d")
_WEBHOOK_PATH = re.compile(r"/(?:web[-_]?)?hooks?(?:/|$)", re.IGNORECASE)
_WEBHOOK_HEADERS: Final = frozenset(
    {
        "webhook-id",
        "svix-id",
        "stripe-signature",
        "x-github-delivery",
        "x-gitlab-event-uuid",
        "x-hub-signature-256",
        "x-shopify-webhook-id",
        "x-slack-signature",
        "paypal-transmission-id",
        "ce-id",
    }
)

_MCP_SESSION = (
    "Serve MCP without sessions, so that any instance can answer any request: `stateless_http=True` in Python "
    "(FastMCP), `sessionIdGenerator: undefined` in the TypeScript SDK. Where a tool needs the session (notifications, "
    "sampling), let the load balancer route by the header `Mcp-Session-Id`, and let clients begin a new session when "
    "theirs is answered 404."
)
_SOCKET_IO_SESSION = (
    'Connect by WebSocket alone (`transports: ["websocket"]` in the client): one connection then stays with one '
    "instance. Long polling needs session affinity at the load balancer, since the session of the handshake is in one "
    "process. Either way use an adapter (`@socket.io/redis-adapter`) for what is sent to clients of other instances."
)
_WEBHOOK_REPEAT = (
    "Senders repeat an event under its own ID and send no `Idempotency-Key`. Keep the event's ID (in the body, or in a "
    "header such as `webhook-id` or `X-GitHub-Delivery`) under a unique constraint in the same transaction as the "
    "effect, and answer 2xx to an ID that is known already."
)

PROTOCOL_FIXES: Final[dict[str, dict[Kind, str]]] = {
    "mcp": {
        "session": _MCP_SESSION,
        "in-process-data": _MCP_SESSION,
        "drops-requests": "Give the server time to finish what is under way when SIGTERM comes. FastMCP starts uvicorn "
        "with none in some versions: `mcp.run(…, uvicorn_config={'timeout_graceful_shutdown': 10})`, or serve "
        "`mcp.http_app()` by uvicorn with `--timeout-graceful-shutdown 10`.",
    },
    "socket.io": {"session": _SOCKET_IO_SESSION, "in-process-data": _SOCKET_IO_SESSION},
    "webhook": {"unsafe-repeat": _WEBHOOK_REPEAT},
}


def protocol_of(step: Step) -> str:
    """`mcp`, `socket.io`, `webhook` or an empty string, from what a step sends."""
    names = {name.lower() for name in step.headers}
    if "mcp-session-id" in names or _is_mcp(step):
        return "mcp"
    if _SOCKET_IO.search(step.path):
        return "socket.io"
    if not step.safe and (names & _WEBHOOK_HEADERS or _WEBHOOK_PATH.search(step.path.partition("?")[0])):
        return "webhook"
    return ""


def _is_mcp(step: Step) -> bool:
    """A JSON-RPC request with one of the methods that only MCP has."""
    body = b"" if step.json is UNSET else msgspec.json.encode(step.json)
    return (
        re.search(rb'"method":"(?:initialize|notifications/initialized|(?:tools|resources|prompts)/\w+)"', body)
        is not None
    )
