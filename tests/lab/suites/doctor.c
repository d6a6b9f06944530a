// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* peerbar doctor, and bindings that survive a reboot. */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "command.h"
#include "modules.h"

#define RULES "/etc/udev/rules.d/70-peerbar-bind.rules"

static void doctor_up(void)
{
	context_up();
	module_load("peerbar-vfio-pci");
	module_load("peerbar-iommufd");
}

static void doctor_down(void)
{
	ok(pb_pci_bind(lab_bdf(LAB_GPU), NULL, &err));
	ok(pb_pci_bind(lab_bdf(LAB_EDU), NULL, &err));
	context_down();
	ck_assert_int_eq(module_unload("peerbar_iommufd"), 0);
	ck_assert_int_eq(module_unload("peerbar_vfio_pci"), 0);
	ck_assert_int_eq(module_unload("peerbar"), 0);
}

/* The first finding of this name in the JSON of doctor. */
static struct json_object *find(struct json_object *o, const char *name)
{
	struct json_object *list = member(o, "findings");
	size_t i;

	for (i = 0; i < json_object_array_length(list); i++) {
		struct json_object *f = json_object_array_get_idx(list, i);

		if (!strcmp(json_object_get_string(member(f, "name")), name))
			return f;
	}
	ck_abort_msg("doctor has no finding '%s': %s", name, output);
	return NULL;
}

/* What doctor says of the machine must change with the machine. */
START_TEST(machine)
{
	struct json_object *o;

	ok(pb_pci_bind(lab_bdf(LAB_GPU), "peerbar-vfio-pci", &err));
	ck_assert_int_eq(run("peerbar doctor --json 2>&1"), 0);
	o = parsed();
	ck_assert(json_object_get_boolean(member(o, "ready")));
	is_string(find(o, "kernel"), "state", "ok");
	is_string(find(o, "iommu"), "state", "ok");
	is_string(find(o, "iommufd"), "state", "ok");
	is_string(find(o, "peerbar-iommufd"), "state", "ok");
	is_string(find(o, "devices"), "state", "ok");
	is_string(find(o, "node"), "state", "ok");
	json_object_put(o);

	/* A module that can be loaded is a note, with the command. */
	ck_assert_int_eq(module_unload("peerbar_iommufd"), 0);
	ck_assert_int_eq(run("peerbar doctor --json 2>&1"), 0);
	o = parsed();
	is_string(find(o, "peerbar-iommufd"), "state", "note");
	is_string(find(o, "peerbar-iommufd"), "todo", "load it: modprobe peerbar-iommufd");
	json_object_put(o);
	module_load("peerbar-iommufd");

	/* A node that the user cannot open is what is missing. */
	ck_assert_int_eq(run("chmod 600 /dev/iommu; setpriv --reuid=1 --regid=1 --clear-groups "
			     "peerbar doctor 2>&1"),
			 1);
	says("missing  node");
	says("/dev/iommu, mode 0600, group root");
	says("the group peerbar");
	ck_assert_int_eq(run("echo peerbar:x:990: >>/etc/group; chgrp 990 /dev/iommu; chmod 660 /dev/iommu; "
			     "setpriv --reuid=1 --regid=1 --clear-groups peerbar doctor 2>&1"),
			 1);
	says("adduser USER peerbar");
	ck_assert_int_eq(run("chmod 666 $(readlink -f /dev/vfio/devices/*); setpriv --reuid=1 --regid=990 --clear-groups peerbar "
			     "doctor 2>&1"),
			 0);
	run("sed -i /^peerbar:/d /etc/group; chgrp 0 /dev/iommu");
}
END_TEST

START_TEST(reach)
{
	const char *to = lab_bdf(LAB_GPU), *from = lab_bdf(LAB_EDU);
	struct json_object *o;

	ok(pb_pci_bind(to, "vfio-pci", &err));
	ok(pb_pci_bind(from, "vfio-pci", &err));
	ck_assert_int_eq(run("peerbar doctor --json %s %s 2>&1", from, to), 0);
	o = parsed();
	is_string(find(o, "map"), "state", "ok");
	ck_assert_ptr_nonnull(
		strstr(json_object_get_string(member(find(o, "from"), "found")), from));
	ck_assert_ptr_nonnull(strstr(json_object_get_string(member(find(o, "to"), "found")), to));
	find(o, "route");
	json_object_put(o);

	/* Without a VFIO driver, nothing is mapped. */
	ok(pb_pci_unbind(from, &err));
	ck_assert_int_eq(run("peerbar doctor %s %s 2>&1", from, to), 0);
	says("do: to try a mapping, bind it to a VFIO driver");
	ck_assert_ptr_null(strstr(output, "iommufd maps"));
	ck_assert_int_eq(run("peerbar doctor %s 2>&1", to), 2);
	says("two PCI functions");
	ck_assert_int_eq(run("peerbar doctor %s 0000:fe:1f.7 2>&1", to), 1);
	says("there is no PCI function 0000:fe:1f.7");
	ck_assert_int_eq(run("peerbar doctor %s gpu 2>&1", to), 2);
}
END_TEST

/* A rule for each function, until it is unbound persistently. The group package reboots. */
START_TEST(persist)
{
	const char *to = lab_bdf(LAB_GPU), *from = lab_bdf(LAB_EDU);
	struct stat st;

	ck_assert_int_eq(run("peerbar bind %s --persist 2>&1", to), 0);
	ck_assert_int_eq(run("peerbar bind %s --persist --driver peerbar-vfio-pci 2>&1", from), 0);
	/* Again, with another driver: the rule is replaced. */
	ck_assert_int_eq(run("peerbar bind %s --persist --driver peerbar-vfio-pci 2>&1", to), 0);
	ck_assert_int_eq(run("cat " RULES), 0);
	ck_assert_int_eq(stat(RULES, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0644);
	ck_assert_int_eq(run("grep -c ^ACTION " RULES), 0);
	says("2\n");
	ck_assert_int_eq(run("grep 'KERNEL==\"%s\".*\"0x1af4\".*driver_override}=\"peerbar-vfio-pci\".*bind --driver peerbar-vfio-pci %s' " RULES,
			     to, to),
			 0);
	/* Only --persist removes it. */
	ck_assert_int_eq(run("peerbar unbind %s 2>&1", to), 0);
	says("will be bound again at the next boot");
	ck_assert_int_eq(run("peerbar unbind %s --persist 2>&1", to), 0);
	ck_assert_int_eq(run("grep %s " RULES, to), 1);
	ck_assert_int_eq(run("grep %s " RULES, from), 0);
	/* As udev runs it: without an environment, and the driver's module is not loaded. */
	ck_assert_int_eq(run("peerbar unbind %s 2>&1", from), 0);
	ck_assert_int_eq(run("modprobe -r peerbar-iommufd peerbar-vfio-pci 2>&1"), 0);
	ck_assert_int_eq(run("env -i $(sed -n 's/^ACTION.*RUN+=\"\\(.*\\)\"/\\1/p' " RULES
			     ") 2>&1"),
			 0);
	says("is bound to peerbar-vfio-pci");
	ck_assert_int_eq(run("modprobe peerbar-iommufd 2>&1"), 0);
	ck_assert_int_eq(run("peerbar unbind %s --persist 2>&1", from), 0);
	ck_assert_int_ne(stat(RULES, &st), 0);
	/* Not beside driverctl's. */
	ck_assert_int_eq(run("mkdir -p /etc/driverctl.d && echo vfio-pci >/etc/driverctl.d/%s; "
			     "peerbar bind %s --persist 2>&1",
			     to, to),
			 1);
	says("driverctl has one already");
	run("rm -r /etc/driverctl.d");
}
END_TEST

LAB_SUITE("doctor", SUITE_NOT_ON_DEBUG)
{
	TCase *t = suite_case(s, "all", 240, doctor_up, doctor_down);

	tcase_add_test(t, machine);
	tcase_add_test(t, reach);
	tcase_add_test(t, persist);
}
