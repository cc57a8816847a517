"""Runs tests of the cache on the backends of the contract tests."""

import pytest
from contracts.backends import SHARED, Backend, make_backend
from contracts.conftest import processes, pytest_pyfunc_call

__all__ = ["backend", "processes", "pytest_pyfunc_call"]

# The kinds of stores. That Redis behaves the same as a cluster is the contract's matter.
KINDS = ("memory", *(name for name in SHARED if name not in {"redis+cluster", "redis+sentinel"}))


@pytest.fixture(params=KINDS)
def backend(request: pytest.FixtureRequest) -> Backend:
    """Where values are kept."""
    made = make_backend(request.param, request)
    made.empty()
    return made
