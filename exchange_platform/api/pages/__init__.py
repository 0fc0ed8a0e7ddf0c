"""The pages that are not the board, and what every page is made with. Not here: the board (board/)."""
