"""hookshim: a container runtime built around the Kubernetes container lifecycle."""
