// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Congestion between two peerbar devices: a router marks packets, and the sender slows down. */
#include <unistd.h>

#include "lab.h"
#include "wire-fixture.h"

#define LONG 400000 /* bytes, 391 packets */

static void write_long(unsigned int times)
{
	struct ibv_sge s = sge(&pair.at_a, 0, LONG);
	struct ibv_send_wr wr;

	while (times--) {
		lab_pattern(pair.at_a.p, MEM, times);
		wr = work(times, IBV_WR_RDMA_WRITE, &s, 1, &pair.at_b, 0);
		done(&pair.a, &wr);
		ck_assert_mem_eq(pair.at_b.p, pair.at_a.p, LONG);
	}
}

/* Number of packets that are transmitted before the first is acknowledged. */
static unsigned long window(void)
{
	struct ibv_sge s = sge(&pair.at_a, 0, LONG);
	struct ibv_send_wr wr = work(100, IBV_WR_RDMA_WRITE, &s, 1, &pair.at_b, 0);
	unsigned long before, sent;

	relay->cut = true;
	before = relay->sent;
	ck_assert_int_eq(post(&pair.a, &wr), 0);
	usleep(100000);
	sent = relay->sent - before;
	relay->cut = false;
	completes(&pair.a, 100, IBV_WC_SUCCESS);
	return sent;
}

START_TEST(marked_writes)
{
	unsigned long marked = wire_peer_counter("np_ecn_marked_roce_packets");
	unsigned long sent = wire_peer_counter("np_cnp_sent");
	unsigned long handled = wire_counter("rp_cnp_handled");

	wire_pair(IBV_QPT_RC, false);
	wire_use_ecn();
	if (_i)
		wire_use_ipv6();
	/* Longer than the cuts. */
	wire_connect(IBV_MTU_1024, 17);
	ck_assert_uint_eq(window(), 128);
	write_long(10);
	ck_assert_uint_eq(wire_counter("rp_cnp_handled"), handled);

	relay->marked = 1000;
	write_long(3);
	relay->marked = 0;
	ck_assert_uint_lt(window(), 32);
	marked = wire_peer_counter("np_ecn_marked_roce_packets") - marked;
	sent = wire_peer_counter("np_cnp_sent") - sent;
	handled = wire_counter("rp_cnp_handled") - handled;
	ck_assert_uint_ge(marked, 3 * 391);
	ck_assert_uint_gt(handled, 3);
	ck_assert_uint_ge(sent, handled);
	ck_assert_uint_ge(marked, sent);

	write_long(10);
	ck_assert_uint_gt(window(), 64);
	wire_close();
}
END_TEST

START_TEST(marked_responses)
{
	unsigned long sent = wire_counter("np_cnp_sent");
	struct ibv_send_wr wr;
	struct ibv_sge s;

	wire_pair(IBV_QPT_RC, false);
	wire_use_ecn();
	wire_connect(IBV_MTU_1024, 17);
	relay->marked = 1000;
	lab_pattern(pair.at_b.p, MEM, 1);
	s = sge(&pair.at_a, 0, LONG);
	wr = work(1, IBV_WR_RDMA_READ, &s, 1, &pair.at_b, 0);
	done(&pair.a, &wr);
	ck_assert_mem_eq(pair.at_a.p, pair.at_b.p, LONG);
	relay->marked = 0;
	ck_assert_uint_gt(wire_counter("np_cnp_sent"), sent);
	ck_assert_uint_lt(window(), 32);
	wire_close();
}
END_TEST

/* No router marks if the traffic class does not permit it. */
START_TEST(not_permitted)
{
	unsigned long marked = wire_peer_counter("np_ecn_marked_roce_packets");

	wire_pair(IBV_QPT_RC, false);
	wire_connect(IBV_MTU_1024, 17);
	relay->marked = 1000;
	write_long(1);
	relay->marked = 0;
	ck_assert_uint_eq(wire_peer_counter("np_ecn_marked_roce_packets"), marked);
	ck_assert_uint_eq(window(), 128);
	wire_close();
}
END_TEST

LAB_SUITE_PART("wire")
{
	TCase *t = wire_case(s, "congestion", 120, true);

	tcase_add_loop_test(t, marked_writes, 0, 2);
	tcase_add_test(t, marked_responses);
	tcase_add_test(t, not_permitted);
}
