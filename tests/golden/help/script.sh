trk

trk log-metric --help

trk start -h

trk help

trk help exit-codes

trk help nonsense

trk --version | sed -E 's/[0-9.]+/VERSION/'
