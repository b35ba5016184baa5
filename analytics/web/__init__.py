"""Pages for people: drawn on the server, without scripts, with nothing fetched from elsewhere."""
