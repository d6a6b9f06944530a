// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Verbs of the provider that fail without a device: their results, and the lines of the debug log.
 * Two commands to the kernel are replaced; libibverbs has the others.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../../rdma/provider/provider.h"
#include "../run-suite.h"
#include "../run-with-debug-log.h"

static struct ibv_device device = { .name = "mock0" };
static struct pv_context context;
static struct ibv_pd pd = { .context = &context.vctx.context };

int ibv_cmd_reg_mr(struct ibv_pd *p, void *address, size_t length, uint64_t iova, int access,
		   struct verbs_mr *vmr, struct ibv_reg_mr *cmd, size_t cmd_size,
		   struct ib_uverbs_reg_mr_resp *resp, size_t resp_size)
{
	(void)p;
	(void)address;
	(void)iova;
	(void)access;
	(void)vmr;
	(void)cmd;
	(void)cmd_size;
	(void)resp;
	(void)resp_size;
	return length == 0x1000 ? 0 : ENOMEM;
}

/* Refuses 77 receives, and otherwise has a ring of a page. */
int ibv_cmd_modify_srq(struct ibv_srq *srq, struct ibv_srq_attr *attr, int mask,
		       struct ibv_modify_srq *cmd, size_t cmd_size)
{
	struct peerbar_modify_srq_req *driver = (void *)(cmd + 1);
	struct peerbar_resize_srq_resp *resp = (void *)(uintptr_t)driver->resp;

	(void)srq;
	if (mask != IBV_SRQ_MAX_WR || cmd_size != sizeof(*cmd) + sizeof(*driver) ||
	    attr->max_wr == 77)
		return EINVAL;
	*resp = (struct peerbar_resize_srq_resp){ .size = 4096, .entries = attr->max_wr };
	return 0;
}

/* What the test below executes: verbs that fail, and one that succeeds. Returns 0 if they do. */
static int fail_for_debug_log(void)
{
	struct ibv_cq_init_attr_ex cq_attr = { .cqe = 1, .wc_flags = 1ULL << 40 };
	struct ibv_srq_attr srq_attr = { .max_wr = 77 };
	struct ibv_recv_wr wr = { .wr_id = 5 }, *bad = NULL;
	struct pv_srq srq = { 0 };
	struct pv_qp qp = { 0 };
	struct ibv_mr *mr;

	context.vctx.context.device = &device;
	qp.vqp.qp.context = srq.vsrq.srq.context = &context.vctx.context;
	qp.vqp.qp.qp_num = 17;
	pthread_spin_init(&srq.rq.lock, PTHREAD_PROCESS_PRIVATE);
	if (pv_create_cq_ex(&context.vctx.context, &cq_attr) || errno != EOPNOTSUPP)
		return 1;
	if (pv_reg_mr(&pd, (void *)0x7000, 0x2000, 0x9000, 0xf) || errno != ENOMEM)
		return 2;
	errno = 0;
	mr = pv_reg_mr(&pd, (void *)0x7000, 0x1000, 0x9000, 0xf);
	if (!mr || errno)
		return 3;
	free(container_of(mr, struct verbs_mr, ibv_mr));
	if (pv_post_recv(&qp.vqp.qp, &wr, &bad) != EINVAL || bad != &wr)
		return 4;
	if (pv_modify_srq(&srq.vsrq.srq, &srq_attr, IBV_SRQ_MAX_WR) != EINVAL)
		return 5;
	return 0;
}

START_TEST(failures_are_logged)
{
	char text[4096];

	/* Nothing is printed unless the user asks for it. */
	run_for_debug_log(NULL, NULL, text, sizeof(text));
	ck_assert_str_eq(text, "");
	run_for_debug_log("1", NULL, text, sizeof(text));
	ck_assert_uint_eq(count_lines(text), 4);
	ck_assert_ptr_nonnull(
		strstr(text, ": error 95: ibv_create_cq_ex() of mock0: wc_flags 0x10000000000, "));
	ck_assert_ptr_nonnull(
		strstr(text,
		       ": error 12: ibv_reg_mr() of mock0: the kernel refused address 0x7000, length 0x2000, IOVA 0x9000, access 0xf\n"));
	ck_assert_ptr_nonnull(
		strstr(text, ": error 22: ibv_post_recv() of mock0: queue pair 17 in state 0 "));
	ck_assert_ptr_nonnull(
		strstr(text,
		       ": error 22: ibv_modify_srq() of mock0: the kernel refused mask 0x1, max_wr 77, limit 0\n"));
	run_for_debug_log("2", NULL, text, sizeof(text));
	ck_assert_uint_eq(count_lines(text), 7);
	ck_assert_ptr_nonnull(strstr(text, ": command ibv_cmd_reg_mr of mock0: error 12\n"));
	ck_assert_ptr_nonnull(strstr(text, ": command ibv_cmd_reg_mr of mock0: 0\n"));
}
END_TEST

/* After a resize whose ring cannot be mapped or is too small, posting fails until the next resize. */
START_TEST(resize_without_a_ring)
{
	struct ibv_srq_attr attr = { .max_wr = 64 };
	struct ibv_recv_wr wr = { .wr_id = 5 }, *bad;
	struct pv_srq srq = { .rq = { .stride = 32, .max_sge = 1, .producer = 100 } };
	int ring = memfd_create("ring", MFD_CLOEXEC), i;
	uint32_t epoch = 1, consumer = 100;

	ck_assert_int_ge(ring, 0);
	ck_assert_int_eq(ftruncate(ring, 4096), 0);
	/* As the kernel leaves it: no receive is pending. */
	ck_assert_int_eq(pwrite(ring, &consumer, sizeof(consumer),
				offsetof(struct peerbar_srq_ring, rq.consumer)),
			 sizeof(consumer));
	context.vctx.context.device = &device;
	context.epoch = &epoch;
	srq.vsrq.srq.context = &context.vctx.context;
	pthread_spin_init(&srq.rq.lock, PTHREAD_PROCESS_PRIVATE);
	for (i = 0; i < 3; i++) {
		/* no ring there; one that is too small; one that fits */
		context.vctx.context.cmd_fd = i ? ring : -1;
		attr.max_wr = i == 1 ? 4096 : 64;
		ck_assert_int_eq(pv_modify_srq(&srq.vsrq.srq, &attr, IBV_SRQ_MAX_WR),
				 ((const int[]){ EBADF, EPROTO, 0 })[i]);
		bad = NULL;
		ck_assert_int_eq(pv_post_srq_recv(&srq.vsrq.srq, &wr, &bad), i < 2 ? EIO : 0);
		ck_assert_ptr_eq(bad, i < 2 ? &wr : NULL);
	}
	/* The index continues. */
	ck_assert_uint_eq(srq.rq.ring->producer, 101);
	pv_unmap(&srq.memory);
	pthread_spin_destroy(&srq.rq.lock);
	close(ring);
}
END_TEST

/* An XRC target that was opened has no queues: posting fails. */
START_TEST(target_without_queues)
{
	struct pv_qp qp = { .vqp.qp = { .qp_type = IBV_QPT_XRC_RECV, .state = IBV_QPS_UNKNOWN } };
	struct ibv_send_wr send = { .opcode = IBV_WR_SEND }, *bad_send = NULL;
	struct ibv_recv_wr wr = { .wr_id = 5 }, *bad = NULL;

	context.vctx.context.device = &device;
	qp.vqp.qp.context = &context.vctx.context;
	ck_assert_int_eq(pv_post_send(&qp.vqp.qp, &send, &bad_send), EINVAL);
	ck_assert_ptr_eq(bad_send, &send);
	ck_assert_int_eq(pv_post_recv(&qp.vqp.qp, &wr, &bad), EINVAL);
	ck_assert_ptr_eq(bad, &wr);
	ck_assert(!pv_send_ops_supported(IBV_QPT_XRC_RECV, IBV_QP_EX_WITH_SEND));
	ck_assert(pv_send_ops_supported(IBV_QPT_XRC_SEND, IBV_QP_EX_WITH_RDMA_READ));
}
END_TEST

int main(int argc, char **argv)
{
	TCase *t;
	Suite *s;

	if (argc > 1 && !strcmp(argv[1], "--debug-log"))
		return fail_for_debug_log();
	s = suite_create("unit-provider");
	t = tcase_create("all");
	tcase_set_timeout(t, 120); /* valgrind */
	tcase_add_test(t, failures_are_logged);
	tcase_add_test(t, resize_without_a_ring);
	tcase_add_test(t, target_without_queues);
	suite_add_tcase(s, t);
	return run_suite(s);
}
