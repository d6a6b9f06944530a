// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The verbs of extended objects: completion queues that are read field by field, the calls that
 * build work requests, shared receive queues, parent and thread domains, the clock. rxe has not all
 * of them.
 */
#include <arpa/inet.h>

#include "rdma-fixture.h"

#define OPS                                                                           \
	(IBV_QP_EX_WITH_RDMA_WRITE | IBV_QP_EX_WITH_RDMA_READ | IBV_QP_EX_WITH_SEND | \
	 IBV_QP_EX_WITH_SEND_WITH_INV | IBV_QP_EX_WITH_LOCAL_INV | IBV_QP_EX_WITH_BIND_MW)

/* ---- completions */

static uint64_t raw_clock(struct ibv_context *ctx)
{
	struct ibv_values_ex values = { .comp_mask = IBV_VALUES_MASK_RAW_CLOCK };

	ck_assert_int_eq(ibv_query_rt_values_ex(ctx, &values), 0);
	ck_assert_uint_eq(values.comp_mask, IBV_VALUES_MASK_RAW_CLOCK);
	return (uint64_t)values.raw_clock.tv_sec * 1000000000 + (uint64_t)values.raw_clock.tv_nsec;
}

/* Wait for the next completion, which ibv_end_poll() ends. */
static void poll_begins(struct ibv_cq_ex *cq)
{
	struct ibv_poll_cq_attr attr = { 0 };
	uint64_t end = now_ms() + 5000;
	int ret;

	do
		ret = ibv_start_poll(cq, &attr);
	while (ret == ENOENT && now_ms() < end);
	ck_assert_msg(!ret, "no completion: %s", strerror(ret));
}

START_TEST(completion_fields)
{
	struct ibv_cq_init_attr_ex cq_attr = {
		.cqe = 16,
		.wc_flags = IBV_WC_STANDARD_FLAGS | IBV_WC_EX_WITH_COMPLETION_TIMESTAMP,
	};
	struct ibv_sge from = sge(&pair.at_a, 0, 100), to = sge(&pair.at_b, 0, 200);
	struct ibv_poll_cq_attr wrong = { .comp_mask = 1 };
	struct ibv_send_wr wr;
	struct ibv_qp_ex *ex;
	struct ibv_cq_ex *cq;
	uint64_t before;
	struct end x, y;

	cq = ibv_create_cq_ex(pair.b.ctx, &cq_attr);
	ck_assert_msg(cq, "no completion queue: %s", strerror(errno));
	end_open_beside(&x, &pair.a, NULL);
	end_open_for_calls(&y, &pair.b, ibv_cq_ex_to_cq(cq), OPS);
	ends_connect(&x, &y);
	before = raw_clock(pair.b.ctx);
	ck_assert_int_eq(post_receive(&y, 11, &to, 1), 0);
	ck_assert_int_eq(post_receive(&y, 12, NULL, 0), 0);
	wr = work(1, IBV_WR_SEND, &from, 1, NULL, 0);
	done(&x, &wr);
	wr = work(2, IBV_WR_RDMA_WRITE_WITH_IMM, &from, 1, &pair.at_b, 1000);
	wr.imm_data = htonl(77);
	done(&x, &wr);

	ck_assert_int_eq(ibv_start_poll(cq, &wrong), EINVAL);
	poll_begins(cq);
	ck_assert_uint_eq(cq->wr_id, 11);
	ck_assert_int_eq(cq->status, IBV_WC_SUCCESS);
	ck_assert_int_eq(ibv_wc_read_opcode(cq), IBV_WC_RECV);
	ck_assert_uint_eq(ibv_wc_read_byte_len(cq), 100);
	ck_assert_uint_eq(ibv_wc_read_wc_flags(cq), 0);
	ck_assert_uint_eq(ibv_wc_read_qp_num(cq), y.qp->qp_num);
	ck_assert_uint_eq(ibv_wc_read_vendor_err(cq), 0);
	ck_assert_uint_eq(ibv_wc_read_slid(cq), 0);
	ck_assert_uint_eq(ibv_wc_read_sl(cq), 0);
	ck_assert_uint_eq(ibv_wc_read_dlid_path_bits(cq), 0);
	ck_assert_uint_ge(ibv_wc_read_completion_ts(cq), before);
	ck_assert_uint_le(ibv_wc_read_completion_ts(cq), raw_clock(pair.b.ctx));
	before = ibv_wc_read_completion_ts(cq);
	ck_assert_int_eq(ibv_next_poll(cq), 0);
	ck_assert_uint_eq(cq->wr_id, 12);
	ck_assert_int_eq(ibv_wc_read_opcode(cq), IBV_WC_RECV_RDMA_WITH_IMM);
	ck_assert_uint_eq(ibv_wc_read_wc_flags(cq), IBV_WC_WITH_IMM);
	ck_assert_uint_eq(ibv_wc_read_imm_data(cq), htonl(77));
	ck_assert_uint_eq(ibv_wc_read_byte_len(cq), 100);
	ck_assert_uint_ge(ibv_wc_read_completion_ts(cq), before);
	ck_assert_int_eq(ibv_next_poll(cq), ENOENT);
	ibv_end_poll(cq);

	/* A failed request has its reason in the same fields. */
	ex = call_begin(&y, 13);
	ibv_wr_rdma_read(ex, pair.at_a.mr->rkey + 1, pair.at_a.addr);
	ibv_wr_set_sge(ex, pair.at_b.mr->lkey, pair.at_b.addr, 8);
	ck_assert_int_eq(ibv_wr_complete(ex), 0);
	poll_begins(cq);
	ck_assert_uint_eq(cq->wr_id, 13);
	ck_assert_int_eq(cq->status, IBV_WC_REM_ACCESS_ERR);
	ck_assert_uint_eq(ibv_wc_read_qp_num(cq), y.qp->qp_num);
	ibv_end_poll(cq);

	end_close(&y);
	end_close(&x);
	ck_assert_int_eq(ibv_destroy_cq(ibv_cq_ex_to_cq(cq)), 0);
}
END_TEST

/* ---- work requests */

/* Bind @mw to the first page of @end's region, for remote writes, under a new key. */
static void bind_by_call(struct end *end, struct ibv_mw *mw, struct ibv_mr *mr)
{
	struct ibv_mw_bind_info info = { .mr = mr,
					 .addr = (uintptr_t)mr->addr,
					 .length = PAGE,
					 .mw_access_flags = IBV_ACCESS_REMOTE_WRITE };
	uint32_t rkey = ibv_inc_rkey(mw->rkey);
	struct ibv_qp_ex *ex = call_begin(end, 1);

	ibv_wr_bind_mw(ex, mw, rkey, &info);
	ck_assert_int_eq(ibv_wr_complete(ex), 0);
	ck_assert_int_eq(completes(end, 1, IBV_WC_SUCCESS).opcode, IBV_WC_BIND_MW);
	mw->rkey = rkey;
}

/* A window that its owner invalidates, and one that the peer does. */
START_TEST(invalidated_by_calls)
{
	struct ibv_sge from = sge(&pair.at_a, 0, 100);
	struct ibv_mr fake = { 0 }, *mr;
	bool by_peer = _i;
	struct ibv_send_wr wr;
	struct ibv_qp_ex *ex;
	struct ibv_mw *mw;
	struct end x, y;
	struct mem w;

	end_open_for_calls(&x, &pair.a, pair.a.cq, OPS);
	end_open_for_calls(&y, &pair.b, pair.b.cq, OPS);
	ends_connect(&x, &y);
	mr = ibv_reg_mr(pair.b.pd, pair.at_b.p, MEM, ALL_ACCESS | IBV_ACCESS_MW_BIND);
	mw = ibv_alloc_mw(pair.b.pd, IBV_MW_TYPE_2);
	ck_assert_ptr_nonnull(mr);
	ck_assert_msg(mw, "no window: %s", strerror(errno));
	bind_by_call(&y, mw, mr);
	prepare(1);
	fake.rkey = mw->rkey;
	w = (struct mem){ .addr = pair.at_b.addr, .size = PAGE, .mr = &fake };
	wr = work(2, IBV_WR_RDMA_WRITE, &from, 1, &w, 0);
	done(&x, &wr);
	arrived(0, 0, 100);

	if (by_peer) {
		struct ibv_wc wc;

		ck_assert_int_eq(post_receive(&y, 3, NULL, 0), 0);
		ex = call_begin(&x, 4);
		ibv_wr_send_inv(ex, mw->rkey);
		ibv_wr_set_sge_list(ex, 0, NULL);
		ck_assert_int_eq(ibv_wr_complete(ex), 0);
		completes(&x, 4, IBV_WC_SUCCESS);
		wc = completes(&y, 3, IBV_WC_SUCCESS);
		ck_assert_uint_eq(wc.wc_flags, IBV_WC_WITH_INV);
		ck_assert_uint_eq(wc.invalidated_rkey, mw->rkey);
	} else {
		ex = call_begin(&y, 5);
		ibv_wr_local_inv(ex, mw->rkey);
		ck_assert_int_eq(ibv_wr_complete(ex), 0);
		ck_assert_int_eq(completes(&y, 5, IBV_WC_SUCCESS).opcode, IBV_WC_LOCAL_INV);
	}
	prepare(2);
	wr = work(6, IBV_WR_RDMA_WRITE, &from, 1, &w, 0);
	fails(&x, &wr, IBV_WC_REM_ACCESS_ERR);
	ck_assert_uint_eq(pair.at_b.p[0], 0xee);
	end_close(&x);
	end_close(&y);
	ck_assert_int_eq(ibv_dealloc_mw(mw), 0);
	ck_assert_int_eq(ibv_dereg_mr(mr), 0);
}
END_TEST

#define MANY_SGES 100

/* A list that is refused sends nothing, not even the requests before the one that is wrong. */
START_TEST(refused_calls)
{
	/* The second is too much for every queue pair; its queue may have room for more than asked. */
	struct ibv_data_buf data[2] = { { pair.at_a.p, 20 }, { pair.at_a.p, PAGE } };
	struct ibv_sge list[MANY_SGES];
	struct ibv_qp_ex *ex;
	unsigned int i, n;
	struct end x, y;

	for (i = 0; i < MANY_SGES; i++)
		list[i] = sge(&pair.at_a, i * 8, 8);
	end_open_for_calls(&x, &pair.a, pair.a.cq, OPS);
	end_open_for_calls(&y, &pair.b, pair.b.cq, OPS);
	/* before RTS */
	ex = call_begin(&x, 1);
	ibv_wr_rdma_write(ex, pair.at_b.mr->rkey, pair.at_b.addr);
	ibv_wr_set_sge_list(ex, 1, list);
	ck_assert_int_eq(ibv_wr_complete(ex), EINVAL);
	ends_connect(&x, &y);
	prepare(1);
	for (i = 0; i < 5; i++) {
		ex = call_begin(&x, 2);
		ibv_wr_rdma_write(ex, pair.at_b.mr->rkey, pair.at_b.addr);
		ibv_wr_set_sge_list(ex, 1, list);
		switch (i) {
		case 0: /* more SGEs than the queue has */
			ibv_wr_rdma_write(ex, pair.at_b.mr->rkey, pair.at_b.addr + 100);
			ibv_wr_set_sge_list(ex, MANY_SGES, list);
			break;
		case 1: /* more bytes inline */
			ibv_wr_rdma_write(ex, pair.at_b.mr->rkey, pair.at_b.addr + 100);
			ibv_wr_set_inline_data_list(ex, 2, data);
			break;
		case 2: /* nothing to transmit inline */
			ibv_wr_rdma_read(ex, pair.at_b.mr->rkey, pair.at_b.addr + 100);
			ibv_wr_set_inline_data(ex, pair.at_a.p, 8);
			break;
		case 3: /* an unknown flag */
			ex->wr_flags = 1u << 20;
			ibv_wr_rdma_write(ex, pair.at_b.mr->rkey, pair.at_b.addr + 100);
			ibv_wr_set_sge_list(ex, 1, list);
			break;
		default: /* more requests than the queue has entries; it may have more than asked for */
			for (n = 0; n < 1000; n++) {
				ibv_wr_rdma_write(ex, pair.at_b.mr->rkey, pair.at_b.addr + 100);
				ibv_wr_set_sge_list(ex, 1, list);
			}
		}
		ck_assert_int_eq(ibv_wr_complete(ex), i < 4 ? EINVAL : ENOMEM);
	}
	nothing_completes(&x);
	ck_assert_uint_eq(pair.at_b.p[0], 0xee);
	ck_assert_uint_eq(pair.at_b.p[100], 0xee);

	/* The queue pair is as before. */
	ex = call_begin(&x, 7);
	ibv_wr_rdma_write(ex, pair.at_b.mr->rkey, pair.at_b.addr);
	ibv_wr_set_inline_data_list(ex, 1, data);
	ck_assert_int_eq(ibv_wr_complete(ex), 0);
	completes(&x, 7, IBV_WC_SUCCESS);
	arrived(0, 0, 20);
	end_close(&x);
	end_close(&y);
}
END_TEST

/* ---- other objects */

START_TEST(extended_shared_receives)
{
	struct ibv_srq_init_attr_ex attr = {
		.attr = { .max_wr = 8, .max_sge = 2 },
		.comp_mask = IBV_SRQ_INIT_ATTR_TYPE | IBV_SRQ_INIT_ATTR_PD,
		.srq_type = IBV_SRQT_TM,
		.pd = pair.b.pd,
	};
	struct ibv_srq_attr limit = { .srq_limit = 3 }, is = { 0 };
	struct ibv_sge to = sge(&pair.at_b, 0, 200), from = sge(&pair.at_a, 0, 200);
	struct ibv_recv_wr receive = { .wr_id = 5, .sg_list = &to, .num_sge = 1 }, *bad;
	struct end_options with = { 0 };
	struct ibv_send_wr wr;
	uint32_t number, i;
	struct end x, y;

	/* There is no tag matching. */
	ck_assert_ptr_null(ibv_create_srq_ex(pair.b.ctx, &attr));
	ck_assert_int_eq(errno, EOPNOTSUPP);
	attr.srq_type = IBV_SRQT_BASIC;
	with.shared = ibv_create_srq_ex(pair.b.ctx, &attr);
	ck_assert_msg(with.shared, "no shared receive queue: %s", strerror(errno));
	ck_assert_uint_ge(attr.attr.max_wr, 8);
	ck_assert_int_eq(ibv_get_srq_num(with.shared, &number), 0);
	/* With fewer receives than the limit, it would be reached at once. */
	for (i = 0; i < 4; i++)
		ck_assert_int_eq(ibv_post_srq_recv(with.shared, &receive, &bad), 0);
	ck_assert_int_eq(ibv_modify_srq(with.shared, &limit, IBV_SRQ_LIMIT), 0);
	ck_assert_int_eq(ibv_query_srq(with.shared, &is), 0);
	ck_assert_uint_eq(is.max_wr, attr.attr.max_wr);
	ck_assert_uint_eq(is.max_sge, attr.attr.max_sge);
	ck_assert_uint_eq(is.srq_limit, 3);
	limit.max_wr = 16;
	ck_assert_int_eq(ibv_modify_srq(with.shared, &limit, IBV_SRQ_MAX_WR), 0);

	end_open_beside(&x, &pair.a, NULL);
	end_open_beside(&y, &pair.b, &with);
	ends_connect(&x, &y);
	prepare(1);
	wr = work(1, IBV_WR_SEND, &from, 1, NULL, 0);
	done(&x, &wr);
	completes(&y, 5, IBV_WC_SUCCESS);
	arrived(0, 0, 200);
	/* Used by a queue pair, it remains. */
	ck_assert_int_eq(ibv_destroy_srq(with.shared), EBUSY);
	end_close(&y);
	ck_assert_int_eq(ibv_destroy_srq(with.shared), 0);
	end_close(&x);
}
END_TEST

START_TEST(domains)
{
	struct ibv_parent_domain_init_attr parent = { .pd = pair.b.pd };
	struct ibv_td_init_attr td_attr = { .comp_mask = 1 };
	struct end y = pair.b;
	struct ibv_pd *pd, *of_thread;
	struct ibv_send_wr wr;
	struct ibv_td *td;
	struct ibv_sge s;
	struct mem mem;
	struct end x;

	ck_assert_ptr_null(ibv_alloc_td(pair.b.ctx, &td_attr));
	ck_assert_int_eq(errno, EOPNOTSUPP);
	td_attr.comp_mask = 0;
	td = ibv_alloc_td(pair.b.ctx, &td_attr);
	ck_assert_msg(td, "no thread domain: %s", strerror(errno));
	parent.comp_mask = 1u << 31;
	ck_assert_ptr_null(ibv_alloc_parent_domain(pair.b.ctx, &parent));
	ck_assert_int_eq(errno, EOPNOTSUPP);
	parent.comp_mask = 0;
	pd = ibv_alloc_pd(pair.b.ctx);
	ck_assert_ptr_nonnull(pd);
	parent.pd = pd;
	parent.td = td;
	of_thread = ibv_alloc_parent_domain(pair.b.ctx, &parent);
	ck_assert_msg(of_thread, "no parent domain: %s", strerror(errno));
	/* Both are in use. */
	ck_assert_int_eq(ibv_dealloc_td(td), EBUSY);
	ck_assert_int_eq(ibv_dealloc_pd(pd), EBUSY);

	/* What is created in the parent domain is in the domain that it protects. */
	y.pd = of_thread;
	end_open_beside(&y, &y, NULL);
	y.pd = pd;
	mem = mem_new(&y, PAGE, ALL_ACCESS);
	end_open_beside(&x, &pair.a, NULL);
	ends_connect(&x, &y);
	lab_pattern(pair.at_a.p, PAGE, 3);
	s = sge(&pair.at_a, 0, 100);
	wr = work(1, IBV_WR_RDMA_WRITE, &s, 1, &mem, 0);
	done(&x, &wr);
	ck_assert_mem_eq(mem.p, pair.at_a.p, 100);
	/* The region of another protection domain is none for it. */
	wr = work(2, IBV_WR_RDMA_WRITE, &s, 1, &pair.at_b, 0);
	fails(&x, &wr, IBV_WC_REM_ACCESS_ERR);

	mem_free(&mem);
	end_close(&y);
	end_close(&x);
	ck_assert_int_eq(ibv_dealloc_pd(of_thread), 0);
	ck_assert_int_eq(ibv_dealloc_td(td), 0);
	ck_assert_int_eq(ibv_dealloc_pd(pd), 0);
}
END_TEST

LAB_SUITE_PART("rdma")
{
	TCase *t;

	if (rdma_is_rxe())
		return;
	t = rdma_case(s, "extended", 60, rc_up, pair_down);
	tcase_add_test(t, completion_fields);
	tcase_add_loop_test(t, invalidated_by_calls, 0, 2);
	tcase_add_test(t, refused_calls);
	tcase_add_test(t, extended_shared_receives);
	tcase_add_test(t, domains);
}
