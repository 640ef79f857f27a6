# Completion of nbtape, for fish.
function __nbtape
    set -l option (string match -r -- '^--[^=]+=' (commandline -ct))
    env COMP_WORDS=(commandline -cp | string collect) COMP_CWORD=(commandline -ct | string collect) \
        nbtape completion fish --answer 2>/dev/null | string replace -r -- '^[a-z]+\t' "$option"
end
complete --command nbtape --no-files --arguments '(__nbtape)'
