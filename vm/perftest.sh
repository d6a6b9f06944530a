# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
# shellcheck shell=bash
#
# perftest with peerbar's memory backend (rdma/perftest), from the source of the version installed
# in the root. It is built once for each state of the backend and of the library's header, and laid
# over the guest's root, in /usr/lib/peerbar/perftest.
#
#	perftest-KEY/fs		the layer

# unpack_perftest TMP: fetch the source, and the headers of two libraries that the root lacks
unpack_perftest() {
	local tmp=$1 dir=$1/source admin=$LAB_CACHE/$LAB_ROOT/fs/var/lib/dpkg version umad pci deb
	version=$(dpkg-query --admindir="$admin" -W -f '${source:Version}' perftest) &&
		umad=$(dpkg-query --admindir="$admin" -W -f '${Version}' libibumad3) &&
		pci=$(dpkg-query --admindir="$admin" -W -f '${Version}' libpci3) || return 1
	mkdir -p "$dir"/{state/lists/partial,cache/archives/partial,download,perftest,sdk}
	: >"$dir/state/status"
	{ apt_sources && apt_sources | sed 's/^deb /deb-src /'; } >"$dir/sources.list" || return 1
	source_apt "$dir" update && (cd "$dir/download" && source_apt "$dir" source --download-only --tar-only "perftest=$version" &&
		source_apt "$dir" download "libibumad-dev=$umad" "libpci-dev=$pci") || return 1
	tar -C "$dir/perftest" --strip-components=1 --no-same-owner -xf "$dir"/download/perftest_*.orig.tar.* || return 1
	for deb in "$dir"/download/*.deb; do dpkg-deb -x "$deb" "$dir/sdk" || return 1; done
}

# build_perftest: build inside the root, with TMP in /perftest and the installed tree in /stage
build_perftest() {
	local sdk=/perftest/source/sdk/usr multiarch=x86_64-linux-gnu bin=/perftest/fs/usr/lib/peerbar/perftest
	cp /src/rdma/perftest/peerbar_memory.[ch] /perftest/source/perftest/src && cd /perftest/source/perftest || return 1
	patch -p1 </src/rdma/perftest/hooks-25.01.diff && ./autogen.sh || return 1
	# The package with the headers has the link to the library, but not the library itself.
	ln -sf /usr/lib/$multiarch/libibumad.so.3 $sdk/lib/$multiarch/libibumad.so
	ln -sf /usr/lib/$multiarch/libpci.so.3 $sdk/lib/$multiarch/libpci.so
	./configure --prefix=/usr CPPFLAGS="-I$sdk/include -I$sdk/include/$multiarch -I/stage/usr/include" \
		LDFLAGS="-L$sdk/lib/$multiarch -L/stage/usr/lib" || return 1
	# Check peerbar's file as strictly as its other sources, but not perftest's headers.
	gcc -std=gnu11 -D_GNU_SOURCE -fsyntax-only -Wall -Wextra -Wshadow -Wmissing-prototypes -Wstrict-prototypes -Wformat=2 -Wvla -Werror \
		-I/stage/usr/include -I$sdk/include -isystem . -isystem src -x c - <src/peerbar_memory.c || return 1
	make -j"$(nproc)" && mkdir -p $bin && cp ib_{write,read,send,atomic}_{bw,lat} $bin
}

make_perftest() {
	local tmp=$1
	step "perftest: fetching its source" unpack_perftest "$tmp" || return 1
	tree_mount && root_bind "$tmp" /perftest && step 'perftest: building it with our backend' root_call build_perftest || return 1
	root_umount
	rm -rf "$tmp/source"
}

# perftest_ready: set LAB_LAYER; call tree_ready before
perftest_ready() {
	local name
	name=perftest-$(key "$LAB_ROOT" "$(cat "$LAB_TOP"/rdma/perftest/{hooks-25.01.diff,peerbar_memory.[ch]} "$LAB_TOP"/lib/peerbar.h "$LAB_TOP"/lib/peerbar/*.h)" \
		"$(declare -f make_perftest build_perftest unpack_perftest)")
	cached "$name" make_perftest || return 1
	# shellcheck disable=SC2034 # of guest_run
	LAB_LAYER=$LAB_CACHE/$name/fs
}
