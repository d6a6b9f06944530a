# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
# shellcheck shell=bash
#
# The architecture of the guest. That of the root is always amd64: all is built in it, and QEMU runs
# in it. A guest of another architecture has two cache entries more:
#
#	cross-ARCH-KEY/fs	a layer for the root: compiler, libraries and emulator for the guest
#	root-SUITE-ARCH-KEY/fs	the guest's root file system, of packages that are unpacked only: no script
#				of a package can run without the guest's processor
#
# vm/packages-ARCH lists the packages of both.

LAB_ARCH=amd64
# The triplet of another architecture than the root's, or nothing.
LAB_CROSS=${LAB_CROSS:-}
# The trace events of QEMU, separated by "|", that are faults of the emulated IOMMU.
LAB_FAULT_EVENTS=vtd_dmar_fault

# arch_choose ARCH: the argument of --arch. Compute the names of the cache entries once: their inputs
# may be edited while the lab runs.
arch_choose() {
	case $1 in
	amd64) LAB_ARCH=amd64 LAB_CROSS='' ;;
	arm64)
		LAB_ARCH=arm64 LAB_CROSS=aarch64-linux-gnu LAB_FAULT_EVENTS='smmuv3_propagate_event|smmuv3_translate_abort'
		LAB_CROSS_NAME=cross-$LAB_ARCH-$(key "$LAB_ROOT" "$(arch_packages build)" "$(declare -f make_cross make_packages)")
		LAB_GUEST_ROOT=root-$LAB_SUITE-$LAB_ARCH-$(key "$(arch_packages guest)" "$(declare -f make_guest_root)")
		;;
	*)
		warn "--arch '$1' is no architecture of the lab: it takes amd64 or arm64"
		return 2
		;;
	esac
}

# arch_packages FOR: the packages for "build" or "guest" in vm/packages-ARCH
arch_packages() { sed -n "s/^$1[[:space:]]\+//p" "$LAB_VM/packages-$LAB_ARCH"; }

# make_cross TMP: install packages in the root, of both architectures, and keep the changes
make_cross() {
	mkdir -p "$1/fs/var/lib/dpkg" && printf 'amd64\n%s\n' "$LAB_ARCH" >"$1/fs/var/lib/dpkg/arch" &&
		EXTRA_PACKAGES=$(arch_packages build | paste -sd' ') && packages_step "$1"
}

# make_guest_root TMP: unpack the guest's packages, and do for those without scripts what theirs
# would: the users and groups, and the links of alternatives
make_guest_root() {
	local tmp=$1 fs=$1/fs
	apt_sources >"$tmp/sources.list" || return 1
	apt_options >"$tmp/apt.conf"
	mkdir "$fs"
	step "root: fetching and unpacking $LAB_SUITE for $LAB_ARCH" \
		without_descriptors mmdebstrap --mode=root --variant=extract --format=directory --architectures="$LAB_ARCH" \
		--aptopt="$tmp/apt.conf" --aptopt='APT::Sandbox::User "root"' --aptopt='Acquire::Languages "none"' \
		--aptopt='APT::Install-Recommends "false"' --dpkgopt='path-exclude=/usr/share/locale/*' \
		--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
		--include="?essential" --include="$(arch_packages guest | paste -sd,)" "$LAB_SUITE" "$fs" "$tmp/sources.list" || return 1
	cp "$fs/usr/share/base-passwd/passwd.master" "$fs/etc/passwd" && cp "$fs/usr/share/base-passwd/group.master" "$fs/etc/group" &&
		cp "$fs/usr/share/libc-bin/nsswitch.conf" "$fs/etc/" && ln -s mawk "$fs/usr/bin/awk" || return 1
	printf '127.0.0.1 localhost\n::1 localhost\n' >"$fs/etc/hosts"
	mkdir -p "$fs"/{lab,build,proc,sys,dev,run,tmp,root}
}

# arch_ready: what a guest of another architecture needs beside the root
arch_ready() {
	[ -n "$LAB_CROSS" ] || return 0
	wait_for_root && cached "$LAB_CROSS_NAME" make_cross && cached "$LAB_GUEST_ROOT" make_guest_root || return 1
	LAB_CROSS_LAYER=$LAB_CACHE/$LAB_CROSS_NAME/fs
}

# guest_root: the guest's root file system
guest_root() { echo "$LAB_CACHE/${LAB_GUEST_ROOT:-$LAB_ROOT}/fs"; }
