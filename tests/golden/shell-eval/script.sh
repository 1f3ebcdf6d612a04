# Two shells of one folder, each with a run of its own; the session is left alone.
eval "$(trk start ours --shell)"

trk log-metric f1 0.1
trk status --field name

(eval "$(trk start theirs --shell -q)"; trk log-metric f1 0.2; trk status --field name; trk end -q)

trk end
ls .trk

trk log-metric f1 0.3

unset TRK_RUN
trk log-metric f1 0.3

trk ls --columns name,metrics.f1,status
