#!/bin/sh
# Run once by PostgreSQL, on an empty volume: a user and a database for each program, and none may see the other's.
set -eu
psql --set=ON_ERROR_STOP=1 --username="$POSTGRES_USER" \
  --set=pointsman="$(cat /run/secrets/pointsman_database)" --set=unleash="$(cat /run/secrets/unleash_database)" <<'END'
CREATE USER pointsman PASSWORD :'pointsman';
CREATE DATABASE pointsman OWNER pointsman;
REVOKE ALL ON DATABASE pointsman FROM PUBLIC;
CREATE USER unleash PASSWORD :'unleash';
CREATE DATABASE unleash OWNER unleash;
REVOKE ALL ON DATABASE unleash FROM PUBLIC;
END
