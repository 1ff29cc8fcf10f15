"""What the tests share: a reaper around pytest, leak checks, and a hand on the command line."""
