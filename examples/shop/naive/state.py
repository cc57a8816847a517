"""What this process remembers. It is gone when the process ends, and no other instance can see it."""

import secrets
from collections import Counter

SIGNING_KEY = secrets.token_hex(32)
"""Signs shared carts. Drawn at import: each instance has its own, and a new one after each start."""

sessions: dict[str, str] = {}
"""Session ID -> name of the user who signed in."""

carts: dict[str, Counter[int]] = {}
"""Session ID -> product ID -> quantity."""

failed_sign_ins: Counter[str] = Counter()
"""User name -> wrong passwords since the last right one."""

export_progress: dict[str, int] = {}
"""Export ID -> steps done."""

export_results: dict[str, str] = {}
"""Export ID -> the finished CSV file."""
