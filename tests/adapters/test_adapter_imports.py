"""A framework is imported by its own adapter alone."""

import importlib.util
import subprocess
import sys

import pytest

FRAMEWORKS = {"fastapi", "starlette", "litestar", "flask", "werkzeug", "django"}
IMPORT = "import sys; __import__(sys.argv[1]); print(*sorted({name.partition('.')[0] for name in sys.modules}))"
OWN = {
    "fungible.adapters": set[str](),
    "fungible.adapters.sync": set[str](),
    "fungible.sessions": set[str](),
    "fungible.tokens": set[str](),
    "fungible.adapters.fastapi_limits": {"fastapi", "starlette"},
    "fungible.adapters.fastapi_tokens": {"fastapi", "starlette"},
    "fungible.adapters.fastapi": {"fastapi", "starlette"},
    "fungible.adapters.litestar": {"litestar"},
    "fungible.adapters.flask": {"flask", "werkzeug"},
    "fungible.adapters.django": {"django"},
}


@pytest.mark.parametrize("name", OWN)
def test_an_adapter_imports_its_own_framework_and_no_other(name: str) -> None:
    for needed in OWN[name]:
        if importlib.util.find_spec(needed) is None:
            pytest.skip(f"{needed} is not installed")
    run = subprocess.run([sys.executable, "-c", IMPORT, name], capture_output=True, text=True, check=True, timeout=60)
    assert FRAMEWORKS & set(run.stdout.split()) == OWN[name]
