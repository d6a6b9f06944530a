# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
# shellcheck shell=bash
#
# Programs of other projects that use verbs: libfabric with its fabtests, Open MPI, and UCX. The binaries are Debian's; fabtests, which
# Debian does not ship, is built from the source package of the libfabric that is installed, and so is our MPI program. All of it is laid
# over the guest's root, fabtests and the MPI program in /usr/lib/peerbar/foreign.
#
#	foreign-KEY/fs		what is laid over

# what Debian has; the -dev packages are for the build
FOREIGN_PACKAGES='libfabric1 libfabric-bin libfabric-dev openmpi-bin libopenmpi-dev ucx-utils'

# unpack_foreign TMP: the packages, with those that they need and the root lacks, and the source of libfabric
unpack_foreign() {
	local tmp=$1 dir=$1/source deb version
	mkdir -p "$dir"/{state/lists/partial,cache/archives/partial,download,libfabric,bin} "$tmp/fs"
	cp "$LAB_CACHE/$LAB_ROOT/fs/var/lib/dpkg/status" "$dir/state/status"
	{ apt_sources && apt_sources | sed 's/^deb /deb-src /'; } >"$dir/sources.list" || return 1
	# shellcheck disable=SC2086 # several packages
	source_apt "$dir" update && source_apt "$dir" -o APT::Architecture=amd64 -o APT::Architectures=amd64 --assume-yes --no-install-recommends \
		--download-only install $FOREIGN_PACKAGES || return 1
	# shellcheck disable=SC2016 # dpkg-deb expands it
	version=$(dpkg-deb -W --showformat='${source:Version}' "$dir"/cache/archives/libfabric1_*.deb) &&
		(cd "$dir/download" && source_apt "$dir" source --download-only --tar-only "libfabric=$version") || return 1
	tar -C "$dir/libfabric" --strip-components=1 --no-same-owner -xf "$dir"/download/libfabric_*.orig.tar.* || return 1
	# the files are all that these need of their packages, so nothing is configured
	for deb in "$dir"/cache/archives/*.deb; do dpkg-deb -x "$deb" "$tmp/fs" || return 1; done
	rm -rf "$tmp"/fs/usr/share/{doc,man,locale,info,lintian}
}

# those of fabtests that vm/foreign runs
FABTESTS='benchmarks/fi_msg_pingpong benchmarks/fi_msg_bw benchmarks/fi_rma_bw benchmarks/fi_dgram_pingpong benchmarks/fi_rdm_pingpong
	benchmarks/fi_rdm_tagged_pingpong benchmarks/fi_rdm_cntr_pingpong benchmarks/fi_rdm_bw functional/fi_rdm_atomic functional/fi_unmap_mem'

# build_foreign: inside the root, with the packages over it and TMP/source in /foreign
build_foreign() {
	# shellcheck disable=SC2086 # several programs
	cd /foreign/libfabric/fabtests && ./autogen.sh && ./configure --disable-dependency-tracking --disable-static &&
		make -j"$(nproc)" $FABTESTS && cp $FABTESTS /foreign/bin || return 1
	mpicc.openmpi -std=gnu11 -O2 -Wall -Wextra -Wshadow -Werror -o /foreign/bin/mpi-window /src/tests/mpi-window.c
}

make_foreign() {
	local tmp=$1
	step 'foreign: fetching libfabric, Open MPI and UCX' unpack_foreign "$tmp" || return 1
	LAB_LAYERS=$tmp/fs tree_mount && root_bind "$tmp/source" /foreign && step 'foreign: building fabtests' root_call build_foreign || return 1
	root_umount
	# what only the build needs, of Fortran and static libraries the most
	rm -rf "$tmp"/fs/usr/{include,libexec,lib/gcc} && find "$tmp/fs" -name '*.a' -delete
	mkdir -p "$tmp/fs/usr/lib/peerbar" && mv "$tmp/source/bin" "$tmp/fs/usr/lib/peerbar/foreign" && rm -rf "$tmp/source"
}

# foreign_ready: after tree_ready; leaves LAB_LAYER set
foreign_ready() {
	local name
	name=foreign-$(key "$LAB_ROOT" "$FOREIGN_PACKAGES" "$FABTESTS" "$(cat "$LAB_TOP/tests/mpi-window.c")" "$(declare -f make_foreign build_foreign unpack_foreign)")
	cached "$name" make_foreign || return 1
	# shellcheck disable=SC2034 # of guest_run
	LAB_LAYER=$LAB_CACHE/$name/fs
}
