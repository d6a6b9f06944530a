// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Races between work and the destruction of queue pairs, windows and regions that it uses; and
 * between the sides of the rings.
 */
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
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

/* ---- rings between two processors: entries and payload come before the index ---- */

#define RING	    16
#define MESSAGE	    64
#define WORDS	    (MESSAGE / sizeof(uint32_t))
#define LEAST_SENT  2000
#define MOST_RING_S 90

/* Of each thread: the first entry or message that was not what its index says. */
struct oddity {
	const char *what;
	uint64_t index;
	uint64_t value;
};

static struct mem inbox, outbox;
static struct oddity at_receiver, at_sender;

static bool odd(struct oddity *oddity, const char *what, uint64_t index, uint64_t value)
{
	*oddity = (struct oddity){ what, index, value };
	__atomic_store_n(&stop, true, __ATOMIC_SEQ_CST);
	return false;
}

static void run_on(unsigned int processor)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(processor, &set);
	/* A machine with one processor runs both there. */
	sched_setaffinity(0, sizeof(set), &set);
}

/* The payload of a message depends on its number only. Every second one is in the ring itself. */
static bool send_number(uint64_t number)
{
	struct ibv_sge s = sge(&outbox, number % RING * MESSAGE, MESSAGE);
	struct ibv_send_wr wr = work(number, IBV_WR_SEND_WITH_IMM, &s, 1, NULL, 0);
	uint32_t words[WORDS],
		*to = number % 2 ? words : (void *)(outbox.p + (s.addr - outbox.addr));
	size_t i;

	for (i = 0; i < WORDS; i++)
		to[i] = (uint32_t)(number * WORDS + i);
	if (number % 2) {
		s.addr = (uintptr_t)words;
		wr.send_flags |= IBV_SEND_INLINE;
	}
	wr.imm_data = (uint32_t)~number;
	return !post(&pair.b, &wr) || odd(&at_sender, "cannot be posted", number, 0);
}

static void *sends_numbers(void *arg)
{
	uint64_t posted = 0, finished = 0;
	struct ibv_wc wc;
	int n;

	run_on(1);
	while (!stopped()) {
		if (posted - finished < RING && send_number(posted))
			posted++;
		n = ibv_poll_cq(pair.b.cq, 1, &wc);
		if (n < 0 || (n && wc.status))
			odd(&at_sender, "failed", finished, n < 0 ? 0 : (uint64_t)wc.status);
		else if (n && wc.wr_id != finished)
			odd(&at_sender, "completed as another", finished, wc.wr_id);
		finished += n > 0;
	}
	return arg;
}

static bool receive_number(uint64_t number)
{
	struct ibv_sge s = sge(&inbox, number % RING * MESSAGE, MESSAGE);

	return !post_receive(&pair.a, number, &s, 1) ||
		odd(&at_receiver, "has no receive", number, 0);
}

static bool is_number(const struct ibv_wc *wc, uint64_t number)
{
	const uint32_t *words = (const void *)(inbox.p + number % RING * MESSAGE);
	size_t i;

	if (wc->status)
		return odd(&at_receiver, "failed", number, (uint64_t)wc->status);
	if (wc->wr_id != number)
		return odd(&at_receiver, "came as another", number, wc->wr_id);
	if (wc->byte_len != MESSAGE || wc->imm_data != (uint32_t)~number)
		return odd(&at_receiver, "has another length or immediate", number, wc->imm_data);
	for (i = 0; i < WORDS; i++)
		if (words[i] != (uint32_t)(number * WORDS + i))
			return odd(&at_receiver, "has another payload", number, words[i]);
	return true;
}

/*
 * One processor sends, the other receives, over rings that each message wraps by an entry: both
 * queues and both completion queues have a user and a kernel side. Whichever side reads an index
 * must find the entries and the payload that were written before it.
 */
START_TEST(rings_between_processors)
{
	const struct end_options small = { .depth = RING, .cqe = 2 * RING, .inline_len = MESSAGE };
	uint64_t begun = now_ms(), number = 0, i;
	pthread_t thread;
	struct ibv_wc wc;
	cpu_set_t all;
	int n;

	ck_assert_int_eq(sched_getaffinity(0, sizeof(all), &all), 0);
	end_open(&pair.a, &small);
	end_open(&pair.b, &small);
	ends_connect(&pair.a, &pair.b);
	inbox = mem_new(&pair.a, RING * MESSAGE, IBV_ACCESS_LOCAL_WRITE);
	outbox = mem_new(&pair.b, RING * MESSAGE, IBV_ACCESS_LOCAL_WRITE);
	memset(inbox.p, 0xee, RING * MESSAGE);
	for (i = 0; i < RING; i++)
		ck_assert(receive_number(i));
	ck_assert_int_eq(pthread_create(&thread, NULL, sends_numbers, &outbox), 0);
	run_on(0);
	while (!stopped()) {
		n = ibv_poll_cq(pair.a.cq, 1, &wc);
		if (n < 0)
			odd(&at_receiver, "cannot be polled", number, 0);
		if (n > 0 && is_number(&wc, number)) {
			memset(inbox.p + number % RING * MESSAGE, 0xee, MESSAGE);
			receive_number(number++ + RING);
		}
		if (now_ms() > begun + (number < LEAST_SENT ? MOST_RING_S : SECONDS) * 1000)
			__atomic_store_n(&stop, true, __ATOMIC_SEQ_CST);
	}
	pthread_join(thread, NULL);
	sched_setaffinity(0, sizeof(all), &all);
	ck_assert_msg(!at_receiver.what, "received message %" PRIu64 " %s: 0x%" PRIx64,
		      at_receiver.index, at_receiver.what, at_receiver.value);
	ck_assert_msg(!at_sender.what, "sent message %" PRIu64 " %s: 0x%" PRIx64, at_sender.index,
		      at_sender.what, at_sender.value);
	ck_assert_msg(number >= LEAST_SENT, "only %" PRIu64 " messages in %d s", number,
		      MOST_RING_S);
	printf("rdma-race: %" PRIu64 " messages between two processors\n", number);
	mem_free(&inbox);
	mem_free(&outbox);
	end_close(&pair.a);
	end_close(&pair.b);
}
END_TEST

LAB_SUITE("rdma-race", 0)
{
	TCase *t = rdma_case(s, "all", 120, race_up, race_down);

	tcase_add_test(t, rings_between_processors);
	tcase_add_test(t, shared_receives_stay);
	tcase_add_test(t, nobody_writes_after_a_reset);
	tcase_add_test(t, windows_and_regions);
}
