"""Runs tests of limits on the backends of the contract tests."""

import pytest
from contracts.backends import Backend, make_backend
from contracts.conftest import processes, pytest_pyfunc_call
from limit_asking import KINDS

__all__ = ["backend", "processes", "pytest_pyfunc_call"]


@pytest.fixture(params=KINDS)
def backend(request: pytest.FixtureRequest) -> Backend:
    """Where it is counted."""
    made = make_backend(request.param, request)
    made.empty()
    return made
