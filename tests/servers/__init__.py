"""Real servers for the tests: MLflow's own, and one that answers badly on purpose."""
