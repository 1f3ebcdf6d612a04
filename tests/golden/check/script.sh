# What a CI job does, with the gates in a file. The first time there is nothing to measure by.
printf '%s\n' '# what main has to keep' 'f1 >= 0.85' 'loss <= baseline + 2%' '' '`val/f1-macro` > 0.8' > gates.txt
job() { RUN=$(trk start nightly -e digits -q --tag branch=main --param model=rf); trk log-metrics "$@"; trk end -q; trk check --from gates.txt --run "$RUN" --baseline tag:branch=main --allow-no-baseline; }
job f1=0.9 loss=0.3 val/f1-macro=0.85

# The second time there is.
job f1=0.91 loss=0.305 val/f1-macro=0.81

# And then it gets worse: all is shown, and the job ends with 5.
job f1=0.8 loss=nan

trk check 'f1 >= baseline - 0.01' 'best(f1) < 0.9' "params.model = 'rf'" 'status == FINISHED' --run "$RUN" --baseline best:f1 --format table

trk check 'f1 >= baseline' --run "$RUN" --baseline best:f1:min --format markdown

trk check 'f1 >= 0.85' 'accuracy > 0.5' --run "$RUN" --json

trk check 'f1 > 0.5' 'f1 >= 0.75' --run "$RUN" --field checks.1.left

trk check 'f1 > 0.5' --run "$RUN" -q

# No baseline.
trk check 'f1 >= baseline' --run "$RUN" --baseline tag:branch=dev

# What is no condition.
trk check f1 0.85 --run "$RUN"

trk check 'val/f1 > 0.8' --run "$RUN"

trk check
