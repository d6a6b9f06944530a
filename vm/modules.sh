# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
# shellcheck shell=bash
#
# The modules of kernel/, built inside the root for the chosen kernel, and for other kernels in a
# check. Each kernel has a directory of its own, so that switching between kernels does not rebuild:
#
#	tree-KEY/modules-VERSION-FLAVOUR-KEY/
#		objects		make's output
#		layer		the modules and depmod's lists, laid over the guest's root
#		built		the key of the sources of both

# modules_dir: the directory for the chosen kernel
modules_dir() { echo "$LAB_CACHE/$(tree_name)/modules-${KNAME#kernel-}"; }

# modules_key: a hash of the modules' sources in the copy of the tree, and of the functions that
# build them
modules_key() {
	(cd "$LAB_CACHE/$(tree_name)/src/kernel" && find . -type f -print0 | sort -z | xargs -0 sha256sum
		declare -f make_modules build_modules install_modules) | sha256sum | cut -c1-12
}

# modules_mount: mount the root with the chosen kernel's layer, the tree in /src, and its modules in
# /modules
modules_mount() {
	local dir
	dir=$(modules_dir)
	mkdir -p "$dir"/{objects,layer}
	LAB_LAYERS=$LAB_CACHE/$KNAME/fs root_mount && root_bind "$LAB_CACHE/$(tree_name)/src" /src && root_bind "$dir" /modules
}

# make_modules RELEASE ARGUMENT...: run make inside the root; warnings are errors here, but not in
# other builds
make_modules() { make -C /src/kernel KVER="$1" MO=/modules/objects PEERBAR_TEST=1 W=1 KCFLAGS=-Werror -j"$(nproc)" "${@:2}"; }

# build_modules RELEASE: build inside the root
build_modules() {
	# Remove all objects if the list of sources changed, so that none of a removed source stays.
	if [ "$(cat /modules/objects/.sources 2>/dev/null)" != "$(cd /src/kernel && find . -type f | sort)" ]; then
		rm -rf /modules/objects/* /modules/objects/.[!.]*
	fi
	make_modules "$1" modules && (cd /src/kernel && find . -type f | sort) >/modules/objects/.sources
}

# install_modules RELEASE: install inside the root; depmod's lists cover all modules, so they
# replace those of the kernel's layer
install_modules() {
	local dir=/usr/lib/modules/$1
	rm -rf /modules/layer/* "$dir/updates/peerbar"
	mkdir -p "$dir/updates/peerbar" "/modules/layer$dir/updates"
	find /modules/objects -name '*.ko' -exec cp -t "$dir/updates/peerbar" {} + && strip --strip-debug "$dir"/updates/peerbar/*.ko &&
		depmod "$1" && cp -a "$dir"/modules.* "/modules/layer$dir/" && cp -a "$dir/updates/peerbar" "/modules/layer$dir/updates/"
}

# modules_build: build for the chosen kernel if a source changed
modules_build() {
	local dir key release
	dir=$(modules_dir)
	key=$(modules_key)
	release=$(cat "$LAB_CACHE/$KNAME/release")
	[ "$(cat "$dir/built" 2>/dev/null)" != "$key" ] || return 0
	rm -f "$dir/built"
	# Remove those for older builds of this kernel.
	find "${dir%-*}"-* -maxdepth 0 ! -path "$dir" -exec rm -rf {} + 2>/dev/null
	modules_mount || return 1
	step "building the modules for Linux $release" root_call build_modules "$release" &&
		root_call install_modules "$release" || return 1
	root_umount
	echo "$key" >"$dir/built"
}

# modules_ready: build for the machine, and set LAB_MODULES
modules_ready() {
	modules_build || return 1
	LAB_MODULES=$(modules_dir)/layer
}

# ---- checks, inside the root with the stock kernel's layer, which has parts of the kernel's source
# in /usr/src/upstream

# sparse_says: print sparse's reports about peerbar's sources. sparse is older than the kernel: drop
# its errors about MODULE_LICENSE() and the like, which have the compiler check a string's length.
sparse_says() {
	local said file line
	grep -E '^[^ :]+\.[ch]:[0-9]+:[0-9]+: (warning|error)' | grep -v '^/usr/src/' | while IFS= read -r said; do
		IFS=: read -r file line _ <<<"$said"
		[[ $said == *': error: bad constant expression'* && $(sed -n "${line}p" "$file") =~ ^(MODULE_|module_param) ]] || echo "$said"
	done
}

# run_sparse RELEASE: check a copy, rebuilt. Debian's headers lack the script that tests for sparse,
# so set KBUILD_CHECKSRC. Define newer kernels' keyword for typeof.
run_sparse() {
	local out=/tmp/sparse said
	rm -rf $out && mkdir $out && cp -r /src/kernel $out/ || return 1
	printf '#!/bin/sh\nexec sparse -D__typeof_unqual__=__typeof__ "$@"\n' >$out/check && chmod +x $out/check
	make -C $out/kernel KVER="$1" PEERBAR_TEST=1 KBUILD_CHECKSRC=2 CHECK=$out/check -j"$(nproc)" >$out/log 2>&1 ||
		{ tail -n 40 $out/log; return 1; }
	cd $out/kernel || return 1
	[ "$(grep -c '^  CHECK ' $out/log)" = "$(find . -name '*.c' ! -name '*.mod.c' | wc -l)" ] ||
		{ cat $out/log; echo 'sparse did not look at every source'; return 1; }
	said=$(sparse_says <$out/log)
	[ -z "$said" ] || { echo "$said"; return 1; }
}

# run_checkpatch: the kernel's rules, for lines of 130 columns, without those about patches
run_checkpatch() {
	local files
	cd /src/kernel || return 1
	mapfile -t files < <(find . \( -name '*.[ch]' -o -name Kbuild -o -name Makefile \) -printf '%P\n' | sort)
	perl /usr/src/upstream/scripts/checkpatch.pl --strict --no-tree --terse --no-summary --max-line-length=130 \
		--ignore FILE_PATH_CHANGES -f "${files[@]}"
}

# Run DKMS like a user: install from a copy of kernel/ in /usr/src, for a kernel other than the
# running one.
run_dkms() {
	local version m
	version=$(sed -n 's/^PACKAGE_VERSION="\(.*\)"/\1/p' /src/kernel/dkms.conf)
	[ "$version" = "$(sed -n 's/^AC_INIT(\[peerbar\], \[\(.*\)\])/\1/p' /src/configure.ac)" ] ||
		{ echo "dkms.conf says version $version, and configure.ac another"; return 1; }
	rm -rf "/usr/src/peerbar-$version" && cp -r /src/kernel "/usr/src/peerbar-$version" &&
		dkms install "peerbar/$version" -k "$1" >/tmp/dkms.log 2>&1 || { tail -n 40 /tmp/dkms.log /var/lib/dkms/peerbar/*/build/make.log; return 1; }
	for m in peerbar peerbar-vfio-pci peerbar-iommufd; do
		find "/usr/lib/modules/$1/updates/dkms" -name "$m.ko*" | grep -q . || { echo "DKMS installs no $m"; return 1; }
	done
	! find "/usr/lib/modules/$1/updates/dkms" -name 'peerbar-test*' | grep . &&
		dkms remove "peerbar/$version" --all >/dev/null 2>&1 && echo "DKMS: builds, installs and removes the modules of $version" || return 1
}

# check_modules: build for both series of kernels, and run the source checkers
check_modules() {
	local release c good=0 bad=0
	if (kernel_choose 7.2 && cached "$KNAME" make_stock_kernel && modules_build); then
		echo 'modules: built for Linux 7.2 too, without a warning'
		good=1
	else
		bad=1
	fi
	release=$(cat "$LAB_CACHE/$KNAME/release")
	modules_mount || return 1
	for c in run_sparse run_checkpatch run_dkms; do
		if root_call $c "$release"; then
			echo "modules: ${c#run_}: clean"
			good=$((good + 1))
		else
			echo "modules: ${c#run_}: FAILED"
			bad=$((bad + 1))
		fi
	done
	root_umount
	# For group(), which sums them up.
	printf '# PASS: %d\n# FAIL: %d\n' $good $bad
	return $((bad != 0))
}

# check_selftests: run the kernel's VFIO selftests on vfio-pci, then on peerbar-vfio-pci, where no
# test may fail that passes on vfio-pci
check_selftests() {
	local rc=0
	if [ ! -x "$LAB_CACHE/$KNAME/fs/usr/libexec/vfio-selftests/vfio_pci_device_test" ]; then
		echo "selftests: skipped, because those of Linux $KV do not build"
		[ "${KV#7.2}" != "$KV" ]
		return
	fi
	LAB_LIMIT=${LAB_LIMIT:-600} LAB_KMEMLEAK=0
	guest bash /lab/vm-selftests || rc=$?
	cp "$LAB_RUN/share/selftests.tap" "$LAB_LOGS/" 2>/dev/null
	guest_reports || rc=1
	guest_faults
	[ "$FAULTS" = 0 ] || { warn "the IOMMU reported $FAULTS faults where none was expected"; rc=1; }
	return $rc
}
