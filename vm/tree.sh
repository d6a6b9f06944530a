# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
# shellcheck shell=bash
#
# Building the tree inside the root. The repository is not written to: the files that git tracks, or
# does not ignore, are copied to the cache, and built there.
#
#	tree-KEY/src		the copy
#	tree-KEY/build		the ordinary build, shared with the guest as /build
#	tree-KEY/sanitize	the same with ASan and UBSan
#	tree-KEY/stage		the files of 'make install', laid over the guest's root
#	tree-KEY/modules-*	the kernel modules, for one kernel each (modules.sh)

tree_name() { echo "tree-$(key "$LAB_TOP" "$LAB_ROOT" ${LAB_CROSS:+"$LAB_CROSS_NAME"})"; }

# tree_names: print the names of the checkout's files, separated by null bytes
tree_names() {
	if git -C "$LAB_TOP" rev-parse --git-dir >/dev/null 2>&1; then
		git -c safe.directory='*' -C "$LAB_TOP" ls-files -z --cached --others --exclude-standard
	else
		(cd "$LAB_TOP" && find . -name .git -prune -o -type f -printf '%P\0')
	fi | sort -z
}

# tree_current: whether tree-KEY/src is equal to the checkout, and built
tree_current() {
	local dir f
	dir=$LAB_CACHE/$(tree_name)
	[ -f "$dir/built" ] && [ ! -f "$dir/changed" ] && tree_names | cmp -s - "$dir/files" || return 1
	while IFS= read -r -d '' f; do
		if [ -e "$LAB_TOP/$f" ]; then cmp -s "$LAB_TOP/$f" "$dir/src/$f" || return 1; else [ ! -e "$dir/src/$f" ] || return 1; fi
	done <"$dir/files"
}

# tree_copy: update tree-KEY/src; unchanged files keep their times, so that make rebuilds little
tree_copy() {
	local dir new f
	dir=$LAB_CACHE/$(tree_name)
	mkdir -p "$dir"/{src,build,sanitize,stage}
	new=$dir/files.new
	tree_names >"$new"
	while IFS= read -r -d '' f; do
		if [ ! -e "$LAB_TOP/$f" ]; then continue; fi
		cmp -s "$LAB_TOP/$f" "$dir/src/$f" && continue
		mkdir -p "$dir/src/$(dirname "$f")"
		cp --preserve=mode "$LAB_TOP/$f" "$dir/src/$f" || return 1
		touch "$dir/changed"
	done <"$new"
	if [ -f "$dir/files" ]; then
		comm -z -23 "$dir/files" "$new" | while IFS= read -r -d '' f; do rm -f "$dir/src/$f"; done
		# Remove files that git still lists, but that are gone from the tree.
		while IFS= read -r -d '' f; do [ -e "$LAB_TOP/$f" ] || rm -f "$dir/src/$f"; done <"$new"
	fi
	mv "$new" "$dir/files"
}

# tree_mount: mount the root with the tree in /src and its builds in /build, /sanitize, /stage
tree_mount() {
	local dir
	dir=$LAB_CACHE/$(tree_name)
	root_mount || return 1
	root_bind "$dir/src" /src && root_bind "$dir/build" /build && root_bind "$dir/sanitize" /sanitize &&
		root_bind "$dir/stage" /stage
}

# build_tree DIR TARGETS [ARGUMENT...]: configure with the arguments, and build the targets; without
# targets all, and the programs of the checks. Runs inside the root.
build_tree() {
	local dir=$1 targets=$2 host=()
	shift 2
	if [ -n "$LAB_CROSS" ]; then
		host=(--host="$LAB_CROSS" PKG_CONFIG_LIBDIR="/usr/lib/$LAB_CROSS/pkgconfig:/usr/share/pkgconfig")
	fi
	[ -x /src/configure ] && [ /src/configure -nt /src/configure.ac ] || (cd /src && autoreconf -fi) || return 1
	cd "$dir" || return 1
	[ -f Makefile ] && [ config.status -nt /src/configure ] || /src/configure --prefix=/usr --sysconfdir=/etc --localstatedir=/var \
		--disable-static --enable-werror --with-rdma-core-source=/usr/src/rdma-core "${host[@]}" "$@" || return 1
	if [ -n "$targets" ]; then
		# shellcheck disable=SC2086 # words
		make -s -j"$(nproc)" $targets
	else
		make -s -j"$(nproc)" all && make -s -j"$(nproc)" check TESTS=
	fi
}

install_tree() {
	rm -rf /stage/* && make -s -C /build install DESTDIR=/stage && mkdir -p /stage/build
}

# tree_ready: build for the machine, and set LAB_BUILD and LAB_STAGE. Labs of one checkout run at the
# same time as long as it does not change: a lab that has to update the tree waits for the others.
tree_ready() {
	local dir
	dir=$LAB_CACHE/$(tree_name)
	mkdir -p "$dir"
	exec 7>"$dir/lock"
	flock -s -n 7 || { say 'waiting for another lab that updates this tree'; flock -s 7; }
	touch "$dir"
	LAB_BUILD=$dir/build LAB_STAGE=$dir/stage
	if tree_current; then modules_ready; return; fi
	flock -n 7 || { say 'waiting for another lab that uses this tree'; flock 7; }
	tree_copy && modules_ready && tree_build && flock -s 7
}

# tree_build: build and install the copy, unless it is built
tree_build() {
	local dir
	dir=$LAB_CACHE/$(tree_name)
	if [ -f "$dir/built" ] && [ ! -f "$dir/changed" ]; then return 0; fi
	rm -f "$dir/built"
	tree_mount || return 1
	step 'building the tree' root_call build_tree /build '' && step 'installing it for the guest' root_call install_tree || return 1
	root_umount
	touch "$dir/built"
	rm -f "$dir/changed"
}
