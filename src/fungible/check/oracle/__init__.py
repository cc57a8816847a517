"""Answers taken apart into places, and what is known to vary there."""
