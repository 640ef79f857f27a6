#compdef nbtape
# Completion of nbtape, for zsh.
_nbtape() {
    local kind value told patterns
    local -a described
    while IFS=$'\t' read -r kind value told; do
        if [[ $kind == pattern ]]; then
            patterns=$value
        else
            described+=("${value//:/\\:}:$told")
        fi
    done < <(env COMP_WORDS="${words[*]}" COMP_CWORD=$((CURRENT - 1)) "${words[1]}" completion zsh --answer 2>/dev/null)
    [[ $PREFIX == --*=* ]] && compset -P '*='
    [[ -n $patterns ]] && _files -g "$patterns"
    (($#described)) && _describe -V nbtape described
}
if [[ ${zsh_eval_context[-1]} == loadautofunc ]]; then
    _nbtape "$@"
else
    (($+functions[compdef])) || { autoload -U compinit && compinit; }
    compdef _nbtape nbtape
fi
