-- When an endpoint failed last: a stretch of failures ends with a long pause between two attempts.

ALTER TABLE endpoints ADD COLUMN last_failure_at BIGINT;
