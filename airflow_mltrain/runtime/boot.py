"""What runs first on a machine that is reached from elsewhere: it lets the job agent in.

Sent as text to whatever Python was found there, old ones too, with one line of JSON behind it:
`root`, `digest` of the job agent, and a `token`, by which its answers are told from what the
machine's login prints.
"""

import importlib
import json
import os
import sys


def main() -> None:
    """Answer whether the job agent is needed, install it if so, and become it."""
    stdin = sys.stdin.buffer
    wanted = json.loads(stdin.readline().decode())
    token = wanted["token"]
    if sys.version_info < (3, 8):
        _answer(token, {"old": sys.version.split()[0], "python": sys.executable})
        return
    root = os.path.abspath(os.path.expanduser(wanted["root"]))
    home = os.path.join(root, "agent", wanted["digest"])
    try:
        if not os.path.isdir(home):
            os.makedirs(root, 0o700, exist_ok=True)
            os.makedirs(os.path.dirname(home), 0o755, exist_ok=True)  # of no secrets: below `root`
            _answer(token, {"needs": wanted["digest"]})
            _install(stdin.read(int(stdin.readline())), wanted["digest"], home)
    except OSError as error:
        _answer(token, {"fault": str(error), "root": root})
        return
    sys.path.insert(0, home)
    importlib.import_module("job_agent.server").serve(root, token, stdin)


def _answer(token: str, facts: object) -> None:
    line = "\n{} {}\n".format(token, json.dumps(facts))
    os.write(1, line.encode())


def _install(packed: bytes, digest: str, home: str) -> None:
    """Write the agent's files below a name of their own, then give the folder its name."""
    import hashlib  # noqa: PLC0415  # dear at start-up, and needed once on a machine
    import shutil  # noqa: PLC0415
    import zlib  # noqa: PLC0415

    try:
        content = zlib.decompress(packed)
    except zlib.error:  # the connection was cut
        content = b""
    if hashlib.sha256(content).hexdigest()[: len(digest)] != digest:
        raise OSError("the job agent arrived damaged")
    draft = "{}.{}".format(home, os.urandom(8).hex())
    try:
        sizes, _, rest = content.partition(b"\n")
        start = 0
        for path, size in json.loads(sizes.decode()).items():
            place = os.path.join(draft, path)
            os.makedirs(os.path.dirname(place), 0o755, exist_ok=True)
            with open(place, "wb") as file:
                file.write(rest[start : start + size])
                file.flush()
                os.fsync(file.fileno())  # half an agent after a power cut would stay half
            start += size
        os.rename(draft, home)
    except OSError:
        shutil.rmtree(draft, ignore_errors=True)
        if not os.path.isdir(home):  # else somebody brought it at the same time
            raise


if __name__ == "__main__":
    main()
