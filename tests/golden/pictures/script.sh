export TRK_BACKENDS=none
trk start one -e digits --param lr=0.1 -q >/dev/null
for value in 0.2 0.5 nan 0.7 0.75; do trk log-metrics f1=$value loss=$value; done
trk end -q
trk start two -e digits --param lr=0.2 -q >/dev/null
for value in 0.1 0.3 0.4 0.65 0.9; do trk log-metric f1 $value; done
trk end -q
trk plot f1 --best 2 --height 8
trk plot f1 loss --run one --run two -o curves.html
trk plot recall --run one
trk plot f1 --run one -o curves.gif
trk report -e digits --metric f1 --baseline one
trk report --best 1
trk watch two
