"""One run in several processes: layers as pipeline stages, or shares of every batch (docs/parallel.md)."""
