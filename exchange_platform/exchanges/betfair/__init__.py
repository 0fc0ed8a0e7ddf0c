"""Betfair's streams: recorded ones, and what follows from them."""
