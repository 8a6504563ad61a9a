"""Another module, which travels too."""

SCALE = 8.0
