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

# make_modules RELEASE ARGUMENT...: run make inside the root. Warnings are errors here, but not in
# other builds. Debug information, which Debian's kernels ask for, would be stripped.
make_modules() { make -C /src/kernel KVER="$1" MO=/modules/objects PEERBAR_TEST=1 W=1 KCFLAGS='-Werror -g0' -j"$(nproc)" "${@:2}"; }

# build_modules RELEASE ARGUMENT...: build inside the root, with arguments for make
build_modules() {
	# Remove all objects if the list of sources changed, so that none of a removed source stays.
	if [ "$(cat /modules/objects/.sources 2>/dev/null)" != "$(cd /src/kernel && find . -type f | sort)" ]; then
		rm -rf /modules/objects/* /modules/objects/.[!.]*
	fi
	make_modules "$1" modules "${@:2}" && (cd /src/kernel && find . -type f | sort) >/modules/objects/.sources
}

# install_modules RELEASE: install inside the root; depmod's lists cover all modules, so they
# replace those of the kernel's layer
install_modules() {
	local dir=/usr/lib/modules/$1
	# depmod warns if there are none.
	touch "$dir"/modules.{order,builtin,builtin.modinfo}
	rm -rf /modules/layer/* "$dir/updates/peerbar"
	mkdir -p "$dir/updates/peerbar" "/modules/layer$dir/updates"
	find /modules/objects -name '*.ko' -exec cp -t "$dir/updates/peerbar" {} + && "${LAB_CROSS:+$LAB_CROSS-}strip" --strip-debug "$dir"/updates/peerbar/*.ko &&
		depmod "$1" && cp -a "$dir"/modules.* "/modules/layer$dir/" && cp -a "$dir/updates/peerbar" "/modules/layer$dir/updates/"
}

# modules_build: build for the chosen kernel if a source changed; one lab of a tree at a time
modules_build() {
	(
		flock 8
		modules_build_locked
	) 8>"$LAB_CACHE/$(tree_name)/lock.modules"
}

modules_build_locked() {
	local dir key release flags=()
	dir=$(modules_dir)
	key=$(modules_key)
	# Count what is executed.
	[ "$KFLAVOUR" != gcov ] || flags=(GCOV_PROFILE=y)
	release=$(cat "$LAB_CACHE/$KNAME/release")
	[ "$(cat "$dir/built" 2>/dev/null)" != "$key" ] || return 0
	rm -f "$dir/built"
	# Remove those for older builds of this kernel.
	find "${dir%-*}"-* -maxdepth 0 ! -path "$dir" -exec rm -rf {} + 2>/dev/null
	modules_mount || return 1
	step "building the modules for Linux $release" root_call build_modules "$release" "${flags[@]}" &&
		root_call install_modules "$release" || return 1
	root_umount
	echo "$key" >"$dir/built"
}

# modules_ready: build for the machine, and set LAB_MODULES
modules_ready() {
	modules_build || return 1
	LAB_MODULES=$(modules_dir)/layer
}

# ---- checks, inside the root with the stock kernel's layer

# sparse_says: print sparse's reports about peerbar's sources. sparse is older than the kernel: drop
# its errors about MODULE_LICENSE() and the like, which have the compiler check a string's length.
sparse_says() {
	local said file line
	grep -E '^[^ :]+\.[ch]:[0-9]+:[0-9]+: (warning|error)' | grep -v '^/usr/src/' | while IFS= read -r said; do
		IFS=: read -r file line _ <<<"$said"
		[[ $said == *': error: bad constant expression'* && $(sed -n "${line}p" "$file") =~ ^(MODULE_|module_param) ]] || echo "$said"
	done
}

# run_sparse RELEASE: check all sources, but compile none: the objects are those of build_modules()
# for the same flags. Debian's headers lack the script that tests for sparse, so set
# KBUILD_CHECKSRC. Define newer kernels' keyword for typeof.
run_sparse() {
	local out=/tmp/sparse said
	rm -rf $out && mkdir $out || return 1
	printf '#!/bin/sh\nexec sparse -D__typeof_unqual__=__typeof__ "$@"\n' >$out/check && chmod +x $out/check
	make_modules "$1" KBUILD_CHECKSRC=2 CHECK=$out/check modules >$out/log 2>&1 || { tail -n 40 $out/log; return 1; }
	[ "$(grep -c '^  CHECK ' $out/log)" = "$(find /src/kernel -name '*.c' | wc -l)" ] ||
		{ cat $out/log; echo 'sparse did not look at every source'; return 1; }
	said=$(cd /modules/objects && sparse_says <$out/log)
	[ -z "$said" ] || { echo "$said"; return 1; }
}

# run_without_p2pdma RELEASE: compile what depends on PCI_P2PDMA as if this kernel had none; runs inside
# the root. The suite of ./lab check --kernel nop2p executes it.
run_without_p2pdma() {
	local out=/tmp/nop2p
	mkdir -p $out/objects && echo '#undef CONFIG_PCI_P2PDMA' >$out/undef.h &&
		make -s -C "/lib/modules/$1/build" M=/src/kernel MO=$out/objects W=1 -j"$(nproc)" \
			KCFLAGS="-Werror -g0 -include $out/undef.h $(cat "/lib/modules/$1/updates/cflags" 2>/dev/null)" core/ vfio/ >$out/log 2>&1 &&
		nm $out/objects/vfio/without-p2pdma.o | grep -q ' T ' || { tail -n 40 $out/log; return 1; }
}

# modules_check NAME FUNCTION ARGS...: run it inside the root, and count it in good or bad
modules_check() {
	if root_call "${@:2}"; then
		echo "modules: $1: clean"
		good=$((good + 1))
	else
		echo "modules: $1: FAILED"
		bad=$((bad + 1))
	fi
}

# check_modules: build for both series of kernels and without P2P DMA, run sparse, and look at what
# tracing costs
check_modules() {
	local release good=0 bad=0
	if (kernel_choose 7.2 && cached "$KNAME" make_stock_kernel && modules_build); then
		echo 'modules: built for Linux 7.2 too, without a warning'
		good=1
	else
		bad=1
	fi
	release=$(cat "$LAB_CACHE/$KNAME/release")
	modules_mount || return 1
	modules_check sparse run_sparse "$release"
	modules_check 'without PCI_P2PDMA' run_without_p2pdma "$release"
	modules_check 'tracing that is off' run_nop_sites
	root_umount
	# For group(), which sums them up.
	printf '# PASS: %d\n# FAIL: %d\n' $good $bad
	return $((bad != 0))
}

# run_nop_sites: that tracing costs nothing while it is off; runs inside the root
run_nop_sites() { find /modules/objects -name 'peerbar*.ko' ! -name 'peerbar-test-*' -exec /peerbar/vm/nop-sites {} +; }

# selftests_built: whether the selftests of the chosen kernel could be built
selftests_built() { [ -x "$LAB_CACHE/$KNAME/fs/usr/libexec/vfio-selftests/vfio_pci_device_test" ]; }

# check_selftests: run the kernel's VFIO selftests on vfio-pci, then on peerbar-vfio-pci, where no
# test may fail that passes on vfio-pci
check_selftests() {
	if ! selftests_built; then
		echo "selftests: skipped, because those of Linux $KV do not build"
		[ "${KV#7.2}" != "$KV" ]
		return
	fi
	lab_script_check selftests 600
}
