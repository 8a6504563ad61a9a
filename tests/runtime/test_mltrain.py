"""`import mltrain` in a training script."""

from __future__ import annotations

import io
import json
import math
import os
import subprocess
import sys
import time
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from uuid import uuid4

import numpy  # noqa: ICN001 - as a script of anybody's would
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from airflow_mltrain.runs.metric_line import parse_metric_lines
from airflow_mltrain.runs.series import arrange_metrics
from airflow_mltrain.runtime.training import mltrain
from airflow_mltrain.runtime.training.mltrain.context import JobContext
from tests.services.jobs import is_running

_MODULES = Path(mltrain.__file__).parents[1]


class Figure:
    """A figure as matplotlib's are, to one who has it draw itself."""

    def savefig(self, path: str, format: str) -> None:  # noqa: A002
        Path(path).write_text(f"{format} of a figure")


@pytest.fixture
def metrics(tmp_path: Path) -> Path:
    return tmp_path / "metrics.jsonl"


@pytest.fixture
def run(metrics: Path) -> mltrain.Run:
    return make_run(metrics)


def make_run(metrics: Path) -> mltrain.Run:
    """The run of a job whose source directory lies beside its metrics."""
    job = JobContext("run-1", str(metrics), str(metrics.parent / "code"))
    return mltrain.Run(job, "run-1")


def run_script(script: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A script's output, with our module in reach and nothing else of ours."""
    environment = {"PYTHONPATH": str(_MODULES), "PATH": os.environ["PATH"], **variables}
    return subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        capture_output=True,
        check=False,
        text=True,
    )


def read(metrics: Path) -> list[tuple[str, object]]:
    """Names and values, in the order they were logged."""
    messages = [json.loads(line) for line in metrics.read_text().splitlines() if line]
    return [(message["name"], message["value"]) for message in messages]


def test_a_number_logged_again_becomes_a_series(run: mltrain.Run, metrics: Path) -> None:
    run.log("loss", 0.5, step=1)
    run.log("loss", 0.25, step=2)

    assert read(metrics) == [("loss", 0.5), ("loss", 0.25)]


def test_lists_rows_and_tables_keep_their_form(run: mltrain.Run, metrics: Path) -> None:
    run.log_list("sizes", (1, 2, 3))
    run.log_row("point", x=1, y=2.5)
    run.log_table("curve", {"x": [1, 2], "y": [3, 4]})

    assert read(metrics) == [
        ("sizes", [1, 2, 3]),
        ("point", {"x": 1, "y": 2.5}),
        ("curve", {"x": [1, 2], "y": [3, 4]}),
    ]


def test_a_tag_is_text(run: mltrain.Run, metrics: Path) -> None:
    run.tag("stage", 3)
    run.tag("done")

    assert read(metrics) == [("stage", "3"), ("done", None)]


def test_a_value_that_cannot_be_logged_is_refused_with_what_can(run: mltrain.Run) -> None:
    with pytest.raises(TypeError, match="cannot log object: give a number"):
        run.log("model", object())


def test_a_table_with_unequal_columns_is_refused(run: mltrain.Run) -> None:
    with pytest.raises(ValueError, match="columns of table 'curve' differ in length"):
        run.log_table("curve", {"x": [1, 2], "y": [3]})


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (numpy.float64(0.93), 0.93),
        (numpy.float32(0.5), 0.5),
        (numpy.int64(7), 7),
        (numpy.bool_(1), True),
        (numpy.str_("best"), "best"),
        (numpy.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (Decimal("0.25"), 0.25),
        (Fraction(1, 4), 0.25),
        ({"a": numpy.float32(0.5)}, {"a": 0.5}),
        (10**300, 10**300),
        ("text", "text"),
        (None, None),
    ],
    ids=repr,
)
def test_values_of_every_kind_are_logged_as_what_they_are(
    run: mltrain.Run, metrics: Path, value: object, kept: object
) -> None:
    run.log("value", value)

    assert read(metrics) == [("value", kept)]
    assert type(read(metrics)[0][1]) is type(kept)


@given(
    st.one_of(st.floats(), st.integers(), st.text()),
    st.text(min_size=1),
    st.one_of(st.none(), st.integers(-(2**70), 2**70)),
)
@example(math.nan, "loss", None)
@example(math.inf, "loss", 1)
@example(-0.0, "loss", 1)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_every_number_text_and_name_comes_back_exactly(
    tmp_path: Path, value: object, name: str, step: int | None
) -> None:
    metrics = tmp_path / f"{uuid4().hex}.jsonl"
    make_run(metrics).log(name, value, step=step)

    lines = parse_metric_lines(metrics.read_bytes(), is_complete=False)

    [point] = lines.own.points
    assert (point.name, repr(point.value), point.step) == (name, repr(value), step)
    assert abs(point.logged_at.timestamp() - time.time()) < 60


def test_a_list_and_a_table_of_any_length_arrive_whole(run: mltrain.Run, metrics: Path) -> None:
    run.log_list("list", range(25_001))
    run.log_table("table", {"x": range(12_345), "y": [0.5] * 12_345})

    lines = parse_metric_lines(metrics.read_bytes(), is_complete=False)

    assert max(map(len, metrics.read_bytes().splitlines())) < 512 * 1024
    assert arrange_metrics(lines.own.points) == {
        "list": list(range(25_001)),
        "table": {"x": list(range(12_345)), "y": [0.5] * 12_345},
    }
    assert run.get_metrics() == arrange_metrics(lines.own.points)


def test_what_is_too_large_for_a_line_is_refused_with_a_way_out(run: mltrain.Run) -> None:
    with pytest.raises(ValueError, match=r"'essay' takes 600,\d+ bytes.*file in outputs/"):
        run.log("essay", "x" * 600_000)
    with pytest.raises(ValueError, match="20,001 bits is too large to be logged"):
        run.log("huge", 2**20_000)
    with pytest.raises(ValueError, match="takes"):
        run.log("x" * 600_000, 0.5)


def test_charts_are_taken_as_dictionary_or_json(run: mltrain.Run, metrics: Path) -> None:
    data = {"class_labels": ["a", "b"], "matrix": numpy.array([[3, 1], [0, 4]])}
    given = {"schema_type": "confusion_matrix", "schema_version": "v1", "data": data}
    kept = {**given, "data": {**data, "matrix": [[3, 1], [0, 4]]}}

    run.log_confusion_matrix("matrix", given)
    run.log_confusion_matrix("again", json.dumps(kept))

    assert read(metrics) == [("matrix", kept), ("again", kept)]
    with pytest.raises(ValueError, match='a dictionary is wanted with "schema_type"'):
        run.log_residuals("residuals", {"bin_edges": []})
    with pytest.raises(ValueError, match="has the schema_type 'confusion_matrix'"):
        run.log_predictions("predictions", given)


def test_tags_and_properties_are_read_back_by_every_process(
    run: mltrain.Run, metrics: Path
) -> None:
    run.set_tags({"stage": 3, "old": "x"})
    run.add_properties({"source": "v2"})
    run.add_properties({"source": "v3"})
    other = make_run(metrics)
    other.remove_tags("old")

    assert run.get_tags() == other.get_tags() == {"stage": "3"}
    assert run.get_properties() == {"source": "v2"}


def test_a_child_is_a_run_of_its_own(run: mltrain.Run) -> None:
    run.log("loss", 1.0)
    with run.child_run("fold 1") as first:
        first.log("loss", 0.5)
        first.child_run(run_id="deep").log("loss", 0.25)
    with pytest.raises(ZeroDivisionError), run.child_run("fold 2") as second:
        second.log("loss", 1 / 0)

    assert [child.display_name for child in run.get_children()] == ["fold 1", "fold 2"]
    assert [child.get_status() for child in run.get_children()] == ["Completed", "Failed"]
    assert [child.id for child in run.get_children(recursive=True, status="Running")] == [
        f"{first.id}_deep"
    ]
    assert run.get_metrics() == {"loss": 1.0}
    assert run.get_metrics(recursive=True)[f"{first.id}_deep"] == {"loss": 0.25}
    parent = first.parent
    assert parent is not None
    assert (parent.id, run.parent) == ("run-1", None)
    assert second.get_details()["error"] == "ZeroDivisionError: division by zero"


def test_children_are_made_by_number_or_for_each_value_of_a_tag(run: mltrain.Run) -> None:
    run.create_children(2)
    run.create_children(tag_key="fold", tag_values=[1, 2, 3])

    assert len(list(run.get_children())) == 5
    assert len(list(run.get_children(tags="fold"))) == 3
    assert len(list(run.get_children(tags={"fold": "2"}))) == 1
    assert list(run.get_children(type="azureml.scriptrun")) == []
    with pytest.raises(ValueError, match="101 children: 1 to 100"):
        run.create_children(101)


@pytest.mark.parametrize("ending", ["../other", "a b", "", "x" * 300])
def test_the_id_of_a_child_stays_below_its_parent(run: mltrain.Run, ending: str) -> None:
    with pytest.raises(ValueError, match="the id of a child is"):
        run.child_run(run_id=ending)


def test_an_id_of_a_child_is_taken_once(run: mltrain.Run) -> None:
    run.child_run(run_id="a")

    with pytest.raises(ValueError, match=r"there is a child .run-1_a. already"):
        run.child_run(run_id="run-1_a")


def test_files_are_kept_below_outputs_under_new_names(run: mltrain.Run, tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_bytes(b"model")
    (tmp_path / "plots/deep").mkdir(parents=True)
    (tmp_path / "plots/deep/a.txt").write_text("a")
    os.mkfifo(tmp_path / "plots/pipe")

    run.upload_file("model.pkl", tmp_path / "model.pkl")
    run.upload_file("outputs/stream.txt", io.StringIO("streamed"))
    run.upload_folder("logs/plots", str(tmp_path / "plots"))

    kept = ["logs/plots/deep/a.txt", "outputs/model.pkl", "outputs/stream.txt"]
    assert run.get_file_names() == kept
    assert (tmp_path / "code/outputs/stream.txt").read_text() == "streamed"
    run.download_file("model.pkl", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == b"model"
    run.upload_file("outputs/model.pkl", tmp_path / "code/outputs/model.pkl")
    with pytest.raises(FileExistsError, match="has a file"):
        run.upload_file("outputs/model.pkl", tmp_path / "plots/deep/a.txt")
    assert run.get_file_names() == kept


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "outputs/../../x", "a//b", "", "a\0b"])
def test_a_file_cannot_be_kept_anywhere_else(run: mltrain.Run, tmp_path: Path, name: str) -> None:
    (tmp_path / "x.txt").write_text("x")

    with pytest.raises(ValueError, match="cannot be the name of a kept file"):
        run.upload_file(name, tmp_path / "x.txt")


def test_a_link_leads_no_file_out_of_the_outputs(run: mltrain.Run, tmp_path: Path) -> None:
    (tmp_path / "code/outputs").mkdir(parents=True)
    (tmp_path / "code/outputs/out").symlink_to(tmp_path)

    with pytest.raises(ValueError, match="behind a link that leads out"):
        run.upload_file("out/x", io.BytesIO(b"x"))


def test_a_file_with_a_strange_name_is_kept(run: mltrain.Run) -> None:
    name = "outputs/\u202e '\"\n%s$(x).txt"

    run.upload_file(name, io.BytesIO(b"x"))

    assert run.get_file_names() == [name]


def test_images_are_kept_from_files_and_figures(
    run: mltrain.Run, metrics: Path, tmp_path: Path
) -> None:
    (tmp_path / "x.jpeg").write_bytes(b"jpeg")

    run.log_image("../roc curve", plot=Figure())
    run.log_image("../roc curve", plot=Figure())
    run.log_image("photo", path=str(tmp_path / "x.jpeg"))

    names = [f"outputs/images/{name}" for name in ("_roc_curve.png", "_roc_curve_1.png")]
    assert [value for _, value in read(metrics)] == [*names, "outputs/images/photo.jpeg"]
    assert (tmp_path / "code" / names[1]).read_bytes() == b"png of a figure"
    with pytest.raises(ValueError, match="either the path of an image or a plot"):
        run.log_image("nothing")
    with pytest.raises(TypeError, match="cannot draw int"):
        run.log_image("number", plot=3)


def test_a_model_is_recorded_where_its_file_is_kept(run: mltrain.Run, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="the run keeps nothing as"):
        run.register_model("model")
    run.upload_file("outputs/model.pkl", io.BytesIO(b"m"))

    model = run.register_model("churn", "outputs/model.pkl", tags={"stage": 1})

    assert (model.name, model.path, model.tags) == ("churn", "outputs/model.pkl", {"stage": "1"})
    lines = parse_metric_lines((tmp_path / "metrics.jsonl").read_bytes(), is_complete=False)
    assert [(one.name, one.facts["path"]) for one in lines.own.models] == [
        ("churn", "outputs/model.pkl")
    ]


def test_a_name_has_to_be_given(run: mltrain.Run) -> None:
    with pytest.raises(ValueError, match="a name must be a text that is not empty"):
        run.log("", 1)


def test_lines_of_threads_and_forked_processes_never_mix(metrics: Path) -> None:
    script = (
        "import mltrain, os, threading\nrun = mltrain.Run.get_context()\nrun.log('begin', 0)\n"
        "def work():\n    for n in range(200): run.log('x' * 3000, n)\n"
        "children = [os.fork() for _ in range(2)]\n"
        "threads = [threading.Thread(target=work) for _ in range(3)]\n"
        "[thread.start() for thread in threads]\n[thread.join() for thread in threads]\n"
        "[os.waitpid(child, 0) for child in children if all(children)]\n"
    )

    done = run_script(script, MLTRAIN_METRICS=str(metrics), MLTRAIN_RUN_ID="run-1")

    assert done.stderr == ""
    assert len(read(metrics)) == 1 + 4 * 3 * 200


def test_threads_that_find_every_file_closed_lose_no_line(metrics: Path) -> None:
    script = (
        "import mltrain, os, threading\nrun = mltrain.Run.get_context()\n"
        "closing = lambda: os.closerange(3, 1024)\n"
        "barrier = threading.Barrier(4, action=closing, timeout=300)\n"
        "def work():\n"
        "    for n in range(200): barrier.wait(); run.log('loss', float(n))\n"
        "threads = [threading.Thread(target=work) for _ in range(4)]\n"
        "[thread.start() for thread in threads]\n[thread.join() for thread in threads]\n"
    )

    done = run_script(script, MLTRAIN_METRICS=str(metrics), MLTRAIN_RUN_ID="run-1")

    assert done.stderr == ""
    assert len(read(metrics)) == 4 * 200


def test_the_context_is_the_same_object_every_time(metrics: Path) -> None:
    script = (
        "from mltrain import Run\nassert Run.get_context() is Run.get_context()\n"
        "print(Run.get_context().id)"
    )

    done = run_script(script, MLTRAIN_METRICS=str(metrics), MLTRAIN_RUN_ID="run-1")

    assert done.stdout == "run-1\n"


def test_outside_of_a_run_values_are_printed() -> None:
    script = "import mltrain\nrun = mltrain.Run.get_context()\nrun.log('loss', 0.5)\nprint(run.id)"

    done = run_script(script)

    first, second = done.stdout.splitlines()
    assert first == "metric (offline): loss = 0.5"
    assert second.startswith("OfflineRun_")


def test_outside_of_a_run_everything_works_as_in_one(tmp_path: Path) -> None:
    script = """
import json, mltrain
run = mltrain.Run.get_context()
run.log("loss", 0.5); run.log("loss", 0.25, step=3)
run.tag("stage", "x")
run.upload_file("outputs/a.txt", __file__)
with run.child_run("fold") as fold:
    fold.log("acc", 1)
child = run.submit_child(mltrain.ScriptRunConfig(".", "child.py", arguments=["--rate", 0.5]))
child.wait_for_completion()
print(json.dumps([run.get_metrics(), child.get_metrics(), child.get_tags(), run.get_tags(),
    run.get_file_names(), [one.get_status() for one in run.get_children()], run.number]))
"""
    (tmp_path / "child.py").write_text(
        "import mltrain, sys; run = mltrain.Run.get_context(); run.log('args', sys.argv[1:]);"
        "run.tag('parent', run.parent.id.split('_')[0])"
    )
    (tmp_path / "train.py").write_text(script)
    environment = {"PYTHONPATH": str(_MODULES), "PATH": os.environ["PATH"], "TMPDIR": "."}

    done = subprocess.run(
        [sys.executable, "train.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        check=True,
        text=True,
    )

    [metrics, of_child, child_tags, tags, files, statuses, number] = json.loads(
        done.stdout.splitlines()[-1]
    )
    assert (metrics, tags, number) == ({"loss": [0.5, 0.25]}, {"stage": "x"}, 1)
    assert of_child == {"args": ["--rate", "0.5"]}
    assert child_tags == {"parent": "OfflineRun"}
    assert files[-1] == "outputs/a.txt"
    assert statuses == ["Completed", "Completed"]
    assert [path.name for path in tmp_path.glob("mltrain-*")] == []


def test_outside_of_a_run_no_child_outlives_its_parent(tmp_path: Path) -> None:
    (tmp_path / "child.py").write_text(
        "import os, time; open('pid', 'w').write(f'{os.getpid()}\\n'); time.sleep(60)"
    )
    script = f"""
import mltrain, os, time
os.chdir({str(tmp_path)!r})
run = mltrain.Run.get_context()
run.submit_child(mltrain.ScriptRunConfig(".", "child.py"))
while not os.path.exists("pid") or not open("pid").read().endswith("\\n"):
    time.sleep(0.01)
"""

    done = run_script(script)

    assert "1 child runs have not ended and are stopped with their parent's script" in done.stderr
    assert not is_running(int((tmp_path / "pid").read_text()))


def test_outside_of_a_run_a_closed_output_costs_nothing() -> None:
    script = (
        "import mltrain, sys; sys.stdout.close(); run = mltrain.Run.get_context();"
        "run.log('loss', 0.5); sys.stderr.write(str(run.get_metrics()))"
    )

    assert run_script(script).stderr == "{'loss': 0.5}"


def test_a_script_that_must_not_run_offline_is_told_so() -> None:
    done = run_script("import mltrain\nmltrain.Run.get_context(allow_offline=False)")

    assert done.returncode == 1
    assert "RuntimeError: this script was not submitted as a run" in done.stderr
