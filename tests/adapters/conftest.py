"""Tests that are coroutines run on an event loop each."""

from contracts.conftest import pytest_pyfunc_call

__all__ = ["pytest_pyfunc_call"]
