"""``--format`` with Go templates: ``template`` for the verbs; ``parse``, ``evaluate`` and ``words`` behind it."""
