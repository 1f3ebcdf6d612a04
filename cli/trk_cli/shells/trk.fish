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
@VALUED@
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
@COMPLETE@
