#!/bin/sh
# Installs the npm packages that tests run relay's deliveries against, into folders that git ignores. Without node and npm,
# or without a network, the tests that need them are skipped: this says so and is no failure.
set -eu

root=$(cd "$(dirname "$0")/../../../.." && pwd)
say() { printf 'node packages: %s\n' "$*" >&2; }

if ! command -v node >/dev/null 2>&1 || ! command -v npm >/dev/null 2>&1; then
	say "node and npm are not here: the tests with npm packages are skipped"
	exit 0
fi
for dir in cmd/relay/testdata/readers examples/receivers/node examples/node; do
	install=install
	[ ! -f "$root/$dir/package-lock.json" ] || install=ci
	stamp="$root/$dir/node_modules/.installed"
	if [ -f "$stamp" ] && cmp -s "$root/$dir/package.json" "$stamp"; then
		continue
	fi
	if (cd "$root/$dir" && npm "$install" --ignore-scripts --fetch-retries=1 --fetch-timeout=20000 --no-audit --no-fund --silent); then
		cp "$root/$dir/package.json" "$stamp"
	else
		rm -rf "$root/$dir/node_modules"
		say "npm could not install those of $dir: the tests with them are skipped"
	fi
done
