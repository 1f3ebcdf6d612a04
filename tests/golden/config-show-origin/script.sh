trk config show --origin

mkdir -p .trk ~/.config/trk
printf '[tool.trk]\nexperiment = "from-pyproject"\nkey_prefix = "p/"\nmlflow_uri = "http://tracking.example"\n' > pyproject.toml
printf 'key_prefix = "trk/"\n' > .trk/config.toml
printf 'experiment = "from-user"\nsource = "local"\n' > ~/.config/trk/config.toml
trk config show --origin

trk config trust

trk config show --origin

TRK_EXPERIMENT=from-env MLFLOW_TRACKING_URI=https://ada:secret@tracking.example trk config --json

echo 'colour = "red"' > .trk/config.toml
trk config
