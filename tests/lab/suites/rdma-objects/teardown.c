// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Queue pairs end: when, how fast, and what becomes of their completions. */
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "objects-fixture.h"

static int compare(const void *x, const void *y)
{
	const uint64_t *p = x, *q = y;

	return *p < *q ? -1 : *p > *q;
}

#define ROUNDS	60
#define WINDOWS 8

struct teardown {
	uint64_t error[ROUNDS], destroy[ROUNDS], window[ROUNDS];
};

/*
 * Measure how long it takes to free a window, the mean of several, to put a connected queue pair
 * into the error state, and to destroy it.
 */
static void tear_down(const char *device, struct teardown *t, unsigned int round)
{
	struct end_options options = { .device = device };
	struct ibv_mw *windows[WINDOWS];
	struct address address;
	unsigned int i;
	struct end x;
	uint64_t t0;

	end_open(&x, &options);
	address = end_address(&x);
	end_connect(&x, &address);
	for (i = 0; i < WINDOWS; i++) {
		windows[i] = ibv_alloc_mw(x.pd, IBV_MW_TYPE_1);
		ck_assert_ptr_nonnull(windows[i]);
	}
	t0 = now_ns();
	for (i = 0; i < WINDOWS; i++)
		ck_assert_int_eq(ibv_dealloc_mw(windows[i]), 0);
	t->window[round] = (now_ns() - t0) / WINDOWS;
	t0 = now_ns();
	ck_assert_int_eq(end_to(&x, IBV_QPS_ERR), 0);
	t->error[round] = now_ns() - t0;
	t0 = now_ns();
	ck_assert_int_eq(ibv_destroy_qp(x.qp), 0);
	t->destroy[round] = now_ns() - t0;
	x.qp = NULL;
	end_close(&x);
}

static void not_slower(const char *what, uint64_t *ours, uint64_t *theirs)
{
	uint64_t mine, other;

	qsort(ours, ROUNDS, sizeof(*ours), compare);
	qsort(theirs, ROUNDS, sizeof(*theirs), compare);
	mine = ours[ROUNDS / 2];
	other = theirs[ROUNDS / 2];
	printf("%s: %llu us, rxe %llu us\n", what, (unsigned long long)mine / 1000,
	       (unsigned long long)other / 1000);
	/* Waiting for a grace period was 20 times as slow. */
	ck_assert_msg(mine < 2 * other + 200000, "%s takes %llu us, with rxe %llu us", what,
		      (unsigned long long)mine / 1000, (unsigned long long)other / 1000);
}

/* Destroying an object waits only for its users: it is as fast as on rxe. */
START_TEST(ends_as_fast_as_rxe)
{
	static struct teardown ours, theirs;
	unsigned int i;

	if (rdma_is_rxe() || system("modprobe -q rdma_rxe"))
		return;
	rdma_set_wire(false);
	ck_assert_int_eq(rdma_link_add("rxe9", 1), 0);
	for (i = 0;
	     i < 100 && system("grep -qi ffff:0a4d:0101 /sys/class/infiniband/rxe9/ports/1/gids/*");
	     i++)
		usleep(100000);
	/* Each device is the first as often as the other. */
	for (i = 0; i < ROUNDS; i++) {
		if (i % 2)
			tear_down(rdma_name(), &ours, i);
		tear_down("rxe9", &theirs, i);
		if (i % 2 == 0)
			tear_down(rdma_name(), &ours, i);
	}
	ck_assert_int_eq(rdma_link_del("rxe9"), 0);
	rdma_set_wire(true);
	not_slower("to the error state", ours.error, theirs.error);
	not_slower("destroying a queue pair", ours.destroy, theirs.destroy);
	not_slower("freeing a window", ours.window, theirs.window);
}
END_TEST

static bool stop;
static unsigned int written;

/* Write to pair.b all the time. Requests without a response are retried. */
static void *writes(void *arg)
{
	struct end *end = arg;
	struct ibv_send_wr wr;
	struct ibv_sge from;
	struct ibv_wc wc;

	wr = write_to_b(1, &from);
	while (!__atomic_load_n(&stop, __ATOMIC_SEQ_CST)) {
		if (post(end, &wr)) {
			usleep(100);
			continue;
		}
		while (!ibv_poll_cq(end->cq, 1, &wc) && !__atomic_load_n(&stop, __ATOMIC_SEQ_CST))
			;
		__atomic_add_fetch(&written, 1, __ATOMIC_SEQ_CST);
	}
	return NULL;
}

/*
 * After a reset or an error has returned, no write may arrive, although nothing waits for a grace
 * period.
 */
START_TEST(nobody_writes_after)
{
	struct address to_a = end_address(&pair.a);
	enum ibv_qp_state to;
	pthread_t thread;
	unsigned int i, n;

	stop = false;
	memset(pair.at_a.p, 0x5a, PAGE);
	ck_assert_int_eq(pthread_create(&thread, NULL, writes, &pair.a), 0);
	for (i = 0; i < 60; i++) {
		n = __atomic_load_n(&written, __ATOMIC_SEQ_CST);
		while (__atomic_load_n(&written, __ATOMIC_SEQ_CST) < n + 3)
			sched_yield();
		to = i & 1 ? IBV_QPS_ERR : IBV_QPS_RESET;
		ck_assert_int_eq(end_to(&pair.b, to), 0);
		memset(pair.at_b.p, 0, 64);
		usleep(2000);
		for (n = 0; n < 64; n++)
			ck_assert_msg(!pair.at_b.p[n],
				      "round %u: written to after the queue pair was %s", i,
				      i & 1 ? "in error" : "reset");
		if (to == IBV_QPS_ERR)
			ck_assert_int_eq(end_to(&pair.b, IBV_QPS_RESET), 0);
		ck_assert_int_eq(end_to_init(&pair.b), 0);
		ck_assert_int_eq(end_to_rtr(&pair.b, &to_a), 0);
		ck_assert_int_eq(end_to_rts(&pair.b), 0);
	}
	__atomic_store_n(&stop, true, __ATOMIC_SEQ_CST);
	pthread_join(thread, NULL);
}
END_TEST

/* Complete @n writes without polling. The bytes' arrival shows that a write is done. */
static void complete_unpolled(struct end *from, uint64_t first, unsigned int n)
{
	struct ibv_send_wr wr;
	struct ibv_sge s;
	unsigned int i;

	for (i = 0; i < n; i++) {
		wr = write_to_b(first + i, &s);
		pair.at_a.p[0] = (uint8_t)(first + i);
		ck_assert_int_eq(post(from, &wr), 0);
		while (__atomic_load_n(&pair.at_b.p[0], __ATOMIC_ACQUIRE) != (uint8_t)(first + i))
			sched_yield();
	}
	/* The completion follows the bytes. */
	usleep(10000);
}

/*
 * Completions of a destroyed queue pair are discarded. Those of others in the same queue remain, in
 * order.
 */
START_TEST(completions_go_with_the_queue_pair)
{
	struct ibv_wc wc[16];
	struct end c, d;
	int n;

	end_open_beside(&c, &pair.a, NULL);
	end_open_beside(&d, &pair.b, NULL);
	ends_connect(&c, &d);
	complete_unpolled(&pair.a, 1, 2);
	complete_unpolled(&c, 11, 2);
	complete_unpolled(&pair.a, 3, 1);
	complete_unpolled(&c, 13, 1);
	ck_assert_int_eq(ibv_destroy_qp(pair.a.qp), 0);
	pair.a.qp = NULL;
	n = ibv_poll_cq(pair.a.cq, 16, wc);
	ck_assert_msg(n == 3, "%d completions where 3 are those of the other queue pair", n);
	for (n = 0; n < 3; n++) {
		ck_assert_uint_eq(wc[n].wr_id, (uint64_t)n + 11);
		ck_assert_uint_eq(wc[n].qp_num, c.qp->qp_num);
	}
	/* The queue still works. */
	complete_unpolled(&c, 20, 1);
	ck_assert_int_eq(ibv_poll_cq(pair.a.cq, 16, wc), 1);
	ck_assert_uint_eq(wc[0].wr_id, 20);
	end_close(&c);
	end_close(&d);
}
END_TEST

/* ---- test cases ---- */

LAB_SUITE("rdma-objects", SUITE_NOT_ON_DEBUG)
{
	TCase *t = rdma_case(s, "ends", 120, objects_up, objects_down);

	tcase_add_test(t, nobody_writes_after);
	tcase_add_test(t, completions_go_with_the_queue_pair);
	t = rdma_case(s, "rings", 120, NULL, NULL);
	tcase_add_test(t, ends_as_fast_as_rxe);
}
