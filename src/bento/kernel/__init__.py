"""What Bento asks of the Linux kernel: thin, typed, without policy."""
