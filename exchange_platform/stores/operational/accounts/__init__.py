"""Accounts, tokens, limits on calls and security events in the operational database."""
