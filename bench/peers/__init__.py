"""Perdure beside other durable engines, in one run: every engine in its own environment, through one small protocol."""
