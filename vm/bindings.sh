# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
# shellcheck shell=bash
#
# The group 'bindings' of ./lab check: the bindings for Python and Rust are current with the headers, clean, and work in the machine.
# Rust's compiler and mypy are Debian's, in a layer of their own (packages-KEY); what they build is in build/bindings of the tree.

BINDINGS_PACKAGES='cargo musl-tools mypy rust-clippy rustc rustfmt'

# The checks below run inside the root, with the layer over it.

bindings_current() { /src/bindings/generate --check; }

# The layout that the compiler gives the structures, for the tests.
bindings_layout() {
	/src/bindings/generate --layout >/build/bindings/layout.c &&
		cc -Wall -Werror -I/src/lib -o /build/bindings/layout-program /build/bindings/layout.c && /build/bindings/layout-program >/build/bindings/layout
}

bindings_mypy() { cd /src/bindings/python && mypy --strict --cache-dir=/build/bindings/mypy -p peerbar; }

bindings_python() {
	cd /src/bindings/python/tests && PEERBAR_LIBRARY=/build/.libs/libpeerbar.so PYTHONPATH=/src/bindings/python python3 -m unittest -q test_devices.Layout
}

# in_rust COMMAND...: in the workspace, without a network
in_rust() {
	cd /src/bindings/rust && env CARGO_HOME=/build/bindings/cargo CARGO_TARGET_DIR=/build/bindings/rust CARGO_NET_OFFLINE=true \
		PEERBAR_LIB_DIR=/build/.libs PEERBAR_LAB_DIR=/build/.libs LD_LIBRARY_PATH=/build/.libs RUSTDOCFLAGS='-D warnings' "$@"
}

bindings_rustfmt() { in_rust cargo fmt --all --check; }
bindings_clippy() { in_rust cargo clippy --locked --workspace --all-targets -- -D warnings; }
bindings_rustdoc() { in_rust cargo doc --locked --no-deps; }
# The tests that need a device do nothing here; the doc tests run. The programs for the machine are built, too.
bindings_rust() {
	in_rust cargo test --locked --quiet && in_rust cargo build --locked --quiet -p vmm &&
		in_rust cargo test --locked --no-run --message-format=json -p peerbar --test lab 2>/dev/null |
		sed -n 's/.*"executable":"\([^"]*\/lab-[^"]*\)".*/\1/p' | tail -n 1 >/build/bindings/rust-test &&
		[ -s /build/bindings/rust-test ]
}

# A static library for musl, without libnl, and a static program that uses it. musl lacks the kernel's headers and <sys/queue.h>.
bindings_musl() {
	local headers=/build/bindings/musl-headers glibc=/usr/include/x86_64-linux-gnu
	rm -rf $headers
	mkdir -p $headers/sys /build/bindings/musl && ln -s /usr/include/linux /usr/include/asm-generic $glibc/asm $headers/ &&
		ln -s $glibc/sys/queue.h $headers/sys/ && cd /build/bindings/musl || return 1
	[ -f Makefile ] && [ config.status -nt /src/configure ] || /src/configure CC=musl-gcc CPPFLAGS="-idirafter $headers" --quiet --without-libnl \
		--disable-shared --enable-static --with-python-dir=no || return 1
	make -s libpeerbar.la && cat >user.c <<-'END' || return 1
	#include <errno.h>
	#include <peerbar.h>
	#include <string.h>
	int main(void)
	{
		struct pb_error err = { 0 };
		struct pb_watch *watch;
		struct pb_guest *guest;

		if (pb_guest_create(&guest, &err) || pb_guest_nr_refused(guest))
			return 1;
		pb_guest_destroy(guest);
		return pb_watch_open(&watch, &err) != -EOPNOTSUPP || !strstr(err.text, "without libnl");
	}
	END
	musl-gcc -static -Wall -Werror -I/src/lib -o user user.c .libs/libpeerbar.a && ./user
}

run_bindings() {
	local c good=0 bad=0
	export PYTHONDONTWRITEBYTECODE=1 PEERBAR_LAYOUT=/build/bindings/layout
	mkdir -p /build/bindings
	rm -rf /build/bindings/python-tests
	cp -r /src/bindings/python/tests /build/bindings/python-tests
	for c in current layout python mypy rustfmt clippy rustdoc rust musl; do
		if (bindings_$c); then
			echo "bindings: $c: ok"
			good=$((good + 1))
		else
			echo "bindings: $c: FAILED"
			bad=$((bad + 1))
		fi
	done
	printf '# PASS: %d\n# FAIL: %d\n' $good $bad
	return $((bad != 0))
}

# check_bindings: without a machine, then in one
check_bindings() {
	local rc=0
	# shellcheck disable=SC2086 # several packages
	packages_ready $BINDINGS_PACKAGES && LAB_LAYERS=$PACKAGES_LAYER tree_mount || return 2
	root_call run_bindings || rc=$?
	root_umount
	LAB_LIMIT=${LAB_LIMIT:-600}
	guest /lab/vm-bindings || rc=1
	cp "$LAB_RUN/share/bindings.tap" "$LAB_LOGS/" 2>/dev/null
	guest_reports || rc=1
	guest_faults
	[ "$FAULTS" = "$EXPECTED" ] || { warn "the IOMMU reported $FAULTS faults where $EXPECTED were expected"; rc=1; }
	return $rc
}
