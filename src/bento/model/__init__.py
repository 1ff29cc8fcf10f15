"""What Bento remembers: plain frozen records, no behaviour beyond their own predicates."""
