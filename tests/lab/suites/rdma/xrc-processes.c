// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* XRC between processes: each has a queue of the domain, and both have the target. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <unistd.h>

#include "modules.h"
#include "rdma-fixture.h"

#define SIZE (256 * KIB)

static struct end x;
static struct mem at_x;

static const enum ibv_wr_opcode opcodes[] = {
	IBV_WR_SEND,
	IBV_WR_SEND_WITH_IMM,
	IBV_WR_RDMA_WRITE,
	IBV_WR_RDMA_WRITE_WITH_IMM,
};

enum order_kind {
	RECEIVE,  /* post a receive */
	COMPLETE, /* wait for a completion */
	COMPARE,  /* compare memory with the pattern of a seed */
	FLOOD,	  /* receive, and destroy the queue, a time in ms after the first message */
	LEAVE,
};

struct order {
	enum order_kind kind;
	uint64_t id;
	size_t offset, length;
};

struct reply {
	int ret;
	struct ibv_wc wc;
};

/* What a process offers: its queue, its memory, and the target. */
struct queue {
	struct offer offer;
	uint32_t srqn;
};

/* Post receives as long as they are taken. A time after the first message, destroy the queue. */
static int flood(struct end *end, struct mem *mem, uint64_t milliseconds)
{
	struct ibv_sge to = sge(mem, 0, SIZE);
	uint64_t until = UINT64_MAX;
	struct ibv_wc wc;
	int ret;

	while (now_ms() < until) {
		while (!post_receive(end, 5, &to, 1))
			;
		while (ibv_poll_cq(end->cq, 1, &wc) > 0) {
			if (wc.status != IBV_WC_SUCCESS)
				return EIO;
			if (until == UINT64_MAX)
				until = now_ms() + milliseconds;
		}
	}
	ret = ibv_destroy_srq(end->srq);
	end->srq = NULL;
	return ret;
}

static struct reply obey(struct end *end, struct mem *mem, const struct order *order)
{
	struct ibv_sge to = sge(mem, order->offset, order->length);
	struct reply reply = { 0 };
	uint8_t *expected;

	switch (order->kind) {
	case RECEIVE:
		reply.ret = post_receive(end, order->id, &to, 1);
		break;
	case COMPLETE:
		reply.wc = completion(end);
		break;
	case COMPARE:
		expected = malloc(order->length);
		lab_pattern(expected, order->length, (uint32_t)order->id);
		reply.ret = memcmp(mem->p + order->offset, expected, order->length);
		free(expected);
		break;
	case FLOOD:
		reply.ret = flood(end, mem, order->id);
		break;
	case LEAVE:
		break;
	}
	return reply;
}

/* In a child: make a queue in the domain, and the target or open it, and execute orders. */
static void __attribute__((noreturn)) serve(int sock, int fd, uint32_t target)
{
	struct end_options with = { .type = IBV_QPT_XRC_RECV, .domain = fd, .target = target };
	struct address peer;
	struct queue mine;
	struct order order;
	struct reply reply;
	struct end end;
	struct mem mem;

	end_open(&end, &with);
	mem = mem_new(&end, 2 * SIZE, ALL_ACCESS);
	mine.offer = (struct offer){ end_address(&end), mem.addr, mem.mr->rkey };
	mine.srqn = end_srqn(&end);
	send_all(sock, &mine, sizeof(mine));
	if (!target) {
		receive_all(sock, &peer, sizeof(peer));
		end_connect(&end, &peer);
		send_all(sock, "r", 1);
	}
	do {
		receive_all(sock, &order, sizeof(order));
		reply = obey(&end, &mem, &order);
		send_all(sock, &reply, sizeof(reply));
	} while (order.kind != LEAVE);
	mem_free(&mem);
	end_close(&end);
	_exit(0);
}

struct process {
	int pid, sock;
	struct queue queue;
};

static void start(struct process *p, int fd, uint32_t target)
{
	p->pid = fork_with_socket(&p->sock);
	if (!p->pid)
		serve(p->sock, fd, target);
	receive_all(p->sock, &p->queue, sizeof(p->queue));
}

static struct reply tell(struct process *p, enum order_kind kind, uint64_t id, size_t offset,
			 size_t length)
{
	struct order order = { .kind = kind, .id = id, .offset = offset, .length = length };
	struct reply reply;

	send_all(p->sock, &order, sizeof(order));
	receive_all(p->sock, &reply, sizeof(reply));
	return reply;
}

static void leave(struct process *p)
{
	tell(p, LEAVE, 0, 0, 0);
	ck_assert_int_eq(wait_for(p->pid), 0);
	close(p->sock);
}

/* Two processes: the first makes the target, and the second opens it; an initiator here. */
static void processes_start(struct process p[2], int *fd)
{
	struct end_options initiator = { .type = IBV_QPT_XRC_SEND };
	struct address mine;
	char ready;

	*fd = domain_fd();
	start(&p[0], *fd, 0);
	end_open(&x, &initiator);
	at_x = mem_new(&x, SIZE, ALL_ACCESS);
	x.timeout = 16;
	mine = end_address(&x);
	send_all(p[0].sock, &mine, sizeof(mine));
	receive_all(p[0].sock, &ready, 1);
	end_connect(&x, &p[0].queue.offer.address);
	start(&p[1], *fd, p[0].queue.offer.address.qpn);
}

static void processes_end(int fd)
{
	mem_free(&at_x);
	end_close(&x);
	close(fd);
}

/* All operations with the memory and the queue of @p. */
static void exchange(struct process *p, uint32_t seed)
{
	const struct offer *there = &p->queue.offer;
	const size_t length = 150000;
	struct ibv_send_wr wr;
	struct ibv_sge local;
	struct reply reply;
	uint64_t value;
	int i;

	x.remote_srqn = p->queue.srqn;
	local = sge(&at_x, 0, length);
	for (i = 0; i < 4; i++) {
		lab_pattern(at_x.p, length, seed + (uint32_t)i);
		wr = write_of(&local, there, 64);
		wr.opcode = opcodes[i];
		wr.imm_data = htonl(seed);
		if (takes_receive(opcodes[i]))
			ck_assert_int_eq(tell(p, RECEIVE, seed, 64, SIZE).ret, 0);
		done(&x, &wr);
		if (takes_receive(opcodes[i])) {
			reply = tell(p, COMPLETE, 0, 0, 0);
			ck_assert_uint_eq(reply.wc.wr_id, seed);
			ck_assert_int_eq(reply.wc.status, IBV_WC_SUCCESS);
			ck_assert_uint_eq(reply.wc.byte_len, length);
			ck_assert_uint_eq(reply.wc.qp_num, there->address.qpn);
			ck_assert_uint_eq(reply.wc.src_qp, x.qp->qp_num);
			if (i)
				ck_assert_uint_eq(reply.wc.imm_data, htonl(seed));
		}
		ck_assert_int_eq(tell(p, COMPARE, seed + (uint32_t)i, 64, length).ret, 0);
	}
	/* Read back what the last write was. */
	memset(at_x.p, 0, length);
	wr = write_of(&local, there, 64);
	wr.opcode = IBV_WR_RDMA_READ;
	done(&x, &wr);
	ck_assert_int_eq(tell(p, COMPARE, seed + 3, 64, length).ret, 0);
	value = word(&at_x, 0);
	local = sge(&at_x, 8, 8);
	wr = work(1, IBV_WR_ATOMIC_FETCH_AND_ADD, &local, 1, NULL, 0);
	wr.wr.atomic.remote_addr = there->addr + 64;
	wr.wr.atomic.rkey = there->rkey;
	wr.wr.atomic.compare_add = 1;
	done(&x, &wr);
	ck_assert_uint_eq(word(&at_x, 8), value);
	wr.opcode = IBV_WR_ATOMIC_CMP_AND_SWP;
	wr.wr.atomic.compare_add = value + 1;
	wr.wr.atomic.swap = value;
	done(&x, &wr);
	ck_assert_uint_eq(word(&at_x, 8), value + 1);
	ck_assert_int_eq(tell(p, COMPARE, seed + 3, 64, length).ret, 0);
}

START_TEST(processes)
{
	struct process p[2];
	uint32_t i;
	int fd;

	processes_start(p, &fd);
	for (i = 0; i < 4; i++)
		exchange(&p[i % 2], 10 * i + 1);
	leave(&p[_i]);
	exchange(&p[!_i], 77);
	leave(&p[!_i]);
	processes_end(fd);
}
END_TEST

/* The process that made the target is killed: its queue is gone, and the target works on. */
START_TEST(creator_killed)
{
	struct ibv_send_wr wr;
	struct process p[2];
	struct ibv_sge from;
	int fd;

	processes_start(p, &fd);
	exchange(&p[0], 1);
	kill(p[0].pid, SIGKILL);
	ck_assert_int_eq(wait_for(p[0].pid), 128 + SIGKILL);
	close(p[0].sock);
	exchange(&p[1], 20);
	x.remote_srqn = p[0].queue.srqn;
	from = sge(&at_x, 0, 100);
	wr = work(1, IBV_WR_SEND, &from, 1, NULL, 0);
	fails(&x, &wr, IBV_WC_REM_INV_REQ_ERR);
	leave(&p[1]);
	processes_end(fd);
}
END_TEST

/* The last process that has the target open is killed: it does not answer any more. */
START_TEST(all_killed)
{
	struct ibv_send_wr wr;
	struct process p[2];
	struct ibv_sge from;
	int fd, i;

	processes_start(p, &fd);
	exchange(&p[1], 1);
	for (i = 0; i < 2; i++) {
		kill(p[i].pid, SIGKILL);
		ck_assert_int_eq(wait_for(p[i].pid), 128 + SIGKILL);
		close(p[i].sock);
	}
	from = sge(&at_x, 0, 100);
	wr = work(1, IBV_WR_SEND, &from, 1, NULL, 0);
	fails(&x, &wr, IBV_WC_RETRY_EXC_ERR);
	processes_end(fd);
}
END_TEST

/* A queue is destroyed, or its process killed, while messages arrive in it. */
START_TEST(destroyed_under_traffic)
{
	struct order order = { .kind = FLOOD };
	struct process p[2];
	struct reply reply;
	int round, fd;

	for (round = 0; round < 6; round++) {
		enum ibv_wr_opcode opcode = round % 2 ? IBV_WR_RDMA_WRITE_WITH_IMM : IBV_WR_SEND;
		unsigned int sent = 0;
		struct ibv_send_wr wr;
		struct ibv_sge from;
		struct ibv_wc wc;

		processes_start(p, &fd);
		/* What is to be killed must not destroy its queue before, however slow the machine is. */
		order.id = _i ? UINT32_MAX : 100 + (uint64_t)round * 23;
		send_all(p[1].sock, &order, sizeof(order));
		x.remote_srqn = p[1].queue.srqn;
		from = sge(&at_x, 0, SIZE);
		for (;;) {
			wr = write_of(&from, &p[1].queue.offer, 0);
			wr.opcode = opcode;
			ck_assert_int_eq(post(&x, &wr), 0);
			if (_i && sent == 20)
				kill(p[1].pid, SIGKILL);
			wc = completion(&x);
			if (wc.status != IBV_WC_SUCCESS)
				break;
			sent++;
		}
		/* A killed process may lose its region before its queue. */
		ck_assert_msg(wc.status == IBV_WC_REM_INV_REQ_ERR ||
				      (_i &&
				       (wc.status == IBV_WC_REM_ACCESS_ERR ||
					wc.status == IBV_WC_REM_OP_ERR)),
			      "after %u messages: %s", sent, ibv_wc_status_str(wc.status));
		ck_assert_uint_gt(sent, 0);
		if (_i) {
			ck_assert_int_eq(wait_for(p[1].pid), 128 + SIGKILL);
			close(p[1].sock);
		} else {
			receive_all(p[1].sock, &reply, sizeof(reply));
			ck_assert_int_eq(reply.ret, 0);
			leave(&p[1]);
		}
		leave(&p[0]);
		processes_end(fd);
	}
}
END_TEST

LAB_SUITE_PART("rdma")
{
	TCase *t;

	if (rdma_is_rxe())
		return;
	t = rdma_case(s, "xrc", 120, NULL, NULL);
	tcase_add_loop_test(t, processes, 0, 2);
	tcase_add_test(t, creator_killed);
	tcase_add_test(t, all_killed);
	tcase_add_loop_test(t, destroyed_under_traffic, 0, 2);
}
