"""Where state is kept: sessions, with the carts in them, in a store; the rest still in this process."""

import os
import secrets
from collections import Counter

from fungible.stores import open_store

STORE = open_store(os.environ.get("SHOP_STORE", "sqlite:///sessions/sessions.db"))
"""Sessions. The file serves instances on one machine; on several, name a server: `SHOP_STORE=redis://…`."""

SECRET = os.environ.get("SHOP_SECRET", "")
"""Signs the session cookies: 32 characters or more, the same for every instance."""

SIGNING_KEY = secrets.token_hex(32)
"""Signs shared carts. Drawn at import: each instance has its own, and a new one after each start."""

failed_sign_ins: Counter[str] = Counter()
"""User name -> wrong passwords since the last right one."""

export_progress: dict[str, int] = {}
"""Export ID -> steps done."""

export_results: dict[str, str] = {}
"""Export ID -> the finished CSV file."""
