"""How a job becomes a Spark application: its driver is begun by spark-submit, and watched."""
