"""Django with our engine and middleware: `application` for WSGI, `asynchronous` for ASGI."""

import os
import sys
from typing import Any

import django
from django.conf import settings
from gates import block_at, wait_at

settings.configure(
    ALLOWED_HOSTS=["*"],
    AUTHENTICATION_BACKENDS=["django.contrib.auth.backends.ModelBackend"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["DATABASE"]}},
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    FUNGIBLE_SESSION={
        "store": os.environ["STORE_URL"],
        "mode": os.environ["SESSION_MODE"],
        "instances": 2,
        "machines": 1,
    },
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes"],
    MIDDLEWARE=[
        os.environ.get("SESSION_MIDDLEWARE", "fungible.adapters.django.SessionMiddleware"),
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    ROOT_URLCONF=__name__,
    SECRET_KEY=os.environ["SESSION_SECRET"],
    SESSION_COOKIE_NAME="__Host-session",
    SESSION_COOKIE_SECURE=True,
    SESSION_ENGINE="fungible.adapters.django.sessions",
    USE_TZ=True,
)
django.setup()

from django.contrib.auth import alogin, alogout, authenticate, login, logout  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402
from django.core.handlers.asgi import ASGIHandler  # noqa: E402
from django.core.handlers.wsgi import WSGIHandler  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.http import HttpResponse, JsonResponse  # noqa: E402
from django.urls import path  # noqa: E402


def plain(request: Any) -> HttpResponse:
    return HttpResponse("plain")


def me(request: Any) -> JsonResponse:
    signed_in = {"user": request.user.username} if request.user.is_authenticated else {}
    return JsonResponse(dict(request.session.items()) | signed_in)


def add(request: Any) -> JsonResponse:
    request.session.setdefault("cart", {"items": []})
    block_at(request.GET.get("gate"))
    return put(request)


async def add_async(request: Any) -> JsonResponse:
    await request.session.asetdefault("cart", {"items": []})
    await wait_at(request.GET.get("gate"))
    return put(request)


def put(request: Any) -> JsonResponse:
    item = request.GET["item"]
    request.session["cart"]["items"].append(item)
    request.session[f"item-{item}"] = True
    request.session.increment("count")
    return JsonResponse({})


def sign_in(request: Any) -> JsonResponse:
    login(request, authenticate(request, username=request.GET["user"], password="secret"))
    return JsonResponse({})


async def sign_in_async(request: Any) -> JsonResponse:
    user = await User.objects.aget(username=request.GET["user"])
    await alogin(request, user, "django.contrib.auth.backends.ModelBackend")
    return JsonResponse({})


def sign_out(request: Any) -> JsonResponse:
    logout(request)
    return JsonResponse({})


async def sign_out_async(request: Any) -> JsonResponse:
    await alogout(request)
    return JsonResponse({})


def sign_out_everywhere(request: Any) -> JsonResponse:
    request.session.end_all()
    return JsonResponse({})


def slow(request: Any) -> JsonResponse:
    seen = dict(request.session.items())
    block_at(request.GET["gate"])
    if "reads" not in request.GET:
        request.session["late"] = True
    return JsonResponse(seen)


async def slow_async(request: Any) -> JsonResponse:
    seen = dict(await request.session.aitems())
    await wait_at(request.GET["gate"])
    if "reads" not in request.GET:
        request.session["late"] = True
    return JsonResponse(seen)


ASYNCHRONOUS = "ASYNCHRONOUS" in os.environ
urlpatterns = [
    path("plain", plain),
    path("me", me),
    path("add", add_async if ASYNCHRONOUS else add),
    path("sign-in", sign_in_async if ASYNCHRONOUS else sign_in),
    path("sign-out", sign_out_async if ASYNCHRONOUS else sign_out),
    path("sign-out-everywhere", sign_out_everywhere),
    path("slow", slow_async if ASYNCHRONOUS else slow),
]
app = ASGIHandler() if ASYNCHRONOUS else WSGIHandler()

if sys.argv[1:] == ["prepare"]:
    call_command("migrate", verbosity=0)
    User.objects.create_user("ada", password="secret")
