"""Requests and answers on the wire, cookies, and placeholders in steps."""
