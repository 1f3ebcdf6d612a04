# The first five minutes: nothing is set up, the working directory is empty.
trk start baseline -e digits --param lr=0.1

trk log-metric loss 0.9
trk log-metric loss 0.4
trk log-metrics loss=0.2 f1=0.91

trk log-metric f1 0.89 --json

trk log-param model rf
trk set-tag stage dev

trk status

trk end

trk best --metric f1

trk show @last

ls -A
