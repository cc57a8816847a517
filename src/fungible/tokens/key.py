"""A key: bound to one algorithm, with a name, the time from which it signs, and the time until which it verifies."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any, Final, Literal, cast

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from fungible.core.errors import SettingError
from fungible.tokens.algorithms import (
    ALGORITHMS,
    PrivateKey,
    PublicKey,
    algorithm_named,
    check_fit,
    curve_of,
    draw,
    public_of,
    signer,
    verifier,
)
from fungible.tokens.jwk import private_members, public_members, read_jwk, read_pem, thumbprint
from fungible.tokens.paseto import LocalKey

State = Literal["next", "active", "retired"]


class Key:
    """A key for tokens. It is for one algorithm and never judged by another (RFC 8725 section 3.1).

    `Key.generate`, `from_jwk`, `from_pem` and `from_secret` make one.

    Args:
        material: The key of `cryptography`, private or public; or a secret.
        algorithm: One of `EdDSA`, `Ed25519`, `ES256`, `ES384`, `ES512`, `RS256`, `RS384`, `RS512`, `PS256`, `PS384`,
            `PS512`, `HS256`, `v4.public`, `v4.local`.
        kid: Its name in tokens; by default its thumbprint (RFC 7638).
        activates_at: Unix seconds from which it signs, if it is the latest to do so; before, it only verifies.
        expires_at: Unix seconds from which it verifies no more.
        made_at: Unix seconds, for lists.
        drawn: Whether it was drawn in this process and is known nowhere else.
    Raises:
        SettingError: the material does not fit the algorithm, or is too weak.
    """

    __slots__ = (
        "_material",
        "activates_at",
        "algorithm",
        "drawn",
        "expires_at",
        "form",
        "kid",
        "local",
        "made_at",
        "sign",
        "verify",
    )

    def __init__(
        self,
        material: PrivateKey | PublicKey,
        algorithm: str,
        *,
        kid: str | None = None,
        activates_at: float = 0.0,
        expires_at: float = math.inf,
        made_at: float = 0.0,
        drawn: bool = False,
        seat: str = "the key",
    ) -> None:
        found = algorithm_named(algorithm)
        check_fit(found, material, seat=seat)
        self._material = material
        self.algorithm: Final = algorithm
        self.form: Final = found.form
        self.kid: Final = thumbprint(public_of(material)) if kid is None else kid
        if not 0 < len(self.kid) <= 256:
            raise SettingError(f"{seat}: a kid has 1 to 256 characters")
        self.activates_at: Final = activates_at
        self.expires_at: Final = expires_at
        self.made_at: Final = made_at
        self.drawn: Final = drawn
        self.local: Final = LocalKey(cast(bytes, material)) if algorithm == "v4.local" else None
        self.sign: Final = signer(found, cast(PrivateKey, material)) if self.is_private else None
        self.verify: Final = verifier(found, public_of(material))

    def __repr__(self) -> str:
        return f"<Key {self.kid} {self.algorithm}>"

    @classmethod
    def generate(cls, algorithm: str = "EdDSA", *, activates_at: float = 0.0, made_at: float | None = None) -> Key:
        """A new key. Nobody else has it: put it where all instances find it."""
        found = algorithm_named(algorithm)
        drawn = draw(found)
        while thumbprint(public_of(drawn)).startswith("-"):
            # On a command line its name would be taken for an option: `fungible keys retire HOME -x3…`.
            drawn = draw(found)
        return cls(
            drawn,
            algorithm,
            activates_at=activates_at,
            made_at=math.floor(time.time()) if made_at is None else made_at,
            drawn=True,
        )

    @classmethod
    def from_jwk(cls, jwk: Mapping[str, Any], *, seat: str = "the JWK") -> Key:
        """A key from a JWK (RFC 7517).

        `alg` binds it; without it an Ed25519 key is for EdDSA, one on P-256 for ES256 (P-384: ES384, P-521: ES512), an RSA
        key for RS256, and a secret needs it. `nbf`, `exp` and `iat` are the times, in Unix seconds.

        Raises:
            SettingError: it can't be read, does not fit its `alg`, or is not for signatures.
        """
        material = read_jwk(jwk, seat=seat)
        kid = jwk.get("kid")
        algorithm: object = _natural(material) if jwk.get("alg") is None else jwk["alg"]
        if not isinstance(algorithm, str) or not isinstance(kid, str | None):
            raise SettingError(f"{seat} needs a text as its alg, and as its kid if it has one")
        return cls(
            material,
            algorithm,
            kid=kid,
            activates_at=_instant(jwk, "nbf", 0.0, seat),
            expires_at=_instant(jwk, "exp", math.inf, seat),
            made_at=_instant(jwk, "iat", 0.0, seat),
            seat=seat,
        )

    @classmethod
    def from_pem(cls, pem: str | bytes, algorithm: str | None = None, *, kid: str | None = None) -> Key:
        """A key from PEM, private or public.

        Raises:
            SettingError: it can't be read, has a passphrase, or does not fit the algorithm.
        """
        material = read_pem(pem.encode() if isinstance(pem, str) else pem)
        return cls(material, algorithm or _natural(material) or "", kid=kid)

    @classmethod
    def from_secret(cls, secret: str | bytes, algorithm: str = "HS256", *, kid: str | None = None) -> Key:
        """A key from a secret, for `HS256` (32 bytes or more) or `v4.local` (exactly 32 bytes).

        Raises:
            SettingError: it is too short, or can be guessed.
        """
        return cls(secret.encode() if isinstance(secret, str) else secret, algorithm, kid=kid)

    @property
    def is_private(self) -> bool:
        """Whether it can sign."""
        return isinstance(
            self._material, ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | bytes
        )

    @property
    def is_symmetric(self) -> bool:
        """Whether who verifies could issue as well: such a key is never published."""
        return isinstance(self._material, bytes)

    def public(self) -> Key:
        """Its public half, which verifies.

        Raises:
            SettingError: it is a secret, which has none.
        """
        if self.is_symmetric:
            raise SettingError(f"the key {self.kid} is a secret: whoever verifies with it needs it whole")
        return self.timed().replaced(public_of(self._material))

    def public_key(self) -> PublicKey:
        """The public key of `cryptography`; of a secret the secret."""
        return public_of(self._material)

    def public_jwk(self) -> dict[str, Any]:
        """Its public half as a JWK, for a JWK set.

        Raises:
            SettingError: it is a secret.
        """
        return {**public_members(public_of(self._material)), "kid": self.kid, "alg": self.algorithm, "use": "sig"}

    def private_jwk(self) -> dict[str, Any]:
        """All of it as a JWK, with its times. Whoever reads this can issue tokens."""
        members = (
            private_members(cast(PrivateKey, self._material))
            if self.is_private
            else public_members(public_of(self._material))
        )
        times = {"iat": self.made_at, "nbf": self.activates_at, "exp": self.expires_at}
        kept = {name: _whole(at) for name, at in times.items() if 0 < at < math.inf}
        return {**members, "kid": self.kid, "alg": self.algorithm, "use": "sig", **kept}

    def timed(self, *, activates_at: float | None = None, expires_at: float | None = None) -> Key:
        """The same key with other times."""
        return self.replaced(self._material, activates_at=activates_at, expires_at=expires_at)

    def replaced(
        self,
        material: PrivateKey | PublicKey,
        *,
        activates_at: float | None = None,
        expires_at: float | None = None,
    ) -> Key:
        """A key with other material under the same name."""
        return Key(
            material,
            self.algorithm,
            kid=self.kid,
            activates_at=self.activates_at if activates_at is None else activates_at,
            expires_at=self.expires_at if expires_at is None else expires_at,
            made_at=self.made_at,
            drawn=self.drawn,
        )


def _natural(material: PrivateKey | PublicKey) -> str | None:
    """What a key is for where nothing is said; None for a secret, which may be for anything."""
    if isinstance(material, ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey):
        curve = curve_of(material)
        return next((each.name for each in ALGORITHMS.values() if curve is not None and each.curve == curve.name), None)
    if isinstance(material, rsa.RSAPrivateKey | rsa.RSAPublicKey):
        return "RS256"
    return None if isinstance(material, bytes) else "EdDSA"


def _instant(jwk: Mapping[str, Any], name: str, default: float, seat: str) -> float:
    found = jwk.get(name, default)
    if isinstance(found, bool) or not isinstance(found, int | float) or not found >= 0:
        raise SettingError(f"{seat}: {name}={found!r} must be Unix seconds")
    return float(found)


def _whole(at: float) -> int | float:
    return int(at) if at == int(at) else at
