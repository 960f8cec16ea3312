"""Errors whose text is all that a person has to read."""

from __future__ import annotations


class WorkerError(Exception):
    """The worker cannot or must not go on: what is wrong, where, and what to do, in one line."""
