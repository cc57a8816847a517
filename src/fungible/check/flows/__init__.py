"""Flows from elsewhere: recordings, API descriptions, the application itself."""
