"""In place of py4j, for a driver without a Java."""
