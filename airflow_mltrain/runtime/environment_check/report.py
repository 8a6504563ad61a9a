"""Say what an environment holds: the script of a run that merely has it built."""

import sys

if sys.version_info >= (3, 8):
    from importlib.metadata import distributions

print("Python {}".format(sys.version.split()[0]))
for line in sorted(
    {"{}=={}".format(one.metadata["Name"], one.version) for one in distributions()}, key=str.lower
):
    print(line)
