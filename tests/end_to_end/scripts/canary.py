"""Show that the secrets arrived without showing them, live for a while, and fail with a trace."""

import hashlib
import os
import sys
import time
from pathlib import Path

for name in ("CANARY_CONNECTION", "CANARY_VARIABLE"):
    print(name, hashlib.sha256(os.environ[name].encode()).hexdigest())
print("decoy:", sys.argv[1], flush=True)
Path("outputs/decoy").write_text(sys.argv[1])
time.sleep(7)
raise RuntimeError("the canary died")
