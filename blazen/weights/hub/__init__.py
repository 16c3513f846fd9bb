"""Files and folders from the Hugging Face hub."""

from blazen.weights.hub.fetch import (
    fetch_file,
    fetch_folder,
    files_here,
    list_files,
    pick,
    read_start,
)
from blazen.weights.hub.snapshots import HubFile

__all__ = [
    "HubFile",
    "fetch_file",
    "fetch_folder",
    "files_here",
    "list_files",
    "pick",
    "read_start",
]
