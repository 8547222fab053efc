"""What the user gave: config.json, mounts, lifecycle. Pure parsing; no policy, no system calls but
reads."""
