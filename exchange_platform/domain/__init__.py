"""Bets, markets, money, odds, events, accounts, orders, windows, records and refusals. Pure: no I/O, no
clock.
"""
