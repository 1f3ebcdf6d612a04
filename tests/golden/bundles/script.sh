trk start nightly -e digits --param lr=0.1 -q
trk log-metrics loss=0.5 f1=nan
echo weights > model.pkl
trk log-artifact model.pkl --name classifier --type model -q
trk export
trk export --bundle runs.trk -q
trk export --bundle runs.trk

mkdir desk && cd desk && export TRK_DIR=$PWD/.trk
trk import ../runs.trk
trk import ../runs.trk
trk ls --columns name,experiment,status
trk artifacts get classifier -o -
trk import ../model.pkl
trk import ../runs.trk -b mlflow --json --mlflow-uri http://127.0.0.1:9

# The job goes on, and the next bundle brings the rest.
unset TRK_DIR; cd ..
trk log-metric loss 0.25; trk end -q
trk export nightly --bundle runs.trk --force -q
cd desk; trk import ../runs.trk --json

# Two that went on apart.
trk resume nightly -q; trk log-metric loss 9; trk end -q
cd ..; trk resume nightly -q; trk log-metric loss 7; trk end -q
trk export --bundle runs.trk --force -q
cd desk; trk import ../runs.trk
