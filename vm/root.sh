# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
# shellcheck shell=bash
#
# The root file system for all builds and runs: Debian trixie with trixie-backports, made by
# mmdebstrap from the mirror in the host's apt configuration, or from LAB_MIRROR. The lab only reads
# the host's apt sources and package lists.

LAB_SUITE=trixie

# os_release NAME: a field of the host's os-release
os_release() { (. /etc/os-release && printf '%s' "${!1:-}"); }

# mirror: the URI of the Debian archive: LAB_MIRROR, or the one in the host's apt configuration. A
# Debian host may use a mirror that signs its own lists: accept it if its release is the host's. On
# another host the archive's origin must be Debian.
mirror() {
	local uri=${LAB_MIRROR:-} targets codename
	if [ -z "$uri" ]; then
		# shellcheck disable=SC2016 # apt-get expands it
		targets=$(apt-get indextargets --format '$(COMPONENT)|$(ORIGIN)|$(LABEL)|$(RELEASE)|$(REPO_URI)' 'Created-By: Packages')
		uri=$(awk -F'|' '$1 == "main" && $2 == "Debian" && $3 == "Debian" { print $5; exit }' <<<"$targets")
		if [ -z "$uri" ] && [ "$(os_release ID)" = debian ]; then
			codename=$(os_release VERSION_CODENAME)
			uri=$(awk -F'|' -v c="$codename" '$1 == "main" && ($4 == c || $4 == "stable" || $4 == "testing" || $4 == "sid") \
				{ print $5; exit }' <<<"$targets")
		fi
	fi
	[ -n "$uri" ] || {
		[ -n "$targets" ] || { warn "apt has no package lists, which the lab takes Debian's archive from; run apt-get update"; return 1; }
		warn "this host is $(os_release PRETTY_NAME), and no apt source of it is a Debian archive, which the lab takes $LAB_SUITE from." \
			'Set LAB_MIRROR to the URI of one (LAB_MIRROR=URI ./lab ...), or add one to the apt sources and run apt-get update'
		return 1
	}
	echo "$uri"
}

# apt_sources: a sources.list for the root, in one-line format
apt_sources() {
	local uri
	uri=$(mirror) || return 1
	printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n' \
		"$uri" $LAB_SUITE "$uri" $LAB_SUITE-backports
}

# apt_options: the host's settings for its mirror (proxies, retries, snapshots), as apt options
apt_options() {
	apt-config dump | grep -E '^Acquire::(http|https|Retries|Check-Valid-Until|Check-Date|ForceIPv4|ForceIPv6)\b' |
		grep -v ' "";$' || :
}

# packages: the packages in vm/packages
packages() { sed -e 's/#.*//' -e '/^[[:space:]]*$/d' "$LAB_VM/packages"; }

# source_apt DIR COMMAND...: run apt-get for source packages with its state in DIR; does not change
# the host's
source_apt() {
	local dir=$1
	shift
	apt-get -o Dir::State="$dir/state" -o Dir::State::status="$dir/state/status" -o Dir::Cache="$dir/cache" \
		-o Dir::Etc::sourcelist="$dir/sources.list" -o Dir::Etc::sourceparts=/dev/null -o Dir::Etc::preferences=/dev/null \
		-o Dir::Etc::preferencesparts=/dev/null -o Acquire::Languages=none -o APT::Sandbox::User=root "$@"
}

# try_archive: whether the mirror has the lab's suites, signed with a key that the host has; prints
# the reason if not
try_archive() {
	local dir rc=0
	dir=$(mktemp -d)
	mkdir -p "$dir"/{state/lists/partial,cache/archives/partial}
	: >"$dir/state/status"
	apt_sources >"$dir/sources.list" || { rm -r "$dir"; return 1; }
	# Only the suites' Release files.
	source_apt "$dir" -o Acquire::IndexTargets::deb::Packages::DefaultEnabled=false \
		-o Acquire::IndexTargets::deb::Translations::DefaultEnabled=false -o APT::Update::Error-Mode=any update >"$dir/out" 2>&1 || {
		rc=1
		warn "the archive $(mirror) does not have $LAB_SUITE and $LAB_SUITE-backports as Debian signs them:" \
			"$(grep -E '^(E|W): ' "$dir/out" | head -n 1). Set LAB_MIRROR to the URI of a Debian archive (LAB_MIRROR=URI ./lab ...)"
	}
	rm -r "$dir"
	return $rc
}

# unpack_rdma_core TMP: unpack the private headers for the provider, and rdma-core's tests, from the
# source of the installed version. The tarball is enough: Debian's patches touch neither.
unpack_rdma_core() {
	local tmp=$1 dir=$1/source version
	version=$(dpkg-query --admindir="$tmp/fs/var/lib/dpkg" -W -f '${source:Version}' libibverbs-dev) || return 1
	mkdir -p "$dir"/{state/lists/partial,cache/archives/partial,download} "$tmp/fs/usr/src/rdma-core"
	: >"$dir/state/status"
	sed 's/^deb /deb-src /' "$tmp/sources.list" >"$dir/sources.list"
	source_apt "$dir" update && (cd "$dir/download" && source_apt "$dir" source --download-only --tar-only "rdma-core=$version") &&
		tar -C "$tmp/fs/usr/src/rdma-core" --strip-components=1 --no-same-owner --wildcards --no-wildcards-match-slash \
			-xf "$dir"/download/rdma-core_*.orig.tar.* \
			'*/CMakeLists.txt' '*/buildlib' '*/ccan' '*/kernel-headers' '*/libibverbs' '*/util' '*/tests' || return 1
	rm -rf "$dir"
}

# without_descriptors COMMAND...: run it with no descriptors but the first three
without_descriptors() {
	# shellcheck disable=SC2016 # the inner shell expands it
	bash -c 'for fd in /proc/self/fd/*; do fd=${fd##*/}; [ "$fd" -le 2 ] || eval "exec $fd>&-"; done; exec "$@"' - "$@"
}

# Close the descriptors of the lab and of its parent: mmdebstrap hands sh the number of the first
# free one, and dash takes numbers below ten only.
make_root() {
	local tmp=$1 include
	include=$(packages | paste -sd,)
	apt_sources >"$tmp/sources.list" || return 1
	apt_options >"$tmp/apt.conf"
	mkdir "$tmp/fs"
	step "root: fetching and unpacking $LAB_SUITE with the compilers and QEMU (about 1.2 GB, once)" \
		without_descriptors mmdebstrap --mode=root --variant=minbase --format=directory --architectures=amd64 --aptopt="$tmp/apt.conf" \
		--aptopt='APT::Sandbox::User "root"' --aptopt='Acquire::Languages "none"' --aptopt='APT::Install-Recommends "false"' \
		--dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
		--dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/info/*' --dpkgopt='force-unsafe-io' \
		--include="$include" $LAB_SUITE "$tmp/fs" "$tmp/sources.list" || return 1
	step "root: fetching rdma-core's source, for its private headers and its tests" unpack_rdma_core "$tmp" || return 1
	rm -f "$tmp/fs"/etc/resolv.conf
	mkdir -p "$tmp/fs"/lab "$tmp/fs"/peerbar
}

# root_mount [LAYER]: mount the root at $LAB_MNT, in this mount namespace. Writes go to LAYER, or to
# a tmpfs. LAB_LAYERS, a colon-separated list, are laid over the root, and below them LAB_CROSS_LAYER.
root_mount() {
	local upper=${1:-} root work dir
	root=$LAB_CACHE/$LAB_ROOT/fs
	LAB_MNT=$(mktemp -d "$LAB_RUN/root.XXXXXX")
	if [ -n "$upper" ]; then
		work=$upper.work
		mkdir -p "$upper" "$work"
	else
		# The mount point itself has the writable tmpfs, below the overlay.
		mount -t tmpfs -o mode=755 tmpfs "$LAB_MNT" || return 1
		upper=$LAB_MNT/upper work=$LAB_MNT/work
		mkdir "$upper" "$work" "$LAB_MNT/root"
		LAB_MNT=$LAB_MNT/root
	fi
	mount -t overlay -o "lowerdir=${LAB_LAYERS:+$LAB_LAYERS:}${LAB_CROSS_LAYER:+$LAB_CROSS_LAYER:}$root,upperdir=$upper,workdir=$work" overlay "$LAB_MNT" || {
		warn "cannot mount an overlay of $root; './lab doctor' says what that needs"
		return 1
	}
	mount -t proc proc "$LAB_MNT/proc" && mount --bind /dev "$LAB_MNT/dev" && mount --rbind /sys "$LAB_MNT/sys" || return 1
	# Not with --rbind: the roots of concurrent groups are mounted below /dev/shm, and this root
	# would keep them busy.
	while read -r _ _ _ _ dir _; do
		case $dir in "$LAB_MNT"* | */peerbar-lab.*) continue ;; /dev/*) mount --bind "$dir" "$LAB_MNT$dir" || return 1 ;; esac
	done </proc/self/mountinfo
	root_bind "$LAB_VM" /peerbar/vm
}

# root_bind HOST-DIR INSIDE-DIR
root_bind() { mkdir -p "$LAB_MNT$2" && mount --bind "$1" "$LAB_MNT$2"; }

# root_umount: wait up to ten seconds for programs that end late, e.g. DKMS's progress display. Then
# detach the mounts, which are visible in this mount namespace only.
root_umount() {
	local i
	for i in {1..10}; do
		umount -R "$LAB_MNT" 2>/dev/null && break
		sleep 1
	done
	if mountpoint -q "$LAB_MNT"; then
		warn "$LAB_MNT is still in use; detaching it"
		umount -R -l "$LAB_MNT" || return 1
	fi
	case $LAB_MNT in */root) LAB_MNT=${LAB_MNT%/root}; umount "$LAB_MNT" 2>/dev/null || umount -l "$LAB_MNT" ;; esac
	rmdir "$LAB_MNT"
}

# root_exec COMMAND...: run inside, with a minimal environment
root_exec() {
	env -i HOME=/root LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin TERM="${TERM:-dumb}" \
		${KV:+KV="$KV"} ${LAB_CROSS:+LAB_CROSS="$LAB_CROSS"} chroot "$LAB_MNT" "$@"
}

# root_call FUNCTION ARGS...: run a function of the lab inside
root_call() {
	# shellcheck disable=SC2016
	root_exec bash -c 'LAB_VM=/peerbar/vm; for f in common root arch kernel tree modules machine perftest foreign package bindings bench style analysis coverage check check-rpm check-secureboot; do . $LAB_VM/$f.sh; done; "$@"' lab "$@"
}

# Compute the cache entry's name once: its inputs may be edited while the lab runs.
LAB_ROOT=root-$LAB_SUITE-$(key "$LAB_VM/packages" "$(declare -f make_root packages source_apt unpack_rdma_core)")

# wait_for_root: the root may be in preparation by a concurrent job
wait_for_root() { cached "$LAB_ROOT" make_root; }
