"""How a check is carried out: by the engine's own verbs."""
