"""The exchange's gateway: its event feed and the bets that it took, over HTTP on this machine."""
