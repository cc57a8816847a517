"""Flask: `flask.session`, kept as `fungible.sessions` keeps sessions."""

from typing import cast

import flask

from fungible.adapters.flask.interface import FungibleSessions
from fungible.adapters.flask.session import FlaskSession

__all__ = ["FlaskSession", "FungibleSessions", "session"]

session = cast(FlaskSession, flask.session)
"""`flask.session`, with its type for editors and type checkers."""
