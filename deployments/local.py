"""Everything on one machine, embedded: Dagster's definitions for `exchange-platform up`. Not here: what they
are (definitions.py).
"""

from deployments.definitions import build_definitions

__all__ = ["build_definitions", "defs"]

defs = build_definitions()
