"""The zoo: small applications with one planted fault each, what a check must say of them, and their mended twins.

`MENDED=1` in the environment makes an application its own twin, which is right on any number of instances. Every
application keeps what it shares in `SHARED_DIR`, which must be one directory for all instances of a run.
Each flow can be run again and again on the same instances and the same shared directory: names are drawn anew.
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from fungible.check.model import Kind, ScheduleName

HERE = Path(__file__).parent


@dataclass(frozen=True)
class App:
    """One application of the zoo.

    `step` is the first that breaks under each of `schedules`; `writer` the step whose effect is missed there, None
    where several together have it. An empty `schedules` with a `kind` means: it shows in the answers of the baseline.
    `also_kinds` are further kinds that a check may name with as much right. `kind` is None where nothing is wrong.
    """

    name: str
    start: str
    steps: list[dict[str, Any]]
    kind: Kind | None
    step: str | None = None
    writer: str | None = None
    schedules: tuple[ScheduleName, ...] = ()
    also_kinds: tuple[Kind, ...] = ()
    env_mended: dict[str, str] = field(default_factory=lambda: {"MENDED": "1"})
    needs_shared: bool = True
    shows_on: Literal["any", "fresh", "served"] = "any"
    """On which instances the fault shows: on any, on such as have served nothing, or on such as have served the flow to others."""
    runtime: Literal["python", "node"] = "python"
    exercises: bool = True
    """False where the flow has nothing that a mended application could lose: there is no verdict then."""

    @property
    def command(self) -> str:
        """The start command, with `{port}` still to be filled in."""
        return filled(self.start)


@dataclass(frozen=True)
class Misbehaving:
    """An application that can't be judged. `starts` tells whether it ever answers `/`; `ask` is then what goes wrong."""

    how: str
    starts: bool
    says: str = ""
    """What its log holds, where it tells why it ended."""

    @property
    def command(self) -> str:
        return filled("{python} {apps}/python_misbehaving.py {port} ") + self.how


def filled(start: str) -> str:
    return start.replace("{python}", sys.executable).replace("{apps}", str(HERE))


# --- steps ------------------------------------------------------------------------------------------------------------


def get(id: str, path: str, *, status: int = 200, headers: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    return _step(id, "GET", path, status, headers=headers or {}, **more)


def post(id: str, path: str, *, status: int = 303, **more: Any) -> dict[str, Any]:
    return _step(id, "POST", path, status, **more)


def put(id: str, path: str, *, status: int = 200, **more: Any) -> dict[str, Any]:
    return _step(id, "PUT", path, status, **more)


def _step(id: str, method: str, path: str, status: int, **more: Any) -> dict[str, Any]:
    expect = {
        "status": [status],
        **{key: more.pop(key) for key in ("contains", "lacks", "json_is", "location") if key in more},
    }
    if "json_is" in expect:
        expect["json"] = expect.pop("json_is")
    return {"id": id, "method": method, "path": path, "expect": expect, **{k: v for k, v in more.items() if v}}


def from_json(name: str, path: str) -> list[dict[str, Any]]:
    return [{"name": name, "from": "json", "path": path}]


def from_cookie(name: str, cookie: str) -> list[dict[str, Any]]:
    return [{"name": name, "from": "cookie", "cookie": cookie}]


def from_header(name: str, header: str, regex: str | None = None) -> list[dict[str, Any]]:
    return [{"name": name, "from": "header", "header": header, **({"regex": regex} if regex else {})}]


def from_body(name: str, regex: str) -> list[dict[str, Any]]:
    return [{"name": name, "from": "body", "regex": regex}]


def hidden(name: str) -> dict[str, Any]:
    """Captures the value of a hidden form field."""
    return from_body(name, f'name="{name}" value="([^"]+)"')[0]


# --- flows that several applications have -----------------------------------------------------------------------------

SIGN_IN = post("sign-in", "/sign-in", form={"user": "ada"}, location="^/home$")
HOME = get("home", "/home", contains=["Hello ada"])
SETTINGS = get("settings", "/settings", contains=["Settings of ada"])

CART = [
    SIGN_IN,
    HOME,
    post("add", "/cart", form={"item": "kite"}, location="^/home$"),
    get("cart", "/home", contains=["In the cart: kite<"]),
]
REST = [
    post("create", "/tasks", json={"title": "fly a kite"}, status=201, capture=from_json("task", "id")),
    get("read", "/tasks/{{task}}", json_is={"title": "fly a kite", "done": False}),
    _step("update", "PATCH", "/tasks/{{task}}", 200, json={"done": True}),
    get("read-updated", "/tasks/{{task}}", json_is={"done": True}),
    _step("delete", "DELETE", "/tasks/{{task}}", 204),
    get("read-deleted", "/tasks/{{task}}", status=404),
]
ARTICLE = [
    post("create", "/articles", json={"title": "first edition"}, status=201, capture=from_json("article", "id")),
    get("read", "/articles/{{article}}", json_is={"title": "first edition"}),
    put("update", "/articles/{{article}}", json={"title": "second edition"}),
    get("read-again", "/articles/{{article}}", json_is={"title": "second edition"}),
]
JOB = [
    post("start", "/jobs", status=202, capture=from_header("job", "location")),
    get("progress", "{{job}}", poll_seconds=2, json_is={"state": "done", "percent": 100}),
    get("result", "{{job}}/result", contains=["42 lines counted"]),
]


def locked_with(status: int) -> list[dict[str, Any]]:
    """Three wrong passwords, and the right one is refused."""
    return [
        post("register", "/users", status=201, capture=from_json("user", "user")),
        *(
            post(f"wrong-{n}", "/sign-in", json={"user": "{{user}}", "password": f"guess {n}"}, status=401)
            for n in (1, 2, 3)
        ),
        post("locked", "/sign-in", json={"user": "{{user}}", "password": "correct horse"}, status=status),
    ]


ATTEMPTS = locked_with(429)
GALLERY = [
    post("album", "/albums", status=201, capture=from_json("album", "album")),
    get("before", "/albums/{{album}}", contains=["no picture yet"]),
]
CONVERSION = [
    post("convert", "/conversions", status=201, capture=from_json("conversion", "id")),
    get("look", "/conversions/{{conversion}}", poll_seconds=5, json_is={"outcome": "ready"}),
]
LATEST = [
    post("publish", "/articles", status=201, capture=from_json("article", "id")),
    get("latest", "/latest", contains=["{{article}}"]),
]
NOTE = [
    post("create", "/notes", json={"text": "buy twine"}, status=201, capture=from_json("note", "id")),
    get("read", "/notes/{{note}}", json_is={"text": "buy twine"}),
]
SHOP = [
    get("shop", "/shop", contains=["Kites"]),
    post("add", "/basket", form={"item": "kite"}, location="^/basket$"),
    get("look-around", "/shop", contains=["Kites"]),
    get("basket", "/basket", contains=["Basket: kite"]),
]
VISIT = [get("home", "/home", contains=["Kites"]), get("about", "/about", contains=["About"])]
PICTURE = [
    post("draw", "/pictures", json={"shows": "a kite with a tail"}, status=201, capture=from_json("picture", "id")),
    put("describe", "/pictures/{{picture}}/words", json={"words": "on the beach"}),
    post("publish", "/posts", json={"picture": "{{picture}}"}, status=201, capture=from_json("post", "id")),
    get("read", "/posts/{{post}}", contains=["on the beach", "a kite with a tail"]),
]
ORDER = [
    get("basket", "/basket", capture=from_json("basket", "basket")),
    post("order", "/orders", json={"basket": "{{basket}}"}, status=201, capture=from_json("order", "order")),
    get("orders", "/baskets/{{basket}}/orders", json_is={"count": 1, "orders.0": "{{order}}"}),
]
COUNTED = [
    get("basket", "/basket", capture=from_json("basket", "basket")),
    post("order", "/baskets/{{basket}}/orders", status=200, contains=["ordered"]),
    get("metrics", "/metrics", contains=["http_requests_total"]),
    get("orders", "/baskets/{{basket}}"),
]
SLOW = [
    get("slow", "/slow", contains=["slow and done"]),
    post("slow-write", "/slow", status=200, contains=["written"]),
    get("ready", "/"),
]
QUERY_ONLY = [
    post("sign-in", "/admin.php", form={"user": "ada"}, capture=from_header("query", "location", r"(\?.+)$")),
    get("tables", "/admin.php{{query}}", contains=["<h1>ada</h1>", "Tables of notes"]),
]
OLD_PASSWORD = [
    get("name", "/name", capture=from_json("name", "name")),
    post("sign-up", "/users", json={"user": "{{name}}", "password": "first horse"}, status=201),
    post("change", "/password", json={"password": "second horse"}, status=200),
    post("old", "/sign-in", json={"user": "{{name}}", "password": "first horse"}, status=401),
    post("new", "/sign-in", json={"user": "{{name}}", "password": "second horse"}, status=201),
]
TWO_SETTINGS = [
    post("sign-in", "/sign-in", form={"user": "ada"}),
    put("colour", "/settings/colour", json={"value": "teal"}),
    put("size", "/settings/size", json={"value": "large"}),
    get("settings", "/settings", json_is={"colour": "teal", "size": "large"}),
]
NOISY = [
    get("home", "/home", contains=["<h1>Notes</h1>"], capture=[hidden("csrf")]),
    post(
        "create",
        "/notes",
        form={"csrf": "{{csrf}}", "text": "buy twine"},
        capture=from_header("note", "location", "^http://[^/]+(/notes/.+)$"),
    ),
    get("read", "{{note}}", json_is={"text": "buy twine"}),
    get("feed", "/feed"),
    _step("delete", "DELETE", "{{note}}", 204),
    get("read-deleted", "{{note}}", status=404),
]


# --- the zoo ----------------------------------------------------------------------------------------------------------


def python(name: str, steps: list[dict[str, Any]], kind: Kind | None, *where: str, **more: Any) -> App:
    """An application in Python; `where` is the step that breaks and, where there is one, its writer."""
    start = f"{{python}} {{apps}}/python_{name}.py {{port}}"
    return App(f"python_{name}", start, steps, kind, *where, **more)


def node(name: str, steps: list[dict[str, Any]], kind: Kind | None, *where: str, **more: Any) -> App:
    """An application in Node.js."""
    start = f"node {{apps}}/node_{name}.js {{port}}"
    return App(f"node_{name}", start, steps, kind, *where, **more, runtime="node")


LOST: tuple[ScheduleName, ...] = ("scatter", "crash")
"""State that another instance does not have and a crash takes away."""

SESSIONS = [
    python("session", CART, "session", "home", "sign-in", schedules=LOST),
    node("session", CART, "session", "home", "sign-in", schedules=LOST),
    python(
        "session_header",
        [
            post("token", "/tokens", json={"user": "ada"}, status=201, capture=from_json("token", "token")),
            get("me", "/me", headers={"Authorization": "Bearer {{token}}"}, json_is={"user": "ada"}),
            put("paint", "/me/colour", headers={"Authorization": "Bearer {{token}}"}, json={"colour": "teal"}),
            get("painted", "/me", headers={"Authorization": "Bearer {{token}}"}, json_is={"colour": "teal"}),
        ],
        "session",
        "me",
        "token",
        schedules=LOST,
    ),
    python(
        "session_files",
        [
            {**SIGN_IN, "capture": from_cookie("session", "PHPSESSID")},
            HOME,
            post("sign-out", "/sign-out", location="^/goodbye$"),
            get("signed-out", "/home", status=303, headers={"Cookie": "PHPSESSID={{session}}"}, location="^/sign-in$"),
        ],
        "session",
        "home",
        "sign-in",
        schedules=LOST,
        also_kinds=("data-on-local-disk",),
    ),
    *(
        language(
            "old_password",
            OLD_PASSWORD,
            "revived-session",
            "old",
            "change",
            schedules=("scatter", "warm"),
            also_kinds=("cache", "in-process-data"),
        )
        for language in (python, node)
    ),
    python("path_cookie", QUERY_ONLY, "session", "tables", "sign-in", schedules=LOST),
    node("path_cookie", QUERY_ONLY, "session", "tables", "sign-in", schedules=LOST),
    python("signed_cookie", [SIGN_IN, HOME, SETTINGS], "per-instance-secret", "home", "sign-in", schedules=LOST),
    node("signed_cookie", [SIGN_IN, HOME, SETTINGS], "per-instance-secret", "home", "sign-in", schedules=LOST),
    python("session_hash", [SIGN_IN, HOME, SETTINGS], "per-instance-secret", "home", "sign-in", schedules=LOST),
    python(
        "jwt",
        [
            post("token", "/token", form={"user": "ada"}, status=200, capture=from_json("token", "access_token")),
            get("me", "/me", headers={"Authorization": "Bearer {{token}}"}, json_is={"user": "ada"}),
            get("invoices", "/invoices", headers={"Authorization": "Bearer {{token}}"}, contains=["2026-01"]),
        ],
        "per-instance-secret",
        "me",
        "token",
        schedules=LOST,
    ),
    python(
        "csrf",
        [
            get("form", "/form", capture=[hidden("csrf"), hidden("box")]),
            post("post", "/messages", form={"csrf": "{{csrf}}", "box": "{{box}}", "text": "good morning"}),
            get("messages", "/messages/{{box}}", contains=["<p>good morning</p>"]),
        ],
        "per-instance-secret",
        "post",
        "form",
        schedules=LOST,
    ),
    python(
        "session_cache",
        [
            {**SIGN_IN, "capture": from_cookie("session", "session")},
            HOME,
            post("sign-out", "/sign-out", location="^/goodbye$"),
            get("replay", "/home", status=303, headers={"Cookie": "session={{session}}"}, location="^/sign-in$"),
        ],
        "cache",
        "replay",
        "sign-out",
        schedules=("warm",),
        also_kinds=("session",),
    ),
    python("session_expired", [SIGN_IN, HOME], "session", "home", "sign-in", schedules=LOST),
    node("session_expired", [SIGN_IN, HOME], "session", "home", "sign-in", schedules=LOST),
    python("servlet", SHOP, "session", "basket", "add", schedules=("scatter", "crash")),
    node("servlet", SHOP, "session", "basket", "add", schedules=("scatter", "crash")),
    python("visitor_cookie", VISIT, "session", "about", also_kinds=("in-process-data",), exercises=False),
    node("visitor_cookie", VISIT, "session", "about", also_kinds=("in-process-data",), exercises=False),
    python(
        "password_cache",
        [
            post("create", "/users", json={"password": "old"}, status=201, capture=from_json("user", "user")),
            get("me", "/me", auth=["{{user}}", "old"]),
            put("change", "/me/password", json={"password": "new"}, auth=["{{user}}", "old"]),
            get("old-refused", "/me", auth=["{{user}}", "old"], status=401),
        ],
        "revived-session",
        "old-refused",
        "change",
        schedules=("scatter", "warm"),
    ),
    node(
        "token_cache",
        [
            post("token", "/tokens", status=201, capture=from_json("token", "token")),
            get("me", "/me", headers={"Authorization": "Bearer {{token}}"}),
            _step("revoke", "DELETE", "/tokens/{{token}}", 204),
            get("refused", "/me", headers={"Authorization": "Bearer {{token}}"}, status=401),
        ],
        "revived-session",
        "refused",
        "revoke",
        schedules=("scatter", "warm"),
    ),
    python(
        "revived_session",
        [
            {**SIGN_IN, "capture": from_cookie("session", "session")},
            post("save", "/draft", form={"draft": "dear all"}, location="^/home$"),
            post("sign-out", "/sign-out", location="^/goodbye$"),
            get("replay", "/home", status=303, headers={"Cookie": "session={{session}}"}, location="^/sign-in$"),
        ],
        "revived-session",
        "replay",
        "sign-out",
        schedules=("race",),
    ),
    python(
        "lost_update",
        TWO_SETTINGS,
        "lost-update",
        "settings",
        schedules=("race",),
    ),
    *(
        language("rotated_token", TWO_SETTINGS, "lost-update", "settings", schedules=("race",))
        for language in (python, node)
    ),
    python(
        "oversized_cookie",
        [SIGN_IN, get("home", "/home", contains=["Hello ada", "160 permissions"])],
        "oversized-cookie",
        "sign-in",
    ),
    python(
        "sticky_cookie",
        [
            get("home", "/home", contains=["<h1>Home</h1>"]),
            post("name", "/name", form={"name": "ada"}, location="^/about$"),
            get("about", "/about", contains=["<h1>About</h1>", "For ada"]),
        ],
        "sticky-cookie",
        "home",
    ),
]

DATA = [
    python(
        "sqlite",
        [
            post("create", "/notes", json={"text": "buy twine"}, status=201, capture=from_json("note", "id")),
            get("read", "/notes/{{note}}", json_is={"text": "buy twine"}),
            put("update", "/notes/{{note}}", json={"text": "buy tin"}),
            get("read-updated", "/notes/{{note}}", json_is={"text": "buy tin"}),
        ],
        "data-on-local-disk",
        "read",
        "create",
        schedules=LOST,
    ),
    node(
        "json_file",
        [
            post("create", "/posts", json={"title": "hello"}, status=201, capture=from_json("post", "id")),
            get("read", "/posts/{{post}}", json_is={"title": "hello"}),
            put("update", "/posts/{{post}}", json={"title": "hello again"}),
            get("read-updated", "/posts/{{post}}", json_is={"title": "hello again"}),
        ],
        "data-on-local-disk",
        "read",
        "create",
        schedules=LOST,
        also_kinds=("in-process-data", "cache"),
    ),
    python(
        "upload",
        [
            post(
                "upload",
                "/files",
                files=[{"field": "file", "filename": "kite.txt", "content": "a kite with a long tail"}],
                status=201,
                capture=from_json("file", "id"),
            ),
            get("download", "/files/{{file}}", contains=["a kite with a long tail"]),
            get("size", "/files/{{file}}/size", json_is={"bytes": 23}),
        ],
        "upload",
        "download",
        "upload",
        schedules=LOST,
    ),
    node(
        "upload",
        [
            post("name", "/names", status=201, capture=from_json("name", "name")),
            put("put", "/files/{{name}}", body="first report", status=204),
            get("read", "/files/{{name}}", contains=["first report"]),
            put("replace", "/files/{{name}}", body="second report", status=204),
            get("read-replaced", "/files/{{name}}", contains=["second report"]),
        ],
        "upload",
        "read",
        "put",
        schedules=LOST,
    ),
    python("config_file", NOTE, "data-on-local-disk", "read", "create", schedules=LOST),
    node("config_file", NOTE, "data-on-local-disk", "read", "create", schedules=LOST),
    python(
        "gallery",
        [
            *GALLERY,
            post(
                "upload",
                "/albums/{{album}}",
                files=[{"field": "picture", "filename": "kite.txt", "content": "a kite with a long tail"}],
                status=201,
            ),
            get("after", "/albums/{{album}}", contains=["a kite with a long tail"]),
        ],
        "upload",
        "after",
        "upload",
        schedules=("crash", "warm"),
    ),
    node(
        "gallery",
        [
            *GALLERY,
            put("upload", "/albums/{{album}}", body="a kite with a long tail", status=201),
            get("after", "/albums/{{album}}", contains=["a kite with a long tail"]),
        ],
        "upload",
        "after",
        "upload",
        schedules=("crash", "warm"),
    ),
    python(
        "upload_list",
        [
            post(
                "upload",
                "/files",
                files=[{"field": "file", "filename": "kite.txt", "content": "a kite with a long tail"}],
                status=201,
                capture=from_json("file", "id"),
            ),
            get("download", "/files/{{file}}", contains=["a kite with a long tail"]),
        ],
        "upload",
        "download",
        "upload",
        schedules=LOST,
    ),
    node(
        "upload_list",
        [
            post("name", "/names", status=201, capture=from_json("name", "name")),
            put("put", "/files/{{name}}", body="first report", status=204),
            get("read", "/files/{{name}}", contains=["first report"]),
        ],
        "upload",
        "read",
        "put",
        schedules=LOST,
    ),
    python("passed_on", PICTURE, "in-process-data", "read", "draw", schedules=LOST),
    node("passed_on", PICTURE, "in-process-data", "read", "draw", schedules=LOST),
    python("prerendered", LATEST, "cache", "latest", "publish", schedules=("scatter",)),
    node("prerendered", LATEST, "cache", "latest", "publish", schedules=("scatter",)),
    python(
        "validator",
        [
            get("first-visit", "/logo", capture=from_header("etag", "etag")),
            get("again", "/logo", status=304, headers={"If-None-Match": "{{etag}}"}),
        ],
        "validator",
        "again",
        "first-visit",
        schedules=LOST,
    ),
    node(
        "validator",
        [
            post("create", "/articles", json={"title": "kites"}, status=201, capture=from_json("article", "id")),
            post("spare", "/articles", json={"title": "none"}, status=201),
            get("read", "/articles/{{article}}", capture=from_header("etag", "etag")),
            put("update", "/articles/{{article}}", json={"title": "tails"}, headers={"If-Match": "{{etag}}"}),
        ],
        "validator",
        "update",
        "read",
        schedules=LOST,
    ),
    python("rest", REST, "in-process-data", "read", "create", schedules=LOST),
    node("rest", REST, "in-process-data", "read", "create", schedules=LOST),
    python(
        "counter",
        [
            post("open", "/queues", json={"name": "counter 7"}, status=201, capture=from_json("queue", "id")),
            *(post(f"draw-{n}", "/queues/{{queue}}/tickets", status=201, json_is={"number": n}) for n in (1, 2, 3)),
        ],
        "in-process-data",
        "draw-2",
        "draw-1",
        schedules=LOST,
    ),
    python(
        "write_behind",
        [
            post("create", "/messages", json={"text": "see you"}, status=201, capture=from_json("message", "id")),
            get("read", "/messages/{{message}}", poll_seconds=1.5, json_is={"text": "see you"}),
            get("read-again", "/messages/{{message}}", json_is={"text": "see you"}),
        ],
        "in-process-data",
        "read",
        "create",
        schedules=("crash",),
    ),
    python("cache", ARTICLE, "cache", "read-again", "update", schedules=("warm",)),
    node("cache_ttl", ARTICLE, "cache", "read-again", "update", schedules=("warm",)),
]

WORK = [
    python("job", JOB, "job-progress", "progress", "start", schedules=LOST),
    node("job", JOB, "job-progress", "progress", "start", schedules=LOST),
    python("job_dies", JOB, "job-progress", "progress", "start", schedules=("crash",)),
    python("conversion", CONVERSION, "job-progress", "look", "convert", schedules=LOST),
    node("conversion", CONVERSION, "job-progress", "look", "convert", schedules=LOST),
    python("lockout", locked_with(403), "rate-limit", "locked", schedules=LOST),
    node("lockout", locked_with(423), "rate-limit", "locked", schedules=LOST),
    python("attempts", ATTEMPTS, "rate-limit", "locked", schedules=LOST),
    node("attempts", ATTEMPTS, "rate-limit", "locked", schedules=LOST),
    python(
        "rate_limit",
        [
            post("key", "/keys", status=201, capture=from_json("key", "key")),
            *(get(f"quote-{n}", "/quote", headers={"X-Api-Key": "{{key}}"}) for n in (1, 2, 3)),
            get("refused", "/quote", headers={"X-Api-Key": "{{key}}"}, status=429),
        ],
        "rate-limit",
        "refused",
        schedules=LOST,
    ),
    python("create_twice", ORDER, "unsafe-repeat", "order", schedules=("repeat",)),
    node("create_twice", ORDER, "unsafe-repeat", "order", schedules=("repeat",)),
    python("request_counter", COUNTED, "unsafe-repeat", "order", schedules=("repeat",)),
    python("crowded", SLOW, "drops-requests", "slow", schedules=("drain",)),
    node("crowded", SLOW, "drops-requests", "slow", schedules=("drain",)),
    python("drops", SLOW, "drops-requests", "slow", schedules=("drain",)),
    node("drops", SLOW, "drops-requests", "slow", schedules=("drain",)),
]

# What sharing instances between the runs of a check might hide.
NOTE = [
    post("create", "/notes", json={"text": "buy twine"}, status=201, capture=from_json("note", "id")),
    get("read", "/notes/{{note}}", json_is={"text": "buy twine"}),
]
SHELF = [
    post("make", "/shelves", status=201, capture=from_json("shelf", "shelf")),
    post("put", "/shelves/{{shelf}}/things", json={"title": "a kite"}, status=201, capture=from_json("thing", "thing")),
    get("read", "/shelves/{{shelf}}/things/{{thing}}", json_is={"title": "a kite"}),
]
MESSAGE = [
    post("create", "/messages", json={"text": "see you"}, status=201, capture=from_json("message", "id")),
    get("read", "/messages/{{message}}", json_is={"text": "see you"}),
]
SWITCH = [
    post("turn-on", "/maintenance", status=200, json_is={"maintenance": True}),
    get("look", "/maintenance", json_is={"maintenance": True}),
]
SETTING = [
    put("change", "/settings/theme", json={"value": "dark"}, json_is={"theme": "dark"}),
    get("look", "/settings/theme", json_is={"theme": "dark"}),
]
_HIDING: list[tuple[str, list[dict[str, Any]], Kind, str, str, dict[str, Any]]] = [
    ("first_request", NOTE, "in-process-data", "read", "create", {"shows_on": "fresh"}),
    ("second_visit", SHELF, "cache", "put", "make", {"shows_on": "served", "schedules": ("warm",)}),
    ("second_write", MESSAGE, "in-process-data", "read", "create", {"shows_on": "served", "also_kinds": ("cache",)}),
    ("switch", SWITCH, "in-process-data", "look", "turn-on", {"shows_on": "fresh"}),
    ("fixed_name", SETTING, "in-process-data", "look", "change", {"shows_on": "fresh"}),
]
HIDING = [
    made(name, flow, kind, step, writer, **{"schedules": ("scatter", "warm"), **more})
    for name, flow, kind, step, writer, more in _HIDING
    for made in (python, node)
]

NOISY_APPS = [python("noisy", NOISY, None), node("noisy", NOISY, None)]

WORKERS = [
    python("workers", CART, "session", "home", "sign-in", schedules=LOST),
    node("workers", CART, "session", "home", "sign-in", schedules=LOST),
]
"""Each instance is several processes: these do not even answer alike on one instance."""

APPS = [*SESSIONS, *DATA, *WORK, *HIDING, *NOISY_APPS]
BY_NAME = {app.name: app for app in APPS}

MISBEHAVING = [
    Misbehaving("exits", False, "the setting DATABASE_URL is missing"),
    Misbehaving("exits-later", False, "giving up: no connection to the database"),
    Misbehaving("never-listens", False),
    Misbehaving("ignores-the-port", False),
    Misbehaving("daemonises", True),
    Misbehaving("hangs", True),
    Misbehaving("closes", True),
    Misbehaving("cuts", True),
    Misbehaving("endless", True),
    Misbehaving("drips", True),
    Misbehaving("huge", True),
    Misbehaving("charset", True),
    Misbehaving("unknown-charset", True),
    Misbehaving("gzip", True),
    Misbehaving("json", True),
    Misbehaving("content-length", True),
    Misbehaving("headers", True),
    Misbehaving("many-headers", True),
    Misbehaving("not-http", True),
]
