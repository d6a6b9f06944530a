// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Rights: of regions, queue pairs and memory windows, and what only the kernel's own users may do.
 * Limits of the device.
 */
#include <stdlib.h>

#include "process-maps.h"
#include "rdma-fixture.h"

/* Access that a region does not permit. */
START_TEST(rights_of_regions)
{
	static const struct {
		enum ibv_wr_opcode opcode;
		int without; /* all access but this */
		bool local;
	} table[] = {
		{ IBV_WR_RDMA_WRITE, IBV_ACCESS_REMOTE_WRITE, false },
		{ IBV_WR_RDMA_READ, IBV_ACCESS_REMOTE_READ, false },
		{ IBV_WR_ATOMIC_FETCH_AND_ADD, IBV_ACCESS_REMOTE_ATOMIC, false },
		{ IBV_WR_ATOMIC_CMP_AND_SWP, IBV_ACCESS_REMOTE_ATOMIC, false },
		{ IBV_WR_RDMA_READ, ALL_ACCESS, true },
		{ IBV_WR_ATOMIC_FETCH_AND_ADD, ALL_ACCESS, true },
	};
	unsigned int i;

	for (i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct mem from = mem_new(&pair.a, PAGE, table[i].local ? 0 : ALL_ACCESS);
		struct mem to = mem_new(&pair.b, PAGE,
					table[i].local ? ALL_ACCESS :
							 ALL_ACCESS & ~table[i].without);
		struct ibv_sge s = sge(&from, 0, 8);
		struct ibv_send_wr wr = work(i, table[i].opcode, &s, 1, &to, 16);
		struct ibv_wc wc;

		memset(from.p, 0x11, PAGE);
		memset(to.p, 0x22, PAGE);
		ck_assert_int_eq(post(&pair.a, &wr), 0);
		wc = completion(&pair.a);
		ck_assert_msg(wc.status ==
				      (table[i].local ? IBV_WC_LOC_PROT_ERR :
							IBV_WC_REM_ACCESS_ERR),
			      "case %u: '%s'", i, ibv_wc_status_str(wc.status));
		ck_assert_uint_eq(from.p[0], 0x11);
		if (!table[i].local) {
			ck_assert_uint_eq(to.p[16], 0x22);
			responder_event(IBV_EVENT_QP_ACCESS_ERR);
			is_flushed(&pair.b);
		}
		is_flushed(&pair.a);
		replace_qps(&pair.a, &pair.b);
		mem_free(&from);
		mem_free(&to);
	}
	/* Remote write access requires local write access. */
	ck_assert_ptr_null(ibv_reg_mr(pair.a.pd, pair.at_a.p, MEM, IBV_ACCESS_REMOTE_WRITE));
	ck_assert_ptr_null(ibv_reg_mr(pair.a.pd, pair.at_a.p, MEM, IBV_ACCESS_REMOTE_ATOMIC));
}
END_TEST

/* Access that a queue pair does not permit its peer. */
START_TEST(rights_of_queue_pairs)
{
	static const enum ibv_wr_opcode opcodes[] = { IBV_WR_RDMA_WRITE, IBV_WR_RDMA_READ,
						      IBV_WR_ATOMIC_FETCH_AND_ADD };
	struct ibv_sge s = sge(&pair.at_a, 0, 8);
	unsigned int i;

	for (i = 0; i < 3; i++) {
		struct ibv_send_wr wr = work(i, opcodes[i], &s, 1, &pair.at_b, 16);

		replace_qps(&pair.a, &pair.b);
		ck_assert_int_eq(end_to(&pair.b, IBV_QPS_RESET), 0);
		pair.b.access = 0;
		end_connect(&pair.b,
			    &(struct address){ pair.a.qp->qp_num, pair.a.psn, pair.a.gid });
		prepare(1);
		fails(&pair.a, &wr, IBV_WC_REM_INV_REQ_ERR);
		ck_assert_uint_eq(pair.at_b.p[16], 0xee);
		responder_event(IBV_EVENT_QP_REQ_ERR);
		is_flushed(&pair.a);
		is_flushed(&pair.b);
	}
}
END_TEST

START_TEST(too_much)
{
	struct ibv_qp_init_attr attr = { .send_cq = pair.a.cq,
					 .recv_cq = pair.a.cq,
					 .qp_type = IBV_QPT_RC };
	struct ibv_srq_init_attr srq = {
		.attr = { .max_sge = 1 },
	};
	struct ibv_device_attr dev;
	struct ibv_qp *qp;

	ck_assert_int_eq(ibv_query_device(pair.a.ctx, &dev), 0);
	attr.cap = (struct ibv_qp_cap){ (uint32_t)dev.max_qp_wr + 1, 1, 1, 1, 0 };
	ck_assert_ptr_null(ibv_create_qp(pair.a.pd, &attr));
	attr.cap = (struct ibv_qp_cap){ 1, (uint32_t)dev.max_qp_wr + 1, 1, 1, 0 };
	ck_assert_ptr_null(ibv_create_qp(pair.a.pd, &attr));
	attr.cap = (struct ibv_qp_cap){ 1, 1, (uint32_t)dev.max_sge + 1, 1, 0 };
	ck_assert_ptr_null(ibv_create_qp(pair.a.pd, &attr));
	attr.cap = (struct ibv_qp_cap){ 1, 1, 1, 1, 1 << 20 };
	ck_assert_ptr_null(ibv_create_qp(pair.a.pd, &attr));
	ck_assert_ptr_null(ibv_create_cq(pair.a.ctx, dev.max_cqe + 1, NULL, NULL, 0));
	ck_assert_ptr_null(ibv_create_cq(pair.a.ctx, 0, NULL, NULL, 0));
	srq.attr.max_wr = (uint32_t)dev.max_srq_wr + 1;
	ck_assert_ptr_null(ibv_create_srq(pair.a.pd, &srq));
	/* Unmapped memory. */
	ck_assert_ptr_null(ibv_reg_mr(pair.a.pd, (void *)(uintptr_t)0x1000, PAGE, ALL_ACCESS));
	/* Within the limits. */
	attr.cap = (struct ibv_qp_cap){ 1024, 1024, 4, 4, 0 };
	qp = ibv_create_qp(pair.a.pd, &attr);
	ck_assert_ptr_nonnull(qp);
	ck_assert_int_eq(ibv_destroy_qp(qp), 0);
	/* Objects in use cannot be destroyed. */
	ck_assert_int_eq(ibv_dealloc_pd(pair.a.pd), EBUSY);
	ck_assert_int_eq(ibv_destroy_cq(pair.a.cq), EBUSY);
}
END_TEST

/* ---- requests and keys of the kernel's own users ---- */

/* The kernel's IB_WR_REG_MR, and its key for all memory at DMA addresses. */
#define KERNEL_REG_MR	0x20
#define KERNEL_DMA_LKEY 0xffffff00u

/* Find the request with this ID in a ring of this process. Its opcode follows the ID. */
static uint32_t *opcode_in_ring(uint64_t id)
{
	struct process_mapping m;
	uint64_t *p;
	uintptr_t at;

	for (at = 0; find_mapping(at, &m); at = m.end) {
		if (!strstr(m.name, "/uverbs") || !m.readable)
			continue;
		for (p = (uint64_t *)m.start; p < (uint64_t *)m.end; p++)
			if (*p == id)
				return (uint32_t *)(p + 1);
	}
	return NULL;
}

START_TEST(requests_of_the_kernel)
{
	const uint64_t id = 0x6b65726e656c0001;
	struct ibv_sge from = sge(&pair.at_a, 0, 64), to = sge(&pair.at_b, 0, 64);
	struct ibv_send_wr wr = work(1, IBV_WR_SEND, &from, 1, NULL, 0);
	uint32_t *opcode;

	if (rdma_is_rxe())
		return;
	/* The first request waits for a receive, and the second for the first. */
	ck_assert_int_eq(post(&pair.a, &wr), 0);
	wr = work(id, IBV_WR_RDMA_WRITE, &from, 1, &pair.at_b, 0);
	ck_assert_int_eq(post(&pair.a, &wr), 0);
	opcode = opcode_in_ring(id);
	ck_assert_msg(opcode && *opcode == IBV_WR_RDMA_WRITE, "the request is in no ring");
	*opcode = KERNEL_REG_MR;
	ck_assert_int_eq(post_receive(&pair.b, 2, &to, 1), 0);
	completes(&pair.a, 1, IBV_WC_SUCCESS);
	completes(&pair.a, id, IBV_WC_LOC_QP_OP_ERR);
	completes(&pair.b, 2, IBV_WC_SUCCESS);
	end_state_is(&pair.a, IBV_QPS_ERR);
}
END_TEST

START_TEST(keys_of_the_kernel)
{
	struct ibv_sge from = sge(&pair.at_a, 0, 64),
		       dma = { .length = 64, .lkey = KERNEL_DMA_LKEY };
	struct ibv_send_wr wr = work(1, IBV_WR_RDMA_WRITE, &dma, 1, &pair.at_b, 0);

	if (rdma_is_rxe())
		return;
	/* An address in RAM. */
	dma.addr = 0x100000;
	fails(&pair.a, &wr, IBV_WC_LOC_PROT_ERR);
	replace_qps(&pair.a, &pair.b);
	wr = work(2, IBV_WR_RDMA_WRITE, &from, 1, &pair.at_b, 0);
	wr.wr.rdma.remote_addr = dma.addr;
	wr.wr.rdma.rkey = KERNEL_DMA_LKEY;
	fails(&pair.a, &wr, IBV_WC_REM_ACCESS_ERR);
}
END_TEST

/* Read-only memory can be registered for reading only. */
START_TEST(memory_of_others)
{
	void *p = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct ibv_mr *mr;

	ck_assert_ptr_ne(p, MAP_FAILED);
	ck_assert_ptr_null(ibv_reg_mr(pair.a.pd, p, PAGE, ALL_ACCESS));
	mr = ibv_reg_mr(pair.a.pd, p, PAGE, IBV_ACCESS_REMOTE_READ);
	ck_assert_msg(mr, "memory for reading cannot be registered: %s", strerror(errno));
	ck_assert_int_eq(ibv_dereg_mr(mr), 0);
	munmap(p, PAGE);
}
END_TEST

/* ---- memory windows, where the device has them ---- */

static struct mem window(struct ibv_mw *mw, size_t offset, size_t length)
{
	static struct ibv_mr fake;

	fake.rkey = mw->rkey;
	return (struct mem){ .addr = pair.at_b.addr + offset, .size = length, .mr = &fake };
}

/* Bind the window to a page of a region of pair.at_b, for remote writes. */
static void bind_window(struct ibv_mw *mw, struct ibv_mr *mr, size_t offset)
{
	struct ibv_send_wr bind = {
		.wr_id = 1,
		.opcode = IBV_WR_BIND_MW,
		.send_flags = IBV_SEND_SIGNALED,
		.bind_mw = { .mw = mw,
			     .rkey = ibv_inc_rkey(mw->rkey),
			     .bind_info = { .mr = mr,
					    .addr = pair.at_b.addr + offset,
					    .length = PAGE,
					    .mw_access_flags = IBV_ACCESS_REMOTE_WRITE } },
	};

	ck_assert_int_eq(post(&pair.b, &bind), 0);
	ck_assert_int_eq(completes(&pair.b, 1, IBV_WC_SUCCESS).opcode, IBV_WC_BIND_MW);
	mw->rkey = bind.bind_mw.rkey;
}

START_TEST(windows)
{
	struct ibv_sge from = sge(&pair.at_a, 0, 100);
	struct ibv_device_attr dev;
	struct ibv_send_wr wr;
	struct ibv_mw *mw;
	struct ibv_mr *mr;
	struct mem w;

	ck_assert_int_eq(ibv_query_device(pair.b.ctx, &dev), 0);
	if (!dev.max_mw)
		return;
	mr = ibv_reg_mr(pair.b.pd, pair.at_b.p, MEM, ALL_ACCESS | IBV_ACCESS_MW_BIND);
	mw = ibv_alloc_mw(pair.b.pd, IBV_MW_TYPE_2);
	ck_assert_ptr_nonnull(mr);
	ck_assert_msg(mw, "no window: %s", strerror(errno));
	bind_window(mw, mr, PAGE);
	/* Check the window's limits. */
	prepare(1);
	w = window(mw, PAGE, PAGE);
	wr = work(2, IBV_WR_RDMA_WRITE, &from, 1, &w, PAGE - 100);
	done(&pair.a, &wr);
	arrived(2 * PAGE - 100, 0, 100);
	wr = work(3, IBV_WR_RDMA_WRITE, &from, 1, &w, PAGE - 99);
	/* rxe checks the region's end instead. */
	fails(&pair.a, &wr, rdma_is_rxe() ? IBV_WC_SUCCESS : IBV_WC_REM_ACCESS_ERR);
	/*
	 * A new queue pair cannot use the window of the old one. On rxe the window keeps the old
	 * queue pair from being destroyed.
	 */
	if (!rdma_is_rxe()) {
		replace_qps(&pair.a, &pair.b);
		wr = work(4, IBV_WR_RDMA_WRITE, &from, 1, &w, 0);
		fails(&pair.a, &wr, IBV_WC_REM_ACCESS_ERR);
	}
	ck_assert_int_eq(ibv_dealloc_mw(mw), 0);
	ck_assert_int_eq(ibv_dereg_mr(mr), 0);
}
END_TEST

/* ---- regions that change ---- */

/* Write to the region at this address of its process, and check that the bytes arrive, or not. */
static void write_to(struct ibv_mr *mr, uint8_t *at, bool permitted)
{
	struct mem target = { .p = at, .addr = (uintptr_t)at, .size = PAGE, .mr = mr };
	struct ibv_sge from = sge(&pair.at_a, 0, 100);
	static uint32_t seed = 70;
	struct ibv_send_wr wr;
	uint8_t before[100];

	memcpy(before, at, sizeof(before));
	lab_pattern(pair.at_a.p, 100, ++seed);
	wr = work(1, IBV_WR_RDMA_WRITE, &from, 1, &target, 0);
	if (permitted) {
		done(&pair.a, &wr);
		ck_assert_mem_eq(at, pair.at_a.p, 100);
		return;
	}
	fails(&pair.a, &wr, IBV_WC_REM_ACCESS_ERR);
	ck_assert_mem_eq(at, before, sizeof(before));
	replace_qps(&pair.a, &pair.b);
}

START_TEST(reregistered)
{
	struct ibv_pd *other;
	struct ibv_mr *mr;
	uint8_t *p;

	if (rdma_is_rxe())
		return;
	p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	other = ibv_alloc_pd(pair.b.ctx);
	ck_assert_ptr_ne(p, MAP_FAILED);
	ck_assert_ptr_nonnull(other);
	mr = ibv_reg_mr(pair.b.pd, p, PAGE, ALL_ACCESS);
	ck_assert_ptr_nonnull(mr);
	write_to(mr, p, true);
	/* Other memory, and more of it. */
	ck_assert_int_eq(ibv_rereg_mr(mr, IBV_REREG_MR_CHANGE_TRANSLATION, NULL, p + 2 * PAGE,
				      2 * PAGE, 0),
			 0);
	write_to(mr, p + 2 * PAGE, true);
	write_to(mr, p + 3 * PAGE, true);
	write_to(mr, p, false);
	/* Memory that cannot be pinned: the region stays as it is. */
	ck_assert_int_ne(ibv_rereg_mr(mr, IBV_REREG_MR_CHANGE_TRANSLATION, NULL, (void *)PAGE, PAGE,
				      0),
			 0);
	write_to(mr, p + 3 * PAGE, true);
	/* Less access, and back. */
	ck_assert_int_eq(ibv_rereg_mr(mr, IBV_REREG_MR_CHANGE_ACCESS, NULL, NULL, 0,
				      IBV_ACCESS_REMOTE_READ),
			 0);
	write_to(mr, p + 2 * PAGE, false);
	ck_assert_int_eq(ibv_rereg_mr(mr, IBV_REREG_MR_CHANGE_ACCESS, NULL, NULL, 0, ALL_ACCESS),
			 0);
	write_to(mr, p + 2 * PAGE, true);
	/* Another protection domain than the queue pair's, and back. */
	ck_assert_int_eq(ibv_rereg_mr(mr, IBV_REREG_MR_CHANGE_PD, other, NULL, 0, 0), 0);
	write_to(mr, p + 2 * PAGE, false);
	ck_assert_int_eq(ibv_rereg_mr(mr, IBV_REREG_MR_CHANGE_PD, pair.b.pd, NULL, 0, 0), 0);
	write_to(mr, p + 2 * PAGE, true);
	ck_assert_int_eq(ibv_dereg_mr(mr), 0);
	/* Pinned for reading: writing needs other pages, which a new translation pins. */
	ck_assert_int_eq(mprotect(p, PAGE, PROT_READ), 0);
	mr = ibv_reg_mr(pair.b.pd, p, PAGE, IBV_ACCESS_REMOTE_READ);
	ck_assert_ptr_nonnull(mr);
	ck_assert_int_ne(ibv_rereg_mr(mr, IBV_REREG_MR_CHANGE_ACCESS, NULL, NULL, 0, ALL_ACCESS),
			 0);
	ck_assert_int_eq(errno, EACCES);
	ck_assert_int_eq(ibv_rereg_mr(mr,
				      IBV_REREG_MR_CHANGE_TRANSLATION | IBV_REREG_MR_CHANGE_ACCESS,
				      NULL, p + PAGE, PAGE, ALL_ACCESS),
			 0);
	write_to(mr, p + PAGE, true);
	ck_assert_int_eq(ibv_dereg_mr(mr), 0);
	ck_assert_int_eq(ibv_dealloc_pd(other), 0);
	munmap(p, 4 * PAGE);
}
END_TEST

/* A region with a window bound to it does not change. */
START_TEST(reregistered_below_a_window)
{
	struct ibv_mw *mw;
	struct ibv_mr *mr;

	if (rdma_is_rxe())
		return;
	mr = ibv_reg_mr(pair.b.pd, pair.at_b.p, MEM, ALL_ACCESS | IBV_ACCESS_MW_BIND);
	mw = ibv_alloc_mw(pair.b.pd, IBV_MW_TYPE_2);
	ck_assert_ptr_nonnull(mr);
	ck_assert_ptr_nonnull(mw);
	bind_window(mw, mr, 0);
	ck_assert_int_ne(ibv_rereg_mr(mr, IBV_REREG_MR_CHANGE_ACCESS, NULL, NULL, 0,
				      IBV_ACCESS_LOCAL_WRITE),
			 0);
	ck_assert_int_eq(errno, EBUSY);
	ck_assert_int_eq(ibv_dealloc_mw(mw), 0);
	ck_assert_int_eq(ibv_rereg_mr(mr, IBV_REREG_MR_CHANGE_ACCESS, NULL, NULL, 0,
				      IBV_ACCESS_LOCAL_WRITE),
			 0);
	ck_assert_int_eq(ibv_dereg_mr(mr), 0);
}
END_TEST

/* ---- test cases ---- */

LAB_SUITE_PART("rdma")
{
	TCase *t = rdma_case(s, "errors", 120, rc_up, pair_down);

	tcase_add_test(t, reregistered);
	tcase_add_test(t, reregistered_below_a_window);

	tcase_add_test(t, rights_of_regions);
	tcase_add_test(t, rights_of_queue_pairs);
	tcase_add_test(t, too_much);
	tcase_add_test(t, requests_of_the_kernel);
	tcase_add_test(t, keys_of_the_kernel);
	tcase_add_test(t, memory_of_others);
	tcase_add_test(t, windows);
}
