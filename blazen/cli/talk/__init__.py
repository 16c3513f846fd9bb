"""``blazen chat``: what is read from the user, what is kept, and what is shown."""
