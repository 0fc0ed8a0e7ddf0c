"""What any process needs: time, memory, back-off, calls over the network. It knows nothing of bets."""
