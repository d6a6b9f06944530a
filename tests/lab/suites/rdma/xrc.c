// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Extended reliable connections: an initiator, a target, and shared receive queues in the target's
 * domain, which a file descriptor names. rxe has none.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "rdma-fixture.h"

#define SIZE (256 * KIB)

/* An initiator and a target with a queue, each in its own context, and memory of both. */
static struct end x, y;
static struct mem at_x, at_y;

static void xrc_open(void)
{
	struct end_options initiator = { .type = IBV_QPT_XRC_SEND };
	struct end_options target = { .type = IBV_QPT_XRC_RECV };

	end_open(&x, &initiator);
	end_open(&y, &target);
	at_x = mem_new(&x, SIZE, ALL_ACCESS);
	at_y = mem_new(&y, SIZE, ALL_ACCESS);
	lab_pattern(at_x.p, SIZE, 1);
	memset(at_y.p, 0xee, SIZE);
	x.timeout = 16;
	ends_connect(&x, &y);
}

static void xrc_close(void)
{
	mem_free(&at_x);
	mem_free(&at_y);
	end_close(&x);
	end_close(&y);
}

/* ---- operations ---- */

static struct ibv_send_wr work_at_y(enum ibv_wr_opcode opcode, struct ibv_sge *local)
{
	struct ibv_send_wr wr =
		work(opcode, opcode, local, 1,
		     opcode == IBV_WR_SEND || opcode == IBV_WR_SEND_WITH_IMM ? NULL : &at_y, 64);

	wr.imm_data = htonl(77);
	if (opcode == IBV_WR_ATOMIC_FETCH_AND_ADD || opcode == IBV_WR_ATOMIC_CMP_AND_SWP)
		wr.wr.atomic.compare_add = 5;
	return wr;
}

static const enum ibv_wr_opcode opcodes[] = {
	IBV_WR_SEND,
	IBV_WR_SEND_WITH_IMM,
	IBV_WR_RDMA_WRITE,
	IBV_WR_RDMA_WRITE_WITH_IMM,
	IBV_WR_RDMA_READ,
	IBV_WR_ATOMIC_FETCH_AND_ADD,
	IBV_WR_ATOMIC_CMP_AND_SWP,
};
#define NR_OPCODES ((int)(sizeof(opcodes) / sizeof(*opcodes)))

static bool is_atomic(enum ibv_wr_opcode opcode)
{
	return opcode == IBV_WR_ATOMIC_FETCH_AND_ADD || opcode == IBV_WR_ATOMIC_CMP_AND_SWP;
}

/* Post @opcode by ibv_wr_start() and its companions. */
static void call(struct end *end, enum ibv_wr_opcode opcode, const struct ibv_sge *local,
		 uint64_t addr, uint32_t rkey)
{
	struct ibv_qp_ex *ex = ibv_qp_to_qp_ex(end->qp);

	ibv_wr_start(ex);
	ex->wr_id = opcode;
	ex->wr_flags = IBV_SEND_SIGNALED;
	switch (opcode) {
	case IBV_WR_SEND:
		ibv_wr_send(ex);
		break;
	case IBV_WR_SEND_WITH_IMM:
		ibv_wr_send_imm(ex, htonl(77));
		break;
	case IBV_WR_RDMA_WRITE:
		ibv_wr_rdma_write(ex, rkey, addr);
		break;
	case IBV_WR_RDMA_WRITE_WITH_IMM:
		ibv_wr_rdma_write_imm(ex, rkey, addr, htonl(77));
		break;
	case IBV_WR_RDMA_READ:
		ibv_wr_rdma_read(ex, rkey, addr);
		break;
	case IBV_WR_ATOMIC_FETCH_AND_ADD:
		ibv_wr_atomic_fetch_add(ex, rkey, addr, 5);
		break;
	default:
		ibv_wr_atomic_cmp_swp(ex, rkey, addr, 5, 0);
	}
	ibv_wr_set_xrc_srqn(ex, end->remote_srqn);
	ibv_wr_set_sge(ex, local->lkey, local->addr, local->length);
	ck_assert_int_eq(ibv_wr_complete(ex), 0);
}

/* The effect of @opcode on the memory of both, which had patterns. */
static void took_effect(enum ibv_wr_opcode opcode, size_t length)
{
	uint64_t was;

	if (!is_atomic(opcode)) {
		ck_assert_mem_eq(at_x.p + 4096, at_y.p + 64, length);
		return;
	}
	/* The pattern of @at_y is 0xee: the swap does not match, and the addition does not carry. */
	was = word(&at_x, 4096);
	ck_assert_uint_eq(was, 0xeeeeeeeeeeeeeeee);
	ck_assert_uint_eq(word(&at_y, 64), opcode == IBV_WR_ATOMIC_FETCH_AND_ADD ? was + 5 : was);
}

/* All requests, posted as a list and by calls; the completions of both sides. */
START_TEST(operations)
{
	enum ibv_wr_opcode opcode = opcodes[_i / 2];
	size_t length = is_atomic(opcode) ? 8 : 100000;
	struct ibv_qp_init_attr_ex attr = {
		.qp_type = IBV_QPT_XRC_SEND,
		.comp_mask = IBV_QP_INIT_ATTR_PD | IBV_QP_INIT_ATTR_SEND_OPS_FLAGS,
		.cap = { .max_send_wr = 16, .max_send_sge = 4 },
		.send_ops_flags = IBV_QP_EX_WITH_SEND | IBV_QP_EX_WITH_SEND_WITH_IMM |
			IBV_QP_EX_WITH_RDMA_WRITE | IBV_QP_EX_WITH_RDMA_WRITE_WITH_IMM |
			IBV_QP_EX_WITH_RDMA_READ | IBV_QP_EX_WITH_ATOMIC_FETCH_AND_ADD |
			IBV_QP_EX_WITH_ATOMIC_CMP_AND_SWP,
	};
	struct ibv_sge local, to;
	struct ibv_send_wr wr;
	struct ibv_wc wc;

	xrc_open();
	if (_i % 2) {
		ck_assert_int_eq(ibv_destroy_qp(x.qp) | ibv_destroy_qp(y.qp), 0);
		attr.pd = x.pd;
		attr.send_cq = x.cq;
		x.qp = ibv_create_qp_ex(x.ctx, &attr);
		ck_assert_msg(x.qp, "no initiator: %s", strerror(errno));
		attr = (struct ibv_qp_init_attr_ex){ .qp_type = IBV_QPT_XRC_RECV,
						     .comp_mask = IBV_QP_INIT_ATTR_XRCD,
						     .xrcd = y.xrcd };
		y.qp = ibv_create_qp_ex(y.ctx, &attr);
		ck_assert_msg(y.qp, "no target: %s", strerror(errno));
		ends_connect(&x, &y);
	}
	local = sge(&at_x, 4096, length);
	to = sge(&at_y, 64, length + 1);
	if (takes_receive(opcode))
		ck_assert_int_eq(post_receive(&y, 9, &to, 1), 0);
	if (_i % 2) {
		call(&x, opcode, &local, at_y.addr + 64, at_y.mr->rkey);
		completes(&x, opcode, IBV_WC_SUCCESS);
	} else {
		wr = work_at_y(opcode, &local);
		done(&x, &wr);
	}
	if (takes_receive(opcode)) {
		wc = completes(&y, 9, IBV_WC_SUCCESS);
		ck_assert_uint_eq(wc.byte_len, length);
		ck_assert_uint_eq(wc.src_qp, x.qp->qp_num);
		ck_assert_int_eq(wc.opcode,
				 opcode == IBV_WR_RDMA_WRITE_WITH_IMM ? IBV_WC_RECV_RDMA_WITH_IMM :
									IBV_WC_RECV);
		ck_assert_uint_eq(wc.wc_flags, opcode == IBV_WR_SEND ? 0 : IBV_WC_WITH_IMM);
		if (opcode != IBV_WR_SEND)
			ck_assert_uint_eq(wc.imm_data, htonl(77));
	}
	took_effect(opcode, length);
	nothing_completes(&x);
	nothing_completes(&y);
	xrc_close();
}
END_TEST

/* Inline data, several elements, and a chain of requests to two queues in turn. */
START_TEST(two_queues)
{
	struct end_options with = { .type = IBV_QPT_XRC_RECV, .domain = domain_fd() };
	struct end_options initiator = { .type = IBV_QPT_XRC_SEND };
	struct ibv_sge from[2], to;
	struct ibv_send_wr wr;
	struct mem at_z;
	struct end z;
	int i;

	end_open(&x, &initiator);
	end_open(&y, &with);
	with.target = y.qp->qp_num;
	end_open(&z, &with);
	at_x = mem_new(&x, SIZE, ALL_ACCESS);
	at_y = mem_new(&y, SIZE, ALL_ACCESS);
	at_z = mem_new(&z, SIZE, ALL_ACCESS);
	lab_pattern(at_x.p, SIZE, 3);
	ends_connect(&x, &y);
	ck_assert_uint_ne(end_srqn(&y), end_srqn(&z));
	for (i = 0; i < 20; i++) {
		struct end *end = i % 2 ? &z : &y;

		x.remote_srqn = end_srqn(end);
		to = sge(i % 2 ? &at_z : &at_y, (size_t)i * 4096, 4096);
		ck_assert_int_eq(post_receive(end, (uint64_t)i, &to, 1), 0);
		from[0] = sge(&at_x, (size_t)i * 4096, 13);
		from[1] = sge(&at_x, (size_t)i * 4096 + 13, i % 3 ? 3000 : 20);
		wr = work((uint64_t)i, IBV_WR_SEND, from, 2, NULL, 0);
		if (i % 3 == 0)
			wr.send_flags |= IBV_SEND_INLINE;
		done(&x, &wr);
		completes(end, (uint64_t)i, IBV_WC_SUCCESS);
		ck_assert_mem_eq((i % 2 ? at_z.p : at_y.p) + i * 4096, at_x.p + i * 4096,
				 i % 3 ? 3013 : 33);
		/* The memory is that of the queue's protection domain. */
		wr = work((uint64_t)i + 100, IBV_WR_RDMA_WRITE, from, 2, i % 2 ? &at_z : &at_y,
			  128 * KIB);
		done(&x, &wr);
		ck_assert_mem_eq((i % 2 ? at_z.p : at_y.p) + 128 * KIB, at_x.p + i * 4096, 33);
	}
	nothing_completes(&y);
	nothing_completes(&z);
	/* The key of the one does not permit access by the queue of the other. */
	x.remote_srqn = end_srqn(&y);
	wr = work(1, IBV_WR_RDMA_WRITE, from, 1, &at_z, 0);
	fails(&x, &wr, IBV_WC_REM_ACCESS_ERR);
	event_comes(&y, IBV_EVENT_QP_ACCESS_ERR);
	end_state_is(&z, IBV_QPS_ERR);
	mem_free(&at_z);
	xrc_close();
	end_close(&z);
	close(with.domain);
}
END_TEST

/* ---- refused ---- */

/* Requests that name no queue of the domain fail, and so does everything behind them. */
START_TEST(wrong_number)
{
	struct end_options with = { .type = IBV_QPT_XRC_RECV };
	enum ibv_wr_opcode opcode = opcodes[_i / 4];
	struct ibv_sge local;
	struct ibv_send_wr wr;
	struct end other;

	xrc_open();
	local = sge(&at_x, 0, 8);
	end_open(&other, &with);
	switch (_i % 4) {
	case 0: /* of another domain */
		x.remote_srqn = end_srqn(&other);
		break;
	case 1: /* of a queue that is gone */
		x.remote_srqn = end_srqn(&other);
		ck_assert_int_eq(ibv_destroy_srq(other.srq), 0);
		other.srq = NULL;
		break;
	case 2: /* of none */
		x.remote_srqn = 0;
		break;
	default: /* A number has 24 bits. */
		x.remote_srqn |= 1 << 24;
	}
	wr = work_at_y(opcode, &local);
	fails(&x, &wr, _i % 4 == 3 ? IBV_WC_LOC_QP_OP_ERR : IBV_WC_REM_INV_REQ_ERR);
	end_state_is(&x, IBV_QPS_ERR);
	wr.wr_id = 99;
	fails(&x, &wr, IBV_WC_WR_FLUSH_ERR);
	if (_i % 4 != 3) {
		event_comes(&y, IBV_EVENT_QP_ACCESS_ERR);
		end_state_is(&y, IBV_QPS_ERR);
	}
	ck_assert_uint_eq(word(&at_y, 64), 0xeeeeeeeeeeeeeeee);
	nothing_completes(&y);
	end_close(&other);
	xrc_close();
}
END_TEST

/* Verbs that are refused, and the errno. */
START_TEST(refused)
{
	struct ibv_xrcd_init_attr domain = {
		.comp_mask = IBV_XRCD_INIT_ATTR_FD | IBV_XRCD_INIT_ATTR_OFLAGS,
		.fd = domain_fd(),
	};
	struct ibv_qp_open_attr open = {
		.comp_mask = IBV_QP_OPEN_ATTR_NUM | IBV_QP_OPEN_ATTR_XRCD | IBV_QP_OPEN_ATTR_TYPE,
		.qp_type = IBV_QPT_XRC_RECV,
	};
	struct ibv_srq_init_attr_ex srq = {
		.attr = { .max_wr = 4, .max_sge = 1 },
		.comp_mask = IBV_SRQ_INIT_ATTR_TYPE | IBV_SRQ_INIT_ATTR_PD | IBV_SRQ_INIT_ATTR_XRCD,
		.srq_type = IBV_SRQT_XRC,
	};
	struct ibv_qp_init_attr_ex create = { .qp_type = IBV_QPT_XRC_RECV,
					      .comp_mask = IBV_QP_INIT_ATTR_PD };
	struct ibv_send_wr wr = work(1, IBV_WR_SEND, NULL, 0, NULL, 0), *bad_send;
	struct ibv_recv_wr receive = { .wr_id = 1 }, *bad;
	struct ibv_device_attr_ex device;
	struct ibv_xrcd *xrcd, *again;
	struct ibv_qp *qp;

	xrc_open();
	ck_assert_int_eq(ibv_query_device_ex(x.ctx, NULL, &device), 0);
	ck_assert(device.orig_attr.device_cap_flags & IBV_DEVICE_XRC);
	ck_assert_uint_eq(device.xrc_odp_caps & IBV_ODP_SUPPORT_SRQ_RECV, IBV_ODP_SUPPORT_SRQ_RECV);

	/* No domain has the descriptor's name, then one has it already; no descriptor. */
	ck_assert_ptr_null(ibv_open_xrcd(x.ctx, &domain));
	ck_assert_int_eq(errno, EAGAIN);
	domain.oflags = O_CREAT | O_EXCL;
	xrcd = ibv_open_xrcd(x.ctx, &domain);
	ck_assert_ptr_nonnull(xrcd);
	ck_assert_ptr_null(ibv_open_xrcd(y.ctx, &domain));
	ck_assert_int_eq(errno, EINVAL);
	domain.oflags = 0;
	again = ibv_open_xrcd(y.ctx, &domain);
	ck_assert_ptr_nonnull(again);
	close(domain.fd);
	ck_assert_ptr_null(ibv_open_xrcd(x.ctx, &domain));
	ck_assert_int_eq(errno, EBADF);

	/* A target belongs to its domain. */
	open.xrcd = again;
	open.qp_num = y.qp->qp_num;
	ck_assert_ptr_null(ibv_open_qp(y.ctx, &open));
	ck_assert_int_eq(errno, EINVAL);
	open.xrcd = y.xrcd;
	open.qp_num = x.qp->qp_num;
	ck_assert_ptr_null(ibv_open_qp(y.ctx, &open));
	ck_assert_int_eq(errno, EINVAL);
	open.qp_num = y.qp->qp_num;
	open.qp_type = IBV_QPT_RC;
	ck_assert_ptr_null(ibv_open_qp(y.ctx, &open));
	ck_assert_int_eq(errno, EINVAL);

	/* It needs a domain, and a queue needs a completion queue. */
	create.pd = y.pd;
	ck_assert_ptr_null(ibv_create_qp_ex(y.ctx, &create));
	ck_assert_int_eq(errno, EINVAL);
	srq.pd = y.pd;
	srq.xrcd = again;
	ck_assert_ptr_null(ibv_create_srq_ex(y.ctx, &srq));
	ck_assert_int_eq(errno, EINVAL);

	/* Neither has a receive queue, and a target sends nothing; an opened one likewise. */
	ck_assert_int_eq(ibv_post_recv(x.qp, &receive, &bad), EINVAL);
	ck_assert_int_eq(ibv_post_recv(y.qp, &receive, &bad), EINVAL);
	ck_assert_int_eq(ibv_post_send(y.qp, &wr, &bad_send), EINVAL);
	open.qp_type = IBV_QPT_XRC_RECV;
	qp = ibv_open_qp(y.ctx, &open);
	ck_assert_ptr_nonnull(qp);
	ck_assert_int_eq(ibv_post_recv(qp, &receive, &bad), EINVAL);
	ck_assert_int_eq(ibv_post_send(qp, &wr, &bad_send), EINVAL);

	/* What is in use stays. */
	ck_assert_int_eq(ibv_close_xrcd(y.xrcd), EBUSY);
	ck_assert_int_eq(ibv_destroy_cq(y.cq), EBUSY);
	ck_assert_int_eq(ibv_destroy_qp(qp), 0);
	ck_assert_int_eq(ibv_close_xrcd(y.xrcd), EBUSY);
	done(&x,
	     &(struct ibv_send_wr){ .opcode = IBV_WR_RDMA_WRITE, .send_flags = IBV_SEND_SIGNALED });
	ck_assert_int_eq(ibv_close_xrcd(xrcd), 0);
	ck_assert_int_eq(ibv_close_xrcd(again), 0);
	xrc_close();
}
END_TEST

/* Without a receive, a request fails, or waits for one. */
START_TEST(empty_queue)
{
	enum ibv_wr_opcode opcode = _i % 2 ? IBV_WR_RDMA_WRITE_WITH_IMM : IBV_WR_SEND;
	struct ibv_sge local, to;
	struct ibv_send_wr wr;

	xrc_open();
	if (_i < 2) {
		struct ibv_qp_attr attr = { .rnr_retry = 2 };

		ck_assert_int_eq(end_to(&x, IBV_QPS_RESET), 0);
		ck_assert_int_eq(end_to(&y, IBV_QPS_RESET), 0);
		x.rnr_retries = (uint8_t)attr.rnr_retry;
		ends_connect(&x, &y);
	}
	local = sge(&at_x, 0, 5000);
	to = sge(&at_y, 64, 5000);
	wr = work_at_y(opcode, &local);
	if (_i < 2) {
		fails(&x, &wr, IBV_WC_RNR_RETRY_EXC_ERR);
		/* The target is not affected. */
		ck_assert_int_eq(end_state(&y), IBV_QPS_RTS);
	} else {
		ck_assert_int_eq(post(&x, &wr), 0);
		nothing_completes(&x);
		ck_assert_int_eq(post_receive(&y, 3, &to, 1), 0);
		completes(&x, opcode, IBV_WC_SUCCESS);
		completes(&y, 3, IBV_WC_SUCCESS);
		ck_assert_mem_eq(at_x.p, at_y.p + 64, 5000);
	}
	xrc_close();
}
END_TEST

/* A receive that is too short, or has a wrong key: completes in error at the queue. */
START_TEST(bad_receive)
{
	struct ibv_sge local, to;
	struct ibv_send_wr wr;

	xrc_open();
	local = sge(&at_x, 0, 5000);
	to = sge(&at_y, 64, _i ? 5000 : 4999);
	to.lkey += (uint32_t)_i;
	ck_assert_int_eq(post_receive(&y, 3, &to, 1), 0);
	wr = work_at_y(IBV_WR_SEND, &local);
	fails(&x, &wr, _i ? IBV_WC_REM_OP_ERR : IBV_WC_REM_INV_REQ_ERR);
	completes(&y, 3, _i ? IBV_WC_LOC_PROT_ERR : IBV_WC_LOC_LEN_ERR);
	end_state_is(&y, IBV_QPS_ERR);
	event_comes(&y, IBV_EVENT_QP_LAST_WQE_REACHED);
	xrc_close();
}
END_TEST

/* All memory of the kernel's own users has a key, which a target must not know. */
START_TEST(kernel_key)
{
	struct ibv_sge local, to;
	struct ibv_send_wr wr;

	xrc_open();
	local = sge(&at_x, 0, 100);
	to = (struct ibv_sge){ .addr = 0x100000, .length = 100, .lkey = 0xffffff00 };
	ck_assert_int_eq(post_receive(&y, 3, &to, 1), 0);
	wr = work_at_y(IBV_WR_SEND, &local);
	fails(&x, &wr, IBV_WC_REM_OP_ERR);
	completes(&y, 3, IBV_WC_LOC_PROT_ERR);
	xrc_close();
}
END_TEST

/* A queue that is destroyed has no completions any more; those of others stay. */
START_TEST(completions_end)
{
	struct end_options with = { .type = IBV_QPT_XRC_RECV, .domain = domain_fd() };
	struct end_options initiator = { .type = IBV_QPT_XRC_SEND };
	struct ibv_send_wr wr = work(1, IBV_WR_SEND, NULL, 0, NULL, 0);
	struct ibv_srq *second;
	struct ibv_srq_init_attr_ex srq = {
		.attr = { .max_wr = 4, .max_sge = 1 },
		.comp_mask = IBV_SRQ_INIT_ATTR_TYPE | IBV_SRQ_INIT_ATTR_PD |
			IBV_SRQ_INIT_ATTR_XRCD | IBV_SRQ_INIT_ATTR_CQ,
		.srq_type = IBV_SRQT_XRC,
	};
	struct ibv_recv_wr receive = { 0 }, *bad;
	uint32_t numbers[2];
	uint64_t i;

	end_open(&x, &initiator);
	end_open(&y, &with);
	srq.pd = y.pd;
	srq.xrcd = y.xrcd;
	srq.cq = y.cq;
	second = ibv_create_srq_ex(y.ctx, &srq);
	ck_assert_ptr_nonnull(second);
	ends_connect(&x, &y);
	numbers[0] = end_srqn(&y);
	ck_assert_int_eq(ibv_get_srq_num(second, &numbers[1]), 0);
	for (i = 0; i < 4; i++) {
		receive.wr_id = i;
		ck_assert_int_eq(ibv_post_srq_recv(i % 2 ? second : y.srq, &receive, &bad), 0);
		x.remote_srqn = numbers[i % 2];
		done(&x, &wr);
	}
	ck_assert_int_eq(ibv_destroy_srq(second), 0);
	completes(&y, 0, IBV_WC_SUCCESS);
	completes(&y, 2, IBV_WC_SUCCESS);
	nothing_completes(&y);
	end_close(&x);
	end_close(&y);
	close(with.domain);
}
END_TEST

#define LARGE (32 * MIB)

static void *posts(void *arg)
{
	return post(&x, arg) ? arg : NULL;
}

/*
 * The initiator is reset during a message, whose receive the target has taken. The next message is
 * for another queue: the receive returns to its owner.
 */
START_TEST(reset_during_message)
{
	struct end_options with = { .type = IBV_QPT_XRC_RECV, .domain = domain_fd() };
	struct end_options initiator = { .type = IBV_QPT_XRC_SEND };
	struct ibv_sge from[8], to[8], small;
	struct ibv_send_wr wr, next;
	struct address target;
	pthread_t thread;
	struct end z;
	void *failed;
	int i;

	/* Over the wire, the target expects the rest of the message. */
	if (rdma_is_wire())
		return;
	end_open(&x, &initiator);
	end_open(&y, &with);
	with.target = y.qp->qp_num;
	end_open(&z, &with);
	at_x = mem_new(&x, LARGE, ALL_ACCESS);
	at_y = mem_new(&y, LARGE, ALL_ACCESS);
	ends_connect(&x, &y);
	target = end_address(&y);
	for (i = 0; i < 8; i++) {
		from[i] = sge(&at_x, 0, LARGE);
		to[i] = sge(&at_y, 0, LARGE);
	}
	ck_assert_int_eq(post_receive(&y, 7, to, 8), 0);
	ck_assert_int_eq(post_receive(&z, 8, NULL, 0), 0);
	at_x.p[0] = 1;
	wr = work(1, IBV_WR_SEND, from, 8, NULL, 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, posts, &wr), 0);
	while (!__atomic_load_n(at_y.p, __ATOMIC_SEQ_CST))
		usleep(100);
	ck_assert_int_eq(end_to(&x, IBV_QPS_RESET), 0);
	pthread_join(thread, &failed);
	ck_assert_ptr_null(failed);
	nothing_completes(&y);
	end_connect(&x, &target);
	x.remote_srqn = end_srqn(&z);
	small = sge(&at_x, 0, 0);
	next = work(2, IBV_WR_SEND, &small, 1, NULL, 0);
	done(&x, &next);
	completes(&z, 8, IBV_WC_SUCCESS);
	completes(&y, 7, IBV_WC_WR_FLUSH_ERR);
	/* The other queue works, too. */
	x.remote_srqn = end_srqn(&y);
	ck_assert_int_eq(post_receive(&y, 9, NULL, 0), 0);
	done(&x, &next);
	completes(&y, 9, IBV_WC_SUCCESS);
	end_close(&z);
	xrc_close();
	close(with.domain);
}
END_TEST

LAB_SUITE_PART("rdma")
{
	TCase *t;

	if (rdma_is_rxe())
		return;
	t = rdma_case(s, "xrc", 120, NULL, NULL);
	tcase_add_loop_test(t, operations, 0, 2 * NR_OPCODES);
	tcase_add_test(t, two_queues);
	tcase_add_loop_test(t, wrong_number, 0, 4 * NR_OPCODES);
	tcase_add_test(t, refused);
	tcase_add_loop_test(t, empty_queue, 0, 4);
	tcase_add_loop_test(t, bad_receive, 0, 2);
	tcase_add_test(t, kernel_key);
	tcase_add_test(t, completions_end);
	tcase_add_test(t, reset_during_message);
}
