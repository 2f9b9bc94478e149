"""The benchmarks: one question per file; each prints a table and writes JSON with hardware and commit."""
