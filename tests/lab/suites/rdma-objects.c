// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The objects of the verbs device: their memory charges, their limits, their teardown, and the
 * process that owns them.
 */
#include <fcntl.h>
#include <linux/peerbar.h>
#include <pthread.h>
#include <rdma/peerbar-abi.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "modules.h"
#include "process-maps.h"
#include "testmod.h"
#include "verbs.h"

static struct pair pair; /* connected with each other */
static unsigned int fds_before;

static void pair_up(void)
{
	fds_before = count_fds();
	pair_open(&pair, NULL, PAGE);
	ends_connect(&pair.a, &pair.b);
}

static void pair_down(void)
{
	pair_close(&pair);
	ck_assert_uint_eq(count_fds(), fds_before);
}

static struct ibv_send_wr write_to_b(uint64_t id, struct ibv_sge *from)
{
	*from = sge(&pair.at_a, 0, 64);
	return work(id, IBV_WR_RDMA_WRITE, from, 1, &pair.at_b, 0);
}

/* ---- teardown ---- */

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int compare(const void *x, const void *y)
{
	const uint64_t *p = x, *q = y;

	return *p < *q ? -1 : *p > *q;
}

#define ROUNDS 60

struct teardown {
	uint64_t error[ROUNDS], destroy[ROUNDS], window[ROUNDS];
};

/*
 * Measure how long it takes to put a connected queue pair into the error state, to destroy it, and
 * to free a window.
 */
static void tear_down(const char *device, struct teardown *t)
{
	struct end_options options = { .device = device };
	struct address address;
	struct ibv_mw *mw;
	struct end x;
	uint64_t t0;
	int i;

	for (i = 0; i < ROUNDS; i++) {
		end_open(&x, &options);
		address = end_address(&x);
		end_connect(&x, &address);
		mw = ibv_alloc_mw(x.pd, IBV_MW_TYPE_1);
		ck_assert_ptr_nonnull(mw);
		t0 = now_ns();
		ck_assert_int_eq(ibv_dealloc_mw(mw), 0);
		t->window[i] = now_ns() - t0;
		t0 = now_ns();
		ck_assert_int_eq(end_to(&x, IBV_QPS_ERR), 0);
		t->error[i] = now_ns() - t0;
		t0 = now_ns();
		ck_assert_int_eq(ibv_destroy_qp(x.qp), 0);
		t->destroy[i] = now_ns() - t0;
		x.qp = NULL;
		end_close(&x);
	}
	qsort(t->error, ROUNDS, sizeof(*t->error), compare);
	qsort(t->destroy, ROUNDS, sizeof(*t->destroy), compare);
	qsort(t->window, ROUNDS, sizeof(*t->window), compare);
}

static void not_slower(const char *what, const uint64_t *ours, const uint64_t *theirs)
{
	uint64_t mine = ours[ROUNDS / 2], other = theirs[ROUNDS / 2];

	printf("%s: %llu us, rxe %llu us\n", what, (unsigned long long)mine / 1000, (unsigned long long)other / 1000);
	/* Waiting for a grace period was 20 times as slow. */
	ck_assert_msg(mine < 2 * other + 200000, "%s takes %llu us, with rxe %llu us", what, (unsigned long long)mine / 1000,
		      (unsigned long long)other / 1000);
}

/* Destroying an object waits only for its users: it is as fast as on rxe. */
START_TEST(ends_as_fast_as_rxe)
{
	static struct teardown ours, theirs;
	unsigned int i;

	if (rdma_is_rxe() || system("modprobe -q rdma_rxe"))
		return;
	ck_assert_int_eq(rdma_link_add("rxe9", 1), 0);
	for (i = 0; i < 100 && system("grep -qi ffff:0a4d:0101 /sys/class/infiniband/rxe9/ports/1/gids/*"); i++)
		usleep(100000);
	tear_down(rdma_name(), &ours);
	tear_down("rxe9", &theirs);
	ck_assert_int_eq(rdma_link_del("rxe9"), 0);
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
			ck_assert_msg(!pair.at_b.p[n], "round %u: written to after the queue pair was %s", i, i & 1 ? "in error" : "reset");
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
		__atomic_store_n(&ring->consumer, __atomic_load_n(&ring->consumer, __ATOMIC_SEQ_CST) - strays[i], __ATOMIC_SEQ_CST);
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
			__atomic_store_n(&ring->consumer, ring->producer - (1u << 20), __ATOMIC_SEQ_CST);
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
	printf("resize: others wait %llu us at most with a full queue, %llu with an empty one\n", (unsigned long long)full / 1000,
	       (unsigned long long)empty / 1000);
	ck_assert_msg(full < 3 * empty + 5000000, "resizing a full queue delays others by %llu us, an empty one by %llu us",
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
	int fd = test_export_one(exporter, PEERBAR_TEST_SOURCE_FOREIGN, PEERBAR_MODEL_PINNED, MIB), handle;
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

/* ---- memory charges ---- */

#define CGROUPS "/run/lab-cgroups"

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	ck_assert_msg(fd >= 0, "%s: %s", path, strerror(errno));
	ck_assert_msg(write(fd, text, strlen(text)) == (ssize_t)strlen(text), "%s > %s: %s", text, path, strerror(errno));
	close(fd);
}

/* Return the number after @word in a file of the cgroup; without @word, the file's only number. */
static uint64_t cgroup_number(const char *file, const char *word)
{
	char path[100], line[200];
	uint64_t value = UINT64_MAX;
	FILE *f;

	snprintf(path, sizeof(path), CGROUPS "/lab/%s", file);
	f = fopen(path, "re");
	ck_assert_msg(f, "%s: %s", path, strerror(errno));
	while (fgets(line, sizeof(line), f)) {
		size_t length = word ? strlen(word) : 0;

		if (!word || (!strncmp(line, word, length) && line[length] == ' '))
			value = strtoull(line + length, NULL, 10);
	}
	fclose(f);
	ck_assert_uint_ne(value, UINT64_MAX);
	return value;
}

static void cgroup_up(void)
{
	ck_assert(!mkdir(CGROUPS, 0755) || errno == EEXIST);
	ck_assert_msg(!mount("none", CGROUPS, "cgroup2", 0, NULL) || errno == EBUSY, "no cgroups: %s", strerror(errno));
	put(CGROUPS "/cgroup.subtree_control", "+memory");
	ck_assert(!mkdir(CGROUPS "/lab", 0755) || errno == EEXIST);
}

static void cgroup_down(void)
{
	unsigned int i;

	for (i = 0; i < 50 && rmdir(CGROUPS "/lab"); i++)
		usleep(100000);
	umount2(CGROUPS, MNT_DETACH);
}

/* Move this process into the cgroup. */
static void enter_cgroup(const char *limit)
{
	char pid[20];

	put(CGROUPS "/lab/memory.max", limit);
	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	put(CGROUPS "/lab/cgroup.procs", pid);
}

static void leave_cgroup(void)
{
	char pid[20];

	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	put(CGROUPS "/cgroup.procs", pid);
}

enum kind { QP, CQ, SRQ, PD, AH, MR, MW, KINDS };

static const struct {
	const char *name;
	unsigned int many;	/* created, to measure their cost */
	unsigned int bytes;	/* lower bound of the kernel's memory for each */
} kinds[KINDS] = {
	[QP] = { "qp", 400, 8192 },   [CQ] = { "cq", 1000, 4096 }, [SRQ] = { "srq", 1000, 4096 },
	[PD] = { "pd", 12000, 192 }, [AH] = { "ah", 12000, 128 }, [MR] = { "mr", 6000, 300 },
	[MW] = { "mw", 12000, 200 },
};

static void *make(struct end *end, enum kind kind)
{
	struct ibv_qp_init_attr qp = { .send_cq = end->cq, .recv_cq = end->cq, .qp_type = IBV_QPT_RC,
				       .cap = { .max_send_wr = 1, .max_recv_wr = 1, .max_send_sge = 1, .max_recv_sge = 1 } };
	struct ibv_srq_init_attr srq = { .attr = { .max_wr = 1, .max_sge = 1 } };
	struct ibv_ah_attr ah = { .is_global = 1, .port_num = 1,
				  .grh = { .dgid = end->gid, .sgid_index = (uint8_t)end->gid_index, .hop_limit = 1 } };

	switch (kind) {
	case QP:
		return ibv_create_qp(end->pd, &qp);
	case CQ:
		return ibv_create_cq(end->ctx, 1, NULL, NULL, 0);
	case SRQ:
		return ibv_create_srq(end->pd, &srq);
	case PD:
		return ibv_alloc_pd(end->ctx);
	case AH:
		return ibv_create_ah(end->pd, &ah);
	case MR:
		return ibv_reg_mr(end->pd, pair.at_a.p, PAGE, IBV_ACCESS_LOCAL_WRITE);
	default:
		return ibv_alloc_mw(end->pd, IBV_MW_TYPE_1);
	}
}

static int unmake(void *object, enum kind kind)
{
	switch (kind) {
	case QP:
		return ibv_destroy_qp(object);
	case CQ:
		return ibv_destroy_cq(object);
	case SRQ:
		return ibv_destroy_srq(object);
	case PD:
		return ibv_dealloc_pd(object);
	case AH:
		return ibv_destroy_ah(object);
	case MR:
		return ibv_dereg_mr(object);
	default:
		return ibv_dealloc_mw(object);
	}
}

/* The creator of an object is charged, and uncharged when it is gone. */
START_TEST(makers_are_charged)
{
	void **objects = calloc(kinds[_i].many, sizeof(*objects));
	uint64_t before, with, after;
	unsigned int i;

	ck_assert_ptr_nonnull(objects);
	enter_cgroup("max");
	/* Make allocations that happen only once. */
	ck_assert_int_eq(unmake(make(&pair.a, (enum kind)_i), (enum kind)_i), 0);
	before = cgroup_number("memory.stat", "kernel");
	for (i = 0; i < kinds[_i].many; i++) {
		objects[i] = make(&pair.a, (enum kind)_i);
		ck_assert_msg(objects[i], "no %s after %u: %s", kinds[_i].name, i, strerror(errno));
	}
	with = cgroup_number("memory.stat", "kernel");
	for (i = 0; i < kinds[_i].many; i++)
		ck_assert_int_eq(unmake(objects[i], (enum kind)_i), 0);
	/* Some memory is freed after a grace period. */
	for (i = 0; i < 60; i++) {
		after = cgroup_number("memory.stat", "kernel");
		if (after < before + (with - before) / 4)
			break;
		usleep(200000);
	}
	leave_cgroup();
	free(objects);
	printf("%u %s: %llu KiB, %llu KiB remain\n", kinds[_i].many, kinds[_i].name, (unsigned long long)(with - before) / KIB,
	       (unsigned long long)(after > before ? after - before : 0) / KIB);
	/* The kernel charges in batches: half a megabyte may be missing. */
	ck_assert_msg(with - before >= (uint64_t)kinds[_i].many * kinds[_i].bytes * 3 / 4, "%u of %s cost %llu bytes", kinds[_i].many,
		      kinds[_i].name, (unsigned long long)(with - before));
	ck_assert_msg(after < before + (with - before) / 2, "%llu bytes remain charged", (unsigned long long)(after - before));
}
END_TEST

/* A completion has 56 bytes, so a queue of 65,536 has 3.5 MiB. */
#define RING ((1ULL << 16) * 56)

/*
 * In a cgroup of 48 MiB, creating a completion queue of 56 MiB, or too many of 3.5 MiB, fails and
 * kills no process.
 */
START_TEST(rings_within_the_limit)
{
	struct ibv_cq *cqs[40];
	int n = 0, i;

	enter_cgroup("48M");
	ck_assert_ptr_null(ibv_create_cq(pair.a.ctx, 1 << 20, NULL, NULL, 0));
	ck_assert_int_eq(errno, ENOMEM);
	while (n < 40) {
		cqs[n] = ibv_create_cq(pair.a.ctx, 1 << 16, NULL, NULL, 0);
		if (!cqs[n])
			break;
		n++;
	}
	ck_assert_msg((uint64_t)n * RING <= 48 * MIB, "%d queues of 3.5 MiB in a cgroup of 48 MiB", n);
	ck_assert_int_eq(errno, ENOMEM);
	ck_assert_int_gt(n, 4);
	ck_assert_uint_ge(cgroup_number("memory.current", NULL), (uint64_t)n * RING);
	ck_assert_uint_eq(cgroup_number("memory.events", "oom_kill"), 0);
	for (i = 0; i < n; i++)
		ck_assert_int_eq(ibv_destroy_cq(cqs[i]), 0);
	leave_cgroup();
}
END_TEST

/* ---- limits ---- */

#define PARAMETERS "/sys/module/peerbar_rdma/parameters/max_"

static int reported(const struct ibv_device_attr *attr, enum kind kind)
{
	const int max[KINDS] = { attr->max_qp, attr->max_cq, attr->max_srq, attr->max_pd, attr->max_ah, attr->max_mr, attr->max_mw };

	return max[kind];
}

/*
 * A context can have as many objects as the device reports, and no more. Other contexts have limits
 * of their own.
 */
START_TEST(limits_hold)
{
	struct end_options on_second = { .device = "pb1" };
	const int limit = 40;
	struct ibv_device_attr attr;
	int had[KINDS], i, n, kind, log;
	void *objects[41], *one;
	char path[80], text[20];
	struct end x, y;
	FILE *f;

	if (rdma_is_rxe())
		return;
	for (kind = 0; kind < KINDS; kind++) {
		snprintf(path, sizeof(path), PARAMETERS "%s", kinds[kind].name);
		f = fopen(path, "re");
		ck_assert_msg(f, "%s: %s", path, strerror(errno));
		ck_assert_int_eq(fscanf(f, "%d", &had[kind]), 1);
		fclose(f);
		put(path, "40");
	}
	i = rdma_link_add("pb1", 1);
	for (kind = 0; kind < KINDS; kind++) {
		snprintf(path, sizeof(path), PARAMETERS "%s", kinds[kind].name);
		snprintf(text, sizeof(text), "%d", had[kind]);
		put(path, text);
	}
	ck_assert_int_eq(i, 0);
	for (i = 0; i < 100 && system("grep -qi ffff:0a4d:0101 /sys/class/infiniband/pb1/ports/1/gids/*"); i++)
		usleep(100000);
	end_open(&x, &on_second);
	end_open(&y, &on_second);
	ck_assert_int_eq(ibv_query_device(x.ctx, &attr), 0);
	log = log_open();
	for (kind = 0; kind < KINDS; kind++) {
		ck_assert_int_eq(reported(&attr, (enum kind)kind), limit);
		for (n = 0; n <= limit; n++) {
			errno = 0;
			objects[n] = make(&x, (enum kind)kind);
			if (!objects[n])
				break;
		}
		ck_assert_int_eq(errno, ENOMEM);
		/* The context already has one of these. */
		ck_assert_msg(n == limit - (kind == QP || kind == CQ || kind == PD), "%d of %s", n, kinds[kind].name);
		one = make(&y, (enum kind)kind);
		ck_assert_msg(one, "another context has no %s: %s", kinds[kind].name, strerror(errno));
		ck_assert_int_eq(unmake(one, (enum kind)kind), 0);
		/* Destroying one makes room for another. */
		ck_assert_int_eq(unmake(objects[--n], (enum kind)kind), 0);
		objects[n] = make(&x, (enum kind)kind);
		ck_assert_ptr_nonnull(objects[n++]);
		while (n--)
			ck_assert_int_eq(unmake(objects[n], (enum kind)kind), 0);
	}
	ck_assert(log_has(log, "that max_ah allows"));
	end_close(&x);
	end_close(&y);
	ck_assert_int_eq(rdma_link_del("pb1"), 0);
}
END_TEST

/* A process that takes all address handles it can get leaves some for others. */
START_TEST(address_handles_for_all)
{
	void **handles = calloc(65537, sizeof(*handles)), *one;
	unsigned int n = 0;

	if (rdma_is_rxe())
		return;
	ck_assert_ptr_nonnull(handles);
	while (n < 65537 && (handles[n] = make(&pair.a, AH)))
		n++;
	ck_assert_int_eq(errno, ENOMEM);
	ck_assert_uint_eq(n, 65536);
	one = make(&pair.b, AH);
	ck_assert_msg(one, "%s", strerror(errno));
	ck_assert_int_eq(unmake(one, AH), 0);
	while (n--)
		ck_assert_int_eq(unmake(handles[n], AH), 0);
	free(handles);
}
END_TEST

/* ---- ownership ---- */

static bool has_rings(void)
{
	struct process_mapping m;
	bool found = false;
	uintptr_t at;

	for (at = 0; find_mapping(at, &m); at = m.end)
		found |= !!strstr(m.name, "uverbs");
	return found;
}

#define IN_CHILD(condition) do { if (!(condition)) _exit(__LINE__ - first_line); } while (0)

/* Check a child's access to its parent's queues. */
static void look_as_child(struct ibv_cq_ex *cq_ex, struct ibv_srq *srq)
{
	const int first_line = __LINE__;
	struct ibv_poll_cq_attr attr = { 0 };
	struct ibv_recv_wr receive = { .wr_id = 1 }, *bad;
	struct ibv_send_wr wr, *bad_send;
	struct ibv_sge from;
	struct ibv_cq *cq;
	struct ibv_wc wc;

	IN_CHILD(!has_rings());
	wr = write_to_b(66, &from);
	IN_CHILD(ibv_post_send(pair.a.qp, &wr, &bad_send) == EACCES && bad_send == &wr);
	IN_CHILD(ibv_post_recv(pair.a.qp, &receive, &bad) == EACCES && bad == &receive);
	IN_CHILD(ibv_post_srq_recv(srq, &receive, &bad) == EACCES && bad == &receive);
	IN_CHILD(ibv_poll_cq(pair.a.cq, 1, &wc) == -EACCES);
	IN_CHILD(ibv_start_poll(cq_ex, &attr) == EACCES);
	IN_CHILD(ibv_resize_cq(pair.a.cq, 512) == EACCES);
	/* A child can use its own objects, also in an inherited context. */
	cq = ibv_create_cq(pair.a.ctx, 10, NULL, NULL, 0);
	IN_CHILD(cq && ibv_poll_cq(cq, 1, &wc) == 0);
	IN_CHILD(ibv_poll_cq(pair.a.cq, 1, &wc) == -EACCES);
	IN_CHILD(!ibv_destroy_cq(cq));
	_exit(0);
}

static void ends_well(pid_t child)
{
	int status;

	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_msg(!WIFSIGNALED(status), "killed by signal %d", WTERMSIG(status));
	ck_assert_msg(!WEXITSTATUS(status), "the check %d lines below the function's first one failed", WEXITSTATUS(status));
}

/*
 * Queues belong to their process: a child can neither post nor poll, and its parent is not
 * affected.
 */
START_TEST(a_child_has_no_queues)
{
	struct ibv_srq_init_attr srq_attr = { .attr = { .max_wr = 4, .max_sge = 1 } };
	struct ibv_cq_init_attr_ex cq_attr = { .cqe = 16, .wc_flags = IBV_WC_STANDARD_FLAGS };
	struct ibv_send_wr wr;
	struct ibv_cq_ex *cq;
	struct ibv_srq *srq;
	struct ibv_sge from;
	pid_t child;

	if (rdma_is_rxe())
		return;
	cq = ibv_create_cq_ex(pair.a.ctx, &cq_attr);
	srq = ibv_create_srq(pair.a.pd, &srq_attr);
	ck_assert(cq && srq);
	wr = write_to_b(1, &from);
	done(&pair.a, &wr);
	child = fork();
	if (!child)
		look_as_child(cq, srq);
	ends_well(child);
	pair.at_a.p[0]++;
	wr = write_to_b(2, &from);
	done(&pair.a, &wr);
	ck_assert_mem_eq(pair.at_a.p, pair.at_b.p, 64);
	nothing_completes(&pair.a);
	ck_assert_int_eq(ibv_destroy_cq(ibv_cq_ex_to_cq(cq)), 0);
	ck_assert_int_eq(ibv_destroy_srq(srq), 0);
}
END_TEST

/* Permission to post is checked when the device is opened, as with a mapped doorbell. */
START_TEST(posting_outlives_privileges)
{
	struct ibv_send_wr wr;
	struct ibv_sge from;

	if (rdma_is_rxe())
		return;
	ck_assert_int_eq(setuid(65534), 0);
	/* So that the descriptors can be counted. */
	ck_assert_int_eq(prctl(PR_SET_DUMPABLE, 1), 0);
	lab_pattern(pair.at_a.p, PAGE, 29);
	wr = write_to_b(1, &from);
	done(&pair.a, &wr);
	ck_assert_mem_eq(pair.at_a.p, pair.at_b.p, 64);
}
END_TEST

/* ---- the suite ---- */

LAB_SUITE("rdma-objects", SUITE_NOT_ON_DEBUG)
{
	TCase *t = rdma_case(s, "ends", 120, pair_up, pair_down);

	tcase_add_test(t, nobody_writes_after);
	tcase_add_test(t, completions_go_with_the_queue_pair);
	t = rdma_case(s, "rings", 120, NULL, NULL);
	tcase_add_test(t, ends_as_fast_as_rxe);
	tcase_add_test(t, rings_overwritten);
	tcase_add_test(t, resize_keeps_entries);
	tcase_add_test(t, resize_delays_nobody);
	tcase_add_test(t, nic_as_before);
	t = rdma_case(s, "charges", 120, pair_up, pair_down);
	tcase_add_unchecked_fixture(t, cgroup_up, cgroup_down);
	tcase_add_loop_test(t, makers_are_charged, 0, KINDS);
	tcase_add_test(t, rings_within_the_limit);
	t = rdma_case(s, "limits", 120, pair_up, pair_down);
	tcase_add_test(t, limits_hold);
	tcase_add_test(t, address_handles_for_all);
	t = rdma_case(s, "processes", 120, pair_up, pair_down);
	tcase_add_test(t, a_child_has_no_queues);
	tcase_add_test(t, posting_outlives_privileges);
}
