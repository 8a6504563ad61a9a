"""A Spark cluster as a compute target."""
