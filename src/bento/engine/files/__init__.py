"""Files of containers: copied in and out, compared, exported, committed."""
