// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Only the process that made an object uses it. */
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "objects-fixture.h"
#include "process-maps.h"

static bool has_rings(void)
{
	struct process_mapping m;
	bool found = false;
	uintptr_t at;

	for (at = 0; find_mapping(at, &m); at = m.end)
		found |= !!strstr(m.name, "uverbs");
	return found;
}

#define IN_CHILD(condition)                           \
	do {                                          \
		if (!(condition))                     \
			_exit(__LINE__ - first_line); \
	} while (0)

/* Check a child's access to its parent's queues. */
static void look_as_child(struct ibv_cq_ex *cq_ex, struct ibv_srq *srq)
{
	const int first_line = __LINE__;
	struct ibv_poll_cq_attr attr = { 0 };
	struct ibv_recv_wr receive = { .wr_id = 1 }, *bad;
	struct ibv_send_wr wr, *bad_send;
	struct ibv_sge from;
	struct ibv_cq *cq;
	struct ibv_wc wc;

	IN_CHILD(!has_rings());
	wr = write_to_b(66, &from);
	IN_CHILD(ibv_post_send(pair.a.qp, &wr, &bad_send) == EACCES && bad_send == &wr);
	IN_CHILD(ibv_post_recv(pair.a.qp, &receive, &bad) == EACCES && bad == &receive);
	IN_CHILD(ibv_post_srq_recv(srq, &receive, &bad) == EACCES && bad == &receive);
	IN_CHILD(ibv_poll_cq(pair.a.cq, 1, &wc) == -EACCES);
	IN_CHILD(ibv_start_poll(cq_ex, &attr) == EACCES);
	IN_CHILD(ibv_resize_cq(pair.a.cq, 512) == EACCES);
	/* A child can use its own objects, also in an inherited context. */
	cq = ibv_create_cq(pair.a.ctx, 10, NULL, NULL, 0);
	IN_CHILD(cq && ibv_poll_cq(cq, 1, &wc) == 0);
	IN_CHILD(ibv_poll_cq(pair.a.cq, 1, &wc) == -EACCES);
	IN_CHILD(!ibv_destroy_cq(cq));
	_exit(0);
}

static void ends_well(pid_t child)
{
	int status;

	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_msg(!WIFSIGNALED(status), "killed by signal %d", WTERMSIG(status));
	ck_assert_msg(!WEXITSTATUS(status),
		      "the check %d lines below the function's first one failed",
		      WEXITSTATUS(status));
}

/*
 * Queues belong to their process: a child can neither post nor poll, and its parent is not
 * affected.
 */
START_TEST(a_child_has_no_queues)
{
	struct ibv_srq_init_attr srq_attr = {
		.attr = { .max_wr = 4, .max_sge = 1 },
	};
	struct ibv_cq_init_attr_ex cq_attr = { .cqe = 16, .wc_flags = IBV_WC_STANDARD_FLAGS };
	struct ibv_send_wr wr;
	struct ibv_cq_ex *cq;
	struct ibv_srq *srq;
	struct ibv_sge from;
	pid_t child;

	if (rdma_is_rxe())
		return;
	cq = ibv_create_cq_ex(pair.a.ctx, &cq_attr);
	srq = ibv_create_srq(pair.a.pd, &srq_attr);
	ck_assert(cq && srq);
	wr = write_to_b(1, &from);
	done(&pair.a, &wr);
	child = fork();
	if (!child)
		look_as_child(cq, srq);
	ends_well(child);
	pair.at_a.p[0]++;
	wr = write_to_b(2, &from);
	done(&pair.a, &wr);
	ck_assert_mem_eq(pair.at_a.p, pair.at_b.p, 64);
	nothing_completes(&pair.a);
	ck_assert_int_eq(ibv_destroy_cq(ibv_cq_ex_to_cq(cq)), 0);
	ck_assert_int_eq(ibv_destroy_srq(srq), 0);
}
END_TEST

/* Permission to post is checked when the device is opened, as with a mapped doorbell. */
START_TEST(posting_outlives_privileges)
{
	struct ibv_send_wr wr;
	struct ibv_sge from;

	if (rdma_is_rxe())
		return;
	ck_assert_int_eq(setuid(65534), 0);
	/* So that the descriptors can be counted. */
	ck_assert_int_eq(prctl(PR_SET_DUMPABLE, 1), 0);
	lab_pattern(pair.at_a.p, PAGE, 29);
	wr = write_to_b(1, &from);
	done(&pair.a, &wr);
	ck_assert_mem_eq(pair.at_a.p, pair.at_b.p, 64);
}
END_TEST

/* ---- test cases ---- */

LAB_SUITE_PART("rdma-objects")
{
	TCase *t = rdma_case(s, "processes", 120, objects_up, objects_down);

	tcase_add_test(t, a_child_has_no_queues);
	tcase_add_test(t, posting_outlives_privileges);
}
