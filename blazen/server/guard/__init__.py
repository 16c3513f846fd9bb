"""What keeps the server safe: all of it is pure ASGI, or below it."""
