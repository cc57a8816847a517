"""One instance's private view of the disk, and the processes that run on it."""
