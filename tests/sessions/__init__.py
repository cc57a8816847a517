"""Sessions: races, forged cookies, failing stores, and a model of browsers."""
