"""Prompt tuning of frozen image transformers in JAX."""

__version__ = "0.1.0"
