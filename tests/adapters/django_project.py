"""A Django project in this process: settings, routes and views for test_django.py."""

from collections.abc import Callable
from typing import Any

import django
from django.conf import settings

OURS = "fungible.adapters.django.SessionMiddleware"
DJANGOS = "django.contrib.sessions.middleware.SessionMiddleware"
SECRET = "only for tests, and long enough for that"
REST = [
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]

if not settings.configured:
    settings.configure(
        ALLOWED_HOSTS=["*"],
        DATABASES={
            "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "file:django_project?mode=memory&cache=shared"}
        },
        DEFAULT_AUTO_FIELD="django.db.models.AutoField",
        FUNGIBLE_SESSION={"store": "memory:"},
        INSTALLED_APPS=[f"django.contrib.{name}" for name in ("auth", "contenttypes", "messages", "sessions")],
        MESSAGE_STORAGE="django.contrib.messages.storage.session.SessionStorage",
        MIDDLEWARE=[OURS, *REST],
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        ROOT_URLCONF=__name__,
        SECRET_KEY=SECRET,
        SESSION_ENGINE="fungible.adapters.django.sessions",
        USE_TZ=True,
    )
    django.setup()

from django.contrib import messages  # noqa: E402
from django.contrib.auth import alogin, alogout, authenticate, get_user_model, login, logout  # noqa: E402
from django.contrib.auth.decorators import login_required  # noqa: E402
from django.http import HttpResponse, JsonResponse  # noqa: E402
from django.urls import path  # noqa: E402
from django.views.decorators.csrf import csrf_protect  # noqa: E402

doing: dict[str, Callable[[Any], Any]] = {}
"""What the view `do` does, put there by a test."""


def do(request: Any) -> HttpResponse:
    """Whatever a test wants done in a view."""
    return JsonResponse({"did": doing["do"](request)})


def answer(request: Any) -> Any:
    """Whatever a test wants answered."""
    return doing["answer"](request)


async def do_async(request: Any) -> HttpResponse:
    """The same in a view that is a coroutine."""
    return JsonResponse({"did": await doing["do"](request)})


def plain(request: Any) -> HttpResponse:
    return HttpResponse("plain")


async def plain_async(request: Any) -> HttpResponse:
    return HttpResponse("plain")


def me(request: Any) -> HttpResponse:
    return JsonResponse(dict(request.session.items()))


async def me_async(request: Any) -> HttpResponse:
    # Django's own engines can't do that in a view that is a coroutine.
    return JsonResponse({key: request.session[key] for key in request.session.keys()})  # noqa: SIM118


def put(request: Any) -> HttpResponse:
    request.session[request.GET["key"]] = request.GET["value"]
    return HttpResponse("kept")


def add(request: Any) -> HttpResponse:
    request.session.setdefault("cart", {"items": []})["items"].append(request.GET["item"])
    return HttpResponse("kept")


def sign_in(request: Any) -> HttpResponse:
    login(request, authenticate(request, username="ada", password="secret"))
    return HttpResponse("in")


async def sign_in_async(request: Any) -> HttpResponse:
    user = await get_user_model().objects.aget(username="ada")
    await alogin(request, user, "django.contrib.auth.backends.ModelBackend")
    return HttpResponse("in")


def sign_out(request: Any) -> HttpResponse:
    logout(request)
    return HttpResponse("out")


async def sign_out_async(request: Any) -> HttpResponse:
    await alogout(request)
    return HttpResponse("out")


@login_required
def private(request: Any) -> HttpResponse:
    return HttpResponse(request.user.username)


def say(request: Any) -> HttpResponse:
    messages.success(request, "saved")
    return HttpResponse("said")


def said(request: Any) -> HttpResponse:
    return JsonResponse([str(message) for message in messages.get_messages(request)], safe=False)


@csrf_protect
def protected(request: Any) -> HttpResponse:
    from django.middleware.csrf import get_token

    return HttpResponse(get_token(request))


def broken(request: Any) -> HttpResponse:
    request.session["half"] = True
    return HttpResponse("broken", status=500)


urlpatterns = [
    path("do", do),
    path("answer", answer),
    path("do-async", do_async),
    path("plain", plain),
    path("plain-async", plain_async),
    path("me", me),
    path("me-async", me_async),
    path("put", put),
    path("add", add),
    path("sign-in", sign_in),
    path("sign-in-async", sign_in_async),
    path("sign-out", sign_out),
    path("sign-out-async", sign_out_async),
    path("private", private),
    path("say", say),
    path("said", said),
    path("protected", protected),
    path("broken", broken),
]
