-- What an allocation asked for per node instead of what its scheduler says; its walltime is kept already.
ALTER TABLE allocation ADD COLUMN memory_bytes INTEGER;
