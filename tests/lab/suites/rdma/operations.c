// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Verbs on host memory: every operation of RC, and of UC as far as it has them. With LAB_RDMA=rxe0
 * this suite runs on the kernel's rxe; intended differences are marked.
 */
#include <arpa/inet.h>
#include <pthread.h>
#include <unistd.h>

#include "rdma-fixture.h"

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
				      IBV_QP_STATE | IBV_QP_DEST_QPN | IBV_QP_ACCESS_FLAGS |
					      IBV_QP_AV | IBV_QP_CAP | IBV_QP_TIMEOUT |
					      IBV_QP_RETRY_CNT | IBV_QP_PATH_MTU,
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

/* Sizes around boundaries: nothing, a word, a cache line, a page, a packet. */
static const size_t sizes[] = { 0,    1,    3,	  8,	63,   64,   65,	   1023,
				1024, 1025, 4095, 4096, 4097, 8192, 65536, 100001 };
#define NR_SIZES (sizeof(sizes) / sizeof(sizes[0]))

START_TEST(send_and_receive)
{
	unsigned int i;

	for (i = 0; i < NR_SIZES; i++) {
		struct ibv_sge from = sge(&pair.at_a, 5 + i, sizes[i]),
			       to = sge(&pair.at_b, 4093 - i, sizes[i] + 10);
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
		struct ibv_sge from = sge(&pair.at_a, 1 + i, sizes[i]),
			       back = sge(&pair.at_a, 131071, sizes[i]);
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
#define ADDS   500

static void *add_up(void *arg)
{
	struct end *end = arg;
	struct mem mem = mem_new(end, PAGE, ALL_ACCESS);
	struct ibv_sge old = sge(&mem, 0, 8);
	int i;

	for (i = 0; i < ADDS; i++) {
		struct ibv_send_wr wr = work((uint64_t)i, IBV_WR_ATOMIC_FETCH_AND_ADD, &old, 1,
					     &pair.at_b, 64);

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
	struct ibv_sge from = { .addr = (uintptr_t)bytes, .length = 60 }, two[2] = { from, from },
		       to = sge(&pair.at_b, 1, 64);
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
	struct ibv_sge from[8] = { sge(&pair.at_a, 1, 4095),	  sge(&pair.at_a, 8191, 1),
				   sge(&pair.at_a, 20000, 12345), sge(&pair.at_a, 5, 0),
				   sge(&pair.at_a, 4090, 12),	  sge(&pair.at_a, 65536, 4096),
				   sge(&pair.at_a, 100, 7),	  sge(&pair.at_a, 200000, 3333) };
	struct ibv_sge to[5] = { sge(&pair.at_b, 4095, 2), sge(&pair.at_b, 40961, 9999),
				 sge(&pair.at_b, 0, 1), sge(&pair.at_b, 7, 0),
				 sge(&pair.at_b, 100001, 100000) };
	struct ibv_sge back[3] = { sge(&pair.at_a, 150001, 10000), sge(&pair.at_a, 170003, 1),
				   sge(&pair.at_a, 180000, 13788) };
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

		ck_assert_msg(!memcmp((void *)(uintptr_t)to[i].addr, sent + at, part),
			      "piece %d is wrong", i);
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
	struct mem from = mem_new(&pair.a, size, ALL_ACCESS),
		   to = mem_new(&pair.b, size + PAGE, ALL_ACCESS);
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
	to_self = work(4, ends_are_reliable() ? IBV_WR_RDMA_READ : IBV_WR_RDMA_WRITE, &to, 1,
		       &pair.at_b, 7000);
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
	const uint64_t ops = IBV_QP_EX_WITH_RDMA_WRITE | IBV_QP_EX_WITH_RDMA_READ |
		IBV_QP_EX_WITH_SEND | IBV_QP_EX_WITH_SEND_WITH_IMM |
		IBV_QP_EX_WITH_ATOMIC_FETCH_AND_ADD;
	struct ibv_sge list[2], to = sge(&pair.at_b, 0, 100);
	struct end x, y;
	struct ibv_qp_ex *ex;

	end_open_beside(&y, &pair.b, NULL);
	end_open_for_calls(&x, &pair.a, pair.a.cq, ops);
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

/* ---- test cases ---- */

static void add_operations(TCase *t, bool reliable)
{
	tcase_add_test(t, what_it_says);
	tcase_add_test(t, send_and_receive);
	tcase_add_test(t, in_order);
	tcase_add_test(t, write_and_read);
	tcase_add_test(t, immediate);
	if (reliable) {
		tcase_add_test(t, atomics);
		tcase_add_test(t, atomics_are_atomic);
	}
	tcase_add_test(t, inline_data);
	tcase_add_test(t, scatter_gather);
	if (reliable)
		tcase_add_test(t, no_bytes);
	tcase_add_test(t, large);
	tcase_add_test(t, unsignaled);
	if (reliable) {
		tcase_add_test(t, unsignaled_failure);
		tcase_add_test(t, fence);
	}
	tcase_add_test(t, a_list);
	tcase_add_test(t, receive_queue_full);
	tcase_add_test(t, other_way_round);
	tcase_add_test(t, with_itself);
	if (reliable)
		tcase_add_test(t, work_request_calls);
}

LAB_SUITE("rdma", 0)
{
	add_operations(rdma_case(s, "rc", 120, rc_up, pair_down), true);
	add_operations(rdma_case(s, "uc", 120, uc_up, pair_down), false);
}
