"""In place of Kerberos's program `kinit`: the ticket is the keytab's content."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main(folder: Path, argv: list[str]) -> None:
    assert argv[:2] == ["-k", "-t"]
    with (folder / "logins").open("a") as file:
        file.write(argv[3] + "\n")
    Path(os.environ["KRB5CCNAME"]).write_bytes(Path(argv[2]).read_bytes())


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
