"""What pages are made with: templates, static files, and how odds, money and time are written. Not here: the
pages (pages/, board/).
"""
