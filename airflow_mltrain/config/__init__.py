"""What a user writes: the script run config and its parts."""
