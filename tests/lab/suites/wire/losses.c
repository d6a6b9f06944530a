// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Reads and atomic writes whose responses are lost, of rxe and of another peerbar device. */
#include "lab.h"
#include "wire-fixture.h"

#define READ_RESPONSE_FIRST  0x0d
#define READ_RESPONSE_MIDDLE 0x0e
#define READ_RESPONSE_ONLY   0x10

static struct ibv_send_wr read_of(uint64_t id, struct ibv_sge *s)
{
	lab_pattern(pair.at_b.p, MEM, 1);
	memset(pair.at_a.p, 0xee, MEM);
	return work(id, IBV_WR_RDMA_READ, s, 1, &pair.at_b, 0);
}

/* Read while responses are lost, as by wire_drop(). Return how many were. */
static unsigned long read_in_spite_of(size_t length, uint8_t opcode, unsigned int loss,
				      unsigned int most)
{
	unsigned long dropped = relay->dropped;
	struct ibv_send_wr wr;
	struct ibv_sge s;

	wire_pair(IBV_QPT_RC, false);
	wire_connect(IBV_MTU_1024, 14);
	s = sge(&pair.at_a, 0, length);
	wr = read_of(1, &s);
	wire_drop(opcode, loss, most);
	done(&pair.a, &wr);
	ck_assert_mem_eq(pair.at_a.p, pair.at_b.p, length);
	wire_close();
	return relay->dropped - dropped;
}

/* A long read that is requested again and again, by an ever smaller window. */
START_TEST(many_responses)
{
	ck_assert_uint_gt(read_in_spite_of(300000, READ_RESPONSE_MIDDLE, 200, 2000), 20);
}
END_TEST

/*
 * The responder has begun to execute a write that is longer than any window, when the read before
 * it is requested again.
 */
START_TEST(before_a_long_write)
{
	unsigned long dropped = relay->dropped;
	struct ibv_sge to, from;
	struct ibv_send_wr wr;

	wire_pair(IBV_QPT_RC, false);
	wire_connect(IBV_MTU_1024, 14);
	to = sge(&pair.at_a, 0, 4096);
	from = sge(&pair.at_a, 4096, 400000);
	wr = read_of(1, &to);
	lab_pattern(pair.at_a.p + 4096, 400000, 2);
	wire_drop(READ_RESPONSE_FIRST, 1000, 1);
	ck_assert_int_eq(post(&pair.a, &wr), 0);
	wr = work(2, IBV_WR_RDMA_WRITE, &from, 1, &pair.at_b, 4096);
	ck_assert_int_eq(post(&pair.a, &wr), 0);
	completes(&pair.a, 1, IBV_WC_SUCCESS);
	completes(&pair.a, 2, IBV_WC_SUCCESS);
	ck_assert_mem_eq(pair.at_a.p, pair.at_b.p, 4096 + 400000);
	ck_assert_uint_eq(relay->dropped, dropped + 1);
	wire_close();
}
END_TEST

/* rxe answers a read of no bytes again only if it is requested with no key. */
START_TEST(of_nothing)
{
	ck_assert_uint_eq(read_in_spite_of(0, READ_RESPONSE_ONLY, 1000, 2), 2);
}
END_TEST

/* An atomic write that is requested again is answered again, and not executed again. */
START_TEST(of_an_atomic_write)
{
	unsigned long dropped = relay->dropped;
	const uint64_t value = 0x0102030405060708;
	volatile uint64_t *word;
	struct ibv_qp_ex *ex;
	uint64_t until = now_ms() + 5000;

	wire_pair(IBV_QPT_RC, false);
	wire_connect(IBV_MTU_1024, 16);
	word = (volatile uint64_t *)(void *)(pair.at_b.p + 64);
	*word = 0;
	wire_drop(READ_RESPONSE_ONLY, 1000, 1);
	ex = call_begin(&pair.a, 1);
	ibv_wr_atomic_write(ex, pair.at_b.mr->rkey, pair.at_b.addr + 64, &value);
	ck_assert_int_eq(ibv_wr_complete(ex), 0);
	while (*word != value)
		ck_assert(now_ms() < until);
	/* The responder's program uses the word before the requester asks again. */
	*word = 9;
	ck_assert_int_eq(completes(&pair.a, 1, IBV_WC_SUCCESS).opcode, IBV_WC_ATOMIC_WRITE);
	ck_assert_uint_eq(*word, 9);
	ck_assert_uint_eq(relay->dropped, dropped + 1);
	wire_close();
}
END_TEST

LAB_SUITE_PART("wire")
{
	static const char *const names[] = { "losses", "losses of both" };
	TCase *t;
	int i;

	for (i = 0; i < 2; i++) {
		t = wire_case(s, names[i], 120, i);
		tcase_add_test(t, many_responses);
		tcase_add_test(t, before_a_long_write);
		tcase_add_test(t, of_nothing);
		tcase_add_test(t, of_an_atomic_write);
	}
}
