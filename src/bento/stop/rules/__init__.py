"""What a stop decides about processes: which are signalled, held, waited for."""
