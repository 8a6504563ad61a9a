"""The program that runs jobs on a machine: one supervisor a job, and the verbs that drive it."""
