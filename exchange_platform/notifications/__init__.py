"""What bets' owners and subscribers are told of each change, and the run that delivers it. Not here: sending
mail (mail/).
"""
