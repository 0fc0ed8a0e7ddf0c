"""How bets' owners and subscribers are notified of each change, and the run that delivers it. Not here:
sending mail (mail/).
"""
