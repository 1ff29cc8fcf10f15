"""The verbs for the engine as a whole: upkeep, room, shutdown, versions."""
