"""Files that travel to a compute target; standard library only, Python 3.8 and newer."""
