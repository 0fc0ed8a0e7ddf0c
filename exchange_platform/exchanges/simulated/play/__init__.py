"""How events go: each sport's course of play with its scores, chances and result. Pure. Not here: when it
happens (programme.py).
"""
