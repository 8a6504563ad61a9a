"""Snapshots: a source directory as it was at submission, stored by content."""
