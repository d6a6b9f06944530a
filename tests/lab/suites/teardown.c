// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Closing and unbinding a device with slow importers and with many buffers: all buffers are revoked
 * at once, no wait is unbounded, and the cost depends only on the buffers involved.
 */
#include <fcntl.h>
#include <linux/vfio.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "modules.h"
#include "raw-ioctl.h"
#include "testmod.h"

static int importer;

static void teardown_up(void)
{
	modules_up();
	importer = test_importer_open();
}

static void teardown_down(void)
{
	close(importer);
	modules_down();
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void sleep_ms(unsigned int ms)
{
	usleep(ms * 1000);
}

/*
 * Attach an importer for a NIC with a DMA mapping, which it keeps until it is released or closed.
 */
static int import_for_ever(int fd, enum peerbar_test_kind kind)
{
	int handle = test_import_attach_late(importer, fd, kind, 0, lab_bdf(LAB_NIC),
					     PEERBAR_TEST_NEVER);

	ck_assert_msg(handle > 0, "cannot attach: %s", strerror(-handle));
	ck_assert_int_eq(test_import_map(importer, handle, NULL), 0);
	return handle;
}

/* Close the descriptors that a child inherited, except at most two; -1: none. */
static void close_all_but(int a, int b)
{
	int i;

	for (i = 3; i < 1024; i++)
		if (i != a && i != b)
			close(i);
}

/* Start a process that unbinds the GPU through sysfs, and has no descriptor of it. */
static pid_t unbind_process(void)
{
	pid_t child = fork();
	ssize_t n;
	int fd;

	ck_assert_int_ge(child, 0);
	if (child)
		return child;
	close_all_but(-1, -1);
	fd = open("/sys/bus/pci/drivers/peerbar-vfio-pci/unbind", O_WRONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : write(fd, lab_bdf(LAB_GPU), strlen(lab_bdf(LAB_GPU)));
	_exit(n < 0);
}

static bool is_dead(int fd)
{
	return query(fd).state == PEERBAR_STATE_DEAD;
}

/* ---- the last reference ---- */

/*
 * Start a process whose importer has the last reference to the buffer. When @go is written to, it
 * exits; if @late, it unmaps first, and exits a second later.
 */
static pid_t holder_process(int fd, const int go[2], bool late)
{
	pid_t child = fork();
	cpu_set_t cpu;
	int handle;
	char c;

	ck_assert_int_ge(child, 0);
	if (child)
		return child;
	CPU_ZERO(&cpu);
	CPU_SET(1, &cpu);
	sched_setaffinity(0, sizeof(cpu), &cpu);
	close_all_but(fd, go[0]);
	importer = test_importer_open();
	handle = test_import_attach_late(importer, fd, PEERBAR_TEST_KIND_LATE, 0, lab_bdf(LAB_NIC),
					 PEERBAR_TEST_NEVER);
	if (handle < 0 || test_import_map(importer, handle, NULL))
		_exit(1);
	close(fd);
	if (read(go[0], &c, 1) != 1)
		_exit(2);
	if (late) {
		test_import_release(importer, handle);
		sleep(1);
	}
	close(importer);
	_exit(0);
}

/*
 * Occupy the first CPU until the importer is gone, so that the unbinding process does not run
 * before.
 */
static pid_t busy_process(void)
{
	struct sched_param param = { .sched_priority = 50 };
	pid_t child = fork();
	cpu_set_t cpu;
	double end;

	ck_assert_int_ge(child, 0);
	if (child)
		return child;
	CPU_ZERO(&cpu);
	CPU_SET(0, &cpu);
	if (sched_setaffinity(0, sizeof(cpu), &cpu) || sched_setscheduler(0, SCHED_FIFO, &param))
		_exit(1);
	for (end = seconds() + 0.4; seconds() < end;)
		;
	_exit(0);
}

START_TEST(unbinding_ends_when_the_last_reference_goes)
{
	struct pb_buffer *buffer = export_one(MIB, 2 * PAGE);
	pid_t holder, unbinder, busy = 0;
	int go[2], i;
	cpu_set_t cpu;

	ck_assert_int_eq(pipe2(go, O_CLOEXEC), 0);
	holder = holder_process(pb_buffer_fd(buffer), go, _i == 1);
	for (i = 0; i < 100 && !query(pb_buffer_fd(buffer)).importers; i++)
		sleep_ms(50);
	ck_assert_int_lt(i, 100);
	sleep_ms(200);
	pb_buffer_close(buffer);
	/* The child inherits the CPU affinity. */
	CPU_ZERO(&cpu);
	CPU_SET(0, &cpu);
	ck_assert_int_eq(sched_setaffinity(0, sizeof(cpu), &cpu), 0);
	unbinder = unbind_process();
	sleep_ms(700);
	CPU_SET(1, &cpu);
	ck_assert_int_eq(sched_setaffinity(0, sizeof(cpu), &cpu), 0);
	if (!_i) {
		busy = busy_process();
		sleep_ms(100);
	}
	ck_assert_int_eq(write(go[1], "x", 1), 1);
	ck_assert_int_eq(ends(holder, 20, "the importer's process"), 0);
	if (busy)
		ck_assert_int_eq(ends(busy, 20, "the busy process"), 0);
	sleep_ms(300);
	pb_device_close(fixture.gpu);
	fixture.gpu = NULL;
	ck_assert_int_eq(ends(unbinder, 30, "unbinding a device that nothing is left of"), 0);
	close(go[0]);
	close(go[1]);
	fixture.gpu = lab_open(fixture.iommu, LAB_GPU);
}
END_TEST

/* ---- all buffers at once ---- */

/*
 * Start a process that owns the GPU and exports two buffers, whose descriptors the test gets. It
 * turns decoding off when @go is written to.
 */
static pid_t owner_process(int fds[2], const int go[2])
{
	int sockets[2];
	pid_t child;
	char c;

	ck_assert_int_eq(socketpair_cloexec(sockets), 0);
	child = fork();
	ck_assert_int_ge(child, 0);
	if (!child) {
		close_all_but(sockets[1], go[0]);
		open_own_gpu();
		send_fd(sockets[1], pb_buffer_fd(export_one(MIB, 2 * PAGE)));
		send_fd(sockets[1], pb_buffer_fd(export_one(2 * MIB, 2 * PAGE)));
		if (read(go[0], &c, 1) == 1)
			pb_device_set_decoding(fixture.gpu, false, NULL);
		for (;;)
			pause();
	}
	close(sockets[1]);
	fds[0] = receive_fd(sockets[0]);
	fds[1] = receive_fd(sockets[0]);
	close(sockets[0]);
	return child;
}

enum end { OWNER_DIES, UNBIND, UNBIND_WHILE_A_LOCK_IS_KEPT, NR_ENDS };

START_TEST(one_late_importer_saves_no_other_buffer)
{
	bool fenced = _i == UNBIND_WHILE_A_LOCK_IS_KEPT;
	int fds[2], go[2], handle, other, i;
	pid_t owner, unbinder = 0;
	uint8_t *p;

	pb_device_close(fixture.gpu);
	fixture.gpu = NULL;
	ck_assert_int_eq(pipe2(go, O_CLOEXEC), 0);
	owner = owner_process(fds, go);
	handle = import_for_ever(fds[0],
				 fenced ? PEERBAR_TEST_KIND_FENCED : PEERBAR_TEST_KIND_LATE);
	other = test_import_attach(importer, fds[1], PEERBAR_TEST_KIND_REVOCABLE, 0,
				   lab_bdf(LAB_NIC));
	ck_assert_int_gt(other, 0);
	ck_assert_int_eq(test_import_map(importer, other, NULL), 0);
	p = map_fd(fds[1], 0, PAGE);
	ck_assert(can_read(p, NULL));
	if (fenced) {
		/*
		 * The core waits for the first buffer's fence, and has not begun with the second.
		 */
		ck_assert_int_eq(write(go[1], "x", 1), 1);
		for (i = 0; i < 100 && !test_import_is(importer, handle, PEERBAR_TEST_STATUS_STALE);
		     i++)
			sleep_ms(100);
		ck_assert_int_lt(i, 100);
		ck_assert(can_read(p, NULL));
	}
	if (_i == OWNER_DIES)
		ck_assert_int_eq(kill(owner, SIGKILL), 0);
	else
		unbinder = unbind_process();
	/*
	 * The second buffer is held by another process, but none of its importers is slow: it must
	 * die at once.
	 */
	for (i = 0; i < 100 &&
	     (!is_dead(fds[1]) || can_read(p, NULL) ||
	      test_import_is(importer, other, PEERBAR_TEST_STATUS_MAPPED));
	     i++)
		sleep_ms(50);
	ck_assert(is_dead(fds[1]));
	ck_assert(!can_read(p, NULL));
	ck_assert(!test_import_is(importer, other, PEERBAR_TEST_STATUS_MAPPED));
	ck_assert_int_eq(test_import_attach(importer, fds[1], PEERBAR_TEST_KIND_REVOCABLE, 0,
					    lab_bdf(LAB_NIC)),
			 -ENODEV);
	/* The first importer has not unmapped yet. */
	ck_assert(test_import_is(importer, handle, PEERBAR_TEST_STATUS_MAPPED));
	sleep_ms(300);
	ck_assert_int_eq(waitpid(unbinder ?: owner, NULL, WNOHANG), 0);
	ck_assert_int_eq(test_import_release(importer, handle), 0);
	if (unbinder)
		ck_assert_int_eq(kill(owner, SIGKILL), 0);
	ck_assert_int_eq(ends(owner, 30, "the owner"), 128 + SIGKILL);
	if (unbinder)
		ck_assert_int_eq(ends(unbinder, 30, "unbinding"), 0);
	ck_assert(!test_import_is(importer, handle, PEERBAR_TEST_STATUS_MAPPED));
	munmap(p, PAGE);
	for (i = 0; i < 2; i++) {
		close(fds[i]);
		close(go[i]);
	}
	fixture.gpu = lab_open(fixture.iommu, LAB_GPU);
}
END_TEST

/* ---- signals ---- */

static void *decoding_off(void *arg)
{
	(void)arg;
	ok(pb_device_set_decoding(fixture.gpu, false, &err));
	return NULL;
}

/*
 * Another thread turns decoding off: it holds the buffer's lock and waits for an importer's fence.
 */
START_TEST(signals_end_waits_for_a_lock_that_is_kept)
{
	struct pb_buffer *buffer = export_one(MIB, 2 * PAGE);
	int fd = pb_buffer_fd(buffer), handle = import_for_ever(fd, PEERBAR_TEST_KIND_FENCED), i;
	pid_t revoker[2], asker[2];
	pthread_t thread;

	ck_assert_int_eq(pthread_create(&thread, NULL, decoding_off, NULL), 0);
	wait_until_stale(importer, handle);
	for (i = 0; i < 2; i++) {
		asker[i] = asking_process(fd, false);
		revoker[i] = asking_process(fd, true);
	}
	sleep_ms(1000);
	for (i = 0; i < 2; i++) {
		ck_assert_int_eq(waitpid(asker[i], NULL, WNOHANG), 0);
		ck_assert_int_eq(waitpid(revoker[i], NULL, WNOHANG), 0);
		ck_assert_int_eq(kill(asker[i], i ? SIGKILL : SIGUSR1), 0);
		ck_assert_int_eq(kill(revoker[i], i ? SIGKILL : SIGUSR1), 0);
		ck_assert_int_eq(ends(asker[i], 10, "PEERBAR_QUERY"), i ? 128 + SIGKILL : EINTR);
		ck_assert_int_eq(ends(revoker[i], 10, "REVOKE"), i ? 128 + SIGKILL : EINTR);
	}
	ck_assert(test_import_is(importer, handle, PEERBAR_TEST_STATUS_MAPPED));
	ck_assert_int_eq(test_import_release(importer, handle), 0);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	/* An interrupted REVOKE is not undone. */
	ok(pb_device_set_decoding(fixture.gpu, true, &err));
	state_is(fd, PEERBAR_STATE_DEAD);
	pb_buffer_close(buffer);
}
END_TEST

/* ---- netlink ---- */

/* Start a process that gets a buffer, or all of them, by netlink. Its exit status is the errno. */
static pid_t netlink_process(uint64_t id, bool dump)
{
	struct raw_buffer buffer;
	struct raw_genl g;
	pid_t child = fork();
	int ret;

	ck_assert_int_ge(child, 0);
	if (child)
		return child;
	ret = raw_genl_open(&g, false);
	if (!ret)
		ret = dump ? raw_genl_dump(&g, NULL, NULL) : raw_genl_get(&g, id, &buffer);
	if (!dump && !ret && (buffer.state != PEERBAR_STATE_REVOKED || buffer.importers != 1))
		ret = -EBADMSG;
	_exit(ret < 0 ? -ret : 0);
}

/*
 * Netlink does not wait for a lock that a revoke holds: it has locks of its own meanwhile, for
 * which other requests wait.
 */
START_TEST(netlink_does_not_wait_for_a_lock_that_is_kept)
{
	struct pb_buffer *buffer = export_one(MIB, 2 * PAGE);
	int fd = pb_buffer_fd(buffer), handle, i;
	uint64_t id = query(fd).id;
	pthread_t thread;

	/* The delay bounds the machine's wait if the test fails before. */
	handle = test_import_attach_late(importer, fd, PEERBAR_TEST_KIND_FENCED, 0,
					 lab_bdf(LAB_NIC), 30000);
	ck_assert_int_gt(handle, 0);
	ck_assert_int_eq(test_import_map(importer, handle, NULL), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, decoding_off, NULL), 0);
	wait_until_stale(importer, handle);
	for (i = 0; i < 2; i++)
		ck_assert_int_eq(ends(netlink_process(id, i), 10, "BUFFER_GET"), 0);
	ck_assert(test_import_is(importer, handle, PEERBAR_TEST_STATUS_MAPPED));
	ck_assert_int_eq(test_import_release(importer, handle), 0);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	pb_buffer_close(buffer);
}
END_TEST

/* ---- many buffers ---- */

static int *export_many(unsigned int n)
{
	struct {
		struct vfio_device_feature_dma_buf head;
		struct vfio_region_dma_range range;
	} request = {
		.head = { .region_index = GPU_BAR,
			  .open_flags = O_RDWR | O_CLOEXEC,
			  .nr_ranges = 1 },
		.range = { .offset = MIB, .length = PAGE },
	};
	int *fds = malloc(n * sizeof(*fds));
	unsigned int i;

	ck_assert_ptr_nonnull(fds);
	for (i = 0; i < n; i++) {
		fds[i] = feature(fixture.gpu, VFIO_DEVICE_FEATURE_GET, VFIO_DEVICE_FEATURE_DMA_BUF,
				 &request, sizeof(request));
		ck_assert_msg(fds[i] >= 0, "export %u of %u: %s", i, n, strerror(-fds[i]));
	}
	return fds;
}

static void close_many(int *fds, unsigned int n)
{
	while (n--)
		close(fds[n]);
	free(fds);
}

static void allow_many(void)
{
	struct rlimit limit = { 1 << 17, 1 << 17 };

	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/*
 * Four times as many take some four times as long; quadratic cost would be 16 times. The machine
 * may be busy, so one successful attempt is enough.
 */
#define AT_MOST	 9
#define ATTEMPTS 4

/* Measure @n exports while decoding is off, and turning it on with them. */
static void time_exports(unsigned int n, double *exports, double *back)
{
	double start = seconds();
	int *fds;

	fds = export_many(n);
	*exports = seconds() - start;
	start = seconds();
	ok(pb_device_set_decoding(fixture.gpu, true, &err));
	*back = seconds() - start;
	state_is(fds[0], PEERBAR_STATE_LIVE);
	state_is(fds[n - 1], PEERBAR_STATE_LIVE);
	ok(pb_device_set_decoding(fixture.gpu, false, &err));
	close_many(fds, n);
}

START_TEST(exports_without_the_memory_are_linear)
{
	unsigned int fewer = lab_kernel_is("debug") ? 100 : 300, more = 4 * fewer;
	double few[2], many[2];
	int i;

	allow_many();
	ok(pb_device_set_decoding(fixture.gpu, false, &err));
	for (i = 0; i < ATTEMPTS; i++) {
		time_exports(fewer, &few[0], &few[1]);
		time_exports(more, &many[0], &many[1]);
		if (many[0] < AT_MOST * few[0] && many[1] < AT_MOST * few[1])
			break;
	}
	ck_assert_msg(i < ATTEMPTS,
		      "%u exports take %.3f s, and decoding on then %.3f s; %u exports take %.3f s, and decoding on %.3f s",
		      fewer, few[0], few[1], more, many[0], many[1]);
	ok(pb_device_set_decoding(fixture.gpu, true, &err));
}
END_TEST

/* Measure revoking @n buffers one by one, and as many by closing the device. */
static void time_ends(unsigned int n, double *revokes, double *closing)
{
	int *fds = export_many(n), device;
	double start = seconds();
	unsigned int i;

	for (i = 0; i < n; i++)
		ck_assert_int_eq(feature_revoke(fixture.gpu, fds[i]), 0);
	*revokes = seconds() - start;
	close_many(fds, n);
	fds = export_many(n);
	/*
	 * pb_device_close() turns decoding off first, which revokes them all: close the descriptor
	 * without the library.
	 */
	device = open("/dev/null", O_RDONLY | O_CLOEXEC);
	ck_assert_int_ge(device, 0);
	start = seconds();
	ck_assert_int_eq(dup3(device, pb_device_fd(fixture.gpu), O_CLOEXEC),
			 pb_device_fd(fixture.gpu));
	*closing = seconds() - start;
	close(device);
	state_is(fds[0], PEERBAR_STATE_DEAD);
	state_is(fds[n - 1], PEERBAR_STATE_DEAD);
	close_many(fds, n);
	pb_device_close(fixture.gpu);
	fixture.gpu = lab_open(fixture.iommu, LAB_GPU);
	ok(pb_device_set_decoding(fixture.gpu, true, &err));
}

START_TEST(closing_costs_what_revoking_costs)
{
	bool debug = lab_kernel_is("debug");
	/* Exports take a hundred times as long with KASAN. */
	unsigned int usual = debug ? 60 : 2000;
	unsigned int n = getenv("LAB_BUFFERS") ? (unsigned int)atoi(getenv("LAB_BUFFERS")) : usual;
	double one, many, ignored, least_one = 1e9, least_many = 1e9, revokes, least_revokes = 1e9;
	int i;

	allow_many();
	/* So few take less time than that of a reset varies. */
	if (debug)
		printf("teardown: times are not compared on this kernel\n");
	for (i = 0; i < ATTEMPTS; i++) {
		/* Closing the device resets it, which takes the same time without buffers. */
		time_ends(1, &ignored, &one);
		time_ends(n, &revokes, &many);
		least_one = one < least_one ? one : least_one;
		least_many = many < least_many ? many : least_many;
		least_revokes = revokes < least_revokes ? revokes : least_revokes;
		printf("teardown: %u buffers: revoked one by one in %.3f s, by closing the device in %.3f s (with one buffer: %.3f s)\n",
		       n, revokes, many, one);
		if (debug || least_many - least_one < 1.5 * least_revokes)
			break;
	}
	ck_assert_msg(i < ATTEMPTS,
		      "%u buffers are revoked one by one in %.3f s, but by closing the device in %.3f s (with one: %.3f s)",
		      n, least_revokes, least_many, least_one);
}
END_TEST

LAB_SUITE("teardown", 0)
{
	TCase *t = suite_case(s, "all", 150, teardown_up, teardown_down);

	tcase_add_loop_test(t, unbinding_ends_when_the_last_reference_goes, 0, 3);
	tcase_add_loop_test(t, one_late_importer_saves_no_other_buffer, 0, NR_ENDS);
	tcase_add_test(t, signals_end_waits_for_a_lock_that_is_kept);
	tcase_add_test(t, netlink_does_not_wait_for_a_lock_that_is_kept);
	t = suite_case(s, "many", 150, teardown_up, teardown_down);
	tcase_add_test(t, exports_without_the_memory_are_linear);
	tcase_add_test(t, closing_costs_what_revoking_costs);
}
