// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Buffers that the exporter still copies to their place, as a fence says: accesses wait. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "demand-fixture.h"
#include "modules.h"

static const enum peerbar_test_source sources[] = { PEERBAR_TEST_SOURCE_CORE,
						    PEERBAR_TEST_SOURCE_FOREIGN };

/* Post a write, request 2, to a region on demand that moved, and that the exporter still copies. */
static void post_while_copied(struct moving *m, enum peerbar_test_source source,
			      struct ibv_send_wr *wr, struct ibv_sge *s)
{
	*s = sge(&demand_host, 0, 4 * KIB);
	moving_make(m, source);
	moving_register(m, ALL_ACCESS | ON_DEMAND);
	moving_works(m, 1);
	ck_assert_int_eq(moving_move(m), 0);
	ck_assert_int_eq(test_copy_begin(m->exporter, m->fd), 0);
	lab_pattern(demand_host.p, SIZE, 2);
	*wr = work(2, IBV_WR_RDMA_WRITE, s, 1, &m->mem, 0);
	ck_assert_int_eq(post(&pair.a, wr), 0);
	nothing_completes(&pair.a);
}

/* An access waits for the end of the copy, and delays no other work of the queue pairs. */
START_TEST(an_access_waits)
{
	struct ibv_sge s, to;
	struct ibv_send_wr wr;
	struct moving m;

	post_while_copied(&m, sources[_i], &wr, &s);
	ck_assert(!moving_has(&m, PEERBAR_TEST_PLACE_HERE, 0, demand_host.p, 4 * KIB));
	/* The peer sends, and receives, meanwhile. */
	to = sge(&demand_host, 8 * KIB, 64);
	ck_assert_int_eq(post_receive(&pair.a, 3, &to, 1), 0);
	wr = work(4, IBV_WR_SEND, &to, 1, NULL, 0);
	wr.send_flags |= IBV_SEND_INLINE;
	ck_assert_int_eq(post(&pair.b, &wr), 0);
	completes(&pair.b, 4, IBV_WC_SUCCESS);
	completes(&pair.a, 3, IBV_WC_SUCCESS);
	nothing_completes(&pair.a);
	ck_assert_int_eq(test_copy_end(m.exporter, m.fd), 0);
	completes(&pair.a, 2, IBV_WC_SUCCESS);
	ck_assert(moving_has(&m, PEERBAR_TEST_PLACE_B, 0, demand_host.p, 4 * KIB));
	moving_close(&m);
}
END_TEST

/* A revoke while an access waits: the access fails, although the copy goes on. */
START_TEST(revoked_while_an_access_waits)
{
	struct ibv_sge s;
	struct ibv_send_wr wr;
	struct moving m;
	pid_t child;

	post_while_copied(&m, PEERBAR_TEST_SOURCE_CORE, &wr, &s);
	/* It waits for the fences, that of the copy included. */
	child = fork();
	ck_assert_int_ge(child, 0);
	if (!child)
		_exit(!!test_revoke(m.exporter, m.fd));
	completes(&pair.a, 2, IBV_WC_REM_ACCESS_ERR);
	ck_assert_int_eq(waitpid(child, NULL, WNOHANG), 0);
	ck_assert_int_eq(test_copy_end(m.exporter, m.fd), 0);
	ck_assert_int_eq(wait_for(child), 0);
	ck_assert(!moving_has(&m, PEERBAR_TEST_PLACE_HERE, 0, demand_host.p, 4 * KIB));
	replace_qps(&pair.a, &pair.b);
	moving_close(&m);
}
END_TEST

/* A child that registers the buffer as most NICs do, pinned, while it is copied. */
static pid_t registers(struct moving *m)
{
	pid_t child = fork();

	ck_assert_int_ge(child, 0);
	if (!child) {
		struct ibv_context *ctx = verbs_open(rdma_name());
		struct ibv_pd *pd = ibv_alloc_pd(ctx);

		_exit(!pd || !ibv_reg_dmabuf_mr(pd, 0, SIZE, 0, m->fd, ALL_ACCESS));
	}
	return child;
}

static void is_pinned(struct moving *m, unsigned int pins)
{
	struct peerbar_test_where where;
	int i;

	for (i = 0; i < 400; i++) {
		ck_assert_int_eq(test_where(m->exporter, m->fd, PEERBAR_TEST_PLACE_HERE, 0, &where),
				 0);
		if (where.pins == pins)
			return;
		usleep(10000);
	}
	ck_abort_msg("%u pins, and %u were to be", where.pins, pins);
}

/* A registration that pins waits for the end of the copy; a fatal signal ends the wait. */
START_TEST(a_registration_waits)
{
	struct moving m;
	pid_t child;

	moving_make(&m, sources[_i]);
	ck_assert_int_eq(test_copy_begin(m.exporter, m.fd), 0);
	child = registers(&m);
	is_pinned(&m, 1);
	usleep(200000);
	ck_assert_int_eq(waitpid(child, NULL, WNOHANG), 0);
	kill(child, SIGKILL);
	ck_assert_int_eq(wait_for(child), 128 + SIGKILL);
	is_pinned(&m, 0);
	child = registers(&m);
	is_pinned(&m, 1);
	ck_assert_int_eq(test_copy_end(m.exporter, m.fd), 0);
	ck_assert_int_eq(wait_for(child), 0);
	is_pinned(&m, 0);
	moving_close(&m);
}
END_TEST

LAB_SUITE_PART("rdma-demand")
{
	TCase *t = rdma_case(s, "copying", 60, demand_up, demand_down);

	tcase_add_loop_test(t, an_access_waits, 0, 2);
	tcase_add_test(t, revoked_while_an_access_waits);
	tcase_add_loop_test(t, a_registration_waits, 0, 2);
}
