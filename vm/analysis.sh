# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
# shellcheck shell=bash
#
# The group 'analysis' of ./lab check: static analysis of the libraries and the command by gcc and
# cppcheck. sparse looks at the modules, in the group 'modules'. vm/analyzer.suppressions and
# vm/cppcheck.suppressions list what must not be reported, with the reasons.

# The libraries and the command, without tests and programs of the checks.
ANALYZED='libcore.la libverbscore.la libpeerbar-rdma.la libpeerbar-run.la tools/peerbar'

# analyzer_warnings FILE: print the warnings of gcc's output that are not suppressed
analyzer_warnings() {
	local path rule file line known
	sed -n -E 's/^\/src\/([^:]*):([0-9]+):[0-9]+: warning: .*\[-Wanalyzer-([a-z-]*)\]$/\1 \2 \3/p' "$1" | sort -u | while read -r file line rule; do
		while read -r path known _; do
			# shellcheck disable=SC2053 # a pattern
			[[ $rule != "$known" || $file != $path ]] || continue 2
		done < <(grep -v '^#' /peerbar/vm/analyzer.suppressions)
		echo "$file:$line: $rule"
	done
}

# run_analyzer: build in /analysis. make repeats only what changed, so build all again after a
# warning.
run_analyzer() {
	local found
	build_tree /analysis "$ANALYZED" CFLAGS='-O1 -fanalyzer -Wno-error' >/analysis/log 2>&1 || { tail -n 30 /analysis/log; rm -rf /analysis/*; return 1; }
	found=$(analyzer_warnings /analysis/log)
	[ -z "$found" ] || { cat /analysis/log; echo "$found"; rm -rf /analysis/*; return 1; }
}

run_cppcheck() {
	cd /src && cppcheck --quiet --error-exitcode=1 --enable=warning,performance,portability --std=c11 --platform=unix64 \
		--library=posix,gnu -D__GNUC__ -D_GNU_SOURCE -DBINDIR=\"\" --include=/usr/include/x86_64-linux-gnu/sys/queue.h \
		-Ilib -Iiommufd -Irdma/verbs -Irdma/provider -Itools -Ikernel/include/uapi --suppress=missingIncludeSystem \
		--suppressions-list=/peerbar/vm/cppcheck.suppressions --template='{file}:{line}: {id}: {message}' lib iommufd rdma tools
}

check_analysis() {
	local t good=0 bad=0 dir
	dir=$LAB_CACHE/$(tree_name)/analysis
	mkdir -p "$dir"
	tree_mount && root_bind "$dir" /analysis || return 2
	for t in analyzer cppcheck; do
		if root_call run_$t >"$LAB_LOGS/$t.log" 2>&1; then
			echo "analysis: $t: clean"
			good=$((good + 1))
		else
			grep -E '^[a-z/-]+\.[ch]:' "$LAB_LOGS/$t.log" || tail -n 30 "$LAB_LOGS/$t.log"
			echo "analysis: $t: FAILED"
			bad=$((bad + 1))
		fi
	done
	root_umount
	# For group(), which sums them up.
	printf '# PASS: %d\n# FAIL: %d\n' $good $bad
	return $((bad != 0))
}
