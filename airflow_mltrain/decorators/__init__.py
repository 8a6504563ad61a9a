"""What makes tasks of functions in a Dag."""
