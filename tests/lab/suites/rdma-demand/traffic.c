// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Buffers that move, are revoked and deregistered while queue pairs use them. */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "demand-fixture.h"
#include "modules.h"

#define PAIRS  8
#define STRIPE (SIZE / PAIRS)

static bool stop;

static bool stopped(void)
{
	return __atomic_load_n(&stop, __ATOMIC_SEQ_CST);
}

static void stop_all(void)
{
	__atomic_store_n(&stop, true, __ATOMIC_SEQ_CST);
}

/* ---- moves during traffic ---- */

/* Writes to its stripe of the buffer, and reads it back, all the time. */
struct writer {
	pthread_t thread;
	struct end from, to;
	struct mem source, seen;
	const struct mem *target;
	size_t offset;
	unsigned int rounds, wrong;
	enum ibv_wc_status failed;
};

static bool transfers(struct writer *w, enum ibv_wr_opcode opcode, struct mem *local)
{
	/* Not the whole stripe, so that neighbours are in the same pages of neither side. */
	struct ibv_sge s = sge(local, 0, STRIPE - 64);
	struct ibv_send_wr wr = work(1, opcode, &s, 1, w->target, w->offset);

	ck_assert_int_eq(post(&w->from, &wr), 0);
	w->failed = completion(&w->from).status;
	return w->failed == IBV_WC_SUCCESS;
}

static void *writes(void *arg)
{
	struct writer *w = arg;

	while (!stopped()) {
		lab_pattern(w->source.p, STRIPE, w->rounds * PAIRS + (unsigned int)w->offset);
		if (!transfers(w, IBV_WR_RDMA_WRITE, &w->source) ||
		    !transfers(w, IBV_WR_RDMA_READ, &w->seen))
			break;
		w->wrong += memcmp(w->source.p, w->seen.p, STRIPE - 64) != 0;
		__atomic_fetch_add(&w->rounds, 1, __ATOMIC_SEQ_CST);
	}
	return NULL;
}

static void writer_start(struct writer *w, const struct mem *target, unsigned int i)
{
	*w = (struct writer){ .target = target, .offset = i * STRIPE };
	end_open(&w->from, NULL);
	w->source = mem_new(&w->from, STRIPE, ALL_ACCESS);
	w->seen = mem_new(&w->from, STRIPE, ALL_ACCESS);
	end_open_beside(&w->to, &pair.b, NULL);
	ends_connect(&w->from, &w->to);
	ck_assert_int_eq(pthread_create(&w->thread, NULL, writes, w), 0);
}

static void writer_end(struct writer *w)
{
	mem_free(&w->source);
	mem_free(&w->seen);
	end_close(&w->to);
	end_close(&w->from);
}

/* All threads have done at least one more round than before. */
static bool all_advance(struct writer *writers, unsigned int *before)
{
	uint64_t until = now_ms() + 60000;
	unsigned int i;

	for (i = 0; i < PAIRS; i++) {
		while (__atomic_load_n(&writers[i].rounds, __ATOMIC_SEQ_CST) == before[i] &&
		       now_ms() < until)
			usleep(1000);
		if (__atomic_load_n(&writers[i].rounds, __ATOMIC_SEQ_CST) == before[i])
			return false;
		before[i] = __atomic_load_n(&writers[i].rounds, __ATOMIC_SEQ_CST);
	}
	return true;
}

/* No byte is wrong, lost, or at the old place, which the exporter poisons after each move. */
START_TEST(thousand_moves)
{
	static struct writer writers[PAIRS];
	/* Only the core's exporter makes all of them: a thousand take a minute, with KASAN more. */
	const unsigned int moves = lab_kernel_is("debug") || _i ? 200 : 1000;
	unsigned int before[PAIRS] = { 0 }, i, n;
	struct moving m;

	stop = false;
	moving_make(&m, _i ? PEERBAR_TEST_SOURCE_FOREIGN : PEERBAR_TEST_SOURCE_CORE);
	moving_register(&m, ALL_ACCESS | ON_DEMAND);
	for (i = 0; i < PAIRS; i++)
		writer_start(&writers[i], &m.mem, i);
	for (n = 0; n < moves; n++) {
		ck_assert_int_eq(moving_move(&m), 0);
		if (n % 4 == 0)
			ck_assert_msg(moving_is_poisoned(&m, PEERBAR_TEST_PLACE_THERE),
				      "bytes are at the old place after move %u", n);
		if (n % (moves / 10) == 0)
			ck_assert_msg(all_advance(writers, before), "no progress after move %u", n);
	}
	ck_assert_msg(all_advance(writers, before), "no progress after the last move");
	stop_all();
	for (i = 0; i < PAIRS; i++)
		pthread_join(writers[i].thread, NULL);
	ck_assert(moving_is_poisoned(&m, PEERBAR_TEST_PLACE_THERE));
	for (i = 0; i < PAIRS; i++) {
		struct writer *w = &writers[i];

		ck_assert_msg(!w->failed, "pair %u: '%s'", i, ibv_wc_status_str(w->failed));
		ck_assert_msg(!w->wrong, "pair %u: %u of %u rounds read other bytes", i, w->wrong,
			      w->rounds);
		ck_assert(moving_has(&m, PEERBAR_TEST_PLACE_HERE, w->offset, w->source.p,
				     STRIPE - 64));
		writer_end(w);
	}
	moving_close(&m);
}
END_TEST

/* It moves by itself every millisecond, faster than a message of the whole buffer is copied. */
START_TEST(moves_by_itself)
{
	struct ibv_sge s = sge(&demand_host, 0, SIZE);
	struct ibv_send_wr wr;
	struct moving m;
	unsigned int i;

	moving_make(&m, _i ? PEERBAR_TEST_SOURCE_FOREIGN : PEERBAR_TEST_SOURCE_CORE);
	moving_register(&m, ALL_ACCESS | ON_DEMAND);
	ck_assert_int_eq(test_automove(m.exporter, m.fd, 1), 0);
	for (i = 0; i < 30; i++) {
		lab_pattern(demand_host.p, SIZE, i);
		wr = work(i, IBV_WR_RDMA_WRITE, &s, 1, &m.mem, 0);
		done(&pair.a, &wr);
		ck_assert(moving_has(&m, PEERBAR_TEST_PLACE_HERE, 0, demand_host.p, SIZE));
	}
	ck_assert_int_eq(test_automove(m.exporter, m.fd, 0), 0);
	ck_assert(moving_is_poisoned(&m, PEERBAR_TEST_PLACE_THERE));
	moving_close(&m);
}
END_TEST

/* ---- everything at once ---- */

/*
 * Operations on one buffer by threads, and by processes that are killed. Each thread counts its
 * operations, and the first one that finds something impossible stops all.
 */
static struct {
	struct moving m;
	unsigned int *operations; /* shared with the other processes */
	const char *impossible;
	enum ibv_wc_status status;
} churn;

static void operation(void)
{
	__atomic_fetch_add(churn.operations, 1, __ATOMIC_SEQ_CST);
}

static unsigned int operations(void)
{
	return __atomic_load_n(churn.operations, __ATOMIC_SEQ_CST);
}

static void *impossible(const char *what)
{
	churn.impossible = what;
	stop_all();
	return NULL;
}

/* Moves, revokes and restores. */
static void *disturbs(void *arg)
{
	unsigned int rng = (unsigned int)(uintptr_t)arg;
	int ret;

	while (!stopped()) {
		switch (rand_r(&rng) % 8) {
		case 0:
			ret = test_revoke(churn.m.exporter, churn.m.fd);
			break;
		case 1:
		case 2:
			ret = test_restore(churn.m.exporter, churn.m.fd);
			break;
		default:
			ret = moving_move(&churn.m);
			if (ret == -EBUSY || ret == -ENODEV)
				ret = 0;
		}
		if (ret)
			return impossible("a move, a revoke or a restore failed");
		operation();
		usleep((useconds_t)(rand_r(&rng) % 2000));
	}
	return NULL;
}

/* One write to a region; the queue pairs are replaced if it fails. Return the status. */
static enum ibv_wc_status write_once(struct end *from, struct end *to, struct mem *source,
				     const struct mem *target, size_t length)
{
	struct ibv_sge s = sge(source, 0, length);
	struct ibv_send_wr wr = work(1, IBV_WR_RDMA_WRITE, &s, 1, target, 0);
	enum ibv_wc_status status;

	ck_assert_int_eq(post(from, &wr), 0);
	status = completion(from).status;
	if (status != IBV_WC_SUCCESS) {
		struct address a = end_address(from), b = end_address(to);

		forget_completions(from);
		ck_assert_int_eq(end_to(from, IBV_QPS_RESET) | end_to(to, IBV_QPS_RESET), 0);
		end_connect(from, &b);
		end_connect(to, &a);
	}
	operation();
	return status;
}

static bool is_possible(enum ibv_wc_status status)
{
	return status == IBV_WC_SUCCESS || status == IBV_WC_REM_ACCESS_ERR;
}

struct user {
	pthread_t thread;
	struct end from, to;
	struct mem source;
	unsigned int rng;
};

static void user_open(struct user *u, unsigned int rng)
{
	*u = (struct user){ .rng = rng };
	end_open(&u->from, NULL);
	end_open(&u->to, NULL);
	ends_connect(&u->from, &u->to);
	u->source = mem_new(&u->from, SIZE, ALL_ACCESS);
}

static void user_close(struct user *u)
{
	mem_free(&u->source);
	end_close(&u->from);
	end_close(&u->to);
}

/* Register in either way, write a few times, deregister. */
static bool use_once(struct user *u)
{
	int access = ALL_ACCESS | (rand_r(&u->rng) % 2 ? ON_DEMAND : 0);
	struct mem region = { .addr = 0, .size = SIZE };
	unsigned int i, n = (unsigned int)rand_r(&u->rng) % 4;
	enum ibv_wc_status status;

	region.mr = ibv_reg_dmabuf_mr(u->to.pd, 0, SIZE, 0, churn.m.fd, access);
	operation();
	if (!region.mr)
		return errno == ENODEV;
	for (i = 0; i < n; i++) {
		status = write_once(&u->from, &u->to, &u->source, &region,
				    rand_r(&u->rng) % 2 ? SIZE : 4096);
		if (!is_possible(status)) {
			churn.status = status;
			return false;
		}
	}
	operation();
	return !ibv_dereg_mr(region.mr);
}

static void *uses(void *arg)
{
	while (!stopped())
		if (!use_once(arg))
			return impossible("a registration, a write or a deregistration failed");
	return NULL;
}

/* A process that makes others, which use the buffer until they are killed. */
static void nursery(int sock)
{
	unsigned int rng = 4711;
	int child;
	char byte;

	while (recv(sock, &byte, 1, MSG_DONTWAIT) < 0) {
		child = fork();
		if (!child) {
			struct user u;

			user_open(&u, rng);
			while (use_once(&u))
				;
			_exit(7);
		}
		usleep((useconds_t)(20000 + rand_r(&rng) % 100000));
		kill(child, SIGKILL);
		if (wait_for(child) != 128 + SIGKILL)
			_exit(1);
		operation();
	}
	_exit(0);
}

START_TEST(everything_at_once)
{
	const char *wanted = getenv("LAB_OPERATIONS");
	unsigned int most = lab_kernel_is("debug") ? 1000 : 3000, i;
	uint64_t until = now_ms() + (wanted ? 3600000 : 60000);
	static struct user users[4];
	pthread_t disturber;
	int sockets[2], child;

	if (wanted)
		most = (unsigned int)atoi(wanted);
	stop = false;
	memset(&churn, 0, sizeof(churn));
	churn.operations = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
				0);
	ck_assert_ptr_ne(churn.operations, MAP_FAILED);
	moving_make(&churn.m, _i ? PEERBAR_TEST_SOURCE_FOREIGN : PEERBAR_TEST_SOURCE_CORE);
	ck_assert_int_eq(socketpair_cloexec(sockets), 0);
	child = fork();
	if (!child)
		nursery(sockets[1]);
	for (i = 0; i < 4; i++) {
		user_open(&users[i], i);
		ck_assert_int_eq(pthread_create(&users[i].thread, NULL, uses, &users[i]), 0);
	}
	ck_assert_int_eq(pthread_create(&disturber, NULL, disturbs, (void *)1), 0);
	while (operations() < most && now_ms() < until && !stopped())
		usleep(10000);
	stop_all();
	send_all(sockets[0], "e", 1);
	for (i = 0; i < 4; i++) {
		pthread_join(users[i].thread, NULL);
		user_close(&users[i]);
	}
	pthread_join(disturber, NULL);
	ck_assert_int_eq(wait_for(child), 0);
	ck_assert_msg(!churn.impossible, "%s (%s)", churn.impossible,
		      ibv_wc_status_str(churn.status));
	ck_assert_msg(operations() >= most || !wanted, "%u of %u operations", operations(), most);
	ck_assert_uint_gt(operations(), 100);
	/* Nothing is left mapped or pinned. */
	ck_assert_uint_eq(moving_maps(&churn.m), 0);
	ck_assert_int_eq(test_restore(churn.m.exporter, churn.m.fd), 0);
	ck_assert_int_eq(moving_move(&churn.m), 0);
	moving_close(&churn.m);
	munmap(churn.operations, PAGE);
	close(sockets[0]);
	close(sockets[1]);
}
END_TEST

/* ---- a revoke while attaching ---- */

static void *registers(void *arg)
{
	struct moving *m = arg;
	unsigned int n;

	for (n = 0; !stopped(); n++) {
		struct ibv_mr *mr = ibv_reg_dmabuf_mr(pair.b.pd, 0, SIZE, 0, m->fd,
						      ALL_ACCESS | (n % 2 ? ON_DEMAND : 0));

		if (mr ? ibv_dereg_mr(mr) : errno != ENODEV)
			return arg;
	}
	return NULL;
}

/* The exporter invalidates importers that are still attaching. */
START_TEST(revoked_while_attaching)
{
	const unsigned int revokes = lab_kernel_is("debug") ? 500 : 1500;
	pthread_t threads[6];
	struct moving m;
	unsigned int i;
	void *failed;

	stop = false;
	moving_make(&m, _i ? PEERBAR_TEST_SOURCE_FOREIGN : PEERBAR_TEST_SOURCE_CORE);
	for (i = 0; i < 6; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, registers, &m), 0);
	for (i = 0; i < revokes; i++) {
		ck_assert_int_eq(test_revoke(m.exporter, m.fd), 0);
		ck_assert_int_eq(test_restore(m.exporter, m.fd), 0);
		if (i % 4 == 0)
			moving_move(&m);
	}
	stop_all();
	for (i = 0; i < 6; i++) {
		pthread_join(threads[i], &failed);
		ck_assert_ptr_null(failed);
	}
	ck_assert_uint_eq(moving_maps(&m), 0);
	ck_assert_int_eq(moving_move(&m), 0);
	moving_close(&m);
}
END_TEST

LAB_SUITE_PART("rdma-demand")
{
	TCase *t = rdma_case(s, "traffic", 300, demand_up, demand_down);

	tcase_add_loop_test(t, thousand_moves, 0, 2);
	tcase_add_loop_test(t, moves_by_itself, 0, 2);
	tcase_add_loop_test(t, everything_at_once, 0, 2);
	tcase_add_loop_test(t, revoked_while_attaching, 0, 2);
}
