"""What installs packages on a machine: uv, pip and conda behind one module, `installation`."""
