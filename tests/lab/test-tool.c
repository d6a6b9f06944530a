// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The command peerbar, as it is installed: what it prints, its JSON, its exit statuses, its sentences. */
#include <json-c/json.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ours.h"

static char output[65536]; /* stdout and stderr of the last command, together unless it redirects them */

/* run a shell command; its exit status */
static int run(const char *fmt, ...)
{
	char command[1024];
	size_t n;
	va_list ap;
	FILE *f;
	int ret;

	va_start(ap, fmt);
	vsnprintf(command, sizeof(command), fmt, ap);
	va_end(ap);
	fflush(stdout);
	f = popen(command, "re");
	ck_assert_ptr_nonnull(f);
	n = fread(output, 1, sizeof(output) - 1, f);
	output[n] = '\0';
	ret = pclose(f);
	ck_assert_msg(WIFEXITED(ret), "%s: ended by signal %d; %s", command, WTERMSIG(ret), output);
	return WEXITSTATUS(ret);
}

static void says(const char *words)
{
	ck_assert_msg(strstr(output, words), "this does not say '%s': %s", words, output);
}

static struct json_object *parsed(void)
{
	struct json_object *object = json_tokener_parse(output);

	ck_assert_msg(object != NULL, "this is no JSON: %s", output);
	return object;
}

static struct json_object *member(struct json_object *object, const char *key)
{
	struct json_object *value = NULL;

	ck_assert_msg(json_object_object_get_ex(object, key, &value), "there is no '%s' in: %s", key, output);
	return value;
}

static void is_string(struct json_object *object, const char *key, const char *value)
{
	const char *s = json_object_get_string(member(object, key));

	ck_assert_msg(s && !strcmp(s, value), "'%s' is %s, not %s", key, s ? s : "null", value);
}

static void is_number(struct json_object *object, const char *key, uint64_t value)
{
	ck_assert_uint_eq(json_object_get_uint64(member(object, key)), value);
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
	/* the whole BAR, as text */
	ck_assert_int_eq(run("peerbar export %s 2 2>&1", lab_bdf(LAB_GPU)), 0);
	says("256M");
	says("REVOCABLE");
	/* errors: a sentence, an object, a status */
	ck_assert_int_eq(run("peerbar export %s 2 1:4096 2>&1", lab_bdf(LAB_GPU)), 1);
	says("peerbar: cannot export range 0");
	ck_assert_int_eq(run("peerbar --json export %s 2 0:512M 2>/dev/null", lab_bdf(LAB_GPU)), 1);
	o = parsed();
	is_string(member(o, "error"), "errno", "ERANGE");
	json_object_put(o);
	ck_assert_int_eq(run("peerbar export %s 2 0:1Q 2>&1", lab_bdf(LAB_GPU)), 2);
	ck_assert_int_eq(run("peerbar export %s 9 2>&1", lab_bdf(LAB_GPU)), 2);
	ck_assert_int_eq(run("peerbar export 2>&1"), 2);
	ck_assert_int_eq(run("peerbar frobnicate 2>&1"), 2);
	ck_assert_int_eq(run("peerbar --version"), 0);
	says(PACKAGE_VERSION);
	ck_assert_int_eq(run("peerbar map --help"), 0);
	says("--into");
}
END_TEST

/* a buffer handed to a command, which asks about it */
START_TEST(query_an_inherited_buffer)
{
	struct json_object *o;

	bind_all();
	ck_assert_int_eq(run("peerbar export %s 2 0:64K -- sh -c 'peerbar --json query $PEERBAR_FD' 2>&1", lab_bdf(LAB_GPU)), 0);
	o = parsed();
	is_number(o, "size", 64 * KIB);
	is_string(o, "model", "REVOCABLE");
	json_object_put(o);
	/* the command's exit status comes back */
	ck_assert_int_eq(run("peerbar export %s 2 0:64K -- sh -c 'exit 7' 2>&1", lab_bdf(LAB_GPU)), 7);
	ck_assert_int_eq(run("peerbar query 0 </dev/null 2>&1"), 1);
	says("no dma-buf");
	ck_assert_int_eq(run("peerbar query 55 2>&1"), 1);
	says("not open");
}
END_TEST

/* what 'run' wants; what it does is in vm/perftest */
START_TEST(run_wants)
{
	bind_all();
	ck_assert_int_eq(run("peerbar run -- true 2>&1"), 2);
	says("one of them is needed");
	ck_assert_int_eq(run("peerbar run --bar %s:2 2>&1", lab_bdf(LAB_GPU)), 2);
	says("needs a command to run");
	ck_assert_int_eq(run("peerbar run --bar %s -- true 2>&1", lab_bdf(LAB_GPU)), 2);
	says("is no BAR");
	ck_assert_int_eq(run("peerbar run --bar %s:2+1 -- true 2>&1", lab_bdf(LAB_GPU)), 1);
	says("cannot export range 0");
	ck_assert_int_eq(run("peerbar run --bar %s:2+512M -- true 2>&1", lab_bdf(LAB_GPU)), 1);
	says("cannot export range 0");
	ck_assert_int_eq(run("peerbar run --bar %s:2 --offset 4K -- true 2>&1", lab_bdf(LAB_GPU)), 2);
	says("--offset is for --fd");
	/* stock vfio-pci has no mmap of dma-bufs */
	ck_assert_int_eq(run("peerbar run --bar %s:2 -- true 2>&1", lab_bdf(LAB_GPU)), 1);
	says("peerbar-vfio-pci");
}
END_TEST

/* one process holds an exported buffer, others ask about it and map it by PID:FD */
START_TEST(another_process)
{
	struct json_object *o;

	bind_all();
	/* the shell keeps the holder, and ends it */
	ck_assert_int_eq(run("rm -f /tmp/held; peerbar export %s 2 2M:1M --hold >/tmp/held 2>&1 & p=$!; n=0; "
			     "until grep -qs '^[0-9]*:[0-9]*$' /tmp/held || [ $((n += 1)) = 300 ]; do sleep 0.1; done; "
			     "where=$(grep '^[0-9]*:[0-9]*$' /tmp/held); peerbar --json query $where; "
			     "peerbar --json map --fd $where --into %s --iova 0x50000000 --prot r; r=$?; "
			     "kill $p; wait $p; echo status $?; exit $r", lab_bdf(LAB_GPU), lab_bdf(LAB_EDU)), 0);
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
	ck_assert_int_eq(run("peerbar --json map %s 2 4M:8K 0:4K --into %s --into %s --iova 1G 2>&1", lab_bdf(LAB_GPU), lab_bdf(LAB_EDU),
			     lab_bdf(LAB_NVME)), 0);
	o = parsed();
	is_number(o, "iova", 1 << 30);
	is_number(o, "length", 12 * KIB);
	is_string(o, "prot", "rw");
	ck_assert_uint_eq(json_object_array_length(member(o, "devices")), 2);
	json_object_put(o);
	/* a device into itself is opened once */
	ck_assert_int_eq(run("peerbar map %s 2 0:4K --into %s -- sh -c 'echo $PEERBAR_IOVA' 2>&1", lab_bdf(LAB_GPU), lab_bdf(LAB_GPU)), 0);
	says("0x");
	ck_assert_int_eq(run("peerbar map %s 2 0:4K --into %s --iova 0xfee00000 2>&1", lab_bdf(LAB_GPU), lab_bdf(LAB_EDU)), 1);
	says("not inside the aperture");
	ck_assert_int_eq(run("peerbar map %s 2 0:4K 2>&1", lab_bdf(LAB_GPU)), 2);
	says("--into");
}
END_TEST

/* --hold tells that its exporter went away */
START_TEST(map_is_told_of_a_revocation)
{
	bind_all();
	ck_assert_int_eq(run("rm -f /tmp/held; peerbar export %s 2 0:1M --hold >/tmp/held 2>&1 & e=$!; n=0; "
			     "until grep -qs '^[0-9]*:[0-9]*$' /tmp/held || [ $((n += 1)) = 300 ]; do sleep 0.1; done; "
			     "peerbar map --fd $(grep '^[0-9]*:[0-9]*$' /tmp/held) --into %s --hold >/tmp/map 2>&1 & m=$!; n=0; "
			     "until grep -qs iova /tmp/map || [ $((n += 1)) = 300 ]; do sleep 0.1; done; kill -9 $e; n=0; "
			     "until grep -qs revoked /tmp/map || [ $((n += 1)) = 300 ]; do sleep 0.1; done; kill $m; wait $m; "
			     "echo status $?; cat /tmp/map", lab_bdf(LAB_GPU), lab_bdf(LAB_EDU)), 0);
	says("status 0");
	says("revoked");
}
END_TEST

/* ---- with our modules ---- */

static void modules_up(void)
{
	context_up();
	module_load("peerbar-vfio-pci");
	module_load("peerbar-iommufd");
	ok(pb_pci_bind(lab_bdf(LAB_GPU), "peerbar-vfio-pci", &err));
}

static void modules_down(void)
{
	ok(pb_pci_bind(lab_bdf(LAB_GPU), NULL, &err));
	context_down();
	/* the suites after this one are for a kernel without our modules, unless they say otherwise */
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

		ck_assert_msg(json_object_get_boolean(member(c, "there")), "%s is said to be missing", json_object_get_string(c));
	}
	json_object_put(o);
	/* without them, the one that is missing is named */
	ok(pb_pci_bind(lab_bdf(LAB_GPU), NULL, &err));
	ck_assert_int_eq(module_unload("peerbar_iommufd"), 0);
	ck_assert_int_eq(run("peerbar capabilities 2>&1"), 0);
	says("missing:");
	says("peerbar-iommufd");
	module_load("peerbar-iommufd");
	ok(pb_pci_bind(lab_bdf(LAB_GPU), "peerbar-vfio-pci", &err));
}
END_TEST

/* a buffer with an attribute, another process that looks at it and writes, and the owner who takes it back; watched */
START_TEST(peek_poke_list_and_watch)
{
	struct json_object *o;

	ck_assert_int_eq(run("rm -f /tmp/held /tmp/watched /tmp/watching; peerbar --json watch --count 2 --timeout 60 >/tmp/watched 2>/tmp/watching & "
			     "w=$!; n=0; until grep -qs watching /tmp/watching || [ $((n += 1)) = 300 ]; do sleep 0.1; done; "
			     "peerbar export %s 2 1M:64K --memattr wc,nc --hold >/tmp/held 2>&1 & e=$!; n=0; "
			     "until grep -qs '^[0-9]*:[0-9]*$' /tmp/held || [ $((n += 1)) = 300 ]; do sleep 0.1; done; "
			     "fd=$(grep '^[0-9]*:[0-9]*$' /tmp/held); peerbar poke $fd 16 c0ffee01 && peerbar peek $fd 16 4; "
			     "peerbar query $fd; peerbar list; kill -USR1 $e; n=0; "
			     "until grep -qs revoked /tmp/held || [ $((n += 1)) = 300 ]; do sleep 0.1; done; "
			     "peerbar query $fd; peerbar peek $fd 16 4 2>&1; echo status $?; wait $w; echo watch $?; kill $e; wait $e; echo end $?",
			     lab_bdf(LAB_GPU)), 0);
	says("c0 ff ee 01");
	says("WC");
	says("LIVE");
	says(lab_bdf(LAB_GPU));
	says("DEAD");
	says("status 1");
	says("revoked for good");
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

Suite *tool_suite(void)
{
	Suite *s = suite_create("tool");
	TCase *t = tcase_create("all");

	tcase_set_timeout(t, 240);
	tcase_add_checked_fixture(t, context_up, context_down);
	tcase_add_test(t, devices);
	tcase_add_test(t, bind_and_unbind);
	tcase_add_test(t, export);
	tcase_add_test(t, query_an_inherited_buffer);
	tcase_add_test(t, run_wants);
	tcase_add_test(t, another_process);
	tcase_add_test(t, map);
	tcase_add_test(t, map_is_told_of_a_revocation);
	suite_add_tcase(s, t);
	t = tcase_create("modules");
	tcase_set_timeout(t, 240);
	tcase_add_checked_fixture(t, modules_up, modules_down);
	tcase_add_test(t, capabilities);
	tcase_add_test(t, peek_poke_list_and_watch);
	suite_add_tcase(s, t);
	return s;
}
