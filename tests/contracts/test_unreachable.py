"""Servers that are elsewhere, or do not let us in: an error that says so, and no more."""

import re
import traceback
from urllib.parse import urlsplit, urlunsplit

import pytest
from servers.ports import free_port

from contracts.backends import ONE_SERVER, Backend
from contracts.verbs import every_verb
from fungible.core.errors import FungibleError
from fungible.stores import (
    StoreUnavailableError,
    open_store,
)


@pytest.mark.parametrize("backend", ONE_SERVER, indirect=True)
async def test_a_server_that_is_not_there_is_unavailable_and_named(backend: Backend) -> None:
    if backend.unix:
        place = f"{backend.server.folder}/no.sock"
        url = re.sub(rf"{backend.server.folder}/\w+\.sock", place, backend.url)
    else:
        place = f"127.0.0.1:{free_port()}"
        url = backend.url.replace(f"127.0.0.1:{backend.server.port}", place)
    assert place in url
    store = open_store(url, timeout_s=2)
    try:
        for verb in every_verb(store).values():
            with pytest.raises(StoreUnavailableError, match=re.escape(place)):
                await verb()
    finally:
        await store.aclose()


def with_password(url: str, password: str) -> str:
    """The URL with another password."""
    parts = urlsplit(url)
    user, _, _ = parts.netloc.rpartition("@")[0].partition(":")
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{user}:{password}@{host}"))


@pytest.mark.parametrize("backend", [name for name in ONE_SERVER if not name.startswith("memcached")], indirect=True)
async def test_a_wrong_password_is_a_clear_error_that_does_not_repeat_it(backend: Backend) -> None:
    password = "correct-horse-battery"
    store = open_store(with_password(backend.url, password), timeout_s=5)
    try:
        assert password not in repr(store)
        assert password not in store.home
        for verb in every_verb(store).values():
            with pytest.raises(FungibleError) as error:
                await verb()
            shown = "".join(traceback.format_exception(error.value))
            assert password not in shown
            assert store.home in str(error.value)
    finally:
        await store.aclose()
