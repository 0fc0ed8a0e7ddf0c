"""What tests of several folders use: stores, streams, servers and records. What one folder alone uses lies in
that folder.
"""
