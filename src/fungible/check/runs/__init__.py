"""Carrying out a flow, and what one instance answers to it."""
