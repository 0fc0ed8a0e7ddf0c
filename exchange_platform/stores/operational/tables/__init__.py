"""The operational database's tables by subject. Bets, profiles and consumers have theirs in database.py."""
