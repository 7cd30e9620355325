-- One process alone has the file, and tells itself that the settings of an endpoint have changed.

SELECT 1;
