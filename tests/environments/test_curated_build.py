"""Every curated environment, built from the machine's package index, trains a real model."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from airflow_mltrain import Experiment, ScriptRunConfig, Workspace
from airflow_mltrain.environments.curated import CURATED_NAMES
from airflow_mltrain.settings import Settings
from tests.services.requirement import require

_SCRIPTS = {
    "MLTrain-Minimal": """
import importlib.util, mltrain, statistics
assert importlib.util.find_spec("numpy") is None
line = statistics.linear_regression([1, 2, 3], [3, 5, 7])
mltrain.Run.get_context().log("score", line.slope)
""",
    "MLTrain-Scikit-Learn": """
import mltrain
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge
features, target = load_diabetes(return_X_y=True, as_frame=True)
model = Ridge(0.1).fit(features, target)
mltrain.Run.get_context().log("score", model.score(features, target))
""",
    "MLTrain-PyTorch-CPU": """
import mltrain, torch
torch.manual_seed(0)
inputs = torch.linspace(-1, 1, 64).unsqueeze(1)
model = torch.nn.Linear(1, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
for _ in range(50):
    optimizer.zero_grad()
    loss = torch.nn.functional.mse_loss(model(inputs), 3 * inputs + 1)
    loss.backward()
    optimizer.step()
mltrain.Run.get_context().log("score", 1 - loss.item())
""",
    "MLTrain-Gradient-Boosting": """
import lightgbm, mltrain, xgboost
from sklearn.datasets import load_diabetes
features, target = load_diabetes(return_X_y=True)
models = [lightgbm.LGBMRegressor(n_estimators=20, verbose=-1), xgboost.XGBRegressor()]
scores = [model.fit(features, target).score(features, target) for model in models]
mltrain.Run.get_context().log("score", min(scores))
""",
    "MLTrain-PySpark": """
import mltrain
from pyspark.ml.feature import VectorAssembler
from pyspark.ml.regression import LinearRegression
from pyspark.sql import SparkSession
builder = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
spark = builder.getOrCreate()
rows = spark.createDataFrame([(float(x), 2.0 * x + 1) for x in range(20)], ["x", "label"])
assembled = VectorAssembler(inputCols=["x"], outputCol="features").transform(rows)
model = LinearRegression().fit(assembled)
mltrain.Run.get_context().log("score", model.summary.r2)
spark.stop()
""",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CURATED_NAMES)
def test_a_curated_environment_trains_a_model(
    name: str, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    if name == "MLTrain-PyTorch-CPU" and "pytorch" not in os.environ.get("MLTRAIN_REQUIRE", ""):
        pytest.skip("pytorch: a large download; MLTRAIN_REQUIRE=pytorch has it tested")
    if name == "MLTrain-PySpark" and shutil.which("java") is None:
        require("java", "Spark needs a Java runtime, and there is no program java")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    project = tmp_path / "project"
    project.mkdir()
    (project / "train.py").write_text(_SCRIPTS[name])
    workspace = Workspace(settings)

    # when
    config = ScriptRunConfig(project, "train.py", environment=name)
    run = Experiment(workspace, "curated").submit(config)
    run.wait_for_completion(show_output=True, timeout_seconds=900)

    # then
    assert run.get_metrics("score")["score"] > 0.4
    used = run.get_environment()
    assert used is not None
    pinned = {line.partition("==")[0] for line in used.python.packages}
    asked = workspace.get_environment(name).python.packages
    assert {line.partition("==")[0] for line in asked} <= pinned
