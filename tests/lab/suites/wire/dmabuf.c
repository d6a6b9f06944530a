// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Dma-bufs over the wire, on a network device without PCI function. */
#include <string.h>
#include <unistd.h>

#include "fixture.h"
#include "modules.h"
#include "testmod.h"
#include "wire-fixture.h"

#define SIZE (64 * KIB)

static struct mem region;
static int exporter, fd;

static void region_up(unsigned int model)
{
	module_load("peerbar-test-exporter");
	exporter = test_exporter_open();
	fd = test_export_one(exporter, PEERBAR_TEST_SOURCE_CORE, model, SIZE);
	ck_assert_msg(fd >= 0, "the test module exports nothing: %s", strerror(-fd));
	region = (struct mem){ .size = SIZE, .addr = 0x7000000000 };
	region.mr = ibv_reg_dmabuf_mr(pair.b.pd, 0, SIZE, region.addr, fd, ALL_ACCESS);
	ck_assert_msg(region.mr, "%s", strerror(errno));
}

static void region_down(void)
{
	ck_assert_int_eq(ibv_dereg_mr(region.mr), 0);
	close(fd);
	close(exporter);
}

static void region_has(uint8_t before, const uint8_t *data, size_t length)
{
	static uint8_t bytes[SIZE];
	size_t i;

	for (i = 0; i < SIZE; i += PAGE)
		ck_assert_int_eq(test_read(exporter, fd, PEERBAR_TEST_PLACE_HERE, i, bytes + i,
					   PAGE),
				 0);
	ck_assert_uint_eq(bytes[99], before);
	ck_assert_mem_eq(bytes + 100, data, length);
	ck_assert_uint_eq(bytes[100 + length], before);
}

/*
 * rxe writes to the buffer, and reads it, until it is revoked. Then both are refused, and the bytes
 * are those from before.
 */
START_TEST(revoked)
{
	const enum ibv_wr_opcode opcodes[] = { IBV_WR_RDMA_WRITE, IBV_WR_RDMA_READ };
	static const uint8_t ff[SIZE] = { [0 ... SIZE - 1] = 0xff };
	struct ibv_sge s;
	struct ibv_send_wr wr;
	size_t i;

	wire_pair(IBV_QPT_RC, true);
	wire_connect(IBV_MTU_1024, 14);
	region_up(PEERBAR_MODEL_REVOCABLE);
	for (i = 0; i < SIZE; i += PAGE)
		ck_assert_int_eq(test_write(exporter, fd, PEERBAR_TEST_PLACE_HERE, i, ff, PAGE), 0);
	lab_pattern(pair.at_a.p, MEM, 3);
	s = sge(&pair.at_a, 0, 50000);
	wr = work(1, IBV_WR_RDMA_WRITE, &s, 1, &region, 100);
	done(&pair.a, &wr);
	region_has(0xff, pair.at_a.p, 50000);
	s = sge(&pair.at_a, 100000, 50000);
	wr = work(2, IBV_WR_RDMA_READ, &s, 1, &region, 100);
	done(&pair.a, &wr);
	ck_assert_mem_eq(pair.at_a.p + 100000, pair.at_a.p, 50000);

	ck_assert_int_eq(test_revoke(exporter, fd), 0);
	memset(pair.at_a.p + 200000, 0xee, 50000);
	s = sge(&pair.at_a, 200000, 50000);
	wr = work(3, opcodes[_i], &s, 1, &region, 100);
	ck_assert_int_eq(post(&pair.a, &wr), 0);
	completes(&pair.a, 3, IBV_WC_REM_ACCESS_ERR);
	for (i = 200000; i < 250000; i++)
		ck_assert_uint_eq(pair.at_a.p[i], 0xee);
	ck_assert_int_eq(test_restore(exporter, fd), 0);
	region_has(0xff, pair.at_a.p, 50000);
	region_down();
	wire_close();
}
END_TEST

/* The requester's memory is revoked: its request fails, and no byte of it reaches the peer. */
START_TEST(revoked_at_the_requester)
{
	struct ibv_send_wr wr;
	struct ibv_sge s;
	size_t i;

	wire_pair(IBV_QPT_RC, true);
	wire_connect(IBV_MTU_1024, 14);
	region_up(PEERBAR_MODEL_REVOCABLE);
	memset(pair.at_a.p, 0xee, MEM);
	ck_assert_int_eq(test_revoke(exporter, fd), 0);
	s = sge(&region, 0, 50000);
	wr = work(1, IBV_WR_RDMA_WRITE, &s, 1, &pair.at_a, 0);
	ck_assert_int_eq(post(&pair.b, &wr), 0);
	completes(&pair.b, 1, IBV_WC_LOC_PROT_ERR);
	for (i = 0; i < 50000; i++)
		ck_assert_uint_eq(pair.at_a.p[i], 0xee);
	region_down();
	wire_close();
}
END_TEST

/* A BAR needs peer-to-peer DMA, which this network device has not; the kernel's log says so. */
START_TEST(bar)
{
	struct pb_buffer *buffer;
	int log;

	fixture_up();
	wire_pair(IBV_QPT_RC, false);
	buffer = export_one(MIB, SIZE);
	log = log_open();
	ck_assert_ptr_null(
		ibv_reg_dmabuf_mr(pair.a.pd, 0, SIZE, 0, pb_buffer_fd(buffer), ALL_ACCESS));
	ck_assert_int_eq(errno, EINVAL);
	ck_assert(log_has(log, "no PCI function for P2P DMA"));
	pb_buffer_close(buffer);
	wire_close();
	fixture_down();
}
END_TEST

LAB_SUITE_PART("wire")
{
	TCase *t = wire_case(s, "dma-bufs", 120, false);

	tcase_add_loop_test(t, revoked, 0, 2);
	tcase_add_test(t, revoked_at_the_requester);
	tcase_add_test(t, bar);
}
