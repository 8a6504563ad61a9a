"""How a driver gets onto a worker of its cluster, and stays in touch with who submitted it."""
