# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
# shellcheck shell=bash
#
# ./lab bench: vm/bench measures in the machine, bench/report.py computes, and gnuplot draws.
# Additional packages are fetched once, and laid over the root: gnuplot runs in the root, perf and
# iperf3 in the machine.
#
#	bench-KEY/fs		the layer

# unpack_bench TMP: fetch the packages that the root lacks for gnuplot, a font for it, iperf3 and perf
unpack_bench() {
	local tmp=$1 dir=$1/source deb version
	mkdir -p "$dir"/{state/lists/partial,cache/archives/partial} "$tmp/fs"
	cp "$LAB_CACHE/$LAB_ROOT/fs/var/lib/dpkg/status" "$dir/state/status"
	apt_sources >"$dir/sources.list" || return 1
	source_apt "$dir" update && source_apt "$dir" -o APT::Architecture=amd64 -o APT::Architectures=amd64 --assume-yes --no-install-recommends \
		--download-only install gnuplot-nox fonts-dejavu-core iperf3 linux-perf/trixie-backports || return 1
	version=$(dpkg-deb -f "$dir"/cache/archives/linux-perf_*.deb Version)
	dpkg --compare-versions "$version" ge "$KSRC" || { echo "linux-perf $version is older than the kernel, $KSRC"; return 1; }
	# The files of their packages are enough, so configure nothing.
	for deb in "$dir"/cache/archives/*.deb; do dpkg-deb -x "$deb" "$tmp/fs" || return 1; done
	rm -rf "$dir" "$tmp"/fs/usr/share/{doc,man,locale,info,lintian}
}

# try_bench: check that the programs run; inside the root, with the layer
try_bench() {
	perf --version && iperf3 --version && printf 'set terminal pngcairo font "DejaVu Sans"\nset output "/dev/null"\nplot x\n' | gnuplot-nox
}

make_bench() {
	step 'bench: fetching gnuplot, iperf3 and perf' unpack_bench "$1" && LAB_LAYERS=$1/fs root_mount && step 'bench: trying them' root_call try_bench || return 1
	root_umount
}

# bench_ready: set BENCH_LAYER; call kernel_choose before. perf is from the newest kernel's source.
bench_ready() {
	local name
	name=bench-$(key "$LAB_ROOT" "$(awk '{ print $3; exit }' "$LAB_CACHE/kernels")" "$(declare -f unpack_bench try_bench make_bench)")
	cached "$name" make_bench || return 1
	BENCH_LAYER=$LAB_CACHE/$name/fs
}

# bench_measure: measure in the machine, and leave the samples in $LAB_RUN/share
bench_measure() {
	local rc=0 only=() profile=()
	LAB_MEMORY=${LAB_MEMORY:-4096} LAB_LIMIT=${LAB_LIMIT:-3600}
	[ -z "$LAB_ONLY" ] || only=(--only "$LAB_ONLY")
	[ -z "$LAB_PROFILE" ] || profile=(--profile)
	rm -f "$LAB_RUN"/share/{bench*.tsv,perf-*.txt}
	guest /lab/vm-bench --rounds "$LAB_ROUNDS" "${only[@]}" "${profile[@]}" || rc=$?
	rm -f "$LAB_LOGS"/bench{,-machine}.tsv
	cp "$LAB_RUN"/share/bench*.tsv "$LAB_LOGS/" 2>/dev/null
	# Keep the status of a usage error, and of a machine that did not finish.
	case $rc in 0 | 2 | 125) ;; *) rc=1 ;; esac
	guest_reports || [ $rc != 0 ] || rc=1
	guest_faults
	if [ "$FAULTS" != "$EXPECTED" ]; then
		warn "the IOMMU reported $FAULTS faults where $EXPECTED were expected"
		[ $rc != 0 ] || rc=1
	fi
	if [ $rc != 0 ]; then
		warn "the bench failed; what it had measured is in $LAB_LOGS/bench.tsv"
		return $rc
	fi
	# Facts about the machine that the guest does not know.
	{
		printf 'accelerator\t%s\n' "$(probe_kvm && echo KVM || echo TCG)"
		printf 'qemu\t%s\n' "$(dpkg-query --admindir="$LAB_CACHE/$LAB_ROOT/fs/var/lib/dpkg" -W -f '${Version}' qemu-system-x86)"
		printf 'host cpu\t%s, %s processors\n' "$(sed -n 's/^model name[[:space:]]*: //p;T;q' /proc/cpuinfo)" "$(nproc)"
		printf 'memory\t%s MiB\n' "$LAB_MEMORY"
		printf 'rounds\t%s\n' "$LAB_ROUNDS"
		printf 'peerbar\t%s\n' "$(git -c safe.directory='*' -C "$LAB_TOP" describe --always --dirty 2>/dev/null || echo 'without git')"
	} >>"$LAB_RUN/share/bench-machine.tsv"
}

# bench_report: write the tables, bench.json and the data of the plots; inside the root, with the
# run directory in /lab
bench_report() {
	mkdir -p /lab/report && /src/bench/report.py "$@" /lab /lab/report >/lab/report/tables
}

# bench_plots: draw the plots that there is data for; inside the root
bench_plots() {
	local data plot kind plots=/src/bench/plots
	cd /lab/report || return 1
	for data in *.dat; do
		plot=${data%.dat}
		[ -f "$data" ] || continue
		for kind in png svg; do
			gnuplot-nox -e "set loadpath '$plots'; kind='$kind'" "$plots/$plot.gp" >"$plot.$kind" || return 1
		done
		sed -i '1a <!-- SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause -->' "$plot.svg" || return 1
	done
}

lab_bench() {
	local rc=0 out=${LAB_OUTPUT:-$LAB_LOGS/bench} report=$LAB_RUN/share/report partial=() plot
	# Fail before measuring, not an hour later.
	if ! mkdir -p "$out" || [ ! -w "$out" ]; then
		warn "nothing can be written to the directory $out"
		return 2
	fi
	prepare && bench_ready && perftest_ready || return 2
	LAB_LAYER=$BENCH_LAYER:$LAB_LAYER
	bench_measure || return
	LAB_LAYERS=$BENCH_LAYER tree_mount && root_bind "$LAB_RUN/share" /lab || return 1
	[ -z "$LAB_ONLY" ] || partial=(--partial)
	root_call bench_report "${partial[@]}" || rc=1
	[ -s "$report/tables" ] || { warn "there is no report; the samples are in $LAB_LOGS/bench.tsv"; return 1; }
	step 'bench: drawing' root_call bench_plots || rc=1
	root_umount
	# Remove plots of an earlier run.
	for plot in "$LAB_TOP"/bench/plots/*.gp; do
		plot=$(basename "$plot" .gp)
		rm -f "$out/$plot".{svg,png}
	done
	rm -f "$out"/{table.md,bench.json,perf-*.txt}
	{ printf '<!-- SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause -->\n\n' && cat "$report/tables"; } >"$out/table.md" &&
		find "$report" "$LAB_RUN/share" -maxdepth 1 \( -name '*.svg' -o -name '*.png' -o -name bench.json -o -name 'perf-*.txt' \) \
			-exec cp -t "$out" {} + || rc=1
	say "measured in $GUEST_SECONDS s; table.md, bench.json and the plots are in $out"
	cat "$report/tables"
	return $rc
}

# lab_bench_check: check that the benchmark runs; once, without perftest and plots
lab_bench_check() {
	local rc=0
	LAB_ONLY=direct LAB_ROUNDS=1 LAB_PROFILE='' LAB_LIMIT=${LAB_LIMIT:-900}
	bench_measure || return
	tree_mount && root_bind "$LAB_RUN/share" /lab || return 1
	root_call bench_report --partial || rc=1
	root_umount
	cat "$LAB_RUN/share/report/tables"
	grep -q ' of [1-9][0-9]* goals reached' "$LAB_RUN/share/report/tables" || { warn 'no goal was computed'; rc=1; }
	return $rc
}
