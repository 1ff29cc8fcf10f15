"""How ``bento serve`` behaves under load, with clients that die, and when it is killed: ``make load``."""
