"""Type-ahead over events: what an event is found by, how a query is understood, how answers rank. Pure. Not
here: the engines (stores/).
"""
