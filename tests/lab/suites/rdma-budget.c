// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The CPU time that moving data is charged to: kernel threads stay within a process's budget of 5%
 * of a CPU.
 */
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "modules.h"
#include "verbs.h"

static struct mem source, target;

#define CGROUPS "/tmp/lab-cgroups"
#define MANY	8
#define SIZE	(4 * MIB)

static uint64_t *bytes; /* that the child has moved, in rounds of MANY * SIZE */

/*
 * Post more at once than a thread copies in one go. The rest must not become another thread's work.
 */
static void sends_many(void)
{
	struct ibv_send_wr wr[MANY], *bad;
	struct ibv_sge from;
	unsigned int i;

	from = sge(&source, 0, SIZE);
	for (i = 0; i < MANY; i++) {
		wr[i] = work(i, IBV_WR_RDMA_WRITE, &from, 1, &target, 0);
		wr[i].next = i < MANY - 1 ? &wr[i + 1] : NULL;
	}
	if (ibv_post_send(pair.a.qp, wr, &bad))
		_exit(1);
	for (i = 0; i < MANY; i++) {
		if (completion(&pair.a).status != IBV_WC_SUCCESS)
			_exit(2);
		__atomic_fetch_add(bytes, SIZE, __ATOMIC_SEQ_CST);
	}
}

/* Post sends that wait for receives, and so are not sent by the posting call. */
static void sends_before_receives(void)
{
	struct ibv_sge from = sge(&source, 0, SIZE), to = sge(&target, 0, SIZE);
	struct ibv_send_wr wr = work(1, IBV_WR_SEND, &from, 1, NULL, 0);
	unsigned int i;

	for (i = 0; i < MANY; i++)
		if (post(&pair.a, &wr))
			_exit(1);
	for (i = 0; i < MANY; i++)
		if (post_receive(&pair.b, 2, &to, 1))
			_exit(1);
	for (i = 0; i < MANY; i++) {
		if (completion(&pair.a).status != IBV_WC_SUCCESS ||
		    completion(&pair.b).status != IBV_WC_SUCCESS)
			_exit(2);
		__atomic_fetch_add(bytes, SIZE, __ATOMIC_SEQ_CST);
	}
}

static void until_moved(uint64_t n, pid_t child)
{
	while (__atomic_load_n(bytes, __ATOMIC_SEQ_CST) < n) {
		ck_assert_int_eq(waitpid(child, NULL, WNOHANG), 0);
		usleep(10000);
	}
}

/* Finish a round, and return the rate of later ones in MiB per second, for @s seconds or more. */
static double rate(pid_t child, double s)
{
	uint64_t n = __atomic_load_n(bytes, __ATOMIC_SEQ_CST), first, begun;
	double took;

	/* The completions of a round are polled together, at its end. */
	n = (n / (MANY * SIZE) + 1) * (MANY * SIZE);
	until_moved(n, child);
	first = n;
	begun = now_ms();
	do {
		n += MANY * SIZE;
		until_moved(n, child);
		took = (double)(now_ms() - begun) / 1e3;
	} while (took < s);
	return (double)(n - first) / MIB / took;
}

/*
 * Work that another process is charged for is as fast with a limit as without. The machine may be
 * busy, or be so only in one of the two measurements: one successful attempt is enough.
 */
#define ATTEMPTS 4

START_TEST(work_is_the_posters)
{
	void (*sends)(void) = _i ? sends_before_receives : sends_many;
	double unlimited = 0, limited = 0;
	pid_t child;
	int i;

	ck_assert_int_eq(shell("mkdir -p " CGROUPS " && mount -t cgroup2 none " CGROUPS), 0);
	ck_assert_int_eq(shell("echo +cpu >" CGROUPS "/cgroup.subtree_control && mkdir " CGROUPS
			       "/lab"),
			 0);
	bytes = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(bytes, MAP_FAILED);
	child = fork();
	ck_assert_int_ge(child, 0);
	if (!child) {
		if (shell("echo %d >" CGROUPS "/lab/cgroup.procs", getpid()))
			_exit(1);
		end_open(&pair.a, NULL);
		end_open(&pair.b, NULL);
		ends_connect(&pair.a, &pair.b);
		source = mem_new(&pair.a, SIZE, ALL_ACCESS);
		target = mem_new(&pair.b, SIZE, ALL_ACCESS);
		for (;;)
			sends();
	}
	for (i = 0; i < ATTEMPTS; i++) {
		unlimited = rate(child, 2);
		/* Limit a process that has begun: it would take minutes to start. */
		ck_assert_int_eq(shell("echo '5000 100000' >" CGROUPS "/lab/cpu.max"), 0);
		limited = rate(child, 4);
		ck_assert_int_eq(shell("echo max >" CGROUPS "/lab/cpu.max"), 0);
		printf("rdma-budget: %.0f MiB/s without a limit, %.0f MiB/s with 5%% of a processor\n",
		       unlimited, limited);
		if (limited < unlimited / 4)
			break;
	}
	kill(child, SIGKILL);
	ck_assert_int_eq(wait_for(child), 128 + SIGKILL);
	munmap(bytes, PAGE);
	ck_assert_int_eq(shell("rmdir " CGROUPS "/lab && umount " CGROUPS), 0);
	ck_assert_msg(i < ATTEMPTS, "%.0f MiB/s, and with 5%% of a processor %.0f MiB/s", unlimited,
		      limited);
}
END_TEST

LAB_SUITE("rdma-budget", SUITE_NOT_ON_DEBUG)
{
	TCase *t = rdma_case(s, "all", 150, context_up, context_down);

	tcase_add_loop_test(t, work_is_the_posters, 0, 2);
}
