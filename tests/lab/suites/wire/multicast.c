// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Multicast over the wire: members on the sender's host and on another one. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include "wire-fixture.h"

#define ALL_QPS 0xffffff
#define SIZE	1000
#define ROOM	2048 /* of each receive */

static const union ibv_gid groups[2] = {
	{ .raw = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 239, 77, 0, 2 } },
	{ .raw = { 0xff, 0x0e, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x77 } },
};

/* Send @id as immediate data, and a pattern of that seed. */
static void send_to_group(struct ibv_ah *ah, uint32_t id, uint32_t qkey)
{
	struct ibv_send_wr wr;
	struct ibv_sge from;

	lab_pattern(pair.at_a.p, SIZE, id);
	from = sge(&pair.at_a, 0, SIZE);
	wr = work(id, IBV_WR_SEND_WITH_IMM, &from, 1, NULL, 0);
	wr.imm_data = htonl(id);
	wr.wr.ud.ah = ah;
	wr.wr.ud.remote_qpn = ALL_QPS;
	wr.wr.ud.remote_qkey = qkey;
	ck_assert_int_eq(post(&pair.a, &wr), 0);
}

/* Post a receive; its number is that of its place in the memory. */
static void expect_datagram(struct end *end, struct mem *mem, unsigned int place)
{
	struct ibv_sge to = sge(mem, ROOM * (1 + place), GRH_BYTES + SIZE);

	ck_assert_int_eq(post_receive(end, place, &to, 1), 0);
}

/* Check that the next completion of @end's queue is the datagram with @id in the receive @place. */
static void receives(struct end *end, const struct mem *mem, unsigned int place, uint32_t id,
		     const union ibv_gid *group)
{
	const uint8_t *at = mem->p + ROOM * (1 + place);
	struct ibv_wc wc = completes(end, place, IBV_WC_SUCCESS);
	bool v6 = group->raw[0] == 0xff;

	ck_assert_uint_eq(wc.imm_data, htonl(id));
	ck_assert_uint_eq(wc.byte_len, GRH_BYTES + SIZE);
	ck_assert_uint_eq(wc.src_qp, pair.a.qp->qp_num);
	ck_assert_mem_eq(at + GRH_BYTES, pair.at_a.p, SIZE);
	/* The header has the address of the group. */
	ck_assert_mem_eq(at + (v6 ? 24 : 36), group->raw + (v6 ? 0 : 12), v6 ? 16 : 4);
}

/*
 * A member on the sender's device, and two on another host. Each receives a message once: the
 * sender's network stack returns its packet.
 */
START_TEST(members_on_both_hosts)
{
	struct end_options ud = { .type = IBV_QPT_UD };
	const union ibv_gid *group = &groups[_i & 1];
	unsigned long (*counter)(const char *name) = _i & 2 ? wire_counter : wire_peer_counter;
	struct end local, second;
	unsigned long arrived;
	struct ibv_ah *ah;

	wire_pair(IBV_QPT_UD, _i & 2);
	if (_i & 1)
		wire_use_ipv6();
	wire_connect(IBV_MTU_1024, 0);
	end_open_beside(&local, &pair.a, &ud);
	end_open_beside(&second, &pair.b, &ud);
	end_connect(&local, NULL);
	end_connect(&second, NULL);
	ck_assert_int_eq(ibv_attach_mcast(local.qp, group, 0), 0);
	ck_assert_int_eq(ibv_attach_mcast(pair.b.qp, group, 0), 0);
	ck_assert_int_eq(ibv_attach_mcast(second.qp, group, 0), 0);
	ah = end_handle(&pair.a, group);

	expect_datagram(&local, &pair.at_a, 0);
	expect_datagram(&local, &pair.at_a, 1);
	expect_datagram(&pair.b, &pair.at_b, 0);
	send_to_group(ah, 5, QKEY);
	receives(&pair.b, &pair.at_b, 0, 5, group);
	/* Those of the sender's device have one completion queue. */
	receives(&local, &pair.at_a, 0, 5, group);
	completes(&pair.a, 5, IBV_WC_SUCCESS);
	nothing_completes(&local);
	nothing_completes(&pair.b);

	/* The second one had no receive. Now both have. */
	expect_datagram(&pair.b, &pair.at_b, 1);
	send_to_group(ah, 6, QKEY);
	receives(&pair.b, &pair.at_b, 1, 6, group);
	receives(&local, &pair.at_a, 1, 6, group);
	completes(&pair.a, 6, IBV_WC_SUCCESS);
	/* The second one is served after the first, and must find no receive. */
	nothing_completes(&pair.b);
	expect_datagram(&second, &pair.at_b, 2);
	expect_datagram(&second, &pair.at_b, 3);
	ck_assert_int_eq(ibv_detach_mcast(pair.b.qp, group, 0), 0);
	send_to_group(ah, 7, QKEY);
	receives(&second, &pair.at_b, 2, 7, group);
	completes(&pair.a, 7, IBV_WC_SUCCESS);

	/* Another Q_Key, and one that is no member any more. */
	expect_datagram(&pair.b, &pair.at_b, 4);
	send_to_group(ah, 8, QKEY + 1);
	completes(&pair.a, 8, IBV_WC_SUCCESS);
	nothing_completes(&pair.b);
	send_to_group(ah, 9, QKEY);
	receives(&second, &pair.at_b, 3, 9, group);
	completes(&pair.a, 9, IBV_WC_SUCCESS);
	nothing_completes(&pair.b);

	/* Without members, the network device takes no packets of the group. */
	ck_assert_int_eq(ibv_detach_mcast(second.qp, group, 0), 0);
	arrived = counter("rcvd_pkts");
	send_to_group(ah, 10, QKEY);
	completes(&pair.a, 10, IBV_WC_SUCCESS);
	nothing_completes(&pair.b);
	ck_assert_uint_eq(counter("rcvd_pkts"), arrived);

	ck_assert_int_eq(ibv_detach_mcast(local.qp, group, 0), 0);
	ibv_destroy_ah(ah);
	end_close(&local);
	end_close(&second);
	wire_close();
}
END_TEST

#define MEMBERS 80

/*
 * A group with so many members on one host that a packet is not queued at all of them at once. Each
 * receives each message once.
 */
START_TEST(large_group)
{
	struct end_options ud = { .type = IBV_QPT_UD, .depth = 4 };
	const union ibv_gid *group = &groups[0];
	static struct end members[MEMBERS];
	unsigned int seen[MEMBERS] = { 0 };
	unsigned long deferred;
	struct ibv_ah *ah;
	unsigned int i, m;

	wire_pair(IBV_QPT_UD, false);
	wire_connect(IBV_MTU_1024, 0);
	for (m = 0; m < MEMBERS; m++) {
		end_open_beside(&members[m], &pair.b, &ud);
		end_connect(&members[m], NULL);
		ck_assert_int_eq(ibv_attach_mcast(members[m].qp, group, 0), 0);
		expect_datagram(&members[m], &pair.at_b, m);
		expect_datagram(&members[m], &pair.at_b, m);
	}
	ah = end_handle(&pair.a, group);
	deferred = wire_peer_counter("group_deferred_pkts");
	for (i = 0; i < 2; i++) {
		send_to_group(ah, i, QKEY);
		completes(&pair.a, i, IBV_WC_SUCCESS);
	}
	/* All complete in one queue, in any order of the members. */
	for (i = 0; i < 2 * MEMBERS; i++) {
		struct ibv_wc wc = completion(&pair.b);

		ck_assert_int_eq(wc.status, IBV_WC_SUCCESS);
		ck_assert_uint_lt(wc.wr_id, MEMBERS);
		ck_assert_uint_eq(wc.imm_data, htonl(seen[wc.wr_id]++));
	}
	nothing_completes(&pair.b);
	ck_assert_uint_eq(wire_peer_counter("group_deferred_pkts"), deferred + 2);
	for (m = 0; m < MEMBERS; m++) {
		ck_assert_int_eq(ibv_detach_mcast(members[m].qp, group, 0), 0);
		end_close(&members[m]);
	}
	ibv_destroy_ah(ah);
	wire_close();
}
END_TEST

/* rxe lets its network device take the frames of a group, but not the packets: join for it. */
static int join_for_rxe(void)
{
	struct ip_mreqn group = { .imr_multiaddr.s_addr = htonl(0xef4d0002) };
	int here = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	int there = open("/run/netns/peer", O_RDONLY | O_CLOEXEC), fd;

	ck_assert_int_ge(here, 0);
	ck_assert_int_ge(there, 0);
	ck_assert_int_eq(setns(there, CLONE_NEWNET), 0);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ck_assert_int_ge(fd, 0);
	group.imr_ifindex = (int)if_nametoindex("wire1");
	ck_assert_int_eq(setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof(group)), 0);
	ck_assert_int_eq(setns(here, CLONE_NEWNET), 0);
	close(here);
	close(there);
	return fd;
}

START_TEST(with_rxe)
{
	const union ibv_gid *group = &groups[0];
	struct ibv_ah *ah;
	int joined = -1;

	wire_pair(IBV_QPT_UD, _i);
	wire_connect(IBV_MTU_1024, 0);
	ck_assert_int_eq(ibv_attach_mcast(pair.b.qp, group, 0), 0);
	if (!_i)
		joined = join_for_rxe();
	ah = end_handle(&pair.a, group);
	expect_datagram(&pair.b, &pair.at_b, 0);
	send_to_group(ah, 11, QKEY);
	receives(&pair.b, &pair.at_b, 0, 11, group);
	completes(&pair.a, 11, IBV_WC_SUCCESS);
	nothing_completes(&pair.b);
	ck_assert_int_eq(ibv_detach_mcast(pair.b.qp, group, 0), 0);
	ibv_destroy_ah(ah);
	if (joined >= 0)
		close(joined);
	wire_close();
}
END_TEST

LAB_SUITE_PART("wire")
{
	TCase *t = wire_case(s, "multicast", 60, true);

	tcase_add_loop_test(t, members_on_both_hosts, 0, 4);
	tcase_add_test(t, large_group);

	t = wire_case(s, "multicast-rxe", 60, false);
	tcase_add_loop_test(t, with_rxe, 0, 2);
}
