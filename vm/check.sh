# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
# shellcheck shell=bash
#
# ./lab check. Each group prints the number of checks that passed and failed; the last line has the
# sums. Groups that share an object, e.g. the build directory, form a chain and run one after the
# other. --jobs chains run at a time, because a machine leaves a CPU idle for much of its time. Each
# group has a run directory and a log folder of its own.

# counts_of FILE STATUS: "PASSED FAILED" of a group, from the totals of the test runners in its
# output
counts_of() {
	local counts
	counts=$(awk '
		# Check: "95%: Checks: 20, Failures: 1, Errors: 0"
		/^[0-9]+%: Checks: [0-9]+, Failures: [0-9]+, Errors: [0-9]+/ {
			gsub(/,/, ""); checks += $3; bad += $5 + $7; n++
		}
		# automake: "# PASS:  3"
		/^# PASS: / { checks += $3; n++ }
		/^# (FAIL|ERROR|XPASS): / { checks += $3; bad += $3 }
		END { if (n) print checks - bad, bad + 0 }' "$1")
	if [ -z "$counts" ]; then
		# A group without a test runner counts as one check.
		if [ "$2" = 0 ]; then counts='1 0'; else counts='0 1'; fi
	elif [ "$2" != 0 ] && [ "${counts#* }" = 0 ]; then
		# All of the runner's checks passed, but another command failed.
		counts="${counts% *} 1"
	fi
	echo "$counts"
}

# The groups of ./lab check --quick, and of the suites in the machine those that find most for
# their time.
QUICK_GROUPS='style unit machine'
QUICK_SUITES='export map mmap model events late limits teardown fuzz rdma-memory'

# selected NAME...: whether --only and --quick select one of these groups
selected() {
	local name
	for name; do
		if [ -n "$LAB_QUICK" ] && [[ " $QUICK_GROUPS " != *" $name "* ]]; then continue; fi
		[[ $name != *$LAB_ONLY* ]] || return 0
	done
	return 1
}

# group NAME COMMAND...: run it, show its output, and write its totals to $CHECK/NAME. If other
# groups run at the same time, show the output when the group has ended.
group() {
	local name=$1 out=$CHECK/$1.out rc=0 t0 counts
	selected "$name" || return 0
	shift
	t0=$(date +%s)
	say "check: $name"
	# The time of the processor, which does not depend on other groups.
	local TIMEFORMAT='%U %S'
	if [ "$CHECK_JOBS" = 1 ]; then
		{ time run_group "$name" "$@" 2>&1; } 2>"$out.cpu" | tee "$out"
		rc=${PIPESTATUS[0]}
	else
		{ time run_group "$name" "$@" >"$out" 2>&1; } 2>"$out.cpu" || rc=$?
	fi
	counts=$(counts_of "$out" "$rc")
	echo "$counts $rc $(($(date +%s) - t0)) $(awk 'NF == 2 { n = $1 + $2 } END { printf "%d", n }' "$out.cpu")" >"$CHECK/$name"
	(
		flock 6
		[ "$CHECK_JOBS" = 1 ] || { say "check: the output of $name:" && cat "$out"; }
		say "check: $name: ${counts% *} passed, ${counts#* } failed, in $(($(date +%s) - t0)) s"
	) 6>"$CHECK/print.lock"
}

# run_group NAME COMMAND...: run it in a subshell
run_group() (
	LAB_RUN=$LAB_RUN/$1 LAB_LOGS=$LAB_LOGS/$1
	rm -rf "$LAB_LOGS"
	mkdir -p "$LAB_RUN" "$LAB_LOGS"
	"${@:2}"
)

# run_chains CHAIN...: run at most $CHECK_JOBS at a time; once a minute show their progress
run_chains() {
	local chain
	rm -f "$LAB_LOGS/idle"
	for chain; do
		if [ "$CHECK_JOBS" = 1 ]; then run_chain "$chain"; continue; fi
		while [ "$(jobs -rp | wc -l)" -ge "$CHECK_JOBS" ]; do chains_alive; done
		run_chain "$chain" &
	done
	while [ -n "$(jobs -rp)" ]; do
		# For .ci/run, which can start the next check.
		[ "$(jobs -rp | wc -l)" -ge "$CHECK_JOBS" ] || : >"$LAB_LOGS/idle"
		chains_alive
	done
	wait
	# A chain whose process was killed leaves no result.
	for chain; do
		[ -f "$CHECK/$chain.ended" ] || { warn "$chain: did not end" && echo '0 1 1 0' >"$CHECK/$chain"; }
	done
}

# run_chain CHAIN: count a chain that cannot start as failed
run_chain() {
	"$1" || { warn "$1: ended with status $?" && echo '0 1 1 0' >"$CHECK/$1"; }
	: >"$CHECK/$1.ended"
}

chains_alive() {
	local out name
	sleep 1
	[ $(($(date +%s) - CHECK_SHOWN)) -ge 60 ] || return 0
	CHECK_SHOWN=$(date +%s)
	for out in "$CHECK"/*.out; do
		name=$(basename "$out" .out)
		[ -f "$CHECK/$name" ] || say "  … $name: $(tail -n 1 "$out" | tr -d '\000-\037' | cut -c1-100)"
	done
}

# The functions below run inside the root.
run_unit() {
	make -s -C /build check TESTS='tests/header-c++ tests/symbols tests/abi bench/test-report' || { cat /build/test-suite.log; return 1; }
	/build/tests/unit/unit && /build/tests/unit/unit-verbs && /build/tests/unit/unit-provider
}

run_sanitized() {
	export ASAN_OPTIONS=detect_leaks=1:abort_on_error=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
	/sanitize/tests/unit/unit && /sanitize/tests/unit/unit-verbs && /sanitize/tests/unit/unit-provider
}

run_valgrind() {
	local fd memcheck='valgrind --quiet --error-exitcode=99 --leak-check=full --show-leak-kinds=all --errors-for-leak-kinds=all'
	# Close the descriptors of the lab and of its parent.
	for fd in /proc/self/fd/*; do
		fd=${fd##*/}
		[ "$fd" -le 2 ] || eval "exec $fd>&-"
	done
	CK_FORK=no CK_RUN_CASE=all $memcheck --track-fds=yes /build/tests/unit/unit &&
		CK_FORK=no CK_RUN_CASE=descriptors $memcheck /build/tests/unit/unit && CK_FORK=no $memcheck --track-fds=yes /build/tests/unit/unit-verbs &&
		CK_FORK=no $memcheck --track-fds=yes /build/tests/unit/unit-provider
}

# Don't optimize: /build has the warnings of -O2, and this one checks what is in the tarball.
run_distcheck() {
	cd /build && make -s -j"$(nproc)" distcheck DISTCHECK_CONFIGURE_FLAGS='--enable-werror CFLAGS=-O0' >distcheck.log 2>&1 || { tail -n 40 distcheck.log; return 1; }
	rm -f peerbar-*.tar.xz
	echo 'make distcheck: the tarball builds, passes its tests, installs, uninstalls and cleans up'
}

run_install() {
	local d=/tmp/inst f
	make -s -C /build install DESTDIR=$d || return 1
	for f in bin/peerbar include/peerbar.h include/peerbar/{api,buffer,capabilities,device,error,guest,importers,ioas,pci,rdma-link,watch}.h lib/libpeerbar.so share/man/man1/peerbar.1 share/man/man3/libpeerbar.3 share/man/man3/pb_fd_importers.3 \
		share/bash-completion/completions/peerbar lib/python3/dist-packages/peerbar/py.typed lib/pkgconfig/libpeerbar.pc include/linux/peerbar.h \
		include/peerbar-verbs.h lib/libpeerbar-verbs.so lib/pkgconfig/libpeerbar-verbs.pc share/man/man3/libpeerbar-verbs.3 \
		lib/libpeerbar-rdma.so.1 include/infiniband/peerbardv.h lib/peerbar/libpeerbar-run.so; do
		[ -e "$d/usr/$f" ] || { echo "make install DESTDIR= installs no /usr/$f"; return 1; }
	done
	# The path in libibverbs' configuration, with the version's suffix.
	[ -e $d"$(sed -n 's/^driver //p' $d/etc/libibverbs.d/peerbar.driver)-rdmav$(sed -n 's/^set(IBVERBS_PABI_VERSION "\(.*\)").*/\1/p' \
		/usr/src/rdma-core/CMakeLists.txt).so" ] || { echo 'libibverbs is told to load a provider that is not there'; return 1; }
	# Each function must have a page of its own name.
	for f in $(sed -n 's/^\t\(pbv\?_[a-z_0-9]*\);$/\1/p' /src/lib/libpeerbar.map /src/rdma/verbs/libpeerbar-verbs.map) pb_pci_get pbv_cache_stats; do
		[ -s "$d/usr/share/man/man3/$f.3" ] || { echo "make install installs no page $f(3)"; return 1; }
		[ -s $d/usr/share/man/"$(sed -n 's/^\.so //p' "$d/usr/share/man/man3/$f.3" | grep . || echo "man3/$f.3")" ] ||
			{ echo "the page $f(3) leads to none"; return 1; }
	done
	# A program that finds the library with pkg-config, without development files of other
	# libraries.
	printf '#include <peerbar.h>\n#include <stdio.h>\nint main(void) { puts(pb_version()); return 0; }\n' >/tmp/user.c
	# shellcheck disable=SC2046 # options
	cc /tmp/user.c -o /tmp/user $(PKG_CONFIG_LIBDIR=$d/usr/lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$d \
		pkg-config --cflags --libs libpeerbar) || return 1
	[ "$(LD_LIBRARY_PATH=$d/usr/lib /tmp/user)" = "$(sed -n 's/^AC_INIT(\[peerbar\], \[\(.*\)\])/\1/p' /src/configure.ac)" ] ||
		{ echo 'the installed library does not run'; return 1; }
	PKG_CONFIG_LIBDIR=$d/usr/lib/pkgconfig pkg-config --static --libs libpeerbar-verbs | grep -q -e '-libverbs.*-lnl-genl-3' ||
		{ echo 'pkg-config --static does not say what a static program is linked with'; return 1; }
	printf '#include <peerbar-verbs.h>\nint main(void) { return pbv_cache_destroy(0, 0); }\n' >/tmp/user.c
	# shellcheck disable=SC2046 # options
	cc /tmp/user.c -o /tmp/user $(PKG_CONFIG_LIBDIR=$d/usr/lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$d \
		pkg-config --cflags --libs libpeerbar-verbs) -Wl,-rpath-link,$d/usr/lib && LD_LIBRARY_PATH=$d/usr/lib /tmp/user ||
		{ echo 'the installed verbs library does not run'; return 1; }
	bash -n $d/usr/share/bash-completion/completions/peerbar || return 1
	if readelf -d $d/usr/bin/peerbar $d/usr/lib/libpeerbar.so $d/usr/lib/libpeerbar-rdma.so $d/usr/lib/libpeerbar-verbs.so |
		grep -E 'RPATH|RUNPATH'; then
		echo 'what is installed looks for libraries in the build directory'; return 1
	fi
	echo 'make install: complete; a program found by pkg-config builds and runs'
}

# lab_machine_check SUITE...: run these suites in the machine; '' runs all, +WORD those with WORD in
# their names, -WORD all others
lab_machine_check() {
	local rc=0 limit=3000 times=1 steps=1000
	if [ "$KFLAVOUR" = debug ] || [ -n "$LAB_CROSS" ]; then limit=3300 times=4 steps=300; fi
	# kmemleak takes half of the debug kernel's time. In a whole check only races has it; the suites find
	# what modules leak by what they have allocated when they are removed.
	[ -n "$LAB_ONLY" ] || LAB_KMEMLEAK=off
	# About twice the time on two busy processors.
	LAB_LIMIT=${LAB_LIMIT:-$limit}
	# shellcheck disable=SC2016 # the guest's shell expands it
	guest env LAB_TEST_LOGS=/lab LAB_STEPS=$steps CK_FORK=yes CK_TIMEOUT_MULTIPLIER=$times \
		bash -c 'modprobe peerbar-test-ready || exit 1; rc=0; for suite; do /build/tests/lab/lab-check "$suite" || rc=$?; done; exit $rc' suites "$@" || rc=$?
	cp "$LAB_RUN"/share/test-*.xml "$LAB_LOGS/" 2>/dev/null
	guest_reports || rc=1
	guest_faults
	say "the machine ran for $GUEST_SECONDS s; IOMMU faults: $FAULTS, all of them provoked: $EXPECTED were announced by tests"
	if [ "$FAULTS" != "$EXPECTED" ]; then
		warn "the IOMMU reported $FAULTS faults where $EXPECTED were expected"
		rc=1
	fi
	return $rc
}

# lab_qemu_check SECONDS: a virtual machine in the machine, with two of its devices
lab_qemu_check() {
	local rc=0
	LAB_LIMIT=${LAB_LIMIT:-$1}
	tree_mount && root_call make -s -C /build tests/lab/vm-guest || return 2
	root_umount
	guest /lab/vm-qemu || rc=$?
	guest_reports || rc=1
	cp "$LAB_RUN"/share/qemu-*.log "$LAB_LOGS/" || rc=1
	guest_faults
	[ "$FAULTS" = 0 ] || { warn "the IOMMU reported $FAULTS faults where none was expected"; rc=1; }
	return $rc
}

# lab_races_check: operations of several processes on the same devices and buffers, 25,000, or
# 100,000 if asked for by name; the seed repeats the choices
lab_races_check() {
	local rc=0 operations=25000 seed=${LAB_SEED:-$(($(od -An -N4 -tu4 /dev/urandom) % 1000000))}
	[ "$LAB_ONLY" != races ] || operations=100000
	LAB_LIMIT=1500
	say "races: seed $seed; ./lab stress --kernel debug --seed $seed makes the same choices"
	guest_stress --seed "$seed" --operations $operations || rc=$?
	guest_reports || rc=1
	guest_faults
	return $rc
}

# lab_guest_check: 10,000 operations of a guest on its devices, compared with a model; the seed
# repeats them
lab_guest_check() {
	local rc=0 seed=${LAB_SEED:-$(($(od -An -N4 -tu4 /dev/urandom) % 1000000))}
	LAB_LIMIT=3600
	guest env CK_FORK=yes CK_TIMEOUT_MULTIPLIER=4 LAB_SEED="$seed" LAB_STEPS=10000 /build/tests/lab/lab-check guest-random || rc=$?
	guest_reports || rc=1
	guest_faults
	[ "$FAULTS" = "$EXPECTED" ] || { warn "the IOMMU reported $FAULTS faults where $EXPECTED were expected"; rc=1; }
	return $rc
}

# lab_hosts_check SCRIPT SECONDS: programs between two machines
lab_hosts_check() {
	local rc=0
	LAB_HOSTS=2 LAB_LIMIT=${LAB_LIMIT:-$2}
	prepare_hosts && layer_ready "/lab/vm-$1" || return 2
	hosts_run "/lab/vm-$1" || rc=$?
	cp "$LAB_RUN/host1/share/$1.tap" "$LAB_LOGS/" 2>/dev/null
	cat "$LAB_RUN/hosts/totals"
	[ "$REPORTS" = 0 ] || rc=1
	guest_faults
	[ "$FAULTS" = 0 ] || { warn "the IOMMUs reported $FAULTS faults where none was expected"; rc=1; }
	return $rc
}

# The chains of lab_check.

# Checks without a machine: once, with the stock kernel, is enough.
chain_tree() {
	group style check_style
	selected unit sanitizers valgrind install distcheck || return 0
	# They write to the build directory.
	exec 5>"$LAB_CACHE/$(tree_name)/lock.build"
	flock 5
	tree_mount || return 2
	# Of this build, only the unit tests run.
	if selected sanitizers; then
		step 'building the unit tests with ASan and UBSan' root_call build_tree /sanitize 'tests/unit/unit tests/unit/unit-verbs tests/unit/unit-provider' \
			--disable-shared --enable-static \
			CFLAGS='-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer' ||
			echo '0 1 1 0' >"$CHECK/sanitizers"
	fi
	group unit root_call run_unit
	[ -f "$CHECK/sanitizers" ] || group sanitizers root_call run_sanitized
	group valgrind root_call run_valgrind
	group install root_call run_install
	group distcheck root_call run_distcheck
	root_umount
	exec 5>&-
}

chain_analysis() { group analysis check_analysis; }

# This needs the kernel's source, which comes with the stock kernel.
chain_modules() { group modules check_modules; }

chain_machine() { group machine lab_machine_check "$CHECK_SUITE"; }

# shellcheck disable=SC2086 # words
chain_quick() { group machine lab_machine_check $QUICK_SUITES; }

# On the debug kernel, where they take longest, the suites run in two machines side by side.
chain_memory() { group machine lab_machine_check "${CHECK_SUITE:--rdma}"; }
chain_verbs() { [ -n "$CHECK_SUITE" ] || group machine-rdma lab_machine_check +rdma; }

# stock_or_named GROUP: whether a group that takes long on other kernels is to run
stock_or_named() { [ "$KFLAVOUR" = stock ] || [ "$LAB_ONLY" = "$1" ]; }

# Groups that run a script in the guest. On the stock kernel they share a machine. nvme-rdma must be
# the first, because it loads modules with parameters.
chain_scripts() {
	local scripts=()
	if [ "$KFLAVOUR,$LAB_ONLY" = stock, ]; then
		scripts=(nvme-rdma rdma-tools 'pyverbs pb0')
		if selftests_built; then scripts+=(selftests); else group selftests check_selftests; fi
		shared_groups 5700 "${scripts[@]}"
		return
	fi
	# Takes five minutes on the debug kernel, and tests no more of the modules there than the suites.
	if stock_or_named rdma-tools; then group rdma-tools lab_script_check rdma-tools 900; fi
	[ "$KFLAVOUR" != stock ] || group selftests check_selftests
	# Takes eight minutes on the debug kernel.
	if stock_or_named nvme-rdma; then group nvme-rdma lab_script_check nvme-rdma 1800; fi
	# The comparison with rxe0 takes as long again. The debug kernel is slow, and reports bugs of rxe.
	if [ "$KFLAVOUR,$LAB_ONLY" = stock,pyverbs ]; then
		group pyverbs lab_script_check pyverbs 1800
	elif stock_or_named pyverbs; then
		group pyverbs lab_script_check pyverbs 2400 pb0
	fi
	# Tests the library and perftest rather than the kernel, and takes five minutes.
	[ "$LAB_ONLY" != perftest ] || group perftest lab_script_check perftest 2400
	# Fetches Rust's compiler, 250 MB, which takes minutes if it is not cached.
	[ "$LAB_ONLY" != bindings ] || group bindings check_bindings
	# Two machines at a time, on both processors.
	[ "$LAB_ONLY" != hosts ] || group hosts lab_hosts_check rdma-hosts 1200
	# Fetches tshark, 120 MB with what it needs.
	[ "$LAB_ONLY" != capture ] || group capture lab_script_check capture 1200
	# other projects' programs, and their libraries more than the kernel
	[ "$LAB_ONLY" != foreign ] || group foreign lab_script_check foreign 2400
	[ "$LAB_ONLY" != foreign-hosts ] || group foreign-hosts lab_hosts_check foreign-hosts 2400
}

chain_qemu() { group qemu lab_qemu_check 600; }
# Builds packages twice, and boots a Debian three times: only by name.
chain_package() { group package check_package; }
chain_rpm() { group rpm check_rpm; }
chain_secureboot() { group secureboot check_secureboot; }
chain_bench() { group bench lab_bench_check; }
chain_lab() { group lab check_lab; }
# Builds and installs in a bare root, and takes longest if nothing is cached.
chain_readme() { group readme check_readme; }

# With KASAN and lockdep, which detect races.
chain_races() {
	group races lab_races_check
	# Takes ten minutes and more.
	[ "$LAB_ONLY" != guest-steps ] || group guest-steps lab_guest_check
}

# check_results: write check.tap and check.xml (JUnit) to the log folder
check_results() {
	root_mount && root_bind "$CHECK" /check && root_bind "$LAB_LOGS" /logs && root_exec /peerbar/vm/results /check /logs && root_umount ||
		warn 'the results could not be written as TAP and JUnit'
}

# check_total: print a line for each group, and the sums
check_total() {
	local result name passed failed rc seconds cpu all_passed=0 all_failed=0 bad=()
	for result in "$CHECK"/*; do
		case $result in *.out | *.cpu | *.lock | *.ended | *'*') continue ;; esac
		name=${result##*/}
		read -r passed failed rc seconds cpu <"$result"
		printf '%-12s %4d passed %4d failed %5d s%s\n' "$name" "$passed" "$failed" "$seconds" "${cpu:+, $cpu of a processor}" >&2
		all_passed=$((all_passed + passed)) all_failed=$((all_failed + failed))
		[ "$rc" = 0 ] && [ "$failed" = 0 ] || bad+=("$name")
	done
	if [ ${#bad[@]} != 0 ]; then warn "failed: ${bad[*]}"; fi
	[ $((all_passed + all_failed)) -gt 0 ] || { warn "--only '$LAB_ONLY' left nothing to check"; return 2; }
	say "checked with Linux $(cat "$LAB_CACHE/$KNAME/release"), in $(($(date +%s) - LAB_START)) s"
	echo "$all_passed passed, $all_failed failed"
	[ "$all_failed" = 0 ]
}

# suites: the names of the suites in the machine, from the built tree
suites() { cut -d' ' -f1 "$LAB_BUILD/tests/lab/lab-check.suites"; }

lab_check() {
	local chains=()
	prepare || return
	if [ -n "$LAB_COVERAGE" ]; then lab_coverage; return; fi
	CHECK=$LAB_RUN/check CHECK_SUITE='' CHECK_JOBS=$LAB_JOBS CHECK_SHOWN=$(date +%s)
	mkdir -p "$CHECK"
	if [ -n "$LAB_CROSS" ]; then
		# Only the suites, whose names the machine knows.
		[ "$LAB_ONLY" = machine ] || CHECK_SUITE=$LAB_ONLY
		LAB_ONLY=machine
	elif suites | grep -qxF -e "$LAB_ONLY"; then
		CHECK_SUITE=$LAB_ONLY LAB_ONLY=machine
	fi
	# Run the groups one after the other, and show their output at once.
	[ -z "$LAB_ONLY" ] || CHECK_JOBS=1
	# The longest first.
	case $KFLAVOUR in
	stock) chains=(machine scripts readme tree modules bench analysis lab qemu) ;;
	debug) chains=(verbs memory races scripts) ;;
	nop2p | gcov | 16k) chains=(machine) ;;
	esac
	if [ "$LAB_ONLY" = qemu ]; then chains=(qemu); fi
	case $LAB_ONLY in package | rpm | secureboot) chains=("$LAB_ONLY") ;; esac
	if [ -n "$LAB_QUICK" ]; then chains=(quick tree); fi
	case $KFLAVOUR,$LAB_QUICK$LAB_ONLY in
	stock,) say 'not in the check, unless asked for by name: perftest, hosts, capture, foreign, foreign-hosts, bindings, package, rpm, secureboot, pyverbs on rxe0' ;;
	debug,) say 'not on the debug kernel, unless asked for by name: rdma-tools, perftest, hosts, capture, foreign, foreign-hosts, bindings, pyverbs, nvme-rdma, qemu, guest-steps' ;;
	esac
	run_chains "${chains[@]/#/chain_}"
	check_results
	check_total
}
