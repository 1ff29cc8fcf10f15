"""Real programs, and what signals do to them: a file of facts each, in ``known``. Loaded only by what asks for them."""
