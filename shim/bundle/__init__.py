"""What the user gave: config.json, mounts, lifecycle. Parsing only: no policy, nothing written."""
