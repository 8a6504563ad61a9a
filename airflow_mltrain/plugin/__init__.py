"""The pages that this package adds to the Airflow UI."""
