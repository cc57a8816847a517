"""Which flows an API gets: an account, one for each kind of thing, actions, reads; and what is left out."""

import re
from collections.abc import Sequence

from fungible.check.flows.api_operations import Api, Operation
from fungible.check.flows.api_sign_in import SignIn, enter, find_sign_in
from fungible.check.flows.api_steps import MAX_STEPS, FlowMaker, UnknownError, prefix_of
from fungible.check.model import Flow

MAX_FLOWS = 8
_UNSAFE = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class Planner:
    """Makes the flows of one API; use once."""

    def __init__(self, api: Api, seed: int) -> None:
        self._api = api
        self._seed = seed
        self._sign_in: SignIn = find_sign_in(api)
        self._flows: list[Flow] = []
        self._notes: list[str] = list(self._sign_in.notes)
        self._left_out: list[str] = []
        self._done: set[str] = set()

    def planned(self) -> tuple[list[Flow], list[str]]:
        """The flows, and notes on what they leave out."""
        operations = [
            one
            for one in self._api.operations
            if one not in self._sign_in.operations and one.method not in {"HEAD", "OPTIONS"}
        ]
        reachable = [one for one in operations if self._is_open(one)]
        if self._sign_in.into is not None or self._sign_in.up is not None:
            self._account(reachable)
        for create in self._creators(reachable):
            if create.title not in self._done:
                self._resource(create, reachable)
        self._actions(reachable)
        self._reads(reachable)
        self._note_rest()
        return self._flows, self._notes

    def _is_open(self, operation: Operation) -> bool:
        """True where the operation is not secured, or signing in opens it."""
        return not operation.secured or bool(set(operation.secured) & self._sign_in.schemes)

    def _maker(self, name: str, operations: Sequence[Operation]) -> FlowMaker:
        """A maker for a new flow, already signed in where one of its operations asks for it."""
        tag = f"{self._seed or ''}{'abcdefghijklmnopqrstuvwxyz'[len(self._flows) % 26]}"
        maker = FlowMaker(self._api, name, tag)
        if any(one.secured for one in operations):
            self._enter(maker)
        return maker

    def _enter(self, maker: FlowMaker) -> None:
        try:
            enter(maker, self._sign_in)
        except UnknownError as error:
            self._notes.append(f"signing in was not exercised: {error}")
        self._done |= {one.title for one in (self._sign_in.up, self._sign_in.into) if one is not None and maker.steps}

    def _finish(self, maker: FlowMaker, least: int = 1) -> None:
        if len(maker.steps) < least:
            return
        if len(self._flows) >= MAX_FLOWS:
            self._left_out.append(maker.name)
            return
        self._flows.append(maker.flow())

    def _try(self, maker: FlowMaker, operation: Operation | None, *, suffix: str = "", changed: bool = False) -> bool:
        """Adds a step where it can be made and has room; notes where not."""
        if operation is None:
            return False
        if maker.full:
            if operation.title not in self._done:
                self._left_out.append(operation.title)
            return False
        try:
            maker.add(operation, suffix=suffix, changed=changed)
        except UnknownError as error:
            self._note(operation, str(error))
            return False
        self._done.add(operation.title)
        return True

    def _note(self, operation: Operation, why: str) -> None:
        note = f"{operation.title} was not exercised: {why}"
        if note not in self._notes:
            self._notes.append(note)

    def _account(self, operations: Sequence[Operation]) -> None:
        """Sign up, sign in, see oneself, sign out, and be refused."""
        maker = FlowMaker(self._api, "account", f"{self._seed or ''}a")
        self._enter(maker)
        seen = [
            one
            for one in operations
            if one.method == "GET"
            and not one.names
            and (one.secured or one.last_word in {"me", "profile", "account", "whoami"})
        ][:3]
        for one in seen:
            self._try(maker, one)
        if self._sign_in.out is not None and self._try(maker, self._sign_in.out):
            for one in seen:
                self._try(maker, one, suffix="-signed-out")
        self._finish(maker)

    def _creators(self, operations: Sequence[Operation]) -> list[Operation]:
        """Operations that make a thing which others address, those of the shortest paths first."""
        paths = {one.path for one in operations}
        found = [
            one for one in operations if one.method == "POST" and any(_is_item_of(path, one.path) for path in paths)
        ]
        made = {one.path for one in found}
        # A PUT to an address that the client chooses makes a thing too.
        found += [
            one
            for one in operations
            if one.method == "PUT"
            and one.path.endswith("}")
            and one.path.rpartition("/")[0] not in made
            and any(other.path == one.path and other.method == "GET" for other in operations)
        ]
        return sorted(found, key=lambda one: one.path.count("/"))

    def _resource(self, create: Operation, operations: Sequence[Operation]) -> None:
        """Create, read, list, change, read, act, read, delete, read."""
        item = (
            create.path
            if create.method == "PUT"
            else next(one.path for one in operations if _is_item_of(one.path, create.path))
        )
        collection = item.rpartition("/")[0]
        here = {(one.method, one.path): one for one in operations}
        on_the_way = [
            one for one in operations if one.path.startswith(collection) or collection.startswith(one.path + "/")
        ]
        maker = self._maker(_flow_name(collection), on_the_way)
        if not self._parents(maker, create, operations) or not self._create(maker, create, item):
            return
        read, listed, delete = here.get(("GET", item)), here.get(("GET", collection)), here.get(("DELETE", item))
        self._try(maker, read)
        self._try(maker, listed)
        for change in (here.get(("PUT", item)), here.get(("PATCH", item))):
            if self._try(maker, change, suffix="-changed", changed=True):
                self._try(maker, read, suffix="-again")
        last = 3 if delete is not None else 0
        under = [
            one
            for one in operations
            if one.path.startswith(item + "/") and one.names == _names_of(item) and not self._has_item(one, operations)
        ]
        for one in sorted(under, key=lambda one: one.method == "GET"):
            if len(maker.steps) + last < MAX_STEPS:
                self._try(maker, one)
            elif one.title not in self._done:
                self._left_out.append(one.title)
        if self._try(maker, delete):
            self._try(maker, read, suffix="-deleted")
            self._try(maker, listed, suffix="-deleted")
        self._finish(maker)

    def _has_item(self, operation: Operation, operations: Sequence[Operation]) -> bool:
        return operation.method == "POST" and any(_is_item_of(one.path, operation.path) for one in operations)

    def _parents(self, maker: FlowMaker, create: Operation, operations: Sequence[Operation]) -> bool:
        """Makes the things that the path leads through; False where one can't be made."""
        for name in create.names if create.method == "POST" else create.names[:-1]:
            prefix = prefix_of(create.path, name)
            if prefix in maker.known:
                continue
            item = create.path.partition(f"/{{{name}}}")[0] + f"/{{{name}}}"
            same = [
                one
                for one in operations
                if prefix_of(one.path + "/{}", "") == prefix or re.sub(r"\{[^{}]*\}", "{}", one.path) == prefix + "/{}"
            ]
            parent = next((one for one in same if one.method == "POST"), None) or next(
                (one for one in same if one.method == "PUT"), None
            )
            if parent is None or not self._create(maker, parent, parent.path if parent.method == "PUT" else item):
                self._note(create, f"no operation gives the path parameter {name!r}")
                return False
        return True

    def _create(self, maker: FlowMaker, create: Operation, item: str) -> bool:
        names = _names_of(item)
        if not names:  # braces with nothing, or nothing usable, between them
            return False
        parameter = names[-1]
        if create.method == "PUT":
            maker.known[prefix_of(item, parameter)] = f"fungible{maker.tag}"
        if not self._try(maker, create):
            return False
        if create.method == "POST":
            maker.capture_id(create, parameter)
        return True

    def _actions(self, operations: Sequence[Operation]) -> None:
        """What changes something without addressing a thing, together with what reads beside it."""
        groups: dict[str, list[Operation]] = {}
        for one in operations:
            if one.method in _UNSAFE and one.title not in self._done and not one.names:
                groups.setdefault(_first_word(one.path), []).append(one)
        for word, group in groups.items():
            reads = [
                one for one in operations if one.method == "GET" and not one.names and _first_word(one.path) == word
            ]
            maker = self._maker(word or "actions", [*group, *reads])
            for one in group:
                if self._try(maker, one):
                    for read in reads[:2]:
                        self._try(maker, read, suffix="-again" if read.title in self._done else "")
            if any(one.title in self._done for one in group):
                self._finish(maker)

    def _reads(self, operations: Sequence[Operation]) -> None:
        """Every read that needs nothing and was not part of a flow yet."""
        left = [one for one in operations if one.method == "GET" and one.title not in self._done]
        maker = self._maker("reads", [one for one in left if not one.names])
        before = len(maker.steps)
        for one in left:
            self._try(maker, one)
        if len(maker.steps) > before:
            self._finish(maker)

    def _note_rest(self) -> None:
        for one in self._api.operations:
            is_known = one.title in self._done or one in self._sign_in.operations
            if (
                not is_known
                and one.title not in self._left_out
                and not any(note.startswith(one.title + " ") for note in self._notes)
            ):
                if one.secured and not self._is_open(one):
                    continue  # its scheme has a note of its own
                if one.method not in {"HEAD", "OPTIONS"}:
                    self._note(one, "no flow leads to it")
        if self._left_out:
            names = ", ".join(dict.fromkeys(self._left_out))
            self._notes.append(f"left out, as {MAX_FLOWS} flows of {MAX_STEPS} steps are made at most: {names}")


def _names_of(item: str) -> tuple[str, ...]:
    """The parameter names of a path."""
    return tuple(re.findall(r"\{([^{}]+)\}", item))


def _is_item_of(path: str, collection: str) -> bool:
    """True for `/items/{id}` of `/items`, with or without a slash at its end."""
    return re.fullmatch(re.escape(collection.rstrip("/")) + r"/\{[^{}/]+\}/?", path) is not None


def _first_word(path: str) -> str:
    words = [part for part in path.split("/") if part and "{" not in part and not re.fullmatch(r"api|v\d+", part)]
    return words[0] if words else ""


def _flow_name(collection: str) -> str:
    words = [part for part in collection.split("/") if part and "{" not in part and not re.fullmatch(r"api|v\d+", part)]
    return "-".join(words[-2:]).lower() or "items"
