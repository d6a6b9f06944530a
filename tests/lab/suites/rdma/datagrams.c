// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* UD. */
#include <arpa/inet.h>

#include "rdma-fixture.h"

static struct ibv_send_wr datagram(uint64_t id, struct ibv_sge *from, struct ibv_ah *ah,
				   const struct end *to)
{
	struct ibv_send_wr wr = work(id, IBV_WR_SEND, from, 1, NULL, 0);

	wr.wr.ud.ah = ah;
	wr.wr.ud.remote_qpn = to->qp->qp_num;
	wr.wr.ud.remote_qkey = QKEY;
	return wr;
}

START_TEST(datagrams)
{
	static const size_t lengths[] = { 0, 1, 64, 1000, 1024 };
	struct ibv_ah *ah = end_handle(&pair.a, &pair.b.gid), *back;
	struct ibv_sge from, to;
	struct ibv_send_wr wr;
	struct ibv_grh *grh;
	struct ibv_wc wc;
	unsigned int i;

	for (i = 0; i < 5; i++) {
		prepare(i + 1);
		from = sge(&pair.at_a, 3 + i, lengths[i]);
		to = sge(&pair.at_b, 4090, GRH_BYTES + 1024);
		ck_assert_int_eq(post_receive(&pair.b, i, &to, 1), 0);
		wr = datagram(i, &from, ah, &pair.b);
		done(&pair.a, &wr);
		wc = completes(&pair.b, i, IBV_WC_SUCCESS);
		ck_assert_int_eq(wc.opcode, IBV_WC_RECV);
		ck_assert_uint_eq(wc.wc_flags & IBV_WC_GRH, IBV_WC_GRH);
		ck_assert_uint_eq(wc.byte_len, GRH_BYTES + lengths[i]);
		ck_assert_uint_eq(wc.src_qp, pair.a.qp->qp_num);
		/* NICs report the packet's type in .sl, which UCX relies on: UDP over IPv4. */
		if (!rdma_is_rxe())
			ck_assert_uint_eq(wc.sl, 0xa);
		ck_assert(!memcmp(pair.at_b.p + 4090 + GRH_BYTES, pair.at_a.p + 3 + i, lengths[i]));
	}
	/* The GRH has the sender's address, for the reply. */
	grh = (struct ibv_grh *)(pair.at_b.p + 4096);
	memmove(grh, pair.at_b.p + 4090, sizeof(*grh));
	back = ibv_create_ah_from_wc(pair.b.pd, &wc, grh, 1);
	ck_assert_msg(back, "no address handle from a completion: %s", strerror(errno));
	to = sge(&pair.at_a, 0, 4096);
	from = sge(&pair.at_b, 20000, 77);
	ck_assert_int_eq(post_receive(&pair.a, 9, &to, 1), 0);
	wr = datagram(9, &from, back, &pair.a);
	wr.opcode = IBV_WR_SEND_WITH_IMM;
	wr.imm_data = htonl(5);
	done(&pair.b, &wr);
	wc = completes(&pair.a, 9, IBV_WC_SUCCESS);
	ck_assert_uint_eq(wc.byte_len, GRH_BYTES + 77);
	ck_assert_uint_eq(wc.wc_flags & IBV_WC_WITH_IMM, IBV_WC_WITH_IMM);
	ck_assert_uint_eq(wc.imm_data, htonl(5));
	ibv_destroy_ah(ah);
	ibv_destroy_ah(back);
}
END_TEST

/* A lost datagram is no error of the sender, and affects no queue pair. */
START_TEST(datagrams_lost)
{
	struct ibv_ah *ah = end_handle(&pair.a, &pair.b.gid);
	struct ibv_sge from = sge(&pair.at_a, 0, 100), to = sge(&pair.at_b, 0, 4096);
	struct ibv_send_wr wr = datagram(1, &from, ah, &pair.b);
	struct ibv_wc wc;

	/* No receive. */
	done(&pair.a, &wr);
	/* A wrong Q_Key. */
	ck_assert_int_eq(post_receive(&pair.b, 1, &to, 1), 0);
	wr.wr.ud.remote_qkey = QKEY + 1;
	done(&pair.a, &wr);
	nothing_completes(&pair.b);
	/* No such queue pair. */
	wr.wr.ud.remote_qkey = QKEY;
	wr.wr.ud.remote_qpn = 0xfffff0;
	done(&pair.a, &wr);
	/* The receive is still posted. */
	wr = datagram(2, &from, ah, &pair.b);
	done(&pair.a, &wr);
	wc = completes(&pair.b, 1, IBV_WC_SUCCESS);
	ck_assert_uint_eq(wc.byte_len, GRH_BYTES + 100);
	ck_assert_int_eq(end_state(&pair.a), IBV_QPS_RTS);
	ck_assert_int_eq(end_state(&pair.b), IBV_QPS_RTS);
	ibv_destroy_ah(ah);
}
END_TEST

/*
 * A datagram is one packet: a longer one never arrives, even if the sender's completion succeeds.
 */
START_TEST(datagram_too_long)
{
	struct ibv_ah *ah = end_handle(&pair.a, &pair.b.gid);
	struct ibv_sge from = sge(&pair.at_a, 0, 65536), to = sge(&pair.at_b, 0, 100000);
	struct ibv_send_wr wr = datagram(1, &from, ah, &pair.b);

	ck_assert_int_eq(post_receive(&pair.b, 1, &to, 1), 0);
	post(&pair.a, &wr);
	nothing_completes(&pair.b);
	ibv_destroy_ah(ah);
}
END_TEST

/* A send that fails stops the sends of its queue pair until it is taken to RTS again. */
START_TEST(datagram_fails)
{
	struct ibv_ah *ah = end_handle(&pair.a, &pair.b.gid),
		      *back = end_handle(&pair.b, &pair.a.gid);
	struct ibv_sge from = sge(&pair.at_a, 0, 100), to = sge(&pair.at_b, 0, 4096), wrong = from;
	struct ibv_send_wr wr, next;
	struct ibv_qp_attr attr = { .qp_state = IBV_QPS_RTS, .cur_qp_state = IBV_QPS_SQE };

	wrong.lkey++;
	wr = datagram(1, &wrong, ah, &pair.b);
	next = datagram(2, &from, ah, &pair.b);
	wr.next = &next;
	ck_assert_int_eq(post_receive(&pair.b, 1, &to, 1), 0);
	ck_assert_int_eq(post(&pair.a, &wr), 0);
	completes(&pair.a, 1, IBV_WC_LOC_PROT_ERR);
	completes(&pair.a, 2, IBV_WC_WR_FLUSH_ERR);
	/* rxe's goes to the error state. */
	if (rdma_is_rxe())
		goto out;
	ck_assert_int_eq(end_state(&pair.a), IBV_QPS_SQE);
	next.wr_id = 3;
	fails(&pair.a, &next, IBV_WC_WR_FLUSH_ERR);
	nothing_completes(&pair.b);

	/* It receives. */
	from = sge(&pair.at_b, 8192, 100);
	to = sge(&pair.at_a, 8192, 4096);
	ck_assert_int_eq(post_receive(&pair.a, 4, &to, 1), 0);
	wr = datagram(5, &from, back, &pair.a);
	done(&pair.b, &wr);
	ck_assert_uint_eq(completes(&pair.a, 4, IBV_WC_SUCCESS).byte_len, GRH_BYTES + 100);

	ck_assert_int_eq(ibv_modify_qp(pair.a.qp, &attr, IBV_QP_STATE | IBV_QP_CUR_STATE), 0);
	ck_assert_int_eq(end_state(&pair.a), IBV_QPS_RTS);
	from = sge(&pair.at_a, 0, 100);
	next = datagram(6, &from, ah, &pair.b);
	done(&pair.a, &next);
	ck_assert_uint_eq(completes(&pair.b, 1, IBV_WC_SUCCESS).byte_len, GRH_BYTES + 100);
	/* To the error state, and from there to no other but RESET. */
	ck_assert_int_eq(end_to(&pair.a, IBV_QPS_ERR), 0);
	ck_assert_int_eq(ibv_modify_qp(pair.a.qp, &attr, IBV_QP_STATE), EINVAL);
out:
	ibv_destroy_ah(ah);
	ibv_destroy_ah(back);
}
END_TEST

/* ---- test cases ---- */

LAB_SUITE_PART("rdma")
{
	TCase *t = rdma_case(s, "ud", 120, ud_up, pair_down);

	tcase_add_test(t, datagrams);
	tcase_add_test(t, datagrams_lost);
	tcase_add_test(t, datagram_too_long);
	tcase_add_test(t, datagram_fails);
}
