"""Mail: what a message is, how it is rendered, sent and tried again. Not here: what there is to tell
(notifications/, confirmation/).
"""
