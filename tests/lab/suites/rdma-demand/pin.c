// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Buffers that move, registered without IBV_ACCESS_ON_DEMAND: they are pinned. */
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "demand-fixture.h"
#include "modules.h"

static const enum peerbar_test_source sources[] = { PEERBAR_TEST_SOURCE_CORE,
						    PEERBAR_TEST_SOURCE_FOREIGN };

/* It does not move while a region exists, and moves afterwards. */
START_TEST(pinned_until_deregistered)
{
	struct moving m;
	struct ibv_mr *other;

	moving_make(&m, sources[_i]);
	moving_register(&m, ALL_ACCESS);
	moving_works(&m, 1);
	ck_assert_int_eq(moving_move(&m), -EBUSY);
	other = ibv_reg_dmabuf_mr(pair.b.pd, PAGE, PAGE, 0, m.fd, ALL_ACCESS);
	ck_assert_ptr_nonnull(other);
	ck_assert_int_eq(ibv_dereg_mr(m.mem.mr), 0);
	ck_assert_int_eq(moving_move(&m), -EBUSY);
	ck_assert_int_eq(ibv_dereg_mr(other), 0);
	ck_assert_uint_eq(moving_maps(&m), 0);
	ck_assert_int_eq(moving_move(&m), 0);
	moving_register(&m, ALL_ACCESS);
	moving_works(&m, 2);
	ck_assert(moving_is_poisoned(&m, PEERBAR_TEST_PLACE_A));
	moving_close(&m);
}
END_TEST

/* The exporter revokes it all the same: the region is dead, and the pin gone. */
START_TEST(revoked_although_pinned)
{
	struct ibv_sge s = sge(&demand_host, 0, 64);
	struct ibv_send_wr wr;
	struct ibv_mr *dead;
	struct moving m;

	moving_make(&m, sources[_i]);
	moving_register(&m, ALL_ACCESS);
	moving_works(&m, 1);
	ck_assert_int_eq(test_revoke(m.exporter, m.fd), 0);
	ck_assert_uint_eq(moving_maps(&m), 0);
	wr = work(2, IBV_WR_RDMA_WRITE, &s, 1, &m.mem, 0);
	fails(&pair.a, &wr, IBV_WC_REM_ACCESS_ERR);
	replace_qps(&pair.a, &pair.b);
	ck_assert_int_eq(test_restore(m.exporter, m.fd), 0);
	fails(&pair.a, &wr, IBV_WC_REM_ACCESS_ERR);
	replace_qps(&pair.a, &pair.b);
	dead = m.mem.mr;
	ck_assert_int_eq(moving_move(&m), 0);
	moving_register(&m, ALL_ACCESS);
	moving_works(&m, 3);
	ck_assert_int_eq(ibv_dereg_mr(dead), 0);
	ck_assert_int_eq(moving_move(&m), -EBUSY);
	moving_close(&m);
}
END_TEST

static unsigned long pinned_kib(void)
{
	unsigned long kib = 0;
	char line[200];
	FILE *f = fopen("/proc/self/status", "re");

	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f) && sscanf(line, "VmPin: %lu", &kib) != 1)
		;
	fclose(f);
	return kib;
}

/* The whole buffer counts, once for a context, and only while regions pin it. */
START_TEST(counted)
{
	unsigned long before = pinned_kib();
	struct ibv_mr *part, *follows;
	struct moving m;

	moving_make(&m, PEERBAR_TEST_SOURCE_CORE);
	part = ibv_reg_dmabuf_mr(pair.b.pd, PAGE, 100, 0, m.fd, ALL_ACCESS);
	ck_assert_ptr_nonnull(part);
	ck_assert_uint_eq(pinned_kib(), before + SIZE / KIB);
	moving_register(&m, ALL_ACCESS);
	ck_assert_uint_eq(pinned_kib(), before + SIZE / KIB);
	ck_assert_int_eq(ibv_dereg_mr(part), 0);
	ck_assert_uint_eq(pinned_kib(), before + SIZE / KIB);
	ck_assert_int_eq(ibv_dereg_mr(m.mem.mr), 0);
	ck_assert_uint_eq(pinned_kib(), before);
	follows = ibv_reg_dmabuf_mr(pair.b.pd, 0, SIZE, 0, m.fd, ALL_ACCESS | ON_DEMAND);
	ck_assert_ptr_nonnull(follows);
	ck_assert_uint_eq(pinned_kib(), before);
	ck_assert_int_eq(ibv_dereg_mr(follows), 0);
	m.mem.mr = NULL;
	moving_close(&m);
}
END_TEST

/* A user without privileges pins at most RLIMIT_MEMLOCK. */
START_TEST(limited)
{
	struct rlimit most = { SIZE, SIZE };
	struct moving m, other;
	int child, log;

	moving_make(&m, PEERBAR_TEST_SOURCE_CORE);
	moving_make(&other, PEERBAR_TEST_SOURCE_FOREIGN);
	log = log_open();
	child = fork();
	if (!child) {
		struct ibv_context *ctx = verbs_open(rdma_name());
		struct ibv_pd *pd = ibv_alloc_pd(ctx);
		struct ibv_mr *mr;

		if (setrlimit(RLIMIT_MEMLOCK, &most) || setuid(65534) || !pd)
			_exit(1);
		mr = ibv_reg_dmabuf_mr(pd, 0, PAGE, 0, m.fd, ALL_ACCESS);
		if (!mr)
			_exit(2);
		if (ibv_reg_dmabuf_mr(pd, 0, PAGE, 0, other.fd, ALL_ACCESS) || errno != ENOMEM)
			_exit(3);
		if (!ibv_reg_dmabuf_mr(pd, 0, PAGE, 0, other.fd, ALL_ACCESS | ON_DEMAND))
			_exit(4);
		if (ibv_dereg_mr(mr) || !ibv_reg_dmabuf_mr(pd, 0, PAGE, 0, other.fd, ALL_ACCESS))
			_exit(5);
		_exit(0);
	}
	ck_assert_int_eq(wait_for(child), 0);
	ck_assert(log_has(log, "exceeds RLIMIT_MEMLOCK"));
	ck_assert_int_eq(moving_move(&m), 0);
	ck_assert_int_eq(moving_move(&other), 0);
	moving_close(&m);
	moving_close(&other);
}
END_TEST

LAB_SUITE("rdma-demand", 0)
{
	TCase *t = rdma_case(s, "pinned", 120, demand_up, demand_down);

	tcase_add_loop_test(t, pinned_until_deregistered, 0, 2);
	tcase_add_loop_test(t, revoked_although_pinned, 0, 2);
	tcase_add_test(t, counted);
	tcase_add_test(t, limited);
}
