"""Backends in processes of their own: the same objects, and a wall between engine and app.

``isolation="process"`` on any factory gives a model whose engine runs in a worker process. What
crosses the wall, and how, is `channel`; the two sides are `worker` (here) and `child` (there);
`model` puts a backend's own methods on this side.
"""
