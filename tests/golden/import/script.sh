# A file of metrics: said first, then taken, then taken again with what is new.
printf 'epoch,time,loss (train),f1,lr\n1,2026-11-21T07:00:00Z,0.5,,0.1\n2,2026-11-21T07:00:01Z,nan,0.7,0.1\nx,,,,\n' > a.csv
trk import csv a.csv --step epoch --param lr --name curve -e digits --dry-run
trk import csv a.csv --step epoch --param lr --name curve -e digits
trk import csv a.csv --step epoch --param lr --name curve -e digits -q
printf '3,2026-11-21T07:00:02Z,0.1,0.8,0.1\n' >> a.csv
trk import csv a.csv --step epoch --param lr --name curve -e digits --json
trk history "loss _train_" f1 --run curve
trk show curve --field tags

# JSON Lines, several runs in one file.
printf '{"run": "a", "step": 1, "val": {"f1": 0.5}}\n{"run": "b", "step": 1, "val": {"f1": Infinity}}\n{"run": \n' > b.jsonl
trk import csv b.jsonl
trk best --metric val/f1 --field name

# What can't be.
trk import csv a.csv --step nowhere
trk import csv nothing.csv
trk import csv a.csv --filter "x = 1"
trk import wandb
