A=$(trk start a -q); trk detach -q
B=$(trk start b -q); trk detach -q
C=$(trk start c -q)

# The session's run, else TRK_RUN's, else --run's: the one that is said last and closest counts.
trk log-metric f1 1
TRK_RUN=b trk log-metric f1 2
TRK_RUN=b trk log-metric f1 3 --run a
TRK_RUN=$B trk log-metric f1 4 --run @

trk history f1 --run a --run b --run c | cut -f 1,5

TRK_RUN=nobody trk log-metric f1 5

TRK_RUN=b trk status --field name

TRK_RUN=b trk start d --nested

TRK_RUN=b trk end -q

trk status --field name
