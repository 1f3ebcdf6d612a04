#compdef trk
# trk's words for zsh: verbs, options, their values, and the runs and metrics of the journal here.
#
# In ~/.zshrc, after compinit:  eval "$(trk completion zsh)"
# The wheel puts it into share/zsh/site-functions, which zsh finds when that is in fpath before compinit.
# Made by `trk completion zsh` from the command's own tables: not to be edited.

# HOW KIND WORD…: one of the words and of what the journal has; many, with commas; or pairs, KEY=VALUE or @file.
_trk_values() {
    local how=$1 kind=$2 answer line
    local -a values shown expl after
    shift 2
    case $how in
    (pairs)
        if [[ $PREFIX == @* ]]; then
            compset -P @
            _files
            return
        fi
        compset -P '*=' && { _message value; return 1 }
        after=(-S =)
        ;;
    (many)
        compset -P '*,'
        after=(-q -S ,)
        ;;
    esac
    values=("$@")
    shown=("$@")
    if [[ -n $kind ]] && (( $+commands[trk] )); then
        local i run=
        for (( i = 2; i < CURRENT; i++ )); do
            case $words[i] in
            (--run=*) run=${(Q)words[i]#*=} ;;
            (--run) run=${(Q)words[i+1]} ;;
            esac
        done
        [[ -n $run ]] && local -x TRK_RUN=$run
        answer=$(command trk __complete $kind "${(Q)PREFIX}" 2>/dev/null </dev/null) || answer=
        for line in "${(@f)answer}"; do
            [[ -n $line ]] || continue
            values+=("${line%%$'\t'*}")
            shown+=("${line/$'\t'/  -- }")
        done
    fi
    [[ $answer == *$'\t'* ]] && after+=(-l)
    _description -V "${kind:-values}" expl "${kind:-value}"
    compadd "$expl[@]" "$after[@]" -d shown -a -- values
}

_trk() {
    local curcontext=$curcontext verb
    local -a verbs
    if (( CURRENT == 2 )); then
        verbs=(
@VERBS@
        )
        if [[ $PREFIX == -* ]]; then
            _arguments -S : '(-h --help)'{-h,--help}'[Show this message and exit.]' '--version[Print the version.]'
        else
            _describe -t verbs verb verbs
        fi
        return
    fi
    verb=${(Q)words[2]}
    shift words
    (( CURRENT-- ))
    curcontext=${curcontext%:*}-$verb:
    case $verb in
@OPTIONS@
    (*) return 1 ;;
    esac
}

# Found in fpath, this file is the function itself; under eval it has to say what it completes.
if [[ $funcstack[1] == _trk ]]; then
    _trk "$@"
elif (( $+functions[compdef] )); then
    compdef _trk trk
fi
