"""Choose a random forest for handwritten digits by cross validation; runs on a Spark cluster."""

import argparse
import json
import time
from pathlib import Path

from pyspark.ml import Pipeline
from pyspark.ml.classification import RandomForestClassifier
from pyspark.ml.evaluation import MulticlassClassificationEvaluator
from pyspark.ml.feature import StandardScaler, VectorAssembler
from pyspark.ml.tuning import CrossValidator, CrossValidatorModel, ParamGridBuilder
from pyspark.sql import DataFrame, SparkSession
from sklearn.datasets import load_digits

import mltrain


def main() -> None:
    """Compare the forests of a grid, measure the best on held out rows, write it down."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--folds", type=int, default=2)
    parser.add_argument("--trees", type=int, nargs="+", default=[10, 20])
    parser.add_argument("--depths", type=int, nargs="+", default=[5, 8])
    parser.add_argument("--parallelism", type=int, default=4, help="how many are fitted at once")
    parser.add_argument("--model-path", default="", help="a folder that all machines share")
    arguments = parser.parse_args()

    run = mltrain.Run.get_context()
    spark = SparkSession.builder.appName("digits").getOrCreate()
    training, held_out = read_digits(spark).randomSplit([0.8, 0.2], seed=0)
    training.cache().count()

    forest = RandomForestClassifier(labelCol="digit", featuresCol="features", seed=0)
    steps = [
        VectorAssembler(inputCols=training.columns[:-1], outputCol="pixels"),
        StandardScaler(inputCol="pixels", outputCol="features"),
        forest,
    ]
    grid = (
        ParamGridBuilder()
        .addGrid(forest.numTrees, arguments.trees)
        .addGrid(forest.maxDepth, arguments.depths)
        .build()
    )
    evaluator = MulticlassClassificationEvaluator(labelCol="digit", metricName="accuracy")
    started = time.monotonic()
    found = CrossValidator(
        estimator=Pipeline(stages=steps),
        estimatorParamMaps=grid,
        evaluator=evaluator,
        numFolds=arguments.folds,
        parallelism=arguments.parallelism,
        seed=0,
    ).fit(training)
    seconds = time.monotonic() - started

    for candidate, accuracy in zip(grid, found.avgMetrics, strict=True):
        trees, depth = candidate[forest.numTrees], candidate[forest.maxDepth]
        print(f"{trees:4d} trees of depth {depth:2d}: accuracy {accuracy:.3f}", flush=True)
        run.log("cross_validated_accuracy", accuracy)
    accuracy = evaluator.evaluate(found.transform(held_out))
    run.log("accuracy", accuracy)
    run.log("cross_validation_seconds", seconds)
    print(f"cross validation took {seconds:.1f} s; accuracy {accuracy:.3f}", flush=True)
    keep(found, arguments.model_path, run)
    spark.stop()


def read_digits(spark: SparkSession) -> DataFrame:
    """The pixels of 1,797 images and what they show, spread over the cluster."""
    images, digits = load_digits(return_X_y=True)
    rows = [
        [*map(float, image), float(digit)] for image, digit in zip(images, digits, strict=True)
    ]
    columns = [f"pixel_{number}" for number in range(images.shape[1])] + ["digit"]
    return spark.createDataFrame(rows, columns).repartition(4, "digit")


def keep(found: CrossValidatorModel, model_path: str, run: mltrain.Run) -> None:
    """Write the best model where all machines reach it, if that is said, and what it is."""
    forest = found.bestModel.stages[-1]
    told = {"trees": forest.getNumTrees, "depth": forest.getOrDefault("maxDepth")}
    Path("outputs").mkdir(exist_ok=True)
    Path("outputs/model.json").write_text(json.dumps(told))
    Path("outputs/forest.txt").write_text(forest.toDebugString)
    if model_path:
        place = f"{model_path.rstrip('/')}/{run.id}"
        found.bestModel.write().save(place)
        run.tag("model", place)


if __name__ == "__main__":
    main()
