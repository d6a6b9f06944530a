// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Verbs on host memory: every operation of RC, UC and UD, invalid requests and their status. With
 * LAB_RDMA=rxe0 the same tests run on the kernel's rxe; intended differences are marked.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <rdma/rdma_cma.h>
#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "memory-kinds.h"
#include "modules.h"
#include "verbs.h"

static struct pair pair; /* connected with each other */
static unsigned int fds_before;

#define MEM (256 * KIB)

static void pair_up(const struct end_options *options)
{
	fds_before = count_fds();
	pair_open(&pair, options, MEM);
}

static void rc_up(void)
{
	pair_up(NULL);
	ends_connect(&pair.a, &pair.b);
}

static void uc_up(void)
{
	ends_have_type(IBV_QPT_UC);
	rc_up();
}

static void unconnected_up(void)
{
	pair_up(NULL);
}

static void ud_up(void)
{
	struct end_options ud = { .type = IBV_QPT_UD };

	pair_up(&ud);
	end_connect(&pair.a, NULL);
	end_connect(&pair.b, NULL);
}

static void pair_down(void)
{
	pair_close(&pair);
	ck_assert_uint_eq(count_fds(), fds_before);
}

/* Fill pair.a's memory with a pattern, and pair.b's with 0xee. */
static void prepare(uint32_t seed)
{
	lab_pattern(pair.at_a.p, MEM, seed);
	memset(pair.at_b.p, 0xee, MEM);
}

/* Check that pair.b has exactly these bytes of pair.a, and that the bytes around them are unchanged. */
static void arrived(size_t to, size_t from, size_t length)
{
	/* rxe's sender completes before the data arrives. */
	if (!ends_are_reliable() && rdma_is_rxe())
		usleep(50000);
	ck_assert_msg(!memcmp(pair.at_b.p + to, pair.at_a.p + from, length), "%zu bytes from 0x%zx did not arrive at 0x%zx", length, from,
		      to);
	if (to)
		ck_assert_msg(pair.at_b.p[to - 1] == 0xee, "the byte before them was written");
	if (to + length < MEM)
		ck_assert_msg(pair.at_b.p[to + length] == 0xee, "the byte behind them was written");
}

/* ---- operations of RC, and of UC as far as it has them ---- */

/* Sizes around boundaries: nothing, a word, a cache line, a page, a packet. */
static const size_t sizes[] = { 0, 1, 3, 8, 63, 64, 65, 1023, 1024, 1025, 4095, 4096, 4097, 8192, 65536, 100001 };
#define NR_SIZES (sizeof(sizes) / sizeof(sizes[0]))

START_TEST(send_and_receive)
{
	unsigned int i;

	for (i = 0; i < NR_SIZES; i++) {
		struct ibv_sge from = sge(&pair.at_a, 5 + i, sizes[i]), to = sge(&pair.at_b, 4093 - i, sizes[i] + 10);
		struct ibv_send_wr wr = work(100 + i, IBV_WR_SEND, &from, 1, NULL, 0);
		struct ibv_wc wc;

		prepare(i + 1);
		ck_assert_int_eq(post_receive(&pair.b, i, &to, 1), 0);
		done(&pair.a, &wr);
		wc = completes(&pair.b, i, IBV_WC_SUCCESS);
		ck_assert_int_eq(wc.opcode, IBV_WC_RECV);
		ck_assert_uint_eq(wc.byte_len, sizes[i]);
		ck_assert_uint_eq(wc.wc_flags & (IBV_WC_WITH_IMM | IBV_WC_WITH_INV), 0);
		arrived(4093 - i, 5 + i, sizes[i]);
	}
}
END_TEST

/* Receives are used in the order of posting, and both sides complete in that order. */
START_TEST(in_order)
{
	unsigned int i;

	prepare(1);
	for (i = 0; i < 50; i++) {
		struct ibv_sge to = sge(&pair.at_b, i * 100, 100);

		ck_assert_int_eq(post_receive(&pair.b, i, &to, 1), 0);
	}
	for (i = 0; i < 50; i++) {
		struct ibv_sge from = sge(&pair.at_a, i * 1000, 100);
		struct ibv_send_wr wr = work(i, IBV_WR_SEND, &from, 1, NULL, 0);

		ck_assert_int_eq(post(&pair.a, &wr), 0);
	}
	for (i = 0; i < 50; i++) {
		ck_assert_int_eq(completes(&pair.a, i, IBV_WC_SUCCESS).opcode, IBV_WC_SEND);
		completes(&pair.b, i, IBV_WC_SUCCESS);
		ck_assert_mem_eq(pair.at_b.p + i * 100, pair.at_a.p + i * 1000, 100);
	}
}
END_TEST

START_TEST(write_and_read)
{
	unsigned int i;

	for (i = 0; i < NR_SIZES; i++) {
		struct ibv_sge from = sge(&pair.at_a, 1 + i, sizes[i]), back = sge(&pair.at_a, 131071, sizes[i]);
		struct ibv_send_wr wr = work(i, IBV_WR_RDMA_WRITE, &from, 1, &pair.at_b, 4095);
		struct ibv_wc wc;

		prepare(i + 1);
		ck_assert_int_eq(post(&pair.a, &wr), 0);
		wc = completes(&pair.a, i, IBV_WC_SUCCESS);
		ck_assert_int_eq(wc.opcode, IBV_WC_RDMA_WRITE);
		arrived(4095, 1 + i, sizes[i]);
		if (!ends_are_reliable())
			continue;
		/* Read it back. */
		wr = work(i, IBV_WR_RDMA_READ, &back, 1, &pair.at_b, 4095);
		ck_assert_int_eq(post(&pair.a, &wr), 0);
		wc = completes(&pair.a, i, IBV_WC_SUCCESS);
		ck_assert_int_eq(wc.opcode, IBV_WC_RDMA_READ);
		ck_assert_mem_eq(pair.at_a.p + 131071, pair.at_b.p + 4095, sizes[i]);
	}
	/* The responder has no completion. */
	nothing_completes(&pair.b);
}
END_TEST

START_TEST(immediate)
{
	struct ibv_sge from = sge(&pair.at_a, 3, 5000), to = sge(&pair.at_b, 9, 5000);
	struct ibv_send_wr wr = work(1, IBV_WR_SEND_WITH_IMM, &from, 1, NULL, 0);
	struct ibv_wc wc;

	prepare(1);
	wr.imm_data = htonl(0xdeadbeef);
	ck_assert_int_eq(post_receive(&pair.b, 11, &to, 1), 0);
	done(&pair.a, &wr);
	wc = completes(&pair.b, 11, IBV_WC_SUCCESS);
	ck_assert_int_eq(wc.opcode, IBV_WC_RECV);
	ck_assert_uint_eq(wc.wc_flags & IBV_WC_WITH_IMM, IBV_WC_WITH_IMM);
	ck_assert_uint_eq(wc.imm_data, htonl(0xdeadbeef));
	ck_assert_uint_eq(wc.byte_len, 5000);
	arrived(9, 3, 5000);
	/* A write with immediate consumes a receive, but not its memory. */
	prepare(2);
	wr = work(2, IBV_WR_RDMA_WRITE_WITH_IMM, &from, 1, &pair.at_b, 20000);
	wr.imm_data = htonl(0x12345678);
	ck_assert_int_eq(post_receive(&pair.b, 12, NULL, 0), 0);
	done(&pair.a, &wr);
	wc = completes(&pair.b, 12, IBV_WC_SUCCESS);
	ck_assert_int_eq(wc.opcode, IBV_WC_RECV_RDMA_WITH_IMM);
	ck_assert_uint_eq(wc.wc_flags & IBV_WC_WITH_IMM, IBV_WC_WITH_IMM);
	ck_assert_uint_eq(wc.imm_data, htonl(0x12345678));
	ck_assert_uint_eq(wc.byte_len, 5000);
	arrived(20000, 3, 5000);
	/* The same with no bytes. */
	wr = work(3, IBV_WR_RDMA_WRITE_WITH_IMM, NULL, 0, NULL, 0);
	wr.imm_data = htonl(7);
	ck_assert_int_eq(post_receive(&pair.b, 13, NULL, 0), 0);
	done(&pair.a, &wr);
	wc = completes(&pair.b, 13, IBV_WC_SUCCESS);
	ck_assert_uint_eq(wc.imm_data, htonl(7));
	ck_assert_uint_eq(wc.byte_len, 0);
}
END_TEST

static uint64_t word(const struct mem *mem, size_t offset)
{
	uint64_t value;

	memcpy(&value, mem->p + offset, sizeof(value));
	return value;
}

static void set_word(const struct mem *mem, size_t offset, uint64_t value)
{
	memcpy(mem->p + offset, &value, sizeof(value));
}

START_TEST(atomics)
{
	struct ibv_sge old = sge(&pair.at_a, 4096 - 8, 8);
	struct ibv_send_wr wr = work(1, IBV_WR_ATOMIC_FETCH_AND_ADD, &old, 1, &pair.at_b, 4096 - 8);

	set_word(&pair.at_b, 4096 - 8, 0xfffffffffffffff0);
	wr.wr.atomic.compare_add = 0x21;
	ck_assert_int_eq(post(&pair.a, &wr), 0);
	ck_assert_int_eq(completes(&pair.a, 1, IBV_WC_SUCCESS).opcode, IBV_WC_FETCH_ADD);
	ck_assert_uint_eq(word(&pair.at_a, 4096 - 8), 0xfffffffffffffff0);
	ck_assert_uint_eq(word(&pair.at_b, 4096 - 8), 0x11);
	/* A compare-and-swap whose comparison succeeds swaps. */
	wr = work(2, IBV_WR_ATOMIC_CMP_AND_SWP, &old, 1, &pair.at_b, 4096 - 8);
	wr.wr.atomic.compare_add = 0x11;
	wr.wr.atomic.swap = 0x0123456789abcdef;
	ck_assert_int_eq(post(&pair.a, &wr), 0);
	ck_assert_int_eq(completes(&pair.a, 2, IBV_WC_SUCCESS).opcode, IBV_WC_COMP_SWAP);
	ck_assert_uint_eq(word(&pair.at_a, 4096 - 8), 0x11);
	ck_assert_uint_eq(word(&pair.at_b, 4096 - 8), 0x0123456789abcdef);
	/* One whose comparison fails does not. */
	wr.wr_id = 3;
	done(&pair.a, &wr);
	ck_assert_uint_eq(word(&pair.at_a, 4096 - 8), 0x0123456789abcdef);
	ck_assert_uint_eq(word(&pair.at_b, 4096 - 8), 0x0123456789abcdef);
}
END_TEST

/* Several queue pairs, in several threads, add to the same word concurrently. */
#define ADDERS 4
#define ADDS 500

static void *add_up(void *arg)
{
	struct end *end = arg;
	struct mem mem = mem_new(end, PAGE, ALL_ACCESS);
	struct ibv_sge old = sge(&mem, 0, 8);
	int i;

	for (i = 0; i < ADDS; i++) {
		struct ibv_send_wr wr = work((uint64_t)i, IBV_WR_ATOMIC_FETCH_AND_ADD, &old, 1, &pair.at_b, 64);

		wr.wr.atomic.compare_add = 3;
		done(end, &wr);
	}
	mem_free(&mem);
	return NULL;
}

START_TEST(atomics_are_atomic)
{
	struct end from[ADDERS], to[ADDERS];
	pthread_t threads[ADDERS];
	int i;

	set_word(&pair.at_b, 64, 0);
	for (i = 0; i < ADDERS; i++) {
		end_open(&from[i], NULL);
		end_open_beside(&to[i], &pair.b, NULL);
		ends_connect(&from[i], &to[i]);
	}
	for (i = 0; i < ADDERS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, add_up, &from[i]), 0);
	for (i = 0; i < ADDERS; i++) {
		pthread_join(threads[i], NULL);
		end_close(&from[i]);
		end_close(&to[i]);
	}
	ck_assert_uint_eq(word(&pair.at_b, 64), 3 * ADDERS * ADDS);
}
END_TEST

START_TEST(inline_data)
{
	uint8_t bytes[64], copy[64];
	struct ibv_sge from = { .addr = (uintptr_t)bytes, .length = 60 }, two[2] = { from, from }, to = sge(&pair.at_b, 1, 64);
	struct ibv_send_wr wr = work(1, IBV_WR_RDMA_WRITE, &from, 1, &pair.at_b, 4090);

	/* The memory needs no registration, and can be reused as soon as the call returns. */
	prepare(1);
	lab_pattern(bytes, sizeof(bytes), 5);
	memcpy(copy, bytes, sizeof(copy));
	wr.send_flags |= IBV_SEND_INLINE;
	ck_assert_int_eq(post(&pair.a, &wr), 0);
	memset(bytes, 0, sizeof(bytes));
	completes(&pair.a, 1, IBV_WC_SUCCESS);
	ck_assert_mem_eq(pair.at_b.p + 4090, copy, 60);
	ck_assert_uint_eq(pair.at_b.p[4090 + 60], 0xee);
	/* A message from two segments. */
	lab_pattern(bytes, sizeof(bytes), 6);
	memcpy(copy, bytes, sizeof(copy));
	two[0].length = 13;
	two[1] = (struct ibv_sge){ .addr = (uintptr_t)bytes + 13, .length = 40 };
	wr = work(2, IBV_WR_SEND, two, 2, NULL, 0);
	wr.send_flags |= IBV_SEND_INLINE;
	ck_assert_int_eq(post_receive(&pair.b, 3, &to, 1), 0);
	ck_assert_int_eq(post(&pair.a, &wr), 0);
	memset(bytes, 0, sizeof(bytes));
	completes(&pair.a, 2, IBV_WC_SUCCESS);
	ck_assert_uint_eq(completes(&pair.b, 3, IBV_WC_SUCCESS).byte_len, 53);
	ck_assert_mem_eq(pair.at_b.p + 1, copy, 53);
	/* Inline data above the limit fails at once, and takes no slot in the queue. */
	from = sge(&pair.at_a, 0, 128 * KIB);
	wr = work(4, IBV_WR_RDMA_WRITE, &from, 1, &pair.at_b, 0);
	wr.send_flags |= IBV_SEND_INLINE;
	ck_assert_int_ne(post(&pair.a, &wr), 0);
	wr.send_flags &= ~(unsigned int)IBV_SEND_INLINE;
	done(&pair.a, &wr);
	arrived(0, 0, 128 * KIB);
}
END_TEST

/*
 * Segments at any alignment, across pages and of no bytes, on both sides, with different
 * boundaries.
 */
START_TEST(scatter_gather)
{
	struct ibv_sge from[8] = { sge(&pair.at_a, 1, 4095), sge(&pair.at_a, 8191, 1),	 sge(&pair.at_a, 20000, 12345),
				   sge(&pair.at_a, 5, 0),	sge(&pair.at_a, 4090, 12),	 sge(&pair.at_a, 65536, 4096),
				   sge(&pair.at_a, 100, 7),	sge(&pair.at_a, 200000, 3333) };
	struct ibv_sge to[5] = { sge(&pair.at_b, 4095, 2), sge(&pair.at_b, 40961, 9999), sge(&pair.at_b, 0, 1), sge(&pair.at_b, 7, 0),
				 sge(&pair.at_b, 100001, 100000) };
	struct ibv_sge back[3] = { sge(&pair.at_a, 150001, 10000), sge(&pair.at_a, 170003, 1), sge(&pair.at_a, 180000, 13788) };
	struct ibv_send_wr wr = work(1, IBV_WR_SEND, from, 8, NULL, 0);
	static uint8_t sent[64 * KIB];
	size_t total = 0, at = 0;
	int i;

	prepare(1);
	for (i = 0; i < 8; i++) {
		memcpy(sent + total, (void *)(uintptr_t)from[i].addr, from[i].length);
		total += from[i].length;
	}
	ck_assert_int_eq(post_receive(&pair.b, 1, to, 5), 0);
	done(&pair.a, &wr);
	ck_assert_uint_eq(completes(&pair.b, 1, IBV_WC_SUCCESS).byte_len, total);
	for (i = 0; i < 5; i++) {
		size_t part = total - at < to[i].length ? total - at : to[i].length;

		ck_assert_msg(!memcmp((void *)(uintptr_t)to[i].addr, sent + at, part), "piece %d is wrong", i);
		at += part;
	}
	ck_assert_uint_eq(at, total);
	ck_assert_uint_eq(pair.at_b.p[100001 + total - 10002], 0xee);
	/* A write gathers, a read scatters. */
	prepare(2);
	for (i = 0, total = 0; i < 8; total += from[i++].length)
		memcpy(sent + total, (void *)(uintptr_t)from[i].addr, from[i].length);
	wr = work(2, IBV_WR_RDMA_WRITE, from, 8, &pair.at_b, 8189);
	done(&pair.a, &wr);
	if (!ends_are_reliable() && rdma_is_rxe())
		usleep(50000);
	ck_assert_mem_eq(pair.at_b.p + 8189, sent, total);
	if (!ends_are_reliable())
		return;
	wr = work(3, IBV_WR_RDMA_READ, back, 3, &pair.at_b, 8189);
	done(&pair.a, &wr);
	ck_assert_mem_eq(pair.at_a.p + 150001, sent, 10000);
	ck_assert_uint_eq(pair.at_a.p[170003], sent[10000]);
	ck_assert_mem_eq(pair.at_a.p + 180000, sent + 10001, 13788);
}
END_TEST

/* The remote address and key of an empty request are not checked. */
START_TEST(no_bytes)
{
	static const enum ibv_wr_opcode opcodes[] = { IBV_WR_RDMA_WRITE, IBV_WR_RDMA_READ };
	struct ibv_send_wr wr;
	unsigned int i;

	for (i = 0; i < 2; i++) {
		wr = work(i, opcodes[i], NULL, 0, NULL, 0);
		wr.wr.rdma.remote_addr = 0xdead;
		wr.wr.rdma.rkey = 0xdead;
		done(&pair.a, &wr);
	}
	wr = work(3, IBV_WR_SEND, NULL, 0, NULL, 0);
	ck_assert_int_eq(post_receive(&pair.b, 3, NULL, 0), 0);
	done(&pair.a, &wr);
	ck_assert_uint_eq(completes(&pair.b, 3, IBV_WC_SUCCESS).byte_len, 0);
}
END_TEST

START_TEST(large)
{
	const size_t size = 64 * MIB;
	struct mem from = mem_new(&pair.a, size, ALL_ACCESS), to = mem_new(&pair.b, size + PAGE, ALL_ACCESS);
	struct ibv_sge all = sge(&from, 0, size), there = sge(&to, 17, size);
	struct ibv_send_wr wr = work(1, IBV_WR_RDMA_WRITE, &all, 1, &to, 17);
	size_t i;

	/* A pattern that differs from page to page and is quick to write. */
	for (i = 0; i < size; i += 512)
		set_word(&from, i, i * 0x9e3779b97f4a7c15);
	done(&pair.a, &wr);
	ck_assert(!memcmp(to.p + 17, from.p, size));
	if (ends_are_reliable()) {
		memset(from.p, 0, size);
		wr = work(2, IBV_WR_RDMA_READ, &all, 1, &to, 17);
		done(&pair.a, &wr);
		ck_assert(!memcmp(to.p + 17, from.p, size));
	}
	memset(to.p, 0, size + PAGE);
	ck_assert_int_eq(post_receive(&pair.b, 3, &there, 1), 0);
	wr = work(3, IBV_WR_SEND, &all, 1, NULL, 0);
	done(&pair.a, &wr);
	ck_assert_uint_eq(completes(&pair.b, 3, IBV_WC_SUCCESS).byte_len, size);
	ck_assert(!memcmp(to.p + 17, from.p, size));
	ck_assert_uint_eq(to.p[16], 0);
	ck_assert_uint_eq(to.p[17 + size], 0);
	mem_free(&from);
	mem_free(&to);
}
END_TEST

/*
 * Unsignaled requests have no completion. Their slots become free with the next signaled request.
 */
START_TEST(unsignaled)
{
	unsigned int i;

	prepare(1);
	for (i = 0; i < 1000; i++) {
		struct ibv_sge from = sge(&pair.at_a, i, 100);
		struct ibv_send_wr wr = work(i, IBV_WR_RDMA_WRITE, &from, 1, &pair.at_b, i * 100);

		if (i % 10 != 9)
			wr.send_flags = 0;
		ck_assert_int_eq(post(&pair.a, &wr), 0);
		if (i % 10 == 9)
			completes(&pair.a, i, IBV_WC_SUCCESS);
	}
	for (i = 0; i < 1000; i++)
		ck_assert_mem_eq(pair.at_b.p + i * 100, pair.at_a.p + i, 100);
	nothing_completes(&pair.a);
}
END_TEST

/* A failed request always completes. */
START_TEST(unsignaled_failure)
{
	struct ibv_sge from = sge(&pair.at_a, 0, 100);
	struct ibv_send_wr wr = work(1, IBV_WR_RDMA_WRITE, &from, 1, &pair.at_b, 0);

	wr.send_flags = 0;
	wr.wr.rdma.rkey ^= 0x5500;
	ck_assert_int_eq(post(&pair.a, &wr), 0);
	completes(&pair.a, 1, IBV_WC_REM_ACCESS_ERR);
}
END_TEST

/* A fenced request waits for reads: it sends the data that they fetched. */
START_TEST(fence)
{
	struct ibv_sge back = sge(&pair.at_a, 0, 60000), to = sge(&pair.at_b, 100000, 60000);
	struct ibv_send_wr second = work(2, IBV_WR_SEND, &back, 1, NULL, 0),
			   first = work(1, IBV_WR_RDMA_READ, &back, 1, &pair.at_b, 1);

	lab_pattern(pair.at_b.p, MEM, 4);
	memset(pair.at_a.p, 0, MEM);
	second.send_flags |= IBV_SEND_FENCE;
	first.next = &second;
	ck_assert_int_eq(post_receive(&pair.b, 5, &to, 1), 0);
	ck_assert_int_eq(post(&pair.a, &first), 0);
	completes(&pair.a, 1, IBV_WC_SUCCESS);
	completes(&pair.a, 2, IBV_WC_SUCCESS);
	completes(&pair.b, 5, IBV_WC_SUCCESS);
	ck_assert_mem_eq(pair.at_b.p + 100000, pair.at_b.p + 1, 60000);
}
END_TEST

/*
 * Requests of a list before the invalid one are processed, and the caller gets a pointer to the
 * invalid one.
 */
START_TEST(a_list)
{
	struct ibv_sge from = sge(&pair.at_a, 0, 8), many[64];
	struct ibv_send_wr wr[5], *bad = NULL;
	int i;

	prepare(1);
	for (i = 0; i < 64; i++)
		many[i] = from;
	for (i = 0; i < 5; i++) {
		wr[i] = work((uint64_t)i, IBV_WR_RDMA_WRITE, &from, 1, &pair.at_b, (size_t)i * 8);
		wr[i].next = i < 4 ? &wr[i + 1] : NULL;
	}
	wr[3].sg_list = many;
	wr[3].num_sge = 64;
	ck_assert_int_ne(ibv_post_send(pair.a.qp, wr, &bad), 0);
	ck_assert_ptr_eq(bad, &wr[3]);
	for (i = 0; i < 3; i++)
		completes(&pair.a, (uint64_t)i, IBV_WC_SUCCESS);
	nothing_completes(&pair.a);
	for (i = 0; i < 3; i++)
		ck_assert_mem_eq(pair.at_b.p + 8 * i, pair.at_a.p, 8);
	ck_assert_uint_eq(pair.at_b.p[24], 0xee);
}
END_TEST

START_TEST(receive_queue_full)
{
	struct ibv_sge to = sge(&pair.at_b, 0, 100);
	struct ibv_qp_init_attr init;
	struct ibv_qp_attr attr;
	unsigned int n = 0;
	int ret;

	ck_assert_int_eq(ibv_query_qp(pair.b.qp, &attr, IBV_QP_CAP, &init), 0);
	ck_assert_uint_ge(init.cap.max_recv_wr, 64);
	while (!(ret = post_receive(&pair.b, n, &to, 1)) && n < 100000)
		n++;
	ck_assert_int_eq(ret, ENOMEM);
	ck_assert_uint_ge(n, 64);
	ck_assert_uint_le(n, init.cap.max_recv_wr);
	/* The posted receives are unchanged. */
	ck_assert_int_eq(end_to(&pair.b, IBV_QPS_ERR), 0);
	completes(&pair.b, 0, IBV_WC_WR_FLUSH_ERR);
	completes(&pair.b, 1, IBV_WC_WR_FLUSH_ERR);
}
END_TEST

START_TEST(other_way_round)
{
	struct ibv_sge from = sge(&pair.at_b, 0, 1000), to = sge(&pair.at_a, 0, 1000);
	struct ibv_send_wr wr = work(1, IBV_WR_SEND, &from, 1, NULL, 0), to_self;

	lab_pattern(pair.at_b.p, MEM, 1);
	ck_assert_int_eq(post_receive(&pair.a, 2, &to, 1), 0);
	done(&pair.b, &wr);
	completes(&pair.a, 2, IBV_WC_SUCCESS);
	ck_assert_mem_eq(pair.at_a.p, pair.at_b.p, 1000);
	/* In both directions at once. */
	wr = work(3, IBV_WR_RDMA_WRITE, &from, 1, &pair.at_a, 5000);
	to_self = work(4, ends_are_reliable() ? IBV_WR_RDMA_READ : IBV_WR_RDMA_WRITE, &to, 1, &pair.at_b, 7000);
	ck_assert_int_eq(post(&pair.b, &wr), 0);
	ck_assert_int_eq(post(&pair.a, &to_self), 0);
	completes(&pair.b, 3, IBV_WC_SUCCESS);
	completes(&pair.a, 4, IBV_WC_SUCCESS);
	ck_assert_mem_eq(pair.at_a.p + 5000, pair.at_b.p, 1000);
	ck_assert_mem_eq(pair.at_a.p, pair.at_b.p + 7000, 1000);
}
END_TEST

/* A queue pair that is its own peer. */
START_TEST(with_itself)
{
	struct ibv_sge from, to;
	struct ibv_send_wr wr;
	struct end self;
	struct address me;
	struct mem mem;

	end_open(&self, NULL);
	mem = mem_new(&self, 2 * PAGE, ALL_ACCESS);
	me = end_address(&self);
	end_connect(&self, &me);
	lab_pattern(mem.p, PAGE, 1);
	from = sge(&mem, 0, PAGE);
	to = sge(&mem, PAGE, PAGE);
	ck_assert_int_eq(post_receive(&self, 1, &to, 1), 0);
	wr = work(1, IBV_WR_SEND, &from, 1, NULL, 0);
	done(&self, &wr);
	completes(&self, 1, IBV_WC_SUCCESS);
	ck_assert_mem_eq(mem.p, mem.p + PAGE, PAGE);
	mem_free(&mem);
	end_close(&self);
}
END_TEST

/* The ibv_wr_*() calls, which build a request step by step. */
START_TEST(work_request_calls)
{
	struct ibv_qp_init_attr_ex attr = {
		.qp_type = IBV_QPT_RC,
		.comp_mask = IBV_QP_INIT_ATTR_PD | IBV_QP_INIT_ATTR_SEND_OPS_FLAGS,
		.cap = { .max_send_wr = 16, .max_recv_wr = 16, .max_send_sge = 4, .max_recv_sge = 4, .max_inline_data = 64 },
		.send_ops_flags = IBV_QP_EX_WITH_RDMA_WRITE | IBV_QP_EX_WITH_RDMA_READ | IBV_QP_EX_WITH_SEND |
				  IBV_QP_EX_WITH_SEND_WITH_IMM | IBV_QP_EX_WITH_ATOMIC_FETCH_AND_ADD
	};
	struct ibv_sge list[2], to = sge(&pair.at_b, 0, 100);
	struct end x, y;
	struct ibv_qp_ex *ex;

	end_open_beside(&y, &pair.b, NULL);
	x = pair.a;
	x.borrowed = true;
	attr.send_cq = attr.recv_cq = pair.a.cq;
	attr.pd = pair.a.pd;
	x.qp = ibv_create_qp_ex(pair.a.ctx, &attr);
	ck_assert_msg(x.qp, "no queue pair for the calls: %s", strerror(errno));
	ends_connect(&x, &y);
	ex = ibv_qp_to_qp_ex(x.qp);
	ck_assert_ptr_nonnull(ex);
	prepare(1);
	list[0] = sge(&pair.at_a, 10, 20);
	/* rxe uses the first segment's length for all. */
	list[1] = sge(&pair.at_a, 100, rdma_is_rxe() ? 20 : 30);
	ck_assert_int_eq(post_receive(&y, 1, &to, 1), 0);

	ibv_wr_start(ex);
	ex->wr_id = 1;
	ex->wr_flags = IBV_SEND_SIGNALED;
	ibv_wr_rdma_write(ex, pair.at_b.mr->rkey, pair.at_b.addr + 1000);
	ibv_wr_set_sge(ex, pair.at_a.mr->lkey, pair.at_a.addr, 500);
	ex->wr_id = 2;
	ex->wr_flags = IBV_SEND_SIGNALED;
	ibv_wr_send_imm(ex, htonl(99));
	ibv_wr_set_sge_list(ex, 2, list);
	ex->wr_id = 3;
	ex->wr_flags = IBV_SEND_SIGNALED | IBV_SEND_INLINE;
	ibv_wr_rdma_write(ex, pair.at_b.mr->rkey, pair.at_b.addr + 3000);
	ibv_wr_set_inline_data(ex, "inline", 6);
	ck_assert_int_eq(ibv_wr_complete(ex), 0);
	completes(&x, 1, IBV_WC_SUCCESS);
	completes(&x, 2, IBV_WC_SUCCESS);
	completes(&x, 3, IBV_WC_SUCCESS);
	ck_assert_uint_eq(completes(&y, 1, IBV_WC_SUCCESS).imm_data, htonl(99));
	ck_assert_mem_eq(pair.at_b.p + 1000, pair.at_a.p, 500);
	ck_assert_mem_eq(pair.at_b.p, pair.at_a.p + 10, 20);
	ck_assert_mem_eq(pair.at_b.p + 20, pair.at_a.p + 100, list[1].length);
	ck_assert_mem_eq(pair.at_b.p + 3000, "inline", 6);

	/* An aborted request is not sent. */
	ibv_wr_start(ex);
	ex->wr_id = 4;
	ex->wr_flags = IBV_SEND_SIGNALED;
	ibv_wr_rdma_write(ex, pair.at_b.mr->rkey, pair.at_b.addr + 1000);
	ibv_wr_set_sge(ex, pair.at_a.mr->lkey, pair.at_a.addr + 5000, 500);
	ibv_wr_abort(ex);
	ibv_wr_start(ex);
	ex->wr_id = 5;
	ex->wr_flags = IBV_SEND_SIGNALED;
	ibv_wr_atomic_fetch_add(ex, pair.at_b.mr->rkey, pair.at_b.addr + 8192, 5);
	ibv_wr_set_sge(ex, pair.at_a.mr->lkey, pair.at_a.addr + 8192, 8);
	set_word(&pair.at_b, 8192, 1);
	ck_assert_int_eq(ibv_wr_complete(ex), 0);
	completes(&x, 5, IBV_WC_SUCCESS);
	ck_assert_uint_eq(word(&pair.at_a, 8192), 1);
	ck_assert_uint_eq(word(&pair.at_b, 8192), 6);
	ck_assert_mem_eq(pair.at_b.p + 1000, pair.at_a.p, 500);
	end_close(&x);
	end_close(&y);
}
END_TEST

/* ---- completions ---- */

static bool channel_readable(struct end *end, int milliseconds)
{
	struct pollfd p = { .fd = end->channel->fd, .events = POLLIN };

	return poll(&p, 1, milliseconds) == 1;
}

static void take_event(struct end *end)
{
	struct ibv_cq *cq;
	void *context;

	ck_assert_msg(channel_readable(end, 10000), "the channel tells nothing");
	ck_assert_int_eq(ibv_get_cq_event(end->channel, &cq, &context), 0);
	ck_assert_ptr_eq(cq, end->cq);
	ck_assert_ptr_eq(context, end);
	ibv_ack_cq_events(cq, 1);
}

START_TEST(completion_events)
{
	struct end_options events = { .events = true };
	struct ibv_send_wr wr;
	struct ibv_sge from;
	struct end x, y;
	struct mem mem;

	end_open(&x, &events);
	end_open(&y, &events);
	mem = mem_new(&x, PAGE, ALL_ACCESS);
	from = sge(&mem, 0, 100);
	ends_connect(&x, &y);
	/* No notification without a request. */
	wr = work(1, IBV_WR_RDMA_WRITE, &from, 0, NULL, 0);
	done(&x, &wr);
	ck_assert(!channel_readable(&x, 50));
	/* One notification per request. */
	ck_assert_int_eq(ibv_req_notify_cq(x.cq, 0), 0);
	ck_assert_int_eq(post(&x, &wr), 0);
	ck_assert_int_eq(post(&x, &wr), 0);
	take_event(&x);
	completes(&x, 1, IBV_WC_SUCCESS);
	completes(&x, 1, IBV_WC_SUCCESS);
	ck_assert(!channel_readable(&x, 50));
	/* Solicited only: a notification for marked sends only. */
	for (wr.wr_id = 0; wr.wr_id < 3; wr.wr_id++)
		ck_assert_int_eq(post_receive(&y, wr.wr_id, NULL, 0), 0);
	ck_assert_int_eq(ibv_req_notify_cq(y.cq, 1), 0);
	wr = work(2, IBV_WR_SEND, NULL, 0, NULL, 0);
	done(&x, &wr);
	completes(&y, 0, IBV_WC_SUCCESS);
	ck_assert(!channel_readable(&y, 50));
	wr.send_flags |= IBV_SEND_SOLICITED;
	done(&x, &wr);
	take_event(&y);
	completes(&y, 1, IBV_WC_SUCCESS);
	/* Failures notify, too, except on rxe. */
	ck_assert_int_eq(ibv_req_notify_cq(y.cq, 1), 0);
	ck_assert_int_eq(end_to(&y, IBV_QPS_ERR), 0);
	if (!rdma_is_rxe())
		take_event(&y);
	completes(&y, 2, IBV_WC_WR_FLUSH_ERR);
	mem_free(&mem);
	end_close(&x);
	end_close(&y);
}
END_TEST

/* A thread whose process is killed if it calls read(), write() or ioctl(). */
static void *polls_without_kernel(void *arg)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 3, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_read, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_write, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};
	struct sock_fprog program = { .len = sizeof(code) / sizeof(code[0]), .filter = code };
	struct ibv_wc wc[4];
	int *got = arg, n = 0;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program)) {
		/* Without seccomp in the kernel, this tests only polling. */
		if (errno != EINVAL && errno != ENOSYS)
			return NULL;
	}
	while (*got < 20) {
		n = ibv_poll_cq(pair.b.cq, 4, wc);
		if (n < 0)
			return NULL;
		__atomic_fetch_add(got, n, __ATOMIC_SEQ_CST);
	}
	return NULL;
}

START_TEST(completion_without_a_system_call)
{
	struct ibv_send_wr wr = work(1, IBV_WR_SEND, NULL, 0, NULL, 0);
	pthread_t thread;
	int got = 0, i;

	for (i = 0; i < 20; i++)
		ck_assert_int_eq(post_receive(&pair.b, (uint64_t)i, NULL, 0), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, polls_without_kernel, &got), 0);
	for (i = 0; i < 20; i++) {
		done(&pair.a, &wr);
		if (i % 5 == 4)
			usleep(20000);
	}
	pthread_join(thread, NULL);
	ck_assert_int_eq(got, 20);
}
END_TEST

START_TEST(completion_queue_overflow)
{
	struct end_options small = { .cqe = 4 };
	struct ibv_send_wr wr = work(1, IBV_WR_RDMA_WRITE, NULL, 0, NULL, 0);
	struct end x, y;
	int i;

	end_open(&x, &small);
	end_open(&y, NULL);
	ends_connect(&x, &y);
	for (i = 0; i < x.cq->cqe; i++)
		ck_assert_int_eq(post(&x, &wr), 0);
	ck_assert(!event_waits(&x, IBV_EVENT_CQ_ERR, 100));
	for (i = 0; i < 30; i++)
		post(&x, &wr);
	event_comes(&x, IBV_EVENT_CQ_ERR);
	end_close(&x);
	end_close(&y);
}
END_TEST

START_TEST(completion_queue_resized)
{
	struct end_options small = { .cqe = 8 };
	struct ibv_send_wr wr = work(0, IBV_WR_RDMA_WRITE, NULL, 0, NULL, 0);
	struct end x, y;
	int i, was;

	end_open(&x, &small);
	end_open(&y, NULL);
	ends_connect(&x, &y);
	was = x.cq->cqe;
	/* Advance in the ring, so that the completions to be kept begin in the middle. */
	for (i = 0; i < was / 2 + 1; i++)
		done(&x, &wr);
	for (i = 0; i < 6; i++) {
		wr.wr_id = (uint64_t)i;
		ck_assert_int_eq(post(&x, &wr), 0);
	}
	/* Wait until all are in the queue before resizing. */
	usleep(100000);
	ck_assert_int_eq(ibv_resize_cq(x.cq, 200), 0);
	ck_assert_int_ge(x.cq->cqe, 200);
	for (; i < 60; i++) {
		wr.wr_id = (uint64_t)i;
		ck_assert_int_eq(post(&x, &wr), 0);
	}
	usleep(100000);
	/* The queue cannot become smaller than its contents. */
	ck_assert_int_ne(ibv_resize_cq(x.cq, 4), 0);
	for (i = 0; i < 60; i++)
		completes(&x, (uint64_t)i, IBV_WC_SUCCESS);
	nothing_completes(&x);
	ck_assert_int_eq(ibv_resize_cq(x.cq, 16), 0);
	for (i = 0; i < 40; i++) {
		wr.wr_id = (uint64_t)i;
		done(&x, &wr);
	}
	ck_assert_int_ne(ibv_resize_cq(x.cq, 0x7fffffff), 0);
	done(&x, &wr);
	end_close(&x);
	end_close(&y);
}
END_TEST

/* ---- shared receive queues ---- */

START_TEST(shared_receives)
{
	struct end_options with = { .srq = 32 }, on = { 0 };
	struct end x, y, p, q;
	struct ibv_sge from, to;
	struct mem mem, source;
	unsigned int i, of_y = 0;

	end_open(&y, &with);
	on.shared = y.srq;
	end_open_beside(&q, &y, &on);
	end_open(&x, NULL);
	end_open_beside(&p, &x, NULL);
	ends_connect(&x, &y);
	ends_connect(&p, &q);
	mem = mem_new(&y, 32 * PAGE, ALL_ACCESS);
	source = mem_new(&x, 32 * PAGE, ALL_ACCESS);
	lab_pattern(source.p, source.size, 1);
	/* A queue pair with a shared queue has no receives of its own. */
	ck_assert_int_ne(({
				 struct ibv_recv_wr wr = { 0 }, *bad;
				 ibv_post_recv(y.qp, &wr, &bad);
			 }),
			 0);
	for (i = 0; i < 20; i++) {
		to = sge(&mem, i * PAGE, PAGE);
		ck_assert_int_eq(post_receive(&y, i, &to, 1), 0);
	}
	for (i = 0; i < 20; i++) {
		struct ibv_send_wr wr;
		struct ibv_wc wc;

		from = sge(&source, i * PAGE + i, 1000 + i);
		wr = work(i, IBV_WR_SEND, &from, 1, NULL, 0);
		done(i % 3 ? &x : &p, &wr);
		wc = completion(&y);
		ck_assert_int_eq(wc.status, IBV_WC_SUCCESS);
		/* Both queue pairs use the shared queue's next receive. */
		ck_assert_uint_eq(wc.wr_id, i);
		ck_assert_uint_eq(wc.qp_num, i % 3 ? y.qp->qp_num : q.qp->qp_num);
		ck_assert_uint_eq(wc.byte_len, 1000 + i);
		ck_assert_mem_eq(mem.p + i * PAGE, source.p + i * PAGE + i, 1000 + i);
		of_y += wc.qp_num == y.qp->qp_num;
	}
	ck_assert_uint_eq(of_y, 13);
	mem_free(&mem);
	mem_free(&source);
	end_close(&q);
	end_close(&y);
	end_close(&p);
	end_close(&x);
}
END_TEST

START_TEST(shared_receive_limit)
{
	struct end_options with = { .srq = 16 };
	struct ibv_send_wr wr = work(1, IBV_WR_SEND, NULL, 0, NULL, 0);
	struct ibv_srq_attr attr = { .srq_limit = 5 };
	struct end x, y;
	unsigned int i;

	end_open(&x, NULL);
	end_open(&y, &with);
	ends_connect(&x, &y);
	for (i = 0; i < 10; i++)
		ck_assert_int_eq(post_receive(&y, i, NULL, 0), 0);
	ck_assert_int_eq(ibv_modify_srq(y.srq, &attr, IBV_SRQ_LIMIT), 0);
	memset(&attr, 0, sizeof(attr));
	ck_assert_int_eq(ibv_query_srq(y.srq, &attr), 0);
	ck_assert_uint_eq(attr.srq_limit, 5);
	ck_assert_uint_ge(attr.max_wr, 16);
	for (i = 0; i < 5; i++) {
		done(&x, &wr);
		completes(&y, i, IBV_WC_SUCCESS);
	}
	ck_assert(!event_waits(&y, IBV_EVENT_SRQ_LIMIT_REACHED, 100));
	done(&x, &wr);
	completes(&y, 5, IBV_WC_SUCCESS);
	event_comes(&y, IBV_EVENT_SRQ_LIMIT_REACHED);
	/* The event comes once, and disarms the limit. */
	done(&x, &wr);
	completes(&y, 6, IBV_WC_SUCCESS);
	ck_assert(!event_waits(&y, IBV_EVENT_SRQ_LIMIT_REACHED, 100));
	ck_assert_int_eq(ibv_query_srq(y.srq, &attr), 0);
	ck_assert_uint_eq(attr.srq_limit, 0);
	/* A limit above the queue's size fails. */
	attr.srq_limit = 100000;
	ck_assert_int_ne(ibv_modify_srq(y.srq, &attr, IBV_SRQ_LIMIT), 0);
	/* Fill the queue. */
	for (i = 0; i < 100000 && !post_receive(&y, i, NULL, 0); i++)
		;
	ck_assert_uint_ge(i, 13);
	ck_assert_uint_lt(i, 100000);
	ck_assert_int_eq(post_receive(&y, i, NULL, 0), ENOMEM);
	end_close(&x);
	end_close(&y);
}
END_TEST

/* A shared queue survives an error of one of its queue pairs. */
START_TEST(shared_receives_survive)
{
	struct end_options with = { .srq = 16 }, on = { 0 };
	struct ibv_send_wr wr = work(1, IBV_WR_SEND, NULL, 0, NULL, 0);
	struct end x, y, p, q;

	end_open(&y, &with);
	on.shared = y.srq;
	end_open_beside(&q, &y, &on);
	end_open(&x, NULL);
	end_open_beside(&p, &x, NULL);
	ends_connect(&x, &y);
	ends_connect(&p, &q);
	ck_assert_int_eq(post_receive(&y, 1, NULL, 0), 0);
	ck_assert_int_eq(end_to(&y, IBV_QPS_ERR), 0);
	event_comes(&y, IBV_EVENT_QP_LAST_WQE_REACHED);
	nothing_completes(&y);
	done(&p, &wr);
	completes(&q, 1, IBV_WC_SUCCESS);
	end_close(&q);
	end_close(&y);
	end_close(&p);
	end_close(&x);
}
END_TEST

/* ---- queries of the device ---- */

START_TEST(what_it_says)
{
	struct ibv_qp_init_attr init;
	struct ibv_device_attr dev;
	struct ibv_port_attr port;
	struct ibv_qp_attr attr;

	ck_assert_int_eq(ibv_query_device(pair.a.ctx, &dev), 0);
	ck_assert_int_eq(dev.phys_port_cnt, 1);
	ck_assert_int_gt(dev.max_qp, 256);
	ck_assert_int_ge(dev.max_qp_wr, 1024);
	ck_assert_int_ge(dev.max_sge, 8);
	ck_assert_int_ge(dev.max_mr, 256);
	ck_assert_int_ge(dev.max_srq, 1);
	ck_assert_int_ne(dev.atomic_cap, IBV_ATOMIC_NONE);
	ck_assert(dev.device_cap_flags & IBV_DEVICE_MEM_MGT_EXTENSIONS);
	ck_assert_int_eq(ibv_query_port(pair.a.ctx, 1, &port), 0);
	ck_assert_int_eq(port.state, IBV_PORT_ACTIVE);
	ck_assert_int_eq(port.link_layer, IBV_LINK_LAYER_ETHERNET);
	ck_assert_uint_ge(port.max_msg_sz, 64 * MIB);
	/* The largest RDMA MTU that fits in 1,500 bytes with the headers. */
	ck_assert_int_eq(port.active_mtu, IBV_MTU_1024);
	ck_assert_int_ne(ibv_query_port(pair.a.ctx, 2, &port), 0);
	ck_assert_int_eq(ibv_query_qp(pair.a.qp, &attr,
				      IBV_QP_STATE | IBV_QP_DEST_QPN | IBV_QP_ACCESS_FLAGS | IBV_QP_AV | IBV_QP_CAP |
					      IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_PATH_MTU,
				      &init),
			 0);
	ck_assert_int_eq(attr.qp_state, IBV_QPS_RTS);
	ck_assert_uint_eq(attr.dest_qp_num, pair.b.qp->qp_num);
	ck_assert_uint_eq(attr.qp_access_flags & ALL_ACCESS, REMOTE_ACCESS);
	if (ends_are_reliable()) {
		ck_assert_uint_eq(attr.timeout, 18);
		ck_assert_uint_eq(attr.retry_cnt, 7);
	}
	ck_assert_int_eq(attr.ah_attr.is_global, 1);
	ck_assert_mem_eq(&attr.ah_attr.grh.dgid, &pair.b.gid, 16);
	ck_assert_uint_ge(init.cap.max_send_wr, 64);
	ck_assert_ptr_eq(init.send_cq, pair.a.cq);
}
END_TEST

/* ---- UD ---- */

static struct ibv_ah *handle_for(struct end *from, const struct end *to)
{
	struct ibv_ah_attr attr = { .is_global = 1,
				    .port_num = 1,
				    .grh = { .dgid = to->gid, .hop_limit = 64, .sgid_index = (uint8_t)from->gid_index } };
	struct ibv_ah *ah = ibv_create_ah(from->pd, &attr);

	ck_assert_msg(ah, "no address handle: %s", strerror(errno));
	return ah;
}

static struct ibv_send_wr datagram(uint64_t id, struct ibv_sge *from, struct ibv_ah *ah, const struct end *to)
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
	struct ibv_ah *ah = handle_for(&pair.a, &pair.b), *back;
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
	struct ibv_ah *ah = handle_for(&pair.a, &pair.b);
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
	struct ibv_ah *ah = handle_for(&pair.a, &pair.b);
	struct ibv_sge from = sge(&pair.at_a, 0, 65536), to = sge(&pair.at_b, 0, 100000);
	struct ibv_send_wr wr = datagram(1, &from, ah, &pair.b);

	ck_assert_int_eq(post_receive(&pair.b, 1, &to, 1), 0);
	post(&pair.a, &wr);
	nothing_completes(&pair.b);
	ibv_destroy_ah(ah);
}
END_TEST

/* ---- errors and their status ---- */

/* Check that the end is in the error state, and that new work is flushed. */
static void is_flushed(struct end *end)
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

/* Wait for the asynchronous event at the responder; rxe has none. */
static void responder_event(enum ibv_event_type type)
{
	if (!rdma_is_rxe())
		event_comes(&pair.b, type);
}

enum wrong {
	LOCAL_KEY,
	LOCAL_LENGTH,
	LOCAL_BEFORE,
	LOCAL_DOMAIN,
	LOCAL_GONE, /* the last mistake of the local side */
	REMOTE_KEY,
	REMOTE_LENGTH,
	REMOTE_BEFORE,
	REMOTE_WRAPS,
	REMOTE_DOMAIN,
	REMOTE_GONE,
	NR_WRONG
};

static const char *const wrong_names[NR_WRONG] = { "a wrong lkey",
						   "more than its region",
						   "memory before its region",
						   "a region of another protection domain",
						   "a region that was deregistered",
						   "a wrong rkey",
						   "more than the remote region",
						   "memory before the remote region",
						   "an address that wraps around",
						   "a remote region of another protection domain",
						   "a remote region that was deregistered" };

/* Make one request with one mistake. Check the requester's status and the state of both ends. */
static void mistake(enum ibv_wr_opcode opcode, enum wrong wrong)
{
	bool local = wrong < REMOTE_KEY;
	struct ibv_pd *pd = ibv_alloc_pd(local ? pair.a.ctx : pair.b.ctx);
	struct ibv_sge s = sge(&pair.at_a, 64, 8), to = sge(&pair.at_b, 0, 64);
	struct ibv_send_wr wr = work(7, opcode, &s, 1, &pair.at_b, 64);
	uint64_t *addr = opcode == IBV_WR_ATOMIC_FETCH_AND_ADD ? &wr.wr.atomic.remote_addr : &wr.wr.rdma.remote_addr;
	uint32_t *rkey = opcode == IBV_WR_ATOMIC_FETCH_AND_ADD ? &wr.wr.atomic.rkey : &wr.wr.rdma.rkey;
	struct ibv_mr *other = NULL;
	struct ibv_wc wc;

	switch (wrong) {
	case LOCAL_KEY:
		s.lkey ^= 0x77;
		break;
	case LOCAL_LENGTH:
		s.addr = pair.at_a.addr + MEM - 4;
		break;
	case LOCAL_BEFORE:
		s.addr = pair.at_a.addr - 4;
		break;
	case LOCAL_DOMAIN:
		other = ibv_reg_mr(pd, pair.at_a.p, MEM, ALL_ACCESS);
		s.lkey = other->lkey;
		break;
	case LOCAL_GONE:
		other = ibv_reg_mr(pair.a.pd, pair.at_a.p, MEM, ALL_ACCESS);
		s.lkey = other->lkey;
		ck_assert_int_eq(ibv_dereg_mr(other), 0);
		other = NULL;
		break;
	case REMOTE_KEY:
		*rkey ^= 0x77;
		break;
	case REMOTE_LENGTH:
		*addr = opcode == IBV_WR_ATOMIC_FETCH_AND_ADD ? pair.at_b.addr + MEM : pair.at_b.addr + MEM - 4;
		break;
	case REMOTE_BEFORE:
		*addr = pair.at_b.addr - 8;
		break;
	case REMOTE_WRAPS:
		*addr = UINT64_MAX - 7;
		break;
	case REMOTE_DOMAIN:
		other = ibv_reg_mr(pd, pair.at_b.p, MEM, ALL_ACCESS);
		*rkey = other->rkey;
		break;
	case REMOTE_GONE:
		other = ibv_reg_mr(pair.b.pd, pair.at_b.p, MEM, ALL_ACCESS);
		*rkey = other->rkey;
		ck_assert_int_eq(ibv_dereg_mr(other), 0);
		other = NULL;
		break;
	default:
		break;
	}
	prepare(wrong + 1);
	if (opcode == IBV_WR_SEND || opcode == IBV_WR_RDMA_WRITE_WITH_IMM)
		ck_assert_int_eq(post_receive(&pair.b, 8, &to, 1), 0);
	ck_assert_int_eq(post(&pair.a, &wr), 0);
	wc = completion(&pair.a);
	/* rxe completes local errors with a flush error. */
	if (local && rdma_is_rxe() && wc.status == IBV_WC_WR_FLUSH_ERR)
		wc.status = IBV_WC_LOC_PROT_ERR;
	ck_assert_msg(wc.wr_id == 7 && wc.status == (local ? IBV_WC_LOC_PROT_ERR : IBV_WC_REM_ACCESS_ERR),
		      "opcode %d with %s: '%s'", opcode, wrong_names[wrong], ibv_wc_status_str(wc.status));
	ck_assert_uint_eq(pair.at_b.p[64], 0xee);
	ck_assert_uint_eq(pair.at_b.p[0], 0xee);
	is_flushed(&pair.a);
	if (!local) {
		if (opcode == IBV_WR_RDMA_WRITE_WITH_IMM)
			ck_assert_int_ne(completion(&pair.b).status, IBV_WC_SUCCESS);
		responder_event(IBV_EVENT_QP_ACCESS_ERR);
		is_flushed(&pair.b);
	}
	if (other)
		ck_assert_int_eq(ibv_dereg_mr(other), 0);
	ck_assert_int_eq(ibv_dealloc_pd(pd), 0);
}

/* Replace a queue pair that is in error, on the same context. */
static void anew(struct end *end)
{
	struct end_options none = { 0 };
	struct end next;

	end_open_beside(&next, end, &none);
	ck_assert_int_eq(ibv_destroy_qp(end->qp), 0);
	next.borrowed = end->borrowed;
	*end = next;
}

static void both_anew(void)
{
	struct ibv_wc wc;

	anew(&pair.a);
	anew(&pair.b);
	while (ibv_poll_cq(pair.a.cq, 1, &wc) > 0 || ibv_poll_cq(pair.b.cq, 1, &wc) > 0)
		;
	ends_connect(&pair.a, &pair.b);
}

static const enum ibv_wr_opcode each_opcode[] = { IBV_WR_SEND, IBV_WR_RDMA_WRITE, IBV_WR_RDMA_READ, IBV_WR_ATOMIC_FETCH_AND_ADD,
						  IBV_WR_RDMA_WRITE_WITH_IMM };

START_TEST(mistakes)
{
	enum ibv_wr_opcode opcode = each_opcode[_i];
	unsigned int wrong;

	for (wrong = 0; wrong < NR_WRONG; wrong++) {
		if (opcode == IBV_WR_SEND && wrong >= REMOTE_KEY)
			break;
		mistake(opcode, wrong);
		both_anew();
	}
}
END_TEST

/* Access that a region does not permit. */
START_TEST(rights_of_regions)
{
	static const struct {
		enum ibv_wr_opcode opcode;
		int without; /* all access but this */
		bool local;
	} table[] = {
		{ IBV_WR_RDMA_WRITE, IBV_ACCESS_REMOTE_WRITE, false },
		{ IBV_WR_RDMA_READ, IBV_ACCESS_REMOTE_READ, false },
		{ IBV_WR_ATOMIC_FETCH_AND_ADD, IBV_ACCESS_REMOTE_ATOMIC, false },
		{ IBV_WR_ATOMIC_CMP_AND_SWP, IBV_ACCESS_REMOTE_ATOMIC, false },
		{ IBV_WR_RDMA_READ, ALL_ACCESS, true },
		{ IBV_WR_ATOMIC_FETCH_AND_ADD, ALL_ACCESS, true },
	};
	unsigned int i;

	for (i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct mem from = mem_new(&pair.a, PAGE, table[i].local ? 0 : ALL_ACCESS);
		struct mem to = mem_new(&pair.b, PAGE, table[i].local ? ALL_ACCESS : ALL_ACCESS & ~table[i].without);
		struct ibv_sge s = sge(&from, 0, 8);
		struct ibv_send_wr wr = work(i, table[i].opcode, &s, 1, &to, 16);
		struct ibv_wc wc;

		memset(from.p, 0x11, PAGE);
		memset(to.p, 0x22, PAGE);
		ck_assert_int_eq(post(&pair.a, &wr), 0);
		wc = completion(&pair.a);
		ck_assert_msg(wc.status == (table[i].local ? IBV_WC_LOC_PROT_ERR : IBV_WC_REM_ACCESS_ERR), "case %u: '%s'", i,
			      ibv_wc_status_str(wc.status));
		ck_assert_uint_eq(from.p[0], 0x11);
		if (!table[i].local) {
			ck_assert_uint_eq(to.p[16], 0x22);
			responder_event(IBV_EVENT_QP_ACCESS_ERR);
			is_flushed(&pair.b);
		}
		is_flushed(&pair.a);
		both_anew();
		mem_free(&from);
		mem_free(&to);
	}
	/* Remote write access requires local write access. */
	ck_assert_ptr_null(ibv_reg_mr(pair.a.pd, pair.at_a.p, MEM, IBV_ACCESS_REMOTE_WRITE));
	ck_assert_ptr_null(ibv_reg_mr(pair.a.pd, pair.at_a.p, MEM, IBV_ACCESS_REMOTE_ATOMIC));
}
END_TEST

/* Access that a queue pair does not permit its peer. */
START_TEST(rights_of_queue_pairs)
{
	static const enum ibv_wr_opcode opcodes[] = { IBV_WR_RDMA_WRITE, IBV_WR_RDMA_READ, IBV_WR_ATOMIC_FETCH_AND_ADD };
	struct ibv_sge s = sge(&pair.at_a, 0, 8);
	unsigned int i;

	for (i = 0; i < 3; i++) {
		struct ibv_send_wr wr = work(i, opcodes[i], &s, 1, &pair.at_b, 16);

		both_anew();
		ck_assert_int_eq(end_to(&pair.b, IBV_QPS_RESET), 0);
		pair.b.access = 0;
		end_connect(&pair.b, &(struct address){ pair.a.qp->qp_num, pair.a.psn, pair.a.gid });
		prepare(1);
		fails(&pair.a, &wr, IBV_WC_REM_INV_REQ_ERR);
		ck_assert_uint_eq(pair.at_b.p[16], 0xee);
		responder_event(IBV_EVENT_QP_REQ_ERR);
		is_flushed(&pair.a);
		is_flushed(&pair.b);
	}
}
END_TEST

START_TEST(misaligned_atomics)
{
	static const enum ibv_wr_opcode opcodes[] = { IBV_WR_ATOMIC_CMP_AND_SWP, IBV_WR_ATOMIC_FETCH_AND_ADD };
	struct ibv_sge s = sge(&pair.at_a, 0, 8);
	unsigned int i;

	for (i = 0; i < 2; i++) {
		struct ibv_send_wr wr = work(i, opcodes[i], &s, 1, &pair.at_b, 16 + 4);

		prepare(1);
		/* rxe's provider does not post it. */
		if (rdma_is_rxe()) {
			ck_assert_int_eq(post(&pair.a, &wr), EINVAL);
			continue;
		}
		fails(&pair.a, &wr, IBV_WC_REM_INV_REQ_ERR);
		ck_assert_uint_eq(pair.at_b.p[20], 0xee);
		responder_event(IBV_EVENT_QP_REQ_ERR);
		is_flushed(&pair.a);
		is_flushed(&pair.b);
		both_anew();
	}
}
END_TEST

/*
 * The sender completes with an invalid request error, the receiver with a length error. rxe:
 * operation errors on both sides.
 */
START_TEST(receive_too_small)
{
	struct ibv_sge from = sge(&pair.at_a, 0, 5000), to[2] = { sge(&pair.at_b, 0, 1000), sge(&pair.at_b, 9000, 3999) };
	struct ibv_send_wr wr = work(1, IBV_WR_SEND, &from, 1, NULL, 0);

	prepare(1);
	ck_assert_int_eq(post_receive(&pair.b, 2, to, 2), 0);
	ck_assert_int_eq(post_receive(&pair.b, 3, to, 2), 0);
	fails(&pair.a, &wr, rdma_is_rxe() ? IBV_WC_REM_OP_ERR : IBV_WC_REM_INV_REQ_ERR);
	completes(&pair.b, 2, rdma_is_rxe() ? IBV_WC_LOC_QP_OP_ERR : IBV_WC_LOC_LEN_ERR);
	completes(&pair.b, 3, IBV_WC_WR_FLUSH_ERR);
	ck_assert_uint_eq(pair.at_b.p[9000 + 3999], 0xee);
	is_flushed(&pair.a);
	is_flushed(&pair.b);
}
END_TEST

/*
 * The receive's memory is invalid: a protection error at the receiver, an operation error at the
 * sender.
 */
START_TEST(receive_into_nothing)
{
	struct ibv_sge from = sge(&pair.at_a, 0, 500), to = sge(&pair.at_b, 0, 1000);
	struct ibv_send_wr wr = work(1, IBV_WR_SEND, &from, 1, NULL, 0);
	struct mem fixed = mem_new(&pair.b, PAGE, IBV_ACCESS_REMOTE_READ);
	int i;

	for (i = 0; i < 3; i++) {
		switch (i) {
		case 0:
			to.lkey ^= 0x33;
			break;
		case 1:
			to = sge(&pair.at_b, MEM - 100, 1000);
			break;
		case 2:
			to = sge(&fixed, 0, 1000);
			break;
		}
		prepare(1);
		ck_assert_int_eq(post_receive(&pair.b, 2, &to, 1), 0);
		fails(&pair.a, &wr, IBV_WC_REM_OP_ERR);
		/* rxe: operation errors on both sides. */
		completes(&pair.b, 2, rdma_is_rxe() ? IBV_WC_LOC_QP_OP_ERR : IBV_WC_LOC_PROT_ERR);
		is_flushed(&pair.a);
		is_flushed(&pair.b);
		both_anew();
	}
	mem_free(&fixed);
}
END_TEST

START_TEST(no_receive)
{
	struct ibv_sge from = sge(&pair.at_a, 0, 100);
	struct ibv_send_wr wr = work(1, IBV_WR_SEND, &from, 1, NULL, 0);

	end_to(&pair.a, IBV_QPS_RESET);
	end_to(&pair.b, IBV_QPS_RESET);
	pair.a.rnr_retries = 2;
	ends_connect(&pair.a, &pair.b);
	ck_assert_int_eq(post(&pair.a, &wr), 0);
	wr.wr_id = 2;
	ck_assert_int_eq(post(&pair.a, &wr), 0);
	completes(&pair.a, 1, IBV_WC_RNR_RETRY_EXC_ERR);
	completes(&pair.a, 2, IBV_WC_WR_FLUSH_ERR);
	is_flushed(&pair.a);
	/* The receiver has made no mistake. */
	ck_assert_int_eq(end_state(&pair.b), IBV_QPS_RTS);
}
END_TEST

static void *receives_later(void *arg)
{
	struct ibv_sge *to = arg;

	usleep(300000);
	if (post_receive(&pair.b, 9, to, 1))
		return arg;
	return NULL;
}

/* With unlimited retries the sender waits until there is a receive. */
START_TEST(receive_later)
{
	struct ibv_sge from = sge(&pair.at_a, 1, 10000), to = sge(&pair.at_b, 2, 10000);
	struct ibv_send_wr wr = work(1, IBV_WR_SEND, &from, 1, NULL, 0);
	uint64_t begin = now_ms();
	pthread_t thread;
	void *failed;

	prepare(1);
	/* Must return before the receive exists: posting does not block. */
	ck_assert_int_eq(post(&pair.a, &wr), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, receives_later, &to), 0);
	completes(&pair.a, 1, IBV_WC_SUCCESS);
	ck_assert_uint_ge(now_ms() - begin, 250);
	completes(&pair.b, 9, IBV_WC_SUCCESS);
	arrived(2, 1, 10000);
	pthread_join(thread, &failed);
	ck_assert_ptr_null(failed);
}
END_TEST

/* Requests queued behind a retried one stay in order. */
START_TEST(order_kept_by_retries)
{
	unsigned int i;

	prepare(1);
	for (i = 0; i < 20; i++) {
		struct ibv_sge from = sge(&pair.at_a, i * 64, 64);
		struct ibv_send_wr wr =
			work(i, i % 2 ? IBV_WR_RDMA_WRITE : IBV_WR_SEND, &from, 1, i % 2 ? &pair.at_b : NULL, 50000 + i * 64);

		ck_assert_int_eq(post(&pair.a, &wr), 0);
	}
	ck_assert_uint_eq(pair.at_b.p[50000 + 64], 0xee);
	for (i = 0; i < 10; i++) {
		struct ibv_sge to = sge(&pair.at_b, i * 64, 64);

		ck_assert_int_eq(post_receive(&pair.b, i, &to, 1), 0);
	}
	for (i = 0; i < 20; i++)
		completes(&pair.a, i, IBV_WC_SUCCESS);
	for (i = 0; i < 10; i++) {
		completes(&pair.b, i, IBV_WC_SUCCESS);
		ck_assert_mem_eq(pair.at_b.p + i * 64, pair.at_a.p + i * 128, 64);
		ck_assert_mem_eq(pair.at_b.p + 50000 + (2 * i + 1) * 64, pair.at_a.p + (2 * i + 1) * 64, 64);
	}
}
END_TEST

/* No response: the peer is destroyed, in RESET, or in error. */
START_TEST(no_answer)
{
	struct ibv_send_wr wr = work(1, IBV_WR_RDMA_WRITE, NULL, 0, NULL, 0);
	struct address me, peer;
	struct end gone;
	int i;

	for (i = 0; i < 3; i++) {
		end_open_beside(&gone, &pair.b, NULL);
		anew(&pair.a);
		pair.a.timeout = 10; /* 4 ms */
		pair.a.retries = 2;
		me = end_address(&pair.a);
		peer = end_address(&gone);
		end_connect(&pair.a, &peer);
		if (i == 0)
			end_close(&gone);
		else
			end_connect(&gone, &me);
		if (i == 1)
			ck_assert_int_eq(end_to(&gone, IBV_QPS_RESET), 0);
		if (i == 2)
			ck_assert_int_eq(end_to(&gone, IBV_QPS_ERR), 0);
		fails(&pair.a, &wr, IBV_WC_RETRY_EXC_ERR);
		is_flushed(&pair.a);
		if (i)
			end_close(&gone);
	}
}
END_TEST

/* A queue pair responds only to its peer. */
START_TEST(not_my_peer)
{
	struct ibv_sge from = sge(&pair.at_a, 0, 100);
	struct ibv_send_wr wr = work(1, IBV_WR_RDMA_WRITE, &from, 1, &pair.at_b, 0);
	struct address to_b = end_address(&pair.b);
	struct end stranger;

	prepare(1);
	end_open_beside(&stranger, &pair.a, NULL);
	stranger.timeout = 10;
	stranger.retries = 2;
	to_b.psn += 1000;
	end_connect(&stranger, &to_b);
	ck_assert_int_eq(post(&stranger, &wr), 0);
	ck_assert_int_eq(completion(&stranger).status, IBV_WC_RETRY_EXC_ERR);
	ck_assert_uint_eq(pair.at_b.p[0], 0xee);
	end_close(&stranger);
	done(&pair.a, &wr);
	arrived(0, 0, 100);
}
END_TEST

START_TEST(flushed)
{
	struct ibv_sge to = sge(&pair.at_b, 0, 100);
	struct ibv_send_wr wr = work(30, IBV_WR_SEND, NULL, 0, NULL, 0);
	unsigned int i;

	for (i = 0; i < 20; i++)
		ck_assert_int_eq(post_receive(&pair.b, i, &to, 1), 0);
	ck_assert_int_eq(end_to(&pair.b, IBV_QPS_ERR), 0);
	for (i = 0; i < 20; i++)
		completes(&pair.b, i, IBV_WC_WR_FLUSH_ERR);
	is_flushed(&pair.b);
	/* RESET discards all work. */
	ck_assert_int_eq(post_receive(&pair.a, 1, NULL, 0), 0);
	ck_assert_int_eq(end_to(&pair.a, IBV_QPS_RESET), 0);
	ck_assert_int_eq(end_to(&pair.b, IBV_QPS_RESET), 0);
	ends_connect(&pair.a, &pair.b);
	nothing_completes(&pair.a);
	ck_assert_int_eq(post_receive(&pair.b, 31, &to, 1), 0);
	done(&pair.a, &wr);
	completes(&pair.b, 31, IBV_WC_SUCCESS);
}
END_TEST

START_TEST(wrong_states)
{
	struct ibv_send_wr wr = work(1, IBV_WR_SEND, NULL, 0, NULL, 0);
	struct address to_b = end_address(&pair.b);
	struct ibv_qp_attr attr = { .qp_state = IBV_QPS_INIT, .port_num = 1 };

	/* RESET */
	ck_assert_int_ne(post(&pair.a, &wr), 0);
	ck_assert_int_eq(end_to_rts(&pair.a), EINVAL);
	ck_assert_int_eq(end_to_rtr(&pair.a, &to_b), EINVAL);
	/* A missing attribute; an invalid port. */
	ck_assert_int_eq(ibv_modify_qp(pair.a.qp, &attr, IBV_QP_STATE | IBV_QP_PORT), EINVAL);
	attr.port_num = 2;
	ck_assert_int_eq(ibv_modify_qp(pair.a.qp, &attr, IBV_QP_STATE | IBV_QP_PORT | IBV_QP_PKEY_INDEX | IBV_QP_ACCESS_FLAGS),
			 EINVAL);
	ck_assert_int_eq(end_state(&pair.a), IBV_QPS_RESET);
	/* INIT */
	ck_assert_int_eq(end_to_init(&pair.a), 0);
	ck_assert_int_ne(post(&pair.a, &wr), 0);
	ck_assert_int_eq(end_to_rts(&pair.a), EINVAL);
	ck_assert_int_eq(post_receive(&pair.a, 1, NULL, 0), 0);
	/* RTR */
	ck_assert_int_eq(end_to_rtr(&pair.a, &to_b), 0);
	ck_assert_int_ne(post(&pair.a, &wr), 0);
	ck_assert_int_eq(end_to_rtr(&pair.a, &to_b), EINVAL);
	/* RTS: it may send, and failed posts have left no trace. */
	ck_assert_int_eq(end_to_rts(&pair.a), 0);
	/* rxe has kept the request, and sends it now. */
	if (rdma_is_rxe())
		return;
	nothing_completes(&pair.a);
	ck_assert_int_eq(end_to_init(&pair.a), EINVAL);
	end_connect(&pair.b, &(struct address){ pair.a.qp->qp_num, pair.a.psn, pair.a.gid });
	ck_assert_int_eq(post_receive(&pair.b, 4, NULL, 0), 0);
	wr.wr_id = 3;
	done(&pair.a, &wr);
	completes(&pair.b, 4, IBV_WC_SUCCESS);
	nothing_completes(&pair.b);
	wr.wr_id = 5;
	done(&pair.b, &wr);
	completes(&pair.a, 1, IBV_WC_SUCCESS);
}
END_TEST

/* A queue pair in RTR responds to a request, and reports that the connection is established. */
START_TEST(established)
{
	struct ibv_send_wr wr = work(1, IBV_WR_SEND, NULL, 0, NULL, 0);
	struct address to_a = end_address(&pair.a), to_b = end_address(&pair.b);

	ck_assert_int_eq(end_to_init(&pair.b), 0);
	ck_assert_int_eq(end_to_rtr(&pair.b, &to_a), 0);
	ck_assert_int_eq(post_receive(&pair.b, 1, NULL, 0), 0);
	end_connect(&pair.a, &to_b);
	done(&pair.a, &wr);
	completes(&pair.b, 1, IBV_WC_SUCCESS);
	/* Except on rxe. */
	if (!rdma_is_rxe())
		event_comes(&pair.b, IBV_EVENT_COMM_EST);
	ck_assert_int_eq(end_to_rts(&pair.b), 0);
}
END_TEST

START_TEST(too_much)
{
	struct ibv_qp_init_attr attr = { .send_cq = pair.a.cq, .recv_cq = pair.a.cq, .qp_type = IBV_QPT_RC };
	struct ibv_srq_init_attr srq = { .attr = { .max_sge = 1 } };
	struct ibv_device_attr dev;
	struct ibv_qp *qp;

	ck_assert_int_eq(ibv_query_device(pair.a.ctx, &dev), 0);
	attr.cap = (struct ibv_qp_cap){ (uint32_t)dev.max_qp_wr + 1, 1, 1, 1, 0 };
	ck_assert_ptr_null(ibv_create_qp(pair.a.pd, &attr));
	attr.cap = (struct ibv_qp_cap){ 1, (uint32_t)dev.max_qp_wr + 1, 1, 1, 0 };
	ck_assert_ptr_null(ibv_create_qp(pair.a.pd, &attr));
	attr.cap = (struct ibv_qp_cap){ 1, 1, (uint32_t)dev.max_sge + 1, 1, 0 };
	ck_assert_ptr_null(ibv_create_qp(pair.a.pd, &attr));
	attr.cap = (struct ibv_qp_cap){ 1, 1, 1, 1, 1 << 20 };
	ck_assert_ptr_null(ibv_create_qp(pair.a.pd, &attr));
	ck_assert_ptr_null(ibv_create_cq(pair.a.ctx, dev.max_cqe + 1, NULL, NULL, 0));
	ck_assert_ptr_null(ibv_create_cq(pair.a.ctx, 0, NULL, NULL, 0));
	srq.attr.max_wr = (uint32_t)dev.max_srq_wr + 1;
	ck_assert_ptr_null(ibv_create_srq(pair.a.pd, &srq));
	/* Unmapped memory. */
	ck_assert_ptr_null(ibv_reg_mr(pair.a.pd, (void *)(uintptr_t)0x1000, PAGE, ALL_ACCESS));
	/* Within the limits. */
	attr.cap = (struct ibv_qp_cap){ 1024, 1024, 4, 4, 0 };
	qp = ibv_create_qp(pair.a.pd, &attr);
	ck_assert_ptr_nonnull(qp);
	ck_assert_int_eq(ibv_destroy_qp(qp), 0);
	/* Objects in use cannot be destroyed. */
	ck_assert_int_eq(ibv_dealloc_pd(pair.a.pd), EBUSY);
	ck_assert_int_eq(ibv_destroy_cq(pair.a.cq), EBUSY);
}
END_TEST

/* ---- requests and keys of the kernel's own users ---- */

/* The kernel's IB_WR_REG_MR, and its key for all memory at DMA addresses. */
#define KERNEL_REG_MR 0x20
#define KERNEL_DMA_LKEY 0xffffff00u

/* Find the request with this ID in a ring of this process. Its opcode follows the ID. */
static uint32_t *opcode_in_ring(uint64_t id)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	uint32_t *found = NULL;
	uint64_t *p, *end;
	char line[512];

	ck_assert_ptr_nonnull(maps);
	while (!found && fgets(line, sizeof(line), maps)) {
		unsigned long from, to;

		if (!strstr(line, "/uverbs") || sscanf(line, "%lx-%lx rw", &from, &to) != 2)
			continue;
		end = (uint64_t *)to;
		for (p = (uint64_t *)from; p < end && !found; p++)
			if (*p == id)
				found = (uint32_t *)(p + 1);
	}
	fclose(maps);
	return found;
}

START_TEST(requests_of_the_kernel)
{
	const uint64_t id = 0x6b65726e656c0001;
	struct ibv_sge from = sge(&pair.at_a, 0, 64), to = sge(&pair.at_b, 0, 64);
	struct ibv_send_wr wr = work(1, IBV_WR_SEND, &from, 1, NULL, 0);
	uint32_t *opcode;

	if (rdma_is_rxe())
		return;
	/* The first request waits for a receive, and the second for the first. */
	ck_assert_int_eq(post(&pair.a, &wr), 0);
	wr = work(id, IBV_WR_RDMA_WRITE, &from, 1, &pair.at_b, 0);
	ck_assert_int_eq(post(&pair.a, &wr), 0);
	opcode = opcode_in_ring(id);
	ck_assert_msg(opcode && *opcode == IBV_WR_RDMA_WRITE, "the request is in no ring");
	*opcode = KERNEL_REG_MR;
	ck_assert_int_eq(post_receive(&pair.b, 2, &to, 1), 0);
	completes(&pair.a, 1, IBV_WC_SUCCESS);
	completes(&pair.a, id, IBV_WC_LOC_QP_OP_ERR);
	completes(&pair.b, 2, IBV_WC_SUCCESS);
	end_state_is(&pair.a, IBV_QPS_ERR);
}
END_TEST

START_TEST(keys_of_the_kernel)
{
	struct ibv_sge from = sge(&pair.at_a, 0, 64), dma = { .length = 64, .lkey = KERNEL_DMA_LKEY };
	struct ibv_send_wr wr = work(1, IBV_WR_RDMA_WRITE, &dma, 1, &pair.at_b, 0);

	if (rdma_is_rxe())
		return;
	/* An address in RAM. */
	dma.addr = 0x100000;
	fails(&pair.a, &wr, IBV_WC_LOC_PROT_ERR);
	ends_anew(&pair.a, &pair.b);
	wr = work(2, IBV_WR_RDMA_WRITE, &from, 1, &pair.at_b, 0);
	wr.wr.rdma.remote_addr = dma.addr;
	wr.wr.rdma.rkey = KERNEL_DMA_LKEY;
	fails(&pair.a, &wr, IBV_WC_REM_ACCESS_ERR);
}
END_TEST

/* Read-only memory can be registered for reading only. */
START_TEST(memory_of_others)
{
	void *p = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct ibv_mr *mr;

	ck_assert_ptr_ne(p, MAP_FAILED);
	ck_assert_ptr_null(ibv_reg_mr(pair.a.pd, p, PAGE, ALL_ACCESS));
	mr = ibv_reg_mr(pair.a.pd, p, PAGE, IBV_ACCESS_REMOTE_READ);
	ck_assert_msg(mr, "memory for reading cannot be registered: %s", strerror(errno));
	ck_assert_int_eq(ibv_dereg_mr(mr), 0);
	munmap(p, PAGE);
}
END_TEST

/* ---- memory windows, where the device has them ---- */

static struct mem window(struct ibv_mw *mw, size_t offset, size_t length)
{
	static struct ibv_mr fake;

	fake.rkey = mw->rkey;
	return (struct mem){ .addr = pair.at_b.addr + offset, .size = length, .mr = &fake };
}

START_TEST(windows)
{
	struct ibv_sge from = sge(&pair.at_a, 0, 100);
	struct ibv_send_wr wr, bind = { .wr_id = 1, .opcode = IBV_WR_BIND_MW, .send_flags = IBV_SEND_SIGNALED };
	struct ibv_device_attr dev;
	struct ibv_mw *mw;
	struct ibv_mr *mr;
	struct mem w;

	ck_assert_int_eq(ibv_query_device(pair.b.ctx, &dev), 0);
	if (!dev.max_mw)
		return;
	mr = ibv_reg_mr(pair.b.pd, pair.at_b.p, MEM, ALL_ACCESS | IBV_ACCESS_MW_BIND);
	mw = ibv_alloc_mw(pair.b.pd, IBV_MW_TYPE_2);
	ck_assert_ptr_nonnull(mr);
	ck_assert_msg(mw, "no window: %s", strerror(errno));
	bind.bind_mw = (typeof(bind.bind_mw)){
		.mw = mw,
		.rkey = ibv_inc_rkey(mw->rkey),
		.bind_info = { .mr = mr, .addr = pair.at_b.addr + PAGE, .length = PAGE, .mw_access_flags = IBV_ACCESS_REMOTE_WRITE }
	};
	ck_assert_int_eq(post(&pair.b, &bind), 0);
	ck_assert_int_eq(completes(&pair.b, 1, IBV_WC_SUCCESS).opcode, IBV_WC_BIND_MW);
	mw->rkey = bind.bind_mw.rkey;
	/* Check the window's limits. */
	prepare(1);
	w = window(mw, PAGE, PAGE);
	wr = work(2, IBV_WR_RDMA_WRITE, &from, 1, &w, PAGE - 100);
	done(&pair.a, &wr);
	arrived(2 * PAGE - 100, 0, 100);
	wr = work(3, IBV_WR_RDMA_WRITE, &from, 1, &w, PAGE - 99);
	/* rxe checks the region's end instead. */
	fails(&pair.a, &wr, rdma_is_rxe() ? IBV_WC_SUCCESS : IBV_WC_REM_ACCESS_ERR);
	/*
	 * A new queue pair cannot use the window of the old one. On rxe the window keeps the old
	 * queue pair from being destroyed.
	 */
	if (!rdma_is_rxe()) {
		both_anew();
		wr = work(4, IBV_WR_RDMA_WRITE, &from, 1, &w, 0);
		fails(&pair.a, &wr, IBV_WC_REM_ACCESS_ERR);
	}
	ck_assert_int_eq(ibv_dealloc_mw(mw), 0);
	ck_assert_int_eq(ibv_dereg_mr(mr), 0);
}
END_TEST

/* ---- peerbar's device only ---- */

/* No host has that address. The network or the device reports that. */
START_TEST(peer_nowhere)
{
	struct address nobody = end_address(&pair.b);
	uint64_t begin = now_ms();
	int ret;

	if (rdma_is_rxe())
		return;
	ck_assert_int_eq(end_to_init(&pair.a), 0);
	ck_assert_int_eq(inet_pton(AF_INET, NOBODY_IP, nobody.gid.raw + 12), 1);
	ret = end_to_rtr(&pair.a, &nobody);
	ck_assert_msg(ret == EHOSTUNREACH || ret == ETIMEDOUT, "%s", strerror(ret));
	ck_assert_uint_lt(now_ms() - begin, 30000);
	ck_assert_int_eq(end_state(&pair.a), IBV_QPS_INIT);
	/* It can still connect to a reachable peer. */
	nobody = end_address(&pair.b);
	ck_assert_int_eq(end_to_rtr(&pair.a, &nobody), 0);
}
END_TEST

/* ---- several processes ---- */

static int fork_with_socket(int *sock)
{
	int sockets[2], child;

	ck_assert_int_eq(socketpair_cloexec(sockets), 0);
	child = fork();
	ck_assert_int_ge(child, 0);
	*sock = sockets[child ? 0 : 1];
	close(sockets[child ? 1 : 0]);
	return child;
}

struct offer {
	struct address address;
	uint64_t addr;
	uint32_t rkey;
};

static void trade(int sock, struct end *end, const struct mem *mem, struct offer *theirs)
{
	struct offer mine = { end_address(end), mem->addr, mem->mr->rkey };

	tell(sock, &mine, sizeof(mine));
	hear(sock, theirs, sizeof(*theirs));
	end_connect(end, &theirs->address);
	/* Both are connected. */
	tell(sock, "r", 1);
	hear(sock, &mine, 1);
}

static struct ibv_send_wr write_of(struct ibv_sge *from, const struct offer *there, size_t offset)
{
	struct ibv_send_wr wr = work(1, IBV_WR_RDMA_WRITE, from, 1, NULL, 0);

	wr.wr.rdma.remote_addr = there->addr + offset;
	wr.wr.rdma.rkey = there->rkey;
	return wr;
}

/*
 * The peer writes as fast as it can and is killed at any point: this process must not be affected.
 */
START_TEST(killed_while_it_writes)
{
	int round;

	for (round = 0; round < 5; round++) {
		struct offer theirs;
		struct ibv_send_wr wr;
		struct ibv_sge from;
		struct end end;
		struct mem mem;
		int sock, child = fork_with_socket(&sock);

		end_open(&end, NULL);
		mem = mem_new(&end, MIB, ALL_ACCESS);
		end.timeout = 10;
		end.retries = 2;
		trade(sock, &end, &mem, &theirs);
		from = sge(&mem, 0, MIB);
		wr = write_of(&from, &theirs, 0);
		if (!child) {
			for (;;)
				done(&end, &wr);
		}
		usleep(50000 + (useconds_t)round * 37000);
		kill(child, SIGKILL);
		ck_assert_int_eq(wait_for(child), 128 + SIGKILL);
		/* A process that is gone does not respond. */
		ck_assert_int_eq(end_state(&end), IBV_QPS_RTS);
		fails(&end, &wr, IBV_WC_RETRY_EXC_ERR);
		is_flushed(&end);
		mem_free(&mem);
		end_close(&end);
		close(sock);
	}
}
END_TEST

/* The target of the writes is killed. */
START_TEST(killed_while_written_to)
{
	int round;

	for (round = 0; round < 5; round++) {
		struct offer theirs;
		struct ibv_send_wr wr;
		struct ibv_sge from;
		struct ibv_wc wc;
		struct end end;
		struct mem mem;
		int i, sock, child = fork_with_socket(&sock);

		end_open(&end, NULL);
		mem = mem_new(&end, MIB, ALL_ACCESS);
		end.timeout = 10;
		end.retries = 2;
		trade(sock, &end, &mem, &theirs);
		if (!child) {
			pause();
			_exit(0);
		}
		from = sge(&mem, 0, MIB);
		wr = write_of(&from, &theirs, 0);
		for (i = 0; i < 1000000; i++) {
			if (i == 10 + round)
				kill(child, SIGKILL);
			ck_assert_int_eq(post(&end, &wr), 0);
			wc = completion(&end);
			if (wc.status != IBV_WC_SUCCESS)
				break;
		}
		/* Its memory or its queue pair went first. */
		ck_assert_msg(wc.status == IBV_WC_RETRY_EXC_ERR || wc.status == IBV_WC_REM_ACCESS_ERR, "'%s'",
			      ibv_wc_status_str(wc.status));
		ck_assert_int_eq(wait_for(child), 128 + SIGKILL);
		is_flushed(&end);
		mem_free(&mem);
		end_close(&end);
		close(sock);
	}
}
END_TEST

/*
 * A soak: two processes, 64 queue pairs between them, all operations at once. Each queue pair has
 * 64 KiB on either side, in three parts: for the peer's writes and reads, for the peer's messages,
 * and a word that the peer adds to.
 */
#define SOAK_QPS 64
#define SLOT (64 * KIB)
#define SOAK_MESSAGES 8
#define SOAK_MESSAGE 2048
#define SOAK_COUNTER (SLOT - 8)

struct soaker {
	struct end end[SOAK_QPS];
	struct offer peer[SOAK_QPS];
	struct mem mine, scratch; /* for the peer's accesses; for this process's requests */
	uint64_t rng;
	unsigned int busy[SOAK_QPS];
	struct {
		enum ibv_wr_opcode opcode;
		uint32_t offset, length;
	} op[SOAK_QPS];
	uint32_t sent[SOAK_QPS], received[SOAK_QPS], added[SOAK_QPS];
	uint64_t done;
};

static uint32_t dice(struct soaker *s, uint32_t below)
{
	s->rng ^= s->rng << 13;
	s->rng ^= s->rng >> 7;
	s->rng ^= s->rng << 17;
	return (uint32_t)(s->rng >> 32) % below;
}

static void soak_post(struct soaker *s, unsigned int q, enum ibv_wr_opcode opcode)
{
	struct ibv_sge part[2] = { sge(&s->scratch, q * SLOT + s->op[q].offset, s->op[q].length) };
	struct ibv_send_wr wr = work(q, opcode, part, 1, NULL, 0);

	switch (opcode) {
	case IBV_WR_RDMA_READ:
		part[0] = sge(&s->scratch, q * SLOT + SLOT / 2, s->op[q].length);
		/* fall through */
	case IBV_WR_RDMA_WRITE:
		wr.wr.rdma.remote_addr = s->peer[q].addr + q * SLOT + s->op[q].offset;
		wr.wr.rdma.rkey = s->peer[q].rkey;
		if (s->op[q].length > 10) {
			part[1] = part[0];
			part[0].length = 7;
			part[1].addr += 7;
			part[1].length -= 7;
			wr.num_sge = 2;
		}
		break;
	case IBV_WR_ATOMIC_FETCH_AND_ADD:
		part[0] = sge(&s->scratch, q * SLOT + SOAK_COUNTER, 8);
		wr.wr.atomic.remote_addr = s->peer[q].addr + q * SLOT + SOAK_COUNTER;
		wr.wr.atomic.rkey = s->peer[q].rkey;
		wr.wr.atomic.compare_add = 1;
		break;
	default:
		break;
	}
	s->op[q].opcode = opcode;
	s->busy[q] = 1;
	ck_assert_int_eq(post(&s->end[q], &wr), 0);
}

static void soak_begin(struct soaker *s, unsigned int q)
{
	static const enum ibv_wr_opcode opcodes[] = { IBV_WR_SEND, IBV_WR_RDMA_WRITE, IBV_WR_ATOMIC_FETCH_AND_ADD };
	enum ibv_wr_opcode opcode = opcodes[dice(s, 3)];
	uint32_t max = opcode == IBV_WR_SEND ? SOAK_MESSAGE : 16000;

	s->op[q].offset = dice(s, opcode == IBV_WR_SEND ? 1 : 8000);
	s->op[q].length = dice(s, 4) ? dice(s, 256) : dice(s, max);
	if (opcode == IBV_WR_SEND)
		lab_pattern(s->scratch.p + q * SLOT, s->op[q].length, q << 20 | (s->sent[q]++ & 0xfffff));
	else
		lab_pattern(s->scratch.p + q * SLOT + s->op[q].offset, s->op[q].length, (uint32_t)s->rng);
	soak_post(s, q, opcode);
}

static void soak_receive(struct soaker *s, unsigned int q, unsigned int slot)
{
	struct ibv_sge to = sge(&s->mine, q * SLOT + SLOT / 2 + slot * SOAK_MESSAGE, SOAK_MESSAGE);

	ck_assert_int_eq(post_receive(&s->end[q], 1000 + q * SOAK_MESSAGES + slot, &to, 1), 0);
}

/* Process one completion. Return false if there is none. */
static bool soak_poll(struct soaker *s)
{
	uint8_t expect[SOAK_MESSAGE];
	unsigned int q, slot;
	uint64_t value;
	struct ibv_wc wc;

	if (!ibv_poll_cq(s->end[0].cq, 1, &wc))
		return false;
	ck_assert_msg(wc.status == IBV_WC_SUCCESS, "request %llu: '%s'", (unsigned long long)wc.wr_id,
		      ibv_wc_status_str(wc.status));
	s->done++;
	if (wc.wr_id >= 1000) {
		q = (unsigned int)(wc.wr_id - 1000) / SOAK_MESSAGES;
		slot = (unsigned int)(wc.wr_id - 1000) % SOAK_MESSAGES;
		lab_pattern(expect, wc.byte_len, q << 20 | (s->received[q]++ & 0xfffff));
		ck_assert_msg(!memcmp(s->mine.p + q * SLOT + SLOT / 2 + slot * SOAK_MESSAGE, expect, wc.byte_len),
			      "message %u of queue pair %u, of %u bytes, is not what was sent", s->received[q] - 1, q,
			      wc.byte_len);
		soak_receive(s, q, slot);
		return true;
	}
	q = (unsigned int)wc.wr_id;
	s->busy[q] = 0;
	switch (s->op[q].opcode) {
	case IBV_WR_RDMA_WRITE:
		soak_post(s, q, IBV_WR_RDMA_READ);
		break;
	case IBV_WR_RDMA_READ:
		ck_assert_msg(
			!memcmp(s->scratch.p + q * SLOT + SLOT / 2, s->scratch.p + q * SLOT + s->op[q].offset, s->op[q].length),
			"queue pair %u does not read what it wrote, %u bytes", q, s->op[q].length);
		break;
	case IBV_WR_ATOMIC_FETCH_AND_ADD:
		memcpy(&value, s->scratch.p + q * SLOT + SOAK_COUNTER, 8);
		ck_assert_uint_eq(value, s->added[q]);
		s->added[q]++;
		break;
	default:
		break;
	}
	return true;
}

static void soak(int sock, uint64_t seed, unsigned int ms)
{
	struct end_options big = { .cqe = 4096, .depth = 32, .sges = 2 };
	struct soaker *s = calloc(1, sizeof(*s));
	uint64_t until, begin = now_ms();
	unsigned int q, i, busy;
	uint32_t theirs[SOAK_QPS];

	ck_assert_ptr_nonnull(s);
	s->rng = seed * 0x9e3779b97f4a7c15 + 1;
	end_open(&s->end[0], &big);
	for (q = 1; q < SOAK_QPS; q++)
		end_open_beside(&s->end[q], &s->end[0], &big);
	s->mine = mem_new(&s->end[0], SOAK_QPS * SLOT, ALL_ACCESS);
	s->scratch = mem_new(&s->end[0], SOAK_QPS * SLOT, ALL_ACCESS);
	for (q = 0; q < SOAK_QPS; q++) {
		trade(sock, &s->end[q], &s->mine, &s->peer[q]);
		for (i = 0; i < SOAK_MESSAGES; i++)
			soak_receive(s, q, i);
	}
	until = now_ms() + ms;
	while (now_ms() < until) {
		q = dice(s, SOAK_QPS);
		if (!s->busy[q])
			soak_begin(s, q);
		while (soak_poll(s))
			;
	}
	do {
		soak_poll(s);
		for (q = 0, busy = 0; q < SOAK_QPS; q++)
			busy += s->busy[q];
		ck_assert_msg(now_ms() < until + 120000, "%u queue pairs do not finish", busy);
	} while (busy);
	/*
	 * All messages sent must arrive, and no others. The peer polls until its counters match,
	 * too.
	 */
	tell(sock, s->sent, sizeof(s->sent));
	hear(sock, theirs, sizeof(theirs));
	for (q = 0; q < SOAK_QPS; q++)
		while (s->received[q] != theirs[q]) {
			soak_poll(s);
			ck_assert_msg(now_ms() < until + 120000, "queue pair %u received %u of %u messages", q, s->received[q],
				      theirs[q]);
		}
	tell(sock, s->added, sizeof(s->added));
	hear(sock, theirs, sizeof(theirs));
	for (q = 0; q < SOAK_QPS; q++)
		ck_assert_uint_eq(word(&s->mine, q * SLOT + SOAK_COUNTER), theirs[q]);
	printf("rdma: soak: %llu completions in %llu ms, seed %llu\n", (unsigned long long)s->done,
	       (unsigned long long)(now_ms() - begin), (unsigned long long)seed);
	mem_free(&s->mine);
	mem_free(&s->scratch);
	for (q = SOAK_QPS; q-- > 1;)
		end_close(&s->end[q]);
	end_close(&s->end[0]);
	free(s);
}

START_TEST(two_processes_64_queue_pairs)
{
	const char *given = getenv("LAB_SEED");
	uint64_t seed = given && *given ? strtoull(given, NULL, 10) : (uint64_t)getpid() + now_ms();
	int sock, child = fork_with_socket(&sock);

	soak(sock, child ? seed : seed + 1, 10000);
	if (!child)
		exit(0);
	ck_assert_int_eq(wait_for(child), 0);
	close(sock);
}
END_TEST

/* ---- the connection manager ---- */

static struct rdma_cm_event *cm_event(struct rdma_event_channel *channel, enum rdma_cm_event_type type)
{
	struct pollfd p = { .fd = channel->fd, .events = POLLIN };
	struct rdma_cm_event *event;

	ck_assert_msg(poll(&p, 1, 20000) == 1, "the connection manager tells no %s", rdma_event_str(type));
	ck_assert_int_eq(rdma_get_cm_event(channel, &event), 0);
	ck_assert_msg(event->event == type, "%s (%d), not %s", rdma_event_str(event->event), event->status, rdma_event_str(type));
	return event;
}

static void cm_wait(struct rdma_event_channel *channel, enum rdma_cm_event_type type)
{
	rdma_ack_cm_event(cm_event(channel, type));
}

static void cm_qp(struct rdma_cm_id *id)
{
	struct ibv_qp_init_attr attr = { .qp_type = IBV_QPT_RC, .cap = { 8, 8, 1, 1, 16 } };

	/* With completion queues that librdmacm creates. */
	ck_assert_msg(!rdma_create_qp(id, NULL, &attr), "no queue pair: %s", strerror(errno));
}

static struct ibv_wc cm_completion(struct ibv_cq *cq)
{
	struct end end = { .cq = cq };

	return completion(&end);
}

START_TEST(connection_manager)
{
	struct rdma_event_channel *of_server = rdma_create_event_channel(), *of_client = rdma_create_event_channel();
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_port = htons(7471) };
	struct rdma_conn_param param = { .responder_resources = 1,
					 .initiator_depth = 1,
					 .retry_count = 7,
					 .rnr_retry_count = 7,
					 .private_data = "hello",
					 .private_data_len = 6 };
	struct rdma_cm_id *listener, *client, *server;
	struct rdma_cm_event *event;
	struct ibv_mr *from, *to;
	static char sent[100], got[100];

	ck_assert_msg(of_server && of_client, "no event channel: %s", strerror(errno));
	inet_pton(AF_INET, NIC0_IP, &addr.sin_addr);
	ck_assert_int_eq(rdma_create_id(of_server, &listener, NULL, RDMA_PS_TCP), 0);
	ck_assert_int_eq(rdma_bind_addr(listener, (struct sockaddr *)&addr), 0);
	ck_assert_ptr_nonnull(listener->verbs);
	ck_assert_str_eq(ibv_get_device_name(listener->verbs->device), rdma_name());
	ck_assert_int_eq(rdma_listen(listener, 1), 0);
	ck_assert_int_eq(rdma_create_id(of_client, &client, NULL, RDMA_PS_TCP), 0);
	ck_assert_int_eq(rdma_resolve_addr(client, NULL, (struct sockaddr *)&addr, 5000), 0);
	cm_wait(of_client, RDMA_CM_EVENT_ADDR_RESOLVED);
	ck_assert_int_eq(rdma_resolve_route(client, 5000), 0);
	cm_wait(of_client, RDMA_CM_EVENT_ROUTE_RESOLVED);
	cm_qp(client);
	ck_assert_int_eq(rdma_connect(client, &param), 0);
	event = cm_event(of_server, RDMA_CM_EVENT_CONNECT_REQUEST);
	ck_assert_str_eq(event->param.conn.private_data, "hello");
	server = event->id;
	rdma_ack_cm_event(event);
	cm_qp(server);
	to = ibv_reg_mr(server->pd, got, sizeof(got), IBV_ACCESS_LOCAL_WRITE);
	from = ibv_reg_mr(client->pd, sent, sizeof(sent), 0);
	ck_assert(to && from);
	{
		struct ibv_sge s = { (uintptr_t)got, sizeof(got), to->lkey };
		struct ibv_recv_wr wr = { .wr_id = 1, .sg_list = &s, .num_sge = 1 }, *bad;

		ck_assert_int_eq(ibv_post_recv(server->qp, &wr, &bad), 0);
	}
	ck_assert_int_eq(rdma_accept(server, &param), 0);
	cm_wait(of_client, RDMA_CM_EVENT_ESTABLISHED);
	cm_wait(of_server, RDMA_CM_EVENT_ESTABLISHED);
	lab_pattern(sent, sizeof(sent), 1);
	{
		struct ibv_sge s = { (uintptr_t)sent, sizeof(sent), from->lkey };
		struct ibv_send_wr wr = work(2, IBV_WR_SEND, &s, 1, NULL, 0), *bad;

		ck_assert_int_eq(ibv_post_send(client->qp, &wr, &bad), 0);
	}
	ck_assert_int_eq(cm_completion(client->send_cq).status, IBV_WC_SUCCESS);
	ck_assert_int_eq(cm_completion(server->recv_cq).status, IBV_WC_SUCCESS);
	ck_assert_mem_eq(got, sent, sizeof(got));
	ck_assert_int_eq(rdma_disconnect(client), 0);
	cm_wait(of_server, RDMA_CM_EVENT_DISCONNECTED);
	rdma_disconnect(server);
	cm_wait(of_client, RDMA_CM_EVENT_DISCONNECTED);
	ck_assert_int_eq(ibv_dereg_mr(to) | ibv_dereg_mr(from), 0);
	rdma_destroy_qp(client);
	rdma_destroy_qp(server);
	ck_assert_int_eq(rdma_destroy_id(server) | rdma_destroy_id(client) | rdma_destroy_id(listener), 0);
	rdma_destroy_event_channel(of_server);
	rdma_destroy_event_channel(of_client);
}
END_TEST

/* No process listens on that port. */
START_TEST(connection_refused)
{
	struct rdma_event_channel *channel = rdma_create_event_channel();
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_port = htons(7999) };
	struct rdma_conn_param param = { .retry_count = 7 };
	struct rdma_cm_id *id;

	inet_pton(AF_INET, NIC0_IP, &addr.sin_addr);
	ck_assert_int_eq(rdma_create_id(channel, &id, NULL, RDMA_PS_TCP), 0);
	ck_assert_int_eq(rdma_resolve_addr(id, NULL, (struct sockaddr *)&addr, 5000), 0);
	cm_wait(channel, RDMA_CM_EVENT_ADDR_RESOLVED);
	ck_assert_int_eq(rdma_resolve_route(id, 5000), 0);
	cm_wait(channel, RDMA_CM_EVENT_ROUTE_RESOLVED);
	cm_qp(id);
	ck_assert_int_eq(rdma_connect(id, &param), 0);
	cm_wait(channel, RDMA_CM_EVENT_REJECTED);
	rdma_destroy_qp(id);
	ck_assert_int_eq(rdma_destroy_id(id), 0);
	rdma_destroy_event_channel(channel);
}
END_TEST

/* ---- links ---- */

/* Two devices on two NICs reach each other. A removed device is gone for its users. */
START_TEST(second_link)
{
	struct end_options on_second = { .device = "pb1" };
	struct end x, y;
	struct mem mem, there;
	struct ibv_send_wr wr;
	struct ibv_sge from;
	int i;

	if (rdma_is_rxe())
		return;
	ck_assert_int_ne(rdma_link_add(rdma_name(), 1), 0); /* the name is taken */
	ck_assert_int_eq(rdma_link_add("pb1", 1), 0);
	/* The GIDs follow the addresses. */
	for (i = 0; i < 100; i++) {
		if (!system("grep -qi ffff:0a4d:0101 /sys/class/infiniband/pb1/ports/1/gids/*"))
			break;
		usleep(100000);
	}
	end_open(&x, NULL);
	end_open(&y, &on_second);
	mem = mem_new(&x, PAGE, ALL_ACCESS);
	there = mem_new(&y, PAGE, ALL_ACCESS);
	ends_connect(&x, &y);
	lab_pattern(mem.p, PAGE, 1);
	from = sge(&mem, 0, PAGE);
	wr = work(1, IBV_WR_RDMA_WRITE, &from, 1, &there, 0);
	done(&x, &wr);
	ck_assert_mem_eq(mem.p, there.p, PAGE);
	/* Remove it while it is in use. */
	ck_assert_int_eq(rdma_link_del("pb1"), 0);
	event_comes(&y, IBV_EVENT_DEVICE_FATAL);
	ck_assert_ptr_null(ibv_alloc_pd(y.ctx));
	wr.wr_id = 2;
	ck_assert_int_eq(post(&x, &wr), 0);
	completes(&x, 2, IBV_WC_RETRY_EXC_ERR);
	/* Its objects can be released, as far as any are left. */
	ibv_dereg_mr(there.mr);
	munmap(there.p, PAGE);
	ibv_destroy_qp(y.qp);
	ibv_destroy_cq(y.cq);
	ibv_dealloc_pd(y.pd);
	ck_assert_int_eq(ibv_close_device(y.ctx), 0);
	mem_free(&mem);
	end_close(&x);
	ck_assert_int_ne(rdma_link_del("pb1"), 0);
}
END_TEST

/* The second NIC in a network namespace of its own, as of another host or a container. */
static void enter_netns(void)
{
	int fd = open("/run/netns/lab", O_RDONLY | O_CLOEXEC);

	if (fd < 0 || setns(fd, CLONE_NEWNET))
		lab_die("no network namespace: %s", strerror(errno));
	close(fd);
}

__attribute__((format(printf, 1, 2))) static void in_shell(const char *format, ...)
{
	char command[300];
	va_list ap;

	va_start(ap, format);
	vsnprintf(command, sizeof(command), format, ap);
	va_end(ap);
	ck_assert_msg(!system(command), "this failed: %s", command);
}

START_TEST(other_host_and_container)
{
	struct end_options on_second = { .device = "pb1" };
	struct address there;
	struct ibv_send_wr wr;
	struct offer theirs;
	struct ibv_sge from;
	int i, sock, child, log;
	char netdev[64];
	struct end end;
	struct mem mem;

	if (rdma_is_rxe())
		return;
	nic_name(1, netdev, sizeof(netdev));
	in_shell("ip netns add lab && ip link set %s netns lab && ip -n lab addr add " OTHER_HOST_IP "/24 dev %s", netdev,
		 netdev);
	in_shell("ip -n lab link set %s up && ip -n lab link set lo up", netdev);
	/* The address answers, but has no peerbar device: there is no transport to it. */
	end_open(&end, NULL);
	there = end_address(&end);
	ck_assert_int_eq(inet_pton(AF_INET, OTHER_HOST_IP, there.gid.raw + 12), 1);
	for (i = 0; i < 50 && system("busybox ping -c 1 -W 1 " OTHER_HOST_IP " >/dev/null 2>&1"); i++)
		usleep(100000);
	ck_assert_int_eq(end_to_init(&end), 0);
	log = log_open();
	ck_assert_int_eq(end_to_rtr(&end, &there), EHOSTUNREACH);
	ck_assert(log_has(log, "there is no transport"));
	ck_assert_int_eq(end_state(&end), IBV_QPS_INIT);
	end_close(&end);
	/* A container with a device on this host is reachable. */
	in_shell("ip netns exec lab rdma link add pb1 type peerbar netdev %s", netdev);
	child = fork_with_socket(&sock);
	if (!child) {
		enter_netns();
		for (i = 0; i < 100 && system("grep -qi ffff:0a4d:0002 /sys/class/infiniband/pb1/ports/1/gids/*"); i++)
			usleep(100000);
	}
	end_open(&end, child ? NULL : &on_second);
	mem = mem_new(&end, PAGE, ALL_ACCESS);
	trade(sock, &end, &mem, &theirs);
	if (!child) {
		char byte;

		hear(sock, &byte, 1);
		lab_pattern(&there, sizeof(there), 7);
		_exit(memcmp(mem.p + 10, &there, sizeof(there)) != 0);
	}
	lab_pattern(mem.p, sizeof(there), 7);
	from = sge(&mem, 0, sizeof(there));
	wr = write_of(&from, &theirs, 10);
	done(&end, &wr);
	tell(sock, "d", 1);
	ck_assert_int_eq(wait_for(child), 0);
	mem_free(&mem);
	end_close(&end);
	ck_assert_int_eq(rdma_link_del("pb1"), 0);
	/* The NIC returns when its namespace is gone. */
	ck_assert_int_eq(system("ip netns del lab"), 0);
	for (i = 0; i < 100 && access("/sys/class/net/eth1", F_OK); i++)
		usleep(100000);
	rdma_nic_up(1);
}
END_TEST

/*
 * ---- losses of UC: the sender succeeds; no completion and no change of memory at the receiver
 * ----
 */

static void uc_loses(struct ibv_send_wr *wr, const char *why)
{
	struct ibv_wc wc;

	done(&pair.a, wr);
	usleep(20000);
	ck_assert_msg(!ibv_poll_cq(pair.b.cq, 1, &wc), "%s: the receiver is told '%s'", why, ibv_wc_status_str(wc.status));
	ck_assert_msg(pair.at_b.p[64] == 0xee && pair.at_b.p[0] == 0xee, "%s: something arrived", why);
	ck_assert_msg(end_state(&pair.a) == IBV_QPS_RTS && end_state(&pair.b) == IBV_QPS_RTS, "%s: a queue pair is in error", why);
}

START_TEST(uc_lost)
{
	struct ibv_mr *gone = ibv_reg_mr(pair.b.pd, pair.at_b.p, MEM, ALL_ACCESS), *read_only = ibv_reg_mr(pair.b.pd, pair.at_b.p, MEM, 0);
	struct ibv_sge from = sge(&pair.at_a, 0, 8), to = sge(&pair.at_b, 0, 4);
	static const enum ibv_wr_opcode opcodes[] = { IBV_WR_RDMA_WRITE, IBV_WR_RDMA_WRITE_WITH_IMM };
	struct address to_a = end_address(&pair.a);
	uint32_t dead = gone->rkey;
	struct ibv_send_wr wr;
	unsigned int i;

	ck_assert_int_eq(ibv_dereg_mr(gone), 0);
	prepare(1);
	for (i = 0; i < 2; i++) {
		/* Without a receive, and with one, which must not be consumed. */
		if (i)
			ck_assert_int_eq(post_receive(&pair.b, 8, &to, 1), 0);
		wr = work(i, opcodes[i], &from, 1, &pair.at_b, 64);
		wr.wr.rdma.rkey ^= 0x77;
		uc_loses(&wr, "a wrong rkey");
		wr.wr.rdma.rkey = dead;
		uc_loses(&wr, "a region that was deregistered");
		wr.wr.rdma.rkey = read_only->rkey;
		uc_loses(&wr, "a region that cannot be written");
		wr = work(i, opcodes[i], &from, 1, &pair.at_b, MEM - 4);
		uc_loses(&wr, "more than the region");
	}
	/* rxe also loses parts of a message that is too long. */
	wr = work(2, IBV_WR_SEND, &from, 1, NULL, 0);
	if (!rdma_is_rxe())
		uc_loses(&wr, "more than the receive");
	/* The receive is still posted, for a valid request. */
	wr = work(3, IBV_WR_RDMA_WRITE_WITH_IMM, &from, 1, &pair.at_b, 64);
	wr.imm_data = htonl(5);
	done(&pair.a, &wr);
	ck_assert_uint_eq(completes(&pair.b, 8, IBV_WC_SUCCESS).imm_data, htonl(5));
	ck_assert_mem_eq(pair.at_b.p + 64, pair.at_a.p, 8);
	/* Without a receive. */
	prepare(2);
	wr = work(4, IBV_WR_SEND, &from, 1, NULL, 0);
	uc_loses(&wr, "no receive");
	wr = work(5, IBV_WR_RDMA_WRITE_WITH_IMM, &from, 1, &pair.at_b, 64);
	if (!rdma_is_rxe())
		uc_loses(&wr, "no receive");
	/* The peer is in RESET, or forbids access. */
	ck_assert_int_eq(post_receive(&pair.b, 9, &to, 1), 0);
	ck_assert_int_eq(end_to(&pair.b, IBV_QPS_RESET), 0);
	prepare(3);
	wr = work(6, IBV_WR_RDMA_WRITE_WITH_IMM, &from, 1, &pair.at_b, 64);
	done(&pair.a, &wr);
	pair.b.access = 0;
	end_connect(&pair.b, &to_a);
	ck_assert_int_eq(post_receive(&pair.b, 10, &to, 1), 0);
	uc_loses(&wr, "a queue pair that forbids it");
	ck_assert_int_eq(ibv_dereg_mr(read_only), 0);
}
END_TEST

/* Mistakes of the sender fail there. The receiver has no completion. */
START_TEST(uc_mistakes)
{
	static const enum ibv_wr_opcode opcodes[] = { IBV_WR_SEND, IBV_WR_RDMA_WRITE, IBV_WR_RDMA_WRITE_WITH_IMM };
	struct ibv_sge from, to = sge(&pair.at_b, 0, 64);
	struct ibv_send_wr wr;
	unsigned int i;

	if (rdma_is_rxe())
		return;
	for (i = 0; i < 3; i++) {
		from = sge(&pair.at_a, 0, 8);
		from.lkey ^= 0x77;
		prepare(i);
		ck_assert_int_eq(post_receive(&pair.b, 8, &to, 1), 0);
		wr = work(i, opcodes[i], &from, 1, &pair.at_b, 64);
		fails(&pair.a, &wr, IBV_WC_LOC_PROT_ERR);
		nothing_completes(&pair.b);
		ck_assert_uint_eq(pair.at_b.p[64], 0xee);
		is_flushed(&pair.a);
		both_anew();
	}
	/* A mistake of the receiver puts only the receiver into the error state. */
	from = sge(&pair.at_a, 0, 8);
	to.lkey ^= 0x33;
	ck_assert_int_eq(post_receive(&pair.b, 9, &to, 1), 0);
	wr = work(9, IBV_WR_SEND, &from, 1, NULL, 0);
	done(&pair.a, &wr);
	completes(&pair.b, 9, IBV_WC_LOC_PROT_ERR);
	is_flushed(&pair.b);
	ck_assert_int_eq(end_state(&pair.a), IBV_QPS_RTS);
	/* UC has no reads and no atomics. */
	wr = work(10, IBV_WR_RDMA_READ, &from, 1, &pair.at_b, 64);
	ck_assert_int_ne(post(&pair.a, &wr), 0);
	wr = work(11, IBV_WR_ATOMIC_FETCH_AND_ADD, &from, 1, &pair.at_b, 64);
	ck_assert_int_ne(post(&pair.a, &wr), 0);
}
END_TEST

/* ---- the suite ---- */

LAB_SUITE("rdma", 0)
{
	TCase *t = rdma_case(s, "rc", 120, rc_up, pair_down);

	tcase_add_test(t, what_it_says);
	tcase_add_test(t, send_and_receive);
	tcase_add_test(t, in_order);
	tcase_add_test(t, write_and_read);
	tcase_add_test(t, immediate);
	tcase_add_test(t, atomics);
	tcase_add_test(t, atomics_are_atomic);
	tcase_add_test(t, inline_data);
	tcase_add_test(t, scatter_gather);
	tcase_add_test(t, no_bytes);
	tcase_add_test(t, large);
	tcase_add_test(t, unsignaled);
	tcase_add_test(t, unsignaled_failure);
	tcase_add_test(t, fence);
	tcase_add_test(t, a_list);
	tcase_add_test(t, receive_queue_full);
	tcase_add_test(t, other_way_round);
	tcase_add_test(t, with_itself);
	tcase_add_test(t, work_request_calls);
	tcase_add_test(t, completion_events);
	tcase_add_test(t, completion_without_a_system_call);
	tcase_add_test(t, completion_queue_overflow);
	tcase_add_test(t, completion_queue_resized);
	tcase_add_test(t, shared_receives);
	tcase_add_test(t, shared_receive_limit);
	tcase_add_test(t, shared_receives_survive);
	t = rdma_case(s, "uc", 120, uc_up, pair_down);
	tcase_add_test(t, what_it_says);
	tcase_add_test(t, send_and_receive);
	tcase_add_test(t, in_order);
	tcase_add_test(t, write_and_read);
	tcase_add_test(t, immediate);
	tcase_add_test(t, inline_data);
	tcase_add_test(t, scatter_gather);
	tcase_add_test(t, large);
	tcase_add_test(t, unsignaled);
	tcase_add_test(t, a_list);
	tcase_add_test(t, receive_queue_full);
	tcase_add_test(t, other_way_round);
	tcase_add_test(t, with_itself);
	tcase_add_test(t, completion_events);
	tcase_add_test(t, completion_without_a_system_call);
	tcase_add_test(t, completion_queue_overflow);
	tcase_add_test(t, completion_queue_resized);
	tcase_add_test(t, shared_receives);
	tcase_add_test(t, shared_receive_limit);
	tcase_add_test(t, shared_receives_survive);
	tcase_add_test(t, flushed);
	tcase_add_test(t, uc_lost);
	tcase_add_test(t, uc_mistakes);
	t = rdma_case(s, "ud", 120, ud_up, pair_down);
	tcase_add_test(t, datagrams);
	tcase_add_test(t, datagrams_lost);
	tcase_add_test(t, datagram_too_long);
	t = rdma_case(s, "errors", 120, rc_up, pair_down);
	tcase_add_loop_test(t, mistakes, 0, 5);
	tcase_add_test(t, rights_of_regions);
	tcase_add_test(t, rights_of_queue_pairs);
	tcase_add_test(t, misaligned_atomics);
	tcase_add_test(t, receive_too_small);
	tcase_add_test(t, receive_into_nothing);
	tcase_add_test(t, no_receive);
	tcase_add_test(t, receive_later);
	tcase_add_test(t, order_kept_by_retries);
	tcase_add_test(t, no_answer);
	tcase_add_test(t, not_my_peer);
	tcase_add_test(t, flushed);
	tcase_add_test(t, too_much);
	tcase_add_test(t, requests_of_the_kernel);
	tcase_add_test(t, keys_of_the_kernel);
	tcase_add_test(t, memory_of_others);
	tcase_add_test(t, windows);
	t = rdma_case(s, "states", 120, unconnected_up, pair_down);
	tcase_add_test(t, wrong_states);
	tcase_add_test(t, established);
	tcase_add_test(t, peer_nowhere);
	t = rdma_case(s, "processes", 120, NULL, NULL);
	tcase_add_test(t, killed_while_it_writes);
	tcase_add_test(t, killed_while_written_to);
	tcase_add_test(t, two_processes_64_queue_pairs);
	tcase_add_test(t, connection_manager);
	tcase_add_test(t, connection_refused);
	tcase_add_test(t, second_link);
	tcase_add_test(t, other_host_and_container);
}
