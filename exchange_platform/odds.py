"""Odds: decimal inside; fractional and American at the edges; the price ladder."""

from decimal import Decimal

MIN_ODDS = Decimal("1.01")
MAX_ODDS = Decimal(1000)
