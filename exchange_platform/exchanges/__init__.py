"""Exchanges: the simulated one, and recorded and live streams of Betfair."""
