"""shim: a Linux container runtime built around the Kubernetes container lifecycle."""

__version__ = "0.1.0"
