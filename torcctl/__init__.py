"""torcctl, the client of torcd, which is also the worker that runs jobs."""
