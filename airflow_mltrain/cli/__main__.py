"""`python -m airflow_mltrain.cli` is `mltrain` where the program itself is not on the PATH."""

import sys

from airflow_mltrain.cli.program import main

sys.exit(main())
