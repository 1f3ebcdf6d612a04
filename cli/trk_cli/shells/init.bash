# trk's log commands in bash 4.4 and newer, without a process for each: `eval "$(trk shell-init bash)"`.
#
# From the second log command of a shell on, they are handed to a process that stays (`trk __serve`). It goes with its
# shell, and every subshell has its own. What it can't do exactly as the command would, the command does; so it does
# everything in an older bash.

if ((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] >= 404)) && ! shopt -q restricted_shell; then

    function trk {
        # What the script has set, traced or trapped is not for what follows.
        { local - && set +euxvE; } 2>/dev/null
        local IFS=$' \t\n' _trk_word _trk_env=() _trk_reply='' _trk_part _trk_state=''
        case ${1-} in
        log-metric | log-metrics | log-param | log-params | log-summary | set-tag | set-tags | delete-tag | define-metric) ;;
        *)
            builtin command trk "$@" || return
            return 0
            ;;
        esac
        for _trk_word; do
            case $_trk_word in
            - | @* | --json | --json=* | -h | --help) _trk_state=command ;;
            esac
        done
        # Short enough for a pipe to take it at once. A trap may come here while a command is being logged.
        if [[ $_trk_state || ${_trk_busy-} || ${#*} -gt 99 || $PWD != /* ]] || ! [[ . -ef $PWD ]]; then
            builtin command trk "$@" || return
            return 0
        fi
        _trk_word="$*"
        if [[ ${_trk_owner-} != "$BASHPID" ]]; then # in a subshell: what stands here was its parent's
            _trk_owner=$BASHPID _trk_pid='' _trk_calls=0 _trk_number=0
        fi
        _trk_part="${PATH-} ${LC_ALL-} ${LC_CTYPE-} ${LANG-} ${PYTHONPATH-} ${PYTHONHOME-} ${PYTHONUTF8-}"
        # Another trk may be meant from now on, or the process is gone.
        if [[ $_trk_pid && $_trk_part != "$_trk_setting" ]]; then
            _trk_pid=''
        elif [[ $_trk_pid && $_trk_began != - ]]; then
            [[ -e /proc/$_trk_pid ]] || _trk_pid=''
        elif [[ $_trk_pid ]]; then
            builtin kill -0 "$_trk_pid" 2>/dev/null || _trk_pid=''
        fi
        if [[ ! $_trk_pid ]] && ((${#_trk_word} < 1000 && (_trk_calls += 1) > 1)); then
            _trk_setting=$_trk_part
            _trk_reply=$(builtin command trk __serve "$_trk_owner" 2>/dev/null </dev/null)
            if [[ $_trk_reply == 'trk-serve '*' '*' /'* ]]; then
                _trk_reply=${_trk_reply#trk-serve }
                _trk_pid=${_trk_reply%% *} _trk_reply=${_trk_reply#* }
                _trk_began=${_trk_reply%% *} _trk_dir=${_trk_reply#* }
            else
                _trk_calls=-999999 # it can't be had here
            fi
            _trk_reply=''
        fi
        if [[ ! $_trk_pid ]] || ((${#_trk_word} >= 1000)); then
            builtin command trk "$@" || return
            return 0
        fi
        for _trk_word in "${!TRK_@}" HOME XDG_CONFIG_HOME XDG_RUNTIME_DIR MLFLOW_TRACKING_URI; do
            [[ ${!_trk_word@a} == *x* ]] && _trk_env+=("$_trk_word=${!_trk_word}")
        done
        local _trk_busy=1
        _trk_number=$((_trk_number + 1))
        {
            builtin printf '%s\0' $((3 + ${#_trk_env[@]} + $#)) $_trk_number "$PWD" ${#_trk_env[@]} \
                "${_trk_env[@]}" "$@" >&8
            while :; do
                if builtin read -r -t 1 -u 9 _trk_part; then
                    _trk_reply+=$_trk_part
                    [[ $_trk_reply == "$_trk_number "* ]] && break
                    _trk_reply='' # the answer to a command that was interrupted
                else
                    _trk_reply+=$_trk_part
                    if ! _trk_lives && ! builtin read -t 0 -u 9; then # it may have answered before it went
                        _trk_state=gone
                        builtin read -t 0 -u 8 && _trk_state=unread
                        break
                    fi
                fi
            done
        } 2>/dev/null 8<>"$_trk_dir/in" 9<>"$_trk_dir/out" || _trk_state=${_trk_state:-unread}
        unset -v _trk_busy
        case $_trk_reply in
        "$_trk_number 0") return 0 ;;
        "$_trk_number 1") _trk_state=unread ;;
        *) _trk_pid='' ;;
        esac
        if [[ $_trk_state == unread ]]; then # nothing was written
            builtin command trk "$@" || return
            return 0
        fi
        builtin printf '%s\n' 'trk: the process that logs for this shell ended before it answered: whether this was logged is not known (trk status)' >&2
        return 1
    }

    # Whether the process is the one that was started: a process that has ended may be there still, or its number.
    function _trk_lives {
        local stat state
        builtin kill -0 "$_trk_pid" || return 1
        [[ $_trk_began == - ]] && return 0
        builtin read -r stat <"/proc/$_trk_pid/stat" || return 1
        stat=${stat##*) }
        state=(${stat})
        [[ ${state[0]} != Z && ${state[19]} == "$_trk_began" ]]
    } 2>/dev/null

fi
