"""What the kernel says of processes and their threads, and how they are held and signalled."""
