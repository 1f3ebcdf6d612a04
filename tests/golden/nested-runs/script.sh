trk start sweep -e search

trk start trial-1 --nested

trk log-metric f1 0.8

trk end

# The parent is the active run again.
trk status --field name

trk start trial-2 --parent sweep
trk log-metric f1 0.9
trk end --quiet

trk end --quiet

trk ls --columns name,experiment,metrics.f1,status

trk show trial-1 --field parent_id

trk start orphan --nested
