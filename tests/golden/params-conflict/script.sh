trk start params --param lr=0.1 -q

# The same value again is fine.
trk log-param lr 0.1 --json

trk log-param lr 0.2

trk log-params new=1 lr=0.2

trk log-param lr 0.2 --if-exists keep
trk log-param lr 0.2 --if-exists suffix
trk log-param lr 0.2 --if-exists suffix
trk log-param lr 0.3 --if-exists=suffix
trk log-param lr 0.4 --if-exists overwrite

trk show --field params
