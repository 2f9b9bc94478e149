"""What the process tells its operator: metrics and logs."""
