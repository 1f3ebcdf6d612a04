# trk's words for bash 3.2 and newer: verbs, options, their values, and the runs and metrics of the journal here.
#
# In ~/.bashrc:  eval "$(trk completion bash)"
# The wheel puts it where the package bash-completion finds it: share/bash-completion/completions/trk.
# Made by `trk completion bash` from the command's own tables: not to be edited.

# Per verb: its options, how the values of those that take one are completed, and how its positionals are.
_trk_table() {
    case $1 in
    '')
        options='--help --version'
        places=('one::start,run,attach,detach,resume,end,status,log-metric,log-metrics,log-param,log-params,log-summary,set-tag,set-tags,delete-tag,define-metric,log,log-table,log-html,log-text,log-dict,log-image,log-figure,log-artifact,watch-file,best,ls,search,show,history,plot,report,watch,artifacts,compare,check,summary,delete,restore,sync,gc,export,import,verify,config,daemon,doctor,ui,completion,shell-init,demo,help')
        ;;
    start)
        options='--experiment --backend --tag --param --description --nested --parent --replace --key-prefix --step-metric --capture --mlflow-uri --wandb-project --wandb-entity --wandb-group --wait --timeout --shell --json --quiet --help'
        values='--experiment=one:experiment: -e=one:experiment: --backend=one::mlflow,wandb,memory -b=one::mlflow,wandb,memory --tag=pairs:tag: --param=pairs:param: --description=none --parent=one:run: --key-prefix=none --step-metric=one:metric: --capture=many::git,env,system,args,ci,packages --mlflow-uri=none --wandb-project=none --wandb-entity=none --wandb-group=none --timeout=none'
        places=('none')
        ;;
    run)
        options='--experiment --backend --tag --param --description --nested --parent --key-prefix --step-metric --capture --scrape --pattern --system-metrics --interval --no-output --resume-on-restart --restart-key --mlflow-uri --wandb-project --wandb-entity --wandb-group --wait --timeout --no-wait --strict --quiet --help'
        values='--experiment=one:experiment: -e=one:experiment: --backend=one::mlflow,wandb,memory -b=one::mlflow,wandb,memory --tag=pairs:tag: --param=pairs:param: --description=none --parent=one:run: --key-prefix=none --step-metric=one:metric: --capture=many::git,env,system,args,ci,packages --pattern=none --interval=none --restart-key=one:metric: --mlflow-uri=none --wandb-project=none --wandb-entity=none --wandb-group=none --timeout=none'
        places=('none')
        others='none'
        ;;
    attach)
        options='--mlflow --wandb --timeout --json --quiet --help'
        values='--mlflow=none --wandb=none --timeout=none'
        places=('one:open-run:')
        ;;
    detach)
        options='--json --quiet --help'
        ;;
    resume)
        options='--json --quiet --help'
        places=('one:ended-run:')
        ;;
    end)
        options='--run --status --failed --exit-code --timeout --no-wait --strict --json --quiet --help'
        values='--run=one:run: --status=one::FINISHED,FAILED,KILLED --exit-code=none --timeout=none'
        ;;
    status)
        options='--run --format --json --field --quiet --help'
        values='--run=one:run: --format=one::table,json,csv,tsv,markdown,plain --field=one:column:run_id,name,experiment,status,start_time,end_time,duration_s,parent_id,backends'
        ;;
    log-metric)
        options='--run --step --timestamp --json --quiet --help'
        values='--run=one:run: --step=none --timestamp=none'
        places=('one:metric:' 'none')
        ;;
    log-metrics)
        options='--run --step --timestamp --json --quiet --help'
        values='--run=one:run: --step=none --timestamp=none'
        places=('pairs:metric:')
        others='pairs:metric:'
        ;;
    log-param)
        options='--run --if-exists --json --quiet --help'
        values='--run=one:run: --if-exists=one::error,keep,suffix'
        places=('one:param:' 'none')
        ;;
    log-params)
        options='--run --if-exists --json --quiet --help'
        values='--run=one:run: --if-exists=one::error,keep,suffix'
        places=('pairs:param:')
        others='pairs:param:'
        ;;
    log-summary)
        options='--run --json --quiet --help'
        values='--run=one:run:'
        places=('pairs:metric:')
        others='pairs:metric:'
        ;;
    set-tag)
        options='--run --json --quiet --help'
        values='--run=one:run:'
        places=('one:tag:' 'none')
        ;;
    set-tags)
        options='--run --json --quiet --help'
        values='--run=one:run:'
        places=('pairs:tag:')
        others='pairs:tag:'
        ;;
    delete-tag)
        options='--run --json --quiet --help'
        values='--run=one:run:'
        places=('one:tag:')
        ;;
    define-metric)
        options='--run --mode --step-metric --json --quiet --help'
        values='--run=one:run: --mode=one::max,min --step-metric=one:metric:'
        places=('one:metric:')
        ;;
    log)
        options='--run --strict --ack --json --quiet --help'
        values='--run=one:run:'
        places=('none')
        ;;
    log-table)
        options='--run --name --type --columns --row --json --quiet --help'
        values='--run=one:run: --name=none --type=one::csv,tsv,json,jsonl,parquet --columns=none --row=none'
        places=('file')
        ;;
    log-html)
        options='--run --name --json --quiet --help'
        values='--run=one:run: --name=none'
        places=('file')
        ;;
    log-text)
        options='--run --name --text --json --quiet --help'
        values='--run=one:run: --name=none --text=none'
        places=('file')
        ;;
    log-dict)
        options='--run --name --type --json --quiet --help'
        values='--run=one:run: --name=none --type=one::json,yaml,toml'
        places=('file')
        ;;
    log-image)
        options='--run --name --step --json --quiet --help'
        values='--run=one:run: --name=none --step=none'
        places=('file')
        ;;
    log-figure)
        options='--run --name --json --quiet --help'
        values='--run=one:run: --name=none'
        places=('file')
        ;;
    log-artifact)
        options='--run --path --name --type --reference --no-snapshot --json --quiet --help'
        values='--run=one:run: --path=none --name=none --type=one::model,checkpoint,weights,dataset,image,audio,video,viz,report,config,code,sample,custom --reference=none'
        places=('file')
        others='file'
        ;;
    watch-file)
        options='--run --type --step --time --once --until-idle --json --quiet --help'
        values='--run=one:run: --type=one::csv,jsonl --step=none --time=none --until-idle=none'
        places=('file')
        ;;
    best)
        options='--metric --mode --agg --n --experiment --filter --fresh --source --timeout --format --json --field --quiet --help'
        values='--metric=one:metric: --mode=one::max,min --agg=one::best,last,min,max --n=none -n=none --experiment=one:experiment: -e=one:experiment: --filter=one:metric: --source=one::local,mlflow,wandb,memory --timeout=none --format=one::table,json,csv,tsv,markdown,plain --field=one:column:run_id,name,experiment,status,start_time,end_time,duration_s,parent_id,backends'
        ;;
    ls)
        options='--experiment --filter --status --since --until --sort --n --columns --group-by --agg --deleted --source --timeout --format --json --field --quiet --help'
        values='--experiment=one:experiment: -e=one:experiment: --filter=one:metric: --status=many::RUNNING,FINISHED,FAILED,KILLED --since=none --until=none --sort=many:column:run_id,run_name,experiment,status,start_time,end_time,duration,user_id --n=none -n=none --columns=many:column:name,experiment,status,started,duration,parent_id,description,run_id,source --group-by=many:column:name,experiment,status,source,parent_id,description --agg=many::mean,std,min,max,median,count,best --source=one::local,mlflow,wandb,memory --timeout=none --format=one::table,json,csv,tsv,markdown,plain --field=one:column:run_id,name,experiment,status,start_time,end_time,duration_s,parent_id,backends'
        ;;
    search)
        options='--experiment --status --since --until --sort --n --columns --group-by --agg --deleted --source --timeout --format --json --field --quiet --help'
        values='--experiment=one:experiment: -e=one:experiment: --status=many::RUNNING,FINISHED,FAILED,KILLED --since=none --until=none --sort=many:column:run_id,run_name,experiment,status,start_time,end_time,duration,user_id --n=none -n=none --columns=many:column:name,experiment,status,started,duration,parent_id,description,run_id,source --group-by=many:column:name,experiment,status,source,parent_id,description --agg=many::mean,std,min,max,median,count,best --source=one::local,mlflow,wandb,memory --timeout=none --format=one::table,json,csv,tsv,markdown,plain --field=one:column:run_id,name,experiment,status,start_time,end_time,duration_s,parent_id,backends'
        places=('none')
        ;;
    show)
        options='--run --source --timeout --format --json --field --quiet --help'
        values='--run=one:run: --source=one::local,mlflow,wandb,memory --timeout=none --format=one::table,json,csv,tsv,markdown,plain --field=one:column:run_id,name,experiment,status,start_time,end_time,duration_s,parent_id,backends'
        places=('one:run:')
        ;;
    history)
        options='--run --experiment --filter --status --since --until --align --last --sample --source --timeout --format --json --field --quiet --help'
        values='--run=one:run: --experiment=one:experiment: -e=one:experiment: --filter=one:metric: --status=many::RUNNING,FINISHED,FAILED,KILLED --since=none --until=none --last=none --sample=none --source=one::local,mlflow,wandb,memory --timeout=none --format=one::table,json,csv,tsv,markdown,plain --field=one:column:run_id,name,experiment,status,start_time,end_time,duration_s,parent_id,backends'
        places=('one:metric:')
        others='one:metric:'
        ;;
    plot)
        options='--run --experiment --filter --best --metric --mode --n --x --smooth --log-x --log-y --width --height --output --source --timeout --json --quiet --help'
        values='--run=one:run: --experiment=one:experiment: -e=one:experiment: --filter=one:metric: --best=none --metric=one:metric: --mode=one::max,min --n=none -n=none --x=one::step,time,relative --smooth=none --width=none --height=none --output=file -o=file --source=one::local,mlflow,wandb,memory --timeout=none'
        places=('one:metric:')
        others='one:metric:'
        ;;
    report)
        options='--experiment --filter --best --metric --mode --n --baseline --title --output --open --log --source --timeout --json --quiet --help'
        values='--experiment=one:experiment: -e=one:experiment: --filter=one:metric: --best=none --metric=one:metric: --mode=one::max,min --n=none -n=none --baseline=one:run+best-of: --title=none --output=file -o=file --source=one::local,mlflow,wandb,memory --timeout=none'
        places=('one:run:')
        others='one:run:'
        ;;
    watch)
        options='--interval --timeout --source --json --quiet --help'
        values='--interval=none --timeout=none --source=one::local,mlflow,wandb,memory'
        places=('one:run:')
        others='one:run:'
        ;;
    artifacts)
        options='--run --path --type --history --row --output --force --source --timeout --format --json --field --quiet --help'
        values='--run=one:run: --path=one:own-artifact+artifact: --type=one::model,checkpoint,weights,dataset,image,audio,video,viz,report,config,code,sample,custom --row=none --output=file -o=file --source=one::local,mlflow,wandb,memory --timeout=none --format=one::table,json,csv,tsv,markdown,plain --field=one:column:run_id,name,experiment,status,start_time,end_time,duration_s,parent_id,backends'
        places=('one::ls,get' 'one:own-artifact+artifact+run:')
        ;;
    compare)
        options='--baseline --best --metric --mode --metrics --params --experiment --all --source --timeout --format --json --field --quiet --help'
        values='--baseline=one:run+best-of: --best=none --metric=one:metric: --mode=one::max,min --metrics=many:metric: --params=many:param: --experiment=one:experiment: -e=one:experiment: --source=one::local,mlflow,wandb,memory --timeout=none --format=one::table,json,csv,tsv,markdown,plain --field=one:column:run_id,name,experiment,status,start_time,end_time,duration_s,parent_id,backends'
        places=('one:run:')
        others='one:run:'
        ;;
    check)
        options='--run --baseline --allow-no-baseline --from --experiment --source --timeout --format --json --field --quiet --help'
        values='--run=one:run: --baseline=one:run+best-of: --from=file --experiment=one:experiment: -e=one:experiment: --source=one::local,mlflow,wandb,memory --timeout=none --format=one::table,json,csv,tsv,markdown,plain --field=one:column:run_id,name,experiment,status,start_time,end_time,duration_s,parent_id,backends'
        places=('one:metric:')
        others='one:metric:'
        ;;
    summary)
        options='--baseline --check --from --fail --allow-no-baseline --metric --experiment --since --pipeline --max-charts --max-rows --junit --output --source --timeout --format --json --field --quiet --help'
        values='--baseline=one:run+best-of: --check=one:metric: --from=file --metric=one:metric: --experiment=one:experiment: -e=one:experiment: --since=none --pipeline=none --max-charts=none --max-rows=none --junit=file --output=file -o=file --source=one::local,mlflow,wandb,memory --timeout=none --format=one::markdown,gitlab,html,openmetrics,junit,json --field=one:column:run_id,name,experiment,status,start_time,end_time,duration_s,parent_id,backends'
        places=('one:run:')
        others='one:run:'
        ;;
    delete)
        options='--timeout --no-wait --yes --strict --json --quiet --help'
        values='--timeout=none'
        places=('one:ended-run:')
        others='one:ended-run:'
        ;;
    restore)
        options='--timeout --no-wait --strict --json --quiet --help'
        values='--timeout=none'
        places=('one:deleted-run:')
        others='one:deleted-run:'
        ;;
    sync)
        options='--run --to --uri --timeout --strict --json --quiet --help'
        values='--run=one:run: --to=one::mlflow,wandb,memory --uri=none --timeout=none'
        ;;
    gc)
        options='--older-than --dry-run --json --quiet --help'
        values='--older-than=none'
        ;;
    export)
        options='--bundle --runs --history --run --experiment --filter --status --since --until --pending --columns --metric --sort --n --format --force --source --timeout --json --quiet --help'
        values='--bundle=file --runs=file --history=file --run=one:run: --experiment=one:experiment: -e=one:experiment: --filter=one:metric: --status=many::RUNNING,FINISHED,FAILED,KILLED --since=none --until=none --columns=many:column:name,experiment,status,started,duration,parent_id,description,run_id,source --metric=one:metric: --sort=many:column:run_id,run_name,experiment,status,start_time,end_time,duration,user_id --n=none -n=none --format=one::csv,tsv,json,jsonl,parquet --source=one::local,mlflow,wandb,memory --timeout=none'
        places=('one:run:')
        others='one:run:'
        ;;
    import)
        options='--uri --experiment --filter --artifacts --name --step --time --param --run-column --backend --mlflow-uri --wandb-project --wandb-entity --wandb-group --attached --follow --until-idle --dry-run --json --quiet --help'
        values='--uri=none --experiment=one:experiment: -e=one:experiment: --filter=one:metric: --name=none --step=none --time=none --param=none --run-column=none --backend=one::mlflow,wandb,memory -b=one::mlflow,wandb,memory --mlflow-uri=none --wandb-project=none --wandb-entity=none --wandb-group=none --until-idle=none'
        places=('file' 'file')
        others='file'
        ;;
    verify)
        options='--run --backend --timeout --format --json --field --quiet --help'
        values='--run=one:run: --backend=one::mlflow,wandb,memory -b=one::mlflow,wandb,memory --timeout=none --format=one::table,json,csv,tsv,markdown,plain --field=one:column:run_id,name,experiment,status,start_time,end_time,duration_s,parent_id,backends'
        places=('one:run:')
        ;;
    config)
        options='--origin --format --json --field --quiet --help'
        values='--format=one::table,json,csv,tsv,markdown,plain --field=one:column:run_id,name,experiment,status,start_time,end_time,duration_s,parent_id,backends'
        places=('one::show,trust')
        ;;
    daemon)
        options='--n --timeout --format --json --field --quiet --help'
        values='--n=none -n=none --timeout=none --format=one::table,json,csv,tsv,markdown,plain --field=one:column:run_id,name,experiment,status,start_time,end_time,duration_s,parent_id,backends'
        places=('one::start,stop,status,logs')
        ;;
    doctor)
        options='--timeout --format --json --field --quiet --help'
        values='--timeout=none --format=one::table,json,csv,tsv,markdown,plain --field=one:column:run_id,name,experiment,status,start_time,end_time,duration_s,parent_id,backends'
        ;;
    ui)
        options='--host --port --open --run --timeout --json --quiet --help'
        values='--host=none --port=none --run=one:run: --timeout=none'
        ;;
    completion)
        options='--help'
        places=('one::bash,zsh,fish')
        ;;
    shell-init)
        options='--help'
        places=('one::bash,zsh')
        ;;
    demo)
        options='--quiet --help'
        ;;
    help)
        options='--help'
        places=('one::bundles,capture,checks,ci,delivery,exit-codes,filters,import,json,ls,pictures,pipes,run,sessions,sources,storage,trackers')
        ;;
    esac
}

# Sets `words`, what stands before the word at the cursor, and `raw`, that word up to the cursor as it was typed.
# COMP_WORDS is cut at `:`, `=` and `@`: what no space parts in the line is one word.
_trk_split() {
    local line=$COMP_LINE at=0 start=0 all=() gap word i
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]-}
        gap=${line%%[![:space:]]*}
        if [[ $i == 0 || $gap ]]; then
            all+=("$word")
            start=$((at + ${#gap}))
        else
            all[${#all[@]} - 1]+=$word
        fi
        at=$((at + ${#gap} + ${#word}))
        line=${COMP_LINE:at}
    done
    for ((i = 0; i < ${#all[@]} - 1; i++)); do
        _trk_unquote "${all[i]}"
        words+=("$plain")
    done
    raw=${COMP_LINE:start:COMP_POINT > start ? COMP_POINT - start : 0}
}

# Sets `plain`, the word without its quotes, in which nothing is expanded; `quote`, the one that is still open; and
# `head`, the part that readline leaves as it is: it puts in a word after the last unquoted one of COMP_WORDBREAKS.
_trk_unquote() {
    local raw=$1 before='' char i
    plain='' head='' quote=''
    for ((i = 0; i < ${#raw}; i++)); do
        char=${raw:i:1}
        case $quote$char in
        "''" | '""') quote='' head=$before ;;
        "'"?) plain+=$char ;;
        '"\')
            [[ ${raw:i+1:1} == [\"\\\`\$] ]] && i=$((i + 1))
            plain+=${raw:i:1}
            ;;
        '"'?) plain+=$char ;;
        "'" | '"') quote=$char before=$head head=$plain ;;
        '\') i=$((i + 1)) plain+=${raw:i:1} ;;
        [@$]) # readline takes these two into the word that they begin
            [[ ${COMP_WORDBREAKS-} == *"$char"* ]] && head=$plain
            plain+=$char
            ;;
        *)
            plain+=$char
            [[ ${COMP_WORDBREAKS-} == *"$char"* ]] && head=$plain
            ;;
        esac
    done
}

# BEFORE AFTER WORD…: offers the words that go on from what is typed, each between BEFORE and AFTER, quoted as the
# word at the cursor is.
_trk_offer() {
    local before=$1 after=$2 word
    shift 2
    for word; do
        word=$before$word$after
        [[ $word == "$plain"* ]] || continue
        word=${word:${#head}}
        case $quote in
        "'") word=${word//\'/\'\\\'\'} ;;
        '"')
            [[ $word == *'!'* ]] && continue # there is no way to say it there
            word=${word//\\/\\\\} word=${word//\"/\\\"} word=${word//\$/\\\$} word=${word//\`/\\\`}
            ;;
        *) [[ $word ]] && printf -v word %q "$word" ;;
        esac
        COMPREPLY+=("$word")
    done
}

# KIND BEFORE AFTER PREFIX: offers what the journal here has.
_trk_ask() {
    local answer line run='' i found=()
    type -P trk >/dev/null || return 0
    for ((i = 2; i < ${#words[@]}; i++)); do
        case ${words[i]} in
        --run=*) run=${words[i]#*=} ;;
        --run) run=${words[i + 1]-} ;;
        esac
    done
    answer=$(
        [[ $run ]] && export TRK_RUN="$run"
        command trk __complete "$1" "$4" 2>/dev/null </dev/null
    ) && [[ $answer ]] || return 0
    while IFS= read -r line; do
        found+=("${line%%$'\t'*}")
    done <<<"$answer"
    _trk_offer "$2" "$3" "${found[@]}"
}

# BEFORE PATH: offers files and folders; for words that readline itself does not take for paths, such as @file.
_trk_files() {
    local answer line
    answer=$(
        GLOBIGNORE='' name=''
        set +f
        shopt -s nullglob
        shopt -u failglob dotglob
        for name in "$2"*; do
            [[ -d $name ]] && name+=/
            [[ $name == *[[:cntrl:]]* ]] || printf '%s\n' "$name"
        done
    )
    [[ $answer ]] || return 0
    while IFS= read -r line; do
        [[ $line == */ ]] && open=1
        _trk_offer "$1" '' "$line"
    done <<<"$answer"
}

# HOW BEFORE: offers values; BEFORE is what the word at the cursor has before its value, such as --run=.
_trk_values() {
    local how=${1%%:*} more=${1#*:} before=$2 after='' typed=${plain:${#2}} given
    case $how in
    file | folder)
        [[ $how == file ]] && how=default || how=dirnames
        compopt -o "$how" 2>/dev/null || _trk_files "$before" "$typed"
        return
        ;;
    pairs)
        case $typed in
        @*) _trk_files "$before@" "${typed:1}" && return ;;
        *=*) return ;;
        esac
        after='='
        open=1
        ;;
    many)
        [[ $typed == *,* ]] && before+=${typed%,*}, typed=${typed##*,}
        open=1
        ;;
    one) ;;
    *) return ;;
    esac
    IFS=, read -r -a given <<<"${more#*:}"
    ((${#given[@]})) && _trk_offer "$before" "$after" "${given[@]}"
    [[ ${more%%:*} ]] && _trk_ask "${more%%:*}" "$before" "$after" "$typed"
}

_trk() {
    local IFS=$' \t\n' words=() raw='' plain='' head='' quote=''
    local options='' values='' places=() others='none'
    local verb option='' only='' open='' place=0 how='' before='' word i
    COMPREPLY=()
    _trk_split
    verb=${words[1]-}
    _trk_table "$verb"
    for ((i = 2; i < ${#words[@]}; i++)); do
        word=${words[i]}
        if [[ $option ]]; then
            option=''
        elif [[ ! $only && $word == -- ]]; then
            only=1
        elif [[ ! $only && " $values" == *" $word="* ]]; then
            option=$word
        elif [[ $only || $word != -[-a-z]* ]]; then
            place=$((place + 1))
        fi
    done
    _trk_unquote "$raw"
    [[ ! $option && ! $only && $plain == --*=* ]] && option=${plain%%=*} before=${plain%%=*}=
    if [[ $option ]]; then
        for word in $values; do
            [[ ${word%%=*} == "$option" ]] && how=${word#*=}
        done
    elif [[ ! $only && $plain == -* ]]; then
        # shellcheck disable=SC2086 # one word each
        _trk_offer '' '' $options
    else
        how=${places[place]-$others}
    fi
    _trk_values "$how" "$before"
    # What is open goes on: no space comes after it. bash 3.2 has no compopt, so there we add the spaces.
    if [[ $open ]]; then
        compopt -o nospace 2>/dev/null
    elif ((BASH_VERSINFO[0] < 4 && ${#COMPREPLY[@]} == 1)) && [[ ! $quote ]]; then
        COMPREPLY[0]+=' '
    fi
    return 0
}

if ((BASH_VERSINFO[0] < 4)); then
    complete -o nospace -F _trk trk
else
    complete -F _trk trk
fi
