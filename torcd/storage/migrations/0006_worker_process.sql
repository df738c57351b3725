-- What tells a worker's process, together with its pid, from all others on its host; '': unknown.
ALTER TABLE worker ADD COLUMN process TEXT NOT NULL DEFAULT '';
