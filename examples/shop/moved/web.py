"""What all pages share: templates, the footer that names the instance, error pages."""

import socket
from pathlib import Path

from fastapi import HTTPException, Request, Response
from fastapi.templating import Jinja2Templates


def about_request(request: Request) -> dict[str, object]:
    """What every template may use."""
    port = request.scope["server"][1]
    return {
        "instance": f"{socket.gethostname()}:{port}",
        "user": request.session.get("user"),
    }


templates = Jinja2Templates(Path(__file__).parent / "templates", context_processors=[about_request])
templates.env.filters["money"] = lambda cents: f"€{cents / 100:.2f}"
page = templates.TemplateResponse


async def error_page(request: Request, error: HTTPException) -> Response:
    """Redirects stay redirects; everything else is told in words."""
    if error.status_code < 400:
        return Response(status_code=error.status_code, headers=error.headers)
    about = {"status": error.status_code, "message": error.detail}
    return page(request, "error.html", about, status_code=error.status_code, headers=error.headers)
