"""Output and input of containers on the loop: descriptors, frames, relays, attachments that wait for a start."""
