"""One suite for every backend: what `stores/contract.py` promises, held to real servers."""
