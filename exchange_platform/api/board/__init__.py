"""The board: its pages, what they show, and how they write it."""
