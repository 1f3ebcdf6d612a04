trk start summary -q

trk log-summary best_f1=0.95 verdict="ready to ship" classes='["a","b"]' frozen=true note='[PASS] all good'

# Again: the latest counts.
trk log-summary best_f1=0.96 verdict="not yet" --json

trk log-summary verdict

trk history best_f1 --format csv | cut -d , -f 2,3,5

trk best --metric best_f1 --field best.value

trk show | cut -f 1-3 | grep -v -E 'run_id|started'
