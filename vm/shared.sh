# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
# shellcheck shell=bash
#
# Groups of a check that run a script in the guest: in a machine of their own, or several in one, by
# vm/groups. Each group of a shared machine has its own count, output, log folder, part of the
# kernel's log, and IOMMU faults, of which they expect none.

# script_verdict STATUS NAME: copy the script's TAP output, and fail for the kernel's reports and for
# unannounced faults, too
script_verdict() {
	local rc=$1
	cp "$LAB_RUN/share/$2.tap" "$LAB_LOGS/" 2>/dev/null
	guest_reports || rc=1
	guest_faults
	[ "$FAULTS" = "$EXPECTED" ] || { warn "the IOMMU reported $FAULTS faults where $EXPECTED were expected"; rc=1; }
	return "$rc"
}

# lab_script_check SCRIPT SECONDS [ARGUMENT...]: run a script of vm/, which prints its totals and
# writes SCRIPT.tap, in a machine of its own
lab_script_check() {
	local rc=0
	LAB_LIMIT=${LAB_LIMIT:-$2}
	layer_ready "/lab/vm-$1" || return 2
	guest "/lab/vm-$1" "${@:3}" || rc=$?
	script_verdict $rc "$1"
}

# shared_groups SECONDS GROUP...: run these groups in one machine, in this order. A GROUP is the name
# of a script of vm/ with its arguments.
shared_groups() {
	local limit=$1 group begun=0
	shift
	SHARED=$LAB_RUN/shared
	mkdir -p "$SHARED"
	(
		LAB_RUN=$SHARED LAB_LOGS=$LAB_LOGS/shared LAB_LIMIT=${LAB_LIMIT:-$limit}
		mkdir -p "$LAB_LOGS"
		guest /lab/vm-groups "$@" >"$SHARED/said" 2>&1
		echo $? >"$SHARED/ended"
	) &
	SHARED_PID=$!
	for group; do
		group "${group%% *}" check_shared "${group%% *}" $begun "$([ "$group" = "${*: -1}" ] && echo last)"
		begun=1
	done
	wait $SHARED_PID
	rm -rf "$SHARED"
}

# shared_over: whether the machine has ended, also if its process was killed
shared_over() { [ -e "$SHARED/ended" ] || ! kill -0 "$SHARED_PID" 2>/dev/null; }

# check_shared NAME BEGUN LAST: wait for a group of the shared machine, print its output meanwhile,
# and check its part of the machine's logs. BEGUN is 1 unless it is the first. LAST is "last" for
# the last one, whose part includes the end of the machine.
check_shared() {
	local name=$1 begun=$2 last=$3 from=$SHARED/share rc done='' shown=0 size before=0 after=''
	until [ -n "$done" ]; do
		if shared_over || { [ -z "$last" ] && [ -s "$from/$name.status" ]; }; then done=1; fi
		size=$(stat -c %s "$from/$name.out" 2>/dev/null) || size=0
		tail -c +$((shown + 1)) "$from/$name.out" 2>/dev/null | head -c $((size - shown))
		shown=$size
		[ -n "$done" ] || sleep 1
	done
	if [ ! -s "$from/$name.status" ] || { [ -n "$last" ] && [ "$(cat "$SHARED/ended" 2>/dev/null)" = 125 ]; }; then
		warn "the machine that $name shares with other groups did not finish; it said:"
		tail -n 30 "$SHARED/said"
		rc=125
	else
		rc=$(cat "$from/$name.status")
	fi
	# The part of the log from this group's begin to the next one's. The boot is the first's.
	mkdir -p "$LAB_RUN/share"
	awk -v name="$name" -v mine=$((!begun)) '/lab: [a-z-]+ begins/ { mine = index($0, "lab: " name " begins") } mine' \
		"$from/kernel.log" >"$LAB_RUN/share/kernel.log"
	[ "$begun" = 0 ] || before=$(cat "$SHARED/faults" 2>/dev/null || echo 0)
	[ -n "$last" ] || after=$(cat "$from/$name.faults" 2>/dev/null) || after=''
	awk -v from="$before" -v to="$after" '/vtd_dmar_fault/ && ++n > from && (to == "" || n <= to)' "$from/iommu-faults" \
		>"$LAB_RUN/share/iommu-faults"
	echo "${after:-0}" >"$SHARED/faults"
	: >"$LAB_RUN/share/expected-faults"
	cp "$from/$name.tap" "$LAB_RUN/share/" 2>/dev/null
	[ -z "$last" ] || cp "$from/kmemleak" "$LAB_RUN/share/" 2>/dev/null
	cp "$LAB_RUN"/share/{kernel.log,iommu-faults} "$LAB_LOGS/"
	script_verdict "$rc" "$name"
}
