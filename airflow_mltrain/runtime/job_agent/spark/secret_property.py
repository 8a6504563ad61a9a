"""Which of Spark's properties are secret, by what is seen of them."""

import re

_SECRET = re.compile(
    r"secret|passw|passphrase|token|access[.]?key|private[.]key"
    r"|account[.]key([.]|$)|[.]sas[.]|encryption[.]key$",
    re.IGNORECASE,
)
_NAMES = (  # of what Kubernetes itself keeps
    "spark.kubernetes.driver.secrets.",
    "spark.kubernetes.executor.secrets.",
    "spark.kubernetes.driver.secretKeyRef.",
    "spark.kubernetes.executor.secretKeyRef.",
    "spark.kubernetes.kerberos.tokenSecret.",
    "spark.kubernetes.container.image.pullSecrets",
)
_WITH_PASSWORD = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/\s:@]*:[^/\s@]+@")


def has_secret_name(name: str) -> bool:
    """Whether the name says that the value is a secret."""
    return bool(_SECRET.search(name)) and not name.startswith(_NAMES)


def has_secret(name: str, value: str) -> bool:
    """Whether the name says so, or the value is an address with a password."""
    return has_secret_name(name) or bool(_WITH_PASSWORD.match(value))
