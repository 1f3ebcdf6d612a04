# 3: a run is needed, and none is active or named.
trk log-metric f1 0.9

trk end

# 0: done.
trk start one -e codes -q

# 2: a wrong flag, name or value; nothing was written.
trk log-metric f1 high

trk log-metric f1

trk log-metric f1 0.9 --stpe 3

trk log-metrik f1 0.9

# 4: not found.
trk show nobody

trk best --metric f2

trk log-metric f1 0.9 -q
trk best --metric f2

trk best --metric fl --mode max

trk history f2

# 7: a conflict.
trk start two

trk resume one

trk end -q
trk log-metric f1 0.9 --run one

trk end --run one

# 1: the session file is torn.
echo '{"version": 1, "acti' > .trk/session.json
trk log-metric f1 0.9

trk ls -q

# 6: not everything was delivered.
rm .trk/session.json
export MLFLOW_TRACKING_URI=http://127.0.0.1:9 TRK_BACKENDS=mlflow
trk start three -e codes
trk log-metric f1 0.9

trk end --strict --timeout 0
