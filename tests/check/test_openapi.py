import base64
import json
import uuid
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, Form, HTTPException, Query, Response, UploadFile
from fastapi.security import HTTPBasic, HTTPBasicCredentials, OAuth2PasswordBearer, OAuth2PasswordRequestForm
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from fungible.check.errors import CheckFileError
from fungible.check.flows.openapi import flows_from_openapi, read_openapi, routes_not_hit
from fungible.check.http.jar import Jar
from fungible.check.http.template import captured, request_for
from fungible.check.model import Answer, Flow


def run(app: FastAPI, flow: Flow) -> list[tuple[str, str, int]]:
    """Sends a flow to an application: step, path, status."""
    values, jar, seen = {"host": "app.test"}, Jar(), list[tuple[str, str, int]]()
    client = TestClient(app, base_url="http://app.test")
    for step in flow.steps:
        request = request_for(step, values, host="app.test", scheme="http", cookies=jar)
        client.cookies.clear()
        got = client.request(request.method, request.target, headers=list(request.headers), content=request.body)
        answer = Answer(status=got.status_code, headers=tuple(got.headers.multi_items()), body=got.content)
        for name, value in answer.headers:
            if name == "set-cookie":
                jar.take(value, request.target)
        seen.append((step.id, request.target, got.status_code))
        for capture in step.capture:
            value = captured(capture, answer, jar)
            assert value is not None, (step, got.text)
            values[capture.name] = value
    return seen


def asked(flows: list[Flow]) -> list[tuple[str, str]]:
    return [(step.method, step.path) for flow in flows for step in flow.steps]


def by_name(flows: list[Flow]) -> dict[str, Flow]:
    assert len({flow.name for flow in flows}) == len(flows)
    return {flow.name: flow for flow in flows}


def shop() -> FastAPI:
    app = FastAPI()
    items: dict[str, dict[str, Any]] = {}
    users: dict[str, str] = {}
    tokens: dict[str, str] = {}
    bearer = OAuth2PasswordBearer(tokenUrl="auth/token")

    class Address(BaseModel):
        street: str = Field(min_length=3, max_length=10)
        zip: str = Field(pattern=r"^\d{5}$")

    class ItemIn(BaseModel):
        name: str
        price: float = Field(gt=0, le=5)
        email: str = Field(json_schema_extra={"format": "email"})
        address: Address
        tags: list[str] = Field(min_length=1)
        kind: Annotated[str, Field(pattern="^(big|small)$")] = "big"
        note: str | None = None
        created_at: str | None = None

    class Item(ItemIn):
        id: uuid.UUID

    class Account(BaseModel):
        username: str
        password: str = Field(min_length=8)

    @app.post("/register", status_code=201)
    def register(account: Account) -> dict[str, str]:
        if account.username in users:
            raise HTTPException(409)
        users[account.username] = account.password
        return {"username": account.username}

    @app.post("/auth/token")
    def token(form: Annotated[OAuth2PasswordRequestForm, Depends()]) -> dict[str, str]:
        if users.get(form.username) != form.password:
            raise HTTPException(401)
        made = uuid.uuid4().hex
        tokens[made] = form.username
        return {"access_token": made, "token_type": "bearer"}

    def user(token: Annotated[str, Depends(bearer)]) -> str:
        if token not in tokens:
            raise HTTPException(401)
        return tokens[token]

    @app.get("/me")
    def me(user: Annotated[str, Depends(user)]) -> str:
        return user

    @app.post("/logout")
    def logout(token: Annotated[str, Depends(bearer)]) -> None:
        tokens.pop(token, None)

    @app.get("/api/items")
    def listed() -> list[Item]:
        return [Item(**one) for one in items.values()]

    @app.post("/api/items", status_code=201)
    def create(item: ItemIn, user: Annotated[str, Depends(user)]) -> Item:
        made = {"id": uuid.uuid4(), **item.model_dump()}
        items[str(made["id"])] = made
        return Item(**made)

    def found(item_id: uuid.UUID) -> dict[str, Any]:
        if str(item_id) not in items:
            raise HTTPException(404)
        return items[str(item_id)]

    @app.get("/api/items/{item_id}")
    def read(item: Annotated[dict[str, Any], Depends(found)]) -> Item:
        return Item(**item)

    @app.put("/api/items/{item_id}")
    def put(item: Annotated[dict[str, Any], Depends(found)], new: ItemIn) -> Item:
        item.update(new.model_dump())
        return Item(**item)

    @app.post("/api/items/{item_id}/picture")
    def picture(
        item: Annotated[dict[str, Any], Depends(found)], file: UploadFile, title: Annotated[str, Form()]
    ) -> int:
        return len(file.file.read())

    @app.delete("/api/items/{item_id}", status_code=204)
    def delete(item: Annotated[dict[str, Any], Depends(found)]) -> None:
        del items[str(item["id"])]

    @app.get("/health")
    def health() -> str:
        return "ok"

    @app.get("/search")
    def search(q: str, size: Annotated[int, Query(ge=10, le=20)], sort: str = "up") -> str:
        return q * size

    @app.get("/reports/{year}")
    def report(year: int) -> int:
        return year

    return app


def test_every_thing_is_created_read_changed_and_deleted() -> None:
    app = shop()
    flows, notes = flows_from_openapi(app.openapi())
    named = by_name(flows)
    seen = run(shop(), named["items"])
    assert [(name, status) for name, _, status in seen] == [
        ("register", 201),
        ("token", 200),
        ("create-item", 201),
        ("read-item", 200),
        ("listed", 200),
        ("put-item-changed", 200),
        ("read-item-again", 200),
        ("picture", 200),
        ("delete-item", 204),
        ("read-item-deleted", 404),
        ("listed-deleted", 200),
    ]
    assert any(note.startswith("GET /reports/{year} was not exercised") for note in notes)
    assert [(name, status) for name, _, status in run(shop(), named["account"])] == [
        ("register", 201),
        ("token", 200),
        ("me", 200),
        ("logout", 200),
        ("me-signed-out", 401),
    ]
    assert [(path, status) for _, path, status in run(shop(), named["reads"])] == [
        ("/health", 200),
        ("/search?q=fungible" + named["reads"].steps[1].path.partition("fungible")[2], 200),
    ]


def test_a_change_changes_something() -> None:
    flow = by_name(flows_from_openapi(shop().openapi())[0])["items"]
    bodies = [
        step.json for step in flow.steps if step.method in {"POST", "PUT"} and "items" in step.path and not step.files
    ]
    assert bodies[0]["name"] != bodies[1]["name"]
    assert "created_at" not in bodies[0]
    assert flow.steps[2].headers["Authorization"] == "Bearer {{token}}"


def test_flows_on_one_store_take_different_names() -> None:
    app = shop()
    statuses = [status for flow in flows_from_openapi(app.openapi())[0] for _, _, status in run(app, flow)]
    assert 409 not in statuses


def test_the_same_seed_gives_the_same_flows() -> None:
    document = shop().openapi()
    assert flows_from_openapi(document, seed=4) == flows_from_openapi(document, seed=4)
    assert flows_from_openapi(document, seed=4) != flows_from_openapi(document, seed=5)


def test_flows_set_no_expectation_and_no_recorded_status() -> None:
    steps = [step for flow in flows_from_openapi(shop().openapi())[0] for step in flow.steps]
    assert all(step.expect == type(step.expect)() and step.recorded_status is None for step in steps)


def nested() -> FastAPI:
    app = FastAPI()
    basic = HTTPBasic()
    rows: dict[str, Any] = {}

    class User(BaseModel):
        email: str
        password: str

    class Made(BaseModel):
        id: int

    class Wrapped(BaseModel):
        data: Made

    class Line(BaseModel):
        order_id: int
        text: str

    @app.post("/users", status_code=201)
    def up(user: User) -> Made:
        rows[user.email] = user.password
        return Made(id=len(rows))

    def signed_in(given: Annotated[HTTPBasicCredentials, Depends(basic)]) -> None:
        if rows.get(given.username) != given.password:
            raise HTTPException(401)

    @app.post("/v1/orders", status_code=201, dependencies=[Depends(signed_in)])
    def order() -> Wrapped:
        rows["order"] = 1
        return Wrapped(data=Made(id=41))

    @app.post("/v1/orders/{order_id}/lines", status_code=201)
    def line(order_id: int, line: Line, response: Response) -> None:
        assert order_id == 41
        response.headers["Location"] = f"/v1/orders/{order_id}/lines/7"

    @app.get("/v1/orders/{order_id}/lines/{line_id}")
    def read(order_id: int, line_id: int) -> str:
        return f"{order_id}/{line_id}"

    return app


def test_things_inside_things_are_made_in_order() -> None:
    app = nested()
    document = app.openapi()
    document["paths"]["/v1/orders/{order_id}/lines"]["post"]["responses"]["201"]["headers"] = {"Location": {}}
    document["paths"]["/v1/orders/{order_id}/lines"]["post"]["responses"]["201"].pop("content")
    flow = by_name(flows_from_openapi(document)[0])["orders-lines"]
    assert [(path, status) for _, path, status in run(app, flow)] == [
        ("/users", 201),
        ("/v1/orders", 201),
        ("/v1/orders/41/lines", 201),
        ("/v1/orders/41/lines/7", 200),
    ]
    assert flow.steps[0].json == {"email": flow.steps[1].auth[0], "password": flow.steps[1].auth[1]}


def test_a_put_that_names_its_thing_is_a_create() -> None:
    item = {
        "put": {
            "requestBody": {"content": {"application/json": {"schema": {"type": "object"}}}},
            "responses": {"201": {}},
        },
        "get": {},
        "delete": {},
    }
    flows, _ = flows_from_openapi(
        {
            "openapi": "3.0.0",
            "servers": [{"url": "https://x.test/{v}/", "variables": {"v": {"default": "v1"}}}],
            "paths": {"/buckets/{b}": item},
        }
    )
    assert [(step.method, step.path) for step in flows[0].steps] == [
        ("PUT", "/v1/buckets/fungiblea"),
        ("GET", "/v1/buckets/fungiblea"),
        ("PUT", "/v1/buckets/fungiblea"),
        ("GET", "/v1/buckets/fungiblea"),
        ("DELETE", "/v1/buckets/fungiblea"),
        ("GET", "/v1/buckets/fungiblea"),
    ]


def test_keys_that_nothing_gives_are_noted() -> None:
    document = {
        "openapi": "3.1.0",
        "components": {"securitySchemes": {"k": {"type": "apiKey", "in": "header", "name": "X-Key"}}},
        "paths": {
            "/a": {"get": {"security": [{"k": []}]}},
            "/b": {"get": {}},
            "/c": {"get": {"parameters": [{"in": "cookie", "name": "c", "required": True, "schema": {}}]}},
        },
    }
    flows, notes = flows_from_openapi(document)
    assert [step.path for flow in flows for step in flow.steps] == ["/b"]
    assert any("'X-Key'" in note for note in notes)
    assert any("the cookie 'c'" in note for note in notes)


def test_swagger_2_is_read_where_it_says_the_same() -> None:
    document = {
        "swagger": "2.0",
        "basePath": "/api",
        "consumes": ["application/json"],
        "definitions": {
            "Pet": {
                "type": "object",
                "required": ["name"],
                "properties": {
                    "id": {"type": "integer", "readOnly": True},
                    "name": {"type": "string"},
                    "parent": {"$ref": "#/definitions/Pet"},
                },
            }
        },
        "paths": {
            "/pets": {
                "post": {
                    "parameters": [{"in": "body", "name": "b", "schema": {"$ref": "#/definitions/Pet"}}],
                    "responses": {"201": {"schema": {"$ref": "#/definitions/Pet"}}},
                }
            },
            "/pets/{petId}": {
                "parameters": [{"in": "path", "name": "petId", "required": True, "type": "integer"}],
                "get": {},
            },
            "/upload": {
                "post": {
                    "parameters": [
                        {"in": "formData", "name": "f", "type": "file"},
                        {"in": "formData", "name": "t", "type": "string", "required": True},
                    ]
                }
            },
        },
    }
    named = by_name(flows_from_openapi(document)[0])
    assert [(step.method, step.path) for step in named["pets"].steps] == [
        ("POST", "/api/pets"),
        ("GET", "/api/pets/{{petId}}"),
    ]
    assert named["pets"].steps[0].json == {"name": "fungibleaname"}
    upload = named["upload"].steps[0]
    assert upload.form is not None
    assert upload.files[0].field == "f"
    assert base64.b64decode(upload.files[0].content_base64 or "").startswith(b"\x89PNG")


def test_no_more_than_the_limits_and_the_rest_is_named() -> None:
    things = {f"/t{n}": {"post": {}, "get": {}} for n in range(12)} | {f"/t{n}/{{id}}": {"get": {}} for n in range(12)}
    actions = {f"/t0/{{id}}/do{n}": {"post": {}} for n in range(15)}
    flows, notes = flows_from_openapi({"openapi": "3.0.0", "paths": things | actions})
    assert len(flows) == 8
    assert max(len(flow.steps) for flow in flows) <= 12
    assert any("t11" in note for note in notes)
    assert any("/do14" in note for note in notes)


def test_routes_that_no_step_matches_are_named() -> None:
    document = shop().openapi()
    flows, _ = flows_from_openapi(document)
    assert routes_not_hit(document, asked(flows)) == ["GET /reports/{year}"]
    assert "DELETE /api/items/{item_id}" in routes_not_hit(document, [])
    assert "DELETE /api/items/{item_id}" not in routes_not_hit(document, [("delete", "/api/items/7?force=1")])
    fixed = {"openapi": "3.0.0", "paths": {"/a/{id}": {"get": {}}, "/a/top": {"get": {}}}}
    top = flows_from_openapi({"openapi": "3.0.0", "paths": {"/a/top": {"get": {}}}})[0]
    assert routes_not_hit(fixed, asked(top)) == ["GET /a/{id}"]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.json", '{"openapi": }', "not JSON: .* line 1, column 13"),
        ("a.yaml", "a: [", "not YAML"),
        ("a.yaml", "3", "no key `openapi`"),
        ("a.json", '{"openapi": "4.0"}', "its version is '4.0'"),
        ("a.json", '{"swagger": "1.2", "paths": {"/": {}}}', "its version is '1.2'"),
        ("a.json", '{"openapi": "3.0.0", "paths": {}}', "no `paths`"),
        ("a.json", "[" * 100_000, "nested too deeply|not JSON"),
    ],
)
def test_what_is_no_description_is_refused(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(CheckFileError, match=said):
        read_openapi(tmp_path / name)


def test_files_that_are_missing_or_too_large_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckFileError, match="No such file"):
        read_openapi(tmp_path / "none.json")
    with (tmp_path / "big.json").open("wb") as file:
        file.truncate(33 * 2**20)
    with pytest.raises(CheckFileError, match="32 MiB"):
        read_openapi(tmp_path / "big.json")


def test_json_and_yaml_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(shop().openapi()))
    assert read_openapi(tmp_path / "a.json")["paths"]
    (tmp_path / "a.yaml").write_text("openapi: 3.0.0\ninfo: {version: 2026-01-01}\npaths:\n  /a:\n    get: {}\n")
    assert read_openapi(tmp_path / "a.yaml")["info"] == {"version": "2026-01-01"}


_words = st.sampled_from(
    "paths get post put delete /a /a/{id} /login parameters name in schema type properties required $ref #/paths items allOf anyOf enum format binary object array string integer responses 200 content application/json security components securitySchemes".split()
)
_any = st.recursive(
    st.none() | st.booleans() | st.integers() | _words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_words, inner, max_size=4),
    max_leaves=30,
)


@settings(max_examples=300, deadline=None)
@given(
    paths=st.dictionaries(
        st.sampled_from(["/a", "/a/{id}", "/login", "/register", "/a/{id}/b/{c}"]),
        st.dictionaries(st.sampled_from(["get", "post", "put", "delete", "parameters"]), _any, max_size=4),
        max_size=4,
    ),
    rest=st.dictionaries(_words, _any, max_size=3),
)
def test_any_description_gives_flows_or_none(paths: Any, rest: Any) -> None:
    document = {"openapi": "3.0.0", **rest, "paths": paths}
    flows, notes = flows_from_openapi(document)
    assert isinstance(notes, list)
    routes_not_hit(document, asked(flows))
