// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Flush and atomic write: what they do, and what is refused. */
#include "rdma-fixture.h"

#define FLUSH_ACCESS	     (ALL_ACCESS | IBV_ACCESS_FLUSH_GLOBAL)
/* of struct ibv_device_attr_ex, without names there */
#define CAP_FLUSH_GLOBAL     (1ull << 38)
#define CAP_FLUSH_PERSISTENT (1ull << 39)
#define CAP_ATOMIC_WRITE     (1ull << 40)

static struct end x, y;
static struct mem target;

static void open_ends(int access)
{
	const struct end_options options = { .type = IBV_QPT_RC, .calls = FLUSH_CALLS };

	end_open_beside(&x, &pair.a, &options);
	end_open_beside(&y, &pair.b, &options);
	y.access = access;
	ends_connect(&x, &y);
}

static void flush_up(void)
{
	rc_up();
	target = mem_new(&pair.b, MEM, FLUSH_ACCESS);
	memset(target.p, 0xee, MEM);
}

static void flush_down(void)
{
	mem_free(&target);
	pair_down();
}

static void close_ends(void)
{
	end_close(&x);
	end_close(&y);
}

START_TEST(what_it_says)
{
	struct ibv_device_attr_ex attr;

	ck_assert_int_eq(ibv_query_device_ex(pair.a.ctx, NULL, &attr), 0);
	ck_assert(attr.device_cap_flags_ex & CAP_FLUSH_GLOBAL);
	ck_assert(attr.device_cap_flags_ex & CAP_ATOMIC_WRITE);
	if (rdma_is_rxe())
		return;
	/* Memory that persists is not known to be any. */
	ck_assert(!(attr.device_cap_flags_ex & CAP_FLUSH_PERSISTENT));
	ck_assert_ptr_null(
		ibv_reg_mr(pair.b.pd, target.p, PAGE, ALL_ACCESS | IBV_ACCESS_FLUSH_PERSISTENT));
	ck_assert_int_eq(errno, EOPNOTSUPP);
}
END_TEST

START_TEST(atomic_writes)
{
	const size_t offsets[] = { 0, 64, PAGE - 8, PAGE, MEM - 8 };
	const uint64_t untouched = 0xeeeeeeeeeeeeeeee;
	unsigned int i;

	open_ends(REMOTE_ACCESS);
	for (i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
		atomic_write(&x, &target, offsets[i], 0x0102030405060700 + i, IBV_WC_SUCCESS);
		ck_assert_uint_eq(word(&target, offsets[i]), 0x0102030405060700 + i);
		/* Neither neighbour is written to. */
		if (offsets[i] + 16 <= MEM && offsets[i] != PAGE - 8)
			ck_assert_uint_eq(word(&target, offsets[i] + 8), untouched);
		if (offsets[i] >= 8 && offsets[i] != PAGE)
			ck_assert_uint_eq(word(&target, offsets[i] - 8), untouched);
	}
	nothing_completes(&y);
	close_ends();
}
END_TEST

/* A receiver that polls on the word never sees a part of it, nor the word before the data. */
START_TEST(atomic_writes_are_last)
{
	volatile uint64_t *flag = (volatile uint64_t *)(void *)(target.p + MEM - 8);
	struct ibv_sge from = sge(&pair.at_a, 0, 8192);
	struct ibv_send_wr wr = work(1, IBV_WR_RDMA_WRITE, &from, 1, &target, 0), *bad;
	struct ibv_qp_ex *ex;
	uint64_t until, value;
	unsigned int i;

	open_ends(REMOTE_ACCESS);
	wr.send_flags = 0;
	*flag = 0;
	for (i = 1; i <= 100; i++) {
		value = i * 0x0101010101010101ull;
		prepare(i);
		ck_assert_int_eq(ibv_post_send(x.qp, &wr, &bad), 0);
		ex = call_begin(&x, i);
		ibv_wr_atomic_write(ex, target.mr->rkey, target.addr + MEM - 8, &value);
		ck_assert_int_eq(ibv_wr_complete(ex), 0);
		until = now_ms() + 5000;
		while (*flag != value)
			ck_assert_msg(*flag == value - 0x0101010101010101ull && now_ms() < until,
				      "the flag is 0x%llx", (unsigned long long)*flag);
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		ck_assert_mem_eq(target.p, pair.at_a.p, 8192);
		completes(&x, i, IBV_WC_SUCCESS);
	}
	close_ends();
}
END_TEST

START_TEST(refused_atomic_writes)
{
	struct mem readable = mem_new(&pair.b, PAGE, ALL_ACCESS & ~IBV_ACCESS_REMOTE_WRITE);
	const struct {
		int access;
		const struct mem *to;
		size_t offset;
		enum ibv_wc_status status;
	} cases[] = {
		{ REMOTE_ACCESS, &target, 4, IBV_WC_REM_INV_REQ_ERR },
		{ REMOTE_ACCESS, &target, MEM, IBV_WC_REM_ACCESS_ERR },
		{ REMOTE_ACCESS, &readable, 0, IBV_WC_REM_ACCESS_ERR },
		{ IBV_ACCESS_REMOTE_READ, &target, 0, IBV_WC_REM_INV_REQ_ERR },
	};

	memset(readable.p, 0xee, PAGE);
	open_ends(cases[_i].access);
	atomic_write(&x, cases[_i].to, cases[_i].offset, 7, cases[_i].status);
	ck_assert_uint_eq(word(&target, 0), 0xeeeeeeeeeeeeeeee);
	ck_assert_uint_eq(word(&readable, 0), 0xeeeeeeeeeeeeeeee);
	ck_assert_int_eq(end_state(&x), IBV_QPS_ERR);
	close_ends();
	mem_free(&readable);
}
END_TEST

START_TEST(flushes)
{
	struct ibv_sge from = sge(&pair.at_a, 0, 100000);
	struct ibv_send_wr wr = work(1, IBV_WR_RDMA_WRITE, &from, 1, &target, 1000);

	open_ends(REMOTE_ACCESS | IBV_ACCESS_FLUSH_GLOBAL);
	prepare(1);
	done(&x, &wr);
	flush_range(&x, &target, 1000, 100000, IBV_WC_SUCCESS);
	flush_range(&x, &target, MEM - 1, 1, IBV_WC_SUCCESS);
	/* Of the whole region, whatever the range is. */
	flush_as(&x, &target, 7 * MEM, 5, IBV_FLUSH_GLOBAL, IBV_FLUSH_MR, IBV_WC_SUCCESS);
	ck_assert_mem_eq(target.p + 1000, pair.at_a.p, 100000);
	nothing_completes(&y);
	close_ends();
}
END_TEST

START_TEST(refused_flushes)
{
	const int with_flush = REMOTE_ACCESS | IBV_ACCESS_FLUSH_GLOBAL;
	struct mem without = mem_new(&pair.b, PAGE, ALL_ACCESS);
	const struct {
		int access;
		const struct mem *to;
		size_t offset;
		uint8_t type;
		uint8_t level;
		enum ibv_wc_status status;
	} cases[] = {
		{ with_flush, &without, 0, IBV_FLUSH_GLOBAL, IBV_FLUSH_RANGE,
		  IBV_WC_REM_ACCESS_ERR },
		{ with_flush, &without, 0, IBV_FLUSH_GLOBAL, IBV_FLUSH_MR, IBV_WC_REM_ACCESS_ERR },
		{ with_flush, &target, MEM - 99, IBV_FLUSH_GLOBAL, IBV_FLUSH_RANGE,
		  IBV_WC_REM_ACCESS_ERR },
		{ REMOTE_ACCESS, &target, 0, IBV_FLUSH_GLOBAL, IBV_FLUSH_RANGE,
		  IBV_WC_REM_INV_REQ_ERR },
		{ with_flush, &target, 0, IBV_FLUSH_GLOBAL | IBV_FLUSH_PERSISTENT, IBV_FLUSH_RANGE,
		  IBV_WC_REM_INV_REQ_ERR },
		{ with_flush | IBV_ACCESS_FLUSH_PERSISTENT, &target, 0,
		  IBV_FLUSH_GLOBAL | IBV_FLUSH_PERSISTENT, IBV_FLUSH_RANGE, IBV_WC_REM_ACCESS_ERR },
		/* rxe transmits these. */
		{ with_flush, &target, 0, 0, IBV_FLUSH_RANGE, IBV_WC_LOC_QP_OP_ERR },
		{ with_flush, &target, 0, 4, IBV_FLUSH_RANGE, IBV_WC_LOC_QP_OP_ERR },
		{ with_flush, &target, 0, IBV_FLUSH_GLOBAL, 2, IBV_WC_LOC_QP_OP_ERR },
	};

	if (cases[_i].status == IBV_WC_LOC_QP_OP_ERR && rdma_is_rxe())
		goto out;
	open_ends(cases[_i].access);
	flush_as(&x, cases[_i].to, cases[_i].offset, 100, cases[_i].type, cases[_i].level,
		 cases[_i].status);
	ck_assert_int_eq(end_state(&x), IBV_QPS_ERR);
	close_ends();
out:
	mem_free(&without);
}
END_TEST

LAB_SUITE_PART("rdma")
{
	TCase *t = rdma_case(s, "flush", 60, flush_up, flush_down);

	tcase_add_test(t, what_it_says);
	tcase_add_test(t, atomic_writes);
	tcase_add_test(t, atomic_writes_are_last);
	tcase_add_loop_test(t, refused_atomic_writes, 0, 4);
	tcase_add_test(t, flushes);
	tcase_add_loop_test(t, refused_flushes, 0, 9);
}
