"""The runtime: where the pure engine meets the world: executions at home, commits, attempts, processes that carry work."""
