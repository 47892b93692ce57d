"""The guard on costs: what workloads cost in counts, which are the same on every machine, beside the last release's."""
