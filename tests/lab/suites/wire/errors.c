// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Errors over the wire: receives that are missing, keys, a link that is cut, the UDP port. */
#include <stdlib.h>
#include <unistd.h>

#include "lab.h"
#include "wire-fixture.h"

static void rc_pair(bool reverse, uint8_t timeout)
{
	wire_pair(IBV_QPT_RC, reverse);
	/* rxe takes 7 for infinitely many. */
	pair.a.retries = 6;
	wire_connect(IBV_MTU_1024, timeout);
	lab_pattern(pair.at_a.p, MEM, 1);
	memset(pair.at_b.p, 0xee, MEM);
}

/* The requester waits for a receive, and then the message arrives once. */
START_TEST(receive_comes_late)
{
	unsigned long sent = wire_counter("send_rnr_err"), got = wire_counter("rcvd_rnr_err");
	struct ibv_sge from, to;
	struct ibv_send_wr wr;

	rc_pair(_i, 14);
	from = sge(&pair.at_a, 0, 5000);
	to = sge(&pair.at_b, 100, 5000);
	wr = work(1, IBV_WR_SEND, &from, 1, NULL, 0);
	ck_assert_int_eq(post(&pair.a, &wr), 0);
	wr = work(2, IBV_WR_RDMA_WRITE, &from, 1, &pair.at_b, 200000);
	ck_assert_int_eq(post(&pair.a, &wr), 0);
	usleep(200000);
	nothing_completes(&pair.a);
	ck_assert_uint_eq(pair.at_b.p[200000], 0xee);
	ck_assert_int_eq(post_receive(&pair.b, 3, &to, 1), 0);
	completes(&pair.a, 1, IBV_WC_SUCCESS);
	completes(&pair.b, 3, IBV_WC_SUCCESS);
	completes(&pair.a, 2, IBV_WC_SUCCESS);
	ck_assert_mem_eq(pair.at_b.p + 100, pair.at_a.p, 5000);
	if (_i)
		ck_assert_uint_gt(wire_counter("send_rnr_err"), sent);
	else
		ck_assert_uint_gt(wire_counter("rcvd_rnr_err"), got);
	wire_close();
}
END_TEST

START_TEST(receive_never_comes)
{
	struct ibv_send_wr wr = work(1, IBV_WR_SEND, NULL, 0, NULL, 0);

	wire_pair(IBV_QPT_RC, _i);
	pair.a.rnr_retries = 2;
	wire_connect(IBV_MTU_1024, 14);
	ck_assert_int_eq(post(&pair.a, &wr), 0);
	wr.wr_id = 2;
	ck_assert_int_eq(post(&pair.a, &wr), 0);
	completes(&pair.a, 1, IBV_WC_RNR_RETRY_EXC_ERR);
	completes(&pair.a, 2, IBV_WC_WR_FLUSH_ERR);
	wire_close();
}
END_TEST

static const struct {
	const char *what;
	enum ibv_wr_opcode opcode;
	size_t offset;
	int key; /* added to the rkey */
	enum ibv_wc_status status;
} refusals[] = {
	{ "a write with a wrong key", IBV_WR_RDMA_WRITE, 0, 1, IBV_WC_REM_ACCESS_ERR },
	{ "a write beyond the end", IBV_WR_RDMA_WRITE, MEM - 100, 0, IBV_WC_REM_ACCESS_ERR },
	{ "a read with a wrong key", IBV_WR_RDMA_READ, 0, 1, IBV_WC_REM_ACCESS_ERR },
	{ "a read beyond the end", IBV_WR_RDMA_READ, MEM - 100, 0, IBV_WC_REM_ACCESS_ERR },
	{ "a send that is too long", IBV_WR_SEND, 0, 0, IBV_WC_REM_INV_REQ_ERR },
};

START_TEST(refused)
{
	unsigned int i = (unsigned int)_i / 2;
	struct ibv_sge local, to;
	struct ibv_send_wr wr;
	struct ibv_wc wc;

	rc_pair(_i & 1, 14);
	local = sge(&pair.at_a, 0, 5000);
	to = sge(&pair.at_b, 0, 4000);
	ck_assert_int_eq(post_receive(&pair.b, 9, &to, 1), 0);
	wr = work(1, refusals[i].opcode, &local, 1, &pair.at_b, refusals[i].offset);
	wr.wr.rdma.rkey += (uint32_t)refusals[i].key;
	ck_assert_int_eq(post(&pair.a, &wr), 0);
	wr.wr_id = 2;
	ck_assert_int_eq(post(&pair.a, &wr), 0);
	wc = completion(&pair.a);
	ck_assert_uint_eq(wc.wr_id, 1);
	/* rxe refuses a long send as an error of its own operation. */
	if (refusals[i].opcode == IBV_WR_SEND && !(_i & 1) && wc.status == IBV_WC_REM_OP_ERR)
		wc.status = refusals[i].status;
	ck_assert_msg(wc.status == refusals[i].status, "%s: %s", refusals[i].what,
		      ibv_wc_status_str(wc.status));
	completes(&pair.a, 2, IBV_WC_WR_FLUSH_ERR);
	if (refusals[i].opcode != IBV_WR_SEND)
		ck_assert_msg(pair.at_b.p[MEM - 1] == 0xee && pair.at_b.p[0] == 0xee,
			      "%s changed memory", refusals[i].what);
	end_state_is(&pair.a, IBV_QPS_ERR);
	wire_close();
}
END_TEST

/* An invalid key of the requester's own: nothing of it is transmitted, what was before arrives. */
START_TEST(local_key)
{
	struct ibv_sge good, bad;
	struct ibv_send_wr wr;

	rc_pair(false, 14);
	good = sge(&pair.at_a, 0, 50000);
	bad = good;
	bad.lkey++;
	wr = work(1, IBV_WR_RDMA_WRITE, &good, 1, &pair.at_b, 0);
	ck_assert_int_eq(post(&pair.a, &wr), 0);
	wr = work(2, IBV_WR_RDMA_WRITE, &bad, 1, &pair.at_b, 100000);
	ck_assert_int_eq(post(&pair.a, &wr), 0);
	completes(&pair.a, 1, IBV_WC_SUCCESS);
	completes(&pair.a, 2, IBV_WC_LOC_PROT_ERR);
	ck_assert_mem_eq(pair.at_b.p, pair.at_a.p, 50000);
	ck_assert_uint_eq(pair.at_b.p[100000], 0xee);
	wire_close();
}
END_TEST

/* A link that is cut for a moment delays a message; one that stays cut fails it. */
START_TEST(cut)
{
	unsigned long before = wire_counter("retry_exceeded_err");
	struct ibv_sge from;
	struct ibv_send_wr wr;

	rc_pair(_i, 14);
	relay->cut = true;
	from = sge(&pair.at_a, 0, 100000);
	wr = work(1, IBV_WR_RDMA_WRITE, &from, 1, &pair.at_b, 0);
	ck_assert_int_eq(post(&pair.a, &wr), 0);
	usleep(100000);
	relay->cut = false;
	completes(&pair.a, 1, IBV_WC_SUCCESS);
	ck_assert_mem_eq(pair.at_b.p, pair.at_a.p, 100000);
	relay->cut = true;
	wr.wr_id = 2;
	ck_assert_int_eq(post(&pair.a, &wr), 0);
	completes(&pair.a, 2, IBV_WC_RETRY_EXC_ERR);
	relay->cut = false;
	if (!_i)
		ck_assert_uint_eq(wire_counter("retry_exceeded_err"), before + 1);
	wire_close();
}
END_TEST

/* Queue pairs that are destroyed, reset or moved to the error state while packets come. */
START_TEST(ends_under_traffic)
{
	struct ibv_send_wr wr;
	struct ibv_sge from;
	int i, n;

	for (i = 0; i < 12; i++) {
		rc_pair(i & 1, 14);
		from = sge(&pair.at_a, 0, 200000);
		for (n = 0; n < 10; n++) {
			wr = work((uint64_t)n, n & 1 ? IBV_WR_RDMA_READ : IBV_WR_RDMA_WRITE, &from,
				  1, &pair.at_b, 0);
			ck_assert_int_eq(post(&pair.a, &wr), 0);
		}
		usleep((useconds_t)i * 1000);
		if (i % 3 == 1)
			ck_assert_int_eq(end_to(&pair.b, IBV_QPS_ERR), 0);
		else if (i % 3 == 2)
			ck_assert_int_eq(end_to(&pair.a, IBV_QPS_RESET), 0);
		wire_close();
	}
}
END_TEST

/* rxe and peerbar cannot share the port in one network namespace: the second one refuses. */
START_TEST(beside_rxe)
{
	int log;

	ck_assert_int_ne(system("ip link add dummy9 type veth peer name dummy8 && ip link set dummy9 up && "
				"rdma link add rxe9 type rxe netdev dummy9 2>/dev/null"),
			 0);
	log = log_open();
	ck_assert_int_eq(system("ip link set dummy8 netns peer && ip -n peer link set dummy8 up && "
				"ip netns exec peer rdma link add pb8 type peerbar netdev dummy8"),
			 0);
	ck_assert(log_has(log, "there is no transport to other hosts"));
	ck_assert_int_eq(system("rdma link delete pb8; ip link delete dummy9"), 0);
}
END_TEST

LAB_SUITE_PART("wire")
{
	TCase *t = wire_case(s, "errors", 120, false);

	tcase_add_loop_test(t, receive_comes_late, 0, 2);
	tcase_add_loop_test(t, receive_never_comes, 0, 2);
	tcase_add_loop_test(t, refused, 0, 10);
	tcase_add_test(t, local_key);
	tcase_add_loop_test(t, cut, 0, 2);
	tcase_add_test(t, ends_under_traffic);
	tcase_add_test(t, beside_rxe);
}
