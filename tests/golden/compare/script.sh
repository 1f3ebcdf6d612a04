trk start "plain forest" -e digits -q --param trees=10 --param depth=3 --param seed=1 --tag stage=prod
trk log-metrics f1=0.91 loss=0.3 tokens=1000 acc=0.9
trk end -q
trk start deeper -e digits -q --param trees=10 --param depth=9 --param seed=1
trk log-metrics f1=0.93 loss=nan tokens=1200 acc=0.9
trk end -q
trk start wider -e digits -q --param trees=100 --param seed=1 --param note="=1+1 | two"
trk log-metrics f1=0.89 loss=0.25 acc=0.9
trk end --failed -q

# What differs. How long they took differs from time to time.
trk compare deeper wider | grep -v duration

trk compare deeper wider --format table | grep -v duration | tr -s " "

# Against a baseline.
trk compare deeper wider --baseline "plain forest" | grep -v duration

trk compare deeper wider --baseline "plain forest" --format table | grep -v duration | tr -s " "

COLUMNS=40 trk compare deeper wider --baseline "plain forest" --format table | grep -v duration | tr -s " "

trk compare deeper wider --baseline tag:stage=prod --format markdown | grep -v duration

trk compare wider --baseline best:f1 --format csv | grep -v duration

trk compare --best 2 --metric loss --baseline deeper --format table | grep -v duration | tr -s " "

# For scripts.
trk compare deeper wider --baseline "plain forest" --json | tr '{' '\n' | tail -n 17

trk compare deeper wider --baseline "plain forest" --field metrics.f1.mode

trk compare --best 3 --metric f1 -q

# Nothing differs.
trk start twin -e digits -q; trk log-metric f1 0.5; trk end -q
RUN=$(trk start twin -e digits -q); trk log-metric f1 0.5; trk end -q
trk compare "$RUN" "$(trk ls --filter "attributes.run_name = 'twin'" -q | tail -n 1)"

trk compare deeper twin

trk compare deeper

trk compare deeper nobody

trk compare deeper --baseline best:tokens

trk compare deeper --baseline tag:stage=dev
