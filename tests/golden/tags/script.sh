trk start tags --tag stage=dev -q

trk set-tag owner ada
trk set-tag stage prod
trk set-tags a=1 b= c='x = y'
trk delete-tag a

trk delete-tag a

trk set-tag trk.run_id mine

trk show --field tags

trk ls --filter "tags.stage = 'prod'" --columns name,tags.owner
