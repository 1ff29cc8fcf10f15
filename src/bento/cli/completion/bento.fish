# Completion of bento for fish: a file bento.fish in ~/.config/fish/completions, or: bento completion fish | source
function __bento_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l found ($words[1] complete $words "$current" 2>/dev/null)
    if test (count $found) -gt 0
        printf '%s\n' $found
    else
        __fish_complete_path "$current"
    end
end
complete -c bento -f -a '(__bento_complete)'
