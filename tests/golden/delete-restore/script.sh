trk start one -e digits -q
trk log-metric f1 0.93
trk start two -e digits -q --nested
trk log-metric f1 0.91

# What is open is not deleted, and all that are named are looked at first.
trk delete two
trk end -q; trk end -q
trk delete one nobody

trk delete one
trk ls --columns name,metrics.f1
trk ls --deleted --columns name,metrics.f1
trk best --metric f1 --field name

trk show one
trk attach one
trk resume one

# Of two of one name, the other is meant; to restore, the deleted one.
trk start one -e digits -q
trk end -q
trk show one --field metrics
trk delete one one
trk delete one
trk restore one
trk restore @last --json
trk ls -n 3 --columns name
