// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Races between work and the destruction of queue pairs, windows and regions that it uses. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fixture.h"
#include "verbs.h"

#define LENGTH	(256 * 1024)
#define SECONDS 2

static bool stop;
static unsigned int written;

static void race_up(void)
{
	context_up();
	stop = false;
	written = 0;
}

static void race_down(void)
{
	context_down();
}

static bool stopped(void)
{
	return __atomic_load_n(&stop, __ATOMIC_SEQ_CST);
}

static unsigned int count_of(unsigned int *counter)
{
	return __atomic_load_n(counter, __ATOMIC_SEQ_CST);
}

/* Return the status of one request; -1 if the test ends before. */
static int outcome(struct end *end, struct ibv_send_wr *wr)
{
	struct ibv_wc wc;
	int n;

	if (post(end, wr))
		return -1;
	do {
		n = ibv_poll_cq(end->cq, 1, &wc);
	} while (!n && !stopped());
	return n == 1 ? (int)wc.status : -1;
}

/* Reset and reconnect both queue pairs. */
static bool reconnect(struct end *x, struct end *y)
{
	struct address to_x = end_address(x), to_y = end_address(y);

	return !end_to(x, IBV_QPS_RESET) && !end_to(y, IBV_QPS_RESET) && !end_to_init(x) &&
		!end_to_init(y) && !end_to_rtr(x, &to_y) && !end_to_rtr(y, &to_x) &&
		!end_to_rts(x) && !end_to_rts(y);
}

/* ---- messages that fail do not consume receives of a shared queue ---- */

START_TEST(shared_receives_stay)
{
	struct end_options shared = { .srq = 8 };
	struct address to_a;
	struct ibv_sge s, bad;
	struct mem to, from;
	uint64_t i;

	end_open(&pair.a, &shared);
	end_open(&pair.b, NULL);
	ends_connect(&pair.a, &pair.b);
	to_a = end_address(&pair.a);
	to = mem_new(&pair.a, PAGE, IBV_ACCESS_LOCAL_WRITE);
	from = mem_new(&pair.b, PAGE, IBV_ACCESS_LOCAL_WRITE);
	for (i = 1; i <= 4; i++) {
		s = sge(&to, 64 * i, 64);
		ck_assert_int_eq(post_receive(&pair.a, i, &s, 1), 0);
	}
	for (i = 0; i < 6; i++) {
		struct ibv_send_wr wr = work(100 + i, IBV_WR_SEND, &bad, 1, NULL, 0);

		bad = sge(&from, 0, 64);
		bad.lkey ^= 0xff00;
		fails(&pair.b, &wr, IBV_WC_LOC_PROT_ERR);
		ck_assert_int_eq(end_to(&pair.b, IBV_QPS_RESET), 0);
		end_connect(&pair.b, &to_a);
	}
	for (i = 1; i <= 4; i++) {
		struct ibv_send_wr wr = work(200 + i, IBV_WR_SEND, &s, 1, NULL, 0);

		s = sge(&from, 0, 64);
		memset(from.p, (int)i, 64);
		done(&pair.b, &wr);
		completes(&pair.a, i, IBV_WC_SUCCESS);
		ck_assert_uint_eq(to.p[64 * i], i);
	}
	nothing_completes(&pair.a);
	mem_free(&to);
	mem_free(&from);
	end_close(&pair.a);
	end_close(&pair.b);
}
END_TEST

/* ---- a reset, or a requested error state, ends the peer's access ---- */

static struct mem target, source;

static void *writes(void *arg)
{
	struct ibv_sge s = sge(&source, 0, LENGTH);

	while (!stopped()) {
		struct ibv_send_wr wr = work(1, IBV_WR_RDMA_WRITE, &s, 1, &target, 0);
		int status = outcome(&pair.b, &wr);

		if (status > 0)
			return NULL;
		if (!status)
			__atomic_fetch_add(&written, 1, __ATOMIC_SEQ_CST);
	}
	return arg;
}

START_TEST(nobody_writes_after_a_reset)
{
	struct address to_b;
	uint64_t begun = now_ms();
	pthread_t thread;
	void *ended;
	unsigned int i, j;

	end_open(&pair.a, NULL);
	end_open(&pair.b, NULL);
	ends_connect(&pair.a, &pair.b);
	to_b = end_address(&pair.b);
	target = mem_new(&pair.a, LENGTH, ALL_ACCESS);
	source = mem_new(&pair.b, LENGTH, IBV_ACCESS_LOCAL_WRITE);
	memset(source.p, 0x5a, LENGTH);
	ck_assert_int_eq(pthread_create(&thread, NULL, writes, &written), 0);
	/* On a slow machine it takes longer until a write completes in between. */
	for (i = 0; i < 60 || (!count_of(&written) && now_ms() < begun + 60000); i++) {
		usleep(500 + i % 7 * 300);
		ck_assert_int_eq(end_to(&pair.a, i % 2 ? IBV_QPS_ERR : IBV_QPS_RESET), 0);
		memset(target.p, 0x11, LENGTH);
		usleep(1000);
		for (j = 0; j < LENGTH && target.p[j] == 0x11; j++)
			;
		ck_assert_msg(j == LENGTH,
			      "round %u: byte 0x%x was written after the queue pair was gone", i,
			      j);
		if (i % 2)
			ck_assert_int_eq(end_to(&pair.a, IBV_QPS_RESET), 0);
		end_connect(&pair.a, &to_b);
	}
	__atomic_store_n(&stop, true, __ATOMIC_SEQ_CST);
	pthread_join(thread, &ended);
	ck_assert_msg(ended, "a write failed");
	ck_assert_msg(written, "none was made");
	mem_free(&target);
	mem_free(&source);
	end_close(&pair.a);
	end_close(&pair.b);
}
END_TEST

/* ---- windows are bound and freed, and regions are replaced, during writes through them ---- */

static struct end binder, partner;
static uint32_t window, region;
static uint8_t *bytes;
static unsigned int bound;

static bool binder_done(void)
{
	struct ibv_wc wc;
	int n;

	do {
		n = ibv_poll_cq(pair.a.cq, 1, &wc);
	} while (!n && !stopped());
	return n == 1 && !wc.status;
}

static void *binds(void *arg)
{
	while (!stopped()) {
		struct ibv_mw *mw = ibv_alloc_mw(pair.a.pd, IBV_MW_TYPE_1);
		/* The region as it was a moment ago. */
		struct ibv_mr mr = { .context = pair.a.ctx,
				     .pd = pair.a.pd,
				     .addr = bytes + PAGE,
				     .length = LENGTH,
				     .lkey = __atomic_load_n(&region, __ATOMIC_SEQ_CST) };
		struct ibv_mw_bind bind = {
			.wr_id = 1,
			.send_flags = IBV_SEND_SIGNALED,
			.bind_info = { &mr, (uintptr_t)bytes + PAGE, LENGTH,
				       IBV_ACCESS_REMOTE_WRITE },
		};

		if (!mw)
			return NULL;
		if (!ibv_bind_mw(binder.qp, mw, &bind) && binder_done()) {
			__atomic_store_n(&window, mw->rkey, __ATOMIC_SEQ_CST);
			/*
			 * Keep some windows for a moment only, others long enough for a slow
			 * machine.
			 */
			usleep(200 << __atomic_fetch_add(&bound, 1, __ATOMIC_SEQ_CST) % 8);
		} else if (!reconnect(&binder, &partner)) {
			return NULL;
		}
		if (ibv_dealloc_mw(mw))
			return NULL;
	}
	return arg;
}

static void *writes_through(void *arg)
{
	struct ibv_sge s = sge(&source, 0, LENGTH);

	while (!stopped()) {
		struct ibv_send_wr wr = work(1, IBV_WR_RDMA_WRITE, &s, 1, NULL, 0);

		wr.wr.rdma.remote_addr = (uintptr_t)bytes + PAGE;
		wr.wr.rdma.rkey = __atomic_load_n(&window, __ATOMIC_SEQ_CST);
		if (!outcome(&pair.b, &wr))
			__atomic_fetch_add(&written, 1, __ATOMIC_SEQ_CST);
		else if (!reconnect(&pair.a, &pair.b))
			return NULL;
	}
	return arg;
}

START_TEST(windows_and_regions)
{
	uint64_t begun = now_ms();
	unsigned int registered = 0;
	pthread_t threads[2];
	void *ended[2];
	struct ibv_mr *mr;
	size_t i;

	bytes = mmap(NULL, LENGTH + 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		     -1, 0);
	ck_assert_ptr_ne(bytes, MAP_FAILED);
	memset(bytes, 0x77, LENGTH + 2 * PAGE);
	end_open(&pair.a, NULL);
	end_open(&pair.b, NULL);
	end_open_beside(&binder, &pair.a, NULL);
	end_open_beside(&partner, &pair.b, NULL);
	ends_connect(&pair.a, &pair.b);
	ends_connect(&binder, &partner);
	source = mem_new(&pair.b, LENGTH, IBV_ACCESS_LOCAL_WRITE);
	memset(source.p, 0x5a, LENGTH);
	ck_assert_int_eq(pthread_create(&threads[0], NULL, binds, &bound), 0);
	ck_assert_int_eq(pthread_create(&threads[1], NULL, writes_through, &written), 0);
	/* Run until there were some of each. */
	while (now_ms() < begun + SECONDS * 1000 ||
	       (now_ms() < begun + 60000 && (count_of(&bound) < 10 || count_of(&written) < 10))) {
		mr = ibv_reg_mr(pair.a.pd, bytes + PAGE, LENGTH, ALL_ACCESS | IBV_ACCESS_MW_BIND);
		ck_assert_ptr_nonnull(mr);
		__atomic_store_n(&region, mr->lkey, __ATOMIC_SEQ_CST);
		usleep(2000 << registered++ % 5);
		/* Deregistering fails while a window is bound to the region. */
		while (ibv_dereg_mr(mr))
			;
	}
	__atomic_store_n(&stop, true, __ATOMIC_SEQ_CST);
	for (i = 0; i < 2; i++) {
		pthread_join(threads[i], &ended[i]);
		ck_assert_msg(ended[i], "a thread could not go on");
	}
	ck_assert_msg(bound >= 10 && written >= 10, "%u regions, %u windows, %u writes", registered,
		      bound, written);
	for (i = 0; i < PAGE; i++)
		ck_assert_msg(bytes[i] == 0x77 && bytes[PAGE + LENGTH + i] == 0x77,
			      "byte 0x%zx beside the region was written", i);
	munmap(bytes, LENGTH + 2 * PAGE);
	mem_free(&source);
	end_close(&binder);
	end_close(&partner);
	end_close(&pair.a);
	end_close(&pair.b);
}
END_TEST

LAB_SUITE("rdma-race", 0)
{
	TCase *t = rdma_case(s, "all", 120, race_up, race_down);

	tcase_add_test(t, shared_receives_stay);
	tcase_add_test(t, nobody_writes_after_a_reset);
	tcase_add_test(t, windows_and_regions);
}
