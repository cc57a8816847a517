"""Django: `SESSION_ENGINE = "fungible.adapters.django.sessions"`, and the middleware to go with it."""

from fungible.adapters.django.middleware import SessionMiddleware

__all__ = ["SessionMiddleware"]
