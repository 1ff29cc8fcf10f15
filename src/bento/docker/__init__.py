"""Docker's words for Bento's records: what its command line shows, and the JSON of its API. Pure."""
