"""What a check comes to: pure. From observations to findings, and from these to the formats in which they are shown."""
