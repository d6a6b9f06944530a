// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The installed command peerbar: its output, its JSON, its exit statuses, its messages. */
#include <json-c/json.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "command.h"
#include "modules.h"
#include "testmod.h"

/* Copy a call with a function's address in place of each @. */
static void put_bdf(char *to, size_t size, const char *call, const char *bdf)
{
	size_t n = 0;

	for (; *call && n < size - 1; call++)
		n += (size_t)(*call == '@' ? snprintf(to + n, size - n, "%s", bdf) :
					     snprintf(to + n, size - n, "%c", *call));
}

static void bind_all(void)
{
	ok(pb_pci_bind(lab_bdf(LAB_GPU), NULL, &err));
	ok(pb_pci_bind(lab_bdf(LAB_EDU), NULL, &err));
	ok(pb_pci_bind(lab_bdf(LAB_NVME), NULL, &err));
}

START_TEST(devices)
{
	struct json_object *list, *f, *bar;

	bind_all();
	ck_assert_int_eq(run("peerbar devices 2>&1"), 0);
	says(lab_bdf(LAB_GPU));
	says("2: 256M prefetchable");
	says("vfio-pci");
	ck_assert_int_eq(run("peerbar devices --json %s 2>&1", lab_bdf(LAB_GPU)), 0);
	list = parsed();
	ck_assert_uint_eq(json_object_array_length(list), 1);
	f = json_object_array_get_idx(list, 0);
	is_string(f, "bdf", lab_bdf(LAB_GPU));
	is_string(f, "vendor", "1af4");
	is_string(f, "driver", "vfio-pci");
	bar = json_object_array_get_idx(member(f, "bars"), 1);
	is_number(bar, "index", 2);
	is_number(bar, "size", 256 * MIB);
	json_object_put(list);
	ck_assert_int_eq(run("peerbar devices 0000:fe:1f.7 2>&1"), 1);
	says("there is no PCI function 0000:fe:1f.7");
	ck_assert_int_eq(run("peerbar devices gpu 2>&1"), 2);
	says("'gpu' is no PCI address");
}
END_TEST

START_TEST(bind_and_unbind)
{
	struct pb_pci_function f;

	ck_assert_int_eq(run("peerbar unbind %s 2>&1", lab_bdf(LAB_EDU)), 0);
	ok(pb_pci_get(lab_bdf(LAB_EDU), &f, &err));
	ck_assert_str_eq(f.driver, "");
	ck_assert_int_eq(run("peerbar export %s 0 2>&1", lab_bdf(LAB_EDU)), 1);
	says("bind it to vfio-pci");
	ck_assert_int_eq(run("peerbar bind %s 2>&1", lab_bdf(LAB_EDU)), 0);
	ok(pb_pci_get(lab_bdf(LAB_EDU), &f, &err));
	ck_assert_str_eq(f.driver, "vfio-pci");
	ck_assert_int_eq(run("peerbar bind --driver nonesuch %s 2>&1", lab_bdf(LAB_EDU)), 1);
	says("no driver of that name");
	ck_assert_int_eq(run("peerbar bind 2>&1"), 2);
}
END_TEST

/*
 * Shell commands that start a process that holds an exported buffer: $e is its PID, and $fd the
 * PID:FD that it prints.
 */
#define HOLD(what)                                                                 \
	"rm -f /tmp/held; peerbar export " what " --hold >/tmp/held 2>&1 & e=$!; " \
	"await '^[0-9]*:[0-9]*$' /tmp/held; "                                      \
	"fd=$(grep '^[0-9]*:[0-9]*$' /tmp/held); "

/* Start an unbind in the background, $w, and go on when it waits for the device. */
#define WAITING(what)                                        \
	"peerbar unbind " what " >/tmp/waited 2>&1 & w=$!; " \
	"await waiting /tmp/waited; "

/* Binding a driver to a device it does not support can crash the kernel. */
START_TEST(bind_to_a_driver_of_other_devices)
{
	struct json_object *o;
	struct pb_pci_function f;

	module_load("e1000e");
	bind_all();
	ck_assert_int_eq(run("peerbar bind %s --driver e1000e 2>&1", lab_bdf(LAB_EDU)), 1);
	says("not for this device, 1234:11e8");
	says("peerbar bind --force");
	ck_assert_int_eq(run("peerbar --json bind %s --driver e1000e 2>/dev/null",
			     lab_bdf(LAB_EDU)),
			 1);
	o = parsed();
	is_string(member(o, "error"), "errno", "EPERM");
	json_object_put(o);
	/* A driver that checks the device before it accesses it. */
	ck_assert_int_eq(run("peerbar bind %s --driver virtio-pci --force 2>&1", lab_bdf(LAB_EDU)),
			 1);
	says("peerbar: warning: virtio-pci is not for");
	says("did not bind it");
	ok(pb_pci_get(lab_bdf(LAB_EDU), &f, &err));
	ck_assert_str_eq(f.driver, "vfio-pci");
	ck_assert_int_eq(module_unload("e1000e"), 0);
}
END_TEST

/*
 * A device that is open: commands that would wait or fail return an error at once that names the
 * process.
 */
START_TEST(in_use)
{
	static const char *const commands[] = { "unbind @", "bind --driver virtio-pci @",
						"export @ 2", "reset @" };
	struct pb_pci_function f;
	struct json_object *o;
	char command[100];
	size_t i;

	bind_all();
	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		put_bdf(command, sizeof(command), commands[i], lab_bdf(LAB_GPU));
		ck_assert_int_eq(run(HOLD("%s 2 0:64K") "timeout -s KILL 60 peerbar %s 2>&1; r=$?; echo \"holder $e (peerbar) end\"; kill $e; wait $e; "
							"exit $r",
				     lab_bdf(LAB_GPU), command),
				 1);
		says("in use by process ");
		/* Check that the message names the holder's PID. */
		{
			const char *holder = strstr(output, "holder ") + strlen("holder ");
			char name[40];

			snprintf(name, sizeof(name), "by process %d (peerbar)", atoi(holder));
			says(name);
		}
	}
	ck_assert_int_eq(run(HOLD("%s 2 0:64K") "peerbar --json unbind %s 2>/dev/null; kill $e; wait $e",
			     lab_bdf(LAB_GPU), lab_bdf(LAB_GPU)),
			 0);
	o = parsed();
	is_string(member(o, "error"), "errno", "EBUSY");
	json_object_put(o);
	/* A command that stock vfio-pci cannot complete must not begin. */
	ck_assert_int_eq(run(HOLD("%s 2 0:64K") "peerbar unbind --revoke %s 2>&1; r=$?; kill $e; wait $e; exit $r",
			     lab_bdf(LAB_GPU), lab_bdf(LAB_GPU)),
			 1);
	says("this needs peerbar-vfio-pci");
	ok(pb_pci_get(lab_bdf(LAB_GPU), &f, &err));
	ck_assert_str_eq(f.driver, "vfio-pci");
}
END_TEST

/* --wait changes nothing if a signal ends it, and continues when the device is closed. */
START_TEST(wait_until_unused)
{
	struct pb_pci_function f;

	bind_all();
	ck_assert_int_eq(run(HOLD("%s 2 0:64K") WAITING(
				     "--wait %s") "kill -INT $w; wait $w; "
						  "echo status $?; cat /tmp/waited; kill $e; wait $e",
			     lab_bdf(LAB_GPU), lab_bdf(LAB_GPU)),
			 0);
	says("status 1");
	says("peerbar: waiting: cannot take");
	says("was ended by signal 2");
	ok(pb_pci_get(lab_bdf(LAB_GPU), &f, &err));
	ck_assert_str_eq(f.driver, "vfio-pci");
	ck_assert_int_eq(run(HOLD("%s 2 0:64K")
				     WAITING("--wait %s") "kill $e; wait $e; wait $w; "
							  "echo status $?; cat /tmp/waited",
			     lab_bdf(LAB_GPU), lab_bdf(LAB_GPU)),
			 0);
	says("status 0");
	says("bound to no driver");
	ok(pb_pci_get(lab_bdf(LAB_GPU), &f, &err));
	ck_assert_str_eq(f.driver, "");
}
END_TEST

START_TEST(help)
{
	static const char *const general[] = { "-h", "--help", "help", "help help" };
	static const char *const of_map[] = { "map -h", "-h map", "help map", "map --help" };
	static const char *const version[] = { "-V", "--version" };
	size_t i;

	for (i = 0; i < sizeof(general) / sizeof(general[0]); i++) {
		ck_assert_int_eq(run("peerbar %s", general[i]), 0);
		says("COMMAND [OPERAND...]");
	}
	for (i = 0; i < sizeof(of_map) / sizeof(of_map[0]); i++) {
		ck_assert_int_eq(run("peerbar %s", of_map[i]), 0);
		says("map BDF BAR [OFFSET:LENGTH...]");
	}
	for (i = 0; i < sizeof(version) / sizeof(version[0]); i++) {
		ck_assert_int_eq(run("peerbar %s", version[i]), 0);
		says(PACKAGE_VERSION);
	}
	ck_assert_int_eq(run("peerbar help frobnicate 2>&1"), 2);
	says("no command 'frobnicate'");
	ck_assert_int_eq(run("peerbar -x 2>&1"), 2);
	says("no option '-x'");
	/*
	 * Each command in the help must have a help text of its own, and be known to the shell
	 * completion.
	 */
	ck_assert_int_eq(run("peerbar help | sed -n 's/^  \\([a-z][a-z]*\\) .*/\\1/p' | sort -u >/tmp/commands; [ $(wc -l </tmp/commands) -ge 15 ] && "
			     "while read -r c; do [ $c = help ] || peerbar $c -h | grep -q \"peerbar.* $c\" || echo no help of $c; done </tmp/commands; "
			     "bash -c '. $(dirname $(command -v peerbar))/../share/bash-completion/completions/peerbar; "
			     "COMP_LINE=\"peerbar \"; COMP_POINT=8; COMP_WORDS=(peerbar \"\"); COMP_CWORD=1; _peerbar; "
			     "printf \"%%s\\n\" \"${COMPREPLY[@]}\"' | sort -u | diff /tmp/commands - && echo completed"),
			 0);
	says("completed");
	ck_assert(!strstr(output, "no help of"));
}
END_TEST

/* Invalid operands are usage errors, and nothing is done. */
START_TEST(empty_arguments)
{
	static const char *const calls[] = {
		"bind --driver '' @",
		"bind --driver a/b @",
		"bind ''",
		"unbind ''",
		"devices ''",
		"reset ''",
		"revoke ''",
		"query ''",
		"peek '' 0 1",
		"export '' 2",
		"export @ ''",
		"export @ 2 ''",
		"export @ 2 --memattr ''",
		"map --fd '' --into @",
		"map @ 0 --into ''",
		"map --fd 0 --into @ --prot ''",
		"map --fd 0 --into @ --iova ''",
		"map --fd 0 --into @ --length ''",
		"run --bar '' -- true",
		"run --fd '' -- true",
		"watch --count ''",
		"watch --timeout ''",
		"''",
		"reset",
		"revoke",
	};
	char call[100];
	size_t i;

	bind_all();
	for (i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		put_bdf(call, sizeof(call), calls[i], lab_bdf(LAB_EDU));
		ck_assert_msg(run("peerbar %s </dev/null 2>&1", call) == 2,
			      "'peerbar %s' is no wrong call: %s", call, output);
	}
}
END_TEST

/* A command with --hold ends when the reader of its output is gone. */
START_TEST(nobody_reads)
{
	bind_all();
	ck_assert_int_eq(run("timeout 60 sh -c 'peerbar export %s 2 0:64K --hold | head -n 1' 2>&1",
			     lab_bdf(LAB_GPU)),
			 0);
	says("fd ");
	ck_assert_int_eq(run("timeout 60 sh -c 'peerbar --json export %s 2 0:64K --hold | head -n 1' 2>&1",
			     lab_bdf(LAB_GPU)),
			 0);
	ck_assert_int_eq(run("timeout 60 sh -c 'peerbar map %s 2 0:4K --into %s --hold | head -n 1' 2>&1",
			     lab_bdf(LAB_GPU), lab_bdf(LAB_EDU)),
			 0);
	says("iova");
	/* A slow reader is no closed pipe. */
	ck_assert_int_eq(run("{ timeout -s INT 5 peerbar export %s 2 0:64K --hold; echo status $?; } 2>&1 | { sleep 2; cat; }",
			     lab_bdf(LAB_GPU)),
			 0);
	says("status 124");
}
END_TEST

/* No signal ends the tool, and so the buffer, while its command runs. */
START_TEST(signals_with_a_command)
{
	static const char *const passed[] = { "HUP",	"INT",	"QUIT", "TERM", "USR2", "ALRM",
					      "VTALRM", "PROF", "IO",	"PWR",	"36",	"PIPE" };
	size_t i;

	bind_all();
	for (i = 0; i < sizeof(passed) / sizeof(passed[0]); i++) {
		/*
		 * Use bash: dash ignores SIGINT and SIGQUIT in background commands, which then
		 * cannot trap them.
		 */
		ck_assert_msg(run("rm -f /tmp/up; bash -c 'set -m; peerbar export %s 2 0:64K -- "
				  "bash -c \"trap \\\"exit 9\\\" %s; touch /tmp/up; while :; do sleep 0.1; done\" & p=$!; n=0; "
				  "until [ -e /tmp/up ] || [ $((n += 1)) = 300 ]; do sleep 0.1; done; kill -%s $p; wait $p; echo status $?' 2>&1",
				  lab_bdf(LAB_GPU), passed[i], passed[i]) == 0,
			      "%s: %s", passed[i], output);
		ck_assert_msg(strstr(output, "status 9"), "the command did not get SIG%s: %s",
			      passed[i], output);
	}
	/*
	 * For an exported buffer, SIGUSR1 requests a revoke, which stock vfio-pci does not support.
	 */
	ck_assert_int_eq(run("rm -f /tmp/up; peerbar export %s 2 0:64K -- sh -c 'touch /tmp/up; sleep 3; exit 5' >/tmp/out 2>&1 & p=$!; n=0; "
			     "until [ -e /tmp/up ] || [ $((n += 1)) = 300 ]; do sleep 0.1; done; kill -USR1 $p; wait $p; echo status $?; cat /tmp/out",
			     lab_bdf(LAB_GPU)),
			 0);
	says("status 5");
	says("peerbar-vfio-pci");
	/* For another process's buffer, it is passed to the command. */
	ck_assert_int_eq(run(HOLD("%s 2 0:64K") "rm -f /tmp/up; peerbar map --fd $fd --into %s -- sh -c 'trap \"exit 9\" USR1; touch /tmp/up; "
						"while :; do sleep 0.1; done' & p=$!; n=0; "
						"until [ -e /tmp/up ] || [ $((n += 1)) = 300 ]; do sleep 0.1; done; kill -USR1 $p; wait $p; echo status $?; "
						"kill $e; wait $e",
			     lab_bdf(LAB_GPU), lab_bdf(LAB_EDU)),
			 0);
	says("status 9");
}
END_TEST

START_TEST(reset)
{
	struct json_object *o;

	bind_all();
	ck_assert_int_eq(run("peerbar reset 0000:fe:1f.7 2>&1"), 1);
	says("no PCI function");
	if (lab_has_no_reset()) {
		ck_assert_int_eq(run("peerbar reset %s 2>&1", lab_bdf(LAB_GPU)), 1);
		says("cannot be reset");
		return;
	}
	ck_assert_int_eq(run("peerbar reset %s 2>&1", lab_bdf(LAB_GPU)), 0);
	says("was reset");
	ck_assert_int_eq(run("peerbar --json reset %s 2>&1", lab_bdf(LAB_GPU)), 0);
	o = parsed();
	is_string(o, "bdf", lab_bdf(LAB_GPU));
	json_object_put(o);
	/* Reset while a process has a mapping: it learns that the mapping is revoked. */
	ck_assert_int_eq(run("rm -f /tmp/map; peerbar map %s 2 0:1M --into %s --hold >/tmp/map 2>&1 & m=$!; "
			     "await iova /tmp/map; "
			     "peerbar reset %s 2>&1 | grep force; peerbar reset --force %s; r=$?; kill $m; wait $m; echo end $?; exit $r",
			     lab_bdf(LAB_GPU), lab_bdf(LAB_EDU), lab_bdf(LAB_GPU),
			     lab_bdf(LAB_GPU)),
			 0);
	says("--force resets it");
	says("was reset");
	says("end 0");
	ok(pb_pci_unbind(lab_bdf(LAB_GPU), &err));
	ck_assert_int_eq(run("peerbar reset %s 2>&1", lab_bdf(LAB_GPU)), 1);
	says("bind it to vfio-pci");
}
END_TEST

START_TEST(export)
{
	struct json_object *o, *r;

	bind_all();
	ck_assert_int_eq(run("peerbar --json export %s 2 1M:8K 0:4096 2>&1", lab_bdf(LAB_GPU)), 0);
	o = parsed();
	is_number(o, "size", 12 * KIB);
	is_string(o, "model", "REVOCABLE");
	is_string(o, "exporter", "vfio_pci_core");
	is_string(o, "bdf", lab_bdf(LAB_GPU));
	r = json_object_array_get_idx(member(o, "ranges"), 0);
	is_number(r, "offset", MIB);
	is_number(r, "length", 8 * KIB);
	json_object_put(o);
	/* The whole BAR, as text. */
	ck_assert_int_eq(run("peerbar export %s 2 2>&1", lab_bdf(LAB_GPU)), 0);
	says("256M");
	says("REVOCABLE");
	/* Errors: a message, a JSON object, an exit status. */
	ck_assert_int_eq(run("peerbar export %s 2 1:4096 2>&1", lab_bdf(LAB_GPU)), 1);
	says("peerbar: cannot export range 0");
	ck_assert_int_eq(run("peerbar --json export %s 2 0:512M 2>/dev/null", lab_bdf(LAB_GPU)), 1);
	o = parsed();
	is_string(member(o, "error"), "errno", "ERANGE");
	json_object_put(o);
	ck_assert_int_eq(run("peerbar export %s 2 0:1Q 2>&1", lab_bdf(LAB_GPU)), 2);
	ck_assert_int_eq(run("peerbar export %s 2 0:1T 2>&1", lab_bdf(LAB_GPU)), 1);
	says("0x10000000000");
	ck_assert_int_eq(run("peerbar export %s 9 2>&1", lab_bdf(LAB_GPU)), 2);
	ck_assert_int_eq(run("peerbar export 2>&1"), 2);
	ck_assert_int_eq(run("peerbar frobnicate 2>&1"), 2);
	ck_assert_int_eq(run("peerbar --version"), 0);
	says(PACKAGE_VERSION);
	ck_assert_int_eq(run("peerbar map --help"), 0);
	says("--into");
}
END_TEST

/* A command inherits the buffer, and queries it. */
START_TEST(query_an_inherited_buffer)
{
	struct json_object *o;

	bind_all();
	ck_assert_int_eq(run("peerbar export %s 2 0:64K -- sh -c 'peerbar --json query $PEERBAR_FD' 2>&1",
			     lab_bdf(LAB_GPU)),
			 0);
	o = parsed();
	is_number(o, "size", 64 * KIB);
	is_string(o, "model", "REVOCABLE");
	/* Without the modules: by the exporter's name. */
	is_string(o, "can_pin", "NO");
	is_string(o, "can_revoke", "YES");
	is_string(o, "can_revoke_basis", "NAME");
	is_string(o, "place", "BAR");
	is_string(o, "place_basis", "NAME");
	json_object_put(o);
	ck_assert_int_eq(run("peerbar export %s 2 0:64K -- sh -c 'peerbar query $PEERBAR_FD' 2>&1",
			     lab_bdf(LAB_GPU)),
			 0);
	says("can_revoke    YES (NAME)");
	says("place         BAR (NAME)");
	/* The tool returns the command's exit status. */
	ck_assert_int_eq(run("peerbar export %s 2 0:64K -- sh -c 'exit 7' 2>&1", lab_bdf(LAB_GPU)),
			 7);
	ck_assert_int_eq(run("peerbar query 0 </dev/null 2>&1"), 1);
	says("no dma-buf");
	ck_assert_int_eq(run("peerbar query 55 2>&1"), 1);
	says("not open");
}
END_TEST

/* The operands of 'run'. vm/perftest tests its function. */
START_TEST(run_wants)
{
	bind_all();
	ck_assert_int_eq(run("peerbar run -- true 2>&1"), 2);
	says("one of them is needed");
	ck_assert_int_eq(run("peerbar run --fd 3 --bar %s:2 -- true 2>&1", lab_bdf(LAB_GPU)), 2);
	says("both were given");
	ck_assert_int_eq(run("peerbar run --bar %s:2 2>&1", lab_bdf(LAB_GPU)), 2);
	says("needs a command to run");
	ck_assert_int_eq(run("peerbar run --bar %s -- true 2>&1", lab_bdf(LAB_GPU)), 2);
	says("is no BAR");
	ck_assert_int_eq(run("peerbar run --bar %s:2+1 -- true 2>&1", lab_bdf(LAB_GPU)), 1);
	says("cannot export range 0");
	ck_assert_int_eq(run("peerbar run --bar %s:2+512M -- true 2>&1", lab_bdf(LAB_GPU)), 1);
	says("cannot export range 0");
	ck_assert_int_eq(run("peerbar run --bar %s:2 --offset 4K -- true 2>&1", lab_bdf(LAB_GPU)),
			 2);
	says("--offset is for --fd");
	/* Stock vfio-pci has no mmap of dma-bufs. */
	ck_assert_int_eq(run("peerbar run --bar %s:2 -- true 2>&1", lab_bdf(LAB_GPU)), 1);
	says("peerbar-vfio-pci");
}
END_TEST

/* A process holds an exported buffer; other processes query and map it by PID:FD. */
START_TEST(another_process)
{
	struct json_object *o;

	bind_all();
	/* The shell starts the holder, and ends it. */
	ck_assert_int_eq(run("rm -f /tmp/held; peerbar export %s 2 2M:1M --hold >/tmp/held 2>&1 & p=$!; "
			     "await '^[0-9]*:[0-9]*$' /tmp/held; "
			     "where=$(grep '^[0-9]*:[0-9]*$' /tmp/held); peerbar --json query $where; "
			     "peerbar --json map --fd $where --into %s --iova 0x50000000 --prot r; r=$?; "
			     "kill $p; wait $p; echo status $?; exit $r",
			     lab_bdf(LAB_GPU), lab_bdf(LAB_EDU)),
			 0);
	says("status 0");
	says("\"iova\": 1342177280");
	says("\"prot\": \"r\"");
	o = parsed(); /* the first object: query's */
	is_number(o, "size", MIB);
	is_string(o, "model", "REVOCABLE");
	json_object_put(o);
}
END_TEST

START_TEST(map)
{
	struct json_object *o;

	bind_all();
	ck_assert_int_eq(run("peerbar --json map %s 2 4M:8K 0:4K --into %s --into %s --iova 1G 2>&1",
			     lab_bdf(LAB_GPU), lab_bdf(LAB_EDU), lab_bdf(LAB_NVME)),
			 0);
	o = parsed();
	is_number(o, "iova", 1 << 30);
	is_number(o, "length", 12 * KIB);
	is_string(o, "prot", "rw");
	ck_assert_uint_eq(json_object_array_length(member(o, "devices")), 2);
	json_object_put(o);
	/* If source and target are the same device, it is opened once. */
	ck_assert_int_eq(run("peerbar map %s 2 0:4K --into %s -- sh -c 'echo $PEERBAR_IOVA' 2>&1",
			     lab_bdf(LAB_GPU), lab_bdf(LAB_GPU)),
			 0);
	says("0x");
	ck_assert_int_eq(run("peerbar map %s 2 0:4K --into %s --iova %llu 2>&1", lab_bdf(LAB_GPU),
			     lab_bdf(LAB_EDU), MSI_IOVA),
			 1);
	says("not inside the aperture");
	ck_assert_int_eq(run("peerbar map %s 2 0:4K 2>&1", lab_bdf(LAB_GPU)), 2);
	says("--into");
}
END_TEST

/* --hold reports that the exporter is gone. */
START_TEST(map_is_told_of_a_revocation)
{
	bind_all();
	ck_assert_int_eq(run("rm -f /tmp/held /tmp/map; peerbar export %s 2 0:1M --hold >/tmp/held 2>&1 & e=$!; "
			     "await '^[0-9]*:[0-9]*$' /tmp/held; "
			     "peerbar map --fd $(grep '^[0-9]*:[0-9]*$' /tmp/held) --into %s --hold >/tmp/map 2>&1 & m=$!; "
			     "await iova /tmp/map; kill -9 $e; "
			     "await revoked /tmp/map; kill $m; wait $m; "
			     "echo status $?; cat /tmp/map",
			     lab_bdf(LAB_GPU), lab_bdf(LAB_EDU)),
			 0);
	says("status 0");
	says("revoked");
}
END_TEST

/* ---- with peerbar's modules ---- */

static void tool_up(void)
{
	context_up();
	module_load("peerbar-vfio-pci");
	module_load("peerbar-iommufd");
	ok(pb_pci_bind(lab_bdf(LAB_GPU), "peerbar-vfio-pci", &err));
}

static void tool_down(void)
{
	ok(pb_pci_bind(lab_bdf(LAB_GPU), NULL, &err));
	context_down();
	/* Later suites need a kernel without peerbar's modules, unless they load them. */
	ck_assert_int_eq(module_unload("peerbar_iommufd"), 0);
	ck_assert_int_eq(module_unload("peerbar_vfio_pci"), 0);
	ck_assert_int_eq(module_unload("peerbar"), 0);
}

START_TEST(capabilities)
{
	struct json_object *o, *list;
	size_t i;

	ck_assert_int_eq(run("peerbar --json capabilities 2>&1"), 0);
	o = parsed();
	is_number(o, "abi", 1);
	list = member(o, "capabilities");
	ck_assert_uint_gt(json_object_array_length(list), 5);
	for (i = 0; i < json_object_array_length(list); i++) {
		struct json_object *c = json_object_array_get_idx(list, i);

		ck_assert_msg(json_object_get_boolean(member(c, "there")),
			      "%s is said to be missing", json_object_get_string(c));
	}
	json_object_put(o);
	/* Without peerbar-iommufd, the message names the missing capability. */
	ok(pb_pci_bind(lab_bdf(LAB_GPU), NULL, &err));
	ck_assert_int_eq(module_unload("peerbar_iommufd"), 0);
	ck_assert_int_eq(run("peerbar capabilities 2>&1"), 0);
	says("missing:");
	says("peerbar-iommufd");
	module_load("peerbar-iommufd");
	ok(pb_pci_bind(lab_bdf(LAB_GPU), "peerbar-vfio-pci", &err));
}
END_TEST

/*
 * Watch a buffer with an attribute: another process reads and writes it, and its owner revokes it.
 */
START_TEST(peek_poke_list_and_watch)
{
	struct json_object *o;

	ck_assert_int_eq(run("rm -f /tmp/held /tmp/watched /tmp/watching; peerbar --json watch --count 2 --timeout 60 >/tmp/watched 2>/tmp/watching & "
			     "w=$!; await watching /tmp/watching; "
			     "peerbar export %s 2 1M:64K --memattr wc,nc --hold >/tmp/held 2>&1 & e=$!; "
			     "await '^[0-9]*:[0-9]*$' /tmp/held; "
			     "fd=$(grep '^[0-9]*:[0-9]*$' /tmp/held); peerbar poke $fd 16 c0ffee01 && peerbar peek $fd 16 4; "
			     "peerbar query $fd; peerbar list; kill -USR1 $e; "
			     "await revoked /tmp/held; "
			     "peerbar query $fd; peerbar peek $fd 16 4 2>&1; echo status $?; wait $w; echo watch $?; kill $e; wait $e; echo end $?",
			     lab_bdf(LAB_GPU)),
			 0);
	says("c0 ff ee 01");
	says("WC");
	says("LIVE");
	says(lab_bdf(LAB_GPU));
	says("DEAD");
	says("status 1");
	says("revoked permanently");
	says("watch 0");
	says("end 0");
	ck_assert(lab_host_sees(MIB + 16, "\xc0\xff\xee\x01", 4));
	ck_assert_int_eq(run("head -n 1 /tmp/watched"), 0);
	o = parsed();
	is_string(o, "event", "created");
	is_string(o, "device", lab_bdf(LAB_GPU));
	json_object_put(o);
	ck_assert_int_eq(run("tail -n 1 /tmp/watched"), 0);
	o = parsed();
	is_string(o, "event", "revoked");
	is_string(o, "state", "DEAD");
	json_object_put(o);
	ck_assert_int_eq(run("peerbar --json list"), 0);
	ck_assert(!strstr(output, lab_bdf(LAB_GPU)));
}
END_TEST

static bool is_time(const char *text)
{
	int y, mo, d, h, mi, n = 0;
	double sec;

	return sscanf(text, "%4d-%2d-%2dT%2d:%2d:%9lfZ%n", &y, &mo, &d, &h, &mi, &sec, &n) == 6 &&
		n == 27 && y > 2000;
}

START_TEST(watch_has_times)
{
	struct json_object *o;

	ck_assert_int_eq(run("rm -f /tmp/watching; peerbar watch --count 2 --timeout 60 2>/tmp/watching & w=$!; "
			     "await watching /tmp/watching; "
			     "peerbar export %s 2 0:64K >/dev/null; wait $w",
			     lab_bdf(LAB_GPU)),
			 0);
	ck_assert_msg(is_time(output), "no time begins: %s", output);
	ck_assert_msg(!strncmp(output + 27, "  created", 9), "%s", output);
	ck_assert_int_eq(run("rm -f /tmp/watching; peerbar --json watch --count 1 --timeout 60 2>/tmp/watching & w=$!; "
			     "await watching /tmp/watching; "
			     "peerbar export %s 2 0:64K >/dev/null; wait $w",
			     lab_bdf(LAB_GPU)),
			 0);
	o = parsed();
	ck_assert(is_time(json_object_get_string(member(o, "time"))));
	json_object_put(o);
	/* It ends with its reader, without waiting for another event. */
	ck_assert_int_eq(run("rm -f /tmp/watching; timeout 60 sh -c 'peerbar watch 2>/tmp/watching | head -n 1' & w=$!; "
			     "await watching /tmp/watching; " HOLD(
				     "%s 2 0:64K") "wait $w; r=$?; kill $e; wait $e; exit $r",
			     lab_bdf(LAB_GPU)),
			 0);
	says("created");
}
END_TEST

START_TEST(list_and_statistics)
{
	struct json_object *list, *o;

	ck_assert_int_eq(run(HOLD("%s 2 1M:64K") "peerbar --json list; kill $e; wait $e",
			     lab_bdf(LAB_GPU)),
			 0);
	list = parsed();
	ck_assert_uint_eq(json_object_array_length(list), 1);
	o = json_object_array_get_idx(list, 0);
	is_string(o, "device", lab_bdf(LAB_GPU));
	is_string(o, "model", "REVOCABLE");
	is_string(o, "state", "LIVE");
	is_string(o, "place", "BAR");
	is_number(o, "bar", 2);
	is_number(o, "bar_offset", MIB);
	is_number(o, "size", 64 * KIB);
	is_number(o, "nr_importers", 0);
	is_number(o, "nr_ranges", 1);
	json_object_put(list);
	/* Of three seconds in which a buffer came and went. */
	ck_assert_int_eq(run("rm -f /tmp/watching; peerbar --json watch --stats 3 --count 1 --timeout 60 2>/tmp/watching >/tmp/watched & "
			     "w=$!; await watching /tmp/watching; "
			     "peerbar export %s 2 0:64K >/dev/null; wait $w; r=$?; head -n 1 /tmp/watched; exit $r",
			     lab_bdf(LAB_GPU)),
			 0);
	o = parsed();
	is_number(o, "created", 1);
	is_number(o, "released", 1);
	is_number(o, "moved", 0);
	is_number(o, "lost", 0);
	ck_assert(is_time(json_object_get_string(member(o, "time"))));
	json_object_put(o);
	ck_assert_int_eq(run("rm -f /tmp/watching; peerbar watch --stats 3 --count 1 --timeout 60 2>/tmp/watching & "
			     "w=$!; await watching /tmp/watching; " HOLD(
				     "%s 2 0:64K") "wait $w; r=$?; kill $e; wait $e; exit $r",
			     lab_bdf(LAB_GPU)),
			 0);
	says("events per second");
	says("RELEASED");
	/* The timeout comes before the third interval. */
	ck_assert_int_eq(run("peerbar watch --stats 1 --count 3 --timeout 2 2>&1"), 1);
	says("only 2 of 3 intervals in 2 s");
}
END_TEST

/* A third process revokes the memory: one buffer, and all of a device. */
START_TEST(revoke_by_a_third_process)
{
	ck_assert_int_eq(run(HOLD("%s 2 0:64K") "peerbar query $fd | grep state; peerbar revoke $fd; r=$?; peerbar query $fd | grep state; "
						"peerbar revoke $fd || r=1; kill $e; wait $e; exit $r",
			     lab_bdf(LAB_GPU)),
			 0);
	says("LIVE");
	says("DEAD");
	says("is revoked");
	ck_assert_int_eq(run(HOLD("%s 2 0:64K") "peerbar --json revoke %s; r=$?; peerbar query $fd | grep state; kill $e; wait $e; exit $r",
			     lab_bdf(LAB_GPU), lab_bdf(LAB_GPU)),
			 0);
	says("\"revoked\": 1");
	says("DEAD");
	ck_assert_int_eq(run("peerbar revoke %s", lab_bdf(LAB_GPU)), 0);
	says("0 buffers");
	ck_assert_int_eq(run("peerbar revoke 0 </dev/null 2>&1"), 1);
	says("no dma-buf");
	ck_assert_int_eq(run("peerbar revoke 0000:fe:1f.7 2>&1"), 1);
	says("no PCI function");
}
END_TEST

/* The owner of a command's buffer revokes it, and the command continues. */
START_TEST(revoke_under_a_command)
{
	ck_assert_int_eq(run("rm -f /tmp/up; peerbar export %s 2 0:64K -- sh -c 'touch /tmp/up; sleep 3; peerbar query $PEERBAR_FD; exit 5' >/tmp/out 2>&1 & "
			     "p=$!; n=0; until [ -e /tmp/up ] || [ $((n += 1)) = 300 ]; do sleep 0.1; done; kill -USR1 $p; wait $p; echo status $?; "
			     "cat /tmp/out",
			     lab_bdf(LAB_GPU)),
			 0);
	says("status 5");
	says("peerbar: revoked");
	says("DEAD");
}
END_TEST

/* The memory is revoked first, then the tool waits for the device. */
START_TEST(unbind_and_revoke)
{
	struct pb_pci_function f;

	ck_assert_int_eq(run(HOLD("%s 2 0:64K") "timeout -s KILL 60 peerbar unbind --revoke %s 2>&1; echo status $?; peerbar query $fd | grep state; "
						"kill $e; wait $e",
			     lab_bdf(LAB_GPU), lab_bdf(LAB_GPU)),
			 0);
	says("1 buffers of");
	says("status 1");
	says("DEAD");
	says("in use by process");
	ok(pb_pci_get(lab_bdf(LAB_GPU), &f, &err));
	ck_assert_str_eq(f.driver, "peerbar-vfio-pci");
	ck_assert_int_eq(run(HOLD("%s 2 0:64K") WAITING(
				     "--revoke --wait %s") "peerbar query $fd | grep state; "
							   "kill $e; wait $e; wait $w; echo status $?",
			     lab_bdf(LAB_GPU), lab_bdf(LAB_GPU)),
			 0);
	says("DEAD");
	says("status 0");
	ok(pb_pci_get(lab_bdf(LAB_GPU), &f, &err));
	ck_assert_str_eq(f.driver, "");
}
END_TEST

static void *revoke_buffer(void *fd)
{
	ck_assert_int_eq(feature_revoke(fixture.gpu, *(int *)fd), 0);
	return NULL;
}

/*
 * Check that of the importers in the array, exactly one holds up a revoke, and that it is the
 * function @bdf.
 */
static void names_culprit(struct json_object *importers, const char *bdf)
{
	struct json_object *culprit = NULL;
	size_t i;

	for (i = 0; i < json_object_array_length(importers); i++) {
		struct json_object *importer = json_object_array_get_idx(importers, i);

		if (!json_object_get_boolean(member(importer, "waited_for")))
			continue;
		ck_assert_msg(!culprit, "several importers hold up the revoke: %s", output);
		culprit = importer;
	}
	ck_assert_msg(culprit != NULL, "no importer holds up the revoke: %s", output);
	is_string(culprit, "kind", "device");
	is_string(culprit, "device", bdf);
	is_number(culprit, "maps", 1);
	is_number(culprit, "bytes", 64 * KIB);
	ck_assert_uint_gt(json_object_get_uint64(member(culprit, "waited_ns")), 0);
	ck_assert_uint_gt(json_object_get_uint64(member(culprit, "mapped_ns")), 0);
}

/* While a revoke hangs, the tool names the importer that it waits for, and does not wait itself. */
START_TEST(a_revoke_that_hangs)
{
	struct pb_buffer *buffer;
	struct json_object *o;
	int importer, late, fd;
	pthread_t thread;

	module_load("peerbar-test-importer");
	ok(pb_device_open(fixture.iommu, lab_bdf(LAB_GPU), &fixture.gpu, &err));
	ok(pb_device_set_decoding(fixture.gpu, true, &err));
	buffer = export_one(MIB, 64 * KIB);
	fd = pb_buffer_fd(buffer);
	importer = test_importer_open();
	ck_assert_int_gt(test_import_attach(importer, fd, PEERBAR_TEST_KIND_REVOCABLE, 0,
					    lab_bdf(LAB_EDU)),
			 0);
	/* The delay bounds the machine's wait if the test fails before. */
	late = test_import_attach_late(importer, fd, PEERBAR_TEST_KIND_LATE, 0, lab_bdf(LAB_NIC),
				       120000);
	ck_assert_int_gt(late, 0);
	ck_assert_int_eq(test_import_map(importer, late, NULL), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, revoke_buffer, &fd), 0);
	wait_until_stale(importer, late);

	ck_assert_int_eq(run("peerbar --json query %d:%d 2>/dev/null", getpid(), fd), 0);
	o = parsed();
	is_string(o, "state", "DEAD");
	ck_assert_uint_eq(json_object_array_length(member(o, "attached")), 2);
	names_culprit(member(o, "attached"), lab_bdf(LAB_NIC));
	json_object_put(o);
	ck_assert_int_eq(run("peerbar query %d:%d 2>&1", getpid(), fd), 0);
	says("a revoke has waited for it for");
	ck_assert_int_eq(run("peerbar --json list --verbose 2>/dev/null"), 0);
	o = parsed();
	names_culprit(member(o, "importers"), lab_bdf(LAB_NIC));
	json_object_put(o);
	ck_assert_int_eq(run("peerbar list --verbose 2>&1"), 0);
	says("a revoke has waited for it for");
	ck_assert(test_import_is(importer, late, PEERBAR_TEST_STATUS_MAPPED));

	ck_assert_int_eq(test_import_release(importer, late), 0);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	ck_assert_int_eq(run("peerbar --json query %d:%d 2>&1", getpid(), fd), 0);
	ck_assert_msg(!strstr(output, "\"waited_for\": true"),
		      "an importer is waited for after the revoke: %s", output);
	close(importer);
	pb_buffer_close(buffer);
	pb_device_close(fixture.gpu);
	ck_assert_int_eq(module_unload("peerbar_test_importer"), 0);
}
END_TEST

LAB_SUITE("tool", SUITE_NOT_ON_DEBUG)
{
	TCase *t = suite_case(s, "all", 240, context_up, context_down);

	tcase_add_test(t, devices);
	tcase_add_test(t, bind_and_unbind);
	tcase_add_test(t, bind_to_a_driver_of_other_devices);
	tcase_add_test(t, in_use);
	tcase_add_test(t, wait_until_unused);
	tcase_add_test(t, help);
	tcase_add_test(t, empty_arguments);
	tcase_add_test(t, nobody_reads);
	tcase_add_test(t, signals_with_a_command);
	tcase_add_test(t, reset);
	tcase_add_test(t, export);
	tcase_add_test(t, query_an_inherited_buffer);
	tcase_add_test(t, run_wants);
	tcase_add_test(t, another_process);
	tcase_add_test(t, map);
	tcase_add_test(t, map_is_told_of_a_revocation);
	t = suite_case(s, "modules", 240, tool_up, tool_down);
	tcase_add_test(t, capabilities);
	tcase_add_test(t, peek_poke_list_and_watch);
	tcase_add_test(t, watch_has_times);
	tcase_add_test(t, list_and_statistics);
	tcase_add_test(t, revoke_by_a_third_process);
	tcase_add_test(t, revoke_under_a_command);
	tcase_add_test(t, unbind_and_revoke);
	tcase_add_test(t, a_revoke_that_hangs);
}
