"""Private real servers for tests: each on a free port of 127.0.0.1, its data in a folder of its own, gone with us."""

from servers.galera import GaleraServers
from servers.mariadb import MariaDBServer
from servers.memcached import MemcachedServer, MemcachedUnixServer
from servers.pgbouncer import PgBouncer
from servers.postgresql import PostgreSQLServer
from servers.redis import RedisServer
from servers.redis_fleets import RedisClusterServers, RedisSentinelServers
from servers.server import Server

__all__ = [
    "GaleraServers",
    "MariaDBServer",
    "MemcachedServer",
    "MemcachedUnixServer",
    "PgBouncer",
    "PostgreSQLServer",
    "RedisClusterServers",
    "RedisSentinelServers",
    "RedisServer",
    "Server",
]
