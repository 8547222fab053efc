"""What shim decides: compile, create, start, stop, hooks, and the monitor that drives them."""
