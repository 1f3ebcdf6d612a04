trk start content -e digits -q

printf 'id,label,score\n1,cat,0.9\n2,"dog, wet",nan\n' > scores.csv
trk log-table scores.csv
trk log-table --name scores --columns score,id,label --row -1e-3,3,007
trk log-table --name scores --columns id,score --row 4,0.5
printf 'id,label\n5\n' | trk log-table - --name scores --type csv
trk artifacts get scores -o -; echo

echo '<h1>It works</h1>' | trk log-html - --name report --json
echo 'no tag' | trk log-html - --name report
trk log-text --text "stopped early" --name note
echo '{"lr": NaN}' | trk log-dict - --name config.json

mkdir data && echo one > data/a.txt && ln -s .. data/link
trk log-artifact data
rm data/link && trk log-artifact data/ --path inputs
trk log-artifact data/a.txt --path ../up

# The same content is the same version.
echo weights > model.pkl
trk log-artifact model.pkl --name classifier --type model
trk log-artifact model.pkl --name classifier
echo better > model.pkl
trk log-artifact model.pkl --name classifier --json
trk log-artifact --reference s3://ada:secret@bucket/set --name set --type dataset

trk artifacts ls --format table
trk artifacts ls --type model --format csv
trk artifacts ls --field uri | tail -1

trk artifacts get classifier:v0 -o -
trk artifacts get classifier -o models
trk artifacts get classifier:v0 -o models
trk artifacts get classifier:v9
trk artifacts get set
trk artifacts get model.pkl
