"""The benchmark: the same network trained by snnhll and by other frameworks, each measurement in its own process."""
