"""Benchmarks: whole runs of whole engines, never timed tests."""
