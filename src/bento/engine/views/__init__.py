"""What is shown of containers: lists, details, logs."""
