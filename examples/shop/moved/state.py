"""Where state is kept: what visitors and instances share in a store; exports still in this process."""

import hashlib
import os
from pathlib import Path

from fungible.cache import Cache
from fungible.idempotency import IdempotencyKeys
from fungible.limits import Limiter, per_hour
from fungible.stores import open_store
from fungible.tokens import Key, SigningKeys, TokenIssuer, TokenVerifier

DATA = Path("data")
"""What all instances on one machine share: the shop's database, and by default the store."""
DATA.mkdir(exist_ok=True)

STORE = open_store(os.environ.get("SHOP_STORE", f"sqlite:///{DATA}/state.db"))
"""Sessions, idempotency keys, remembered products, counted sign-ins. On several machines: `SHOP_STORE=redis://…`."""

SECRET = os.environ.get("SHOP_SECRET", "")
"""Signs session cookies and shared carts: 32 characters or more, the same for every instance."""

CACHE = Cache(STORE)

LIMITER = Limiter(STORE)
SIGN_INS = per_hour("sign-ins", 3, on_unavailable="closed", resettable=True)
"""Sign-ins of one user that may fail. While nobody can count them, nobody signs in."""

ORDER_KEYS = IdempotencyKeys(anonymous="share")
"""Which orders were booked: rows beside the orders themselves. Nobody has to sign in, and codes can't be guessed."""

# A key of its own for each use: what is signed for one says nothing to another.
LINK_KEYS = SigningKeys([Key.from_secret(hashlib.sha256(b"shared carts:" + SECRET.encode()).digest())])
LINKS = {"issuer": "twine-and-tin", "audience": "shared-carts", "typ": "shared-cart+jwt"}
LINK_ISSUER = TokenIssuer(LINK_KEYS, ttl_s=30 * 86_400, **LINKS)
LINK_VERIFIER = TokenVerifier(LINK_KEYS, **LINKS)

export_progress: dict[str, int] = {}
"""Export ID -> steps done."""

export_results: dict[str, str] = {}
"""Export ID -> the finished CSV file."""
