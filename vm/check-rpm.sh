# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
# shellcheck shell=bash
#
# ./lab check --only rpm: rpm/peerbar.spec, by rpm's own tools for Debian: the packages are built from
# the tarball of 'make dist', installed in an empty root, and removed. rpmbuild fails for an installed
# file that is in no package. What the packages depend on is not checked, and the modules are not built.

RPM_TOOLS='rpm'

# run_rpm: inside the root, with the tree in /src and its build in /build
run_rpm() {
	local top=/tmp/rpm root=/tmp/installed left f
	make -s -C /build dist || return 1
	mkdir -p $top/SOURCES $root && mv /build/peerbar-*.tar.xz $top/SOURCES/ || return 1
	rpmbuild -bb --nodeps --define "_topdir $top" --define 'debug_package %{nil}' /src/rpm/peerbar.spec || return 1
	rpm --root $root --initdb && rpm --root $root -i --nodeps --noscripts $top/RPMS/*/*.rpm || return 1
	for f in usr/bin/peerbar usr/include/peerbar/device.h usr/share/man/man1/peerbar.1 usr/lib/udev/rules.d/60-peerbar.rules usr/src/peerbar-*/dkms.conf; do
		compgen -G "$root/$f*" >/dev/null || { echo "the packages have no $f"; return 1; }
	done
	LD_LIBRARY_PATH=$(dirname "$(find $root -name 'libpeerbar.so.0')") $root/usr/bin/peerbar --version || return 1
	rpm --root $root -e --nodeps --noscripts peerbar peerbar-libs peerbar-devel peerbar-dkms || return 1
	left=$(find $root -name '*peerbar*')
	[ -z "$left" ] || { echo "these files are left: $left"; return 1; }
	echo 'rpm: the packages build, install, and leave nothing'
}

check_rpm() {
	local rc=0
	# shellcheck disable=SC2086 # several packages
	packages_ready $RPM_TOOLS || return 2
	exec 5>"$LAB_CACHE/$(tree_name)/lock.build"
	flock 5
	LAB_LAYERS=$PACKAGES_LAYER tree_mount || return 2
	step 'rpm: building and installing the packages' root_call run_rpm || rc=1
	root_umount
	exec 5>&-
	return $rc
}
