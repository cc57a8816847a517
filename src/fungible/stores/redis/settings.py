"""What a URL says about a Redis: where it is, how it lets us in, where in it our keys are."""

import ssl
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from fungible.core.errors import SettingError
from fungible.core.urls import HomeURL

Address: TypeAlias = tuple[str, int]
"""Host and port; the path of a Unix socket and 0."""

PORT: Final = 6379
SENTINEL_PORT: Final = 26_379
EVERYWHERE: Final = ("timeout_s", "prefix", "persistence", "ca", "cert", "key")
OPTIONS: Final = {
    "redis": ("timeout_s", "prefix", "persistence"),
    "redis+unix": ("timeout_s", "prefix", "persistence", "db"),
    "rediss": (*EVERYWHERE, "tls"),
    "redis+sentinel": (*EVERYWHERE, "tls", "db", "sentinel_username", "sentinel_password"),
    "redis+cluster": (*EVERYWHERE, "tls"),
}


@dataclass(frozen=True, kw_only=True)
class Login:
    """What AUTH is given."""

    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A URL, understood."""

    scheme: str
    home: str
    """The URL for messages."""
    addresses: tuple[Address, ...]
    """The server's, the sentinels', or those of some nodes of the cluster."""
    login: Login
    sentinel_login: Login
    service: str
    """The name under which the sentinels know the master."""
    database: int
    tls: ssl.SSLContext | None
    prefix: str
    """How all our keys begin."""
    persistent: bool
    """Whether its operator says that it keeps what it holds over a restart."""
    timeout_s: float

    @property
    def unverified(self) -> bool:
        """Whether TLS is used with anybody who answers."""
        return self.tls is not None and self.tls.verify_mode is ssl.CERT_NONE


def read_settings(url: HomeURL, *, timeout_s: float) -> Settings:
    """What the URL says. Reads the certificates that it names, and opens no connection.

    Raises:
        SettingError: it can't be understood, or a certificate can't be read.
    """
    url.refuse_options_but(*OPTIONS[url.scheme])
    if url.scheme in {"redis", "rediss"} and len(url.hosts) > 1:
        raise SettingError(
            f"{url.redacted}: {url.scheme}: takes one host; several belong to redis+sentinel: or redis+cluster:"
        )
    port = SENTINEL_PORT if url.scheme == "redis+sentinel" else PORT
    hosts = ((url.socket_path(), 0),) if url.scheme == "redis+unix" else url.hosts or (("localhost", None),)
    prefix = url.option("prefix", "fungible:")
    if not prefix.isprintable() or len(prefix.encode()) > 100:
        raise SettingError(f"{url.redacted}: the prefix must be at most 100 bytes without control characters")
    return Settings(
        scheme=url.scheme,
        home=url.redacted,
        addresses=tuple((host, port if number is None else number) for host, number in hosts),
        login=Login(username=url.username, password=url.password),
        sentinel_login=Login(
            username=url.options.get("sentinel_username"), password=url.options.get("sentinel_password")
        ),
        service=_service(url),
        database=_database(url),
        tls=_tls(url),
        prefix=prefix,
        persistent=url.option("persistence", "none", allowed=("none", "aof")) == "aof",
        timeout_s=timeout_s,
    )


def _service(url: HomeURL) -> str:
    if url.scheme != "redis+sentinel":
        return ""
    if not url.path or "/" in url.path:
        raise SettingError(
            f"{url.redacted}: the master's name was expected after the hosts: redis+sentinel://host,host/mymaster"
        )
    return url.path


def _database(url: HomeURL) -> int:
    text = url.options.get("db", "0") if url.scheme in {"redis+sentinel", "redis+unix"} else url.path or "0"
    if not (text.isascii() and text.isdecimal()):
        raise SettingError(
            f"{url.redacted}: the database {text!r} must be a number, such as 0; a Unix socket is named by redis+unix:"
        )
    if url.scheme == "redis+cluster" and int(text):
        raise SettingError(f"{url.redacted}: a cluster has the database 0 and no other")
    return int(text)


def _tls(url: HomeURL) -> ssl.SSLContext | None:
    files = {name: url.options.get(name) or None for name in ("ca", "cert", "key")}
    always = url.scheme == "rediss"
    asked = url.option("tls", "yes" if always else "no", allowed=("yes", "insecure", *([] if always else ["no"])))
    if asked == "no":
        if any(files.values()):
            raise SettingError(f"{url.redacted}: ca, cert and key have a meaning with TLS alone: add tls=yes")
        return None
    if files["key"] and not files["cert"]:
        raise SettingError(f"{url.redacted}: key has a meaning with cert alone")
    if asked == "insecure" and files["ca"]:
        raise SettingError(
            f"{url.redacted}: tls=insecure trusts anybody: leave it out to trust only whom ca vouches for"
        )
    try:
        context = ssl.create_default_context(cafile=files["ca"])
        if files["cert"]:
            context.load_cert_chain(files["cert"], files["key"])
    except OSError as error:
        raise SettingError(f"{url.redacted}: a file named by ca, cert or key can't be read: {error}") from error
    if asked == "insecure":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
