#!/bin/sh
# Makes sure that Postgres server binaries (initdb, postgres) are on this machine: finds them, or installs them with the
# system's package manager. Harmless to run again. No server is started and no cluster is made.
set -eu

say() { printf 'postgres: %s\n' "$*" >&2; }

complete() { [ -x "$1/initdb" ] && [ -x "$1/postgres" ]; }

# The places of bin.go, which a test compares with these.
find_bin() {
	path=$(command -v initdb 2>/dev/null || true)
	for dir in "${path%/initdb}" \
		/usr/lib/postgresql/*/bin \
		/usr/pgsql-*/bin \
		/usr/local/pgsql/bin \
		/opt/homebrew/opt/postgresql*/bin \
		/usr/local/opt/postgresql*/bin \
		/home/linuxbrew/.linuxbrew/opt/postgresql*/bin \
		/Applications/Postgres.app/Contents/Versions/[0-9]*/bin; do
		complete "$dir" && echo "$dir" && return 0
	done
	return 1
}

as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	elif command -v sudo >/dev/null 2>&1; then
		sudo "$@"
	else
		say "root is needed for: $*"
		say "run it as root, or install Postgres by hand and run this again"
		exit 1
	fi
}

# Debian's packages make a cluster and start it as a service. Nobody asked for that here, so it is switched off while
# they are installed and the setting is put back.
install_apt() {
	as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq
	as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql-common
	conf=/etc/postgresql-common/createcluster.conf
	as_root cp -p "$conf" "$conf.relay"
	# shellcheck disable=SC2064 # conf is meant to be read now
	trap "as_root mv -f '$conf.relay' '$conf'" EXIT
	echo 'create_main_cluster = false' | as_root tee -a "$conf" >/dev/null
	as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql
}

if [ -n "${RELAY_PG_BIN:-}" ]; then
	complete "$RELAY_PG_BIN" && exit 0
	say "RELAY_PG_BIN is $RELAY_PG_BIN, which lacks initdb or postgres"
	exit 1
fi
if find_bin >/dev/null; then
	exit 0
fi

say "no server binaries found, installing them"
if command -v apt-get >/dev/null 2>&1; then
	install_apt >&2
elif command -v dnf >/dev/null 2>&1; then
	as_root dnf install -y -q postgresql-server >&2
elif command -v brew >/dev/null 2>&1; then
	brew install --quiet postgresql@17 >&2
else
	say "neither apt-get nor dnf nor brew is here: install the PostgreSQL server (15 or newer) by hand,"
	say "and set RELAY_PG_BIN to the folder that holds initdb and postgres if it is not in PATH"
	exit 1
fi

if ! dir=$(find_bin); then
	say "installed, but initdb and postgres are in none of the usual places: set RELAY_PG_BIN to their folder"
	exit 1
fi
say "server binaries in $dir"
