# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
# shellcheck shell=bash
#
# Tests of the lab: the hosts that it accepts, its log folders, two machines on one network, and a run
# whose kernel oopses.

# make_archive DIR ORIGIN SUITE...: create an empty archive of Debian's layout in DIR, and add it to
# the fake host's apt sources
make_archive() {
	local dir=$1 origin=$2 suite
	shift 2
	for suite; do
		mkdir -p "$dir/dists/$suite/main/binary-amd64"
		# apt ignores an index without a package.
		printf 'Package: %s\nVersion: 1\nArchitecture: amd64\nFilename: none\nSize: 0\n' "$suite" >"$dir/dists/$suite/main/binary-amd64/Packages"
		printf 'Origin: %s\nLabel: %s\nSuite: %s\nCodename: %s\nDate: %s\nArchitectures: amd64\nComponents: main\nSHA256:\n %s %s %s\n' \
			"$origin" "$origin" "$suite" "$suite" "$(LC_ALL=C date -u '+%a, %d %b %Y %H:%M:%S +0000')" \
			"$(sha256sum <"$dir/dists/$suite/main/binary-amd64/Packages" | cut -d' ' -f1)" \
			"$(wc -c <"$dir/dists/$suite/main/binary-amd64/Packages")" main/binary-amd64/Packages >"$dir/dists/$suite/Release"
		echo "deb [trusted=yes] file:$dir $suite main" >>"$FAKE/sources.list"
	done
}

# fake_host ID NAME CODENAME: create a host with that os-release, without apt sources
fake_host() {
	FAKE=$(mktemp -d "$LAB_RUN/host.XXXXXX")
	mkdir -p "$FAKE"/{state/lists/partial,cache/archives/partial,xdg}
	: >"$FAKE/sources.list"
	printf 'ID=%s\nPRETTY_NAME="%s"\nVERSION_CODENAME=%s\n' "$1" "$2" "$3" >"$FAKE/os-release"
	cat >"$FAKE/apt.conf" <<-END
	Dir::State "$FAKE/state";
	Dir::Cache "$FAKE/cache";
	Dir::Etc::sourcelist "$FAKE/sources.list";
	Dir::Etc::sourceparts "/dev/null";
	APT::Sandbox::User "root";
	APT::Architecture "amd64";
	END
}

# on_fake_host COMMAND...: run a lab there with caches of its own; its output goes to $FAKE/out
on_fake_host() {
	# shellcheck disable=SC2016
	env -u LAB_INSIDE -u LAB_CACHE -u LAB_LOGS -u LAB_RUN -u LAB_ID -u LAB_START -u LAB_OWN_LOGS APT_CONFIG="$FAKE/apt.conf" XDG_CACHE_HOME="$FAKE/xdg" \
		unshare --mount bash -c 'mount --bind "$1/os-release" "$(readlink -f /etc/os-release)" && shift && exec "$@"' \
		host "$FAKE" "$@" >"$FAKE/out" 2>&1 6>&- 7>&- 9>&-
}

# says TEXT...: whether the last output on a fake host has all of the texts
says() {
	local text
	for text; do
		grep -qF -- "$text" "$FAKE/out" || { echo "what the lab said has no '$text':"; sed 's/^/    /' "$FAKE/out"; return 1; }
	done
}

# nothing_fetched: whether the last lab on a fake host did not create a root
nothing_fetched() { ! compgen -G "$FAKE/xdg/peerbar/root-*"; }

# A host without a Debian archive in its apt sources: doctor and all commands that fetch from it
# must fail.
test_other_host() {
	fake_host ubuntu 'Ubuntu 24.04.2 LTS' noble
	make_archive "$FAKE/ubuntu" Ubuntu noble noble-updates
	on_fake_host apt-get update || { cat "$FAKE/out"; return 1; }
	! on_fake_host "$LAB_TOP/lab" doctor && says 'MISSING  a Debian archive' 'this host is Ubuntu 24.04.2 LTS' 'LAB_MIRROR' || return 1
	on_fake_host "$LAB_TOP/lab" build
	[ $? = 2 ] && says 'this host is Ubuntu 24.04.2 LTS' 'LAB_MIRROR' && nothing_fetched
}

# If the host also has a Debian archive, the lab uses that one; the same for LAB_MIRROR.
test_other_host_with_debian() {
	local uri
	uri=$(mirror) || return 1
	fake_host ubuntu 'Ubuntu 24.04.2 LTS' noble
	make_archive "$FAKE/ubuntu" Ubuntu noble noble-updates
	on_fake_host env LAB_MIRROR="$uri" "$LAB_TOP/lab" doctor
	says "ok       a Debian archive with trixie: $uri" || return 1
	make_archive "$FAKE/debian" Debian trixie trixie-backports
	on_fake_host apt-get update || { cat "$FAKE/out"; return 1; }
	# This archive is not signed.
	! on_fake_host "$LAB_TOP/lab" doctor && says "MISSING  a Debian archive with trixie" "$FAKE/debian" 'not signed'
}

# With a mirror that lacks the lab's suite, the lab must fail before it fetches anything.
test_mirror_without_suite() {
	fake_host debian 'Debian GNU/Linux 12 (bookworm)' bookworm
	make_archive "$FAKE/debian" Debian bookworm
	on_fake_host apt-get update || { cat "$FAKE/out"; return 1; }
	! on_fake_host "$LAB_TOP/lab" doctor && says "MISSING  a Debian archive with trixie" 'trixie Release' || return 1
	on_fake_host "$LAB_TOP/lab" build
	[ $? = 2 ] && says 'does not have trixie' && nothing_fetched
}

# Concurrent labs of one checkout must have different log folders; consecutive ones have the same. A
# folder given by --logs, as the gate does, is taken as it is.
test_log_folders() {
	local cache first second third own LAB_OWN_LOGS=
	cache=$(mktemp -d "$LAB_RUN/cache.XXXXXX")
	# shellcheck disable=SC2016
	first=$(LAB_CACHE=$cache; take_logs; echo "$LAB_LOGS")
	exec 5< <(LAB_CACHE=$cache; take_logs; echo "$LAB_LOGS"; exec sleep 60)
	read -r second <&5
	third=$(LAB_CACHE=$cache; take_logs; echo "$LAB_LOGS")
	kill $!
	exec 5<&-
	[ "$first" = "$second" ] && [ "$third" = "$second.2" ] && [ "$(readlink "$cache/log")" = "${third##*/}" ] ||
		{ echo "the folders were $first, then $second and at the same time $third"; return 1; }
	own=$(LAB_CACHE=$cache LAB_OWN_LOGS=$cache/own; take_logs; echo "$LAB_LOGS")
	[ "$own" = "$cache/own" ] || { echo "--logs $cache/own: the folder was $own"; return 1; }
}

# project_lab WORD...: run a command of './lab run', in the tree that is prepared
project_lab() {
	parse_options "$@"
	run_command "${CMD[@]}" >"$LAB_RUN/project.out" 2>"$LAB_RUN/project.err"
}

# in_project COMMAND...: run it in a copy of the example of another project
in_project() {
	local dir=$LAB_RUN/project
	[ -d "$dir" ] || cp -r "$LAB_TOP/examples/project" "$dir" || return 1
	(cd "$dir" && COMMAND=run && "$@")
}

# project_failed TEXT: print what the lab said
project_failed() { echo "$1"; sed 's/^/    /' "$LAB_RUN/project.out" "$LAB_RUN/project.err"; return 1; }

# The commands of docs/ci.md, as printed: a foreign project is built with its packages, and tested.
test_ci_page() {
	local where place command n=0
	while IFS=$'\t' read -r where _ place _ command <&3; do
		[ "$place" = lab ] && [[ $where == docs/ci.md:* ]] || continue
		[[ $command == 'peerbar/lab run '* ]] || { echo "$where is no 'peerbar/lab run'"; return 1; }
		command=${command%%  #*}
		echo "lab: $where: $command"
		rm -rf "$LAB_RUN/project"
		eval "in_project project_lab ${command#peerbar/lab run }" || project_failed "$where: status $?" || return 1
		[ ! -e "$LAB_RUN/project/bar-test" ] || { echo 'the build wrote to a directory that is mounted read-only'; return 1; }
		grep -q REVOCABLE "$LAB_RUN/project/out/buffer.json" || project_failed 'the artifact is not there' || return 1
		grep -q '<testsuite name="lab" tests="4" failures="0">' "$LAB_RUN/project/out/lab.xml" || { cat "$LAB_RUN/project/out/lab.xml"; return 1; }
		n=$((n + 1))
	done 3< <("$LAB_VM/doc-commands" list "$LAB_TOP")
	[ $n -gt 0 ] || { echo 'docs/ci.md has no command'; return 1; }
}

# The standard input, the environment, statuses, modes of directories, a failed build, and wrong options.
test_project() {
	local rc=0 words
	# shellcheck disable=SC2016 # the guest's shell expands it
	in_project eval 'mkdir -p data && echo given | project_lab --mount . --mount data:results:rw --env "WORDS=two \"words" --stdin \
		--build "echo built >/usr/share/built; cat /mnt/results/x 2>/dev/null || echo \$WORDS >from-build" --junit lab.xml -- sh -c '"'"'
		pwd; cat; echo "$WORDS"; cat from-build /usr/share/built; ! touch here 2>/dev/null && echo ro; echo kept >/mnt/results/kept; exit 7'"'" || rc=$?
	words=$(paste -sd, "$LAB_RUN/project.out")
	[ $rc = 7 ] && [ "$words" = '/mnt/project,given,two "words,two "words,built,ro' ] || project_failed "status $rc: $words" || return 1
	[ "$(cat "$LAB_RUN/project/data/kept")" = kept ] && [ ! -e "$LAB_RUN/project/from-build" ] || { echo 'the directories are not right'; return 1; }
	grep -q 'tests="4" failures="1"' "$LAB_RUN/project/lab.xml" && grep -q 'the command ended with status 7' "$LAB_RUN/project/lab.xml" ||
		{ cat "$LAB_RUN/project/lab.xml"; return 1; }
	rc=0
	in_project project_lab --mount . --build 'echo no; exit 9' --junit lab.xml -- true || rc=$?
	[ $rc = 9 ] && grep -q 'tests="1" failures="1"' "$LAB_RUN/project/lab.xml" || project_failed "a failed build: status $rc" || return 1
	for words in '--mount /nowhere' '--mount .:a/b' '--mount . --mount .' '--env 1=2' '--env A' "--mount $LAB_CACHE"; do
		# shellcheck disable=SC2086 # options
		if (in_project parse_options $words) >"$LAB_RUN/project.err" 2>&1; then echo "the lab takes $words"; return 1; fi
	done
}

# Two machines on one network: host 2 finds host 1 there, each host's name is before its lines, each has a log folder, and the
# status is that of the host that fails, which ends the other one.
test_hosts() {
	local rc=0 t0 words
	t0=$(date +%s)
	LAB_GRACE=1
	# shellcheck disable=SC2016 # the guest's shell expands it
	project_lab --hosts 2 --limit 150 -- bash -c '/lab/vm-barrier up || exit 1
		if [ $LAB_HOST = 1 ]; then hostname; sleep 300; fi
		getent ahostsv4 host1 | grep -q "^10.0.0.1 " || exit 1
		for _ in {1..100}; do
			echo >/dev/udp/10.0.0.1/9
			sleep 0.1
			! ip neigh show 10.0.0.1 | grep -q " 52:54:00:00:01:01 " || exit $((LAB_HOSTS + 5))
		done' || rc=$?
	echo "lab: two hosts took $(($(date +%s) - t0)) s"
	[ $rc = 7 ] && grep -qx 'host1: host1' "$LAB_RUN/project.out" && [ -s "$LAB_LOGS/host1/kernel.log" ] && [ -s "$LAB_LOGS/host2/kernel.log" ] &&
		grep -q '^host1: .*the machine was stopped: host2 had failed' "$LAB_RUN/project.err" || project_failed "two hosts: status $rc" || return 1
	for words in '--hosts 5' '--hosts x'; do
		# shellcheck disable=SC2086 # options
		if (COMMAND=run && parse_options $words) >"$LAB_RUN/project.err" 2>&1; then echo "the lab takes $words"; return 1; fi
	done
}

# An oops must end the machine soon, with a report. The command runs for four minutes if the kernel
# continues.
test_oops() {
	local rc=0 panicked
	LAB_LIMIT=400 LAB_KMEMLEAK=0 guest sh -c 'modprobe peerbar-test-oops; sleep 240' >"$LAB_RUN/oops" 2>&1 || rc=$?
	panicked=$(grep -c 'kernel panicked after .*: Fatal exception' "$LAB_RUN/oops")
	guest_reports >"$LAB_RUN/oops-report" 2>&1 && rc=0
	echo "lab: an oops ended the machine after $GUEST_SECONDS s"
	[ $rc = 125 ] && [ "$panicked" = 1 ] && [ "$GUEST_SECONDS" -lt 200 ] && grep -q 'pb_test_oops_init' "$LAB_RUN/oops-report" ||
		{ cat "$LAB_RUN/oops" "$LAB_RUN/oops-report"; return 1; }
}

check_lab() {
	local t good=0 bad=0 tests='test_other_host test_other_host_with_debian test_mirror_without_suite test_log_folders test_ci_page test_project test_oops'
	# Two machines boot for a minute: only with --only lab.
	[ "$LAB_ONLY" != lab ] || tests+=' test_hosts'
	for t in $tests; do
		if (LAB_LOGS=$LAB_LOGS/lab; mkdir -p "$LAB_LOGS"; $t); then
			echo "lab: ${t#test_}: ok"
			good=$((good + 1))
		else
			echo "lab: ${t#test_}: FAILED"
			bad=$((bad + 1))
		fi
	done
	printf '# PASS: %d\n# FAIL: %d\n' $good $bad
	return $((bad != 0))
}
