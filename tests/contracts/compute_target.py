"""What every compute target promises; a target's test file supplies two fixtures."""

from __future__ import annotations

from tests.contracts.target_cancel import CancelContract
from tests.contracts.target_environment import EnvironmentContract
from tests.contracts.target_inventory import InventoryContract
from tests.contracts.target_log import LogContract
from tests.contracts.target_observe import ObserveContract
from tests.contracts.target_output import OutputContract
from tests.contracts.target_start import StartContract


class ComputeTargetContract(
    StartContract,
    LogContract,
    ObserveContract,
    CancelContract,
    OutputContract,
    EnvironmentContract,
    InventoryContract,
):
    """Run by a subclass with the fixtures `target` and `same_target`.

    `same_target` is another view of the same place, as another process would make it; both can be
    pickled. Scripts run on a machine whose `/proc` and files the test sees.
    """
