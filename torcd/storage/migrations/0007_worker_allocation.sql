-- The allocation that a worker belongs to; NULL: somebody started it by hand.
ALTER TABLE worker ADD COLUMN allocation_id INTEGER;
