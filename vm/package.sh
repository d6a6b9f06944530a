# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
# shellcheck shell=bash
#
# ./lab package: build the Debian packages of debian/, inside the root with debhelper and the like
# laid over it:
#
#	package-tools-KEY/fs	these programs
#	tree-KEY/packages	the packages, and the files .changes and .buildinfo, of the last build
#
# A repository is a folder with packages and their index, which apt reads without a server.

PACKAGE_TOOLS='debhelper dh-dkms dh-python lintian apt-utils fakeroot e2fsprogs'

# apt_inside COMMAND...: run apt-get inside the mounted root, with the host's settings
apt_inside() {
	cp /etc/resolv.conf /etc/hosts "$LAB_MNT/etc/" && apt_options >"$LAB_MNT/etc/apt/apt.conf.d/98lab" &&
		root_exec env DEBIAN_FRONTEND=noninteractive apt-get -o APT::Sandbox::User=root -o Acquire::Languages=none -o Dpkg::Use-Pty=0 \
			-o Dpkg::Options::=--force-unsafe-io --assume-yes --no-install-recommends "$@"
}

# forget_apt DIR: remove what apt_inside left in a layer
forget_apt() {
	rm -rf "$1.work" "$1"/etc/{resolv.conf,hosts} "$1"/etc/apt/apt.conf.d/98lab "$1"/var/cache/apt "$1"/var/lib/apt/lists "$1"/{tmp,peerbar,root}
}

install_package_tools() {
	# shellcheck disable=SC2086 # words
	apt_inside update && apt_inside install $PACKAGE_TOOLS
}

make_package_tools() {
	local rc=0
	root_mount "$1/fs" || return 1
	step 'package: fetching debhelper and lintian' install_package_tools || rc=1
	root_umount
	forget_apt "$1/fs"
	return $rc
}

package_tools_ready() {
	PACKAGE_LAYER=package-tools-$(key "$LAB_ROOT" "$PACKAGE_TOOLS" "$(declare -f install_package_tools)")
	cached "$PACKAGE_LAYER" make_package_tools
}

# run_package_build DIR OUTPUT: build from the tree in /src, below DIR; runs inside the root. The
# tests run in other groups.
run_package_build() {
	local dir=$1 output=$2 version f
	version=$(dpkg-parsechangelog -l /src/debian/changelog -S Version) || return 1
	dir=$dir/peerbar-$version
	mkdir -p "$dir" && cd /src || return 1
	while IFS= read -r -d '' f; do
		[ ! -e "$f" ] || cp --parents --preserve=mode "$f" "$dir/" || return 1
	done </files
	cd "$dir" || return 1
	RDMA_CORE_SOURCE=/usr/src/rdma-core DEB_BUILD_OPTIONS="nocheck parallel=$(nproc)" dpkg-buildpackage --no-sign --build=binary || return 1
	mv ../*.{deb,changes,buildinfo} "$output/"
}

# run_other_build DIR OUTPUT: the same with another time zone, locale and number of jobs
run_other_build() {
	export TZ=Pacific/Kiritimati LC_ALL=C
	nproc() { echo 3; }
	run_package_build "$@"
}

# package_build FUNCTION DIR OUTPUT: mount a root, and build by one of these
package_build() {
	local build=$1 dir=$2 output=$3 rc=0
	rm -rf "$output" && mkdir -p "$output"
	LAB_LAYERS=$LAB_CACHE/$PACKAGE_LAYER/fs root_mount && root_bind "$LAB_CACHE/$(tree_name)/src" /src && root_bind "$output" /output || return 1
	cp "$LAB_CACHE/$(tree_name)/files" "$LAB_MNT/files"
	root_call "$build" "$dir" /output || rc=1
	root_umount
	return $rc
}

# index_packages: write the index of the folder /repo; runs inside the root
index_packages() {
	cd /repo && apt-ftparchive packages . >Packages.new && mv Packages.new Packages && xz -kf Packages &&
		apt-ftparchive -o APT::FTPArchive::Release::Origin=peerbar -o APT::FTPArchive::Release::Label=peerbar \
			-o APT::FTPArchive::Release::Suite=./ release . >/tmp/Release && mv /tmp/Release Release
}

# package_repository DIR: add the packages to the repository
package_repository() {
	mkdir -p "$1" && cp "$DEBIAN_PACKAGES"/*.deb "$1/" || return 1
	LAB_LAYERS=$LAB_CACHE/$PACKAGE_LAYER/fs root_mount && root_bind "$1" /repo && root_call index_packages && root_umount
}

# debian_packages_ready: build if the tree changed, and set DEBIAN_PACKAGES
debian_packages_ready() {
	local dir changed
	dir=$LAB_CACHE/$(tree_name)
	# tree_ready() has locked and copied the tree.
	if [ -z "${LAB_BUILD:-}" ]; then
		mkdir -p "$dir"
		exec 7>"$dir/lock"
		flock -n 7 || { say 'waiting for another lab that uses this tree'; flock 7; }
		wait_for_root && tree_copy || return 1
	fi
	package_tools_ready || return 1
	DEBIAN_PACKAGES=$dir/packages
	changed=$(cd "$dir/src" && key "$PACKAGE_LAYER" "$(declare -f run_package_build)" "$(sort -z "$dir/files" | xargs -0 sha256sum 2>/dev/null)")
	[ "$(cat "$DEBIAN_PACKAGES/built" 2>/dev/null)" != "$changed" ] || return 0
	step 'package: building the packages' package_build run_package_build /build "$DEBIAN_PACKAGES" && echo "$changed" >"$DEBIAN_PACKAGES/built"
}

# lab_package: write the packages to --output, and to the repository --repo
lab_package() {
	debian_packages_ready || return 2
	if [ -n "$LAB_OUTPUT" ]; then
		mkdir -p "$LAB_OUTPUT" && cp "$DEBIAN_PACKAGES"/*.{deb,changes,buildinfo} "$LAB_OUTPUT/" || return 1
	fi
	if [ -n "$LAB_REPO" ]; then
		LAB_REPO=$(mkdir -p "$LAB_REPO" && cd "$LAB_REPO" && pwd) && step "package: indexing $LAB_REPO" package_repository "$LAB_REPO" || return 1
		say "add the line 'deb [trusted=yes] file:$LAB_REPO ./' to the apt sources, and run apt-get update"
	fi
	say "packages: $(cd "${LAB_REPO:-${LAB_OUTPUT:-$DEBIAN_PACKAGES}}" && pwd):"
	(cd "$DEBIAN_PACKAGES" && ls ./*.deb)
}
