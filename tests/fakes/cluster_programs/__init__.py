"""Programs that stand in for those of a cluster, begun by name as the real ones are."""
