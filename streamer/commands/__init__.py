"""What can be asked for from a shell."""
