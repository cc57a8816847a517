"""What one instance answers now so, now so, in places that say what became of a request: never noise, so no verdict."""

from fungible.check.flows.values import varies
from fungible.check.oracle.noise import Noise, Oracle
from fungible.check.runs.ground import Ground


def unsteady(ground: Ground, flow: str) -> list[str]:
    """The steps whose status, Location or cookies differ from run to run on one instance, one sentence each."""
    found: list[str] = []
    for move, oracle in zip(ground.moves, ground.oracles, strict=True):
        if len(move.step.expect.status) > 1:
            continue  # the step itself says that either will do
        places = [place for place, noise in sorted(oracle.noise.items()) if _decides(place, noise)]
        if places:
            found.append(f"step {move.step.id} of the flow {flow!r}: {', '.join(_seen(oracle, at) for at in places)}")
    return found


def reason(found: list[str]) -> str:
    """Why there is no verdict, and what gives one."""
    return (
        f"one instance alone answers now so, now so ({'; '.join(found)}), so what several instances answer can't be told "
        "from chance. If an earlier run has left something behind, use {{run}} in names that must be new, or give `reset` "
        "commands; if it is meant, say so with all its statuses in `expect.status`"
    )


def _decides(place: str, noise: Noise) -> bool:
    if place in {"status", "connection"}:
        return True
    if place == "location":
        return noise.optional or len({_route(text) for text in noise.literals}) > 1
    return place.startswith("cookie ") and (noise.optional or len({text.split(";")[0] for text in noise.literals}) > 1)


def _route(location: str) -> tuple[int, str]:
    """What names the kind of a place; identifiers below it may vary."""
    parts = location.split("/")
    first = next((part for part in parts if part), "")
    return len(parts), "" if varies(first) else first


def _seen(oracle: Oracle, place: str) -> str:
    noise = oracle.noise[place]
    values = sorted(noise.literals) + (["nothing"] if noise.optional else [])
    return f"{place} {' or '.join(values[:4])}"
