"""System calls; knows no policy."""
