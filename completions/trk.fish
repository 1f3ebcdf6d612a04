# trk's words for fish 3 and newer: verbs, options, their values, and the runs and metrics of the journal here.
#
# In ~/.config/fish/config.fish:  trk completion fish | source
# The wheel puts it into share/fish/vendor_completions.d, where fish looks by itself.
# Made by `trk completion fish` from the command's own tables: not to be edited.

# Whether no verb is typed yet.
function __trk_first
    test (count (commandline -opc)) -eq 1
end

# VERB…: whether one of these is the verb.
function __trk_in
    set -l typed (commandline -opc)
    contains -- "$typed[2]" $argv
end

# VERB PLACE [more]: whether the word at the cursor is this verb's positional number PLACE, from 1; `more`: or a later.
function __trk_at -a verb wanted more
    set -l typed (commandline -opc)
    test "$typed[2]" = $verb; or return 1
    set -e typed[1..2]
    set -l place 1
    set -l value no
    set -l only no
    for word in $typed
        if test $value = yes
            set value no
        else if test $only = no -a "$word" = --
            set only yes
        else if test $only = no; and contains -- "$word" (__trk_valued $verb)
            set value yes
        else if test $only = yes; or not string match -qr -- '^-[-a-z]' "$word"
            set place (math $place + 1)
        end
    end
    test $value = no -a \( $place -eq $wanted -o \( "$more" = more -a $place -gt $wanted \) \)
end

# VERB: its options that take a value.
function __trk_valued
    switch $argv[1]
        case start
            printf '%s\n' --experiment -e --backend -b --tag --param --description --parent --key-prefix --step-metric --capture --mlflow-uri --wandb-project --wandb-entity --wandb-group --timeout
        case run
            printf '%s\n' --experiment -e --backend -b --tag --param --description --parent --key-prefix --step-metric --capture --pattern --interval --restart-key --mlflow-uri --wandb-project --wandb-entity --wandb-group --timeout
        case attach
            printf '%s\n' --mlflow --wandb --timeout
        case end
            printf '%s\n' --run --status --exit-code --timeout
        case status
            printf '%s\n' --run --format --field
        case log-metric
            printf '%s\n' --run --step --timestamp
        case log-metrics
            printf '%s\n' --run --step --timestamp
        case log-param
            printf '%s\n' --run --if-exists
        case log-params
            printf '%s\n' --run --if-exists
        case log-summary
            printf '%s\n' --run
        case set-tag
            printf '%s\n' --run
        case set-tags
            printf '%s\n' --run
        case delete-tag
            printf '%s\n' --run
        case define-metric
            printf '%s\n' --run --mode --step-metric
        case log
            printf '%s\n' --run
        case log-table
            printf '%s\n' --run --name --type --columns --row
        case log-html
            printf '%s\n' --run --name
        case log-text
            printf '%s\n' --run --name --text
        case log-dict
            printf '%s\n' --run --name --type
        case log-image
            printf '%s\n' --run --name --step
        case log-figure
            printf '%s\n' --run --name
        case log-artifact
            printf '%s\n' --run --path --name --type --reference
        case watch-file
            printf '%s\n' --run --type --step --time --until-idle
        case best
            printf '%s\n' --metric --mode --agg --n -n --experiment -e --filter --source --timeout --format --field
        case ls
            printf '%s\n' --experiment -e --filter --status --since --until --sort --n -n --columns --group-by --agg --source --timeout --format --field
        case search
            printf '%s\n' --experiment -e --status --since --until --sort --n -n --columns --group-by --agg --source --timeout --format --field
        case show
            printf '%s\n' --run --source --timeout --format --field
        case history
            printf '%s\n' --run --experiment -e --filter --status --since --until --last --sample --source --timeout --format --field
        case plot
            printf '%s\n' --run --experiment -e --filter --best --metric --mode --n -n --x --smooth --width --height --output -o --source --timeout
        case report
            printf '%s\n' --experiment -e --filter --best --metric --mode --n -n --baseline --title --output -o --source --timeout
        case watch
            printf '%s\n' --interval --timeout --source
        case artifacts
            printf '%s\n' --run --path --type --row --output -o --source --timeout --format --field
        case compare
            printf '%s\n' --baseline --best --metric --mode --metrics --params --experiment -e --source --timeout --format --field
        case check
            printf '%s\n' --run --baseline --from --experiment -e --source --timeout --format --field
        case summary
            printf '%s\n' --baseline --check --from --metric --experiment -e --since --pipeline --max-charts --max-rows --junit --output -o --source --timeout --format --field
        case delete
            printf '%s\n' --timeout
        case restore
            printf '%s\n' --timeout
        case sync
            printf '%s\n' --run --to --uri --timeout
        case gc
            printf '%s\n' --older-than
        case export
            printf '%s\n' --bundle --runs --history --run --experiment -e --filter --status --since --until --columns --metric --sort --n -n --format --source --timeout
        case import
            printf '%s\n' --uri --experiment -e --filter --name --step --time --param --run-column --backend -b --mlflow-uri --wandb-project --wandb-entity --wandb-group --until-idle
        case verify
            printf '%s\n' --run --backend -b --timeout --format --field
        case config
            printf '%s\n' --format --field
        case daemon
            printf '%s\n' --n -n --timeout --format --field
        case doctor
            printf '%s\n' --timeout --format --field
        case ui
            printf '%s\n' --host --port --run --timeout
    end
end

# HOW KIND WORD…: one of the words and of what the journal has; many, with commas; or pairs, KEY=VALUE or @file.
function __trk_values -a how kind
    set -l typed (commandline -ct)
    set typed (string replace -r -- '^--[a-z][-a-z]*=' '' $typed)
    set typed (string unescape -- $typed; or string replace -r -- '^[\'"]' '' $typed)
    set -l before ''
    set -l after ''
    switch $how
        case pairs
            if string match -q -- '@*' "$typed"
                set -l path (string sub -s 2 -- $typed)
                for found in $path*
                    test -d "$found"; and set found $found/
                    printf '%s\n' "@$found"
                end
                return
            end
            string match -q -- '*=*' "$typed"; and return
            set after =
        case many
            set before (string match -r -- '.*,' "$typed")
            set typed (string replace -r -- '.*,' '' "$typed")
    end
    if set -q argv[3]
        printf '%s\n' "$before"$argv[3..-1]"$after"
    end
    if test -n "$kind"; and command -q trk
        set -l words (commandline -opc)
        for i in (seq (count $words))
            switch "$words[$i]"
                case '--run=*'
                    set -fx TRK_RUN (string replace -- '--run=' '' $words[$i])
                case --run
                    set -q words[(math $i + 1)]; and set -fx TRK_RUN $words[(math $i + 1)]
            end
        end
        for line in (command trk __complete $kind "$typed" 2>/dev/null </dev/null)
            set -l parts (string split -m 1 \t -- $line)
            set parts[1] "$before$parts[1]$after"
            string join \t -- $parts
        end
    end
end

complete -c trk -f
complete -c trk -s h -l help -d 'Show this message and exit.'
complete -c trk -n __trk_first -l version -d 'Print the version.'
complete -c trk -n __trk_first -a start -d 'Start a run and print its id.'
complete -c trk -n __trk_first -a run -d 'Run a command as a run of its own.'
complete -c trk -n __trk_first -a attach -d 'Log into an existing, open run.'
complete -c trk -n __trk_first -a detach -d 'Leave the active run open.'
complete -c trk -n __trk_first -a resume -d 'Reopen an ended run.'
complete -c trk -n __trk_first -a end -d 'End the active run and deliver it.'
complete -c trk -n __trk_first -a status -d 'The active run, and what is delivered.'
complete -c trk -n __trk_first -a log-metric -d 'Log one point of a metric.'
complete -c trk -n __trk_first -a log-metrics -d 'Log several metrics at one step.'
complete -c trk -n __trk_first -a log-param -d 'Log a param.'
complete -c trk -n __trk_first -a log-params -d 'Log several params.'
complete -c trk -n __trk_first -a log-summary -d 'Log numbers, text or JSON for the overview.'
complete -c trk -n __trk_first -a set-tag -d 'Set a tag.'
complete -c trk -n __trk_first -a set-tags -d 'Set several tags.'
complete -c trk -n __trk_first -a delete-tag -d 'Take a tag away.'
complete -c trk -n __trk_first -a define-metric -d 'Say which direction of a metric is better.'
complete -c trk -n __trk_first -a log -d 'Log lines of standard input, fast.'
complete -c trk -n __trk_first -a log-table -d 'Log rows of a table.'
complete -c trk -n __trk_first -a log-html -d 'Log an HTML page.'
complete -c trk -n __trk_first -a log-text -d 'Log a text.'
complete -c trk -n __trk_first -a log-dict -d 'Log a JSON, YAML or TOML document.'
complete -c trk -n __trk_first -a log-image -d 'Log an image, alone or of a series.'
complete -c trk -n __trk_first -a log-figure -d 'Log a figure.'
complete -c trk -n __trk_first -a log-artifact -d 'Log files and folders.'
complete -c trk -n __trk_first -a watch-file -d 'Log a file\'s lines while it grows.'
complete -c trk -n __trk_first -a best -d 'The best run by a metric.'
complete -c trk -n __trk_first -a ls -d 'Runs with their metrics.'
complete -c trk -n __trk_first -a search -d 'Runs that match a filter.'
complete -c trk -n __trk_first -a show -d 'Everything about one run.'
complete -c trk -n __trk_first -a history -d 'The points of metrics.'
complete -c trk -n __trk_first -a plot -d 'Metrics as curves, here or in a file.'
complete -c trk -n __trk_first -a report -d 'A page of HTML about runs.'
complete -c trk -n __trk_first -a watch -d 'Runs live, until they end.'
complete -c trk -n __trk_first -a artifacts -d 'List or fetch files and tables.'
complete -c trk -n __trk_first -a compare -d 'Runs side by side, against a baseline.'
complete -c trk -n __trk_first -a check -d 'A gate: exit 5 when a condition fails.'
complete -c trk -n __trk_first -a summary -d 'What a CI job tells of its runs.'
complete -c trk -n __trk_first -a delete -d 'Delete runs; restore brings them back.'
complete -c trk -n __trk_first -a restore -d 'Bring deleted runs back.'
complete -c trk -n __trk_first -a sync -d 'Deliver what is pending.'
complete -c trk -n __trk_first -a gc -d 'Free the bytes that the backends have.'
complete -c trk -n __trk_first -a export -d 'Runs into a bundle, or a table.'
complete -c trk -n __trk_first -a import -d 'Runs of a bundle, MLflow, W&B, files.'
complete -c trk -n __trk_first -a verify -d 'Read back what the backends have.'
complete -c trk -n __trk_first -a config -d 'Show settings and where they come from.'
complete -c trk -n __trk_first -a daemon -d 'The process that delivers in the background.'
complete -c trk -n __trk_first -a doctor -d 'What is wrong here, and what mends it.'
complete -c trk -n __trk_first -a ui -d 'MLflow\'s UI on the right store.'
complete -c trk -n __trk_first -a completion -d 'Complete trk\'s words in bash, zsh, fish.'
complete -c trk -n __trk_first -a shell-init -d 'Log commands in loops at under a millisecond.'
complete -c trk -n __trk_first -a demo -d 'A small sweep on real data.'
complete -c trk -n __trk_first -a help -d 'Explain bundles, delivery, sessions and more.'
complete -c trk -n '__trk_in start run best ls search history plot report export' -l experiment -s e -d 'The experiment.' -x -k -a '(__trk_values one experiment)'
complete -c trk -n '__trk_in start run' -l backend -s b -d 'Where to deliver to. May be given again.' -x -a 'mlflow wandb memory'
complete -c trk -n '__trk_in start run' -l tag -d 'A tag. May be given again.' -x -k -a '(__trk_values pairs tag)'
complete -c trk -n '__trk_in start run' -l param -d 'A param. May be given again.' -x -k -a '(__trk_values pairs param)'
complete -c trk -n '__trk_in start run' -l description -x
complete -c trk -n '__trk_in start run' -l nested -d 'As a child of the active run.'
complete -c trk -n '__trk_in start run' -l parent -d 'As a child of this run.' -x -k -a '(__trk_values one run)'
complete -c trk -n '__trk_in start' -l replace -d 'End the active run as KILLED first.'
complete -c trk -n '__trk_in start run' -l key-prefix -d 'Goes before metric, param, summary names.' -x
complete -c trk -n '__trk_in start run' -l step-metric -d 'The metric that is the x-axis in W&B.' -x -k -a '(__trk_values one metric)'
complete -c trk -n '__trk_in start run' -l capture -d 'Any of git,env,system,args,ci, as tags; packages.' -x -k -a '(__trk_values many \'\' git env system args ci packages)'
complete -c trk -n '__trk_in start run' -l mlflow-uri -d 'MLflow\'s server.' -x
complete -c trk -n '__trk_in start run import' -l wandb-project -d 'For the W&B backend, when it is installed.' -x
complete -c trk -n '__trk_in start run import' -l wandb-entity -d 'For the W&B backend, when it is installed.' -x
complete -c trk -n '__trk_in start run import' -l wandb-group -d 'For the W&B backend, when it is installed.' -x
complete -c trk -n '__trk_in start run' -l wait -d 'Until the backends have the run.'
complete -c trk -n '__trk_in start run end best ls search show history plot report compare check summary delete restore sync export' -l timeout -d 'How long to wait for delivery.' -x
complete -c trk -n '__trk_in start' -l shell -d 'For eval "$(…)": this shell alone is in the run.'
complete -c trk -n '__trk_in start attach detach resume end status log-metric log-metrics log-param log-params log-summary set-tag set-tags delete-tag define-metric log log-table log-html log-text log-dict log-image log-figure log-artifact watch-file best ls search show history plot report watch artifacts compare check summary delete restore sync gc export import verify config daemon doctor ui' -l json -d 'Print JSON; errors are JSON on stderr.'
complete -c trk -n '__trk_in start run attach detach resume end log-metric log-metrics log-param log-params log-summary set-tag set-tags delete-tag define-metric log log-table log-html log-text log-dict log-image log-figure log-artifact watch-file plot report watch summary delete restore sync gc export import config daemon ui demo' -l quiet -s q -d 'No talk on stderr.'
complete -c trk -n '__trk_in run' -l scrape -d 'Log the metrics that the command prints.'
complete -c trk -n '__trk_in run' -l pattern -d 'Groups key, value, step, or metrics. May be given again.' -x
complete -c trk -n '__trk_in run' -l system-metrics -d 'Sample CPU, memory, disk, network and GPUs.'
complete -c trk -n '__trk_in run' -l interval -d 'Between two samples; left out: 10.' -x
complete -c trk -n '__trk_in run' -l no-output -d 'Keep no copy of the output.'
complete -c trk -n '__trk_in run' -l resume-on-restart -d 'The same job, started again, goes on with its run.'
complete -c trk -n '__trk_in run' -l restart-key -d 'What is the same job, where nothing tells.' -x -k -a '(__trk_values one metric)'
complete -c trk -n '__trk_in run end' -l no-wait -d 'Do not deliver now; trk sync does.'
complete -c trk -n '__trk_in run end delete restore sync' -l strict -d 'Exit 6 when rows are pending or rejected.'
complete -c trk -n '__trk_in attach' -l mlflow -d 'A run of MLflow\'s, and with' -x
complete -c trk -n '__trk_in attach' -l wandb -d 'a run of W&B\'s: what is logged goes to both.' -x
complete -c trk -n '__trk_in attach' -l timeout -d 'How long servers may take to tell of the run.' -x
complete -c trk -n '__trk_in end status log-metric log-metrics log-param log-params log-summary set-tag set-tags delete-tag define-metric log log-table log-html log-text log-dict log-image log-figure log-artifact watch-file show artifacts check sync verify ui' -l run -d 'The run: id, prefix, name, @ or @last.' -x -k -a '(__trk_values one run)'
complete -c trk -n '__trk_in end' -l status -d 'FINISHED (the default), FAILED or KILLED.' -x -a 'FINISHED FAILED KILLED'
complete -c trk -n '__trk_in end' -l failed -d 'The same as --status FAILED.'
complete -c trk -n '__trk_in end' -l exit-code -d '0 is FINISHED; 130, 137, 143 KILLED; else FAILED.' -x
complete -c trk -n '__trk_in status best ls search show history artifacts compare check verify config daemon doctor' -l format -d 'table, json, csv, tsv, markdown or plain.' -x -a 'table json csv tsv markdown plain'
complete -c trk -n '__trk_in status best ls search show history artifacts compare check summary verify config daemon doctor' -l field -d 'Print one bare value, as params.lr.' -x -k -a '(__trk_values one column run_id name experiment status start_time end_time duration_s parent_id backends)'
complete -c trk -n '__trk_in status best ls search show history compare' -l quiet -s q -d 'Print run ids only.'
complete -c trk -n '__trk_in log-metric log-metrics' -l step -d 'The step; left out: the next one.' -x
complete -c trk -n '__trk_in log-metric log-metrics' -l timestamp -d 'ISO 8601, or seconds or ms since 1970; else now.' -x
complete -c trk -n '__trk_in log-param log-params' -l if-exists -d 'error (the default), keep or suffix.' -x -a 'error keep suffix'
complete -c trk -n '__trk_in define-metric' -l mode -d 'Which direction is better.' -x -a 'max min'
complete -c trk -n '__trk_in define-metric' -l step-metric -d 'The metric that is its x-axis (W&B).' -x -k -a '(__trk_values one metric)'
complete -c trk -n '__trk_in log' -l strict -d 'Stop at the first bad line, with exit 2.'
complete -c trk -n '__trk_in log' -l ack -d 'Answer each line on stdout once it is durable.'
complete -c trk -n '__trk_in log-table log-html log-text log-dict log-image log-figure' -l name -d 'The name; left out: the file\'s.' -x
complete -c trk -n '__trk_in log-table' -l type -d 'csv, tsv, json, jsonl or parquet; else by the ending.' -x -a 'csv tsv json jsonl parquet'
complete -c trk -n '__trk_in log-table' -l columns -d 'The columns of --row, or of a file without a header.' -x
complete -c trk -n '__trk_in log-table' -l row -d 'One row; may be given again.' -x
complete -c trk -n '__trk_in log-text' -l text -d 'The text itself, in place of FILE.' -x
complete -c trk -n '__trk_in log-dict' -l type -d 'json, yaml or toml; else by the ending.' -x -a 'json yaml toml'
complete -c trk -n '__trk_in log-image' -l step -d 'The step, for one image of a series.' -x
complete -c trk -n '__trk_in log-artifact' -l path -d 'The folder inside the run.' -x
complete -c trk -n '__trk_in log-artifact' -l name -d 'Make it a version of an artifact of this name.' -x
complete -c trk -n '__trk_in log-artifact' -l type -d 'model, checkpoint, dataset, …; else by the ending.' -x -a 'model checkpoint weights dataset image audio video viz report config code sample custom'
complete -c trk -n '__trk_in log-artifact' -l reference -d 'What stays where it is, as s3://bucket/data.' -x
complete -c trk -n '__trk_in log-artifact' -l no-snapshot -d 'Do not copy: deliver in place, and not at all if it has changed.'
complete -c trk -n '__trk_in watch-file' -l type -d 'jsonl or csv; left out: by the ending.' -x -a 'csv jsonl'
complete -c trk -n '__trk_in watch-file' -l step -d 'A CSV\'s column with the step.' -x
complete -c trk -n '__trk_in watch-file' -l time -d 'A CSV\'s column with the time.' -x
complete -c trk -n '__trk_in watch-file' -l once -d 'Take what is there now, and end.'
complete -c trk -n '__trk_in watch-file import' -l until-idle -d 'End when nothing was added for so long.' -x
complete -c trk -n '__trk_in best' -l metric -d 'The metric to rank by.' -x -k -a '(__trk_values one metric)'
complete -c trk -n '__trk_in best' -l mode -d 'Which is better; else as defined, or by name.' -x -a 'max min'
complete -c trk -n '__trk_in best' -l agg -d 'best (over the whole history), last, min or max.' -x -a 'best last min max'
complete -c trk -n '__trk_in best' -l n -s n -d 'How many runs, best first.' -x
complete -c trk -n '__trk_in best ls history plot report export import' -l filter -d 'Such as "metrics.f1 > 0.85 and params.model = \'rf\'".' -x -k -a '(__trk_values one metric)'
complete -c trk -n '__trk_in best' -l fresh -d 'Read every history, whatever trk left on the runs or remembers.'
complete -c trk -n '__trk_in best ls search show history plot report artifacts compare check summary export' -l source -d 'Where to read: local, mlflow, wandb.' -x -a 'local mlflow wandb memory'
complete -c trk -n '__trk_in ls search history export' -l status -d 'RUNNING, FINISHED, …; several with commas.' -x -k -a '(__trk_values many \'\' RUNNING FINISHED FAILED KILLED)'
complete -c trk -n '__trk_in ls search history export' -l since -d 'Started then or later: 2h, 7d, 2026-11-21T07:27.' -x
complete -c trk -n '__trk_in ls search history export' -l until -d 'Started then or before.' -x
complete -c trk -n '__trk_in ls search export' -l sort -d 'Such as "metrics.f1 desc, name"; else newest first.' -x -k -a '(__trk_values many column run_id run_name experiment status start_time end_time duration user_id)'
complete -c trk -n '__trk_in ls search export' -l n -s n -d 'How many at most.' -x
complete -c trk -n '__trk_in ls search export' -l columns -d 'Such as name,metrics.f1,params.*,tags.stage,status.' -x -k -a '(__trk_values many column name experiment status started duration parent_id description run_id source)'
complete -c trk -n '__trk_in ls search' -l group-by -d 'Such as params.model,tags.stage: a line a group.' -x -k -a '(__trk_values many column name experiment status source parent_id description)'
complete -c trk -n '__trk_in ls search' -l agg -d 'Of groups: mean, std, best, min, max, median, count.' -x -k -a '(__trk_values many \'\' mean std min max median count best)'
complete -c trk -n '__trk_in ls search' -l deleted -d 'The deleted ones, from the journal alone.'
complete -c trk -n '__trk_in history plot' -l run -d 'The run; may be given again. Else the active one.' -x -k -a '(__trk_values one run)'
complete -c trk -n '__trk_in history' -l align -d 'A line a step, a column for each run and metric.'
complete -c trk -n '__trk_in history' -l last -d 'The last N points of each.' -x
complete -c trk -n '__trk_in history' -l sample -d 'N points of each, evenly, with first, last, lowest, highest.' -x
complete -c trk -n '__trk_in plot report' -l best -d 'The N best runs by --metric.' -x
complete -c trk -n '__trk_in plot' -l metric -d 'The metric for --best; else the first KEY.' -x -k -a '(__trk_values one metric)'
complete -c trk -n '__trk_in plot report' -l mode -d 'Which is better; else as defined.' -x -a 'max min'
complete -c trk -n '__trk_in plot report' -l n -s n -d 'How many runs, newest first.' -x
complete -c trk -n '__trk_in plot' -l x -d 'What is drawn across.' -x -a 'step time relative'
complete -c trk -n '__trk_in plot' -l smooth -d 'Moving average: the weight of the past, from 0 to 1.' -x
complete -c trk -n '__trk_in plot' -l log-x -d 'A logarithmic axis across.'
complete -c trk -n '__trk_in plot' -l log-y -d 'A logarithmic axis upwards.'
complete -c trk -n '__trk_in plot' -l width -d 'Columns; of a file, pixels.' -x
complete -c trk -n '__trk_in plot' -l height -d 'Rows; of a file, pixels.' -x
complete -c trk -n '__trk_in plot' -l output -s o -d 'Into a .png, .svg or .html.' -r -F
complete -c trk -n '__trk_in report' -l metric -d 'The metric to rank by; else one of most runs.' -x -k -a '(__trk_values one metric)'
complete -c trk -n '__trk_in report compare' -l baseline -d 'What the others are measured against: RUN, best:f1, tag:k=v.' -x -k -a '(__trk_values one run+best-of)'
complete -c trk -n '__trk_in report' -l title -d 'The page\'s heading.' -x
complete -c trk -n '__trk_in report' -l output -s o -d 'The file; left out: trk-report.html.' -r -F
complete -c trk -n '__trk_in report' -l open -d 'Show it in the browser.'
complete -c trk -n '__trk_in report' -l log -d 'Also log it, into the one run or the active one.'
complete -c trk -n '__trk_in watch' -l interval -d 'No more often than this; a server: at most every 5 s.' -x
complete -c trk -n '__trk_in watch' -l timeout -d 'Exit 1 when a run still goes on after this.' -x
complete -c trk -n '__trk_in watch' -l source -d 'Where to read; left out: the journal.' -x -a 'local mlflow wandb memory'
complete -c trk -n '__trk_in artifacts' -l path -d 'ls: this folder or file only.' -x -k -a '(__trk_values one own-artifact+artifact)'
complete -c trk -n '__trk_in artifacts' -l type -d 'ls: artifacts of this type only.' -x -a 'model checkpoint weights dataset image audio video viz report config code sample custom'
complete -c trk -n '__trk_in artifacts' -l history -d 'ls: also what was at a path before (in the journal).'
complete -c trk -n '__trk_in artifacts' -l row -d 'get: what row N of the run put there: n in ls --history.' -x
complete -c trk -n '__trk_in artifacts' -l output -s o -d 'get: the folder, the name of a single file (a table also as .csv, .tsv, .jsonl), or - .' -r -F
complete -c trk -n '__trk_in artifacts' -l force -d 'get: replace files that are there.'
complete -c trk -n '__trk_in artifacts' -l timeout -d 'How long to wait; ls 30, get 3600.' -x
complete -c trk -n '__trk_in artifacts' -l quiet -s q -d 'ls: print paths only. get: no talk.'
complete -c trk -n '__trk_in compare' -l best -d 'And the N best runs by --metric.' -x
complete -c trk -n '__trk_in compare' -l metric -d 'The metric for --best.' -x -k -a '(__trk_values one metric)'
complete -c trk -n '__trk_in compare' -l mode -d 'Which is better of it; else as defined, or by name.' -x -a 'max min'
complete -c trk -n '__trk_in compare' -l metrics -d 'Only these metrics, such as \'f1,val/*\'.' -x -k -a '(__trk_values many metric)'
complete -c trk -n '__trk_in compare' -l params -d 'Only these params, such as \'lr,opt*\'; \'\' is none.' -x -k -a '(__trk_values many param)'
complete -c trk -n '__trk_in compare' -l experiment -s e -d 'Where best and tag look; else that of the runs.' -x -k -a '(__trk_values one experiment)'
complete -c trk -n '__trk_in compare' -l all -d 'What is the same in all runs, too.'
complete -c trk -n '__trk_in check' -l baseline -d 'What baseline is: RUN, best:f1, best:f1:min, tag:branch=main, @last.' -x -k -a '(__trk_values one run+best-of)'
complete -c trk -n '__trk_in check' -l allow-no-baseline -d 'Without a baseline what needs one passes, with a note.'
complete -c trk -n '__trk_in check summary' -l from -d 'And the conditions in FILE, one a line; - is stdin.' -r -F
complete -c trk -n '__trk_in check' -l experiment -s e -d 'Where best and tag look; else that of the run.' -x -k -a '(__trk_values one experiment)'
complete -c trk -n '__trk_in check' -l quiet -s q -d 'Print nothing: the exit code tells.'
complete -c trk -n '__trk_in summary' -l baseline -d 'What changed is shown against: RUN, best:f1, tag:k=v, @last.' -x -k -a '(__trk_values one run+best-of)'
complete -c trk -n '__trk_in summary' -l check -d 'A condition, as trk check has it. May be given again.' -x -k -a '(__trk_values one metric)'
complete -c trk -n '__trk_in summary' -l fail -d 'Exit 5 when a condition fails.'
complete -c trk -n '__trk_in summary' -l allow-no-baseline -d 'Without a baseline go on, and say so: the first run.'
complete -c trk -n '__trk_in summary' -l metric -d 'A metric, or a pattern such as \'val/*\'. May be given again.' -x -k -a '(__trk_values one metric)'
complete -c trk -n '__trk_in summary' -l experiment -s e -d 'All runs of it; of named ones, where best looks.' -x -k -a '(__trk_values one experiment)'
complete -c trk -n '__trk_in summary' -l since -d 'All runs started since: 2h, or a moment.' -x
complete -c trk -n '__trk_in summary' -l pipeline -d 'All runs of a CI pipeline; @ is this job\'s.' -x
complete -c trk -n '__trk_in summary' -l max-charts -d 'At most; 6.' -x
complete -c trk -n '__trk_in summary' -l max-rows -d 'Of a table at most; 100.' -x
complete -c trk -n '__trk_in summary' -l junit -d 'Also the conditions as JUnit XML.' -r -F
complete -c trk -n '__trk_in summary' -l output -s o -d 'Into a file; - is stdout, in GitHub too.' -r -F
complete -c trk -n '__trk_in summary' -l format -d 'markdown, gitlab, html, openmetrics, junit, json.' -x -a 'markdown gitlab html openmetrics junit json'
complete -c trk -n '__trk_in delete restore' -l no-wait -d 'Do not tell the backends now; trk sync does.'
complete -c trk -n '__trk_in delete' -l yes -d 'Do not ask, also where a run can\'t be restored (W&B).'
complete -c trk -n '__trk_in sync' -l to -d 'To this backend only.' -x -a 'mlflow wandb memory'
complete -c trk -n '__trk_in sync' -l uri -d 'With --to: the runs go there now, from their first row on.' -x
complete -c trk -n '__trk_in gc' -l older-than -d 'Of runs that ended so long ago: 30d, 12h, 0. Else the setting retention.' -x
complete -c trk -n '__trk_in gc' -l dry-run -d 'Remove nothing; say what would be.'
complete -c trk -n '__trk_in export' -l bundle -d 'Write a bundle for trk import; - is standard output.' -r -F
complete -c trk -n '__trk_in export' -l runs -d 'Write a row a run: .csv, .tsv, .json, .jsonl, .parquet, or -.' -r -F
complete -c trk -n '__trk_in export' -l history -d 'Write a row a point, as --runs does.' -r -F
complete -c trk -n '__trk_in export' -l run -d 'The same as RUN. May be given again.' -x -k -a '(__trk_values one run)'
complete -c trk -n '__trk_in export' -l pending -d 'Of a bundle: only runs with something that is not delivered.'
complete -c trk -n '__trk_in export' -l metric -d 'Of --history: the metrics, or globs; else all. May be repeated.' -x -k -a '(__trk_values one metric)'
complete -c trk -n '__trk_in export' -l format -d 'csv, tsv, json, jsonl, parquet; else by FILE.' -x -a 'csv tsv json jsonl parquet'
complete -c trk -n '__trk_in export' -l force -d 'Replace FILE if it is there.'
complete -c trk -n '__trk_in import' -l uri -d 'Where MLflow\'s or W&B\'s runs are.' -x
complete -c trk -n '__trk_in import' -l experiment -s e -d 'MLflow\'s to read; of files, where to.' -x -k -a '(__trk_values one experiment)'
complete -c trk -n '__trk_in import' -l artifacts -d 'Take the files of the runs along.'
complete -c trk -n '__trk_in import' -l name -d 'The run\'s; left out: the file\'s.' -x
complete -c trk -n '__trk_in import' -l step -d 'The column with the step.' -x
complete -c trk -n '__trk_in import' -l time -d 'The column with the time.' -x
complete -c trk -n '__trk_in import' -l param -d 'Columns that are params. Again or a,b.' -x
complete -c trk -n '__trk_in import' -l run-column -d 'The column that tells runs apart.' -x
complete -c trk -n '__trk_in import' -l backend -s b -d 'Where to deliver to; none: nowhere. May be given again.' -x -a 'mlflow wandb memory'
complete -c trk -n '__trk_in import' -l mlflow-uri -d 'MLflow\'s server to deliver to.' -x
complete -c trk -n '__trk_in import' -l attached -d 'Of a bundle: other programs\' runs, too; it goes into those.'
complete -c trk -n '__trk_in import' -l follow -d 'Go on while the log folder grows, until Ctrl-C.'
complete -c trk -n '__trk_in import' -l dry-run -d 'Say what would be taken, and take nothing.'
complete -c trk -n '__trk_in verify' -l backend -s b -d 'This backend only. May be given again.' -x -a 'mlflow wandb memory'
complete -c trk -n '__trk_in verify' -l timeout -d 'How long reading it all back may take.' -x
complete -c trk -n '__trk_in verify' -l quiet -s q -d 'Print the ids of the runs that differ only.'
complete -c trk -n '__trk_in config' -l origin -d 'Say where each setting comes from.'
complete -c trk -n '__trk_in daemon' -l n -s n -d 'logs: the last N lines (100).' -x
complete -c trk -n '__trk_in daemon' -l timeout -d 'stop: how long it may take.' -x
complete -c trk -n '__trk_in doctor' -l timeout -d 'How long all the checks together may take.' -x
complete -c trk -n '__trk_in doctor' -l quiet -s q -d 'Only what is not as it should be; no talk.'
complete -c trk -n '__trk_in ui' -l host -d 'Where to listen, for a database: 127.0.0.1.' -x
complete -c trk -n '__trk_in ui' -l port -d 'Left out: 5000, or a free one.' -x
complete -c trk -n '__trk_in ui' -l open -d 'Open it in the browser.'
complete -c trk -n '__trk_in ui' -l timeout -d 'How long MLflow may take to start.' -x
complete -c trk -n '__trk_at attach 1' -k -a '(__trk_values one open-run)'
complete -c trk -n '__trk_at resume 1' -k -a '(__trk_values one ended-run)'
complete -c trk -n '__trk_at log-metric 1' -k -a '(__trk_values one metric)'
complete -c trk -n '__trk_at log-metrics 1 more' -k -a '(__trk_values pairs metric)'
complete -c trk -n '__trk_at log-param 1' -k -a '(__trk_values one param)'
complete -c trk -n '__trk_at log-params 1 more' -k -a '(__trk_values pairs param)'
complete -c trk -n '__trk_at log-summary 1 more' -k -a '(__trk_values pairs metric)'
complete -c trk -n '__trk_at set-tag 1' -k -a '(__trk_values one tag)'
complete -c trk -n '__trk_at set-tags 1 more' -k -a '(__trk_values pairs tag)'
complete -c trk -n '__trk_at delete-tag 1' -k -a '(__trk_values one tag)'
complete -c trk -n '__trk_at define-metric 1' -k -a '(__trk_values one metric)'
complete -c trk -n '__trk_at log-table 1' -F
complete -c trk -n '__trk_at log-html 1' -F
complete -c trk -n '__trk_at log-text 1' -F
complete -c trk -n '__trk_at log-dict 1' -F
complete -c trk -n '__trk_at log-image 1' -F
complete -c trk -n '__trk_at log-figure 1' -F
complete -c trk -n '__trk_at log-artifact 1 more' -F
complete -c trk -n '__trk_at watch-file 1' -F
complete -c trk -n '__trk_at show 1' -k -a '(__trk_values one run)'
complete -c trk -n '__trk_at history 1 more' -k -a '(__trk_values one metric)'
complete -c trk -n '__trk_at plot 1 more' -k -a '(__trk_values one metric)'
complete -c trk -n '__trk_at report 1 more' -k -a '(__trk_values one run)'
complete -c trk -n '__trk_at watch 1 more' -k -a '(__trk_values one run)'
complete -c trk -n '__trk_at artifacts 1' -a 'ls get'
complete -c trk -n '__trk_at artifacts 2' -k -a '(__trk_values one own-artifact+artifact+run)'
complete -c trk -n '__trk_at compare 1 more' -k -a '(__trk_values one run)'
complete -c trk -n '__trk_at check 1 more' -k -a '(__trk_values one metric)'
complete -c trk -n '__trk_at summary 1 more' -k -a '(__trk_values one run)'
complete -c trk -n '__trk_at delete 1 more' -k -a '(__trk_values one ended-run)'
complete -c trk -n '__trk_at restore 1 more' -k -a '(__trk_values one deleted-run)'
complete -c trk -n '__trk_at export 1 more' -k -a '(__trk_values one run)'
complete -c trk -n '__trk_at import 1' -F
complete -c trk -n '__trk_at import 2 more' -F
complete -c trk -n '__trk_at verify 1' -k -a '(__trk_values one run)'
complete -c trk -n '__trk_at config 1' -a 'show trust'
complete -c trk -n '__trk_at daemon 1' -a 'start stop status logs'
complete -c trk -n '__trk_at completion 1' -a 'bash zsh fish'
complete -c trk -n '__trk_at shell-init 1' -a 'bash zsh'
complete -c trk -n '__trk_at help 1' -a 'bundles capture checks ci delivery exit-codes filters import json ls pictures pipes run sessions sources storage trackers'
