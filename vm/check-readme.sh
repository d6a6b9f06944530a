# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
# shellcheck shell=bash
#
# ./lab check --only readme: run the commands printed in the documentation (vm/doc-commands), in the
# order of the pages. Commands that build and install run in a bare Debian, with only the packages
# that the pages name. Commands that need hardware run in the machine. The bare Debian is a cache
# entry, and so is the result of each apt-get command, on top of the entries before:
#
#	readme-KEY/fs		made by make_bare, or by the command on the entry below

# make_bare TMP: a Debian like after a fresh installation with a kernel package, and sources that
# have a recent kernel
make_bare() {
	local tmp=$1
	apt_sources | sed "s/^deb \(.* $LAB_SUITE main\)/&\ndeb-src \1/" >"$tmp/sources.list"
	[ -s "$tmp/sources.list" ] || return 1
	apt_options >"$tmp/apt.conf"
	printf 'APT::Sandbox::User "root";\nAcquire::Languages "none";\nAPT::Install-Recommends "false";\nAPT::Get::Assume-Yes "true";\n' >>"$tmp/apt.conf"
	mkdir "$tmp/fs"
	step "readme: fetching a bare $LAB_SUITE" without_descriptors mmdebstrap --mode=root --variant=minbase --format=directory --architectures=amd64 \
		--aptopt="$tmp/apt.conf" --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
		--dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='force-unsafe-io' --include=kmod,iproute2,procps \
		"$LAB_SUITE" "$tmp/fs" "$tmp/sources.list" || return 1
	cp "$tmp/apt.conf" "$tmp/fs/etc/apt/apt.conf.d/99lab"
	rm -f "$tmp/fs/etc/resolv.conf"
	# shellcheck disable=SC2016
	printf '#!/bin/sh\nif [ "$*" = -r ]; then cat /etc/running-kernel; else exec /bin/uname "$@"; fi\n' >"$tmp/fs/usr/local/bin/uname"
	chmod +x "$tmp/fs/usr/local/bin/uname"
}

# bare_mount [UPPER]: mount the bare Debian with BARE_LAYERS
bare_mount() {
	LAB_ROOT=$BARE LAB_LAYERS=$BARE_LAYERS root_mount "$@" && echo "$KABI" >"$LAB_MNT/etc/running-kernel" &&
		cp /etc/resolv.conf /etc/hosts "$LAB_MNT/etc/" && root_exec /peerbar/vm/reader && mkdir -p "$LAB_MNT/home/reader/peerbar" &&
		chown 1000:1000 "$LAB_MNT/home/reader/peerbar"
}

# bare_commands LINE...: run the commands there, in the tree; MAKEFLAGS and KCFLAGS save time
bare_commands() {
	printf '%s\n' "$@" >"$LAB_MNT/etc/doc-commands"
	# shellcheck disable=SC2016
	root_exec env MAKEFLAGS="-j$(nproc)" KCFLAGS=-g0 bash -c 'cd /home/reader/peerbar && exec /peerbar/vm/doc-commands run root /etc/doc-commands'
}

# make_bare_layer TMP: run BARE_LINE, an apt-get command, and keep its changes
make_bare_layer() {
	local rc=0
	bare_mount "$1/fs" || return 1
	# Update first: the archive removes packages that a point release replaced.
	root_exec apt-get update && bare_commands "$BARE_LINE" || rc=1
	root_umount
	rm -rf "$1/fs.work" "$1/fs/etc/running-kernel" "$1/fs/etc/resolv.conf" "$1/fs/var/cache/apt"
	return $rc
}

bare_layer() { step "readme: ${BARE_LINE##*$'\t'}" make_bare_layer "$1"; }

# bare_segment LINE...: run the commands, and lay their changes on top. DKMS is an alternative to
# the installation before it, so start again without that.
bare_segment() {
	local upper heading
	[ $# -gt 0 ] || return 0
	IFS=$'\t' read -r _ heading _ <<<"$1"
	upper=$(mktemp -d "$LAB_RUN/bare.XXXXXX")
	mkdir "$upper/fs"
	if [ "$heading" = DKMS ]; then
		BARE_LAYERS=$BARE_APT bare_mount "$upper/fs" || return 1
	else
		bare_mount "$upper/fs" || return 1
	fi
	if [ ! -e "$LAB_MNT/home/reader/peerbar/configure.ac" ]; then
		tar -C "$LAB_CACHE/$(tree_name)/src" --null --no-recursion --ignore-failed-read -T "$LAB_CACHE/$(tree_name)/files" -c |
			tar -C "$LAB_MNT/home/reader/peerbar" -x
		chown -R 1000:1000 "$LAB_MNT/home/reader/peerbar"
	fi
	# The build directory in kernel/README.md, and the version in its example.
	ln -sfn "/lib/modules/$KABI/build" "$LAB_MNT/usr/src/linux"
	bare_commands "${@//KVER=7.3.4+deb13-amd64/KVER=$KABI}" || BARE_RC=1
	root_umount
	[ "$heading" = DKMS ] || BARE_LAYERS=$upper/fs${BARE_LAYERS:+:$BARE_LAYERS}
}

# Without libibverbs, the library, the command and the unit tests must still be built.
test_without_verbs() {
	# shellcheck disable=SC2016
	root_exec setpriv --reuid=1000 --regid=1000 --clear-groups sh -c '
		cp -r /home/reader/peerbar /tmp/other && cd /tmp/other && mkdir pc &&
		cp $(find /usr/lib/x86_64-linux-gnu/pkgconfig /usr/share/pkgconfig -name "*.pc" ! -name "libibverbs.pc" ! -name "librdmacm.pc") pc/ &&
		rm -f config.status && PKG_CONFIG_LIBDIR=$PWD/pc ./configure >log 2>&1 || { tail -n 20 log; exit 1; }
		grep -q "libpeerbar-verbs is not built" log && grep -q "tests in the machine are not built" log &&
		make -n check | grep -q tests/unit/unit'
}

# check_readme_root LIST: run the commands that build and install
check_readme_root() {
	local line command key lines=()
	BARE=readme-$(key "$LAB_SUITE" "$(declare -f make_bare)" "$LAB_VM/reader")
	BARE_LAYERS='' BARE_APT='' BARE_RC=0
	cached "$BARE" make_bare || return 1
	key=$BARE
	while IFS= read -r line; do
		command=${line##*$'\t'}
		case ${command#sudo } in
		apt-get\ *)
			bare_segment "${lines[@]}" || return 1
			lines=()
			key=$(key "$key" "$command" "$KABI" "$(declare -f make_bare_layer bare_mount)")
			BARE_LINE=$line
			# The entry must not have the changes of other commands.
			BARE_LAYERS=$BARE_APT cached "readme-$key" bare_layer || return 1
			BARE_APT=$LAB_CACHE/readme-$key/fs${BARE_APT:+:$BARE_APT}
			BARE_LAYERS=$LAB_CACHE/readme-$key/fs${BARE_LAYERS:+:$BARE_LAYERS}
			printf 'ok      %-24s        %s\n# PASS: 1\n' "${line%%$'\t'*}" "$command"
			;;
		*) lines+=("$line") ;;
		esac
	done < <(awk -F'\t' '$3 == "root"' "$1")
	bare_segment "${lines[@]}" && bare_mount || return 1
	if test_without_verbs; then
		printf 'ok      configure without libibverbs\n# PASS: 1\n'
	else
		printf 'FAILED  configure without libibverbs\n# FAIL: 1\n'
		BARE_RC=1
	fi
	root_umount
	return $BARE_RC
}

# check_readme: run the demo and all commands; the machine and the builds run concurrently
check_readme() {
	local list=$LAB_RUN/share/doc-commands.list root rc=0
	mkdir -p "$LAB_RUN/share"
	"$LAB_VM/doc-commands" list "$LAB_CACHE/$(tree_name)/src" >"$list" || return 1
	cp "$LAB_CACHE/$(tree_name)/src"/{README.md,docs/demo.md} "$LAB_RUN/share/" || return 1
	check_readme_root "$list" >"$LAB_RUN/readme-root" 2>&1 &
	root=$!
	lab_script_check readme 1200 || rc=1
	wait $root || rc=1
	cat "$LAB_RUN/readme-root"
	return $rc
}
