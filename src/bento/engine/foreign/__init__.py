"""What Bento has not made: containers of other engines, and any PID namespace of this host."""
