# Completion of bento for bash. Load it by: source <(bento completion bash)
_bento() {
    local line=${COMP_LINE:0:COMP_POINT} words current prefix
    # bash breaks words at : and =, which stand in names of images and in options: here they are whole.
    read -ra words <<<"$line"
    [[ $line == *[[:blank:]] ]] && words+=("")
    current=${words[${#words[@]} - 1]}
    mapfile -t COMPREPLY < <("${words[0]}" complete "${words[@]}" 2>/dev/null | cut -f1)
    if [[ $current == *[:=]* ]]; then
        prefix=${current%"${current##*[:=]}"}
        COMPREPLY=("${COMPREPLY[@]#"$prefix"}")
    fi
    [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *: ]] && compopt -o nospace
    return 0
}
complete -o default -F _bento bento
