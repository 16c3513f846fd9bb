"""What remote providers share: keys, checked URLs, one HTTP client a loop, errors and retries.

Nothing here imports an HTTP client before a request is made.
"""
