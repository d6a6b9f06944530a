// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Slow importers delay a revoke, but do not break it; and an interrupted revoke takes effect
 * nevertheless.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "modules.h"
#include "testmod.h"

/*
 * The delay of importers that unmap on request. It bounds the machine's wait if the test fails
 * before.
 */
#define LONG 30000

static int importer;

static void late_up(void)
{
	modules_up();
	importer = test_importer_open();
}

static void late_down(void)
{
	close(importer);
	modules_down();
}

static unsigned int milliseconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (unsigned int)(t.tv_sec * 1000 + t.tv_nsec / 1000000);
}

/* Attach an importer for a NIC, with a DMA mapping. */
static int import_mapped(int fd, enum peerbar_test_kind kind, uint32_t delay)
{
	struct peerbar_test_map map;
	int handle = test_import_attach_late(importer, fd, kind, 0, lab_bdf(LAB_NIC), delay);

	ck_assert_msg(handle > 0, "cannot attach: %s", strerror(-handle));
	ck_assert_int_eq(test_import_map(importer, handle, &map), 0);
	ck_assert_uint_ge(map.nr_segments, 1);
	return handle;
}

/* Check that the importer had unmapped when the revoking call returned, regardless of its delay. */
static void revoked_after(struct pb_buffer *buffer, int handle, unsigned int before,
			  unsigned int delay)
{
	unsigned int took = milliseconds() - before;
	uint8_t *p = map_fd(pb_buffer_fd(buffer), 0, PAGE);
	int i;

	/* The importer records the unmap a moment later. */
	for (i = 0; i < 20 && test_import_is(importer, handle, PEERBAR_TEST_STATUS_MAPPED); i++)
		usleep(10000);
	ck_assert(!test_import_is(importer, handle, PEERBAR_TEST_STATUS_MAPPED));
	ck_assert(!test_import_is(importer, handle, PEERBAR_TEST_STATUS_FENCE));
	ck_assert_msg(took + 50 >= delay, "it took %u ms, but the importer had %u", took, delay);
	if (p) {
		ck_assert(!can_read(p, NULL));
		munmap(p, PAGE);
	}
	/*
	 * Mapping fails: the importer takes a revocation as final, and the exporter refuses while
	 * the buffer is revoked.
	 */
	ck_assert_int_lt(test_import_map(importer, handle, NULL), 0);
}

START_TEST(a_temporary_revoke_waits)
{
	static const enum peerbar_test_kind kinds[] = { PEERBAR_TEST_KIND_REVOCABLE,
							PEERBAR_TEST_KIND_LATE,
							PEERBAR_TEST_KIND_FENCED };
	unsigned int delay = _i ? 1500 : 0, before;
	struct pb_buffer *buffer = export_one(MIB, 2 * PAGE);
	int handle = import_mapped(pb_buffer_fd(buffer), kinds[_i], delay);
	uint8_t *p = map_fd(pb_buffer_fd(buffer), 0, PAGE);

	ck_assert(can_read(p, NULL));
	ck_assert_uint_eq(query(pb_buffer_fd(buffer)).importers, 1);
	before = milliseconds();
	ok(pb_device_set_decoding(fixture.gpu, false, &err));
	revoked_after(buffer, handle, before, delay);
	state_is(pb_buffer_fd(buffer), PEERBAR_STATE_REVOKED);
	ok(pb_device_set_decoding(fixture.gpu, true, &err));
	ck_assert(can_read(p, NULL));
	/* The exporter permits mapping again, but this importer does not map again. */
	ck_assert_int_eq(test_import_map(importer, handle, NULL), -ESTALE);
	ck_assert_int_eq(test_import_detach(importer, handle), 0);
	munmap(p, PAGE);
	pb_buffer_close(buffer);
}
END_TEST

START_TEST(a_permanent_revoke_waits)
{
	static const enum peerbar_test_kind kinds[] = { PEERBAR_TEST_KIND_REVOCABLE,
							PEERBAR_TEST_KIND_LATE,
							PEERBAR_TEST_KIND_FENCED };
	unsigned int delay = _i ? 1500 : 0, before;
	struct pb_buffer *buffer = export_one(MIB, 2 * PAGE);
	int handle = import_mapped(pb_buffer_fd(buffer), kinds[_i], delay), log = log_open();
	char line[200];

	before = milliseconds();
	ck_assert_int_eq(feature_revoke(fixture.gpu, pb_buffer_fd(buffer)), 0);
	revoked_after(buffer, handle, before, delay);
	/* After a second the log names the buffer, the importer and what the revoke waits for. */
	snprintf(line, sizeof(line),
		 "a revoke of buffer %llu (%s/BAR2) has waited for 1 s: 1 DMA mappings left, fences %s; importers: %s\n",
		 (unsigned long long)query(pb_buffer_fd(buffer)).id, lab_bdf(LAB_GPU),
		 _i == 2 ? "pending" : "signalled", lab_bdf(LAB_NIC));
	ck_assert_int_eq(log_has(log, line), !!delay);
	state_is(pb_buffer_fd(buffer), PEERBAR_STATE_DEAD);
	/* It is still attached, and can detach at any time. */
	ck_assert_uint_eq(query(pb_buffer_fd(buffer)).importers, 1);
	ck_assert_int_eq(test_import_detach(importer, handle), 0);
	ck_assert_int_eq(test_import_attach(importer, pb_buffer_fd(buffer),
					    PEERBAR_TEST_KIND_REVOCABLE, 0, lab_bdf(LAB_NIC)),
			 -ENODEV);
	pb_buffer_close(buffer);
}
END_TEST

START_TEST(closing_the_device_waits)
{
	struct pb_buffer *buffer = export_one(MIB, 2 * PAGE);
	int handle = import_mapped(pb_buffer_fd(buffer), PEERBAR_TEST_KIND_LATE, 1500);
	unsigned int before = milliseconds();

	pb_device_close(fixture.gpu);
	revoked_after(buffer, handle, before, 1500);
	state_is(pb_buffer_fd(buffer), PEERBAR_STATE_DEAD);
	pb_buffer_close(buffer);
	fixture.gpu = lab_open(fixture.iommu, LAB_GPU);
}
END_TEST

static void *decoding_off(void *arg)
{
	(void)arg;
	ok(pb_device_set_decoding(fixture.gpu, false, &err));
	return NULL;
}

/*
 * While the importer delays, no other user gets access: not by a page fault, by mapping, or by
 * attaching.
 */
START_TEST(nobody_gets_it_meanwhile)
{
	const struct pb_range two[] = {
		{ MIB, PAGE },
		{ 3 * MIB, PAGE },
	};
	struct pb_buffer *buffer = _i ? export_ranges(two, 2) : export_one(MIB, 2 * PAGE);
	int fd = pb_buffer_fd(buffer), handle = import_mapped(fd, PEERBAR_TEST_KIND_LATE, LONG);
	int other = test_import_attach(importer, fd, PEERBAR_TEST_KIND_REVOCABLE, 0,
				       lab_bdf(LAB_NVME));
	uint8_t *p = map_fd(fd, 0, 2 * PAGE);
	pthread_t thread;
	int i;

	ck_assert_int_gt(other, 0);
	ck_assert(can_read(p, NULL));
	ck_assert_int_eq(pthread_create(&thread, NULL, decoding_off, NULL), 0);
	wait_until_stale(importer, handle);
	/* Importers are invalidated before the mappings of processes are zapped. */
	for (i = 0; i < 2000 && can_read(p, NULL); i++)
		usleep(10000);
	for (i = 0; i < 5; i++) {
		ck_assert(!can_read(p, NULL));
		ck_assert(!can_write(p + PAGE, 1));
		state_is(fd, PEERBAR_STATE_REVOKED);
		ck_assert_int_eq(test_import_map(importer, other, NULL), -ENODEV);
		ck_assert_int_eq(test_import_attach(importer, fd, PEERBAR_TEST_KIND_REVOCABLE, 0,
						    lab_bdf(LAB_NIC)),
				 -ENODEV);
	}
	ck_assert(test_import_is(importer, handle, PEERBAR_TEST_STATUS_MAPPED));
	ck_assert_int_eq(test_import_release(importer, handle), 0);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	ok(pb_device_set_decoding(fixture.gpu, true, &err));
	ck_assert(can_read(p, NULL));
	ck_assert_int_eq(test_import_map(importer, other, NULL), 0);
	munmap(p, 2 * PAGE);
	pb_buffer_close(buffer);
}
END_TEST

/* The result of a thread that revokes until a signal comes. */
static int revoke_result;

static void nothing(int sig)
{
	(void)sig;
}

static void *revoke_it(void *fd)
{
	revoke_result = feature_revoke(fixture.gpu, *(int *)fd);
	return NULL;
}

/* Begin a REVOKE that waits for the importer, and interrupt it. It leaves the buffer dead. */
static void interrupt_revoke(int fd, int handle)
{
	/* A REVOKE is not restarted: it would find the buffer dead. */
	struct sigaction action = { .sa_handler = nothing, .sa_flags = SA_RESTART };
	pthread_t thread;

	sigaction(SIGUSR1, &action, NULL);
	ck_assert_int_eq(pthread_create(&thread, NULL, revoke_it, &fd), 0);
	wait_until_stale(importer, handle);
	usleep(200000);
	ck_assert_int_eq(pthread_kill(thread, SIGUSR1), 0);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	ck_assert_int_eq(revoke_result, -EINTR);
	state_is(fd, PEERBAR_STATE_DEAD);
}

START_TEST(an_interrupted_revoke)
{
	struct pb_buffer *buffer = export_one(MIB, 2 * PAGE);
	int fd = pb_buffer_fd(buffer),
	    handle = import_mapped(fd, _i ? PEERBAR_TEST_KIND_FENCED : PEERBAR_TEST_KIND_LATE,
				   LONG);
	uint8_t *p = map_fd(fd, 0, PAGE);
	pthread_t thread;
	int i;

	ck_assert(can_read(p, NULL));
	interrupt_revoke(fd, handle);
	/* Only the importer has not finished. */
	ck_assert(!can_read(p, NULL));
	ck_assert_ptr_null(map_fd(fd, 0, PAGE));
	ck_assert(test_import_is(importer, handle, PEERBAR_TEST_STATUS_MAPPED));
	ck_assert_int_eq(test_import_attach(importer, fd, PEERBAR_TEST_KIND_REVOCABLE, 0,
					    lab_bdf(LAB_NIC)),
			 -ENODEV);
	/* Another REVOKE waits again, and returns when the importer unmaps. */
	ck_assert_int_eq(pthread_create(&thread, NULL, revoke_it, &fd), 0);
	usleep(300000);
	ck_assert_int_eq(test_import_release(importer, handle), 0);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	ck_assert_int_eq(revoke_result, 0);
	for (i = 0; i < 20 && test_import_is(importer, handle, PEERBAR_TEST_STATUS_MAPPED); i++)
		usleep(10000);
	ck_assert(!test_import_is(importer, handle, PEERBAR_TEST_STATUS_MAPPED));
	munmap(p, PAGE);
	pb_buffer_close(buffer);
}
END_TEST

/*
 * A reset from outside waits for the importer of a buffer that is dead already, and has no LIVE
 * buffer to wait for.
 */
START_TEST(a_reset_waits)
{
	struct pb_buffer *buffer = export_one(MIB, 2 * PAGE);
	int fd = pb_buffer_fd(buffer), child,
	    handle = import_mapped(fd, _i ? PEERBAR_TEST_KIND_FENCED : PEERBAR_TEST_KIND_LATE,
				   LONG);

	interrupt_revoke(fd, handle);
	child = fork();
	if (!child) {
		lab_reset_by_sysfs(LAB_GPU);
		_exit(0);
	}
	/* Otherwise it takes a few milliseconds, a second on the debug kernel. */
	usleep(lab_kernel_is("debug") ? 3000000 : 1000000);
	ck_assert_int_eq(waitpid(child, NULL, WNOHANG), 0);
	ck_assert(test_import_is(importer, handle, PEERBAR_TEST_STATUS_MAPPED));
	ck_assert_int_eq(test_import_release(importer, handle), 0);
	ck_assert_int_eq(wait_for(child), 0);
	pb_buffer_close(buffer);
}
END_TEST

/* The importer that delays the revoke is killed. */
START_TEST(the_importer_is_killed)
{
	struct pb_buffer *buffer = export_one(MIB, 2 * PAGE);
	int fd = pb_buffer_fd(buffer), child, ready[2];
	pthread_t thread;
	char c;

	ck_assert_int_eq(pipe(ready), 0);
	child = fork();
	if (!child) {
		close(importer);
		importer = test_importer_open();
		import_mapped(fd, PEERBAR_TEST_KIND_LATE, PEERBAR_TEST_NEVER);
		if (write(ready[1], "r", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	ck_assert_int_eq(read(ready[0], &c, 1), 1);
	ck_assert_int_eq(pthread_create(&thread, NULL, revoke_it, &fd), 0);
	usleep(300000);
	state_is(fd, PEERBAR_STATE_DEAD);
	ck_assert_int_eq(kill(child, SIGKILL), 0);
	ck_assert_int_eq(wait_for(child), 128 + SIGKILL);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	ck_assert_int_eq(revoke_result, 0);
	ck_assert_uint_eq(query(fd).importers, 0);
	close(ready[0]);
	close(ready[1]);
	pb_buffer_close(buffer);
}
END_TEST

/* ---- without memory ---- */

#define FAIL_NTH "/proc/thread-self/fail-nth"
#define FAILSLAB "/sys/kernel/debug/failslab/"

/* Start a process that revokes while its allocation @nth fails. Its exit status is the errno. */
static pid_t revoking_process(int fd, unsigned int nth)
{
	struct sigaction action = { .sa_handler = nothing }; /* no SA_RESTART */
	pid_t child = fork();
	char number[16];

	ck_assert_int_ge(child, 0);
	if (child)
		return child;
	sigaction(SIGUSR1, &action, NULL);
	snprintf(number, sizeof(number), "%u", nth);
	write_file(FAIL_NTH, number);
	_exit(-feature_revoke(fixture.gpu, fd));
}

/*
 * Without memory for the fences that it waits for, a revoke keeps no lock meanwhile, and a signal
 * ends it. Needs a kernel with fault injection, the debug kernel.
 */
START_TEST(a_revoke_without_memory)
{
	struct pb_buffer *buffer;
	pid_t revoker, asker;
	int fd, handle, ret;

	if (access(FAIL_NTH, F_OK))
		return;
	write_file(FAILSLAB "ignore-gfp-wait", "N");
	/* Don't log injected failures: each has a stack trace, and would be taken for a report. */
	write_file(FAILSLAB "verbose", "0");
	buffer = export_one(MIB, PAGE);
	fd = pb_buffer_fd(buffer);
	handle = import_mapped(fd, PEERBAR_TEST_KIND_FENCED, LONG);
	revoker = revoking_process(fd, (unsigned int)_i);
	wait_until_stale(importer, handle);
	usleep(300000);
	asker = asking_process(fd, false);
	ck_assert_int_eq(ends(asker, 10, "PEERBAR_QUERY"), 0);
	ck_assert_int_eq(kill(revoker, SIGUSR1), 0);
	ck_assert_int_eq(ends(revoker, 10, "REVOKE"), EINTR);
	ck_assert_int_eq(test_import_release(importer, handle), 0);
	/* Either it still waits, or nothing is left to wait for. */
	ret = feature_revoke(fixture.gpu, fd);
	ck_assert_msg(!ret || ret == -EBADFD, "%s", strerror(-ret));
	pb_buffer_close(buffer);
}
END_TEST

/* ---- the command peerbar ---- */

/*
 * Start 'peerbar export' with a command that runs until SIGTERM. *@fd receives a copy of its
 * buffer's descriptor.
 */
static pid_t exporting_tool(int *fd)
{
	char number[20] = "";
	int ready[2], pidfd;
	pid_t child;

	ck_assert_int_eq(pipe(ready), 0);
	child = fork();
	ck_assert_int_ge(child, 0);
	if (!child) {
		dup2(ready[1], STDOUT_FILENO);
		execlp("peerbar", "peerbar", "export", lab_bdf(LAB_GPU), "2", "0:64K", "--", "sh",
		       "-c", "trap 'exit 9' TERM; echo $PEERBAR_FD; while :; do sleep 0.1; done",
		       NULL);
		_exit(127);
	}
	ck_assert_int_gt(read(ready[0], number, sizeof(number) - 1), 0);
	close(ready[0]);
	close(ready[1]);
	pidfd = (int)syscall(SYS_pidfd_open, child, 0);
	*fd = (int)syscall(SYS_pidfd_getfd, pidfd, atoi(number), 0);
	ck_assert_int_ge(*fd, 0);
	close(pidfd);
	return child;
}

/* Wait, at most ten seconds, until the process has no child. */
static bool ends_its_command(pid_t pid)
{
	char command[80];
	int i;

	snprintf(command, sizeof(command), "grep -qs '^PPid:[[:space:]]*%d$' /proc/[0-9]*/status",
		 pid);
	for (i = 0; i < 100; i++) {
		if (system(command))
			return true;
		usleep(100000);
	}
	return false;
}

/* While SIGUSR1's revoke waits for an importer, 'peerbar export' passes signals on. */
START_TEST(the_tool_passes_signals_on)
{
	int fd, handle;
	bool passed;
	pid_t tool;

	pb_device_close(fixture.gpu);
	tool = exporting_tool(&fd);
	handle = import_mapped(fd, PEERBAR_TEST_KIND_LATE, LONG);
	ck_assert_int_eq(kill(tool, SIGUSR1), 0);
	wait_until_stale(importer, handle);
	ck_assert_int_eq(kill(tool, SIGTERM), 0);
	passed = ends_its_command(tool);
	/* The tool waits for the revoke. */
	ck_assert_int_eq(waitpid(tool, NULL, WNOHANG), 0);
	ck_assert(test_import_is(importer, handle, PEERBAR_TEST_STATUS_MAPPED));
	ck_assert_int_eq(test_import_release(importer, handle), 0);
	ck_assert_int_eq(wait_for(tool), 9);
	ck_assert(passed);
	close(fd);
	fixture.gpu = lab_open(fixture.iommu, LAB_GPU);
}
END_TEST

LAB_SUITE("late", 0)
{
	TCase *t = suite_case(s, "all", 60, late_up, late_down);

	tcase_add_loop_test(t, a_temporary_revoke_waits, 0, 3);
	tcase_add_loop_test(t, a_permanent_revoke_waits, 0, 3);
	tcase_add_test(t, closing_the_device_waits);
	tcase_add_loop_test(t, nobody_gets_it_meanwhile, 0, 2);
	tcase_add_loop_test(t, an_interrupted_revoke, 0, 2);
	tcase_add_loop_test(t, a_reset_waits, 0, 2);
	tcase_add_test(t, the_importer_is_killed);
	tcase_add_loop_test(t, a_revoke_without_memory, 1, 6);
	tcase_add_test(t, the_tool_passes_signals_on);
}
