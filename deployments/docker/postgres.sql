-- The lake's catalog and Dagster's storage, each with a user of its own. Runs once, when the volume is new.
\getenv lake_password LAKE_PASSWORD
\getenv dagster_password DAGSTER_PASSWORD
CREATE USER lake PASSWORD :'lake_password';
CREATE DATABASE lake OWNER lake;
CREATE USER dagster PASSWORD :'dagster_password';
CREATE DATABASE dagster OWNER dagster;
