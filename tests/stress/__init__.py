"""Random verbs by several processes on one root, processes killed and halted at random, and a model beside it."""
