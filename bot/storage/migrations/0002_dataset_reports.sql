-- What the check said about each item, so that a whole set is judged at once however many uploads it came in; guides of effects.

ALTER TABLE datasets ADD COLUMN control TEXT;  -- kind of guide of an effect
ALTER TABLE dataset_items ADD COLUMN verdict TEXT;  -- engine.contracts.media.ItemVerdict; NULL: from before this migration
ALTER TABLE dataset_items ADD COLUMN thumb BLOB;  -- a small JPEG for the report
ALTER TABLE dataset_items ADD COLUMN guides TEXT;  -- file name of the item this one is the guide of; such a row is no item of its own
