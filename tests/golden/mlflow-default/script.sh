# Nothing is configured and mlflow is installed: its own default store, in the project's folder.
unset TRK_BACKENDS
trk start baseline -e digits --param lr=0.1 --tag stage=dev

trk log-metrics loss=0.9 f1=0.5
trk log-metrics loss=0.4 f1=inf
trk log-metric loss nan
trk log-metric loss -1e-3
trk log-summary verdict="ready to ship" best_f1=0.5
trk define-metric f1 --mode max

trk end --timeout 120

ls -A

trk best --metric f1 --field best
