#!/bin/bash
# build.sh ARCHIVE OUT makes the package for rpm of an archive of packaging/dist, by rpmbuild (Debian: package rpm).
# The same archive makes the same package: all times are those of the files in it.
set -euo pipefail

archive=$(readlink -f "$1") out=$(readlink -f "$2")
here=$(cd "$(dirname "$0")" && pwd)
name=$(basename "$archive")
[[ $name =~ ^edge-(.+)-linux-([0-9a-z]+)\.tar\.gz$ ]] || { echo "build.sh: $name is no archive of edge" >&2; exit 1; }
version=${BASH_REMATCH[1]} arch=${BASH_REMATCH[2]}
case $arch in
amd64) target=x86_64 ;;
arm64) target=aarch64 ;;
*) target=$arch ;;
esac
# A hyphen ends a version for rpm. The name of a commit is older than each version.
package_version=${version//-/\~}
[[ $package_version =~ ^[0-9].*\. ]] || package_version=0~$package_version

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/SOURCES" "$work/BUILD" "$work/RPMS"
cp "$archive" "$work/SOURCES/"
epoch=$(TZ=UTC tar -tvzf "$archive" --full-time "edge-$version/edge" | awk '{ print $4 " " $5 }')
SOURCE_DATE_EPOCH=$(date -u -d "$epoch" +%s)
export SOURCE_DATE_EPOCH
rpmbuild -bb --quiet --target "$target-linux" --nodeps \
	--define "_topdir $work" --define "archive $name" --define "archive_version $version" \
	--define "package_version $package_version" --define "scripts $here/../scripts" "$here/edge.spec"
mv "$work"/RPMS/*/*.rpm "$out/"
