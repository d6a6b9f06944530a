# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
# shellcheck shell=bash
#
# The kernels of the lab. Each is a cache entry kernel-VERSION-FLAVOUR-KEY with
#
#	vmlinuz			QEMU's kernel image; the initramfs is a separate entry, initrd-KEY
#	fs/			a layer for the root: modules, headers, build dependencies
#	release			the output of uname -r
#
# stock: Debian's binary. Its iommufd and vfio are built as modules from the same version's source,
#        unmodified, because Debian configures neither /dev/iommu nor the VFIO cdev.
# debug: built from that source with the checkers of vm/kernel-debug.config.
# nop2p: built from that source without PCI_P2PDMA, with vm/kernel-nop2p.config.
# gcov:  built from that source with vm/kernel-gcov.config, to count what the modules execute.
#
# For another architecture than the root's (arch.sh) there are stock, without the source's checks, and
# for arm64 16k, which is Debian's other binary, with pages of 16 KiB.
#
# The archive lists the versions, which change over time. A version is usable if headers, modules,
# image and source of exactly that version are available.

# private_apt COMMAND...: run apt-get or apt-cache with the lab's own sources and lists; does not
# change the host's
private_apt() {
	local dir=$LAB_CACHE/apt${LAB_CROSS:+-$LAB_ARCH} tool=$1
	shift
	"$tool" -o Dir::State="$dir/state" -o Dir::State::status="$dir/state/status" -o Dir::Cache="$dir/cache" \
		-o Dir::Etc::sourcelist="$dir/sources.list" -o Dir::Etc::sourceparts=/dev/null \
		-o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts=/dev/null \
		-o APT::Architecture="$LAB_ARCH" -o APT::Architectures="$LAB_ARCH${LAB_CROSS:+,amd64}" -o Acquire::Languages=none -o APT::Sandbox::User=root "$@"
}

apt_lists() {
	local dir=$LAB_CACHE/apt${LAB_CROSS:+-$LAB_ARCH}
	mkdir -p "$dir"/state/lists/partial "$dir"/cache/archives/partial
	: >"$dir/state/status"
	apt_sources >"$dir/sources.list" && private_apt apt-get update
}

# kernel_index: write lines "VERSION ABI SOURCE-VERSION IMAGE-PACKAGE" of 7.2 and newer, newest
# first, to a file, and set KERNELS to its path
kernel_index() {
	KERNELS=$LAB_CACHE/kernels${LAB_CROSS:+-$LAB_ARCH}
	[ -z "$(find "$KERNELS" -mmin -1440 2>/dev/null)" ] || return 0
	(
		flock 8
		kernel_index_locked
	) 8>"$LAB_CACHE/lock.kernels"
}

kernel_index_locked() {
	local names abi v image src
	[ -z "$(find "$KERNELS" -mmin -1440 2>/dev/null)" ] || return 0
	if ! step 'asking the archive which kernels it has' apt_lists; then
		[ -f "$KERNELS" ] && return 0
		return 1
	fi
	names=$(private_apt apt-cache pkgnames linux-)
	# shellcheck disable=SC2013 # words without blanks
	for abi in $(sed -n "s/^linux-headers-\([0-9].*-$LAB_ARCH\)\$/\1/p" <<<"$names" | grep -v -e -rt- -e -cloud- | sort -rV); do
		v=${abi%%+*}
		v=${v%%-*}
		[ "$(printf '7.2\n%s\n' "$v" | sort -V | head -n 1)" = 7.2 ] || continue
		grep -qx "linux-modules-$abi" <<<"$names" || continue
		for image in "linux-binary-$abi" "linux-binary-unsigned-$abi" ''; do
			if grep -qx "$image" <<<"$names"; then break; fi
		done
		[ -n "$image" ] || continue
		# linux-source must have the headers' source version, too.
		src=$(private_apt apt-cache madison "linux-headers-$abi" | awk -F' *[|] *' '{ print $2; exit }')
		private_apt apt-cache madison "linux-source-${v%.*}" | awk -F' *[|] *' '{ print $2 }' | grep -qxF "$src" || continue
		echo "$v $abi $src $image"
	done >"$LAB_CACHE/tmp.$LAB_ID.kernels"
	mv "$LAB_CACHE/tmp.$LAB_ID.kernels" "$KERNELS"
}

# kernel_choose SPEC: set KV (7.3.4), KFLAVOUR (stock, debug, nop2p, gcov, 16k) and KNAME (the cache
# entry) from the argument of --kernel: stock, debug, nop2p, 16k, 7.2, 7.3.4, debug-7.2 ...
kernel_choose() {
	local spec=$1 want line
	KFLAVOUR=stock want=$spec
	case $spec in
	stock | debug | nop2p | gcov | 16k) KFLAVOUR=$spec want='' ;;
	debug-* | stock-* | nop2p-* | gcov-* | 16k-*) KFLAVOUR=${spec%%-*} want=${spec#*-} ;;
	[0-9]*) ;;
	*)
		warn "--kernel '$spec' is no kernel: it takes stock, debug, nop2p, gcov, a version such as 7.2 or 7.3.4, or one such as debug-7.2"
		return 2
		;;
	esac
	case $LAB_ARCH,$KFLAVOUR in
	*,stock | arm64,16k | amd64,debug | amd64,nop2p | amd64,gcov) ;;
	amd64,*)
		warn "there is no kernel '$spec' for amd64: '16k' is for --arch arm64"
		return 2
		;;
	*)
		warn "there is no kernel '$spec' for $LAB_ARCH: it takes stock, 16k, or a version such as 7.2 or 7.3.4"
		return 2
		;;
	esac
	kernel_index || return 1
	line=$(awk -v w="$want" 'w == "" || $1 == w || index($1, w ".") == 1 { print; exit }' "$KERNELS")
	if [ -z "$line" ]; then
		warn "no kernel '$spec' in the archive; of 7.2 and newer it has:" \
			"$(awk '{ printf "%s%s", s, $1; s = ", " }' "$KERNELS")"
		return 2
	fi
	read -r KV KABI KSRC KIMAGE <<<"$line"
	# Debian builds both from one source, with one version.
	[ "$KFLAVOUR" != 16k ] || KABI+=-16k KIMAGE+=-16k
	KNAME=kernel-$KV-$KFLAVOUR${LAB_CROSS:+-$LAB_ARCH}-$(key "$KABI" "$KSRC" "$(declare -f unpack_source kernel_start kernel_compile)" "$(
		if [ -n "$LAB_CROSS" ]; then
			declare -f make_cross_kernel unpack_kernel build_missing_modules
		elif [ "$KFLAVOUR" = stock ]; then
			declare -f make_stock_kernel unpack_kernel build_missing_modules unpack_upstream build_selftests && echo "$UPSTREAM"
		else
			declare -f make_source_kernel build_source_kernel
			cat "$LAB_VM/kernel-$KFLAVOUR.config"
		fi)")
	KINITRD=initrd-$(key "$KNAME" "$LAB_VM/init" "$(declare -f pack_initrd)")
}

# fetch_debs DIR PACKAGE=VERSION...: download; kernel_index() of another lab must not replace the
# lists meanwhile
fetch_debs() {
	local dir=$1
	shift
	(
		flock -s 8
		cd "$dir" && private_apt apt-get download "$@"
	) 8>"$LAB_CACHE/lock.kernels"
}

unpack_source() { # DIR [PATH...]: the kernel's source, or some paths of it
	local dir=$1 top=linux-source-${KV%.*}
	shift
	mkdir -p "$dir"
	dpkg-deb --fsys-tarfile "$KTMP"/debs/linux-source-*.deb | tar -xO --wildcards "./usr/src/$top.tar.*" |
		xz -dc | tar -C "$dir" --strip-components=1 -x --wildcards "${@/#/$top/}"
}

# unpack_kernel: unpack the binary kernel's packages into the layer, except drivers that no lab
# machine needs
unpack_kernel() {
	local fs=$KTMP/fs deb
	for deb in "$KTMP"/debs/linux-{headers,kbuild}-*.deb; do
		dpkg-deb --fsys-tarfile "$deb" | tar -C "$fs" -x || return 1
	done
	dpkg-deb --fsys-tarfile "$KTMP"/debs/linux-modules-*.deb | tar -C "$fs" -x --exclude='*/sound' --exclude='*/drivers/media' \
		--exclude='*/drivers/net/wireless' --exclude='*/drivers/iio' --exclude='*/drivers/hid' --exclude='*/drivers/scsi' \
		--exclude='*/drivers/gpu/drm/amd' --exclude='*/drivers/gpu/drm/i915' --exclude='*/drivers/gpu/drm/xe' \
		--exclude='*/drivers/gpu/drm/nouveau' --exclude='*/drivers/gpu/drm/radeon' --exclude='*/drivers/usb' || return 1
	dpkg-deb --fsys-tarfile "$KTMP"/debs/linux-binary-*.deb | tar -xO --wildcards '*/vmlinuz*' >"$KTMP/vmlinuz" || return 1
	# The packages have /lib or /usr/lib; the root has a merged /usr.
	# shellcheck disable=SC2115 # $fs is below $KTMP
	if [ -d "$fs/lib" ]; then cp -a "$fs/lib/." "$fs/usr/lib/" && rm -r "$fs/lib"; fi
	# Files of other packages that the layer must not shadow.
	# shellcheck disable=SC2115
	rm -rf "$fs/usr/share"
}

# build_missing_modules RELEASE SOURCE: build iommufd and vfio for Debian's kernel; runs inside the
# root, as do the paths
build_missing_modules() {
	local k=$1 src=$2 flags
	flags='-DCONFIG_IOMMUFD_MODULE=1 -DCONFIG_IOMMUFD_DRIVER_CORE=1 -DCONFIG_IOMMUFD_DRIVER=1 -DCONFIG_VFIO_DEVICE_CDEV=1'
	# Compile the parts of iommufd that Debian builds into the kernel or not at all into
	# iommufd.ko, and the span iterator, which the core kernel was built without.
	cat >"$src/drivers/iommu/iommufd/Makefile" <<-'END'
		iommufd-y := device.o eventq.o hw_pagetable.o io_pagetable.o ioas.o main.o pages.o vfio_compat.o viommu.o \
			driver.o iova_bitmap.o span_iter.o
		CFLAGS_span_iter.o := -DCONFIG_INTERVAL_TREE_SPAN_ITER=1 -D__DISABLE_EXPORTS
		obj-m := iommufd.o
	END
	cp "$src/lib/interval_tree.c" "$src/drivers/iommu/iommufd/span_iter.c"
	printf 'obj-m := drivers/iommu/iommufd/ drivers/vfio/\n' >"$src/Kbuild"
	make -C "/usr/src/linux-headers-$k" M="$src" -j"$(nproc)" CONFIG_IOMMUFD=m CONFIG_IOMMUFD_VFIO_CONTAINER= \
		CONFIG_VFIO_DEVICE_CDEV=y CONFIG_VFIO_MDEV= CONFIG_MLX5_VFIO_PCI= CONFIG_HISI_ACC_VFIO_PCI= \
		CONFIG_PDS_VFIO_PCI= CONFIG_VIRTIO_VFIO_PCI= CONFIG_NVGRACE_GPU_VFIO_PCI= CONFIG_QAT_VFIO_PCI= CONFIG_XE_VFIO_PCI= \
		CONFIG_ISM_VFIO_PCI= CONFIG_DEBUG_INFO_BTF_MODULES= KCFLAGS="$flags" modules || return 1
	mkdir -p "/usr/lib/modules/$k/updates/iommu" &&
		find "$src" -name '*.ko' -exec cp -t "/usr/lib/modules/$k/updates/iommu" {} + &&
		cp "$src/Module.symvers" "/usr/lib/modules/$k/updates/Module.symvers" &&
		printf '%s\n' "$flags" >"/usr/lib/modules/$k/updates/cflags" &&
		depmod "$k"
}

# build_source_kernel FLAVOUR: configure, check that all requested options are set, build, install;
# runs inside the root
build_source_kernel() {
	local src=/usr/src/linux-$1 fragment=/peerbar/vm/kernel-$1.config lost
	cd "$src" || return 1
	make -s allnoconfig &&
		scripts/kconfig/merge_config.sh -m .config "$fragment" &&
		make -s olddefconfig || return 1
	lost=$(grep -E '^CONFIG_[A-Z0-9_]+=' "$fragment" | grep -vxFf .config || :)
	if [ -n "$lost" ]; then
		echo "these options of vm/${fragment##*/} did not survive: $(tr '\n' ' ' <<<"$lost")"
		return 1
	fi
	make -j"$(nproc)" bzImage modules &&
		make -s INSTALL_MOD_PATH=/usr INSTALL_MOD_STRIP=1 modules_install || return 1
	cp arch/x86/boot/bzImage /usr/src/vmlinuz
	make -s kernelrelease >/usr/src/release
	# Keep the files that modules are built against, and remove the objects.
	find . \( -name '*.o' -o -name '*.a' -o -name '.*.cmd' -o -name '*.ko' -o -name 'vmlinux*' \) \
		! -path './scripts/*' ! -path './tools/*' ! -name vmlinux.h -delete
	find . -mindepth 1 -maxdepth 1 -type d \( -name Documentation -o -name drivers -o -name sound -o -name samples \
		-o -name fs -o -name net \) -exec find {} -type f ! -name 'Makefile*' ! -name 'Kconfig*' ! -name '*.h' -delete \;
}

# pack_initrd RELEASE BUSYBOX: busybox, vm/init, and the modules that are needed to mount the shared
# root; runs inside the root
pack_initrd() {
	local k=$1 dir m list
	dir=$(mktemp -d)
	mkdir -p "$dir"/{bin,mod,proc,sys,dev,r,new}
	cp "$2" "$dir/bin/busybox" && cp /peerbar/vm/init "$dir/init" && chmod +x "$dir/init" || return 1
	list=$(for m in virtio_pci 9pnet_virtio 9p overlay virtio_console; do
		modprobe -S "$k" --show-depends $m 2>/dev/null
	done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }')
	for m in $list; do
		case $m in
		*.xz) xz -dc "$m" >"$dir/mod/$(basename "$m" .xz)" ;;
		*) cp "$m" "$dir/mod/" ;;
		esac || return 1
		basename "$m" .xz >>"$dir/mod/order"
	done
	touch "$dir/mod/order"
	(cd "$dir" && find . | busybox cpio -o -H newc 2>/dev/null | gzip -1) >/initrd || return 1
	rm -rf "$dir"
}

# kernel_start PACKAGE...: fetch into $KTMP/debs, and create the layer's directories
kernel_start() {
	mkdir -p "$KTMP"/{debs,fs/usr/src,fs/usr/lib}
	[ -d "$LAB_CACHE/apt/state/lists" ] || step 'fetching the package lists' apt_lists || return 1
	step "kernel: fetching Linux $KV" fetch_debs "$KTMP/debs" "${@/%/=$KSRC}"
}

# kernel_compile STEP FUNCTION ARGS...: build inside the root, which may still be in preparation,
# into the layer
kernel_compile() {
	rm -rf "$KTMP/debs"
	wait_for_root && root_mount "$KTMP/fs" && step "kernel: $1" root_call "${@:2}" && root_umount || return 1
	rm -rf "$KTMP/fs.work" "$KTMP/fs/tmp" "$KTMP/fs/peerbar" "$KTMP/fs/root"
}

# Used by the checks: checkpatch.pl, kernel-doc, and the kernel's VFIO selftests with their includes.
UPSTREAM='tools/docs/kernel-doc tools/lib/python scripts/checkpatch.pl scripts/spelling.txt scripts/const_structs.checkpatch scripts/subarch.include include/linux/pci_ids.h
	tools/testing/selftests/vfio tools/testing/selftests/lib.mk tools/testing/selftests/*.h tools/testing/selftests/*.mk tools/include
	tools/arch/x86/include tools/scripts drivers/dma/idxd/registers.h drivers/dma/ioat/*.h drivers/net/ethernet/intel/igb/*.h'

# unpack_upstream: unpack the source of iommufd and vfio to missing, and the above to upstream
unpack_upstream() {
	local paths src=$KTMP/fs/usr/src
	read -ra paths -d '' <<<"$UPSTREAM"
	# Decompressing the archive takes half a minute: unpack everything at once.
	unpack_source "$src/upstream" "${paths[@]}" 'drivers/iommu/*.h' drivers/iommu/iommufd drivers/vfio lib/interval_tree.c &&
		mkdir -p "$src/missing/drivers" && mv "$src"/upstream/drivers/{iommu,vfio} "$src/missing/drivers" &&
		mv "$src/upstream/lib" "$src/missing/lib"
}

# build_selftests: build the kernel's VFIO selftests for the guest; runs inside the root
build_selftests() {
	local out=/usr/libexec/vfio-selftests t
	mkdir -p /tmp/selftests $out && make -C /usr/src/upstream/tools/testing/selftests/vfio -j"$(nproc)" KHDR_INCLUDES= \
		OUTPUT=/tmp/selftests || { echo 'they do not build, as those of 7.2 do not'; return 0; }
	for t in vfio_dma_mapping_test vfio_dma_mapping_mmio_test vfio_iommufd_setup_test vfio_pci_device_test; do
		cp /tmp/selftests/$t $out/ || return 1
	done
}

make_stock_kernel() {
	KTMP=$1
	kernel_start "linux-source-${KV%.*}" "$KIMAGE" "linux-modules-$KABI" "linux-headers-$KABI" \
		"linux-headers-${KABI%-amd64}-common" "linux-kbuild-${KABI%-amd64}" &&
		step 'kernel: unpacking the image and its modules' unpack_kernel &&
		step "kernel: unpacking the source of iommufd and vfio, and the source's checks" unpack_upstream &&
		kernel_compile 'building iommufd and vfio' build_missing_modules "$KABI" /usr/src/missing &&
		kernel_compile "building the kernel's own VFIO selftests" build_selftests || return 1
	rm -rf "$KTMP/fs/usr/src/missing"
	echo "$KABI" >"$KTMP/release"
}

make_source_kernel() {
	KTMP=$1
	kernel_start "linux-source-${KV%.*}" &&
		step 'kernel: unpacking the source' unpack_source "$KTMP/fs/usr/src/linux-$KFLAVOUR" &&
		kernel_compile "building the $KFLAVOUR kernel (up to 20 minutes on two cores, once)" build_source_kernel "$KFLAVOUR" || return 1
	mv "$KTMP/fs/usr/src/vmlinuz" "$KTMP/vmlinuz"
	mv "$KTMP/fs/usr/src/release" "$KTMP/release"
}

# make_cross_kernel TMP: as make_stock_kernel(), for another architecture than the root's
make_cross_kernel() {
	local version=${KABI%%-"$LAB_ARCH"*}
	KTMP=$1
	kernel_start "linux-source-${KV%.*}" "$KIMAGE" "linux-modules-$KABI" "linux-headers-$KABI" \
		"linux-headers-$version-common" "linux-kbuild-$version:amd64" &&
		step 'kernel: unpacking the image and its modules' unpack_kernel &&
		step 'kernel: unpacking the source of iommufd and vfio' unpack_source "$KTMP/fs/usr/src/missing" \
			'drivers/iommu/*.h' drivers/iommu/iommufd drivers/vfio lib/interval_tree.c &&
		kernel_compile 'building iommufd and vfio' build_missing_modules "$KABI" /usr/src/missing || return 1
	rm -rf "$KTMP/fs/usr/src/missing"
	echo "$KABI" >"$KTMP/release"
}

make_initrd() {
	local tmp=$1
	LAB_LAYERS=$LAB_CACHE/$KNAME/fs
	root_mount "$tmp/layer" && root_bind "$(guest_root)" /guest &&
		step 'kernel: making the initramfs' root_call pack_initrd "$(cat "$LAB_CACHE/$KNAME/release")" /guest/bin/busybox && root_umount || return 1
	LAB_LAYERS=''
	mv "$tmp/layer/initrd" "$tmp/initrd"
	rm -rf "$tmp/layer" "$tmp/layer.work"
}

# kernel_ready: make sure that both cache entries of the chosen kernel exist
kernel_ready() {
	local maker=make_source_kernel
	[ "$KFLAVOUR" != stock ] || maker=make_stock_kernel
	[ -z "$LAB_CROSS" ] || maker=make_cross_kernel
	cached "$KNAME" $maker && cached "$KINITRD" make_initrd
}
