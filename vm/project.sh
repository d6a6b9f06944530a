# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
# shellcheck shell=bash
#
# Other projects in the lab: the options of 'run' and 'shell' that take a project's directories, packages and build. docs/ci.md
# describes them.
#
#	packages-KEY/fs		what --packages installs, laid over the root, in the build and in the guest
#	tmp.ID.project/fs	what --build changes in the root, laid over that in the guest
#	tmp.ID.project/N	what --build changes in the Nth directory, if that is mounted read-only
#
# MOUNTS is an array of "DIR:NAME:MODE", LAB_ENV one of NAME=VALUE.

# add_mount DIR[:NAME][:ro|:rw]: an option's argument
add_mount() {
	local dir=$1 name='' mode=ro
	case $dir in
	*:rw | *:ro) mode=${dir##*:} dir=${dir%:*} ;;
	esac
	case $dir in
	*:*) name=${dir##*:} dir=${dir%:*} ;;
	esac
	[ -d "$dir" ] || die "--mount: there is no directory '$dir'"
	dir=$(cd "$dir" && pwd -P)
	name=${name:-$(basename "$dir")}
	case $name in *[!a-zA-Z0-9._-]* | .* | '') die "--mount: '$name' cannot be the name of a directory in the machine; name one: --mount DIR:NAME" ;; esac
	case $LAB_CACHE/ in "${dir%/}"/*) die "--mount: '$dir' contains the caches ($LAB_CACHE), and an overlay cannot: set XDG_CACHE_HOME to another place" ;; esac
	case $dir in *:*) die "--mount: the path '$dir' has a colon, which an overlay cannot have" ;; esac
	case " ${MOUNTS[*]} " in *":$name:"*) die "--mount: two directories have the name '$name'; name one: --mount DIR:NAME" ;; esac
	MOUNTS+=("$dir:$name:$mode")
}

# add_env NAME=VALUE
add_env() {
	[[ $1 =~ ^[a-zA-Z_][a-zA-Z0-9_]*= ]] || die "--env takes NAME=VALUE, not '$1'"
	LAB_ENV+=("$1")
}

# ---- packages

# make_packages TMP: install EXTRA_PACKAGES in the root, and keep the changes
make_packages() {
	local tmp=$1 rc=0 apt
	LAB_LAYERS='' root_mount "$tmp/fs" || return 1
	apt=$LAB_MNT/run/lab-apt
	mkdir -p "$apt"
	{ apt_sources >"$apt/sources.list" && apt_options >"$apt/apt.conf"; } || rc=1
	cat >>"$apt/apt.conf" <<-'END_OF_CONF'
	Dir::Etc::sourcelist "/run/lab-apt/sources.list";
	Dir::Etc::sourceparts "/dev/null";
	APT::Sandbox::User "root";
	APT::Install-Recommends "false";
	Acquire::Languages "none";
	END_OF_CONF
	cp /etc/resolv.conf /etc/hosts "$LAB_MNT/etc/"
	# No service may start.
	printf '#!/bin/sh\nexit 101\n' >"$LAB_MNT/usr/sbin/policy-rc.d"
	chmod 755 "$LAB_MNT/usr/sbin/policy-rc.d"
	# shellcheck disable=SC2086 # several packages
	[ $rc != 0 ] || { root_exec env APT_CONFIG=/run/lab-apt/apt.conf apt-get update &&
		root_exec env APT_CONFIG=/run/lab-apt/apt.conf DEBIAN_FRONTEND=noninteractive \
			apt-get install --assume-yes --no-install-recommends $EXTRA_PACKAGES; } || rc=1
	rm -rf "$apt" "$LAB_MNT"/usr/sbin/policy-rc.d "$LAB_MNT"/var/cache/apt/* "$LAB_MNT"/var/lib/apt/lists/* "$LAB_MNT"/etc/resolv.conf
	root_umount
	rm -rf "$tmp/fs.work" "$tmp/fs/peerbar"
	return $rc
}

packages_step() { step "packages: fetching and unpacking $EXTRA_PACKAGES" make_packages "$1"; }

# packages_ready PACKAGE...: set PACKAGES_LAYER
packages_ready() {
	local name
	# Sorted, so that the order makes no difference.
	EXTRA_PACKAGES=$(printf '%s\n' "$@" | sort -u | paste -sd' ')
	name=packages-$(key "$LAB_ROOT" "$EXTRA_PACKAGES" "$(declare -f make_packages)")
	cached "$name" packages_step || return 1
	PACKAGES_LAYER=$LAB_CACHE/$name/fs
}

# ---- directories

# mount_directory N TARGET [built]: mount the Nth directory. What a build changes in a read-only one is kept apart from it, until the
# lab ends. After the build several hosts mount it, for reading.
mount_directory() {
	local dir name mode changes=$LAB_CACHE/tmp.$LAB_ID.project/$1
	IFS=: read -r dir name mode <<<"${MOUNTS[$1]}"
	mkdir -p "$2"
	if [ "$mode" = rw ] || [ -z "$LAB_PROJECT_BUILD" ]; then
		mount --rbind "$dir" "$2"
	else
		mkdir -p "$changes/upper" "$changes/work"
		if [ -n "${3:-}" ]; then mount -t overlay -o "lowerdir=$changes/upper:$dir" overlay "$2"; return; fi
		mount -t overlay -o "lowerdir=$dir,upperdir=$changes/upper,workdir=$changes/work" overlay "$2"
	fi
}

# guest_directories: for guest_run(): mount the directories below $LAB_MNT/lab/mount, list them for the guest, and set DIRECTORY_ARGS,
# QEMU's options
guest_directories() {
	local i name mode write cache
	DIRECTORY_ARGS=()
	: >"$LAB_RUN/share/mounts"
	for i in "${!MOUNTS[@]}"; do
		IFS=: read -r _ name mode <<<"${MOUNTS[i]}"
		write='' cache=none
		if [ "$mode" = ro ]; then write=,readonly=on cache=loose,ro; fi
		mount_directory "$i" "$LAB_MNT/lab/mount/$i" built || return 1
		DIRECTORY_ARGS+=(-virtfs "local,path=/lab/mount/$i,mount_tag=mount$i,security_model=none,multidevs=remap$write")
		echo "mount$i /mnt/$name cache=$cache" >>"$LAB_RUN/share/mounts"
	done
}

# directory NUMBER: where the machine has it
directory() { local name; IFS=: read -r _ name _ <<<"${MOUNTS[$1]}"; echo "/mnt/$name"; }

# project_settings: the guest's environment, for a shell to read
project_settings() {
	local variable
	[ ${#MOUNTS[@]} = 0 ] || printf 'LAB_CWD=%q\n' "$(directory 0)"
	[ -z "$LAB_STDIN" ] || echo 'LAB_INPUT=/lab/stdin'
	[ -z "$LAB_ARTIFACTS" ] || echo 'export LAB_ARTIFACTS=/lab/artifacts'
	for variable in "${LAB_ENV[@]}"; do printf 'export %s=%q\n' "${variable%%=*}" "${variable#*=}"; done
}

# ---- building, and results

# build_project: run --build in the root with all layers, in the first directory
build_project() {
	local i rc=0 changes=$LAB_CACHE/tmp.$LAB_ID.project
	rm -rf --one-file-system "$changes"
	mkdir -p "$changes"
	LAB_LAYERS=${LAB_LAYER:+$LAB_LAYER:}$LAB_STAGE root_mount "$changes/fs" || return 2
	for i in "${!MOUNTS[@]}"; do mount_directory "$i" "$LAB_MNT$(directory "$i")" || return 2; done
	say "building the project: $LAB_PROJECT_BUILD"
	# shellcheck disable=SC2016 # bash expands it
	root_exec env "${LAB_ENV[@]}" timeout -k 5 "${LAB_LIMIT:-3600}" bash -c 'cd "$1" && eval "$2"' build \
		"$([ ${#MOUNTS[@]} = 0 ] && echo /root || directory 0)" "$LAB_PROJECT_BUILD" </dev/null >&2 || rc=$?
	root_umount
	rm -rf "$changes/fs/peerbar"
	LAB_LAYER=$changes/fs${LAB_LAYER:+:$LAB_LAYER}
	[ $rc = 0 ] || warn "the build of the project ended with status $rc: $LAB_PROJECT_BUILD"
	return $rc
}

# project_ready: after tree_ready: the layers of --packages and --build, and the standard input. Fails with the status of the build.
project_ready() {
	mkdir -p "$LAB_RUN/share"
	if [ -n "$LAB_PACKAGES" ]; then
		# shellcheck disable=SC2086 # several packages
		packages_ready $LAB_PACKAGES || return 2
		LAB_LAYER=$PACKAGES_LAYER${LAB_LAYER:+:$LAB_LAYER}
	fi
	if [ -n "$LAB_PROJECT_BUILD" ]; then build_project || return; fi
	if [ -n "$LAB_STDIN" ]; then cat >"$LAB_RUN/share/stdin"; fi
	if [ -n "$LAB_ARTIFACTS" ]; then mkdir -p "$LAB_RUN/share/artifacts"; fi
}

# project_artifacts: copy what the command left in $LAB_ARTIFACTS
project_artifacts() {
	[ -n "$LAB_ARTIFACTS" ] || return 0
	mkdir -p "$LAB_ARTIFACTS" && cp -r "$LAB_RUN/share/artifacts/." "$LAB_ARTIFACTS/" &&
		{ [ -z "${SUDO_UID:-}" ] || chown -R "$SUDO_UID:${SUDO_GID:-$SUDO_UID}" "$LAB_ARTIFACTS"; }
}

xml_text() { tr -d '\000-\010\013\014\016-\037' | sed 's/&/\&amp;/g; s/</\&lt;/g; s/>/\&gt;/g; s/"/\&quot;/g'; }

# junit_case NAME SECONDS FAILURE [FILE]: a test case of write_junit(); FAILURE is empty if it passed, FILE has more about it
junit_case() {
	printf '  <testcase classname="lab.run" name="%s" time="%d">\n' "$(xml_text <<<"$1")" "$2"
	if [ -n "$3" ]; then
		printf '    <failure message="%s">' "$(xml_text <<<"$3")"
		[ -z "${4:-}" ] || tail -n 200 "$4" 2>/dev/null | xml_text
		printf '</failure>\n'
	fi
	printf '  </testcase>\n'
}

# write_junit BUILD COMMAND REPORTS FAULTS -- WORD...: write LAB_JUNIT: the statuses of the build and of the command (empty if they did
# not run), of the kernel's reports, and a sentence about the faults or nothing
write_junit() {
	local build=$1 command=$2 reports=$3 faults=$4 failed
	shift 5
	[ -n "$LAB_JUNIT" ] || return 0
	failed() { [ "${1:-0}" = 0 ] || echo "$2 ended with status $1"; }
	mkdir -p "$(dirname "$LAB_JUNIT")" || return 1
	{
		[ -z "$build" ] || junit_case "$LAB_PROJECT_BUILD" 0 "$(failed "$build" 'the build')"
		if [ -n "$command" ]; then
			cat "$LAB_RUN/share/stdout" "$LAB_RUN/share/stderr" >"$LAB_RUN/said"
			junit_case "$*" "${GUEST_SECONDS:-0}" "$(failed "$command" 'the command')" "$LAB_RUN/said"
			junit_case 'reports of the kernel' 0 "$([ "$reports" = 0 ] || echo "the guest's kernel reported something")" "$LAB_RUN/reports"
			junit_case 'IOMMU faults' 0 "$faults" "$LAB_RUN/share/iommu-faults"
		fi
	} >"$LAB_RUN/cases"
	{
		echo '<?xml version="1.0" encoding="UTF-8"?>'
		printf '<testsuite name="lab" tests="%d" failures="%d">\n' "$(grep -c '<testcase' "$LAB_RUN/cases")" "$(grep -c '<failure' "$LAB_RUN/cases")"
		cat "$LAB_RUN/cases"
		echo '</testsuite>'
	} >"$LAB_JUNIT" && { [ -z "${SUDO_UID:-}" ] || chown "$SUDO_UID:${SUDO_GID:-$SUDO_UID}" "$LAB_JUNIT"; }
}
