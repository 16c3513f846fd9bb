"""One Python SDK for every kind of model that runs on your own machine."""
