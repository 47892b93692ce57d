"""Benchmarks: whole runs of whole engines, never timed tests."""

STORE = "BENCH_STORE"
"""The environment variable with the URL of the database that workloads run on; without it ours run on a file."""
