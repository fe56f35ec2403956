"""Programs that read pictures for benchmarks.peers, each by another library, in that library's own environment.

They import nothing else of this repository (ours apart), as it is not installed there. Started as
`python -m benchmarks.runners.NAME SETTINGS`, SETTINGS in JSON; what is asked and answered is in protocol.py. Of benchmarks.service there are predict_iter.py, one of them, and clients.py,
which sends requests.
"""
