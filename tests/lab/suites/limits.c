// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Limits of processes that create buffers: their number, the cgroup that is charged, and access to
 * vfio-pci-core's dma-buf.
 */
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "modules.h"
#include "testmod.h"

static void read_text(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	ck_assert_msg(fd >= 0, "cannot read %s: %m", path);
	n = read(fd, text, size - 1);
	ck_assert_int_ge(n, 0);
	text[n] = 0;
	close(fd);
}

/* Return the descriptor of a new buffer of one page, or -errno. */
static int export_page(uint32_t open_flags)
{
	struct {
		struct vfio_device_feature_dma_buf what;
		struct vfio_region_dma_range range;
	} request = {
		{ .region_index = GPU_BAR, .open_flags = open_flags, .nr_ranges = 1 },
		{ 0, PAGE },
	};

	return feature(fixture.gpu, VFIO_DEVICE_FEATURE_GET, VFIO_DEVICE_FEATURE_DMA_BUF, &request,
		       sizeof(request));
}

/* ---- the number of buffers and ranges ---- */

#define MAX_BUFFERS "/sys/module/peerbar/parameters/max_buffers"
#define MAX_RANGES  "/sys/module/peerbar/parameters/max_ranges"

/* A buffer that is only mapped takes no descriptor, but counts towards its user's limit. */
START_TEST(buffers_of_a_user)
{
	unsigned int before = count_listed(), i;
	int exporter = test_exporter_open(), fd;
	uint8_t *p[5];
	char old[32], text[32];
	pid_t child;

	read_text(MAX_BUFFERS, old, sizeof(old));
	ck_assert_int_gt(atoi(old), 1000);
	snprintf(text, sizeof(text), "%u", before + 5);
	write_file(MAX_BUFFERS, text);
	for (i = 0; i < 5; i++) {
		fd = export_page(O_RDWR | O_CLOEXEC);
		ck_assert_int_ge(fd, 0);
		p[i] = map_fd(fd, 0, PAGE);
		ck_assert_ptr_nonnull(p[i]);
		close(fd);
	}
	ck_assert_int_eq(export_page(O_RDWR | O_CLOEXEC), -EDQUOT);
	ck_assert_uint_eq(count_listed(), before + 5);
	/* Another user has a limit of its own. */
	child = fork();
	if (!child) {
		if (setgid(65534) || setuid(65534))
			_exit(1);
		_exit(test_export_one(exporter, PEERBAR_TEST_SOURCE_CORE, PEERBAR_MODEL_REVOCABLE,
				      PAGE) < 0 ?
			      2 :
			      0);
	}
	ck_assert_int_eq(wait_for(child), 0);
	/* Releasing a buffer makes room for another. */
	munmap(p[0], PAGE);
	for (i = 0; i < 50 && (fd = export_page(O_RDWR | O_CLOEXEC)) == -EDQUOT; i++)
		usleep(100000);
	ck_assert_int_ge(fd, 0);
	close(fd);
	write_file(MAX_BUFFERS, old);
	for (i = 1; i < 5; i++)
		munmap(p[i], PAGE);
	close(exporter);
}
END_TEST

START_TEST(ranges_of_a_user)
{
	struct pb_range ranges[40];
	struct pb_buffer *buffer = NULL;
	char old[32];
	unsigned int i;

	for (i = 0; i < 40; i++)
		ranges[i] = (struct pb_range){ i * PAGE, PAGE };
	read_text(MAX_RANGES, old, sizeof(old));
	/* The library exports each range by itself, too. */
	write_file(MAX_RANGES, "60");
	refused(pb_buffer_export(fixture.gpu, GPU_BAR, ranges, 40, 0, &buffer, &err), EDQUOT,
		"max_ranges");
	ck_assert_ptr_null(buffer);
	write_file(MAX_RANGES, old);
	pb_buffer_close(export_ranges(ranges, 40));
}
END_TEST

/* ---- memory charges ---- */

#define CGROUP	"/tmp/peerbar-cgroup"
#define CHARGED 1500

static long memory_current(void)
{
	char text[64];

	read_text(CGROUP "/test/memory.current", text, sizeof(text));
	return atol(text);
}

static void enter_cgroup(void)
{
	char text[32];

	if (mkdir(CGROUP, 0700) && errno != EEXIST)
		ck_abort_msg("cannot make %s: %m", CGROUP);
	if (mount("none", CGROUP, "cgroup2", 0, NULL))
		ck_abort_msg("cannot mount the control groups: %m");
	write_file(CGROUP "/cgroup.subtree_control", "+memory");
	ck_assert(!mkdir(CGROUP "/test", 0700));
	snprintf(text, sizeof(text), "%d", getpid());
	write_file(CGROUP "/test/cgroup.procs", text);
}

static void leave_cgroup(void)
{
	char text[32];
	int i;

	snprintf(text, sizeof(text), "%d", getpid());
	write_file(CGROUP "/cgroup.procs", text);
	for (i = 0; i < 100 && rmdir(CGROUP "/test"); i++)
		usleep(100000);
	ck_assert_int_eq(umount2(CGROUP, MNT_DETACH), 0);
}

/*
 * Most of a buffer's memory is charged to its creator's cgroup, although a kernel worker allocates
 * a part of it.
 */
START_TEST(memory_is_charged)
{
	static int fds[CHARGED];
	long before, after;
	int i;

	setrlimit(RLIMIT_NOFILE, &(struct rlimit){ 4096, 4096 });
	enter_cgroup();
	/* Make allocations that happen only once. */
	for (i = 0; i < 50; i++) {
		fds[i] = export_page(O_RDWR | O_CLOEXEC);
		ck_assert_int_ge(fds[i], 0);
	}
	before = memory_current();
	for (; i < CHARGED; i++) {
		fds[i] = export_page(O_RDWR | O_CLOEXEC);
		ck_assert_msg(fds[i] >= 0, "export %d: %s", i, strerror(-fds[i]));
	}
	after = memory_current();
	printf("limits: %ld bytes are charged for a buffer\n", (after - before) / (CHARGED - 50));
	/*
	 * Files, inodes and dentries of two dma-bufs, and peerbar's structures; without the inner
	 * dma-buf's and peerbar's it would be a third.
	 */
	ck_assert_int_gt((after - before) / (CHARGED - 50), 2400);
	for (i = 0; i < CHARGED; i++)
		close(fds[i]);
	leave_cgroup();
}
END_TEST

#define RANGES	 8192
#define MAPPINGS 8

/* The tables of a mapping of many ranges are charged to the process that maps. */
START_TEST(mappings_are_charged)
{
	static struct {
		struct vfio_device_feature_dma_buf what;
		struct vfio_region_dma_range range[RANGES];
	} request = { .what = { .region_index = GPU_BAR,
				.open_flags = O_RDWR | O_CLOEXEC,
				.nr_ranges = RANGES } };
	int importer = test_importer_open(), handles[MAPPINGS], fd, i;
	/* The kernel charges in steps of 256 KiB. With KASAN each mapping takes ten seconds. */
	const int mappings = lab_kernel_is("debug") ? 3 : MAPPINGS;
	long before, after;

	for (i = 0; i < RANGES; i++)
		request.range[i] = (struct vfio_region_dma_range){ 2 * i * PAGE, PAGE };
	fd = feature(fixture.gpu, VFIO_DEVICE_FEATURE_GET, VFIO_DEVICE_FEATURE_DMA_BUF, &request,
		     sizeof(request));
	ck_assert_msg(fd >= 0, "cannot export %d ranges: %s", RANGES, strerror(-fd));
	for (i = 0; i < mappings; i++) {
		handles[i] = test_import_attach(importer, fd, PEERBAR_TEST_KIND_REVOCABLE, 0,
						lab_bdf(LAB_NIC));
		ck_assert_int_gt(handles[i], 0);
	}
	enter_cgroup();
	before = memory_current();
	for (i = 0; i < mappings; i++)
		ck_assert_int_eq(test_import_map(importer, handles[i], NULL), 0);
	after = memory_current();
	printf("limits: %ld bytes are charged for a mapping of %d ranges\n",
	       (after - before) / mappings, RANGES);
	/* A scatterlist's entry has 32 bytes. */
	ck_assert_int_gt((after - before) / mappings, 32 * RANGES);
	close(importer);
	close(fd);
	leave_cgroup();
}
END_TEST

/* ---- the inner dma-buf ---- */

#define HELPER "/tmp/peerbar-helper"
#define SEEN   "/tmp/peerbar-helper-seen"
#define RAN    "/tmp/peerbar-helper-ran"

/*
 * A program that the kernel starts inherits descriptors of the kernel's threads. The inner dma-buf
 * must never be among them, even if the user requests a descriptor without O_CLOEXEC. The kernel
 * runs the helper for sockets of a family without a module.
 */
START_TEST(helpers_of_the_kernel)
{
	char old[256];
	int rounds = lab_kernel_is("debug") ? 300 : 4000;
	int i, round, fd = open(HELPER, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0700);
	struct stat st;
	pid_t child;

	ck_assert_int_ge(dprintf(fd,
				 "#!/bin/sh\n: >" RAN
				 "\ngrep -l vfio_pci_core /proc/self/fdinfo/* >>" SEEN
				 "\nexit 0\n"),
			 0);
	close(fd);
	unlink(SEEN);
	unlink(RAN);
	read_text("/proc/sys/kernel/modprobe", old, sizeof(old));
	old[strcspn(old, "\n")] = 0;
	write_file("/proc/sys/kernel/modprobe", HELPER);
	child = fork();
	ck_assert_int_ge(child, 0);
	if (!child) {
		for (;;) {
			/* families without a protocol or a module */
			for (i = 3; i < 46; i++) {
				int sk = socket(i, SOCK_DGRAM | SOCK_CLOEXEC, 0);

				if (sk >= 0)
					close(sk);
			}
		}
	}
	for (round = 0; round < rounds; round++) {
		fd = export_page(O_RDWR);
		ck_assert_int_ge(fd, 0);
		close(fd);
	}
	kill(child, SIGKILL);
	wait_for(child);
	write_file("/proc/sys/kernel/modprobe", old);
	sleep(1);
	ck_assert_msg(!stat(RAN, &st), "the kernel did not run the helper");
	ck_assert_msg(stat(SEEN, &st) || !st.st_size,
		      "a program that the kernel started had a descriptor of vfio-pci-core's dma-buf");
	unlink(SEEN);
	unlink(RAN);
	unlink(HELPER);
}
END_TEST

LAB_SUITE("limits", 0)
{
	TCase *t = suite_case(s, "all", 120, modules_up, modules_down);

	tcase_add_test(t, buffers_of_a_user);
	tcase_add_test(t, ranges_of_a_user);
	tcase_add_test(t, memory_is_charged);
	tcase_add_test(t, mappings_are_charged);
	tcase_add_test(t, helpers_of_the_kernel);
}
