// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Devices: list, bind, open, regions, command register, reset; and errors. */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fixture.h"
#include "modules.h"
#include "uapi.h"

START_TEST(functions_are_listed)
{
	struct pb_pci_function *list, f;
	unsigned int i, n, seen = 0;

	ok(pb_pci_list(&list, &n, &err));
	ck_assert_uint_gt(n, 5);
	for (i = 0; i < n; i++) {
		if (i)
			ck_assert_str_lt(list[i - 1].bdf, list[i].bdf);
		if (!strcmp(list[i].bdf, lab_bdf(LAB_GPU))) {
			ck_assert_uint_eq(list[i].bars[GPU_BAR].size, 256 * MIB);
			ck_assert(list[i].bars[GPU_BAR].memory &&
				  list[i].bars[GPU_BAR].prefetchable);
			ck_assert_int_ge(list[i].iommu_group, 0);
			seen++;
		}
	}
	free(list);
	ck_assert_uint_eq(seen, 1);
	/* The domain is optional. */
	ok(pb_pci_get(lab_bdf(LAB_GPU) + strlen("0000:"), &f, &err));
	ck_assert_str_eq(f.bdf, lab_bdf(LAB_GPU));
	refused(pb_pci_get("0000:fe:1f.7", &f, &err), ENODEV, "no PCI function 0000:fe:1f.7");
	refused(pb_pci_get("gpu", &f, &err), EINVAL, "'gpu' is no PCI address");
}
END_TEST

START_TEST(bind_and_unbind)
{
	const char *bdf = lab_bdf(LAB_EDU);
	struct pb_pci_function f;

	ok(pb_pci_unbind(bdf, &err));
	ok(pb_pci_get(bdf, &f, &err));
	ck_assert_str_eq(f.driver, "");
	ck_assert_str_eq(f.cdev, "");
	/* Already unbound. */
	ok(pb_pci_unbind(bdf, &err));
	ok(pb_pci_bind(bdf, NULL, &err));
	ok(pb_pci_get(bdf, &f, &err));
	ck_assert_str_eq(f.driver, "vfio-pci");
	ck_assert(!strncmp(f.cdev, "/dev/vfio/devices/vfio", 22));
	/* Already bound. */
	ok(pb_pci_bind(bdf, "vfio-pci", &err));
	/*
	 * A driver that does not support the device, and one whose forced probe fails: the previous
	 * driver is bound again.
	 */
	refused(pb_pci_bind(bdf, "virtio-pci", &err), EPERM, "not for this device, 1234:11e8");
	ok(pb_pci_get(bdf, &f, &err));
	ck_assert_str_eq(f.driver, "vfio-pci");
	refused(pb_pci_bind_flags(bdf, "virtio-pci", PB_BIND_FORCE, &err), ENODEV,
		"did not bind it");
	ok(pb_pci_get(bdf, &f, &err));
	ck_assert_str_eq(f.driver, "vfio-pci");
	refused(pb_pci_bind_flags(bdf, "virtio-pci", 2, &err), EINVAL, "flags 0x2");
	refused(pb_pci_bind(bdf, "no-such-driver", &err), ENOENT, "no driver of that name");
	refused(pb_pci_bind(bdf, "../x", &err), EINVAL, "no name of a driver");
	refused(pb_pci_bind("0000:fe:1f.7", NULL, &err), ENODEV, "no PCI function");
	/* A failure changes nothing. */
	ok(pb_pci_get(bdf, &f, &err));
	ck_assert_str_eq(f.driver, "vfio-pci");
}
END_TEST

/* e1000e probes any device it is bound to, and would read a BAR that this device does not have. */
START_TEST(drivers_of_other_devices)
{
	struct pb_pci_function f;

	module_load("e1000e");
	ok(pb_pci_bind(lab_bdf(LAB_EDU), NULL, &err));
	refused(pb_pci_bind(lab_bdf(LAB_EDU), "e1000e", &err), EPERM, "PB_BIND_FORCE");
	ok(pb_pci_get(lab_bdf(LAB_EDU), &f, &err));
	ck_assert_str_eq(f.driver, "vfio-pci");
	/* The driver of a supported device replaces a VFIO driver. */
	ok(pb_pci_bind(lab_bdf(LAB_NIC), NULL, &err));
	ok(pb_pci_bind(lab_bdf(LAB_NIC), "e1000e", &err));
	ok(pb_pci_get(lab_bdf(LAB_NIC), &f, &err));
	ck_assert_str_eq(f.driver, "e1000e");
	ck_assert_int_eq(module_unload("e1000e"), 0);
}
END_TEST

/* ---- holders of a device ---- */

/* Count a process's entries of this kind. Return the last one's descriptor in *fd. */
static unsigned int holds(const char *bdf, int pid, enum pb_holder_kind kind, int *fd)
{
	struct pb_holder *list = NULL;
	unsigned int i, n = 0, found = 0;

	ok(pb_pci_holders(bdf, &list, &n, &err));
	for (i = 0; i < n; i++) {
		if (list[i].pid != pid || list[i].kind != kind)
			continue;
		ck_assert_str_eq(list[i].command, "lab-check");
		if (fd)
			*fd = list[i].fd;
		found++;
	}
	free(list);
	return found;
}

static int open_cdev(enum lab_role device)
{
	struct pb_pci_function f;
	int fd;

	ok(pb_pci_bind(lab_bdf(device), NULL, &err));
	ok(pb_pci_get(lab_bdf(device), &f, &err));
	fd = open(f.cdev, O_RDWR | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	return fd;
}

static void is_bound(enum lab_role device, const char *driver)
{
	struct pb_pci_function f;

	ok(pb_pci_get(lab_bdf(device), &f, &err));
	ck_assert_str_eq(f.driver, driver);
}

/* Another process has the device open: calls fail at once, and the message names the process. */
START_TEST(held_by_another_process)
{
	int fd = open_cdev(LAB_EDU), found = -1, pid;
	const char *bdf = lab_bdf(LAB_EDU);
	struct pb_device *second = NULL;
	char who[64];

	pid = fork();
	if (!pid)
		for (;;)
			pause();
	close(fd);
	snprintf(who, sizeof(who), "in use by process %d (lab-check)", pid);
	ck_assert_uint_eq(holds(bdf, pid, PB_HOLDER_DEVICE, &found), 1);
	ck_assert_int_eq(found, fd);
	ck_assert_uint_eq(holds(bdf, getpid(), PB_HOLDER_DEVICE, NULL), 0);
	ck_assert_uint_eq(holds(lab_bdf(LAB_GPU), pid, PB_HOLDER_DEVICE, NULL), 0);
	refused(pb_pci_unbind(bdf, &err), EBUSY, who);
	is_bound(LAB_EDU, "vfio-pci");
	refused(pb_pci_bind(bdf, "virtio-pci", &err), EBUSY, who);
	is_bound(LAB_EDU, "vfio-pci");
	kill(pid, SIGKILL);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);

	/* Bound to an iommufd, the device cannot be opened either. */
	fd = -1;
	{
		int ready[2];
		char byte = 0;

		ck_assert(!pipe(ready));
		pid = fork();
		if (!pid) {
			lab_open(fixture.iommu, LAB_EDU);
			if (write(ready[1], &byte, 1) != 1)
				_exit(1);
			for (;;)
				pause();
		}
		ck_assert_int_eq(read(ready[0], &byte, 1), 1);
		close(ready[0]);
		close(ready[1]);
	}
	snprintf(who, sizeof(who), "in use by process %d (lab-check)", pid);
	refused(pb_device_open(fixture.iommu, bdf, &second, &err), EBUSY, who);
	kill(pid, SIGKILL);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	ok(pb_pci_unbind(bdf, &err));
	is_bound(LAB_EDU, "");
}
END_TEST

/* A mapping keeps a closed device in use. A dma-buf does not. */
START_TEST(held_by_a_mapping)
{
	struct pb_range range = { 0, PAGE };
	const char *bdf = lab_bdf(LAB_GPU);
	struct pb_buffer *buffer;
	struct pb_device *device;
	void *p;

	device = lab_open(fixture.iommu, LAB_GPU);
	ok(pb_device_set_decoding(device, true, &err));
	ok(pb_buffer_export(device, GPU_BAR, &range, 1, 0, &buffer, &err));
	ck_assert_uint_eq(holds(bdf, getpid(), PB_HOLDER_BUFFER, NULL), 1);
	ok(pb_device_mmap(device, GPU_BAR, 0, PAGE, false, &p, &err));
	refused(pb_pci_unbind(bdf, &err), EBUSY, "in use by this process, ");
	pb_device_close(device);
	ck_assert_uint_eq(holds(bdf, getpid(), PB_HOLDER_DEVICE, NULL), 0);
	ck_assert_uint_eq(holds(bdf, getpid(), PB_HOLDER_MAPPING, NULL), 1);
	refused(pb_pci_unbind(bdf, &err), EBUSY, "in use by this process, ");
	munmap(p, PAGE);
	ck_assert_uint_eq(holds(bdf, getpid(), PB_HOLDER_MAPPING, NULL), 0);
	ck_assert_uint_eq(holds(bdf, getpid(), PB_HOLDER_BUFFER, NULL), 1);
	ok(pb_pci_unbind(bdf, &err));
	pb_buffer_close(buffer);
	is_bound(LAB_GPU, "");
}
END_TEST

/* A descriptor in a socket's queue is not in the list of any process. */
START_TEST(held_out_of_sight)
{
	struct vfio_device_bind_iommufd bind = { .argsz = sizeof(bind),
						 .iommufd = pb_iommu_fd(fixture.iommu) };
	int fd = open_cdev(LAB_EDU), sockets[2];

	ck_assert(!ioctl(fd, VFIO_DEVICE_BIND_IOMMUFD, &bind));
	ck_assert(!socketpair_cloexec(sockets));
	send_fd(sockets[0], fd);
	close(fd);
	ck_assert_uint_eq(holds(lab_bdf(LAB_EDU), getpid(), PB_HOLDER_DEVICE, NULL), 0);
	refused(pb_pci_unbind(lab_bdf(LAB_EDU), &err), EBUSY, "cannot see");
	is_bound(LAB_EDU, "vfio-pci");
	close(receive_fd(sockets[1]));
	close(sockets[0]);
	close(sockets[1]);
	ok(pb_pci_unbind(lab_bdf(LAB_EDU), &err));
}
END_TEST

/*
 * The legacy group interface: a group's descriptor prevents binding the character device, and a
 * device's descriptor from it has no path.
 */
START_TEST(held_by_the_group)
{
	struct vfio_group_status status = { .argsz = sizeof(status) };
	const char *bdf = lab_bdf(LAB_EDU);
	struct pb_device *second = NULL;
	int container, group, fd, found;
	struct pb_pci_function f;
	char path[64];

	module_load("vfio_iommu_type1");
	ok(pb_pci_bind(bdf, NULL, &err));
	ok(pb_pci_get(bdf, &f, &err));
	snprintf(path, sizeof(path), "/dev/vfio/%d", f.iommu_group);
	group = open(path, O_RDWR | O_CLOEXEC);
	ck_assert_int_ge(group, 0);
	ck_assert_uint_eq(holds(bdf, getpid(), PB_HOLDER_GROUP, &found), 1);
	ck_assert_int_eq(found, group);
	refused(pb_device_open(fixture.iommu, bdf, &second, &err), EBUSY, "in use by this process");
	ck_assert(!ioctl(group, VFIO_GROUP_GET_STATUS, &status));
	/*
	 * In a group with bridges, or with functions bound to other drivers, a device cannot be
	 * opened.
	 */
	if (status.flags & VFIO_GROUP_FLAGS_VIABLE) {
		container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
		ck_assert_int_ge(container, 0);
		ck_assert(!ioctl(group, VFIO_GROUP_SET_CONTAINER, &container));
		ck_assert(!ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU));
		fd = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, bdf);
		ck_assert_int_ge(fd, 0);
		ck_assert_uint_eq(holds(bdf, getpid(), PB_HOLDER_DEVICE, &found), 1);
		ck_assert_int_eq(found, fd);
		ck_assert_uint_eq(holds(lab_bdf(LAB_GPU), getpid(), PB_HOLDER_DEVICE, NULL), 0);
		refused(pb_pci_unbind(bdf, &err), EBUSY, "in use by this process");
		close(fd);
		close(container);
	}
	close(group);
	ok(pb_pci_unbind(bdf, &err));
}
END_TEST

/* An unprivileged user gets a process that may be the holder. */
START_TEST(held_by_a_process_of_another_user)
{
	int fd = open_cdev(LAB_EDU), pid, status;

	pid = fork();
	if (!pid)
		_exit(setuid(65534) ||
		      holds(lab_bdf(LAB_EDU), getppid(), PB_HOLDER_UNKNOWN, NULL) != 1);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status) && !WEXITSTATUS(status));
	close(fd);
}
END_TEST

START_TEST(open_refused)
{
	struct pb_device *device = NULL, *second = NULL;

	refused(pb_device_open(fixture.iommu, "01:00", &device, &err), EINVAL, "no PCI address");
	refused(pb_device_open(fixture.iommu, "0000:fe:1f.7", &device, &err), ENODEV,
		"no PCI function");
	ok(pb_pci_unbind(lab_bdf(LAB_EDU), &err));
	refused(pb_device_open(fixture.iommu, lab_bdf(LAB_EDU), &device, &err), ENXIO,
		"bind it to vfio-pci");
	device = lab_open(fixture.iommu, LAB_EDU);
	refused(pb_device_open(fixture.iommu, lab_bdf(LAB_EDU), &second, &err), EBUSY,
		"in use by this process");
	ck_assert_ptr_null(second);
	pb_device_close(device);
	/* It can be opened again. */
	device = lab_open(fixture.iommu, LAB_EDU);
	pb_device_close(device);
}
END_TEST

START_TEST(a_context_that_was_given)
{
	struct pb_iommu *copy;
	struct pb_device *device;

	ok(pb_iommu_from_fd(pb_iommu_fd(fixture.iommu), &copy, &err));
	ck_assert_int_ne(pb_iommu_fd(copy), pb_iommu_fd(fixture.iommu));
	device = lab_open(copy, LAB_EDU);
	/* The device keeps the context. */
	pb_iommu_close(copy);
	ok(pb_device_set_decoding(device, true, &err));
	pb_device_close(device);
}
END_TEST

START_TEST(regions)
{
	struct pb_region r;
	unsigned int i;

	ck_assert_uint_ge(pb_device_regions(fixture.gpu), 8);
	ok(pb_device_region(fixture.gpu, GPU_BAR, &r, &err));
	ck_assert_uint_eq(r.size, 256 * MIB);
	ck_assert(r.readable && r.writable && r.mappable);
	ok(pb_device_region(fixture.gpu, PB_REGION_CONFIG, &r, &err));
	ck_assert_uint_ge(r.size, 256);
	ck_assert(r.readable && !r.mappable);
	/* A region that the device does not have, and one that no device has. */
	ok(pb_device_region(fixture.gpu, 5, &r, &err));
	ck_assert_uint_eq(r.size, 0);
	i = pb_device_regions(fixture.gpu);
	refused(pb_device_region(fixture.gpu, i, &r, &err), EINVAL, "its regions are 0 to");
}
END_TEST

START_TEST(reading_and_writing)
{
	uint8_t out[256], in[256];
	void *p;

	lab_pattern(out, sizeof(out), 7);
	ok(pb_device_write(fixture.gpu, GPU_BAR, 0x12345 & ~7, out, sizeof(out), &err));
	ok(pb_device_read(fixture.gpu, GPU_BAR, 0x12345 & ~7, in, sizeof(in), &err));
	ck_assert_mem_eq(in, out, sizeof(in));
	ck_assert(lab_host_sees(0x12345 & ~7, out, sizeof(out)));
	refused(pb_device_read(fixture.gpu, 99, 0, in, 4, &err), EINVAL, "no region 99");
	refused(pb_device_read(fixture.gpu, GPU_BAR, 256 * MIB, in, 1, &err), ERANGE,
		"whose size is 0x10000000");
	refused(pb_device_write(fixture.gpu, GPU_BAR, 256 * MIB - 2, out, 4, &err), ERANGE,
		"not all inside");
	refused(pb_device_write(fixture.gpu, GPU_BAR, UINT64_MAX, out, 4, &err), ERANGE,
		"not all inside");
	refused(pb_device_mmap(fixture.gpu, GPU_BAR, 1, PAGE, false, &p, &err), EINVAL,
		"page size");
	refused(pb_device_mmap(fixture.gpu, GPU_BAR, 0, 0, false, &p, &err), EINVAL,
		"length not 0");
	refused(pb_device_mmap(fixture.gpu, GPU_BAR, 256 * MIB, PAGE, false, &p, &err), ERANGE,
		"not all inside");
	refused(pb_device_mmap(fixture.gpu, PB_REGION_CONFIG, 0, 16, false, &p, &err), EOPNOTSUPP,
		"cannot be mapped");
}
END_TEST

START_TEST(decoding)
{
	uint8_t byte;

	ck_assert(decodes(fixture.gpu));
	ok(pb_device_set_decoding(fixture.gpu, false, &err));
	ck_assert(!decodes(fixture.gpu));
	refused(pb_device_read(fixture.gpu, GPU_BAR, 0, &byte, 1, &err), EIO, "cannot read");
	/* Turning it off twice is harmless. */
	ok(pb_device_set_decoding(fixture.gpu, false, &err));
	ok(pb_device_set_decoding(fixture.gpu, true, &err));
	ck_assert(decodes(fixture.gpu));
	ok(pb_device_read(fixture.gpu, GPU_BAR, 0, &byte, 1, &err));
}
END_TEST

/* Access through a CPU mapping while decoding is off raises SIGBUS, and returns no stale data. */
START_TEST(decoding_off_is_sigbus)
{
	volatile uint8_t *bar = bar_mmap(0, PAGE);

	bar[0] = 1;
	ok(pb_device_set_decoding(fixture.gpu, false, &err));
	bar[0] = 2;
}
END_TEST

START_TEST(reset)
{
	uint8_t out[16], in[16];

	lab_pattern(out, sizeof(out), 8);
	if (lab_has_no_reset()) {
		refused(pb_device_reset(fixture.gpu, &err), EOPNOTSUPP, "cannot be reset");
		return;
	}
	ok(pb_device_reset(fixture.gpu, &err));
	/* As the kernel leaves it: usable when decoding is on. */
	ok(pb_device_set_decoding(fixture.gpu, true, &err));
	ok(pb_device_write(fixture.gpu, GPU_BAR, 0, out, sizeof(out), &err));
	ok(pb_device_read(fixture.gpu, GPU_BAR, 0, in, sizeof(in), &err));
	ck_assert_mem_eq(in, out, sizeof(in));
}
END_TEST

LAB_SUITE("device", SUITE_NOT_ON_DEBUG)
{
	TCase *t = suite_case(s, "without a bench", 120, context_up, context_down);

	tcase_add_test(t, functions_are_listed);
	tcase_add_test(t, bind_and_unbind);
	tcase_add_test(t, drivers_of_other_devices);
	tcase_add_test(t, held_by_another_process);
	tcase_add_test(t, held_by_a_mapping);
	tcase_add_test(t, held_out_of_sight);
	tcase_add_test(t, held_by_the_group);
	tcase_add_test(t, held_by_a_process_of_another_user);
	tcase_add_test(t, open_refused);
	tcase_add_test(t, a_context_that_was_given);
	t = suite_case(s, "on the bench", 120, fixture_up, fixture_down);
	tcase_add_test(t, regions);
	tcase_add_test(t, reading_and_writing);
	tcase_add_test(t, decoding);
	tcase_add_test_raise_signal(t, decoding_off_is_sigbus, SIGBUS);
	tcase_add_test(t, reset);
}
