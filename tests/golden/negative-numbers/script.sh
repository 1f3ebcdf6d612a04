# Values that begin with a dash are values, wherever they stand.
trk start negatives --quiet

trk log-metric loss -0.5
trk log-metric loss -1e-3
trk log-metric loss -.5
trk log-metric -- loss -7
trk log-metric loss -2 --step -10
trk log-metric --step=-11 loss -3 -q
trk log-metrics low=-inf nothing=nan high=+inf
trk log-metric low -Infinity

trk log-param offset -1
trk log-param flags --fast-math
trk log-param flags -- --fast-math
trk log-param optimizer -O2

trk history loss low nothing high | cut -f 2,3,5

trk best --metric loss --agg min -q

trk best --metric low --mode min

trk show --format json --field params
