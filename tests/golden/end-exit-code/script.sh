for code in 0 1 130 137 143; do trk start "exit $code" -q > /dev/null; trk end --exit-code $code; done

# As a script would: whatever it exits with is the run's end.
bash -c "$(declare -f trk); trap 'trk end --exit-code \$?' EXIT; trk start trapped -q; false"

trk end --exit-code 1

trk start last -q
trk end --exit-code minus-one

trk end --exit-code 256

trk end --exit-code 0 --failed

trk end --status SLEEPING

trk end --status killed
