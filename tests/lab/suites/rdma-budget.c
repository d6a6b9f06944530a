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
#define MANY	20
#define LONG	(32 * MIB)
#define SHORT	(4 * MIB)

/*
 * Post more at once than a thread copies in one go. The rest must not become another thread's work.
 */
static void sends_many(uint64_t *bytes)
{
	struct ibv_send_wr wr[MANY], *bad;
	struct ibv_sge from;
	unsigned int i;

	from = sge(&source, 0, LONG);
	for (i = 0; i < MANY; i++) {
		wr[i] = work(i, IBV_WR_RDMA_WRITE, &from, 1, &target, 0);
		wr[i].next = i < MANY - 1 ? &wr[i + 1] : NULL;
	}
	if (ibv_post_send(pair.a.qp, wr, &bad))
		_exit(1);
	for (i = 0; i < MANY; i++) {
		if (completion(&pair.a).status != IBV_WC_SUCCESS)
			_exit(2);
		__atomic_fetch_add(bytes, LONG, __ATOMIC_SEQ_CST);
	}
}

/* Post sends that wait for receives, and so are not sent by the posting call. */
static void sends_before_receives(uint64_t *bytes)
{
	struct ibv_sge from = sge(&source, 0, SHORT), to = sge(&target, 0, SHORT);
	struct ibv_send_wr wr = work(1, IBV_WR_SEND, &from, 1, NULL, 0);
	unsigned int i;

	for (i = 0; i < 8; i++)
		if (post(&pair.a, &wr))
			_exit(1);
	for (i = 0; i < 8; i++)
		if (post_receive(&pair.b, 2, &to, 1))
			_exit(1);
	for (i = 0; i < 8; i++) {
		if (completion(&pair.a).status != IBV_WC_SUCCESS ||
		    completion(&pair.b).status != IBV_WC_SUCCESS)
			_exit(2);
		__atomic_fetch_add(bytes, SHORT, __ATOMIC_SEQ_CST);
	}
}

/*
 * Return the rate in MiB per second at which a process in the cgroup moves data after its first
 * round. Measure at least two rounds, and at least five seconds.
 */
static double rate(void (*sends)(uint64_t *bytes), const char *limit)
{
	uint64_t *bytes = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
			       0),
		 begun, n;
	uint64_t round = sends == sends_many ? MANY * LONG : 8 * SHORT;
	double s;
	int child;

	ck_assert_ptr_ne(bytes, MAP_FAILED);
	ck_assert_int_eq(shell("echo '%s' >" CGROUPS "/lab/cpu.max", limit), 0);
	child = fork();
	if (!child) {
		if (shell("echo %d >" CGROUPS "/lab/cgroup.procs", getpid()))
			_exit(1);
		end_open(&pair.a, NULL);
		end_open(&pair.b, NULL);
		ends_connect(&pair.a, &pair.b);
		source = mem_new(&pair.a, LONG, ALL_ACCESS);
		target = mem_new(&pair.b, LONG, ALL_ACCESS);
		for (;;)
			sends(bytes);
	}
	/* The completions of a round are polled together, at its end. */
	while ((n = __atomic_load_n(bytes, __ATOMIC_SEQ_CST)) < round &&
	       !waitpid(child, NULL, WNOHANG))
		usleep(10000);
	ck_assert_msg(n >= round, "nothing is sent");
	begun = now_ms();
	do {
		usleep(10000);
		s = (double)(now_ms() - begun) / 1e3;
	} while ((__atomic_load_n(bytes, __ATOMIC_SEQ_CST) < n + 2 * round || s < 5) &&
		 !waitpid(child, NULL, WNOHANG));
	n = __atomic_load_n(bytes, __ATOMIC_SEQ_CST) - n;
	ck_assert_int_eq(shell("echo max >" CGROUPS "/lab/cpu.max"), 0);
	kill(child, SIGKILL);
	ck_assert_int_eq(wait_for(child), 128 + SIGKILL);
	munmap(bytes, PAGE);
	return (double)n / MIB / s;
}

START_TEST(work_is_the_posters)
{
	void (*sends)(uint64_t *bytes) = _i ? sends_before_receives : sends_many;
	double unlimited, limited;

	ck_assert_int_eq(shell("mkdir -p " CGROUPS " && mount -t cgroup2 none " CGROUPS), 0);
	ck_assert_int_eq(shell("echo +cpu >" CGROUPS "/cgroup.subtree_control && mkdir " CGROUPS
			       "/lab"),
			 0);
	unlimited = rate(sends, "max");
	limited = rate(sends, "5000 100000");
	printf("rdma-budget: %.0f MiB/s without a limit, %.0f MiB/s with 5%% of a processor\n",
	       unlimited, limited);
	ck_assert_int_eq(shell("rmdir " CGROUPS "/lab && umount " CGROUPS), 0);
	ck_assert_msg(limited < unlimited / 4, "%.0f MiB/s, and with 5%% of a processor %.0f MiB/s",
		      unlimited, limited);
}
END_TEST

/* A process with 5% of a CPU takes minutes to start. */
LAB_SUITE("rdma-budget", SUITE_BY_NAME)
{
	TCase *t = rdma_case(s, "all", 600, context_up, context_down);

	tcase_add_loop_test(t, work_is_the_posters, 0, 2);
}
