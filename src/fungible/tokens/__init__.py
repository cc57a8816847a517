"""Self-contained tokens that any instance can judge, and what makes them safe: keys, refreshing, revoking, binding."""

from fungible.tokens.dpop import DPoP, Proven, UseNonceError
from fungible.tokens.dpop_proof import InvalidProofError
from fungible.tokens.errors import InvalidTokenError, NoSigningKeyError, TokenTooLargeError, UnknownKeyError
from fungible.tokens.issuing import TokenIssuer
from fungible.tokens.jwks import JWKSApp
from fungible.tokens.key import Key
from fungible.tokens.key_files import KeyFiles
from fungible.tokens.key_store import StoredKeys
from fungible.tokens.keys import SigningKeys, VerifyingKeys
from fungible.tokens.middleware import TokenMiddleware
from fungible.tokens.references import ClaimsMissingError, ClaimsStore
from fungible.tokens.refresh import Refreshed, RefreshTokens
from fungible.tokens.refresh_errors import InvalidRefreshTokenError, RefreshReusedError
from fungible.tokens.remote_keys import RemoteKeys
from fungible.tokens.revocations import RevocableVerifier, Revocations, RevokedTokenError
from fungible.tokens.token import Token
from fungible.tokens.verifying import TokenVerifier

__all__ = [
    "ClaimsMissingError",
    "ClaimsStore",
    "DPoP",
    "InvalidProofError",
    "InvalidRefreshTokenError",
    "InvalidTokenError",
    "JWKSApp",
    "Key",
    "KeyFiles",
    "NoSigningKeyError",
    "Proven",
    "RefreshReusedError",
    "RefreshTokens",
    "Refreshed",
    "RemoteKeys",
    "RevocableVerifier",
    "Revocations",
    "RevokedTokenError",
    "SigningKeys",
    "StoredKeys",
    "Token",
    "TokenIssuer",
    "TokenMiddleware",
    "TokenTooLargeError",
    "TokenVerifier",
    "UnknownKeyError",
    "UseNonceError",
    "VerifyingKeys",
]
