trk start bad -q

# Names.
trk log-metric "" 1
trk log-metric "$(printf 'x%.0s' {1..251})" 1
trk log-metric $'two\nlines' 1
trk log-metric $'bell\a' 1
trk log-metric ../up 1
trk log-metric /abs 1
trk log-metric a//b 1
trk log-metric a=b 1
trk log-metric @f1 1
trk log-metric 'f1[0]' 1
trk log-metric 🎯 1
trk log-metric $'\u202ef1' 1
trk log-metric ' f1' 1
trk log-metric trk/step 1
trk log-metrics =1

# Values.
trk log-metric f1 high
trk log-metric f1 ""
trk log-metric f1 1e999
trk log-metric f1 0x10
trk log-metric f1 1,5
trk log-metric f1 1_000
trk log-metric f1 ' 3'
trk log-metric f1 ١
trk log-metric f1 "$(printf '1%.0s' {1..10000})"

# Steps.
trk log-metric f1 1 --step 9223372036854775808
trk log-metric f1 1 --step 1.5
trk log-metric f1 1 --step +3
trk log-metric f1 1 --step ' 3'
trk log-metric f1 1 --step ''

# Times.
trk log-metric f1 1 --timestamp yesterday
trk log-metric f1 1 --timestamp 0000-01-01
trk log-metric f1 1 --timestamp 9999-01-01
trk log-metric f1 1 --timestamp 1e300
trk log-metric f1 1 --timestamp nan

# Whole commands.
trk log-metrics f1=1 f1=2
trk log-metrics f1=1 loss
trk log-params "$(printf '\xff')=1"
trk set-tag note $'\xff\xfe'

# Nothing was written.
trk log-metric f1 1 --json
