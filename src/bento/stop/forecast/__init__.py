"""What a stop would do, said before it is done."""
