#compdef bento
# Completion of bento for zsh: a file _bento in a directory of $fpath, or: source <(bento completion zsh)
_bento() {
    local -a lines shown
    local line
    lines=("${(@f)$("${words[1]}" complete "${(@)words[1,CURRENT]}" 2>/dev/null)}")
    for line in $lines; do
        shown+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
    done
    if (( ${#shown} )); then
        _describe bento shown
    else
        _files
    fi
}
if [[ $funcstack[1] == _bento ]]; then
    _bento "$@"
else
    compdef _bento bento
fi
