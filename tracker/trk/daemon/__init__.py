"""The daemon: a process that delivers in the background while scripts go on. One per journal, of the user's own.

`client` is what others call; `serve` is the process itself; `place` says where lock and socket are; `credentials` lets
two processes prove that they reach backends alike; `logs` is what it writes down.
"""
