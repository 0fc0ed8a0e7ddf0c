"""What HTTP asks of every route: who calls, how often, with which headers; problems, and threads by kind of
work. Not here: the routes (routes/).
"""
