# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
# shellcheck shell=bash
#
# Shared by all parts of the lab: messages, steps with progress, and caches that are either complete
# or absent.
#
# A cache entry is a directory $LAB_CACHE/NAME-KEY. It is created under another name,
# $LAB_CACHE/tmp.*, and renamed when it is complete, so that an entry with the final name is valid.
# The key is a hash of all its inputs.

LAB_CACHE=${LAB_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/peerbar}
LAB_START=${LAB_START:-$(date +%s)}

say() { printf '[%4ds] %s\n' $(($(date +%s) - LAB_START)) "$*" >&2; }
warn() { printf 'lab: %s\n' "$*" >&2; }
die() { warn "$*"; exit 2; }
have() { command -v "$1" >/dev/null 2>&1; }

# key FILE-OR-STRING...: twelve hexadecimal digits that depend on all arguments, and on the contents
# of files
key() {
	local a
	for a; do
		if [ -f "$a" ]; then cat "$a"; else printf '%s\n' "$a"; fi
	done | sha256sum | cut -c1-12
}

# take_logs: set LAB_LOGS, a log folder that no other lab writes to, and lock it until this lab ends
# (descriptor 6). A checkout has log-KEY; concurrent labs of one checkout take log-KEY.2, log-KEY.3,
# ... "log" is a link to the last one taken. A folder given by --logs is taken as it is.
take_logs() {
	local n=1
	if [ -n "${LAB_OWN_LOGS:-}" ]; then
		mkdir -p "$LAB_OWN_LOGS" && LAB_LOGS=$(cd "$LAB_OWN_LOGS" && pwd) || return 1
		export LAB_LOGS
		return
	fi
	LAB_LOGS=$LAB_CACHE/log-$(key "$LAB_TOP")
	while :; do
		mkdir -p "$LAB_LOGS" && exec 6>"$LAB_LOGS/lock" || return 1
		if flock -n 6; then break; fi
		n=$((n + 1))
		LAB_LOGS=$LAB_CACHE/log-$(key "$LAB_TOP").$n
	done
	# lab_sweep() checks this time.
	touch "$LAB_LOGS"
	export LAB_LOGS
	# Remove a folder of that name, from before each checkout had its own.
	[ -L "$LAB_CACHE/log" ] || rm -rf "$LAB_CACHE/log"
	ln -sfn "${LAB_LOGS##*/}" "$LAB_CACHE/log"
}

# step WHAT COMMAND...: run a long command with its output in a log and show its progress, the last
# line of the log. If it fails, show the end of the log.
step() {
	local what=$1 log pid t0 last shown='' rc=0 tick=0 next=15 now width
	shift
	mkdir -p "$LAB_LOGS"
	log=$LAB_LOGS/$(printf '%s' "$what" | tr -cs 'a-zA-Z0-9.' '-' | cut -c1-60).log
	t0=$(date +%s)
	say "$what"
	"$@" >"$log" 2>&1 </dev/null &
	pid=$!
	width=$((${COLUMNS:-100} - 20))
	while kill -0 "$pid" 2>/dev/null; do
		sleep 0.2
		tick=$((tick + 1))
		[ $((tick % 5)) = 0 ] || continue
		now=$(($(date +%s) - t0))
		last=$(tail -n 1 "$log" 2>/dev/null | tr -d '\000-\037' | cut -c1-"$width")
		if [ -t 2 ]; then
			printf '\r\033[K         %4ds %s' "$now" "$last" >&2
			shown=1
		elif [ "$now" -ge "$next" ]; then
			say "  … ${what%%[:(]*}, for $now s so far: $last"
			next=$((next * 2 > now + 60 ? now + 60 : next * 2))
		fi
	done
	[ -z "$shown" ] || printf '\r\033[K' >&2
	wait "$pid" || rc=$?
	if [ "$rc" != 0 ]; then
		warn "failed with status $rc: $what. The end of $log:"
		tail -n 40 "$log" | sed 's/^/    /' >&2
	fi
	return "$rc"
}

# in_parallel JOB...: run shell functions concurrently; fail if any fails
in_parallel() {
	local job pids=() rc=0
	for job; do "$job" & pids+=($!); done
	for job in "${pids[@]}"; do wait "$job" || rc=$?; done
	return $rc
}

# cached NAME-KEY MAKER: make sure the entry exists; MAKER DIR creates it. Concurrent labs wait for
# each other.
cached() {
	local entry=$LAB_CACHE/$1 tmp=$LAB_CACHE/tmp.$LAB_ID.$1 maker=$2
	if [ -d "$entry" ]; then
		touch "$entry" # for lab_sweep to see that it is used
		return 0
	fi
	mkdir -p "$LAB_CACHE"
	(
		if ! flock -n 8; then
			say "waiting until $1 is there, which is in the making"
			flock 8
		fi
		[ ! -d "$entry" ] || exit 0
		rm -rf --one-file-system "$tmp"
		mkdir "$tmp"
		"$maker" "$tmp" || { rc=$?; rm -rf --one-file-system "$tmp"; exit "$rc"; }
		sync -f "$tmp"
		mv -T "$tmp" "$entry"
	) 8>"$LAB_CACHE/lock.$1"
}
