"""Do once what Spark does in the tests, for Java to take down the classes that it loads."""

from urllib.request import ProxyHandler, build_opener

from pyspark.ml.classification import RandomForestClassifier
from pyspark.ml.feature import VectorAssembler
from pyspark.sql import SparkSession


def main() -> None:
    """Be an application on a cluster of its own, then one that is its own executor."""
    for master in ("local-cluster[1,1,1024]", "local[1]"):
        spark = SparkSession.builder.master(master).getOrCreate()
        context = spark.sparkContext
        context.parallelize(range(4), 2).map(lambda number: number + 1).count()
        spark.range(100).repartition(2).count()
        pages = f"{context.uiWebUrl}/api/v1/applications/{context.applicationId}/jobs"
        build_opener(ProxyHandler({})).open(pages).close()
        if master.startswith("local["):
            rows = spark.createDataFrame([(0.0, 0.0), (1.0, 1.0)], ["pixel", "digit"])
            rows = VectorAssembler(inputCols=["pixel"], outputCol="features").transform(rows)
            RandomForestClassifier(labelCol="digit", numTrees=1).fit(rows).transform(
                rows
            ).collect()
        spark.stop()


main()
