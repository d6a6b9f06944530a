# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
# shellcheck shell=bash
#
# ./lab check --only package: the Debian packages, as a user gets them. They are built twice, and
# checked by lintian. README's commands install them, by apt from a folder, in a pristine Debian with
# Linux 7.2; they also install the newest kernel. The disk image of that Debian is booted with both
# kernels (vm/package). Then the newest kernel is removed, the packages are upgraded, and removed.
#
#	package-debian-KEY/fs		the pristine Debian
#	package-debian-KEY/archives	packages that apt has downloaded, beside those of peerbar
#	package-image-KEY/upper		the changes of the installation in it
#	package-image-KEY/disk.img	its disk image; vmlinuz-* and initrd.img-* are its kernels
#	package-image-KEY/said		which checks of the installation passed
#
# Takes half an hour on two processors without KVM.

# newest_of SERIES: its line of the archive's kernels
newest_of() { awk -v s="$1." 'index($1, s) == 1 { print; exit }' "$LAB_CACHE/kernels"; }

# bootstrap_debian TMP ABI: with what its users have that these commands need
bootstrap_debian() {
	# shellcheck disable=SC2016 # the hooks' shell expands it
	without_descriptors mmdebstrap --mode=root --variant=minbase --format=directory \
		--architectures=amd64 --aptopt="$1/apt.conf" --aptopt='APT::Sandbox::User "root"' --aptopt='Acquire::Languages "none"' \
		--aptopt='APT::Install-Recommends "false"' --aptopt='APT::Get::Assume-Yes "true"' --dpkgopt='force-unsafe-io' \
		--include="systemd-sysv,dbus,udev,kmod,iproute2,procps,initramfs-tools,zstd,ibverbs-utils,adduser,linux-base/$LAB_SUITE-backports,linux-image-$2,linux-headers-$2" \
		--customize-hook='chroot "$1" useradd --create-home --shell /bin/bash reader' \
		--customize-hook='chroot "$1" useradd --create-home --shell /bin/bash other' \
		"$LAB_SUITE" "$1/fs" "$1/sources.list"
}

# download_packages: what README's commands and the checks install
download_packages() {
	apt_inside update && apt_inside --download-only -t "$LAB_SUITE-backports" install linux-image-amd64 linux-headers-amd64 linux-source &&
		apt_inside --download-only install dkms dpkg-dev xz-utils libjson-c5 libnl-genl-3-200 ibverbs-providers python3 \
			"linux-source-7.2=$(awk 'index($1, "7.2.") == 1 { print $3; exit }' "$LAB_CACHE/kernels")"
}

make_package_debian() {
	local tmp=$1 version abi rc=0
	read -r version abi _ < <(newest_of 7.2)
	apt_sources >"$tmp/sources.list" && apt_options >"$tmp/apt.conf" && mkdir "$tmp/fs" "$tmp/archives" || return 1
	step "package: making a pristine Debian with Linux $version" bootstrap_debian "$tmp" "$abi" || return 1
	rm -f "$tmp"/fs/etc/{resolv.conf,hosts}
	LAB_ROOT=${tmp##*/} LAB_LAYERS='' root_mount && root_bind "$tmp/archives" /var/cache/apt/archives || return 1
	step 'package: downloading kernels and compilers for it' download_packages || rc=1
	root_umount
	return $rc
}

# ---- the packages themselves

check_lintian() {
	local rc=0
	LAB_LAYERS=$LAB_CACHE/$PACKAGE_LAYER/fs root_mount && root_bind "$DEBIAN_PACKAGES" /packages || return 1
	# The list of bugs that an upload closes is for uploads to Debian.
	root_exec sh -c 'lintian --allow-root --fail-on error,warning --suppress-tags initial-upload-closes-no-bugs /packages/*.changes' || rc=1
	root_umount
	return $rc
}

# A second build in another place, time zone and locale must make the same packages.
check_reproducible() {
	local deb rc=0 LAB_RUN=$LAB_RUN/second
	mkdir -p "$LAB_RUN"
	step 'package: building again' package_build run_other_build /srv/elsewhere "$LAB_RUN/packages" || return 1
	for deb in "$DEBIAN_PACKAGES"/*.deb; do
		cmp "$deb" "$LAB_RUN/packages/${deb##*/}" || rc=1
	done
	return $rc
}

# ---- installed

# debian_mount UPPER: mount the pristine Debian, with LAB_LAYERS, the changes in UPPER and the
# repository
debian_mount() {
	LAB_ROOT=$DEBIAN root_mount "$1" && root_bind "$REPOSITORY" /srv/peerbar &&
		root_bind "$LAB_CACHE/$DEBIAN/archives" /var/cache/apt/archives
}

# is_built_with_iommufd KERNEL: whether peerbar-vfio-pci was. Not by the name
# vfio_iommufd_physical_bind, which the module has in any case, to look that symbol up.
is_built_with_iommufd() { xz -dcf "$LAB_MNT/usr/lib/modules/$1/updates/dkms"/peerbar-vfio-pci.ko* | grep -q vfio_iommufd_physical_attach_ioas; }

# has_modules KERNEL: whether DKMS installed everything for it
has_modules() {
	local m dir=$LAB_MNT/usr/lib/modules/$1/updates
	for m in dkms/iommufd dkms/peerbar dkms/peerbar-vfio-pci dkms/peerbar-iommufd dkms/peerbar-rdma peerbar-vfio/vfio peerbar-vfio/vfio-pci; do
		compgen -G "$dir/$m.ko*" >/dev/null || { echo "there is no $m for Linux $1"; return 1; }
	done
	compgen -G "$LAB_MNT/usr/lib/modules/$1/kernel/drivers/vfio/vfio.ko*" >/dev/null || { echo "the kernel's own vfio is gone"; return 1; }
	root_exec modprobe -S "$1" --show-depends peerbar-vfio-pci | grep 'updates/peerbar-vfio/vfio.ko' ||
		{ echo 'peerbar-vfio-pci does not load the new vfio'; return 1; }
	is_built_with_iommufd "$1" || { echo 'peerbar-vfio-pci was not built for the new vfio'; return 1; }
}

# repack_as VERSION FILE...: packages like these with another version, in the repository
repack_as() {
	local version=$1 deb dir
	shift
	for deb; do
		dir=$(mktemp -d "$LAB_RUN/deb.XXXXXX")
		dpkg-deb -R "$deb" "$dir" && sed -i -E "s/^Version: .*/Version: $version/; s/\(= [^)]*\)/(= $version)/g" "$dir/DEBIAN/control" &&
			dpkg-deb --root-owner-group -Znone -b "$dir" "$REPOSITORY" >/dev/null || return 1
		rm -rf "$dir"
	done
	# In a subshell: the Debian remains mounted here.
	(LAB_LAYERS=$LAB_CACHE/$PACKAGE_LAYER/fs root_mount && root_bind "$REPOSITORY" /repo && root_call index_packages && root_umount)
}

# README's commands, as they are printed. They install the newest kernel, with its headers and its
# source. The older kernel's source is not there: nothing is built for it, and the reason is printed.
package_readme() {
	local older=$1 newer=$2 source=$3 out=$LAB_RUN/readme-said
	"$LAB_VM/doc-commands" list "$LAB_CACHE/$(tree_name)/src" | awk -F'\t' '$3 == "package" && $5 !~ /reboot/' >"$LAB_MNT/etc/doc-commands"
	[ "$(wc -l <"$LAB_MNT/etc/doc-commands")" -ge 5 ] || { echo 'the pages have too few commands of packages'; return 1; }
	cp /etc/resolv.conf /etc/hosts "$LAB_MNT/etc/" && root_exec sh /peerbar/vm/reader || return 1
	root_exec env DOC_COMMANDS_OUTPUT=/root/commands /peerbar/vm/doc-commands run package /etc/doc-commands || return 1
	has_modules "$newer" || return 1
	cp "$LAB_MNT/root/commands" "$out"
	grep -F "no iommufd for Linux $older: linux-source-7.2 is not installed; run: apt-get install linux-source-7.2=$source" "$out" ||
		{ tail -n 200 "$out"; echo 'the reason is not printed'; return 1; }
	! compgen -G "$LAB_MNT/usr/lib/modules/$older/updates/dkms/*" || { echo 'modules were built for a kernel without iommufd'; return 1; }
}

# package_source KERNEL SOURCE: with the source, DKMS builds for the older kernel, too
package_source() { apt_inside install "linux-source-7.2=$2" peerbar-ibverbs python3-peerbar && has_modules "$1"; }

# package_kernel_back NEWER OLDER: removing a kernel removes its modules, and those of the other stay
package_kernel_back() {
	local left
	apt_inside purge linux-image-amd64 linux-headers-amd64 "linux-image-$1" "linux-headers-$1" "linux-modules-$1" "linux-binary-$1" "linux-base-$1" || return 1
	left=$(find "$LAB_MNT/usr/lib/modules/$1" "$LAB_MNT"/var/lib/dkms/*/kernel-"$1"-* -type f 2>/dev/null)
	[ -z "$left" ] || { echo "these files of Linux $1 are left: $left"; return 1; }
	has_modules "$2"
}

# package_upgrade KERNEL
package_upgrade() {
	local version
	# shellcheck disable=SC2016 # awk
	version=$(root_exec dpkg-query -W -f '${Version}' peerbar)+upgraded
	repack_as "$version" "$DEBIAN_PACKAGES"/{peerbar,peerbar-dkms,peerbar-vfio-dkms,peerbar-ibverbs,python3-peerbar,libpeerbar0}_*.deb &&
		apt_inside update && apt_inside upgrade && has_modules "$1" &&
		root_exec dpkg-query -W peerbar-vfio-dkms | grep -F "$version"
}

# package_remove KERNEL: vfio's package first: peerbar's modules are then built for the kernel's own
# vfio
package_remove() {
	local left
	apt_inside purge peerbar-vfio-dkms && root_exec modprobe -S "$1" --show-depends peerbar-vfio-pci | grep '/kernel/drivers/vfio/vfio.ko' ||
		{ echo "peerbar-vfio-pci does not load the kernel's own vfio"; return 1; }
	! is_built_with_iommufd "$1" || { echo "peerbar-vfio-pci was not built for the kernel's own vfio"; return 1; }
	apt_inside purge peerbar peerbar-dkms peerbar-ibverbs python3-peerbar libpeerbar0 || return 1
	# shellcheck disable=SC2016 # the inner shell expands it
	left=$(root_exec bash -c '. <(sed -n "/^left()/,/^}/p" /peerbar/vm/package) && left') || { echo 'the files cannot be listed'; return 1; }
	[ -z "$left" ] || { echo "these files are left: $left"; return 1; }
}

# ---- booted

# make_disk_image TMP: of the Debian with the changes in TMP/upper, and its kernels
make_disk_image() {
	local plain=$1/plain size rc=0
	mkdir "$plain" && mount -t overlay -o "lowerdir=$1/upper:$LAB_CACHE/$DEBIAN/fs" overlay "$plain" || return 1
	size=$(($(du -sm "$plain" | cut -f1) * 5 / 4 + 600))
	LAB_LAYERS=$LAB_CACHE/$PACKAGE_LAYER/fs root_mount && root_bind "$plain" /plain && root_bind "$1" /disk &&
		root_exec mke2fs -q -t ext4 -d /plain /disk/disk.img "${size}M" || rc=1
	root_umount
	cp "$plain"/boot/{vmlinuz,initrd.img}-7.* "$1/" && umount "$plain" && rmdir "$plain" || rc=1
	return $rc
}

# run_phases_at_boot: a unit that runs vm/package, which is in a directory of the host
run_phases_at_boot() {
	root_exec sh /peerbar/vm/reader && root_exec systemd-machine-id-setup || return 1
	cat >"$LAB_MNT/etc/systemd/system/package-check.service" <<-'END'
	[Unit]
	Description=peerbar's packages
	After=multi-user.target
	[Service]
	Type=oneshot
	ExecStartPre=modprobe 9pnet_virtio
	ExecStartPre=mkdir -p /run/check
	ExecStartPre=mount -t 9p -o ro,trans=virtio,version=9p2000.L check /run/check
	ExecStart=bash /run/check/package
	StandardOutput=tty
	StandardError=tty
	TTYPath=/dev/ttyS0
	[Install]
	WantedBy=multi-user.target
	END
	root_exec systemctl -q enable package-check.service &&
		root_exec systemctl -q mask serial-getty@ttyS0.service getty@tty1.service apt-daily.timer apt-daily-upgrade.timer
}

# make_package_image TMP
make_package_image() {
	local tmp=$1 older newer source rc=0
	read -r _ older source _ < <(newest_of 7.2)
	read -r _ newer _ <"$LAB_CACHE/kernels"
	LAB_LAYERS='' debian_mount "$tmp/upper" || return 1
	{
		package_step "README's commands, which install Linux $newer" package_readme "$older" "$newer" "$source" &&
			package_step "the source of Linux $older" package_source "$older" "$source" &&
			package_step 'the machine is prepared' run_phases_at_boot || rc=1
		root_umount
		[ $rc != 0 ] || package_step 'the disk image' make_disk_image "$tmp" || rc=1
	} >"$tmp/said"
	rm -rf "$tmp/upper.work"
	[ $rc = 0 ] || cat "$tmp/said"
	return $rc
}

# boot_package KERNEL PHASES SECONDS: boot the disk and run these phases of vm/package
boot_package() {
	local args rc=0 khz t0 log=$LAB_LOGS/boot-${1%%+*}-${2%% *}.log
	t0=$(date +%s)
	say "package: booting Linux $1: $2"
	mapfile -t args < <(topology ports)
	: >"$LAB_RUN/share/iommu-faults"
	: >"$LAB_RUN/share/expected-faults"
	: >"$LAB_RUN/share/kernel.log"
	truncate -s "${LAB_GPU_MB}M" "$LAB_RUN/share/gpu.mem"
	LAB_LAYERS='' root_mount && root_bind "$LAB_RUN" /lab && root_bind "$PACKAGE_WORK" /disk && root_bind "$LAB_CACHE/$IMAGE" /image &&
		root_bind "$LAB_BUILD" /build || return 1
	khz=$(chroot "$LAB_MNT" /build/tests/lab/tsc-khz)
	timeout -k 5 "$3" chroot "$LAB_MNT" env LD_PRELOAD=/build/tests/lab/.libs/keep-heap.so \
		qemu-system-x86_64 -name peerbar-package -nodefaults -no-user-config -display none -no-reboot \
		-machine q35,kernel-irqchip=split -accel tcg,thread=multi -cpu EPYC,phys-bits=39 -smp 2 -m 2048 \
		-device intel-iommu,intremap=on,caching-mode=on,aw-bits=48 \
		-object memory-backend-file,id=gpumem,size="${LAB_GPU_MB}M",share=on,mem-path=/lab/share/gpu.mem \
		-drive if=none,id=disk0,format=raw,file=/lab/share/disk0.img -drive if=none,id=disk1,format=raw,file=/lab/share/disk1.img \
		-drive if=none,id=root,format=raw,cache=unsafe,file=/disk/disk.img -device virtio-blk-pci,drive=root,addr=18.0 \
		-netdev hubport,id=net0,hubid=0 -netdev hubport,id=net1,hubid=0 \
		-chardev file,id=serial,path=/lab/share/kernel.log -serial chardev:serial \
		-trace vtd_dmar_fault -D /lab/share/iommu-faults \
		-virtfs local,path=/lab/check,mount_tag=check,security_model=none,readonly=on \
		-kernel "/image/vmlinuz-$1" -initrd "/image/initrd.img-$1" \
		-append "root=/dev/vda rw console=ttyS0 loglevel=5 panic=-1 oops=panic tsc=nowatchdog no_timer_check intel_iommu=on mitigations=off ${khz:+tsc_early_khz=$khz} systemd.show_status=0 systemd.firstboot=off fsck.mode=skip package.phases=${2// /,}" \
		"${args[@]}" >"$LAB_LOGS/qemu.log" 2>&1 </dev/null || rc=$?
	root_umount
	tr -d '\r' <"$LAB_RUN/share/kernel.log" >"$log"
	echo "Linux $1 ran for $(($(date +%s) - t0)) s"
	sed -n '/phase .* begins/,$p' "$log" | grep -E '^(ok|FAILED|phase|#|  )'
	grep -q "phase ${2##* } ended" "$log" || { echo "the phases '$2' did not end (QEMU: $rc):"; tail -n 25 "$log"; return 1; }
	! grep -q '^FAILED' "$log" || rc=1
	guest_reports || rc=1
	guest_faults
	[ "$FAULTS" = 0 ] || { warn "the IOMMU reported $FAULTS faults where none was expected"; rc=1; }
	return $rc
}

# put_phases: what a boot gets from the host
put_phases() {
	mkdir -p "$LAB_RUN"/{share,check} && make_disk "$LAB_RUN/share/disk0.img" 0x1111111100000000 && make_disk "$LAB_RUN/share/disk1.img" 0x2222222200000000 &&
		cp "$LAB_VM/package" "$LAB_VM/doc-commands" "$LAB_RUN/check/" &&
		"$LAB_VM/doc-commands" list "$LAB_CACHE/$(tree_name)/src" | grep '^README.md:' | grep -v 'RDMA without' >"$LAB_RUN/check/readme.list" &&
		cp --sparse=always "$LAB_CACHE/$IMAGE/disk.img" "$PACKAGE_WORK/"
}

# ---- the group

# package_step WHAT COMMAND...: a check of this group
package_step() {
	local what=$1 t0
	t0=$(date +%s)
	shift
	say "package: $what"
	if "$@" >"$LAB_LOGS/$1.out" 2>&1; then
		printf 'ok      %-60s %4d s\n# PASS: 1\n' "$what" $(($(date +%s) - t0))
	else
		printf 'FAILED  %-60s %4d s\n' "$what" $(($(date +%s) - t0))
		tail -n 40 "$LAB_LOGS/$1.out" | sed 's/^/    /'
		printf '# FAIL: 1\n'
		PACKAGE_RC=1
		return 1
	fi
}

check_package() {
	local older newer commands
	PACKAGE_RC=0
	debian_packages_ready && kernel_index || return 1
	read -r _ older _ < <(newest_of 7.2)
	read -r _ newer _ <"$LAB_CACHE/kernels"
	DEBIAN=package-debian-$(key "$LAB_SUITE" "$(declare -f make_package_debian bootstrap_debian download_packages)" "$older" "$newer")
	cached "$DEBIAN" make_package_debian || return 1
	# On a disk: the run directory is in memory.
	PACKAGE_WORK=$LAB_CACHE/tmp.$LAB_ID.package
	mkdir -p "$PACKAGE_WORK"
	REPOSITORY=$PACKAGE_WORK/repository
	package_repository "$REPOSITORY" || return 1
	package_step 'lintian' check_lintian

	commands=$("$LAB_VM/doc-commands" list "$LAB_CACHE/$(tree_name)/src" | awk -F'\t' '$3 == "package" { print $5 }')
	IMAGE=package-image-$(key "$DEBIAN" "$(cd "$DEBIAN_PACKAGES" && sha256sum ./*.deb)" "$commands" "$LAB_VM/reader" \
		"$(declare -f package_readme package_source run_phases_at_boot make_disk_image make_package_image)")
	cached "$IMAGE" make_package_image || return 1
	cat "$LAB_CACHE/$IMAGE/said"
	put_phases || return 1
	boot_package "$newer" 'readme installed' 900 || PACKAGE_RC=1
	boot_package "$newer" rebooted 600 || PACKAGE_RC=1
	boot_package "$older" 'rebooted removed' 900 || PACKAGE_RC=1
	rm -f "$PACKAGE_WORK/disk.img"

	LAB_LAYERS=$LAB_CACHE/$IMAGE/upper debian_mount "$PACKAGE_WORK/upper" || return 1
	package_step "Linux $newer removed" package_kernel_back "$newer" "$older"
	package_step 'upgraded' package_upgrade "$older"
	package_step 'removed' package_remove "$older"
	root_umount

	package_step 'the same packages from a second build' check_reproducible
	rm -rf --one-file-system "$PACKAGE_WORK"
	return $PACKAGE_RC
}
