"""The dispatcher: takes requests and events, keeps runs going, and tells whoever watches."""
