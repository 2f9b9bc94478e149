"""Metrics and logs: what the process tells its operator."""
