"""A program that makes an environment of conda packages as micromamba is documented to.

It knows what the tests need of `create`: a prefix, channels and packages, or a file of URLs. A
package is a record, numpy a module too; no channel is ever asked.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.services.package_index import Package, write_wheel

_NEEDS = {"numpy": ["python >=3.9,<3.13", "zlib"], "python": ["zlib"]}


def main(argv: list[str]) -> int:
    """Create the environment that `argv` describes."""
    words = iter(argv)
    if next(words) != "create":
        return complain("only create is known")
    prefix, channels, packages = Path(), list[str](), list[str]()
    for word in words:
        if word == "--prefix":
            prefix = Path(next(words))
        elif word == "--channel":
            channels.append(next(words))
        elif word == "--file":
            packages = Path(next(words)).read_text().splitlines()
        elif not word.startswith("--"):
            packages.append(word)
    if prefix.exists():
        return complain(f"{prefix} is there already")
    if packages[:1] == ["@EXPLICIT"]:
        urls = packages[1:]
        make(prefix, urls)
        return 0
    if "no-such" in packages:
        return complain("Could not solve for environment specs: no-such does not exist")
    named = dict(package.partition("=")[::2] for package in packages)
    versions = {"zlib": "1.3", **named}
    made = [make_url(channels[0], name, version) for name, version in versions.items()]
    make(prefix, made)
    return 0


def make_url(channel: str, name: str, version: str) -> str:
    """Where a channel has a package, with its md5."""
    token = "t/a-secret-token/" if channel == "private" else ""
    base = f"https://conda.example.org/{token}{channel}/linux-64"
    return f"{base}/{name}-{version}-h0_0.conda#{'0' * 32}"


def make(prefix: Path, urls: list[str]) -> None:
    """Lay out the packages; a Python only if it is among them."""
    (prefix / "conda-meta").mkdir(parents=True)
    print(f"Transaction: {len(urls)} packages")  # noqa: T201  # what a user sees of it
    for url in urls:
        place, _, md5 = url.partition("#")
        name, version, _ = place.rpartition("/")[2].rsplit("-", 2)
        record = {"name": name, "url": place, "md5": md5, "depends": _NEEDS.get(name, [])}
        path = prefix / "conda-meta" / f"{name}-{version}-h0_0.json"
        path.write_text(json.dumps(record))
        if name == "python":
            subprocess.run(
                [os.path.realpath(sys.executable), "-m", "venv", "--without-pip", prefix],
                check=True,
            )
    for packages in prefix.glob("lib/python*/site-packages"):
        wheel = write_wheel(prefix, Package("numpy", "1.26"))
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(packages)
        wheel.unlink()


def complain(words: str) -> int:
    """Say what is wrong."""
    print(f"error    libmamba {words}", file=sys.stderr)  # noqa: T201
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
