#!/bin/bash
# build.sh ARCHIVE OUT makes the package for rpm of an archive of packaging/dist, by rpmbuild (Debian: package rpm).
# The same archive makes the same package: all times are those of the files in it.
set -euo pipefail

archive=$(readlink -f "$1") out=$(readlink -f "$2")
here=$(cd "$(dirname "$0")" && pwd)
name=$(basename "$archive")
[[ $name =~ ^(edge(-[a-z]+)?)-([0-9].*)-linux-([0-9a-z]+)\.tar\.gz$ ]] ||
	{ echo "build.sh: $name is no archive of edge" >&2; exit 1; }
program=${BASH_REMATCH[1]} version=${BASH_REMATCH[3]} arch=${BASH_REMATCH[4]}
case $arch in
amd64) target=x86_64 ;;
arm64) target=aarch64 ;;
*) target=$arch ;;
esac
spec=$here/tool.spec
[ "$program" != edge ] || spec=$here/edge.spec
case $program in
edge-bench) summary="Load generator for HTTP, and benchmarks of edge beside other proxies" ;;
*) summary="Turns configurations of other proxies into one of edge" ;;
esac

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/SOURCES" "$work/BUILD" "$work/RPMS"
cp "$archive" "$work/SOURCES/"
epoch=$(TZ=UTC tar -tvzf "$archive" --full-time "$program-$version/$program" | awk '{ print $4 " " $5 }')
SOURCE_DATE_EPOCH=$(date -u -d "$epoch" +%s)
export SOURCE_DATE_EPOCH
# A hyphen ends a version for rpm.
rpmbuild -bb --quiet --target "$target-linux" --nodeps \
	--define "_topdir $work" --define "archive $name" --define "archive_version $version" \
	--define "package_version ${version//-/\~}" --define "scripts $here/../scripts" \
	--define "program $program" --define "short $summary" --define "common $here/common.inc" "$spec"
# Some servers rename a file whose name has a tilde.
for made in "$work"/RPMS/*/*.rpm; do
	named=$(basename "$made")
	mv "$made" "$out/${named//\~/-}"
done
