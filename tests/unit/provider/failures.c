// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Verbs of the provider that fail without a device: their results, and the lines of the debug log.
 * A command to the kernel is replaced; libibverbs has the others.
 */
#include <errno.h>
#include <string.h>

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
	if (pv_modify_srq(&srq.vsrq.srq, &srq_attr, IBV_SRQ_MAX_WR) != EOPNOTSUPP)
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
		       ": error 95: ibv_modify_srq() of mock0: IBV_SRQ_MAX_WR, to 77, is not supported\n"));
	run_for_debug_log("2", NULL, text, sizeof(text));
	ck_assert_uint_eq(count_lines(text), 6);
	ck_assert_ptr_nonnull(strstr(text, ": command ibv_cmd_reg_mr of mock0: error 12\n"));
	ck_assert_ptr_nonnull(strstr(text, ": command ibv_cmd_reg_mr of mock0: 0\n"));
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
	suite_add_tcase(s, t);
	return run_suite(s);
}
