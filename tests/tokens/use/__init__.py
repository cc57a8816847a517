"""Tokens in use: refresh families, revocation, references, DPoP, the middleware, and the client half."""
