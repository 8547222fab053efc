"""What a container is: statuses, records, the state directory."""
