"""Bends sessions to frameworks. A framework is imported by its own module alone."""
