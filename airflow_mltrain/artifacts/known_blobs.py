"""Which blobs of a source directory the store is known to have, so that it is not asked."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from typing import Final

_FRESH_SECONDS: Final = 24 * 3600.0


class KnownBlobs:
    """A record that only saves requests: damaged, old or of another epoch, it counts as empty.

    Each collection of the store, which may have removed what is here, begins a new epoch.
    Processes may use it at once; the last to save wins.
    """

    def __init__(self, folder: Path, source: Path, epoch: str) -> None:
        name = hashlib.sha256(bytes(source.resolve())).hexdigest()
        self._path = folder / f"{name}.json"
        self._epoch = epoch
        self._seen_at = self._load()

    def unknown(self, digests: Iterable[str]) -> list[str]:
        """Those of which it is not known, or was not seen for a day, that the store has them."""
        return [digest for digest in digests if self.age(digest) > _FRESH_SECONDS]

    def age(self, digest: str) -> float:
        """How many seconds ago the blob was seen; infinite where it was not."""
        age = time.time() - self._seen_at.get(digest, float("-inf"))
        return age if age >= 0 else float("inf")  # the clock was put back

    def save(self, digests: Iterable[str], seen: Iterable[str]) -> None:
        """Keep of these blobs what is known; some of them were just seen."""
        now = time.time()
        times = {d: self._seen_at[d] for d in digests if d in self._seen_at}
        times.update(dict.fromkeys(seen, now))
        if times == self._seen_at:
            return
        draft = self._path.with_suffix(f".{token_hex(8)}")
        with suppress(OSError):
            draft.parent.mkdir(parents=True, exist_ok=True)
            draft.write_text(json.dumps({"epoch": self._epoch, "seen_at": times}))
            draft.replace(self._path)
        with suppress(OSError):
            draft.unlink(missing_ok=True)

    def _load(self) -> dict[str, float]:
        try:
            found = json.loads(self._path.read_text())
            if found["epoch"] != self._epoch:
                return {}
            return {str(digest): float(at) for digest, at in found["seen_at"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}
