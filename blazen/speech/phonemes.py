"""What all that turn text into phonemes share."""

from __future__ import annotations

import threading

# espeak keeps its voice and its text in globals of the process: two callers at once mix their texts
# without an error. All who call any copy of it hold this lock while they do.
espeak_lock = threading.Lock()
