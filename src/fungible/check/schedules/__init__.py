"""Which instance serves which request, and what happens in between."""
