"""What every room of the engine stands on: drivers, the loop, policies, filters, order, exit owners."""
