"""FastAPI: the access token as a typed dependency, for HTTP and WebSocket routes, with its scheme in OpenAPI.

The token itself is judged by `fungible.tokens.middleware.TokenMiddleware`, here as in any ASGI application.
"""

from typing import Annotated, Any

from fastapi import HTTPException, Security
from fastapi.openapi.models import HTTPBearer as HTTPBearerModel
from fastapi.security.base import SecurityBase
from starlette.requests import HTTPConnection

from fungible.core.errors import SettingError
from fungible.tokens.middleware import IN_SCOPE, SCOPE_WORD
from fungible.tokens.token import Token

__all__ = ["AccessToken", "CurrentToken", "access_token", "requires"]

MISSING = object()


class AccessToken(SecurityBase):
    """The security scheme: in OpenAPI a bearer token, in a route what the middleware has found.

    Args:
        scheme_name: Its name in OpenAPI.
        description: Its description there.
        realm: For `WWW-Authenticate`.
    """

    def __init__(self, *, scheme_name: str = "AccessToken", description: str | None = None, realm: str = "api") -> None:
        self.model = HTTPBearerModel(description=description)
        self.scheme_name = scheme_name
        self.realm = realm

    async def __call__(self, connection: HTTPConnection) -> Token:
        """The token of this request or WebSocket.

        Raises:
            HTTPException: 401, there is none. A WebSocket is refused before its handshake is answered.
            SettingError: the application has no `TokenMiddleware`.
        """
        found: object = connection.scope.get(IN_SCOPE, MISSING)
        if isinstance(found, Token):
            return found
        if found is MISSING:
            raise SettingError(
                "a route asks for the access token, and no middleware has looked for it: "
                "app.add_middleware(fungible.tokens.middleware.TokenMiddleware, verifier=…)"
            )
        raise HTTPException(
            401, "An access token is needed", headers={"WWW-Authenticate": f'Bearer realm="{self.realm}"'}
        )


access_token = AccessToken()
"""The scheme that `CurrentToken` and `requires` have."""

CurrentToken = Annotated[Token, Security(access_token)]
"""For a route's parameter: `async def orders(token: CurrentToken)`; 401 where there is none."""


def requires(*scopes: str) -> Any:
    """For a route that needs scopes: `Annotated[Token, requires("orders:write")]`, or `dependencies=[requires(…)]`.

    401 where there is no token, 403 where it does not grant all of them (RFC 6750 section 3.1).

    Raises:
        SettingError: a scope is no word that a token could have.
    """
    for scope in scopes:
        if not SCOPE_WORD.fullmatch(scope):
            raise SettingError(f"requires({scope!r}): a scope is one word, such as orders:write")

    async def check(token: CurrentToken) -> Token:
        if not token.has_scope(*scopes):
            words = "The access token does not grant what is asked for"
            challenge = f'Bearer realm="{access_token.realm}", error="insufficient_scope", error_description="{words}"'
            raise HTTPException(403, words, headers={"WWW-Authenticate": f'{challenge}, scope="{" ".join(scopes)}"'})
        return token

    return Security(check, scopes=scopes)
