# Completion of nbtape, for bash 4.4 or newer.
_nbtape() {
    local kind value
    COMPREPLY=()
    while IFS=$'\t' read -r kind value _; do
        if [[ $kind == path ]]; then
            compopt -o filenames # quoted by bash, which puts a slash, and no space, behind directories
            value=${value%/}
        fi
        COMPREPLY+=("$value")
    done < <(env COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD="$COMP_CWORD" "$1" completion bash --answer 2>/dev/null)
}
complete -o nosort -F _nbtape nbtape
