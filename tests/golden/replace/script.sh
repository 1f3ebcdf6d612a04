trk start one

trk start two

trk start two --replace

trk start three --replace --json -q | tr , '\n' | grep -E 'name|status'

trk ls --columns name,status
