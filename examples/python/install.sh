#!/bin/sh
# Makes sure that psycopg, with which examples/python writes its outbox, is on this machine: finds it, or installs Debian's
# package where that is allowed. Otherwise the tests that need it are skipped: this says so and is no failure.
set -eu

say() { printf 'python packages: %s\n' "$*" >&2; }

for python in python3 /usr/bin/python3; do
	if "$python" -c 'import psycopg' 2>/dev/null; then
		exit 0
	fi
done
if [ -x /usr/bin/python3 ] && command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" -eq 0 ] &&
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-psycopg >/dev/null 2>&1; then
	exit 0
fi
say "psycopg is not here (pip install 'psycopg[binary]', or Debian's python3-psycopg): the test with it is skipped"
