trk log-metric f1 0.9 --json

trk start one -q
trk log-metric f1 high --json

trk log-metric --json f1

trk log-metric f1 0.9 --stpe 1 --json

trk show nobody --json

trk best --metric f1 --format json

trk start two --json

trk log-param lr 0.1 --json
trk log-param lr 0.2 --json

# What stands behind -- is a value.
trk log-metric f1 -- --json
