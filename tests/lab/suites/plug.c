// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * A second GPU is plugged while the machine runs, used, and pulled under a mapping; and a GPU with
 * a large BAR.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "hotplug.h"
#include "modules.h"
#include "testmod.h"

#define SIZE (16 * MIB)
#define GIB  (1024 * MIB)

START_TEST(plugged_used_and_pulled)
{
	struct pb_range range = { MIB, 4 * PAGE };
	struct pb_mapping *m, *again = NULL;
	struct pb_device *plugged;
	struct pb_buffer *buffer;
	char bdf[PB_BDF_LEN];
	uint64_t iova;
	uint8_t *bar;
	void *p;

	gpu_plug(bdf, SIZE);
	ok(pb_pci_bind(bdf, lab_driver(), &err));
	ok(pb_device_open(fixture.iommu, bdf, &plugged, &err));
	ok(pb_device_set_decoding(plugged, true, &err));
	ok(pb_buffer_export(plugged, GPU_BAR, &range, 1, 0, &buffer, &err));
	m = map_rw(buffer);
	iova = pb_mapping_iova(m);
	ok(pb_device_mmap(plugged, GPU_BAR, MIB, 4 * PAGE, false, &p, &err));
	bar = p;
	lab_pattern(fixture.memory.p, LEN, 60);
	edu_copy(&fixture.edu, fixture.memory.iova, iova, LEN);
	ck_assert_mem_eq(bar, fixture.memory.p, LEN);
	munmap(p, 4 * PAGE);

	/* The driver requests its user to release the device, and waits for it. */
	gpu_pull();
	sleep(7); /* the slot's button blinks for 5 s */
	ck_assert(gpu_plugged(bdf, SIZE));
	pb_device_close(plugged);
	gpu_wait(bdf, SIZE, false);
	ck_assert_int_eq(pb_mapping_state(m), PB_REVOKED);
	refused(pb_map_buffer(fixture.ioas, buffer, 0, 0, RW, 0, &again, &err), ENODEV, "revoked");
	dma_faults(iova, 0);
	ok(pb_unmap(m, &err));
	pb_buffer_close(buffer);
	refused(pb_device_open(fixture.iommu, bdf, &plugged, &err), ENODEV, "no PCI function");
	gpu_forget_memory(SIZE);
}
END_TEST

/*
 * With peerbar-vfio-pci, buffers die as soon as removal is requested, although the device is still
 * open.
 */
START_TEST(pulled_from_under_a_buffer)
{
	struct pb_range range = { MIB, 4 * PAGE };
	struct pb_device *plugged;
	struct pb_buffer *buffer;
	struct pb_mapping *m;
	char bdf[PB_BDF_LEN];
	uint8_t *p;

	gpu_plug(bdf, SIZE);
	ok(pb_pci_bind(bdf, lab_driver(), &err));
	ok(pb_device_open(fixture.iommu, bdf, &plugged, &err));
	ok(pb_device_set_decoding(plugged, true, &err));
	ok(pb_buffer_export(plugged, GPU_BAR, &range, 1, 0, &buffer, &err));
	m = map_rw(buffer);
	p = map_fd(pb_buffer_fd(buffer), 0, 4 * PAGE);
	lab_pattern(fixture.memory.p, LEN, 61);
	edu_copy(&fixture.edu, fixture.memory.iova, pb_mapping_iova(m), LEN);
	ck_assert_mem_eq(p, fixture.memory.p, LEN);
	gpu_pull();
	wait_until_dead(pb_buffer_fd(buffer), p);
	dma_faults(pb_mapping_iova(m), 0);
	ck_assert(gpu_plugged(bdf, SIZE));
	pb_device_close(plugged);
	gpu_wait(bdf, SIZE, false);
	/* The buffer outlives the device. */
	ck_assert(!can_read(p, NULL));
	state_is(pb_buffer_fd(buffer), PEERBAR_STATE_DEAD);
	munmap(p, 4 * PAGE);
	ok(pb_unmap(m, &err));
	pb_buffer_close(buffer);
	gpu_forget_memory(SIZE);
}
END_TEST

/* One page fault maps a BAR of 1 GiB. */
START_TEST(a_gigabyte)
{
	struct pb_range range = { 0, GIB };
	struct peerbar_test_pte pte;
	struct pb_device *plugged;
	struct pb_buffer *buffer;
	struct peerbar_query q;
	char bdf[PB_BDF_LEN];
	uint8_t *p;

	gpu_plug(bdf, GIB);
	ok(pb_pci_bind(bdf, lab_driver(), &err));
	ok(pb_device_open(fixture.iommu, bdf, &plugged, &err));
	ok(pb_device_set_decoding(plugged, true, &err));
	ok(pb_buffer_export(plugged, GPU_BAR, &range, 1, 0, &buffer, &err));
	p = map_fd_aligned(pb_buffer_fd(buffer), 0, GIB, GIB, 0);
	ck_assert(can_write(p + 5, 0x11));
	ck_assert(can_write(p + GIB - 1, 0x22));
	q = query(pb_buffer_fd(buffer));
	ck_assert_uint_eq(q.faults[0], 0);
	ck_assert_uint_eq(q.faults[1], 0);
	ck_assert_uint_eq(q.faults[2], 1);
	ck_assert(page_table(p + 12345678, &pte));
	ck_assert_uint_eq(pte.size, GIB);
	ok(pb_device_set_decoding(plugged, false, &err));
	ck_assert(!can_read(p + 5, NULL) && !can_read(p + GIB - 1, NULL));
	ok(pb_device_set_decoding(plugged, true, &err));
	ck_assert_uint_eq(p[5], 0x11);
	ck_assert_uint_eq(p[GIB - 1], 0x22);
	munmap(p, GIB);
	pb_buffer_close(buffer);
	pb_device_close(plugged);
	gpu_pull();
	gpu_wait(bdf, GIB, false);
	gpu_forget_memory(GIB);
}
END_TEST

#define ENABLE_SRIOV "/sys/module/peerbar_vfio_pci/parameters/enable_sriov"

static int write_value(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), ret;

	ck_assert_msg(fd >= 0, "cannot open %s: %m", path);
	ret = write(fd, value, strlen(value)) < 0 ? -errno : 0;
	close(fd);
	return ret;
}

/*
 * Count the functions of Intel's 82576, physical (0x10c9) or virtual (0x10ca). Return the address
 * of one of them.
 */
static int find_functions(uint16_t id, char bdf[PB_BDF_LEN])
{
	struct pb_pci_function *list;
	unsigned int i, n;
	int found = 0;

	ok(pb_pci_list(&list, &n, &err));
	for (i = 0; i < n; i++) {
		if (list[i].vendor == 0x8086 && list[i].device == id) {
			strcpy(bdf, list[i].bdf);
			found++;
		}
	}
	free(list);
	return found;
}

static bool wait_functions(uint16_t id, int n, char bdf[PB_BDF_LEN])
{
	int i;

	for (i = 0; i < 600 && find_functions(id, bdf) != n; i++)
		usleep(100000);
	return i < 600;
}

/*
 * Like vfio-pci: if the parameter permits it, a physical function gets virtual ones, which the
 * driver binds, too.
 */
START_TEST(virtual_functions)
{
	char pf[PB_BDF_LEN], vf[PB_BDF_LEN], path[100], link[200] = "";
	struct pb_device *device;

	qmp("{\"execute\":\"device_add\",\"arguments\":{\"driver\":\"igb\",\"id\":\"pf\",\"romfile\":\"\",\"bus\":\"spare0\"}}");
	ck_assert_msg(wait_functions(0x10c9, 1, pf), "the device did not appear");
	ok(pb_pci_bind(pf, "peerbar-vfio-pci", &err));
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/sriov_numvfs", pf);
	if (access(path, F_OK)) {
		puts("plug: virtual_functions: skipped, this kernel has no PCI_IOV");
		goto pull;
	}
	ck_assert_int_eq(write_value(path, "2"), -ENOENT);
	ck_assert_int_eq(write_value(ENABLE_SRIOV, "Y"), 0);
	ck_assert_int_eq(write_value(path, "2"), 0);
	ck_assert_msg(wait_functions(0x10ca, 2, vf), "there are no virtual functions");
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver", vf);
	ck_assert_int_gt(readlink(path, link, sizeof(link) - 1), 0);
	ck_assert_msg(strstr(link, "/peerbar-vfio-pci"), "the virtual function has the driver %s",
		      link);
	ok(pb_pci_bind(vf, "peerbar-vfio-pci", &err));
	/* Like vfio-pci: opening requires the token of the physical function. */
	refused(pb_device_open(fixture.iommu, vf, &device, &err), EACCES,
		"VFIO_DEVICE_BIND_IOMMUFD");
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/sriov_numvfs", pf);
	ck_assert_int_eq(write_value(path, "0"), 0);
	ck_assert_msg(wait_functions(0x10ca, 0, vf), "the virtual functions did not go");
	ck_assert_int_eq(write_value(ENABLE_SRIOV, "N"), 0);
pull:
	qmp("{\"execute\":\"device_del\",\"arguments\":{\"id\":\"pf\"}}");
	ck_assert_msg(wait_functions(0x10c9, 0, pf), "the device did not go");
}
END_TEST

LAB_SUITE("plug", 0)
{
	TCase *t = suite_case(s, "all", 300, fixture_up, fixture_down);

	tcase_add_test(t, plugged_used_and_pulled);
	t = suite_case(s, "ours", 300, modules_up, modules_down);
	tcase_add_test(t, pulled_from_under_a_buffer);
	tcase_add_test(t, a_gigabyte);
	tcase_add_test(t, virtual_functions);
}
