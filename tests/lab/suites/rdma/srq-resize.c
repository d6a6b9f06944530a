// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Shared receive queues that are resized: with receives pending, during traffic, and refused. */
#include <pthread.h>
#include <rdma/peerbar-abi.h>
#include <unistd.h>

#include "process-maps.h"
#include "rdma-fixture.h"

/* x sends to y, which has a shared queue for 16 receives. */
static struct end x, y;
static struct mem mem, source;

static void up(void)
{
	struct end_options with = { .srq = 16 };

	end_open(&x, NULL);
	end_open(&y, &with);
	ends_connect(&x, &y);
	mem = mem_new(&y, 64 * PAGE, ALL_ACCESS);
	source = mem_new(&x, PAGE, ALL_ACCESS);
	lab_pattern(source.p, source.size, 1);
}

static void down(void)
{
	mem_free(&mem);
	mem_free(&source);
	end_close(&x);
	end_close(&y);
}

/* Resize, and return the error and the number of entries afterwards. */
static int resize(uint32_t max_wr, uint32_t *nr)
{
	struct ibv_srq_attr attr = { .max_wr = max_wr };
	int ret = ibv_modify_srq(y.srq, &attr, IBV_SRQ_MAX_WR);

	ck_assert_int_eq(ibv_query_srq(y.srq, &attr), 0);
	*nr = attr.max_wr;
	return ret;
}

/* Post receive number @n, of a page. */
static int post_page(unsigned int n)
{
	struct ibv_sge to = sge(&mem, n % 64 * PAGE, PAGE);

	return post_receive(&y, n, &to, 1);
}

/* Post receives from number @first on, until the queue is full; return how many. */
static unsigned int fill(unsigned int first)
{
	unsigned int n = first;
	int ret;

	while (!(ret = post_page(n)))
		n++;
	ck_assert_int_eq(ret, ENOMEM);
	return n - first;
}

/* Send @n messages, which must use the receives from @first on. */
static void take(unsigned int first, unsigned int n)
{
	unsigned int i;

	for (i = first; i < first + n; i++) {
		struct ibv_sge s = sge(&source, i % 64 * 16, 100 + i % 100);
		struct ibv_send_wr wr = work(i, IBV_WR_SEND, &s, 1, NULL, 0);

		done(&x, &wr);
		ck_assert_uint_eq(completes(&y, i, IBV_WC_SUCCESS).byte_len, 100 + i % 100);
		ck_assert_mem_eq(mem.p + i % 64 * PAGE, source.p + i % 64 * 16, 100 + i % 100);
	}
}

/* Pending receives stay, in their order, also if the ring wraps; those posted later follow them. */
START_TEST(pending_receives_stay)
{
	unsigned int posted;
	uint32_t nr;

	posted = fill(0);
	ck_assert_uint_eq(posted, 16);
	take(0, 11);
	posted += fill(posted);
	ck_assert_uint_eq(posted, 27);

	ck_assert_int_eq(resize(50, &nr), 0);
	ck_assert_uint_eq(nr, 64);
	take(11, 3);
	posted += fill(posted);
	ck_assert_uint_eq(posted, 14 + 64);
	take(14, 60);

	/* Four are pending. */
	ck_assert_int_eq(resize(2, &nr), EINVAL);
	ck_assert_uint_eq(nr, 64);
	ck_assert_int_eq(resize(4, &nr), 0);
	ck_assert_uint_eq(nr, 4);
	ck_assert_uint_eq(fill(posted), 0);
	take(74, 2);
	posted += fill(posted);
	ck_assert_uint_eq(posted, 80);
	take(76, 4);
}
END_TEST

START_TEST(resizes_refused)
{
	struct ibv_srq_init_attr init = {
		.attr = { .max_wr = 16, .max_sge = 1, .srq_limit = 12 },
	};
	struct ibv_srq_attr attr = { .max_wr = 64, .srq_limit = 65 };
	struct ibv_send_wr wr = work(1, IBV_WR_SEND, NULL, 0, NULL, 0);
	const int both = IBV_SRQ_MAX_WR | IBV_SRQ_LIMIT;
	struct ibv_device_attr device;
	struct ibv_srq *limited;
	unsigned int i;
	uint32_t nr;

	ck_assert_int_eq(ibv_query_device(y.ctx, &device), 0);
	ck_assert(device.device_cap_flags & IBV_DEVICE_SRQ_RESIZE);
	ck_assert_int_eq(resize(0, &nr), EINVAL);
	ck_assert_int_eq(resize((uint32_t)device.max_srq_wr + 1, &nr), EINVAL);
	ck_assert_int_eq(resize(UINT32_MAX, &nr), EINVAL);
	ck_assert_uint_eq(nr, 16);
	/* A limit above the new size; neither changes. */
	ck_assert_int_eq(ibv_modify_srq(y.srq, &attr, both), EINVAL);
	ck_assert_int_eq(ibv_query_srq(y.srq, &attr), 0);
	ck_assert_uint_eq(attr.max_wr, 16);
	ck_assert_uint_eq(attr.srq_limit, 0);
	/* A limit since the creation, and no receive. */
	limited = ibv_create_srq(y.pd, &init);
	ck_assert_ptr_nonnull(limited);
	attr.max_wr = 8;
	ck_assert_int_eq(ibv_modify_srq(limited, &attr, IBV_SRQ_MAX_WR), EINVAL);
	attr.srq_limit = 8;
	ck_assert_int_eq(ibv_modify_srq(limited, &attr, both), 0);
	ck_assert_int_eq(ibv_destroy_srq(limited), 0);
	/* Both at once; then more receives are pending than it would have entries. */
	for (i = 0; i < 16; i++)
		ck_assert_int_eq(post_receive(&y, i, NULL, 0), 0);
	attr.max_wr = 32;
	attr.srq_limit = 12;
	ck_assert_int_eq(ibv_modify_srq(y.srq, &attr, both), 0);
	for (i = 0; i < 4; i++) {
		done(&x, &wr);
		completes(&y, i, IBV_WC_SUCCESS);
	}
	ck_assert_int_eq(resize(8, &nr), EINVAL);
	ck_assert_uint_eq(nr, 32);
	ck_assert(!event_waits(&y, IBV_EVENT_SRQ_LIMIT_REACHED, 100));
	done(&x, &wr);
	completes(&y, 4, IBV_WC_SUCCESS);
	event_comes(&y, IBV_EVENT_SRQ_LIMIT_REACHED);
	ck_assert_int_eq(resize(16, &nr), 0);
}
END_TEST

/* ---- during traffic ---- */

static bool stop;
static unsigned int resizes;

/* Grow and shrink the queue. Three receives are pending at most, so no size is too small. */
static void *resizes_all_the_time(void *arg)
{
	unsigned int n;

	for (n = 0; !__atomic_load_n(&stop, __ATOMIC_SEQ_CST); n++) {
		struct ibv_srq_attr attr = { .max_wr = 4u << n % 6 };

		if (ibv_modify_srq(y.srq, &attr, IBV_SRQ_MAX_WR))
			return arg;
		__atomic_fetch_add(&resizes, 1, __ATOMIC_SEQ_CST);
	}
	return NULL;
}

/* Messages arrive, each in the next receive, while another thread resizes. */
START_TEST(during_traffic)
{
	const unsigned int least = lab_kernel_is("debug") ? 100 : 400;
	uint64_t until = now_ms() + 50000;
	unsigned int posted = 0, taken = 0;
	pthread_t thread;
	void *failed;

	stop = false;
	resizes = 0;
	ck_assert_int_eq(pthread_create(&thread, NULL, resizes_all_the_time, &y), 0);
	while (now_ms() < until &&
	       (__atomic_load_n(&resizes, __ATOMIC_SEQ_CST) < least || taken < 10)) {
		while (posted < taken + 3) {
			ck_assert_int_eq(post_page(posted), 0);
			posted++;
		}
		take(taken, 1);
		taken++;
	}
	__atomic_store_n(&stop, true, __ATOMIC_SEQ_CST);
	pthread_join(thread, &failed);
	ck_assert_ptr_null(failed);
	printf("srq: %u messages during %u resizes\n", taken, resizes);
	ck_assert_uint_ge(resizes, least);
	ck_assert_uint_ge(taken, 10);
}
END_TEST

/* ---- an invalid index ---- */

/* Post a receive, and find the ring that has it. */
static struct peerbar_ring *ring_of_y(void)
{
	struct process_mapping m;
	uintptr_t at, found = 0;
	struct peerbar_ring *ring;
	struct ibv_recv_wr wr = { .wr_id = 0x5152515251525152 }, *bad;

	ck_assert_int_eq(ibv_post_srq_recv(y.srq, &wr, &bad), 0);
	for (at = 0; find_mapping(at, &m); at = m.end) {
		if (!strstr(m.name, "uverbs"))
			continue;
		if (memmem((void *)m.start, m.end - m.start, &wr.wr_id,
			   sizeof(wr.wr_id))) /* NOLINT */
			found = m.start;
	}
	ck_assert_uint_ne(found, 0);
	ring = (struct peerbar_ring *)found; /* NOLINT */
	ck_assert_uint_eq(ring->producer - ring->consumer, 1);
	return ring;
}

/* With an index of the producer that cannot be, the queue is resized as if it were empty. */
START_TEST(index_overwritten)
{
	static const uint32_t strays[] = { 33, 0x7fffffff, 0x80000000, 0xffffffff };
	struct peerbar_ring *ring;
	uint64_t t0;
	uint32_t nr;

	ring = ring_of_y();
	__atomic_store_n(&ring->producer, ring->consumer + strays[_i], __ATOMIC_SEQ_CST);
	t0 = now_ms();
	ck_assert_int_eq(resize(32, &nr), 0);
	ck_assert_uint_lt(now_ms() - t0, 2000);
	ck_assert_uint_eq(nr, 32);
}
END_TEST

LAB_SUITE_PART("rdma")
{
	TCase *t;

	if (rdma_is_rxe())
		return;
	t = rdma_case(s, "srq-resize", 60, up, down);
	tcase_add_test(t, pending_receives_stay);
	tcase_add_test(t, resizes_refused);
	tcase_add_test(t, during_traffic);
	tcase_add_loop_test(t, index_overwritten, 0, 4);
}
