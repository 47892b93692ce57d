"""Where everything durable lives: one contract, and one folder per database that keeps it."""
