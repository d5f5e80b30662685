-- Captions that the base's own captioner proposes before a training; what a person writes goes before them.
ALTER TABLE dataset_items ADD COLUMN suggested TEXT;
ALTER TABLE datasets ADD COLUMN caption_job TEXT;  -- the last one that was asked to describe its items
ALTER TABLE datasets ADD COLUMN captions_due INTEGER NOT NULL DEFAULT 0;  -- it has not answered yet
CREATE INDEX datasets_caption_job ON datasets (caption_job) WHERE caption_job IS NOT NULL;
