"""Fungible makes the instances of a web service interchangeable."""

__version__ = "0.1.0"
__all__ = ["__version__"]
