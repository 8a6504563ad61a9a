"""The artifact store: snapshots by content, and what each run left behind."""
