trk start files -q
printf '{"lr": 0.1, "layers": [1, 2], "bias": true, "note": null}' > a.json
printf 'optimizer: adam\nsince: 2026-01-01\n' > b.yaml
printf 'epochs = 3\n[net]\ndepth = 2\n' > c.toml

trk log-params @a.json @b.yaml @c.toml extra=1

printf 'batch=32\n\n  seed=7\n' | trk log-params -
printf '{"warmup": 10}' | trk log-params -
printf 'loss=0.5\nf1=0.9\n' | trk log-metrics - --step 4

trk show --field params
trk show --field metrics

trk log-params @missing.json

trk log-params @a.txt

trk log-params lr=0.2 @a.json

printf '{"lr": 0.1' > broken.json
trk log-params @broken.json

printf '[1, 2]' > list.json
trk log-params @list.json

printf 'f1: high\n' > words.yaml
trk log-metrics @words.yaml

trk log-params -
