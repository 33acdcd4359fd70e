#!/bin/sh
# Makes the passwords and tokens of docker-compose.yml: `.env`, and a file each in deploy/compose/secrets/.
# What is there stays as it is: a database that has a password does not take another one.
set -eu
cd "$(dirname "$0")/../.."
umask 077
secret() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

if [ ! -e .env ]; then
  cat > .env <<END
POSTGRES_PASSWORD=$(secret)
POINTSMAN_DATABASE_PASSWORD=$(secret)
UNLEASH_DATABASE_PASSWORD=$(secret)
UNLEASH_ADMIN_PASSWORD=$(secret)
UNLEASH_ADMIN_TOKEN=*:*.$(secret)
UNLEASH_TOKEN=default:development.$(secret)
VALKEY_PASSWORD=$(secret)
GRAFANA_PASSWORD=$(secret)
END
fi

folder=deploy/compose/secrets
mkdir -p "$folder"
for name in POSTGRES_PASSWORD POINTSMAN_DATABASE_PASSWORD UNLEASH_DATABASE_PASSWORD VALKEY_PASSWORD GRAFANA_PASSWORD; do
  file="$folder/$(echo "$name" | tr '[:upper:]' '[:lower:]')"
  sed -n "s/^$name=//p" .env | tr -d '\n' > "$file"
  chmod 644 "$file" # for the containers' users; the folder is closed to everybody else
done
