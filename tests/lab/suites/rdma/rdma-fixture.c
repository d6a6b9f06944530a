// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The fixtures of the suite rdma, see rdma-fixture.h. */
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rdma-fixture.h"

static unsigned int fds_before;

static void pair_up(const struct end_options *options)
{
	fds_before = count_fds();
	pair_open(&pair, options, MEM);
}

void rc_up(void)
{
	pair_up(NULL);
	ends_connect(&pair.a, &pair.b);
}

void uc_up(void)
{
	ends_have_type(IBV_QPT_UC);
	rc_up();
}

void unconnected_up(void)
{
	pair_up(NULL);
}

void ud_up(void)
{
	struct end_options ud = { .type = IBV_QPT_UD };

	pair_up(&ud);
	end_connect(&pair.a, NULL);
	end_connect(&pair.b, NULL);
}

void pair_down(void)
{
	pair_close(&pair);
	ck_assert_uint_eq(count_fds(), fds_before);
}

void end_open_for_calls(struct end *end, const struct end *of, struct ibv_cq *cq, uint64_t ops)
{
	const struct end_options options = {
		.type = IBV_QPT_RC,
		.depth = 16,
		.sges = 4,
		.calls = ops,
	};
	struct end with = *of;

	with.cq = cq;
	end_open_beside(end, &with, &options);
}

void prepare(uint32_t seed)
{
	lab_pattern(pair.at_a.p, MEM, seed);
	memset(pair.at_b.p, 0xee, MEM);
}

void arrived(size_t to, size_t from, size_t length)
{
	/* rxe's sender completes before the data arrives. */
	if (!ends_are_reliable() && rdma_is_rxe())
		usleep(50000);
	ck_assert_msg(!memcmp(pair.at_b.p + to, pair.at_a.p + from, length),
		      "%zu bytes from 0x%zx did not arrive at 0x%zx", length, from, to);
	if (to)
		ck_assert_msg(pair.at_b.p[to - 1] == 0xee, "the byte before them was written");
	if (to + length < MEM)
		ck_assert_msg(pair.at_b.p[to + length] == 0xee, "the byte behind them was written");
}

uint64_t word(const struct mem *mem, size_t offset)
{
	uint64_t value;

	memcpy(&value, mem->p + offset, sizeof(value));
	return value;
}

void set_word(const struct mem *mem, size_t offset, uint64_t value)
{
	memcpy(mem->p + offset, &value, sizeof(value));
}

void is_flushed(struct end *end)
{
	struct ibv_send_wr wr = work(0xf1, IBV_WR_SEND, NULL, 0, NULL, 0);

	end_state_is(end, IBV_QPS_ERR);
	ck_assert_int_eq(post(end, &wr), 0);
	completes(end, 0xf1, IBV_WC_WR_FLUSH_ERR);
	/* rxe flushes receives only when the state changes. */
	if (!end->srq && !rdma_is_rxe()) {
		ck_assert_int_eq(post_receive(end, 0xf2, NULL, 0), 0);
		completes(end, 0xf2, IBV_WC_WR_FLUSH_ERR);
	}
}

void responder_event(enum ibv_event_type type)
{
	if (!rdma_is_rxe())
		event_comes(&pair.b, type);
}

bool takes_receive(enum ibv_wr_opcode opcode)
{
	return opcode == IBV_WR_SEND || opcode == IBV_WR_SEND_WITH_IMM ||
		opcode == IBV_WR_RDMA_WRITE_WITH_IMM;
}

int domain_fd(void)
{
	int fd = memfd_create("domain", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	return fd;
}

int fork_with_socket(int *sock)
{
	int sockets[2], child;

	ck_assert_int_eq(socketpair_cloexec(sockets), 0);
	child = fork();
	ck_assert_int_ge(child, 0);
	*sock = sockets[child ? 0 : 1];
	close(sockets[child ? 1 : 0]);
	return child;
}

void trade(int sock, struct end *end, const struct mem *mem, struct offer *theirs)
{
	struct offer mine = { end_address(end), mem->addr, mem->mr->rkey };

	send_all(sock, &mine, sizeof(mine));
	receive_all(sock, theirs, sizeof(*theirs));
	end_connect(end, &theirs->address);
	/* Both are connected. */
	send_all(sock, "r", 1);
	receive_all(sock, &mine, 1);
}

struct ibv_send_wr write_of(struct ibv_sge *from, const struct offer *there, size_t offset)
{
	struct ibv_send_wr wr = work(1, IBV_WR_RDMA_WRITE, from, 1, NULL, 0);

	wr.wr.rdma.remote_addr = there->addr + offset;
	wr.wr.rdma.rkey = there->rkey;
	return wr;
}
