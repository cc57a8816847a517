"""Point I4 in transactional mode at two nodes of a Galera cluster, which give no locks to each other: one effect."""

import asyncio

from servers import GaleraServers

from idempotency.calling import order
from idempotency.databases import Kept, prepare
from idempotency.test_transactional import Instance

KEYS = 25


async def test_i4_of_two_nodes_that_are_asked_at_once_one_takes_effect(galera_servers: GaleraServers) -> None:
    galera_servers.revive()
    places = [
        (Kept("mysql", node.url, galera_servers.run_sql), "asyncmy")
        for node in (galera_servers.first, galera_servers.second)
    ]
    prepare(places[0][0])
    keys = [f"key {number}" for number in range(KEYS)]
    async with Instance(places[0]) as one, Instance(places[1]) as other:
        answers = await asyncio.gather(*(order(instance.app, key) for key in keys for instance in (one, other)))
        # Who is second finds out at its claim or at its COMMIT, and by then has done nothing.
        assert {answer.status_code for answer in answers} <= {201, 409, 503}
        for key in keys:
            for instance in (one, other):
                while (again := await order(instance.app, key)).status_code != 201:
                    assert again.status_code in {409, 503}
                # Where neither of the first two got through, this is the first that did.
                assert instance is one or again.headers["idempotent-replayed"] == "true"
        assert one.kept.effects() == one.kept.rows() == KEYS
