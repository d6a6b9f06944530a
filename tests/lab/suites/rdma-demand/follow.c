// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Dma-bufs registered with IBV_ACCESS_ON_DEMAND: the region follows the memory. */
#include <string.h>

#include "demand-fixture.h"
#include "modules.h"

static const enum peerbar_test_source sources[] = { PEERBAR_TEST_SOURCE_CORE,
						    PEERBAR_TEST_SOURCE_FOREIGN };

/* Written before and after a move: the bytes are in the new place, and none in the old one. */
START_TEST(follows)
{
	struct moving m;
	unsigned int i;

	moving_make(&m, sources[_i]);
	moving_register(&m, ALL_ACCESS | ON_DEMAND);
	for (i = 0; i < 6; i++) {
		moving_works(&m, i);
		ck_assert(moving_is_poisoned(&m, PEERBAR_TEST_PLACE_THERE));
		ck_assert_int_eq(moving_move(&m), 0);
		ck_assert_uint_eq(moving_maps(&m), 0);
	}
	moving_close(&m);
}
END_TEST

/* Every verb faults, on either side. */
START_TEST(every_verb_faults)
{
	static const enum ibv_wr_opcode opcodes[] = {
		IBV_WR_RDMA_WRITE,    IBV_WR_RDMA_READ,		  IBV_WR_SEND,
		IBV_WR_SEND_WITH_IMM, IBV_WR_RDMA_WRITE_WITH_IMM, IBV_WR_ATOMIC_FETCH_AND_ADD
	};
	struct moving local, remote;
	uint64_t faults = counter("page_faults");
	unsigned int i;

	moving_make(&local, PEERBAR_TEST_SOURCE_CORE);
	moving_make(&remote, PEERBAR_TEST_SOURCE_FOREIGN);
	moving_register(&local, ALL_ACCESS | ON_DEMAND);
	/* The responder's. */
	remote.mem.mr = ibv_reg_dmabuf_mr(pair.a.pd, 0, SIZE, 0, remote.fd, ALL_ACCESS | ON_DEMAND);
	ck_assert_ptr_nonnull(remote.mem.mr);
	for (i = 0; i < sizeof(opcodes) / sizeof(opcodes[0]); i++) {
		bool atomic = opcodes[i] == IBV_WR_ATOMIC_FETCH_AND_ADD,
		     receives = opcodes[i] == IBV_WR_SEND || opcodes[i] == IBV_WR_SEND_WITH_IMM,
		     reads = opcodes[i] == IBV_WR_RDMA_READ || atomic;
		size_t n = atomic ? 8 : SIZE - 64;
		struct ibv_sge from = sge(&local.mem, 64, n), to = sge(&remote.mem, 0, n);
		struct ibv_send_wr wr = work(i, opcodes[i], &from, 1, receives ? NULL : &remote.mem,
					     0);
		struct moving *source = reads ? &remote : &local,
			      *target = reads ? &local : &remote;

		lab_pattern(demand_host.p, SIZE, 100 + i);
		ck_assert_int_eq(test_write(source->exporter, source->fd, PEERBAR_TEST_PLACE_HERE,
					    reads ? 0 : 64, demand_host.p, n),
				 0);
		ck_assert_int_eq(moving_move(&local), 0);
		ck_assert_int_eq(moving_move(&remote), 0);
		if (receives)
			ck_assert_int_eq(post_receive(&pair.a, 77, &to, 1), 0);
		else if (opcodes[i] == IBV_WR_RDMA_WRITE_WITH_IMM)
			ck_assert_int_eq(post_receive(&pair.a, 77, NULL, 0), 0);
		wr.wr.atomic.compare_add = atomic ? 5 : wr.wr.atomic.compare_add;
		done(&pair.b, &wr);
		if (receives || opcodes[i] == IBV_WR_RDMA_WRITE_WITH_IMM)
			completes(&pair.a, 77, IBV_WC_SUCCESS);
		ck_assert_msg(moving_has(target, PEERBAR_TEST_PLACE_HERE, reads ? 64 : 0,
					 demand_host.p, n),
			      "opcode %d", opcodes[i]);
		ck_assert(moving_is_poisoned(&local, PEERBAR_TEST_PLACE_THERE));
		ck_assert(moving_is_poisoned(&remote, PEERBAR_TEST_PLACE_THERE));
		if (atomic) {
			uint64_t sum;

			memcpy(&sum, demand_host.p, 8);
			sum += 5;
			ck_assert(moving_has(&remote, PEERBAR_TEST_PLACE_HERE, 0, &sum, 8));
		}
	}
	ck_assert_uint_ge(counter("page_faults"), faults + 12);
	moving_close(&local);
	moving_close(&remote);
}
END_TEST

/* Datagrams fault too, and none is lost. */
START_TEST(datagrams_fault)
{
	struct end_options ud = { .type = IBV_QPT_UD };
	struct moving source, target;
	struct ibv_send_wr wr;
	struct ibv_sge from, to;
	struct ibv_ah *ah;
	struct end x, y;
	unsigned int i;

	end_open_beside(&x, &pair.b, &ud);
	end_open_beside(&y, &pair.b, &ud);
	end_connect(&x, NULL);
	end_connect(&y, NULL);
	moving_make(&source, PEERBAR_TEST_SOURCE_CORE);
	moving_make(&target, PEERBAR_TEST_SOURCE_FOREIGN);
	moving_register(&source, ALL_ACCESS | ON_DEMAND);
	moving_register(&target, ALL_ACCESS | ON_DEMAND);
	ah = end_handle(&pair.b, &pair.b.gid);
	for (i = 0; i < 4; i++) {
		lab_pattern(demand_host.p, SIZE, i);
		ck_assert_int_eq(test_write(source.exporter, source.fd, PEERBAR_TEST_PLACE_HERE, 5,
					    demand_host.p, 1000),
				 0);
		ck_assert_int_eq(moving_move(&source), 0);
		ck_assert_int_eq(moving_move(&target), 0);
		from = sge(&source.mem, 5, 1000);
		to = sge(&target.mem, PAGE - 20, 2000);
		wr = work(1, IBV_WR_SEND, &from, 1, NULL, 0);
		wr.wr.ud.ah = ah;
		wr.wr.ud.remote_qpn = y.qp->qp_num;
		wr.wr.ud.remote_qkey = QKEY;
		ck_assert_int_eq(post_receive(&y, 2, &to, 1), 0);
		ck_assert_int_eq(post(&x, &wr), 0);
		/* They share the completion queue. */
		ck_assert_int_eq(completion(&x).status, IBV_WC_SUCCESS);
		ck_assert_int_eq(completion(&x).status, IBV_WC_SUCCESS);
		ck_assert(moving_has(&target, PEERBAR_TEST_PLACE_HERE, PAGE - 20 + GRH_BYTES,
				     demand_host.p, 1000));
	}
	ibv_destroy_ah(ah);
	end_close(&x);
	end_close(&y);
	moving_close(&source);
	moving_close(&target);
}
END_TEST

/*
 * While the memory is revoked, accesses fail. Afterwards the same region works again: it is not
 * told as revoked. After a permanent revoke it never does.
 */
START_TEST(revoked_and_restored)
{
	struct ibv_sge s = sge(&demand_host, 0, 64);
	uint64_t revoked = counter("revoked_regions");
	struct ibv_send_wr wr;
	struct moving m;
	int log;

	moving_make(&m, sources[_i]);
	moving_register(&m, ALL_ACCESS | ON_DEMAND);
	moving_works(&m, 1);
	ck_assert_int_eq(test_revoke(m.exporter, m.fd), 0);
	ck_assert_uint_eq(moving_maps(&m), 0);
	wr = work(2, IBV_WR_RDMA_WRITE, &s, 1, &m.mem, 0);
	log = log_open();
	fails(&pair.a, &wr, IBV_WC_REM_ACCESS_ERR);
	ck_assert(log_has(log, "it is revoked"));
	event_comes(&pair.b, IBV_EVENT_QP_ACCESS_ERR);
	replace_qps(&pair.a, &pair.b);
	ck_assert_int_eq(test_restore(m.exporter, m.fd), 0);
	moving_works(&m, 3);
	ck_assert_int_eq(moving_move(&m), 0);
	moving_works(&m, 4);
	ck_assert_int_eq(test_kill(m.exporter, m.fd), 0);
	fails(&pair.a, &wr, IBV_WC_REM_ACCESS_ERR);
	replace_qps(&pair.a, &pair.b);
	s = sge(&m.mem, 0, 64);
	wr = work(5, IBV_WR_SEND, &s, 1, NULL, 0);
	fails(&pair.b, &wr, IBV_WC_LOC_PROT_ERR);
	replace_qps(&pair.a, &pair.b);
	ck_assert_uint_eq(counter("revoked_regions"), revoked);
	moving_close(&m);
}
END_TEST

static int advise(enum ibv_advise_mr_advice advice, uint32_t flags, struct ibv_sge *list,
		  uint32_t n)
{
	return ibv_advise_mr(pair.b.pd, advice, flags, list, n);
}

START_TEST(prefetched)
{
	uint64_t faults, prefetches = counter("page_prefetches");
	struct ibv_sge s;
	struct moving m;
	unsigned int i;

	moving_make(&m, sources[_i]);
	moving_register(&m, ALL_ACCESS | ON_DEMAND);
	moving_works(&m, 1);
	faults = counter("page_faults");
	for (i = 0; i < 2; i++) {
		ck_assert_int_eq(moving_move(&m), 0);
		s = sge(&m.mem, 0, SIZE);
		/* Nothing is mapped for a prefetch that must not fault. */
		ck_assert_int_eq(advise(IBV_ADVISE_MR_ADVICE_PREFETCH_NO_FAULT, 0, &s, 1), 0);
		ck_assert_uint_eq(moving_maps(&m), 0);
		ck_assert_int_eq(advise(i ? IBV_ADVISE_MR_ADVICE_PREFETCH_WRITE :
					    IBV_ADVISE_MR_ADVICE_PREFETCH,
					i ? IBV_ADVISE_MR_FLAG_FLUSH : 0, &s, 1),
				 0);
		ck_assert_uint_eq(moving_maps(&m), 1);
		moving_works(&m, 2 + i);
	}
	ck_assert_uint_eq(counter("page_faults"), faults);
	ck_assert_uint_ge(counter("page_prefetches"), prefetches + 2);
	/* Errors. */
	ck_assert_int_eq(advise(99, 0, &s, 1), EOPNOTSUPP);
	s.lkey ^= 0xff;
	ck_assert_int_eq(advise(IBV_ADVISE_MR_ADVICE_PREFETCH, 0, &s, 1), ENOENT);
	s = (struct ibv_sge){ (uintptr_t)demand_host.p, 64, demand_host.mr->lkey };
	ck_assert_int_eq(advise(IBV_ADVISE_MR_ADVICE_PREFETCH, 0, &s, 1), ENOENT);
	s = sge(&m.mem, SIZE - 1, 2);
	ck_assert_int_eq(advise(IBV_ADVISE_MR_ADVICE_PREFETCH, 0, &s, 1), EFAULT);
	ck_assert_int_eq(test_kill(m.exporter, m.fd), 0);
	s = sge(&m.mem, 0, 64);
	ck_assert_int_eq(advise(IBV_ADVISE_MR_ADVICE_PREFETCH, 0, &s, 1), 0);
	ck_assert_int_eq(advise(IBV_ADVISE_MR_ADVICE_PREFETCH, IBV_ADVISE_MR_FLAG_FLUSH, &s, 1),
			 ENODEV);
	ck_assert_int_eq(ibv_dereg_mr(m.mem.mr), 0);
	m.mem.mr = NULL;
	moving_close(&m);
}
END_TEST

START_TEST(prefetch_of_a_read_only_region)
{
	struct ibv_sge s;
	struct moving m;

	moving_make(&m, PEERBAR_TEST_SOURCE_CORE);
	moving_register(&m, IBV_ACCESS_REMOTE_READ | ON_DEMAND);
	s = sge(&m.mem, 0, SIZE);
	ck_assert_int_eq(advise(IBV_ADVISE_MR_ADVICE_PREFETCH, 0, &s, 1), 0);
	ck_assert_int_eq(advise(IBV_ADVISE_MR_ADVICE_PREFETCH_WRITE, 0, &s, 1), EPERM);
	moving_close(&m);
}
END_TEST

LAB_SUITE_PART("rdma-demand")
{
	TCase *t = rdma_case(s, "follows", 120, demand_up, demand_down);

	tcase_add_loop_test(t, follows, 0, 2);
	tcase_add_test(t, every_verb_faults);
	tcase_add_test(t, datagrams_fault);
	tcase_add_loop_test(t, revoked_and_restored, 0, 2);
	tcase_add_loop_test(t, prefetched, 0, 2);
	tcase_add_test(t, prefetch_of_a_read_only_region);
}
