-- A delivery that is retried after it was over begins its schedule anew: how many attempts were made before that.
ALTER TABLE deliveries ADD COLUMN attempts_before BIGINT NOT NULL DEFAULT 0;
