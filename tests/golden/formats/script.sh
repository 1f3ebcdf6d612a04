trk start one -e digits -q --param lr=0.1
trk log-metrics f1=0.91 loss=0.123456789 --step 1
trk log-metrics f1=0.89 loss=-inf --step 2
trk end -q
trk start "two, or | three" -e digits -q --param lr=1e-3 --tag note='=1+1'
trk log-metric f1 0.95 --step 1
trk end --failed -q

trk ls

trk ls --format table

trk ls --format csv

trk ls --columns name,tags.note,metrics.f1 --format tsv

trk ls --columns name,metrics.f1,params.lr,status --format markdown

trk ls --json

trk ls -q

trk ls --field metrics.f1

trk ls --sort "metrics.f1 desc" -n 1 --format csv --columns name,metrics.f1

trk best --metric f1 --format table

trk best --metric f1 --format json

trk best --metric f1 -n 2 --format csv

trk best --metric loss

trk best --metric f1 --field params.lr

trk history f1 --run one --format table

trk history f1 --run one --json

trk history f1 --run one --format markdown

trk show one --format markdown

trk ls --format xml

trk ls --format csv --json

trk ls --columns nonsense

trk ls -e nothing-here
