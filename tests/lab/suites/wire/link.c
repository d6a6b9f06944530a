// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Changes of the network device under a connection, which ends before its retries do. */
#include <stdlib.h>
#include <unistd.h>

#include "lab.h"
#include "wire-fixture.h"

#define ADDRESSES \
	"ip addr replace 10.78.0.1/24 dev wire0 && ip addr replace fd78::1/64 dev wire0 nodad"

static const struct change {
	const char *begin, *end;
	enum ibv_port_state state;
	enum ibv_mtu mtu; /* of the port meanwhile */
} changes[] = {
	{ "ip link set wire0 down", "ip link set wire0 up && " ADDRESSES, IBV_PORT_DOWN,
	  IBV_MTU_4096 },
	{ "ip addr del 10.78.0.1/24 dev wire0", ADDRESSES, IBV_PORT_ACTIVE, IBV_MTU_4096 },
	{ "ip link set wire0 mtu 1500", "ip link set wire0 mtu 4200", IBV_PORT_ACTIVE,
	  IBV_MTU_1024 },
	/* of the peer; rxe fails its own requests then */
	{ "ip -n peer link set wire1 down",
	  "ip -n peer link set wire1 up && ip -n peer addr replace fd78::2/64 dev wire1 nodad",
	  IBV_PORT_ACTIVE, IBV_MTU_4096 },
};

#define NR_CHANGES ((int)(sizeof(changes) / sizeof(changes[0])))

static void port_is(enum ibv_port_state state, enum ibv_mtu mtu)
{
	struct ibv_port_attr port = {};
	int i;

	for (i = 0; i < 100; i++) {
		ck_assert_int_eq(ibv_query_port(pair.a.ctx, 1, &port), 0);
		if (port.state == state && port.active_mtu == mtu)
			return;
		usleep(20000);
	}
	ck_abort_msg("the port is in state %d with MTU %d, not in %d with %d", port.state,
		     port.active_mtu, state, mtu);
}

/* The requests wait for the end of the change, and complete. rxe loses reads, see lossy. */
START_TEST(changed)
{
	const struct change *change = &changes[_i % NR_CHANGES];
	bool reverse = _i >= NR_CHANGES;
	struct ibv_sge from, to;
	struct ibv_send_wr wr;

	wire_pair(IBV_QPT_RC, reverse);
	wire_connect(IBV_MTU_4096, 17);
	lab_pattern(pair.at_a.p, MEM, 1);
	ck_assert_int_eq(system(change->begin), 0);
	if (!reverse)
		port_is(change->state, change->mtu);
	from = sge(&pair.at_a, 0, 100000);
	wr = work(1, IBV_WR_RDMA_WRITE, &from, 1, &pair.at_b, 0);
	ck_assert_int_eq(post(&pair.a, &wr), 0);
	to = sge(&pair.at_a, 200000, 100000);
	wr = work(2, reverse ? IBV_WR_RDMA_WRITE : IBV_WR_RDMA_READ, &to, 1, &pair.at_b,
		  reverse ? 200000 : 0);
	ck_assert_int_eq(post(&pair.a, &wr), 0);
	usleep(300000);
	nothing_completes(&pair.a);
	ck_assert_int_eq(system(change->end), 0);
	completes(&pair.a, 1, IBV_WC_SUCCESS);
	completes(&pair.a, 2, IBV_WC_SUCCESS);
	ck_assert_mem_eq(pair.at_b.p, pair.at_a.p, 100000);
	ck_assert_mem_eq(pair.at_a.p + 200000, pair.at_b.p + (reverse ? 200000 : 0), 100000);
	if (!reverse)
		port_is(IBV_PORT_ACTIVE, IBV_MTU_4096);
	wire_wait_for_gid();
	wire_close();
}
END_TEST

/* A change that stays fails the request, and a new connection works by the new facts. */
START_TEST(smaller_mtu)
{
	struct ibv_sge from;
	struct ibv_send_wr wr;

	wire_pair(IBV_QPT_RC, false);
	wire_connect(IBV_MTU_4096, 12);
	ck_assert_int_eq(system("ip link set wire0 mtu 1500"), 0);
	port_is(IBV_PORT_ACTIVE, IBV_MTU_1024);
	from = sge(&pair.at_a, 0, 4096);
	wr = work(1, IBV_WR_RDMA_WRITE, &from, 1, &pair.at_b, 0);
	ck_assert_int_eq(post(&pair.a, &wr), 0);
	completes(&pair.a, 1, IBV_WC_RETRY_EXC_ERR);
	wire_close();

	wire_pair(IBV_QPT_RC, false);
	wire_connect(IBV_MTU_1024, 17);
	lab_pattern(pair.at_a.p, MEM, 1);
	from = sge(&pair.at_a, 0, 100000);
	wr = work(1, IBV_WR_RDMA_WRITE, &from, 1, &pair.at_b, 0);
	done(&pair.a, &wr);
	ck_assert_mem_eq(pair.at_b.p, pair.at_a.p, 100000);
	wire_close();
	ck_assert_int_eq(system("ip link set wire0 mtu 4200"), 0);
}
END_TEST

LAB_SUITE_PART("wire")
{
	TCase *t = wire_case(s, "link", 120, false);

	tcase_add_loop_test(t, changed, 0, 2 * NR_CHANGES - 1);
	tcase_add_test(t, smaller_mtu);
}
