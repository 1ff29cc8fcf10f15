"""The options that verbs share: how each is spelled, and the record that they become."""
