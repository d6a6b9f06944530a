// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Rings: overwritten by their process, and resized. The NIC below a link. */
#include <linux/peerbar.h>
#include <pthread.h>
#include <rdma/peerbar-abi.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#include "modules.h"
#include "objects-fixture.h"
#include "process-maps.h"
#include "testmod.h"

/* ---- overwritten rings ---- */

/* Find the ring of a completion queue: the mapping that did not exist before the queue. */
static struct peerbar_ring *find_ring(const char *before)
{
	struct process_mapping m;
	uintptr_t at, found = 0;
	char key[40];

	for (at = 0; find_mapping(at, &m); at = m.end) {
		if (!strstr(m.name, "uverbs"))
			continue;
		snprintf(key, sizeof(key), "%lx;", m.start);
		if (!before || !strstr(before, key))
			found = m.start;
	}
	ck_assert_uint_ne(found, 0);
	return (struct peerbar_ring *)found; /* NOLINT */
}

static void list_rings(char *list, size_t size)
{
	struct process_mapping m;
	uintptr_t at;
	size_t n = 0;

	list[0] = 0;
	for (at = 0; find_mapping(at, &m); at = m.end)
		if (strstr(m.name, "uverbs"))
			n += (size_t)snprintf(list + n, size - n, "%lx;", m.start);
	ck_assert_uint_lt(n, size);
}

/* Open an end, and find the ring of its completion queue. */
static struct peerbar_ring *open_with_ring(struct end *end, int cqe)
{
	struct peerbar_ring *ring;
	char before[2000];
	struct ibv_cq *cq;

	end_open(end, NULL);
	list_rings(before, sizeof(before));
	cq = ibv_create_cq(end->ctx, cqe, NULL, NULL, 0);
	ck_assert_ptr_nonnull(cq);
	ring = find_ring(before);
	ck_assert_int_eq(ibv_destroy_qp(end->qp), 0);
	ck_assert_int_eq(ibv_destroy_cq(end->cq), 0);
	end->cq = cq;
	end->qp = NULL;
	return ring;
}

/* The provider keeps its own consumer index. A stray store to the ring must not make it loop. */
START_TEST(rings_overwritten)
{
	static const uint32_t strays[] = { 1, 300, 0x7fffffff, 0x80000000, 0xffffff00 };
	struct peerbar_ring *ring;
	struct end end, other;
	struct ibv_wc wc[4];
	uint32_t producer;
	unsigned int i;
	uint64_t t0;

	if (rdma_is_rxe())
		return;
	ring = open_with_ring(&end, 256);
	for (i = 0; i < sizeof(strays) / sizeof(*strays); i++) {
		end_open_beside(&other, &end, NULL);
		/* The consumer index in the ring is not read: no effect. */
		__atomic_store_n(&ring->consumer,
				 __atomic_load_n(&ring->consumer, __ATOMIC_SEQ_CST) - strays[i],
				 __ATOMIC_SEQ_CST);
		ck_assert_int_eq(ibv_poll_cq(end.cq, 4, wc), 0);
		t0 = now_ms();
		ck_assert_int_eq(end_to(&other, IBV_QPS_RESET), 0);
		end_close(&other);
		ck_assert_uint_lt(now_ms() - t0, 1000);
	}
	/*
	 * The kernel does not read its producer index in the ring either. The provider detects an
	 * invalid one, and polling fails.
	 */
	producer = __atomic_load_n(&ring->producer, __ATOMIC_SEQ_CST);
	for (i = 1; i < sizeof(strays) / sizeof(*strays); i++) {
		end_open_beside(&other, &end, NULL);
		__atomic_store_n(&ring->producer, producer + strays[i], __ATOMIC_SEQ_CST);
		ck_assert_int_lt(ibv_poll_cq(end.cq, 4, wc), 0);
		t0 = now_ms();
		ck_assert_int_eq(end_to(&other, IBV_QPS_RESET), 0);
		end_close(&other);
		ck_assert_uint_lt(now_ms() - t0, 1000);
	}
	end_close(&end);
}
END_TEST

static bool stop;

/* The longest delay of a thread that sleeps for 200 us at a time. */
static uint64_t worst;

static void *is_late(void *arg)
{
	struct timespec pause = { .tv_nsec = 200000 };
	uint64_t t0, took;

	(void)arg;
	while (!__atomic_load_n(&stop, __ATOMIC_SEQ_CST)) {
		t0 = now_ns();
		clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
		took = now_ns() - t0;
		if (took > worst)
			worst = took;
	}
	return NULL;
}

static void on_first_cpu(pthread_attr_t *attr)
{
	struct sched_param param = { .sched_priority = 50 };
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(0, &set);
	ck_assert_int_eq(sched_setaffinity(0, sizeof(set), &set), 0);
	ck_assert_int_eq(pthread_attr_init(attr), 0);
	ck_assert_int_eq(pthread_attr_setinheritsched(attr, PTHREAD_EXPLICIT_SCHED), 0);
	ck_assert_int_eq(pthread_attr_setschedpolicy(attr, SCHED_FIFO), 0);
	ck_assert_int_eq(pthread_attr_setschedparam(attr, &param), 0);
}

/*
 * Resize a queue that is full or empty. Return the smallest of four rounds' worst delays of another
 * thread.
 */
static uint64_t delay_of_resize(bool full, const pthread_attr_t *attr)
{
	uint64_t least = UINT64_MAX;
	struct peerbar_ring *ring;
	pthread_t thread;
	struct end end;
	int i;

	for (i = 0; i < 4; i++) {
		ring = open_with_ring(&end, 1 << 20);
		/* As if a million completions had not been polled. */
		if (full)
			__atomic_store_n(&ring->consumer, ring->producer - (1u << 20),
					 __ATOMIC_SEQ_CST);
		worst = 0;
		stop = false;
		ck_assert_int_eq(pthread_create(&thread, attr, is_late, NULL), 0);
		usleep(2000);
		ck_assert_int_eq(ibv_resize_cq(end.cq, 1 << 20), 0);
		__atomic_store_n(&stop, true, __ATOMIC_SEQ_CST);
		pthread_join(thread, NULL);
		if (worst < least)
			least = worst;
		end_close(&end);
	}
	return least;
}

/* Entries are not copied with interrupts off. */
START_TEST(resize_delays_nobody)
{
	uint64_t full, empty;
	pthread_attr_t attr;

	if (rdma_is_rxe())
		return;
	on_first_cpu(&attr);
	empty = delay_of_resize(false, &attr);
	full = delay_of_resize(true, &attr);
	pthread_attr_destroy(&attr);
	printf("resize: others wait %llu us at most with a full queue, %llu with an empty one\n",
	       (unsigned long long)full / 1000, (unsigned long long)empty / 1000);
	ck_assert_msg(full < 3 * empty + 5000000,
		      "resizing a full queue delays others by %llu us, an empty one by %llu us",
		      (unsigned long long)full / 1000, (unsigned long long)empty / 1000);
}
END_TEST

/* Entries remain after a resize, also more than one batch. */
START_TEST(resize_keeps_entries)
{
	struct end_options options = { .cqe = 4096, .depth = 2048, .all_signaled = true };
	static struct ibv_wc wc[2048];
	struct ibv_send_wr wr;
	struct end x, y;
	struct ibv_sge s;
	struct mem mem;
	int i, n;

	end_open(&x, &options);
	end_open(&y, &options);
	mem = mem_new(&x, PAGE, ALL_ACCESS);
	ends_connect(&x, &y);
	s = sge(&mem, 0, 1);
	for (i = 0; i < 1500; i++)
		ck_assert_int_eq(post_receive(&y, (uint64_t)i, NULL, 0), 0);
	for (i = 0; i < 1500; i++) {
		wr = work((uint64_t)i, IBV_WR_SEND, &s, 0, NULL, 0);
		ck_assert_int_eq(post(&x, &wr), 0);
	}
	usleep(100000);
	ck_assert_int_eq(ibv_poll_cq(x.cq, 100, wc), 100);
	ck_assert_int_eq(ibv_resize_cq(x.cq, 2000), 0);
	n = ibv_poll_cq(x.cq, 2048, wc);
	ck_assert_int_eq(n, 1400);
	for (i = 0; i < n; i++)
		ck_assert_uint_eq(wc[i].wr_id, (uint64_t)i + 100);
	mem_free(&mem);
	end_close(&x);
	end_close(&y);
}
END_TEST

/* ---- effects of a link ---- */

/* Return the number of segments in which a dma-buf of 1 MiB is mapped for the second NIC. */
static unsigned int pieces_for_nic(int exporter, int importer)
{
	int fd = test_export_one(exporter, PEERBAR_TEST_SOURCE_FOREIGN, PEERBAR_MODEL_PINNED, MIB),
	    handle;
	struct peerbar_test_map map;

	ck_assert_int_ge(fd, 0);
	handle = test_import_attach(importer, fd, PEERBAR_TEST_KIND_STATIC, 0, nic_bdf(1));
	ck_assert_msg(handle > 0, "%s", strerror(-handle));
	ck_assert_int_eq(test_import_map(importer, handle, &map), 0);
	ck_assert_int_eq(test_import_detach(importer, handle), 0);
	close(fd);
	return map.nr_segments;
}

/* The NIC's driver has its own scatterlist limits before the link, and again after it. */
START_TEST(nic_as_before)
{
	unsigned int before, with, after;
	int exporter, importer;

	if (rdma_is_rxe())
		return;
	module_load("peerbar-test-exporter");
	module_load("peerbar-test-importer");
	exporter = test_exporter_open();
	importer = test_importer_open();
	before = pieces_for_nic(exporter, importer);
	ck_assert_int_eq(rdma_link_add("pb1", 1), 0);
	with = pieces_for_nic(exporter, importer);
	ck_assert_int_eq(rdma_link_del("pb1"), 0);
	after = pieces_for_nic(exporter, importer);
	ck_assert_uint_eq(with, 1);
	ck_assert_uint_gt(before, 1);
	ck_assert_uint_eq(after, before);
	close(exporter);
	close(importer);
}
END_TEST

/* ---- test cases ---- */

LAB_SUITE_PART("rdma-objects")
{
	TCase *t = rdma_case(s, "rings", 120, NULL, NULL);

	tcase_add_test(t, rings_overwritten);
	tcase_add_test(t, resize_keeps_entries);
	tcase_add_test(t, resize_delays_nobody);
	tcase_add_test(t, nic_as_before);
}
