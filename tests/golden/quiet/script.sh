trk start one --quiet

trk log-metric f1 0.9 -q

trk detach -q
trk attach one -q
trk ls -q
trk show one -q
trk best --metric f1 -q
trk status -q
trk end -q
trk sync -q

# An error is told all the same.
trk end -q
