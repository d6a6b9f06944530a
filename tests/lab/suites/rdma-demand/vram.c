// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* VRAM as GPU drivers export it, registered pinned and on demand; what is refused, and why. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "demand-fixture.h"
#include "modules.h"
#include "vram.h"

#define ADDR	 0x7000000000
#define BYTES	 (64 * KIB)
#define ENOTSUPP 524

static const int accesses[] = { ALL_ACCESS, ALL_ACCESS | ON_DEMAND };

static void up(void)
{
	context_up();
	vram_up();
	demand_ends_up();
}

static void down(void)
{
	demand_ends_down();
	vram_down();
	context_down();
}

static struct ibv_mr *reg(int fd, int access)
{
	return ibv_reg_dmabuf_mr(pair.b.pd, 0, SIZE, ADDR, fd, access);
}

static struct ibv_send_wr write_to(struct ibv_mr *mr, struct ibv_sge *s, uint64_t offset)
{
	struct mem mem = { .addr = ADDR, .size = SIZE, .mr = mr };

	*s = sge(&demand_host, 0, BYTES);
	return work(1, IBV_WR_RDMA_WRITE, s, 1, &mem, offset);
}

/* An RDMA write arrives in the BAR, where the buffer is now. */
static void arrives(int fd, struct ibv_mr *mr, uint64_t offset, uint32_t seed)
{
	struct ibv_sge s;
	struct ibv_send_wr wr = write_to(mr, &s, offset);

	lab_pattern(demand_host.p, BYTES, seed);
	done(&pair.a, &wr);
	ck_assert_msg(vram_host_sees(fd, offset, demand_host.p, BYTES),
		      "the bytes are not in the BAR, in place %d", (int)vram_place(fd));
}

static void nothing_is_left(int fd)
{
	struct peerbar_test_where w;

	ck_assert_int_eq(test_where(vram_exporter, fd, PEERBAR_TEST_PLACE_HERE, 0, &w), 0);
	ck_assert_uint_eq(w.maps, 0);
	ck_assert_uint_eq(w.pins, 0);
}

START_TEST(in_the_bar)
{
	bool follows = accesses[_i] & ON_DEMAND;
	int fd = vram_export(0, SIZE);
	struct ibv_mr *mr = reg(fd, accesses[_i]);

	ck_assert_msg(mr, "%s", strerror(errno));
	arrives(fd, mr, 0, 1);
	ck_assert_int_eq(test_move(vram_exporter, fd, PEERBAR_TEST_PLACE_B),
			 follows ? PEERBAR_TEST_PLACE_B : -EBUSY);
	arrives(fd, mr, SIZE - BYTES, 2);
	ck_assert_int_eq(ibv_dereg_mr(mr), 0);
	nothing_is_left(fd);
	close(fd);
}
END_TEST

/* 24 segments of 64 KiB to 2 MiB, in no order: a write across the ends of several. */
START_TEST(scattered)
{
	struct peerbar_test_vram_segment segments[24];
	int fd = vram_export_scattered(0, 24, segments);
	struct mem mem = { .addr = ADDR };
	struct ibv_sge s = sge(&demand_host, 0, SIZE);
	struct ibv_send_wr wr;
	uint64_t at = 0;
	unsigned int i;

	for (i = 0; i < 24; i++)
		mem.size += segments[i].length;
	mem.mr = ibv_reg_dmabuf_mr(pair.b.pd, 0, mem.size, ADDR, fd, accesses[_i]);
	ck_assert_msg(mem.mr, "%s", strerror(errno));
	lab_pattern(demand_host.p, SIZE, 3);
	wr = work(1, IBV_WR_RDMA_WRITE, &s, 1, &mem, PAGE);
	done(&pair.a, &wr);
	for (i = 0; at < PAGE + SIZE; at += segments[i++].length) {
		uint64_t begin = i ? at : PAGE, n = at + segments[i].length - begin;

		if (n > PAGE + SIZE - begin)
			n = PAGE + SIZE - begin;
		ck_assert_msg(lab_host_sees(segments[i].a + begin - at,
					    (uint8_t *)demand_host.p + begin - PAGE, n),
			      "segment %u has other bytes", i);
	}
	ck_assert_int_eq(ibv_dereg_mr(mem.mr), 0);
	close(fd);
}
END_TEST

/* The exporter's errno comes back, and the log says what failed. Afterwards it works. */
START_TEST(the_exporter_fails)
{
	static const struct {
		enum peerbar_test_operation operation;
		int access;
		int error;
		int seen;
		const char *words;
	} cases[] = {
		{ PEERBAR_TEST_FAIL_PIN, ALL_ACCESS, ENOMEM, ENOMEM, "does not pin" },
		{ PEERBAR_TEST_FAIL_PIN, ALL_ACCESS, ENOTSUPP, EOPNOTSUPP, "does not pin" },
		{ PEERBAR_TEST_FAIL_MAP, ALL_ACCESS, ENOMEM, ENOMEM, "does not map" },
		{ PEERBAR_TEST_FAIL_MAP, ALL_ACCESS, EAGAIN, EAGAIN, "does not map" },
		{ PEERBAR_TEST_FAIL_MAP, ALL_ACCESS, ENOTSUPP, EOPNOTSUPP, "does not map" },
		{ PEERBAR_TEST_FAIL_MAP, ALL_ACCESS | ON_DEMAND, ENOTSUPP, EOPNOTSUPP,
		  "does not map" },
	};
	int fd = vram_export(0, SIZE), log = log_open();
	char words[100];
	struct ibv_mr *mr;

	ck_assert_int_eq(test_fail(vram_exporter, fd, cases[_i].operation,
				   (unsigned int)cases[_i].error, 1),
			 0);
	errno = 0;
	ck_assert_ptr_null(reg(fd, cases[_i].access));
	ck_assert_int_eq(errno, cases[_i].seen);
	snprintf(words, sizeof(words), "the exporter %s it for %s: error -%d", cases[_i].words,
		 nic_bdf(0), cases[_i].error);
	ck_assert_msg(log_has(log, words), "the log does not say: %s", words);
	nothing_is_left(fd);
	mr = reg(fd, cases[_i].access);
	ck_assert_msg(mr, "%s", strerror(errno));
	arrives(fd, mr, 0, 4);
	ck_assert_int_eq(ibv_dereg_mr(mr), 0);
	close(fd);
}
END_TEST

/* While the memory of a region on demand cannot be mapped, accesses fail. Later they work. */
START_TEST(an_access_fails)
{
	int fd = vram_export(0, SIZE), log;
	struct ibv_mr *mr = reg(fd, ALL_ACCESS | ON_DEMAND);
	struct ibv_sge s;
	struct ibv_send_wr wr;

	ck_assert_msg(mr, "%s", strerror(errno));
	arrives(fd, mr, 0, 5);
	ck_assert_int_eq(test_move(vram_exporter, fd, PEERBAR_TEST_PLACE_B), PEERBAR_TEST_PLACE_B);
	ck_assert_int_eq(test_fail(vram_exporter, fd, PEERBAR_TEST_FAIL_MAP, ENOTSUPP, 0), 0);
	log = log_open();
	wr = write_to(mr, &s, 0);
	lab_pattern(demand_host.p, BYTES, 6);
	fails(&pair.a, &wr, IBV_WC_REM_ACCESS_ERR);
	ck_assert(log_has(log, "cannot access a dma-buf"));
	ck_assert(!vram_host_sees(fd, 0, demand_host.p, BYTES));
	replace_qps(&pair.a, &pair.b);
	ck_assert_int_eq(test_fail(vram_exporter, fd, PEERBAR_TEST_FAIL_MAP, 0, 0), 0);
	arrives(fd, mr, 0, 7);
	ck_assert_int_eq(ibv_dereg_mr(mr), 0);
	close(fd);
}
END_TEST

/* Addresses that the function's IOMMU does not map: DMA would vanish, without an error. */
START_TEST(addresses_are_not_translated)
{
	int fd = vram_export(PEERBAR_TEST_VRAM_UNTRANSLATED, SIZE), log = log_open();
	char words[100];

	snprintf(words, sizeof(words), "are not mapped for this function, %s", nic_bdf(0));
	errno = 0;
	ck_assert_ptr_null(reg(fd, accesses[_i]));
	ck_assert_int_eq(errno, EFAULT);
	ck_assert(log_has(log, words));
	nothing_is_left(fd);
	close(fd);
}
END_TEST

/* It goes to system memory when an importer attaches. A pin brings it back. */
START_TEST(it_migrates)
{
	int fd = vram_export(PEERBAR_TEST_VRAM_ATTACH_MIGRATES, SIZE);
	struct ibv_mr *mr = reg(fd, accesses[_i]);
	uint8_t *back = malloc(BYTES);
	struct ibv_sge s;
	struct ibv_send_wr wr;

	ck_assert_msg(mr && back, "%s", strerror(errno));
	wr = write_to(mr, &s, PAGE);
	lab_pattern(demand_host.p, BYTES, 8);
	done(&pair.a, &wr);
	ck_assert_int_eq(vram_place(fd),
			 accesses[_i] & ON_DEMAND ? PEERBAR_TEST_PLACE_SYSTEM :
						    PEERBAR_TEST_PLACE_A);
	ck_assert_int_eq(test_read(vram_exporter, fd, PEERBAR_TEST_PLACE_HERE, PAGE, back, BYTES),
			 0);
	ck_assert_mem_eq(back, demand_host.p, BYTES);
	free(back);
	ck_assert_int_eq(ibv_dereg_mr(mr), 0);
	close(fd);
}
END_TEST

LAB_SUITE_PART("rdma-demand")
{
	TCase *t = rdma_case(s, "VRAM", 60, up, down);

	tcase_add_loop_test(t, in_the_bar, 0, 2);
	tcase_add_loop_test(t, scattered, 0, 2);
	tcase_add_loop_test(t, the_exporter_fails, 0, 6);
	tcase_add_test(t, an_access_fails);
	tcase_add_loop_test(t, addresses_are_not_translated, 0, 2);
	tcase_add_loop_test(t, it_migrates, 0, 2);
}
