trk start one

trk detach

trk log-metric f1 0.5

trk attach one

trk log-metric f1 0.5
trk end -q

trk attach one

trk resume one

trk log-metric f1 0.6 --json
trk end --json

trk resume @last --json

trk detach --json

trk detach

trk attach mlflow:
