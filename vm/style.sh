# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
# shellcheck shell=bash
#
# The group 'style' of ./lab check, and ./lab format. The checks run inside the root, with the tree
# in /src, its files' names in /files, its build in /build, and the modules' objects in /objects.

# tree_files: print the names of the tree's files that exist, separated by null bytes
tree_files() {
	local f
	while IFS= read -r -d '' f; do [ ! -s "$f" ] || printf '%s\0' "$f"; done </files
}

# c_files: those in C
c_files() { tree_files | grep -z '\.[ch]$'; }

# shell_scripts: those with a shell in their first line, or with shellcheck's directive
shell_scripts() {
	tree_files | xargs -0 awk 'FNR == 1 && /^#!.*[\/ ](ba|busybox )?sh$/ || FNR <= 3 && /^# shellcheck shell=/ { print FILENAME; nextfile }' |
		sort -u
}

style_tags() {
	local f bad=0
	while IFS= read -r -d '' f; do
		# Formats without comments.
		case $f in LICENSES/* | *.supp | *.png | *.json | */Cargo.lock | debian/changelog | debian/source/format) continue ;; esac
		head -n 2 "$f" | grep -q 'SPDX-License-Identifier: (*GPL-2.0' || { echo "$f: no SPDX tag on its first line"; bad=1; }
	done < <(tree_files)
	return $bad
}

# style_versions: the places that a release changes must have the version of configure.ac
style_versions() {
	local version file text bad=0
	version=$(sed -n 's/^AC_INIT(\[peerbar\], \[\(.*\)\])/\1/p' configure.ac)
	while IFS='|' read -r file text; do
		grep -qF -e "${text/VERSION/$version}" "$file" || { echo "$file: no '${text/VERSION/$version}', the version of configure.ac"; bad=1; }
	done <<-'END'
		CHANGELOG.md|## [VERSION] -
		bindings/python/pyproject.toml|version = "VERSION"
		bindings/rust/Cargo.toml|version = "VERSION"
		bindings/rust/peerbar/Cargo.toml|version = "VERSION"
		debian/changelog|peerbar (VERSION)
		debian/peerbar-vfio/dkms.conf|="VERSION"
		docs/demo.md|peerbar VERSION:
		kernel/README.md|dkms install peerbar/VERSION
		kernel/dkms.conf|="VERSION"
		man/libpeerbar.3|.Qq VERSION .
		rpm/peerbar.spec|Version:	VERSION
	END
	return $bad
}

style_manual() {
	local f bad=0
	for f in man/*.[13] /build/man/man3*/*.3; do
		[ "$(head -c 4 "$f")" = '.so ' ] || mandoc -T lint -W warning "$f" || bad=1
	done
	return $bad
}

# style_headers: the comments that the man pages are made from
style_headers() {
	/usr/src/upstream/tools/docs/kernel-doc -none -Wall -Werror lib/peerbar/*.h rdma/verbs/peerbar-verbs.h
}

# Its configuration is .shellcheckrc.
style_shell() { shell_scripts | xargs -d '\n' shellcheck -f gcc; }

style_spelling() { tree_files | xargs -0 codespell; }

style_format() {
	c_files | xargs -0 clang-format --dry-run -Werror --ferror-limit=1 ||
		{ echo "'./lab format' formats the tree"; return 1; }
}

style_layers() { tree_files | vm/check-layers . --objects /build --kernel-objects /objects; }

# style_checkpatch: the kernel's rules, without those about patches. The limit of 100 columns is
# checkpatch's own, and that of .clang-format.
style_checkpatch() {
	cd kernel && find . \( -name '*.[ch]' -o -name Kbuild -o -name Makefile \) -printf '%P\0' | sort -z |
		xargs -0 perl /usr/src/upstream/scripts/checkpatch.pl --strict --no-tree --terse --no-summary \
			--ignore FILE_PATH_CHANGES -f
}

run_style() {
	local c good=0 bad=0
	cd /src || return 1
	for c in tags versions manual headers shell spelling format layers checkpatch; do
		if (style_$c); then
			echo "style: $c: clean"
			good=$((good + 1))
		else
			echo "style: $c: FAILED"
			bad=$((bad + 1))
		fi
	done
	# For group(), which sums them up.
	printf '# PASS: %d\n# FAIL: %d\n' $good $bad
	return $((bad != 0))
}

# check_style: mount the kernel's layer, too, for checkpatch.pl and kernel-doc
check_style() {
	local rc=0
	LAB_LAYERS=$LAB_CACHE/$KNAME/fs tree_mount && root_bind "$(modules_dir)/objects" /objects || return 2
	cp "$LAB_CACHE/$(tree_name)/files" "$LAB_MNT/files"
	root_call run_style || rc=$?
	root_umount
	return $rc
}

# run_format: format the C files in /tree whose names are on the standard input. Write only files
# that change, in place, so that they keep their owner.
run_format() {
	local f formatted rc=0
	formatted=$(mktemp)
	cd /tree || return 1
	while IFS= read -r -d '' f; do
		[ -e "$f" ] || continue
		clang-format "$f" >"$formatted" || { rc=1; continue; }
		cmp -s "$f" "$formatted" || { cat "$formatted" >"$f" && echo "$f"; } || rc=1
	done
	return $rc
}

# lab_format: format the C files of the checkout that git tracks
lab_format() {
	local files
	git -C "$LAB_TOP" rev-parse --git-dir >/dev/null 2>&1 || { warn "'format' writes what git tracks, and $LAB_TOP is no git checkout"; return 2; }
	wait_for_root && root_mount && root_bind "$LAB_TOP" /tree || return 2
	files=$LAB_RUN/c-files
	git -c safe.directory='*' -C "$LAB_TOP" ls-files -z '*.[ch]' >"$files"
	root_call run_format <"$files" || return 1
	root_umount
}
