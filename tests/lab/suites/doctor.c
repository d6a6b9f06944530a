// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* peerbar doctor, and bindings that survive a reboot. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "command.h"
#include "dma-proof.h"
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

/* ---- the proof by DMA ---- */

#define PROOF_OFFSET (5 * MIB)

/* Bytes of the page of the proof, which must survive it. */
static uint8_t old_bytes[PBT_NVME_PAGE];

static void proof_up(void)
{
	struct pb_device *gpu;

	context_up();
	ok(pb_pci_bind(lab_bdf(LAB_GPU), "vfio-pci", &err));
	ok(pb_pci_bind(lab_bdf(LAB_NVME), "vfio-pci", &err));
	ok(pb_pci_bind(lab_bdf(LAB_NVME_CMB), "vfio-pci", &err));
	ok(pb_pci_bind(lab_bdf(LAB_EDU), "vfio-pci", &err));
	lab_pattern(old_bytes, sizeof(old_bytes), 77);
	ok(pb_device_open(fixture.iommu, lab_bdf(LAB_GPU), &gpu, &err));
	ok(pb_device_write(gpu, GPU_BAR, PROOF_OFFSET, old_bytes, sizeof(old_bytes), &err));
	pb_device_close(gpu);
}

/* No test may leave other bytes in the page. */
static void proof_down(void)
{
	ck_assert_msg(lab_host_sees(PROOF_OFFSET, old_bytes, sizeof(old_bytes)),
		      "the bytes of the BAR are not the old ones");
	context_down();
}

/* Run doctor for the NVMe and @to, and check the exit status and the state of one finding. */
static void proves(const char *to, const char *page, int status, const char *name,
		   const char *state)
{
	struct json_object *o;

	ck_assert_int_eq(run("peerbar doctor --json %s %s --dma %s 2>&1", lab_bdf(LAB_NVME), to,
			     page),
			 status);
	o = parsed();
	ck_assert_int_eq(json_object_get_boolean(member(o, "ready")), !status);
	is_string(find(o, name), "state", state);
	json_object_put(o);
}

START_TEST(proof)
{
	const char *gpu = lab_bdf(LAB_GPU);
	int round;

	/* Nothing is left open. */
	for (round = 0; round < 2; round++) {
		proves(gpu, "2+5M", 0, "dma-write", "ok");
		says("wrote 4096 bytes of BAR 2");
		says("read 4096 bytes of BAR 2");
		ck_assert(lab_host_sees(PROOF_OFFSET, old_bytes, sizeof(old_bytes)));
	}
	proves(lab_bdf(LAB_NVME_CMB), "2+1M", 0, "dma-read", "ok");
}
END_TEST

START_TEST(proof_refused)
{
	const char *gpu = lab_bdf(LAB_GPU), *nvme = lab_bdf(LAB_NVME), *cmb = lab_bdf(LAB_NVME_CMB);
	struct pb_device *device;

	ck_assert_int_eq(run("peerbar doctor %s %s --dma 2+5M 2>&1", lab_bdf(LAB_EDU), gpu), 1);
	says("missing  dma    not tried: ");
	says("is no NVMe controller");
	ck_assert_int_eq(run("peerbar doctor %s %s --dma 2+1M 2>&1", cmb, cmb), 1);
	says("not tried: both functions are");
	proves(gpu, "3+0", 1, "dma", "missing");
	says("is no memory BAR");
	/* The registers of a controller. */
	proves(cmb, "0+0", 1, "dma", "missing");
	says("is not prefetchable");
	proves(cmb, "0+0 --force", 1, "dma-write", "missing");
	says("has no memory at 0x0: it does not keep what is written");
	/* Beyond the BAR, and inside a page. */
	proves(gpu, "2+1T", 1, "map", "missing");
	proves(gpu, "2+0x10", 1, "map", "missing");
	/* Another process has the memory, or the controller. */
	ok(pb_device_open(fixture.iommu, gpu, &device, &err));
	proves(gpu, "2+5M", 1, "map", "missing");
	says("in use");
	pb_device_close(device);
	ok(pb_device_open(fixture.iommu, nvme, &device, &err));
	proves(gpu, "2+5M", 1, "map", "missing");
	pb_device_close(device);
	ok(pb_pci_unbind(nvme, &err));
	proves(gpu, "2+5M", 1, "dma", "missing");
	says("not both are bound");
	ok(pb_pci_bind(nvme, "vfio-pci", &err));

	ck_assert_int_eq(run("peerbar doctor %s %s --dma 2 2>&1", nvme, gpu), 2);
	says("use BAR+OFFSET");
	ck_assert_int_eq(run("peerbar doctor %s %s --dma 6+0 2>&1", nvme, gpu), 2);
	ck_assert_int_eq(run("peerbar doctor %s %s --force 2>&1", nvme, gpu), 2);
	ck_assert_int_eq(run("peerbar doctor --dma 2+0 2>&1"), 2);
	says("--dma needs two PCI functions");
	/* After all that. */
	proves(gpu, "2+5M", 0, "dma-write", "ok");
}
END_TEST

/* What happens on the way, which the command cannot be made to meet: see tools/dma-proof.h. */
START_TEST(proof_blocked)
{
	struct pb_range range = { PROOF_OFFSET, PAGE };
	struct pbt_dma_page page = { .bar = GPU_BAR, .offset = PROOF_OFFSET };
	struct pb_buffer *buffer;
	struct pbt_engine engine;
	struct pb_mapping *m;
	struct pb_device *nvme;
	unsigned int before;

	ok(pb_device_open(fixture.iommu, lab_bdf(LAB_GPU), &page.device, &err));
	ok(pb_device_open(fixture.iommu, lab_bdf(LAB_NVME), &nvme, &err));
	ok(pb_device_set_decoding(page.device, true, &err));
	ok(pb_buffer_export(page.device, GPU_BAR, &range, 1, 0, &buffer, &err));
	ok(pb_ioas_create(fixture.iommu, &fixture.ioas, &err));
	ok(pb_ioas_attach(fixture.ioas, nvme, &err));
	ok(pb_map_buffer(fixture.ioas, buffer, 0, 0, RW, 0, &m, &err));
	ok(pbt_engine_start(&engine, nvme, fixture.ioas, &err));
	page.iova = pb_mapping_iova(m);
	ok(pbt_prove_write(&engine, &page, &err));
	ok(pbt_prove_read(&engine, &page, &err));

	ok(pb_device_set_decoding(page.device, false, &err));
	refused(pbt_prove_write(&engine, &page, &err), ENODEV, "memory decoding of");
	refused(pbt_prove_read(&engine, &page, &err), ENODEV, "its buffers are revoked");

	/* The revoked mapping stays revoked. */
	ok(pb_device_set_decoding(page.device, true, &err));
	before = lab_faults();
	refused(pbt_prove_write(&engine, &page, &err), EIO, "BAR 2 of");
	ck_assert(lab_host_sees(PROOF_OFFSET, old_bytes, sizeof(old_bytes)));
	faulted(before, lab_bdf(LAB_NVME), page.iova, PAGE, true, "a proof without a mapping");
	before = lab_faults();
	refused(pbt_prove_read(&engine, &page, &err), EIO, "it must read from BAR 2 of");
	ck_assert(lab_host_sees(PROOF_OFFSET, old_bytes, sizeof(old_bytes)));
	faulted(before, lab_bdf(LAB_NVME), page.iova, PAGE, false, "a proof without a mapping");

	ok(pb_mapping_restore(m, &err));
	ok(pbt_prove_write(&engine, &page, &err));
	ok(pbt_prove_read(&engine, &page, &err));
	pbt_engine_stop(&engine);
	ok(pb_unmap(m, &err));
	pb_ioas_destroy(fixture.ioas);
	fixture.ioas = NULL;
	pb_buffer_close(buffer);
	pb_device_close(nvme);
	pb_device_close(page.device);
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
	t = suite_case(s, "proof", 240, proof_up, proof_down);
	tcase_add_test(t, proof);
	tcase_add_test(t, proof_refused);
	tcase_add_test(t, proof_blocked);
}
