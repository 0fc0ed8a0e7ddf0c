"""Accounts' money and the limits that their owners set."""
