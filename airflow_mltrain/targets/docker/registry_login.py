"""A login at a registry of images."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class RegistryLogin:
    """Who logs in where: the login of the target's Airflow connection."""

    registry: str
    login: str
    password: str = field(repr=False)

    def auth_for(self, reference: str) -> dict[str, str] | None:
        """What docker-py wants for that image; None where its registry is another one."""
        if _registry_of(reference) != self.registry:
            return None
        return {
            "username": self.login,
            "password": self.password,
            "serveraddress": self.registry,
        }


def _registry_of(reference: str) -> str:
    """The registry that an image's name leads to, as Docker reads it."""
    first, slash, _ = reference.partition("/")
    is_host = slash and ("." in first or ":" in first or first == "localhost")
    return first if is_host else "docker.io"
