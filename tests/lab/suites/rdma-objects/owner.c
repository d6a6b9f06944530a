// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Only the process that made an object uses it. */
#include <fcntl.h>
#include <rdma/ib_user_ioctl_cmds.h>
#include <rdma/peerbar-abi.h>
#include <rdma/rdma_user_ioctl.h>
#include <rdma/rdma_user_ioctl_cmds.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "modules.h"
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
	struct ibv_srq_attr size = { .max_wr = 64 };
	struct ibv_send_wr wr, *bad_send;
	struct ibv_sge from;
	struct ibv_cq *cq;
	struct ibv_wc wc;

	IN_CHILD(!has_rings());
	wr = write_to_b(66, &from);
	IN_CHILD(ibv_post_send(pair.a.qp, &wr, &bad_send) == EACCES && bad_send == &wr);
	IN_CHILD(ibv_post_recv(pair.a.qp, &receive, &bad) == EACCES && bad == &receive);
	IN_CHILD(ibv_post_srq_recv(srq, &receive, &bad) == EACCES && bad == &receive);
	IN_CHILD(ibv_modify_srq(srq, &size, IBV_SRQ_MAX_WR) == EACCES);
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

/* ---- contexts that fail ---- */

#define CONTEXTS 300

/* Ask for a context with an argument that the driver refuses. Return the errno. */
static int failing_context(const char *node)
{
	struct peerbar_alloc_ucontext_req req = { .event_fd = -1, .reserved = 1 };
	struct {
		struct ib_uverbs_ioctl_hdr header;
		struct ib_uverbs_attr attrs[3];
	} command = {
		.header = { .length = sizeof(command),
			    .object_id = UVERBS_OBJECT_DEVICE,
			    .method_id = UVERBS_METHOD_GET_CONTEXT,
			    .num_attrs = 3,
			    .driver_id = PEERBAR_RDMA_DRIVER_ID },
	};
	uint64_t support;
	uint32_t vectors;
	int fd = open(node, O_RDWR | O_CLOEXEC), ret;

	if (fd < 0)
		return errno;
	command.attrs[0] = (struct ib_uverbs_attr){
		.attr_id = UVERBS_ATTR_GET_CONTEXT_NUM_COMP_VECTORS,
		.len = sizeof(vectors),
		.flags = UVERBS_ATTR_F_MANDATORY,
		.data = (uintptr_t)&vectors,
	};
	command.attrs[1] = (struct ib_uverbs_attr){
		.attr_id = UVERBS_ATTR_GET_CONTEXT_CORE_SUPPORT,
		.len = sizeof(support),
		.flags = UVERBS_ATTR_F_MANDATORY,
		.data = (uintptr_t)&support,
	};
	/* 8 bytes are in the attribute itself. */
	command.attrs[2] = (struct ib_uverbs_attr){
		.attr_id = UVERBS_ATTR_UHW_IN,
		.len = sizeof(req),
		.flags = UVERBS_ATTR_F_MANDATORY,
	};
	memcpy(&command.attrs[2].data, &req, sizeof(req));
	ret = ioctl(fd, RDMA_VERBS_IOCTL, &command) ? errno : 0;
	close(fd);
	return ret;
}

/* The number of processes and threads that the kernel has in memory. */
static unsigned int tasks(void)
{
	FILE *f = fopen("/proc/slabinfo", "re");
	unsigned int n = 0;
	char line[300];

	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f) && sscanf(line, "task_struct %u", &n) != 1)
		;
	fclose(f);
	ck_assert_uint_gt(n, 0);
	return n;
}

/* The kernel forgets a process that got no context when it has ended. */
START_TEST(failed_contexts_keep_no_task)
{
	unsigned int before = tasks(), i;
	char node[100];

	snprintf(node, sizeof(node), "/dev/infiniband/%s", pair.a.ctx->device->dev_name);
	for (i = 0; i < CONTEXTS; i++) {
		pid_t child = fork();

		ck_assert_int_ge(child, 0);
		if (!child)
			_exit(failing_context(node));
		ck_assert_int_eq(wait_for(child), EOPNOTSUPP);
	}
	/* The last ones are freed after a grace period. */
	for (i = 0; i < 50 && tasks() > before + CONTEXTS / 3; i++)
		usleep(100000);
	ck_assert_msg(tasks() <= before + CONTEXTS / 3, "%u tasks were in memory, now %u", before,
		      tasks());
}
END_TEST

/* ---- test cases ---- */

LAB_SUITE_PART("rdma-objects")
{
	TCase *t = rdma_case(s, "processes", 120, objects_up, objects_down);

	tcase_add_test(t, a_child_has_no_queues);
	tcase_add_test(t, posting_outlives_privileges);
	tcase_add_test(t, failed_contexts_keep_no_task);
}
