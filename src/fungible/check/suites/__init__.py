"""An existing pytest suite, its requests scattered over instances."""
