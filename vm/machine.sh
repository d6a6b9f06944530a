# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
# shellcheck shell=bash
#
# The virtual machine: its devices, running a command in it, and the reports of its kernel.
#
# The run directory, shared with the guest as /lab, has:
#
#	command, settings	the command to run, and its environment
#	mounts			the shared directories of other projects: tag, directory, options
#	stdin, artifacts	what the command reads, and the folder of what it leaves
#	status			its exit status, which the guest writes last
#	stdout, stderr		its output
#	kernel.log		the guest's serial console
#	iommu-faults		one line per fault of the emulated IOMMU, QEMU's trace (LAB_FAULT_EVENTS)
#	expected-faults		lines "NUMBER REASON", written by tests that provoke faults
#	gpu.mem			the backing file of the GPU's BAR 2: the host's view of it
#	disk0.img, disk1.img	the NVMe disks
#	qmp.sock		QEMU's monitor; the guest uses another one at /dev/lab/qmp
#	hosts			of several hosts (hosts.sh): a directory that all share

LAB_GPU_MB=256
LAB_DISK_MB=64

# device NAME: the lab's PCI functions, as QEMU options. The topology adds the bus.
device() {
	local mac
	mac=$(printf '52:54:00:00:%02x' $((LAB_HOSTS > 1 ? LAB_HOST : 0)))
	case $1 in
	gpu) echo "ivshmem-plain,memdev=gpumem" ;;
	edu) echo "edu,dma_mask=0xffffffffffffffff" ;;
	nvme0) echo "nvme,serial=LAB0,drive=disk0,cmb_size_mb=16,mdts=8" ;;
	nvme1) echo "nvme,serial=LAB1,drive=disk1,mdts=8" ;;
	nic0) echo "e1000e,netdev=net0,mac=$mac:01,romfile=" ;;
	nic1) echo "e1000e,netdev=net1,mac=$mac:02,romfile=" ;;
	esac
}

# topology NAME: QEMU arguments, one a line
#
#	ports	each device behind a root port of its own, two empty ports for hotplug (the default)
#	switch	GPU, edu and the NVMes behind one PCIe switch, the NICs behind root ports
#	flat	all devices on the root bus, as integrated endpoints
topology() {
	local d n=1
	case $1 in
	ports)
		for d in gpu edu nvme0 nvme1 nic0 nic1; do
			printf '%s\n' -device "pcie-root-port,id=port-$d,chassis=$n,slot=$n,bus=pcie.0" \
				-device "$(device $d),id=$d,bus=port-$d"
			n=$((n + 1))
		done
		;;
	switch)
		printf '%s\n' -device pcie-root-port,id=port-switch,chassis=1,slot=1,bus=pcie.0 \
			-device x3130-upstream,id=switch,bus=port-switch
		for d in gpu edu nvme0 nvme1; do
			n=$((n + 1))
			printf '%s\n' -device "xio3130-downstream,id=port-$d,chassis=$n,slot=$n,bus=switch" \
				-device "$(device $d),id=$d,bus=port-$d"
		done
		for d in nic0 nic1; do
			n=$((n + 1))
			printf '%s\n' -device "pcie-root-port,id=port-$d,chassis=$n,slot=$n,bus=pcie.0" \
				-device "$(device $d),id=$d,bus=port-$d"
		done
		;;
	flat)
		for d in gpu edu nvme0 nvme1 nic0 nic1; do printf '%s\n' -device "$(device $d),id=$d,bus=pcie.0"; done
		;;
	*)
		warn "--topology '$1' is no topology: it takes ports, switch or flat"
		return 2
		;;
	esac
	# The second port has space for a BAR of 1 GiB regardless of the firmware's start address.
	for d in spare0 spare1; do
		n=$((n + 1))
		printf '%s\n' -device "pcie-root-port,id=$d,chassis=$n,slot=$n,bus=pcie.0,pref64-reserve=$([ $d = spare0 ] && echo 1G || echo 2G)"
	done
}

# probe_kvm: whether a guest really runs under KVM here; opening /dev/kvm does not prove that.
# Cached per host kernel and CPU.
probe_kvm() {
	local memo
	[ -w /dev/kvm ] || return 1
	memo=$LAB_CACHE/kvm-$(key "$(uname -rv)" "$(grep -m 1 'model name' /proc/cpuinfo)" "$(declare -f probe_kvm)" "$LAB_ROOT")
	if [ ! -f "$memo" ]; then
		say 'trying whether a guest runs under KVM here (10 s at most)'
		timeout -k 1 10 chroot "$LAB_MNT" qemu-system-x86_64 -nodefaults -no-user-config -display none -no-reboot -accel kvm \
			-machine q35,kernel-irqchip=split -cpu EPYC,phys-bits=39 -m 512 -kernel /lab/kernel/vmlinuz -initrd /lab/initrd/initrd \
			-append 'console=ttyS0 panic=-1 lab.probe' -serial stdio </dev/null 2>&1 | grep -q 'lab: alive' &&
			echo yes >"$memo" || echo no >"$memo"
	fi
	[ "$(cat "$memo")" = yes ]
}

# A disk with each 8 bytes equal to their byte offset, xored with its serial, so that tests can
# compute the contents.
make_disk() { # FILE SEED
	perl -e 'my ($f, $seed, $mb) = @ARGV; $seed = oct $seed; open(my $o, ">:raw", $f) or die "$f: $!";
		for my $m (0 .. $mb - 1) { my $b = $m << 20;
			print $o pack("Q<*", map { ($b + 8 * $_) ^ $seed } 0 .. 131071) or die "$f: $!" }' "$1" "$2" 2
	truncate -s ${LAB_DISK_MB}M "$1"
}

# guest_libraries: run ldconfig for the guest's root, and leave what it writes in libraries.tar. In
# the guest it would open each library over 9p, which takes a minute on the debug kernel. A guest of
# another architecture finds libraries without its cache, in the directories that the loader knows.
guest_libraries() {
	local upper=$LAB_RUN/libraries
	if [ -n "$LAB_CROSS" ]; then tar -cf "$LAB_RUN/share/libraries.tar" -T /dev/null; return; fi
	rm -rf "$upper"
	LAB_LAYERS=${LAB_LAYER:+$LAB_LAYER:}$LAB_MODULES:$LAB_STAGE:$LAB_CACHE/$KNAME/fs root_mount "$upper" && root_exec ldconfig &&
		root_umount || return 1
	(cd "$upper" && find . \( -name ld.so.cache -o -type l \) -print0 | tar --null -T - -cf "$LAB_RUN/share/libraries.tar") || return 1
	rm -rf "$upper" "$upper.work"
}

# boot_by_qemu PARAMETERS: set BOOT_OPTIONS: QEMU loads the kernel, with these parameters
boot_by_qemu() { BOOT_OPTIONS=(-kernel /lab/kernel/vmlinuz -initrd /lab/initrd/initrd -append "$1"); }

# machine_options: set what QEMU is told about the architecture of the machine: MACHINE, an array with
# the emulator, its processor, bus and IOMMU, and APPEND, the kernel's command line
machine_options() {
	local cpu=EPYC,phys-bits=39 accel=kvm khz='' event
	# Mitigations would double the time that an emulated machine takes to boot.
	APPEND='panic=-1 oops=panic hung_task_panic=1 mitigations=off'
	# Multi-threaded TCG translates both processors at once.
	if [ -n "$LAB_CROSS" ] || ! probe_kvm; then accel='tcg,thread=multi'; fi
	case $LAB_ARCH in
	amd64)
		APPEND="console=ttyS0 $APPEND tsc=nowatchdog no_timer_check intel_iommu=on"
		# An emulated machine's clock is the host's counter. Without this option the guest may
		# calibrate it to a fifth of its frequency.
		if [ "$accel" != kvm ]; then khz=$(chroot "$LAB_MNT" /lab/build/tests/lab/tsc-khz); fi
		APPEND+=${khz:+ tsc_early_khz=$khz}
		# SMAP costs an emulated machine a tenth of its time: each switch of it ends a block of translated
		# code. The debug kernel finds direct accesses to user memory.
		if [ "$accel" != kvm ] && [ "$KFLAVOUR" != debug ]; then cpu+=,-smap; fi
		if [ "$KFLAVOUR,${LAB_KMEMLEAK:-1}" = debug,off ]; then APPEND+=' kmemleak=off'; fi
		# tests/lab/programs/keep-heap.c describes what is preloaded.
		# shellcheck disable=SC2054 # QEMU's commas
		MACHINE=(env LD_PRELOAD=/lab/build/tests/lab/.libs/keep-heap.so qemu-system-x86_64
			-machine q35,kernel-irqchip=split -cpu "$cpu" -device intel-iommu,intremap=on,caching-mode=on,aw-bits=48)
		;;
	arm64)
		# No firmware reserves address space for the devices of empty ports, as for x86.
		# On a device tree, Linux lets empty ports sleep, with their hotplug interrupt off, and
		# waits for a PME, which QEMU's ports do not send.
		APPEND="console=ttyAMA0 $APPEND pci=hpmmioprefsize=2G pcie_port_pm=off"
		# Without pointer authentication, which is slow to emulate. The trace of a fault does not
		# have its address; a line of guest_errors before it has.
		# shellcheck disable=SC2054 # QEMU's commas
		MACHINE=(qemu-system-aarch64 -machine virt,gic-version=3,iommu=smmuv3 -cpu neoverse-n1 -d guest_errors)
		;;
	esac
	MACHINE+=(-accel "$accel")
	for event in ${LAB_FAULT_EVENTS//|/ }; do MACHINE+=(-trace "$event"); done
}

# guest_run: boot, run $LAB_RUN/command, wait. Returns the command's status, or 125 if the machine
# did not finish. Uses LAB_TOPOLOGY, LAB_LIMIT (seconds), LAB_INTERACTIVE, LAB_MEMORY, LAB_STAGE,
# LAB_MODULES, LAB_LAYER, LAB_BUILD, and LAB_KMEMLEAK: 1 (scan at the end), 0 (don't), off (the debug kernel
# without it). BOOT_BY is a function that does what boot_by_qemu does, BOOT_LAYER a layer for QEMU.
guest_run() {
	local kernel=$LAB_CACHE/$KNAME args part qemu tails=() rc=0 t0 limit=${LAB_LIMIT:-600} foreground=() saved='' panic

	mapfile -t args < <(topology "${LAB_TOPOLOGY:-ports}")
	[ ${#args[@]} -gt 0 ] || return 2
	mkdir -p "$LAB_RUN/share"
	cp "$LAB_VM/guest" "$LAB_RUN/share/guest"
	for part in groups network barrier selftests rdma rdma-hosts rdma-pairs host-pairs foreign-hosts capture rdma-tools nvme-rdma perftest foreign bindings pyverbs qemu bench bench-wire secureboot readme reader doc-commands unload; do
		cp "$LAB_VM/$part" "$LAB_RUN/share/vm-$part"
	done
	: >"$LAB_RUN/share/iommu-faults"
	: >"$LAB_RUN/share/expected-faults"
	: >"$LAB_RUN/share/stdout"
	: >"$LAB_RUN/share/stderr"
	: >"$LAB_RUN/share/kernel.log"
	rm -f "$LAB_RUN/share/status" "$LAB_RUN/share/kmemleak" "$LAB_RUN/share/qmp.sock"
	rm -f "$LAB_RUN/share/gpu.mem"
	truncate -s ${LAB_GPU_MB}M "$LAB_RUN/share/gpu.mem"
	make_disk "$LAB_RUN/share/disk0.img" 0x1111111100000000 && make_disk "$LAB_RUN/share/disk1.img" 0x2222222200000000 || return 125

	guest_libraries || return 125
	LAB_LAYERS=${BOOT_LAYER:-} root_mount || return 125
	root_bind "$LAB_RUN/share" /lab/run
	root_bind "$(guest_root)" /lab/root
	root_bind "$kernel" /lab/kernel
	root_bind "$LAB_CACHE/$KINITRD" /lab/initrd
	# One share for the installed tree, the modules, and the command's layer.
	mkdir -p "$LAB_MNT/lab/stage"
	mount -t overlay -o "lowerdir=${LAB_LAYER:+$LAB_LAYER:}$LAB_MODULES:$LAB_STAGE" overlay "$LAB_MNT/lab/stage" || return 125
	root_bind "$LAB_BUILD" /lab/build
	if [ "$LAB_HOSTS" -gt 1 ]; then
		root_bind "$LAB_RUN/../network" /lab/network
		root_bind "$LAB_RUN/../hosts" /lab/run/hosts
		mapfile -t -O ${#args[@]} args < <(network_options)
	fi
	guest_directories || return 125
	machine_options
	if [ "${LAB_INTERACTIVE:-0}" = 1 ]; then
		# Otherwise the terminal stops QEMU when QEMU reads from it.
		foreground=(--foreground)
		# shellcheck disable=SC2054 # QEMU's commas
		args+=(-chardev stdio,id=tty,signal=off -device virtconsole,chardev=tty,name=tty)
	fi
	"${BOOT_BY:-boot_by_qemu}" "$APPEND ${LAB_APPEND:-}" || return 125
	# Bound the machine's run time.
	set -- timeout "${foreground[@]}" -k 5 "$limit" chroot "$LAB_MNT" "${MACHINE[@]}" -name peerbar-lab -nodefaults -no-user-config \
		-display none -no-reboot -smp "${LAB_CPUS:-2}" -m "${LAB_MEMORY:-2048}" \
		-object memory-backend-file,id=gpumem,size=${LAB_GPU_MB}M,share=on,mem-path=/lab/run/gpu.mem \
		-drive if=none,id=disk0,format=raw,file=/lab/run/disk0.img -drive if=none,id=disk1,format=raw,file=/lab/run/disk1.img \
		-netdev hubport,id=net0,hubid=0 -netdev hubport,id=net1,hubid=0 \
		-virtfs local,path=/lab/root,mount_tag=root,security_model=none,readonly=on,multidevs=remap \
		-virtfs local,path=/lab/kernel/fs,mount_tag=layer,security_model=none,readonly=on,multidevs=remap \
		-virtfs local,path=/lab/stage,mount_tag=stage,security_model=none,readonly=on,multidevs=remap \
		-virtfs local,path=/lab/build,mount_tag=build,security_model=none,readonly=on,multidevs=remap \
		-virtfs local,path=/lab/run,mount_tag=run,security_model=none,multidevs=remap \
		"${DIRECTORY_ARGS[@]}" -device virtio-serial-pci,max_ports=8 \
		-chardev file,id=stdout,path=/lab/run/stdout -device virtserialport,chardev=stdout,name=stdout \
		-chardev file,id=stderr,path=/lab/run/stderr -device virtserialport,chardev=stderr,name=stderr \
		-chardev socket,id=mon,path=/lab/run/qmp.sock,server=on,wait=off -object monitor-qmp,id=qmp0,chardev=mon \
		-chardev socket,id=gmon,path=/lab/run/guest-qmp.sock,server=on,wait=off -object monitor-qmp,id=qmp1,chardev=gmon \
		-chardev socket,id=gport,path=/lab/run/guest-qmp.sock -device virtserialport,chardev=gport,name=qmp \
		-chardev file,id=serial,path=/lab/run/kernel.log -serial chardev:serial \
		-D /lab/run/iommu-faults \
		"${BOOT_OPTIONS[@]}" "${args[@]}"
	t0=$(date +%s)
	if [ "${LAB_INTERACTIVE:-0}" = 1 ]; then
		saved=$(stty -g)
		stty raw -echo
		"$@" 2>"$LAB_RUN/qemu.log" || rc=$?
		stty "$saved"
	else
		"$@" >"$LAB_RUN/qemu.log" 2>&1 </dev/null &
		qemu=$!
		echo $qemu >"$LAB_RUN/qemu.pid"
		tail -c +1 -s 0.1 -f --pid=$qemu "$LAB_RUN/share/stdout" & tails+=($!)
		tail -c +1 -s 0.1 -f --pid=$qemu "$LAB_RUN/share/stderr" >&2 & tails+=($!)
		wait $qemu || rc=$?
		rm -f "$LAB_RUN/qemu.pid"
		wait "${tails[@]}"
	fi
	root_umount
	cp "$LAB_RUN"/share/{kernel.log,iommu-faults} "$LAB_RUN/qemu.log" "$LAB_LOGS/" 2>/dev/null
	GUEST_SECONDS=$(($(date +%s) - t0))
	if [ -s "$LAB_RUN/share/status" ]; then
		return "$(cat "$LAB_RUN/share/status")"
	fi
	panic=$(sed -n 's/\r$//; s/.*Kernel panic - //p' "$LAB_RUN/share/kernel.log" | head -n 1)
	if [ -s "$LAB_RUN/stopped" ]; then
		warn "the machine was stopped: $(cat "$LAB_RUN/stopped"). Its last lines:"
	elif [ "$rc" = 124 ] || [ "$rc" = 137 ]; then
		warn "the machine was killed: it had not finished after $limit s (--limit). Its last lines:"
	elif [ -n "$panic" ]; then
		warn "the machine's kernel panicked after $GUEST_SECONDS s: $panic. Its last lines:"
	else
		warn "the machine ended by itself, with QEMU's status $rc. Its last lines:"
	fi
	{ tail -n 15 "$LAB_RUN/share/kernel.log"; grep -v -e 'warning: TCG' -e 'not connected to host network' "$LAB_RUN/qemu.log" | tail -n 5; } | sed 's/^/    /' >&2
	return 125
}

# guest_reports: print the reports of the guest's kernel. Fails if there are any.
guest_reports() {
	local found=0
	if awk -f "$LAB_VM/reports.awk" "$LAB_RUN/share/kernel.log" >"$LAB_RUN/reports"; then :; else
		warn "the guest's kernel reported:"
		sed 's/^/    /' "$LAB_RUN/reports" >&2
		found=1
	fi
	if [ -s "$LAB_RUN/share/kmemleak" ]; then
		cp "$LAB_RUN/share/kmemleak" "$LAB_LOGS/"
		awk -f "$LAB_VM/leaks.awk" "$LAB_RUN/share/kmemleak" >"$LAB_RUN/leaks"
		if [ -s "$LAB_RUN/leaks" ]; then
			warn 'the guest leaked kernel memory (kmemleak):'
			head -n 60 "$LAB_RUN/leaks" | sed 's/^/    /' >&2
			found=1
		fi
	fi
	return $found
}

# guest_faults: set FAULTS and EXPECTED, the numbers of IOMMU faults that happened and that tests
# declared
guest_faults() {
	FAULTS=$(grep -c -E "$LAB_FAULT_EVENTS" "$LAB_RUN/share/iommu-faults")
	EXPECTED=$(awk '{ n += $1 } END { print n + 0 }' "$LAB_RUN/share/expected-faults")
}

# faults_announced: the same; print a line if the two differ and --faults gives no number
faults_announced() {
	guest_faults
	if [ -z "$LAB_WANT_FAULTS" ] && [ "$FAULTS" != "$EXPECTED" ]; then
		warn "the IOMMU reported $FAULTS faults; $EXPECTED were expected (--faults N says how many)"
	fi
}
