"""Sign-in with a form or HTTP Basic, sign-out, and a limit on wrong passwords."""

import hmac
from typing import Annotated

from fastapi import APIRouter, Depends, Form, HTTPException, Request, Response
from fastapi.responses import RedirectResponse
from fastapi.security import HTTPBasic, HTTPBasicCredentials
from fungible.sessions import Session

from state import LIMITER, SIGN_INS
from web import page

# For the demo only: a real shop stores hashes of passwords, in its database.
PASSWORDS = {"ada": "lovelace", "grace": "hopper", "admin": "admin"}

router = APIRouter()


async def check_password(user: str, password: str) -> None:
    """Refuses wrong passwords with 401, and after three of them every password with 429."""
    # Counted before it is checked: of a thousand guesses at once, at whichever instances, three are looked at.
    attempt = await LIMITER.take(SIGN_INS, user)
    if attempt.counted == "nowhere":
        raise HTTPException(503, "Nobody can sign in at the moment. Please try again.", {"Retry-After": "1"})
    if not attempt.allowed:
        raise HTTPException(429, "Too many wrong passwords for this user. An administrator can unlock it.")
    if not hmac.compare_digest(PASSWORDS.get(user, "").encode(), password.encode()) or not password:
        raise HTTPException(401, "Wrong user name or password.")
    await LIMITER.reset(SIGN_INS, user)


def signed_in_session(request: Request) -> Session:
    """The visitor's session; who has not signed in is sent to do so."""
    if "user" not in request.session:
        raise HTTPException(303, headers={"Location": "/login"})
    return request.session


Basic = Annotated[HTTPBasicCredentials | None, Depends(HTTPBasic(auto_error=False))]


async def signed_in_user(request: Request, credentials: Basic) -> str:
    """Who is asking: by HTTP Basic (scripts), else by session (browsers)."""
    if credentials is None:
        return signed_in_session(request)["user"]
    await check_password(credentials.username, credentials.password)
    return credentials.username


User = Annotated[str, Depends(signed_in_user)]
SignedIn = Annotated[Session, Depends(signed_in_session)]


@router.get("/login")
def sign_in_form(request: Request) -> Response:
    return page(request, "login.html")


@router.post("/login")
async def sign_in(request: Request, user: Annotated[str, Form()], password: Annotated[str, Form()]) -> Response:
    try:
        await check_password(user, password)
    except HTTPException as refused:
        return page(request, "login.html", {"message": refused.detail}, status_code=refused.status_code)
    request.session["user"] = user
    # A new ID with each sign-in: one that somebody planted on this browser before is worth nothing.
    request.session.subject = user
    return RedirectResponse("/", 303)


@router.post("/logout")
def sign_out(request: Request) -> Response:
    request.session.clear()
    return RedirectResponse("/", 303)
