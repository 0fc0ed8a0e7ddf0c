"""Bets and what they move: positions, the ledger, profiles; orders and submissions."""
