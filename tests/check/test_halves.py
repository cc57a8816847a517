"""Halves of characters, as escapes in JSON may leave them: no recording and no description ends a check by them."""

import json
from pathlib import Path

import pytest
from recordings import assert_same_requests, entry, har

from fungible.check.flows.har import read_har
from fungible.check.flows.openapi import flows_from_openapi, read_openapi
from fungible.check.model import Flow

HALF = "\ud83d"


def test_a_recording_with_halves_is_read_and_sent(tmp_path: Path) -> None:
    posted = entry("POST", "http://shop.test/notes", text=f"note={HALF}", mime="application/x-www-form-urlencoded")
    shown = entry("GET", f"http://shop.test/notes?q={HALF}", answered=f"<p>{HALF}</p>", headers={"X-Note": HALF})
    path = tmp_path / "visit.har"
    path.write_text(json.dumps(har(posted, shown)))
    exchanges = read_har(path).exchanges
    assert [exchange.step.method for exchange in exchanges] == ["POST", "GET"]
    flow = Flow(name="visit", steps=tuple(exchange.step for exchange in exchanges))
    assert_same_requests(flow, exchanges)


@pytest.mark.parametrize("suffix", ["json", "yaml"])
def test_a_description_with_halves_makes_flows(suffix: str, tmp_path: Path) -> None:
    body = {"content": {"application/json": {"schema": {"type": "object", "properties": {"name": {"example": HALF}}}}}}
    operations = {"post": {"requestBody": body, "responses": {"201": {"description": HALF}}}}
    described = {"openapi": "3.0.0", "info": {"title": HALF, "version": "1"}, "paths": {"/notes": operations}}
    path = tmp_path / f"api.{suffix}"
    # A comment first, so that it is not taken for JSON.
    path.write_text(("# API\n" if suffix == "yaml" else "") + json.dumps(described))
    assert flows_from_openapi(read_openapi(path))
