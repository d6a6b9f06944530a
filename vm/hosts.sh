# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
# shellcheck shell=bash
#
# ./lab run --hosts N: machines side by side. Each has its own devices, run directory and logs. The NICs of all are on one
# network: the hub of each host's NICs is connected to that of host 1.
#
#	hostN			LAB_RUN of host N
#	hostN/settings		its kernel
#	hostN/ended		the status of its command; 125 if the machine did not finish
#	hostN/stopped		why it was stopped
#	hosts			/lab/hosts of all: files of vm/barrier, and ended.N when host N has ended
#	network			the sockets of host 1's hub

# Seconds that the other hosts have to end when one has failed.
LAB_GRACE=${LAB_GRACE:-30}

# host_kernel N: the Nth kernel of --kernel, or its last one
host_kernel() {
	local kernels
	IFS=, read -ra kernels <<<"$LAB_KERNEL"
	echo "${kernels[$1 - 1]:-${kernels[-1]}}"
}

# prepare_hosts: prepare each host's kernel, and note which it is
prepare_hosts() {
	local n
	for ((n = 1; n <= LAB_HOSTS; n++)); do
		LAB_KERNEL=$(host_kernel $n) prepare || return
		mkdir -p "$LAB_RUN/host$n/share"
		declare -p KV KNAME KINITRD KFLAVOUR LAB_MODULES >"$LAB_RUN/host$n/settings"
	done
}

# network_options: QEMU's options, one a line, that connect this host's hub with host 1's
network_options() {
	local n
	[ "$LAB_HOSTS" -gt 1 ] || return 0
	if [ "$LAB_HOST" = 1 ]; then
		for ((n = 2; n <= LAB_HOSTS; n++)); do
			printf '%s\n' -netdev "stream,id=host$n,server=on,addr.type=unix,addr.path=/lab/network/$n" \
				-netdev "hubport,id=to-host$n,hubid=0,netdev=host$n"
		done
	else
		printf '%s\n' -netdev "stream,id=host1,server=off,addr.type=unix,addr.path=/lab/network/$LAB_HOST,reconnect-ms=100" \
			-netdev hubport,id=to-host1,hubid=0,netdev=host1
	fi
}

# host_run N COMMAND...: run the command in host N, and check the host's reports and faults
host_run() {
	local rc=0
	LAB_HOST=$1 LAB_RUN=$LAB_RUN/host$1 LAB_LOGS=$LAB_LOGS/host$1
	shift
	. "$LAB_RUN/settings"
	mkdir -p "$LAB_LOGS"
	guest "$@" || rc=$?
	guest_reports || : >"$LAB_RUN/reported"
	faults_announced
	echo "$rc" >"$LAB_RUN/../hosts/ended.$LAB_HOST"
	echo "$rc" >"$LAB_RUN/ended"
}

# host_start N COMMAND...: run host N in the background, with its name before each line of its output; its process is
# HOST_PIDS[N]
host_start() {
	local dir=$LAB_RUN/host$1
	[ ! -f "$LAB_RUN/share/stdin" ] || cp "$LAB_RUN/share/stdin" "$dir/share/"
	[ -z "$LAB_ARTIFACTS" ] || mkdir -p "$dir/share/artifacts"
	mkfifo "$dir/stdout" "$dir/stderr"
	sed -u "s/^/host$1: /" <"$dir/stdout" &
	HOST_OUTPUT+=($!)
	sed -u "s/^/host$1: /" <"$dir/stderr" >&2 &
	HOST_OUTPUT+=($!)
	host_run "$@" >"$dir/stdout" 2>"$dir/stderr" &
	HOST_PIDS[$1]=$!
}

# host_stop N REASON: end a host's machine, if it has started and not ended
host_stop() {
	[ -s "$LAB_RUN/host$1/qemu.pid" ] || return
	echo "$2" >"$LAB_RUN/host$1/stopped"
	kill "$(cat "$LAB_RUN/host$1/qemu.pid")"
}

# hosts_wait: wait for all hosts. Returns the status of the one that failed first. LAB_GRACE seconds after that, stop the
# others.
hosts_wait() {
	local rc=0 n status failed='' stop=''
	while [ ${#HOST_PIDS[@]} -gt 0 ]; do
		sleep 0.2
		for n in "${!HOST_PIDS[@]}"; do
			if [ -n "$stop" ] && [ "$SECONDS" -ge "$stop" ] && [ ! -e "$LAB_RUN/host$n/stopped" ]; then
				host_stop "$n" "host$failed had failed $LAB_GRACE s before"
			fi
			[ -s "$LAB_RUN/host$n/ended" ] || ! kill -0 "${HOST_PIDS[n]}" 2>/dev/null || continue
			wait "${HOST_PIDS[n]}"
			unset "HOST_PIDS[n]"
			status=$(cat "$LAB_RUN/host$n/ended" 2>/dev/null || echo 125)
			if [ "$status" != 0 ] && [ -z "$failed" ]; then rc=$status failed=$n stop=$((SECONDS + LAB_GRACE)); fi
		done
	done
	[ -z "$failed" ] || warn "host$failed was the first to fail, with status $rc"
	return "$rc"
}

# hosts_run COMMAND...: after prepare_hosts(): run the command in all hosts, and leave in the run directory what
# guest_run() leaves there for one. Sets REPORTS to 1 if a kernel reported something. Returns the status of the command
# that failed first.
hosts_run() {
	local rc=0 n file t0
	t0=$(date +%s)
	HOST_PIDS=() HOST_OUTPUT=()
	mkdir -p "$LAB_RUN/hosts" "$LAB_RUN/network" "$LAB_RUN/share"
	for ((n = 1; n <= LAB_HOSTS; n++)); do host_start $n "$@"; done
	hosts_wait || rc=$?
	wait "${HOST_OUTPUT[@]}"
	GUEST_SECONDS=$(($(date +%s) - t0)) REPORTS=0
	for file in share/stdout share/stderr share/iommu-faults share/expected-faults reports; do
		cat "$LAB_RUN"/host*/$file >"$LAB_RUN/$file" 2>/dev/null
	done
	for ((n = 1; n <= LAB_HOSTS; n++)); do
		[ ! -e "$LAB_RUN/host$n/reported" ] || REPORTS=1
		[ -z "$LAB_ARTIFACTS" ] || cp -r "$LAB_RUN/host$n/share/artifacts" "$LAB_RUN/share/artifacts/host$n" ||
			warn "the artifacts of host$n could not be copied"
	done
	return $rc
}
