"""Findings about every configured part, and how to mend them."""
