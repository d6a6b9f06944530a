# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
# shellcheck shell=bash
#
# The commands of ./lab.

# need_root: become root with sudo
need_root() {
	[ "$(id -u)" != 0 ] || return 0
	have sudo || die 'this needs root (it mounts, and installs packages), and there is no sudo here; run it as root'
	exec sudo --preserve-env=TERM,CI env LAB_CACHE="$LAB_CACHE" ${LAB_MIRROR:+LAB_MIRROR="$LAB_MIRROR"} HOME="$HOME" "$LAB_TOP/lab" \
		"${ARGS[@]}"
}

# The host's requirements, as "COMMAND PACKAGE"; all other programs are in the root file system.
host_needs() {
	cat <<-'END'
	mmdebstrap mmdebstrap
	unshare util-linux
	setpriv util-linux
	flock util-linux
	perl perl-base
	xz xz-utils
	tar tar
	dpkg-deb dpkg
	apt-get apt
	git git
	END
}

# The same for files, as "FILE PACKAGE".
host_needs_files() {
	cat <<-'END'
	/usr/share/keyrings/debian-archive-keyring.gpg debian-archive-keyring
	/etc/ssl/certs/ca-certificates.crt ca-certificates
	END
}

missing_packages() {
	{
		host_needs | while read -r c p; do have "$c" || echo "$p"; done
		host_needs_files | while read -r f p; do [ -f "$f" ] || echo "$p"; done
	} | sort -u
}

lab_prepare_host() {
	local missing
	have apt-get || { warn 'this host has no apt; the lab needs Debian 12 or newer, or a distribution made from it'; return 1; }
	# apt reports its mirror only if it has lists. Update the host's own lists, from its own
	# sources.
	if ! mirror >/dev/null 2>&1; then step 'host: apt-get update' apt-get update && mirror >/dev/null || return 1; fi
	missing=$(missing_packages | paste -sd' ')
	if [ -n "$missing" ]; then
		# shellcheck disable=SC2086
		step "host: installing $missing" env DEBIAN_FRONTEND=noninteractive sh -c '
			apt-get install -y --no-install-recommends "$@" ||
				{ apt-get update && apt-get install -y --no-install-recommends "$@"; }' apt $missing || return 1
	fi
	# Fail before a long download ends with "404".
	[ -d "$LAB_CACHE/$LAB_ROOT" ] || try_archive
}

# run_parent: the directory for the run directory; in memory if there is room, because the GPU's
# memory and the disks are in it
run_parent() {
	local free
	free=$(df --output=avail -k /dev/shm 2>/dev/null | tail -n 1)
	if [ "${free:-0}" -gt 2097152 ]; then echo /dev/shm; else echo "${TMPDIR:-/tmp}"; fi
}

# lab_sweep: remove leftovers of killed labs, and cache entries that were not used for a month
lab_sweep() {
	local d id
	for d in /dev/shm/peerbar-lab.?????? "${TMPDIR:-/tmp}"/peerbar-lab.??????; do
		[ -f "$d/lock" ] && flock -n "$d/lock" true && rm -rf --one-file-system "$d"
	done
	for d in "$LAB_CACHE"/tmp.*; do
		[ -e "$d" ] || continue
		id=${d#"$LAB_CACHE"/tmp.}
		kill -0 "${id%%.*}" 2>/dev/null || rm -rf --one-file-system "$d"
	done
	find "$LAB_CACHE" -mindepth 1 -maxdepth 1 -mtime +30 \( -name 'root-*' -o -name 'kernel-*' -o -name 'initrd-*' -o -name 'tree-*' -o -name 'log-*' -o -name 'perftest-*' -o -name 'foreign-*' -o -name 'package-*' -o -name 'packages-*' -o -name 'cross-*' \
		-o -name 'bench-*' -o -name 'readme-*' -o -name 'kvm-*' -o -name 'lock.*' \) -exec rm -rf --one-file-system {} +
}

lab_clean() {
	local busy
	# A lab that creates or uses a cache entry holds a lock below the cache.
	for busy in "$LAB_CACHE"/lock.* "$LAB_CACHE"/{tree,log}-*/lock; do
		[ -e "$busy" ] || continue
		flock -n "$busy" true || die "another lab is at work ($busy is locked); nothing was removed"
	done
	[ ! -d "$LAB_CACHE" ] || du -sh "$LAB_CACHE" | sed 's/^/removing /' >&2
	rm -rf --one-file-system "$LAB_CACHE"
}

ok() { printf '  ok       %s\n' "$*"; }
no() { printf '  MISSING  %s\n           %s\n' "$1" "$2"; DOCTOR=1; }
so() { printf '  note     %s\n' "$*"; }

lab_doctor() {
	local c p free mem uri said
	DOCTOR=0
	if [ "$(dpkg --print-architecture 2>/dev/null)" = amd64 ]; then ok "$(os_release PRETTY_NAME), on amd64"; else
		no 'Debian, or what is made from it, on amd64' 'the lab runs an x86 machine with packages of Debian for amd64'
	fi
	if [ "$(id -u)" = 0 ]; then ok 'root'; elif have sudo; then ok 'sudo'; else
		no 'root or sudo' 'run ./lab as root'
	fi
	while read -r c p; do
		if have "$c"; then ok "$c"; else no "$c" "'./lab build' installs the package $p, or: apt-get install $p"; fi
	done < <(host_needs)
	while read -r c p; do
		if [ -f "$c" ]; then ok "$c"; else no "$c" "'./lab build' installs the package $p, or: apt-get install $p"; fi
	done < <(host_needs_files)
	if have apt-get; then
		if ! said=$(mirror 2>&1); then
			no 'a Debian archive' "${said#lab: }"
		elif uri=$said && said=$(try_archive 2>&1); then
			ok "a Debian archive with $LAB_SUITE: $uri"
		else
			no "a Debian archive with $LAB_SUITE" "${said#lab: }"
		fi
	fi
	if [ "$(id -u)" = 0 ]; then
		if unshare --mount --pid --fork true 2>/dev/null; then ok 'mount and PID namespaces'; else
			no 'mount and PID namespaces' 'in a container: start it with --privileged'
		fi
		# shellcheck disable=SC2016 # sh expands it
		if unshare --mount sh -c 'd=$(mktemp -d); mount -t tmpfs t $d && mkdir $d/l $d/u $d/w $d/m &&
			mount -t overlay -o lowerdir=$d/l,upperdir=$d/u,workdir=$d/w o $d/m' 2>/dev/null; then ok overlayfs; else
			no overlayfs 'modprobe overlay; in a container: start it with --privileged'
		fi
	fi
	mkdir -p "$LAB_CACHE"
	free=$(df --output=avail -BG "$LAB_CACHE" | tail -n 1 | tr -dc 0-9)
	if [ "$free" -ge 6 ]; then ok "$free GB free for $LAB_CACHE"; else
		no "6 GB free for $LAB_CACHE (it has $free)" 'make room, or set XDG_CACHE_HOME; the debug kernel takes 4 of them'
	fi
	mem=$(awk '/MemAvailable/ { print int($2 / 1048576) }' /proc/meminfo)
	if [ "$mem" -ge 4 ]; then ok "$mem GB of memory available"; else
		no "4 GB of memory available (there are $mem)" 'the VM takes 2 GB and its devices up to 0.5'
	fi
	if [ ! -e /dev/kvm ]; then so 'no /dev/kvm: the VM is emulated (TCG), which is what the times in the README are for'; else
		so '/dev/kvm is there; whether a guest really runs under it is tried at the first boot'
	fi
	for c in "$LAB_CACHE"/root-* "$LAB_CACHE"/kernel-*; do [ -d "$c" ] && so "cached: $(basename "$c")"; done
	return $DOCTOR
}

# prepare: build root, kernel and tree; root and kernel in parallel
prepare() {
	kernel_choose "$LAB_KERNEL" || return 2
	arch_ready || return 2
	in_parallel wait_for_root kernel_ready || return 2
	tree_ready || return 2
}

lab_build() {
	prepare || return
	say "built: $LAB_BUILD, for Linux $(cat "$LAB_CACHE/$KNAME/release")"
}

# guest COMMAND...: run it in the machine, from a shell script that the guest reads
guest() {
	mkdir -p "$LAB_RUN/share"
	printf 'exec' >"$LAB_RUN/share/command"
	printf ' %q' "$@" >>"$LAB_RUN/share/command"
	{
		printf 'LAB_INTERACTIVE=%q LAB_KMEMLEAK=%q\n' "${LAB_INTERACTIVE:-0}" "${LAB_KMEMLEAK:-1}"
		[ "${LAB_INTERACTIVE:-0}" = 0 ] || stty size | awk '$1 { print "LAB_ROWS=" $1 " LAB_COLUMNS=" $2 }'
		printf 'export LAB=/lab LAB_TOPOLOGY=%q LAB_KERNEL=%q LAB_SEED=%q TERM=%q\n' "$LAB_TOPOLOGY" "$KFLAVOUR" "$LAB_SEED" "${TERM:-dumb}"
		printf 'export LAB_HOST=%q LAB_HOSTS=%q\n' "$LAB_HOST" "$LAB_HOSTS"
		project_settings
	} >"$LAB_RUN/share/settings"
	say "booting Linux $(cat "$LAB_CACHE/$KNAME/release") in QEMU ($LAB_TOPOLOGY)"
	guest_run
}

# layer_ready COMMAND: set LAB_LAYER if the command is a guest script whose programs are in a layer
# of their own
layer_ready() {
	case $LAB_CROSS,$1 in
	?*,/lab/vm-capture | ?*,/lab/vm-foreign* | ?*,/lab/vm-perftest)
		warn "$1 needs programs that the lab has for amd64 only"
		return 2
		;;
	esac
	case $1 in
	/lab/vm-capture) packages_ready tshark && LAB_LAYER=$PACKAGES_LAYER ;;
	/lab/vm-foreign | /lab/vm-foreign-hosts) foreign_ready ;;
	/lab/vm-perftest) perftest_ready ;;
	esac
}

lab_run() {
	if [ "$LAB_HOSTS" = 1 ]; then prepare || return; fi
	run_command "$@"
}

# machine_run COMMAND...: run it in the machine. Returns its status; sets REPORTS to 1 if the kernel reported something
machine_run() {
	local rc=0
	guest "$@" || rc=$?
	REPORTS=0
	guest_reports || REPORTS=1
	faults_announced
	return $rc
}

# run_command COMMAND...: after prepare(), for one host
run_command() {
	local rc=0 built='' faults='' run=machine_run
	if [ "$LAB_HOSTS" -gt 1 ]; then
		run=hosts_run
		prepare_hosts || return
	fi
	layer_ready "${1:-}" || return 2
	[ -z "$LAB_PROJECT_BUILD" ] || built=0
	project_ready || { rc=$?; write_junit "${built:+$rc}" '' '' '' -- "$@"; return $rc; }
	$run "$@" || rc=$?
	project_artifacts || { warn "the artifacts could not be copied to $LAB_ARTIFACTS"; [ $rc != 0 ] || rc=1; }
	local status=$rc
	[ "$REPORTS" = 0 ] || [ $rc != 0 ] || rc=1
	guest_faults
	if [ -n "$LAB_WANT_FAULTS" ]; then
		if [ "$FAULTS" != "$LAB_WANT_FAULTS" ]; then
			faults="the IOMMU reported $FAULTS faults, not $LAB_WANT_FAULTS"
			warn "$faults:"
			sed 's/^/    /' "$LAB_RUN/share/iommu-faults" | head -n 20 >&2
			[ $rc != 0 ] || rc=1
		fi
	fi
	write_junit "$built" "$status" "$REPORTS" "$faults" -- "$@" || [ $rc != 0 ] || rc=1
	return $rc
}

lab_shell() {
	[ -t 0 ] && [ -t 1 ] || die "'shell' needs a terminal; to run one command: ./lab run -- CMD"
	prepare && project_ready || return
	LAB_LIMIT=${LAB_LIMIT:-86400} LAB_INTERACTIVE=1 LAB_KMEMLEAK=0
	guest bash -l
}

# guest_stress ARGUMENT...: run lab-stress with all modules loaded
guest_stress() {
	# shellcheck disable=SC2016
	guest bash -c 'modprobe -a peerbar-vfio-pci peerbar-iommufd peerbar-test-exporter peerbar-test-importer peerbar-test-ready &&
		exec /build/tests/lab/lab-stress "$@"' stress "$@"
}

# lab_stress: run for --seconds; the seed repeats the choices
lab_stress() {
	local rc=0 seed=${LAB_SEED:-$(($(od -An -N4 -tu4 /dev/urandom) % 1000000))}
	prepare || return
	LAB_LIMIT=${LAB_LIMIT:-$((LAB_SECONDS * 3 + 300))}
	say "stress: seed $seed, $LAB_SECONDS s, on Linux $(cat "$LAB_CACHE/$KNAME/release")"
	guest_stress --seed "$seed" --seconds "$LAB_SECONDS" || rc=$?
	guest_reports || rc=1
	guest_faults
	say "stress: seed $seed: $([ $rc = 0 ] && echo held || echo "FAILED; ./lab stress --seed $seed repeats it")"
	return $rc
}

lab_demo() {
	local rc=0
	prepare || return
	LAB_LIMIT=${LAB_LIMIT:-300} LAB_KMEMLEAK=0
	guest /build/tests/lab/demo || rc=$?
	guest_reports || rc=1
	guest_faults
	if [ "$FAULTS" != "$EXPECTED" ]; then
		warn "the IOMMU reported $FAULTS faults where $EXPECTED were expected:"
		sed 's/^/    /' "$LAB_RUN/share/iommu-faults" | head -n 20 >&2
		rc=1
	fi
	say "$([ $rc = 0 ] && echo 'the demonstration held' || echo "the demonstration failed (status $rc)")"
	return $rc
}
