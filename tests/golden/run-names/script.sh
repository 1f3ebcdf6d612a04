RUN=$(trk start alpha -q); trk end -q
trk start beta -q; trk end -q
trk start beta -q

trk show "$RUN" --field name
trk show "${RUN:0:20}" --field name
trk show alpha --field name
trk show @ --field status
trk show @last --field status

trk show beta

trk log-metric f1 1 --run beta

trk show "${RUN:0:3}"

trk log-metric f1 1 --run alph

trk show "${RUN:0:4}" -q 2>&1 | sed -E "s/${RUN:0:4}'/PREFIX'/"

trk log-metric f1 1 --run mlflow:0123
