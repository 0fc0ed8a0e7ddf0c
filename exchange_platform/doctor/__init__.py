"""Findings about every configured part, and how to fix them."""
