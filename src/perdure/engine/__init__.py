"""The pure engine: `step` decides, `evolve` remembers; nothing here reads a clock, a file or a socket."""
