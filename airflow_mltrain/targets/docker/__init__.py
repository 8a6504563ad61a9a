"""Docker engines as compute targets."""
