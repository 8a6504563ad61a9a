"""Two thousand strikes at the promises: the crash tests, as often as there is time for.

Most hit the real operator and trigger in processes of their own, on every target; what Airflow
does in between is played (tests/crash/trial.py). The table says what was doubled, lost or wrong.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from itertools import chain
from pathlib import Path

_CLONE = Path(__file__).resolve().parents[1]
sys.path[0] = str(_CLONE)  # not this folder, whose docker.py is none of the docker package

from tests.crash import victim  # noqa: E402
from tests.crash.campaign import Campaign  # noqa: E402
from tests.crash.ground import Ground  # noqa: E402
from tests.crash.script import BRIEF, Story  # noqa: E402
from tests.crash.trial import Plot  # noqa: E402
from tests.crash.verdict import Table  # noqa: E402
from tests.services.docker_engine import DockerEngine  # noqa: E402
from tests.services.docker_image import python_image  # noqa: E402
from tests.services.postgresql import PostgresqlServer, find_programs  # noqa: E402
from tests.services.spark_cluster import SparkCluster  # noqa: E402
from tests.services.ssh_host import SshHost  # noqa: E402

_SHARES = {"local": 0.6, "ssh": 0.27, "docker": 0.12, "spark": 0.01}
_IMAGE = "mltrain-test/python:3"
_LASTING = Story(seconds=1.5)


def main() -> None:
    """Print the table, and each fault with the strike that it followed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--strikes", type=int, default=2000)
    parser.add_argument("--targets", nargs="+", choices=_SHARES, default=list(_SHARES))
    parser.add_argument("--seed", type=int, default=int(time.time()))
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}")
    table = Table()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        programs = find_programs()
        assert programs is not None, "there is no PostgreSQL"
        server_folder = Path(tempfile.mkdtemp(prefix="mltrain-postgresql-"))
        server = PostgresqlServer(programs, server_folder)
        stack.callback(server.discard)
        server.start()
        for target in arguments.targets:
            wanted = round(arguments.strikes * _SHARES[target])
            place = folder / target
            place.mkdir()
            ground = _MAKERS[target](stack, place, server.create_database())
            before = table.count
            while table.count - before < wanted:
                _strike(ground, table, arguments.seed + table.count, wanted - table.count + before)
                print("\n".join([str(table), f"{table.count} strikes", *table.faults]), flush=True)
    print("\n".join(table.faults) or "no fault")


def _strike(ground: Ground, table: Table, seed: int, most: int) -> None:
    """One round, on a task that keeps its worker and on one that defers."""
    for is_deferrable in (False, True):
        story = _LASTING if is_deferrable else BRIEF
        campaign = Campaign(ground, table, is_deferrable, seed=seed)
        rehearsal = campaign.rehearse(story)
        plots: Iterator[Plot] = chain(
            campaign.at_steps(rehearsal, victim.TASK_KILLED, "submit", repetitions=2),
            campaign.at_random(rehearsal, victim.TASK_KILLED, "submit", 20, strikes=2),
            campaign.at_random(rehearsal, victim.TASK_TERMINATED, "submit", 5),
            campaign.at_steps(rehearsal, victim.HISTORY_CUT, "submit", most=20),
            *(
                campaign.at_steps(rehearsal, one, "submit", most=20)
                for one in _OTHERS[ground.target]
            ),
        )
        if is_deferrable:
            plots = chain(
                campaign.at_steps(rehearsal, victim.TRIGGERER_KILLED, "watch", story=story),
                campaign.at_random(
                    rehearsal, victim.TRIGGERER_TERMINATED, "watch", 10, story=story
                ),
                campaign.at_steps(rehearsal, victim.TASK_KILLED, "resume"),
            )
        wanted = list(plots)
        random.Random(seed).shuffle(wanted)  # noqa: S311
        campaign.run(wanted[:most])


_OTHERS: dict[str, Sequence[victim.Victim]] = {
    "local": (victim.SUPERVISOR_KILLED,),
    "ssh": (victim.SSH_CUT, victim.AGENT_KILLED, victim.SUPERVISOR_KILLED),
    "docker": (
        victim.ENGINE_KILLED,
        victim.CONTAINER_KILLED,
        victim.CONTAINED_SUPERVISOR_KILLED,
        victim.CONTAINED_AGENT_KILLED,
        victim.AGENT_CONTAINER_KILLED,
    ),
    "spark": (victim.SUPERVISOR_KILLED,),
}


def _local(_: ExitStack, folder: Path, database_url: str) -> Ground:
    return Ground("local", folder, database_url)


def _ssh(stack: ExitStack, folder: Path, database_url: str) -> Ground:
    host = stack.enter_context(SshHost())
    connections = {"AIRFLOW_CONN_BOX": host.connection_json()}
    return Ground("ssh", folder, database_url, "box", connections, host.make_shared_folder())


def _docker(stack: ExitStack, folder: Path, database_url: str) -> Ground:
    diaries = folder / "diaries"
    diaries.mkdir()
    diaries.chmod(0o777)
    engine = stack.enter_context(DockerEngine(live_restore=True))
    with closing(engine.client()) as client:
        python_image(client, _IMAGE)
    told = {"image": _IMAGE, "network": "host", "mounts": [f"{diaries}:{diaries}"]}
    connections = {"AIRFLOW_CONN_ENGINE": json.dumps(engine.connection(**told))}
    return Ground(
        "docker", folder, database_url, "engine", connections, diaries, {"engine": engine}
    )


def _spark(stack: ExitStack, folder: Path, database_url: str) -> Ground:
    cluster = stack.enter_context(SparkCluster(workers=1))
    connections = {"AIRFLOW_CONN_CLUSTER": cluster.connection_json()}
    return Ground("spark", folder, database_url, "cluster", connections)


_MAKERS: dict[str, Callable[[ExitStack, Path, str], Ground]] = {
    "local": _local,
    "ssh": _ssh,
    "docker": _docker,
    "spark": _spark,
}


if __name__ == "__main__":
    main()
