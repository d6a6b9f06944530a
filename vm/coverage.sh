# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
# shellcheck shell=bash
#
# ./lab check --coverage: how many lines and branches the tests execute (vm/coverage prints the
# table). Of the libraries and the command with any kernel; of the modules with --kernel gcov, which
# has CONFIG_GCOV_KERNEL.
#
#	tree-KEY/coverage	a build with --coverage, which is mounted as /build
#	tree-KEY/cover-stage	its files of 'make install'
#
# Each program adds its counters to files (.gcda) when it exits: in the root to those beside the
# objects, in the machine to /tmp/gcov, which is copied to the share. vm/guest copies the modules'.

# coverage_mount: tree_mount() with the build and the stage of the coverage
coverage_mount() {
	local dir
	dir=$LAB_CACHE/$(tree_name)
	mkdir -p "$dir"/{coverage,cover-stage}
	root_mount && root_bind "$dir/src" /src && root_bind "$dir/coverage" /build && root_bind "$dir/cover-stage" /stage
}

# build_covered: runs inside the root. Processes share the counters, hence atomic.
build_covered() {
	find /build -name '*.gcda' -delete
	build_tree /build '' CFLAGS='-O0 -g --coverage -fprofile-update=atomic' && install_tree
}

# run_covered_units: the tests of 'make check' that execute the libraries; runs inside the root
run_covered_units() { /build/tests/unit/unit; /build/tests/unit/unit-verbs; /build/tests/unit/unit-provider; }

# run_coverage MODULES: print the table; runs inside the root. The machine's counters are in
# /share/gcov, with the absolute path of each object.
run_coverage() {
	local builds=(/build=/build /build=/share/gcov/build)
	[ -z "$1" ] || builds+=(/modules/objects=/share/gcov/modules/objects)
	/peerbar/vm/coverage /src /logs "${builds[@]}"
}

# The suites, and if these are all, before them the scripts that run the modules, the provider and 'peerbar run' most:
# nvme-rdma needs disks that no suite has bound. Failures do not end it: what was executed was executed.
covered_commands() {
	cat <<-'END'
	umask 0
	export GCOV_PREFIX=/tmp/gcov CK_FORK=yes CK_TIMEOUT_MULTIPLIER=4 LAB_STEPS=1000
	rc=0
	if [ -z "$1" ]; then
		/lab/vm-nvme-rdma || rc=1
		/lab/vm-rdma-tools || rc=1
		/lab/vm-unload || rc=1
		/lab/vm-pyverbs pb0 || rc=1
		/lab/vm-unload || rc=1
		/lab/vm-perftest run || rc=1
		# Suites expect a machine that has just booted.
		/lab/vm-unload || rc=1
	fi
	for suite; do /build/tests/lab/lab-check "$suite" || rc=1; done
	[ ! -d /tmp/gcov ] || { mkdir -p /lab/gcov && cp -r /tmp/gcov/. /lab/gcov/; }
	exit $rc
	END
}

lab_coverage() {
	local rc=0 modules='' dir suites=("$LAB_ONLY")
	dir=$LAB_CACHE/$(tree_name)
	[ "$KFLAVOUR" != gcov ] || modules=1
	LAB_LIMIT=${LAB_LIMIT:-5400}
	# Other labs share the tree.
	flock 7
	coverage_mount && step 'building the tree with --coverage' root_call build_covered || return 2
	root_call run_covered_units || rc=1
	root_umount
	LAB_BUILD=$dir/coverage LAB_STAGE=$dir/cover-stage
	[ -z "$LAB_QUICK" ] || read -ra suites <<<"$QUICK_SUITES"
	guest bash -c "$(covered_commands)" covered "${suites[@]}" || rc=1
	guest_reports || rc=1
	coverage_mount && root_bind "$LAB_RUN/share" /share && root_bind "$LAB_LOGS" /logs || return 2
	[ -z "$modules" ] || root_bind "$(modules_dir)/objects" /modules/objects || return 2
	root_call run_coverage "$modules" || return 1
	root_umount
	say "coverage: $LAB_LOGS/coverage.md, and coverage-lines.txt with the lines that were not executed"
	[ $rc = 0 ] || warn 'a test failed, see above; the table has what it executed until then'
	return $rc
}
