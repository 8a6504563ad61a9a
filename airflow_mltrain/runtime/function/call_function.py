"""Calls a function of this folder by module and name, with JSON data; keeps what it returns.

It travels with the function, to any Python from 3.8 on.
"""

import importlib
import json
import os
import sys
from typing import Any

RESULT = os.path.join("outputs", "return_value.json")


def main(module: str, name: str, arguments: str) -> None:
    """Call it; what it returned is whole in its file, or the run has failed."""
    function = getattr(importlib.import_module(module), name)
    given = json.loads(arguments)
    result = os.path.abspath(RESULT)  # the function may change the working directory
    value = function(*given["args"], **given["kwargs"])
    try:
        text = json.dumps(value, default=_plain)
    except (TypeError, ValueError) as error:
        sys.exit("[mltrain] what {}() returned is no JSON data: {}".format(name, error))
    with open(result + ".part", "w") as file:
        file.write(text)
    os.replace(result + ".part", result)


def _plain(value: Any) -> Any:
    """Numbers and arrays of numpy, and of what is like it."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError("{} cannot be kept".format(type(value).__name__))


if __name__ == "__main__":
    main(*sys.argv[1:])
