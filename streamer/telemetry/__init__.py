"""Metrics and logs: what the process reports to its operator."""
