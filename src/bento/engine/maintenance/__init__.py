"""Making room, and finding what was left behind."""
