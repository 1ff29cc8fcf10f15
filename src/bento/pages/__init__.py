"""Records as pages to look at: HTML and SVG, from pure functions. Only the verbs that make pages import it."""
