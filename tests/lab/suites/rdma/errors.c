// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Requests that fail: their status, the state of both ends, and the losses of UC. */
#include <arpa/inet.h>
#include <pthread.h>
#include <unistd.h>

#include "rdma-fixture.h"

enum wrong {
	LOCAL_KEY,
	LOCAL_LENGTH,
	LOCAL_BEFORE,
	LOCAL_DOMAIN,
	LOCAL_GONE, /* the last mistake of the local side */
	REMOTE_KEY,
	REMOTE_LENGTH,
	REMOTE_BEFORE,
	REMOTE_WRAPS,
	REMOTE_DOMAIN,
	REMOTE_GONE,
	NR_WRONG
};

static const char *const wrong_names[NR_WRONG] = { "a wrong lkey",
						   "more than its region",
						   "memory before its region",
						   "a region of another protection domain",
						   "a region that was deregistered",
						   "a wrong rkey",
						   "more than the remote region",
						   "memory before the remote region",
						   "an address that wraps around",
						   "a remote region of another protection domain",
						   "a remote region that was deregistered" };

/* Make one request with one mistake. Check the requester's status and the state of both ends. */
static void mistake(enum ibv_wr_opcode opcode, enum wrong wrong)
{
	bool local = wrong < REMOTE_KEY;
	struct ibv_pd *pd = ibv_alloc_pd(local ? pair.a.ctx : pair.b.ctx);
	struct ibv_sge s = sge(&pair.at_a, 64, 8), to = sge(&pair.at_b, 0, 64);
	struct ibv_send_wr wr = work(7, opcode, &s, 1, &pair.at_b, 64);
	uint64_t *addr = opcode == IBV_WR_ATOMIC_FETCH_AND_ADD ? &wr.wr.atomic.remote_addr :
								 &wr.wr.rdma.remote_addr;
	uint32_t *rkey = opcode == IBV_WR_ATOMIC_FETCH_AND_ADD ? &wr.wr.atomic.rkey :
								 &wr.wr.rdma.rkey;
	struct ibv_mr *other = NULL;
	struct ibv_wc wc;

	switch (wrong) {
	case LOCAL_KEY:
		s.lkey ^= 0x77;
		break;
	case LOCAL_LENGTH:
		s.addr = pair.at_a.addr + MEM - 4;
		break;
	case LOCAL_BEFORE:
		s.addr = pair.at_a.addr - 4;
		break;
	case LOCAL_DOMAIN:
		other = ibv_reg_mr(pd, pair.at_a.p, MEM, ALL_ACCESS);
		s.lkey = other->lkey;
		break;
	case LOCAL_GONE:
		other = ibv_reg_mr(pair.a.pd, pair.at_a.p, MEM, ALL_ACCESS);
		s.lkey = other->lkey;
		ck_assert_int_eq(ibv_dereg_mr(other), 0);
		other = NULL;
		break;
	case REMOTE_KEY:
		*rkey ^= 0x77;
		break;
	case REMOTE_LENGTH:
		*addr = opcode == IBV_WR_ATOMIC_FETCH_AND_ADD ? pair.at_b.addr + MEM :
								pair.at_b.addr + MEM - 4;
		break;
	case REMOTE_BEFORE:
		*addr = pair.at_b.addr - 8;
		break;
	case REMOTE_WRAPS:
		*addr = UINT64_MAX - 7;
		break;
	case REMOTE_DOMAIN:
		other = ibv_reg_mr(pd, pair.at_b.p, MEM, ALL_ACCESS);
		*rkey = other->rkey;
		break;
	case REMOTE_GONE:
		other = ibv_reg_mr(pair.b.pd, pair.at_b.p, MEM, ALL_ACCESS);
		*rkey = other->rkey;
		ck_assert_int_eq(ibv_dereg_mr(other), 0);
		other = NULL;
		break;
	default:
		break;
	}
	prepare(wrong + 1);
	if (opcode == IBV_WR_SEND || opcode == IBV_WR_RDMA_WRITE_WITH_IMM)
		ck_assert_int_eq(post_receive(&pair.b, 8, &to, 1), 0);
	ck_assert_int_eq(post(&pair.a, &wr), 0);
	wc = completion(&pair.a);
	/* rxe completes local errors with a flush error. */
	if (local && rdma_is_rxe() && wc.status == IBV_WC_WR_FLUSH_ERR)
		wc.status = IBV_WC_LOC_PROT_ERR;
	ck_assert_msg(wc.wr_id == 7 &&
			      wc.status == (local ? IBV_WC_LOC_PROT_ERR : IBV_WC_REM_ACCESS_ERR),
		      "opcode %d with %s: '%s'", opcode, wrong_names[wrong],
		      ibv_wc_status_str(wc.status));
	ck_assert_uint_eq(pair.at_b.p[64], 0xee);
	ck_assert_uint_eq(pair.at_b.p[0], 0xee);
	is_flushed(&pair.a);
	if (!local) {
		if (opcode == IBV_WR_RDMA_WRITE_WITH_IMM)
			ck_assert_int_ne(completion(&pair.b).status, IBV_WC_SUCCESS);
		responder_event(IBV_EVENT_QP_ACCESS_ERR);
		is_flushed(&pair.b);
	}
	if (other)
		ck_assert_int_eq(ibv_dereg_mr(other), 0);
	ck_assert_int_eq(ibv_dealloc_pd(pd), 0);
}

static const enum ibv_wr_opcode each_opcode[] = { IBV_WR_SEND, IBV_WR_RDMA_WRITE, IBV_WR_RDMA_READ,
						  IBV_WR_ATOMIC_FETCH_AND_ADD,
						  IBV_WR_RDMA_WRITE_WITH_IMM };

START_TEST(mistakes)
{
	enum ibv_wr_opcode opcode = each_opcode[_i];
	unsigned int wrong;

	for (wrong = 0; wrong < NR_WRONG; wrong++) {
		if (opcode == IBV_WR_SEND && wrong >= REMOTE_KEY)
			break;
		mistake(opcode, wrong);
		replace_qps(&pair.a, &pair.b);
	}
}
END_TEST

START_TEST(misaligned_atomics)
{
	static const enum ibv_wr_opcode opcodes[] = { IBV_WR_ATOMIC_CMP_AND_SWP,
						      IBV_WR_ATOMIC_FETCH_AND_ADD };
	struct ibv_sge s = sge(&pair.at_a, 0, 8);
	unsigned int i;

	for (i = 0; i < 2; i++) {
		struct ibv_send_wr wr = work(i, opcodes[i], &s, 1, &pair.at_b, 16 + 4);

		prepare(1);
		/* rxe's provider does not post it. */
		if (rdma_is_rxe()) {
			ck_assert_int_eq(post(&pair.a, &wr), EINVAL);
			continue;
		}
		fails(&pair.a, &wr, IBV_WC_REM_INV_REQ_ERR);
		ck_assert_uint_eq(pair.at_b.p[20], 0xee);
		responder_event(IBV_EVENT_QP_REQ_ERR);
		is_flushed(&pair.a);
		is_flushed(&pair.b);
		replace_qps(&pair.a, &pair.b);
	}
}
END_TEST

/*
 * The sender completes with an invalid request error, the receiver with a length error. rxe:
 * operation errors on both sides.
 */
START_TEST(receive_too_small)
{
	struct ibv_sge from = sge(&pair.at_a, 0, 5000),
		       to[2] = { sge(&pair.at_b, 0, 1000), sge(&pair.at_b, 9000, 3999) };
	struct ibv_send_wr wr = work(1, IBV_WR_SEND, &from, 1, NULL, 0);

	prepare(1);
	ck_assert_int_eq(post_receive(&pair.b, 2, to, 2), 0);
	ck_assert_int_eq(post_receive(&pair.b, 3, to, 2), 0);
	fails(&pair.a, &wr, rdma_is_rxe() ? IBV_WC_REM_OP_ERR : IBV_WC_REM_INV_REQ_ERR);
	completes(&pair.b, 2, rdma_is_rxe() ? IBV_WC_LOC_QP_OP_ERR : IBV_WC_LOC_LEN_ERR);
	completes(&pair.b, 3, IBV_WC_WR_FLUSH_ERR);
	ck_assert_uint_eq(pair.at_b.p[9000 + 3999], 0xee);
	is_flushed(&pair.a);
	is_flushed(&pair.b);
}
END_TEST

/*
 * The receive's memory is invalid: a protection error at the receiver, an operation error at the
 * sender.
 */
START_TEST(receive_into_nothing)
{
	struct ibv_sge from = sge(&pair.at_a, 0, 500), to = sge(&pair.at_b, 0, 1000);
	struct ibv_send_wr wr = work(1, IBV_WR_SEND, &from, 1, NULL, 0);
	struct mem fixed = mem_new(&pair.b, PAGE, IBV_ACCESS_REMOTE_READ);
	int i;

	for (i = 0; i < 3; i++) {
		switch (i) {
		case 0:
			to.lkey ^= 0x33;
			break;
		case 1:
			to = sge(&pair.at_b, MEM - 100, 1000);
			break;
		case 2:
			to = sge(&fixed, 0, 1000);
			break;
		}
		prepare(1);
		ck_assert_int_eq(post_receive(&pair.b, 2, &to, 1), 0);
		fails(&pair.a, &wr, IBV_WC_REM_OP_ERR);
		/* rxe: operation errors on both sides. */
		completes(&pair.b, 2, rdma_is_rxe() ? IBV_WC_LOC_QP_OP_ERR : IBV_WC_LOC_PROT_ERR);
		is_flushed(&pair.a);
		is_flushed(&pair.b);
		replace_qps(&pair.a, &pair.b);
	}
	mem_free(&fixed);
}
END_TEST

START_TEST(no_receive)
{
	struct ibv_sge from = sge(&pair.at_a, 0, 100);
	struct ibv_send_wr wr = work(1, IBV_WR_SEND, &from, 1, NULL, 0);

	end_to(&pair.a, IBV_QPS_RESET);
	end_to(&pair.b, IBV_QPS_RESET);
	pair.a.rnr_retries = 2;
	ends_connect(&pair.a, &pair.b);
	ck_assert_int_eq(post(&pair.a, &wr), 0);
	wr.wr_id = 2;
	ck_assert_int_eq(post(&pair.a, &wr), 0);
	completes(&pair.a, 1, IBV_WC_RNR_RETRY_EXC_ERR);
	completes(&pair.a, 2, IBV_WC_WR_FLUSH_ERR);
	is_flushed(&pair.a);
	/* The receiver has made no mistake. */
	ck_assert_int_eq(end_state(&pair.b), IBV_QPS_RTS);
}
END_TEST

static void *receives_later(void *arg)
{
	struct ibv_sge *to = arg;

	usleep(300000);
	if (post_receive(&pair.b, 9, to, 1))
		return arg;
	return NULL;
}

/* With unlimited retries the sender waits until there is a receive. */
START_TEST(receive_later)
{
	struct ibv_sge from = sge(&pair.at_a, 1, 10000), to = sge(&pair.at_b, 2, 10000);
	struct ibv_send_wr wr = work(1, IBV_WR_SEND, &from, 1, NULL, 0);
	uint64_t begin = now_ms();
	pthread_t thread;
	void *failed;

	prepare(1);
	/* Must return before the receive exists: posting does not block. */
	ck_assert_int_eq(post(&pair.a, &wr), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, receives_later, &to), 0);
	completes(&pair.a, 1, IBV_WC_SUCCESS);
	ck_assert_uint_ge(now_ms() - begin, 250);
	completes(&pair.b, 9, IBV_WC_SUCCESS);
	arrived(2, 1, 10000);
	pthread_join(thread, &failed);
	ck_assert_ptr_null(failed);
}
END_TEST

/* Requests queued behind a retried one stay in order. */
START_TEST(order_kept_by_retries)
{
	unsigned int i;

	prepare(1);
	for (i = 0; i < 20; i++) {
		struct ibv_sge from = sge(&pair.at_a, i * 64, 64);
		struct ibv_send_wr wr = work(i, i % 2 ? IBV_WR_RDMA_WRITE : IBV_WR_SEND, &from, 1,
					     i % 2 ? &pair.at_b : NULL, 50000 + i * 64);

		ck_assert_int_eq(post(&pair.a, &wr), 0);
	}
	ck_assert_uint_eq(pair.at_b.p[50000 + 64], 0xee);
	for (i = 0; i < 10; i++) {
		struct ibv_sge to = sge(&pair.at_b, i * 64, 64);

		ck_assert_int_eq(post_receive(&pair.b, i, &to, 1), 0);
	}
	for (i = 0; i < 20; i++)
		completes(&pair.a, i, IBV_WC_SUCCESS);
	for (i = 0; i < 10; i++) {
		completes(&pair.b, i, IBV_WC_SUCCESS);
		ck_assert_mem_eq(pair.at_b.p + i * 64, pair.at_a.p + i * 128, 64);
		ck_assert_mem_eq(pair.at_b.p + 50000 + (2 * i + 1) * 64,
				 pair.at_a.p + (2 * i + 1) * 64, 64);
	}
}
END_TEST

/* Replace a queue pair that is in error, on the same context. */
static void replace_qp(struct end *end)
{
	struct end_options none = { 0 };
	struct end next;

	end_open_beside(&next, end, &none);
	ck_assert_int_eq(ibv_destroy_qp(end->qp), 0);
	next.borrowed = end->borrowed;
	*end = next;
}

/* No response: the peer is destroyed, in RESET, or in error. */
START_TEST(no_answer)
{
	struct ibv_send_wr wr = work(1, IBV_WR_RDMA_WRITE, NULL, 0, NULL, 0);
	struct address me, peer;
	struct end gone;
	int i;

	for (i = 0; i < 3; i++) {
		end_open_beside(&gone, &pair.b, NULL);
		replace_qp(&pair.a);
		pair.a.timeout = 10; /* 4 ms */
		pair.a.retries = 2;
		me = end_address(&pair.a);
		peer = end_address(&gone);
		end_connect(&pair.a, &peer);
		if (i == 0)
			end_close(&gone);
		else
			end_connect(&gone, &me);
		if (i == 1)
			ck_assert_int_eq(end_to(&gone, IBV_QPS_RESET), 0);
		if (i == 2)
			ck_assert_int_eq(end_to(&gone, IBV_QPS_ERR), 0);
		fails(&pair.a, &wr, IBV_WC_RETRY_EXC_ERR);
		is_flushed(&pair.a);
		if (i)
			end_close(&gone);
	}
}
END_TEST

/* A queue pair responds only to its peer. */
START_TEST(not_my_peer)
{
	struct ibv_sge from = sge(&pair.at_a, 0, 100);
	struct ibv_send_wr wr = work(1, IBV_WR_RDMA_WRITE, &from, 1, &pair.at_b, 0);
	struct address to_b = end_address(&pair.b);
	struct end stranger;

	prepare(1);
	end_open_beside(&stranger, &pair.a, NULL);
	stranger.timeout = 10;
	stranger.retries = 2;
	to_b.psn += 1000;
	end_connect(&stranger, &to_b);
	ck_assert_int_eq(post(&stranger, &wr), 0);
	ck_assert_int_eq(completion(&stranger).status, IBV_WC_RETRY_EXC_ERR);
	ck_assert_uint_eq(pair.at_b.p[0], 0xee);
	end_close(&stranger);
	done(&pair.a, &wr);
	arrived(0, 0, 100);
}
END_TEST

START_TEST(flushed)
{
	struct ibv_sge to = sge(&pair.at_b, 0, 100);
	struct ibv_send_wr wr = work(30, IBV_WR_SEND, NULL, 0, NULL, 0);
	unsigned int i;

	for (i = 0; i < 20; i++)
		ck_assert_int_eq(post_receive(&pair.b, i, &to, 1), 0);
	ck_assert_int_eq(end_to(&pair.b, IBV_QPS_ERR), 0);
	for (i = 0; i < 20; i++)
		completes(&pair.b, i, IBV_WC_WR_FLUSH_ERR);
	is_flushed(&pair.b);
	/* RESET discards all work. */
	ck_assert_int_eq(post_receive(&pair.a, 1, NULL, 0), 0);
	ck_assert_int_eq(end_to(&pair.a, IBV_QPS_RESET), 0);
	ck_assert_int_eq(end_to(&pair.b, IBV_QPS_RESET), 0);
	ends_connect(&pair.a, &pair.b);
	nothing_completes(&pair.a);
	ck_assert_int_eq(post_receive(&pair.b, 31, &to, 1), 0);
	done(&pair.a, &wr);
	completes(&pair.b, 31, IBV_WC_SUCCESS);
}
END_TEST

/*
 * ---- losses of UC: the sender succeeds; no completion and no change of memory at the receiver
 * ----
 */

static void uc_loses(struct ibv_send_wr *wr, const char *why)
{
	struct ibv_wc wc;

	done(&pair.a, wr);
	usleep(20000);
	ck_assert_msg(!ibv_poll_cq(pair.b.cq, 1, &wc), "%s: the receiver is told '%s'", why,
		      ibv_wc_status_str(wc.status));
	ck_assert_msg(pair.at_b.p[64] == 0xee && pair.at_b.p[0] == 0xee, "%s: something arrived",
		      why);
	ck_assert_msg(end_state(&pair.a) == IBV_QPS_RTS && end_state(&pair.b) == IBV_QPS_RTS,
		      "%s: a queue pair is in error", why);
}

START_TEST(uc_lost)
{
	struct ibv_mr *gone = ibv_reg_mr(pair.b.pd, pair.at_b.p, MEM, ALL_ACCESS),
		      *read_only = ibv_reg_mr(pair.b.pd, pair.at_b.p, MEM, 0);
	struct ibv_sge from = sge(&pair.at_a, 0, 8), to = sge(&pair.at_b, 0, 4);
	static const enum ibv_wr_opcode opcodes[] = { IBV_WR_RDMA_WRITE,
						      IBV_WR_RDMA_WRITE_WITH_IMM };
	struct address to_a = end_address(&pair.a);
	uint32_t dead = gone->rkey;
	struct ibv_send_wr wr;
	unsigned int i;

	ck_assert_int_eq(ibv_dereg_mr(gone), 0);
	prepare(1);
	for (i = 0; i < 2; i++) {
		/* Without a receive, and with one, which must not be consumed. */
		if (i)
			ck_assert_int_eq(post_receive(&pair.b, 8, &to, 1), 0);
		wr = work(i, opcodes[i], &from, 1, &pair.at_b, 64);
		wr.wr.rdma.rkey ^= 0x77;
		uc_loses(&wr, "a wrong rkey");
		wr.wr.rdma.rkey = dead;
		uc_loses(&wr, "a region that was deregistered");
		wr.wr.rdma.rkey = read_only->rkey;
		uc_loses(&wr, "a region that cannot be written");
		wr = work(i, opcodes[i], &from, 1, &pair.at_b, MEM - 4);
		uc_loses(&wr, "more than the region");
	}
	/* rxe also loses parts of a message that is too long. */
	wr = work(2, IBV_WR_SEND, &from, 1, NULL, 0);
	if (!rdma_is_rxe())
		uc_loses(&wr, "more than the receive");
	/* The receive is still posted, for a valid request. */
	wr = work(3, IBV_WR_RDMA_WRITE_WITH_IMM, &from, 1, &pair.at_b, 64);
	wr.imm_data = htonl(5);
	done(&pair.a, &wr);
	ck_assert_uint_eq(completes(&pair.b, 8, IBV_WC_SUCCESS).imm_data, htonl(5));
	ck_assert_mem_eq(pair.at_b.p + 64, pair.at_a.p, 8);
	/* Without a receive. */
	prepare(2);
	wr = work(4, IBV_WR_SEND, &from, 1, NULL, 0);
	uc_loses(&wr, "no receive");
	wr = work(5, IBV_WR_RDMA_WRITE_WITH_IMM, &from, 1, &pair.at_b, 64);
	if (!rdma_is_rxe())
		uc_loses(&wr, "no receive");
	/* The peer is in RESET, or forbids access. */
	ck_assert_int_eq(post_receive(&pair.b, 9, &to, 1), 0);
	ck_assert_int_eq(end_to(&pair.b, IBV_QPS_RESET), 0);
	prepare(3);
	wr = work(6, IBV_WR_RDMA_WRITE_WITH_IMM, &from, 1, &pair.at_b, 64);
	done(&pair.a, &wr);
	pair.b.access = 0;
	end_connect(&pair.b, &to_a);
	ck_assert_int_eq(post_receive(&pair.b, 10, &to, 1), 0);
	uc_loses(&wr, "a queue pair that forbids it");
	ck_assert_int_eq(ibv_dereg_mr(read_only), 0);
}
END_TEST

/* Mistakes of the sender fail there. The receiver has no completion. */
START_TEST(uc_mistakes)
{
	static const enum ibv_wr_opcode opcodes[] = { IBV_WR_SEND, IBV_WR_RDMA_WRITE,
						      IBV_WR_RDMA_WRITE_WITH_IMM };
	struct ibv_sge from, to = sge(&pair.at_b, 0, 64);
	struct ibv_send_wr wr;
	unsigned int i;

	if (rdma_is_rxe())
		return;
	for (i = 0; i < 3; i++) {
		from = sge(&pair.at_a, 0, 8);
		from.lkey ^= 0x77;
		prepare(i);
		ck_assert_int_eq(post_receive(&pair.b, 8, &to, 1), 0);
		wr = work(i, opcodes[i], &from, 1, &pair.at_b, 64);
		fails(&pair.a, &wr, IBV_WC_LOC_PROT_ERR);
		nothing_completes(&pair.b);
		ck_assert_uint_eq(pair.at_b.p[64], 0xee);
		is_flushed(&pair.a);
		replace_qps(&pair.a, &pair.b);
	}
	/* A mistake of the receiver puts only the receiver into the error state. */
	from = sge(&pair.at_a, 0, 8);
	to.lkey ^= 0x33;
	ck_assert_int_eq(post_receive(&pair.b, 9, &to, 1), 0);
	wr = work(9, IBV_WR_SEND, &from, 1, NULL, 0);
	done(&pair.a, &wr);
	completes(&pair.b, 9, IBV_WC_LOC_PROT_ERR);
	is_flushed(&pair.b);
	ck_assert_int_eq(end_state(&pair.a), IBV_QPS_RTS);
	/* UC has no reads and no atomics. */
	wr = work(10, IBV_WR_RDMA_READ, &from, 1, &pair.at_b, 64);
	ck_assert_int_ne(post(&pair.a, &wr), 0);
	wr = work(11, IBV_WR_ATOMIC_FETCH_AND_ADD, &from, 1, &pair.at_b, 64);
	ck_assert_int_ne(post(&pair.a, &wr), 0);
}
END_TEST

/* ---- test cases ---- */

LAB_SUITE_PART("rdma")
{
	TCase *t = rdma_case(s, "errors", 120, rc_up, pair_down);

	tcase_add_loop_test(t, mistakes, 0, 5);
	tcase_add_test(t, misaligned_atomics);
	tcase_add_test(t, receive_too_small);
	tcase_add_test(t, receive_into_nothing);
	tcase_add_test(t, no_receive);
	tcase_add_test(t, receive_later);
	tcase_add_test(t, order_kept_by_retries);
	tcase_add_test(t, no_answer);
	tcase_add_test(t, not_my_peer);
	tcase_add_test(t, flushed);
	t = rdma_case(s, "uc", 120, uc_up, pair_down);
	tcase_add_test(t, flushed);
	tcase_add_test(t, uc_lost);
	tcase_add_test(t, uc_mistakes);
}
