// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Packets that no conforming peer sends, from the peer's address: random ones, and packets of a
 * connection with one thing wrong. They are dropped or refused, and counted; memory outside of the
 * region stays as it is, and another connection works.
 */
#include <arpa/inet.h>
#include <stdlib.h>
#include <unistd.h>

#include "wire-fixture.h"

#define GUARD 4096 /* bytes before and after the region that the peer may write to */
#define FUZZ  20000

static uint32_t state = 1;

static uint32_t draw(uint32_t limit)
{
	state ^= state << 13;
	state ^= state >> 17;
	state ^= state << 5;
	return state % limit;
}

static uint8_t frame[9000];

static void put32(uint8_t *p, uint32_t value)
{
	value = htonl(value);
	memcpy(p, &value, sizeof(value));
}

/* Build a frame with @size bytes from the BTH on, ICRC included, and return where the BTH is. */
static uint8_t *frame_begin(const struct end *from, const struct end *to, size_t size)
{
	static const uint8_t mac_cmd[] = { 0x08, 0x00 };
	uint8_t *ip = frame + 14, *udp = ip + 20;
	uint16_t length = (uint16_t)(size + 8);

	memset(frame, 0, 14 + 20 + 8);
	memcpy(frame + 12, mac_cmd, 2);
	ip[0] = 0x45;
	ip[2] = (uint8_t)((length + 20) >> 8);
	ip[3] = (uint8_t)(length + 20);
	ip[6] = 0x40;
	ip[8] = 64;
	ip[9] = IPPROTO_UDP;
	memcpy(ip + 12, from->gid.raw + 12, 4);
	memcpy(ip + 16, to->gid.raw + 12, 4);
	udp[0] = 0xc0;
	udp[2] = 4791 >> 8;
	udp[3] = 4791 & 0xff;
	udp[4] = (uint8_t)(length >> 8);
	udp[5] = (uint8_t)length;
	return udp + 8;
}

static void frame_send(int fd, size_t size, bool right)
{
	uint8_t *ip = frame + 14, *udp = ip + 20;
	uint32_t icrc;

	ipv4_set_checksum(ip);
	icrc = roce_icrc(ip, 20, udp, size + 8) ^ !right;
	if (size >= 4)
		memcpy(udp + 8 + size - 4, &icrc, 4);
	hostile_send(fd, frame, 14 + 20 + 8 + size);
}

/* The MAC address of wire0, to which the frames go. */
static void frame_to(void)
{
	unsigned int mac[6];
	int i;
	FILE *f = fopen("/sys/class/net/wire0/address", "re");

	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(fscanf(f, "%x:%x:%x:%x:%x:%x", mac, mac + 1, mac + 2, mac + 3, mac + 4,
				mac + 5),
			 6);
	fclose(f);
	for (i = 0; i < 6; i++)
		frame[i] = (uint8_t)mac[i];
}

static void fill_bth(uint8_t *bth, uint8_t opcode, uint32_t qpn, uint32_t psn)
{
	bth[0] = opcode;
	bth[1] = 0x40;
	bth[2] = bth[3] = 0xff;
	put32(bth + 4, qpn);
	put32(bth + 8, psn | (draw(2) ? 1u << 31 : 0));
}

/* One packet: mostly right, with a few things that are not. */
static void one_packet(int fd, const struct end *victim, uint32_t *psn, const struct mem *mem)
{
	static const uint8_t words[] = { 0, 1, 2, 4, 5, 6, 7, 8, 16, 64, 255 };
	size_t payload = 4u * words[draw(sizeof(words))];
	bool xrc = victim->qp->qp_type == IBV_QPT_XRC_RECV;
	uint8_t opcode = (uint8_t)(draw(20) ? draw(0x1e) | (xrc ? 0xa0 : 0) : draw(256));
	size_t size = 12 + 28 + payload + 4;
	uint8_t *bth;
	int i;

	if (!draw(50))
		size = draw(30);
	bth = frame_begin(&pair.a, victim, size);
	frame_to();
	for (i = 0; i < (int)size && i < 2000; i++)
		bth[i] = (uint8_t)draw(256);
	fill_bth(bth, opcode, draw(30) ? victim->qp->qp_num : draw(1 << 24),
		 *psn + (draw(10) ? 0 : draw(1 << 24)));
	if (!draw(10))
		bth[1] = (uint8_t)draw(256);
	/* The shared receive queue of XRC */
	if (xrc) {
		if (draw(8))
			put32(bth + 12, end_srqn(victim) | draw(256) << 24);
		bth += 4;
	}
	/* The address of a write, read or atomic: around the region's ends. */
	put32(bth + 12, (uint32_t)(mem->addr >> 32));
	put32(bth + 16, (uint32_t)(mem->addr + (draw(2) ? GUARD + draw(2000) : draw(3 * GUARD))));
	put32(bth + 20, draw(8) ? mem->mr->rkey : draw(1u << 31));
	put32(bth + 24, draw(4) ? (uint32_t)payload : draw(8000));
	frame_send(fd, size, draw(100));
	if (!draw(3))
		*psn = (*psn + 1) & 0xffffff;
}

/* The region that the peer may use is in the middle of memory that it may not. */
START_TEST(fuzzed)
{
	struct ibv_send_wr wr;
	struct end victim;
	struct ibv_sge from;
	struct mem mem, window;
	uint32_t psn = 0;
	unsigned int i, n, written = 0;
	int fd = hostile_socket();

	state = 4711 + (uint32_t)_i;
	wire_pair(IBV_QPT_RC, true);
	wire_connect(IBV_MTU_1024, 14);
	mem = mem_new(&pair.b, 3 * GUARD, ALL_ACCESS);
	window = mem;
	window.mr = ibv_reg_mr(pair.b.pd, mem.p + GUARD, GUARD, ALL_ACCESS);
	ck_assert_ptr_nonnull(window.mr);
	for (n = 0; n < 40; n++) {
		static const enum ibv_qp_type types[] = { IBV_QPT_RC, IBV_QPT_UC,
							  IBV_QPT_XRC_RECV };
		struct end_options options = { .type = types[_i] };
		struct ibv_qp_attr attr = { .qp_state = IBV_QPS_RTR,
					    .path_mtu = IBV_MTU_1024,
					    .dest_qp_num = 0x1234,
					    .max_dest_rd_atomic = 4,
					    .min_rnr_timer = 1 };
		struct mem all = mem;

		end_open_beside(&victim, &pair.b, &options);
		ck_assert_int_eq(end_to_init(&victim), 0);
		attr.ah_attr = (struct ibv_ah_attr){
			.is_global = 1,
			.port_num = 1,
			.grh = { .dgid = pair.a.gid,
				 .hop_limit = 64,
				 .sgid_index = (uint8_t)victim.gid_index },
		};
		ck_assert_int_eq(ibv_modify_qp(victim.qp, &attr,
					       IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU |
						       IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
						       (_i == 1 ? 0 :
								  IBV_QP_MAX_DEST_RD_ATOMIC |
									IBV_QP_MIN_RNR_TIMER)),
				 0);
		memset(mem.p, 0x5a, 3 * GUARD);
		all.mr = window.mr;
		from = sge(&all, GUARD, 512);
		for (i = 0; i < 8; i++)
			ck_assert_int_eq(post_receive(&victim, i, &from, 1), 0);
		psn = 0;
		for (i = 0; i < FUZZ / 40; i++)
			one_packet(fd, &victim, &psn, &window);
		usleep(10000);
		for (i = GUARD; i < 2 * GUARD && mem.p[i] == 0x5a; i++)
			;
		written += i < 2 * GUARD;
		for (i = 0; i < GUARD; i++)
			ck_assert_msg(mem.p[i] == 0x5a && mem.p[2 * GUARD + i] == 0x5a,
				      "a packet wrote outside of the region, at %u", i);
		forget_completions(&victim);
		end_close(&victim);
	}
	ck_assert_msg(written, "no packet wrote to a region: this proves nothing about its bounds");
	/* The other connection works. */
	lab_pattern(pair.at_a.p, MEM, 1);
	from = sge(&pair.at_a, 0, 100000);
	wr = work(1, IBV_WR_RDMA_WRITE, &from, 1, &pair.at_b, 0);
	done(&pair.a, &wr);
	ck_assert_mem_eq(pair.at_b.p, pair.at_a.p, 100000);
	ck_assert_uint_gt(wire_counter("malformed_pkts"), 0);
	ck_assert_uint_gt(wire_counter("unexpected_pkts"), 0);
	ck_assert_uint_gt(wire_counter("icrc_err"), 0);
	ck_assert_int_eq(ibv_dereg_mr(window.mr), 0);
	mem_free(&mem);
	close(fd);
	wire_close();
}
END_TEST

LAB_SUITE_PART("wire")
{
	TCase *t = wire_case(s, "hostile", 300, false);

	tcase_add_loop_test(t, fuzzed, 0, 3);
}
