"""From the settings to the artifact store that they name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_mltrain.artifacts.folder_store import FolderStore

if TYPE_CHECKING:
    from airflow_mltrain.artifacts.store import ArtifactStore
    from airflow_mltrain.settings import Settings


def open_store(settings: Settings) -> ArtifactStore:
    """The artifact store; nothing is reached yet."""
    if settings.artifacts_url is None:
        return FolderStore(settings.artifacts)
    from airflow_mltrain.artifacts.remote_store import RemoteStore  # noqa: PLC0415 - seldom

    return RemoteStore(settings.artifacts_url, settings.artifacts)
