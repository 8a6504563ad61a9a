"""What a Dag's function is made of, without Airflow."""
