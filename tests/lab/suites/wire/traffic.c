// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The suite wire: RoCE v2 between a peerbar device and the kernel's rxe, each as requester and as
 * responder, over a link that is perfect, or loses, repeats and reorders packets.
 */
#include <arpa/inet.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lab.h"
#include "wire-fixture.h"

static const enum ibv_mtu mtus[] = { IBV_MTU_256, IBV_MTU_1024, IBV_MTU_4096 };

/* Fill the requester's memory with a pattern, and the responder's with 0xee. */
static void prepare(uint32_t seed)
{
	lab_pattern(pair.at_a.p, MEM, seed);
	memset(pair.at_b.p, 0xee, MEM);
}

static void same(const uint8_t *a, const uint8_t *b, size_t length, const char *what)
{
	ck_assert_msg(!memcmp(a, b, length), "%s: %zu bytes differ", what, length);
}

/* Nothing tells when a write over UC is complete. */
static void arrives(const uint8_t *at, const uint8_t *data, size_t length)
{
	uint64_t until = now_ms() + 5000;

	while (memcmp(at, data, length) && now_ms() < until)
		usleep(5000);
}

static size_t longest = MEM;
static const size_t lengths[] = { 0, 1, 3, 255, 256, 257, 1024, 4095, 4096, 12289, 100000 };

static void test_sends(void)
{
	struct ibv_send_wr wr;
	struct ibv_sge from, to;
	struct ibv_wc wc;
	size_t i;

	for (i = 0; i < sizeof(lengths) / sizeof(lengths[0]) && lengths[i] <= longest; i++) {
		prepare((uint32_t)i + 1);
		from = sge(&pair.at_a, 5 + i, lengths[i]);
		to = sge(&pair.at_b, 8190, lengths[i] + 1);
		ck_assert_int_eq(post_receive(&pair.b, i, &to, 1), 0);
		wr = work(i, i & 1 ? IBV_WR_SEND_WITH_IMM : IBV_WR_SEND, &from, 1, NULL, 0);
		wr.imm_data = htonl(0x1234 + (uint32_t)i);
		done(&pair.a, &wr);
		wc = completes(&pair.b, i, IBV_WC_SUCCESS);
		ck_assert_uint_eq(wc.byte_len, lengths[i]);
		if (i & 1)
			ck_assert_uint_eq(wc.imm_data, htonl(0x1234 + (uint32_t)i));
		same(pair.at_b.p + 8190, pair.at_a.p + 5 + i, lengths[i], "a send");
		ck_assert_uint_eq(pair.at_b.p[8190 + lengths[i]], 0xee);
	}
}

static void test_writes(void)
{
	struct ibv_send_wr wr;
	struct ibv_sge from;
	struct ibv_wc wc;
	size_t i;

	for (i = 0; i < sizeof(lengths) / sizeof(lengths[0]) && lengths[i] <= longest; i++) {
		prepare((uint32_t)i + 100);
		from = sge(&pair.at_a, 7, lengths[i]);
		wr = work(i, i & 1 ? IBV_WR_RDMA_WRITE_WITH_IMM : IBV_WR_RDMA_WRITE, &from, 1,
			  &pair.at_b, 4093);
		wr.imm_data = htonl((uint32_t)i);
		if (i & 1)
			ck_assert_int_eq(post_receive(&pair.b, 50 + i, NULL, 0), 0);
		done(&pair.a, &wr);
		if (i & 1) {
			wc = completes(&pair.b, 50 + i, IBV_WC_SUCCESS);
			ck_assert_int_eq(wc.opcode, IBV_WC_RECV_RDMA_WITH_IMM);
			ck_assert_uint_eq(wc.byte_len, lengths[i]);
			ck_assert_uint_eq(wc.imm_data, htonl((uint32_t)i));
		} else if (pair.a.qp->qp_type == IBV_QPT_UC) {
			arrives(pair.at_b.p + 4093, pair.at_a.p + 7, lengths[i]);
		}
		same(pair.at_b.p + 4093, pair.at_a.p + 7, lengths[i], "a write");
		ck_assert_uint_eq(pair.at_b.p[4092], 0xee);
		ck_assert_uint_eq(pair.at_b.p[4093 + lengths[i]], 0xee);
	}
}

static void test_reads(void)
{
	struct ibv_send_wr wr;
	struct ibv_sge to;
	struct ibv_wc wc;
	size_t i;

	for (i = 0; i < sizeof(lengths) / sizeof(lengths[0]) && lengths[i] <= longest; i++) {
		lab_pattern(pair.at_b.p, MEM, (uint32_t)i + 200);
		memset(pair.at_a.p, 0xee, MEM);
		to = sge(&pair.at_a, 4091, lengths[i]);
		wr = work(i, IBV_WR_RDMA_READ, &to, 1, &pair.at_b, 77);
		ck_assert_int_eq(post(&pair.a, &wr), 0);
		wc = completes(&pair.a, i, IBV_WC_SUCCESS);
		ck_assert_uint_eq(wc.byte_len, lengths[i]);
		same(pair.at_a.p + 4091, pair.at_b.p + 77, lengths[i], "a read");
		ck_assert_uint_eq(pair.at_a.p[4091 + lengths[i]], 0xee);
	}
}

static uint64_t word_at(const struct mem *mem, size_t offset)
{
	uint64_t value;

	memcpy(&value, mem->p + offset, sizeof(value));
	return value;
}

static void atomic(enum ibv_wr_opcode opcode, uint64_t compare_add, uint64_t swap, uint64_t before,
		   uint64_t after)
{
	struct ibv_sge old = sge(&pair.at_a, 64, 8);
	struct ibv_send_wr wr = work(9, opcode, &old, 1, NULL, 0);

	wr.wr.atomic.remote_addr = pair.at_b.addr + 128;
	wr.wr.atomic.rkey = pair.at_b.mr->rkey;
	wr.wr.atomic.compare_add = compare_add;
	wr.wr.atomic.swap = swap;
	done(&pair.a, &wr);
	ck_assert_uint_eq(word_at(&pair.at_a, 64), before);
	ck_assert_uint_eq(word_at(&pair.at_b, 128), after);
}

static void test_atomics(void)
{
	uint64_t value = 1000, i;

	memcpy(pair.at_b.p + 128, &value, sizeof(value));
	atomic(IBV_WR_ATOMIC_FETCH_AND_ADD, 5, 0, 1000, 1005);
	atomic(IBV_WR_ATOMIC_CMP_AND_SWP, 1005, 77, 1005, 77);
	atomic(IBV_WR_ATOMIC_CMP_AND_SWP, 1005, 78, 77, 77);
	for (i = 0; i < 50; i++)
		atomic(IBV_WR_ATOMIC_FETCH_AND_ADD, 1, 0, 77 + i, 78 + i);
}

/* rxe computes the ICRC of a flush over its headers twice, so no other device understands it. */
static void test_flush(uint64_t seed)
{
	struct ibv_sge from = sge(&pair.at_a, 0, 20000);
	struct ibv_send_wr wr = work(1, IBV_WR_RDMA_WRITE, &from, 1, &pair.at_b, 4096);

	prepare((uint32_t)seed);
	done(&pair.a, &wr);
	flush_range(&pair.a, &pair.at_b, 4096, 20000, IBV_WC_SUCCESS);
	same(pair.at_b.p + 4096, pair.at_a.p, 20000, "a flushed write");
	flush_as(&pair.a, &pair.at_b, 0, 0, IBV_FLUSH_GLOBAL, IBV_FLUSH_MR, IBV_WC_SUCCESS);
}

static void test_flushes(void)
{
	uint64_t i;

	for (i = 0; i < 20; i++) {
		atomic_write(&pair.a, &pair.at_b, 136, 0x1122334455667700 + i, IBV_WC_SUCCESS);
		ck_assert_uint_eq(word_at(&pair.at_b, 136), 0x1122334455667700 + i);
		if (relay->both)
			test_flush(i);
	}
}

/* Many requests at once, of all kinds; they take effect in order. */
static void test_queue(void)
{
	struct ibv_send_wr wr[32];
	struct ibv_sge from[32], to;
	int i;

	prepare(300);
	for (i = 0; i < 8; i++) {
		to = sge(&pair.at_b, 300000 + (size_t)i * 10000, 10000);
		ck_assert_int_eq(post_receive(&pair.b, (uint64_t)i, &to, 1), 0);
	}
	for (i = 0; i < 32; i++) {
		enum ibv_wr_opcode opcode = i % 4 == 0 ? IBV_WR_SEND :
			i % 4 == 3		       ? IBV_WR_RDMA_READ :
							 IBV_WR_RDMA_WRITE;
		size_t at = 1000 + (size_t)i * 4000;

		from[i] = sge(&pair.at_a, opcode == IBV_WR_RDMA_READ ? at + 200000 : at, 3900);
		wr[i] = work((uint64_t)i, opcode, &from[i], 1, &pair.at_b,
			     opcode == IBV_WR_RDMA_READ ? at - 4000 : at);
		if (opcode == IBV_WR_SEND)
			wr[i].wr.rdma.rkey = 0;
		wr[i].next = i < 31 ? &wr[i + 1] : NULL;
	}
	ck_assert_int_eq(post(&pair.a, wr), 0);
	for (i = 0; i < 32; i++)
		completes(&pair.a, (uint64_t)i, IBV_WC_SUCCESS);
	for (i = 0; i < 8; i++)
		completes(&pair.b, (uint64_t)i, IBV_WC_SUCCESS);
	for (i = 0; i < 32; i++) {
		size_t at = 1000 + (size_t)i * 4000;

		if (i % 4 == 0)
			same(pair.at_b.p + 300000 + (size_t)(i / 4) * 10000, pair.at_a.p + at, 3900,
			     "a queued send");
		else if (i % 4 == 3)
			same(pair.at_a.p + at + 200000, pair.at_b.p + at - 4000, 3900,
			     "a queued read");
		else
			same(pair.at_b.p + at, pair.at_a.p + at, 3900, "a queued write");
	}
}

static void test_without_flushes(void)
{
	test_sends();
	test_writes();
	test_atomics();
}

static void test_without_reads(void)
{
	test_without_flushes();
	test_flushes();
}

static void test_all(void)
{
	test_without_reads();
	test_reads();
	test_queue();
}

/* ---- memory on demand ---- */

/* The peerbar end's memory: shared, so that its bytes stay when its pages are dropped. */
static const struct mem *evicted;
static volatile bool dropping;

static void *drop_pages(void *arg)
{
	while (dropping) {
		if (madvise(evicted->p, MEM, MADV_DONTNEED))
			return "madvise";
		usleep(300);
	}
	return arg;
}

/* Register memory with IBV_ACCESS_ON_DEMAND in the place of @mem. */
static void make_on_demand(struct end *end, struct mem *mem)
{
	ck_assert_int_eq(ibv_dereg_mr(mem->mr), 0);
	ck_assert_ptr_eq(mmap(mem->p, MEM, PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
			 mem->p);
	mem->mr = ibv_reg_mr(end->pd, mem->p, MEM,
			     ALL_ACCESS | IBV_ACCESS_FLUSH_GLOBAL | IBV_ACCESS_ON_DEMAND);
	ck_assert_msg(mem->mr, "%s", strerror(errno));
}

/* Test while all pages are dropped again and again; at least @least accesses fault. */
static void drop_during(void (*test)(void), const struct mem *mem, unsigned int least)
{
	unsigned long faults = wire_counter("page_faults"),
		      invalidations = wire_counter("page_invalidations");
	pthread_t thread;
	void *failed;

	evicted = mem;
	dropping = true;
	ck_assert_int_eq(pthread_create(&thread, NULL, drop_pages, NULL), 0);
	test();
	dropping = false;
	pthread_join(thread, &failed);
	ck_assert_msg(!failed, "%s", (const char *)failed);
	ck_assert_uint_gt(wire_counter("page_faults"), faults + least);
	ck_assert_uint_gt(wire_counter("page_invalidations"), invalidations + least);
}

START_TEST(on_demand)
{
	struct mem *mem;

	wire_pair(IBV_QPT_RC, _i);
	mem = _i ? &pair.at_b : &pair.at_a;
	make_on_demand(_i ? &pair.b : &pair.a, mem);
	wire_connect(IBV_MTU_1024, 18);
	drop_during(test_all, mem, 20);
	wire_close();
}
END_TEST

START_TEST(reliable)
{
	wire_pair(IBV_QPT_RC, _i / 3);
	wire_connect(mtus[_i % 3], 18);
	test_all();
	wire_close();
}
END_TEST

START_TEST(reliable_ipv6)
{
	wire_pair(IBV_QPT_RC, _i);
	wire_use_ipv6();
	wire_connect(IBV_MTU_1024, 18);
	test_without_reads();
	test_reads();
	wire_close();
}
END_TEST

/*
 * With loss, rxe as requester fails some reads, or writes wrong bytes, with a WARNING in
 * rxe_completer(); also if the peer is rxe (4 runs of 60 of this test). It repeats an atomic write
 * for address 0.
 */
START_TEST(lossy)
{
	unsigned long before = wire_counter("completer_retry_err");
	unsigned long dropped = relay->dropped;
	unsigned int loss = _i & 2 ? 50 : 10;
	bool reverse = _i & 1;

	wire_pair(IBV_QPT_RC, reverse);
	/* On a busy machine the relay may not run for a second. */
	wire_connect(IBV_MTU_1024, 16);
	relay->loss = loss;
	relay->twice = loss / 2;
	relay->swapped = loss / 2;
	if (reverse)
		test_without_flushes();
	else
		test_all();
	relay->loss = 0;
	wire_close();
	ck_assert_uint_gt(relay->dropped, dropped);
	if (_i == 2)
		ck_assert_uint_gt(wire_counter("completer_retry_err"), before);
}
END_TEST

static void test_lossy(enum ibv_qp_type type, enum ibv_mtu mtu)
{
	unsigned long dropped = relay->dropped;

	wire_pair(type, false);
	wire_connect(mtu, 16);
	relay->loss = 30;
	relay->twice = 10;
	relay->swapped = 10;
	test_all();
	relay->loss = 0;
	wire_close();
	ck_assert_uint_gt(relay->dropped, dropped);
}

START_TEST(lossy_both)
{
	test_lossy(IBV_QPT_RC, mtus[_i]);
}
END_TEST

/* XRC to another peerbar device; rxe has none. */
START_TEST(extended)
{
	wire_pair(IBV_QPT_XRC_SEND, _i / 3);
	wire_connect(mtus[_i % 3], 18);
	test_all();
	wire_close();
}
END_TEST

START_TEST(extended_lossy)
{
	test_lossy(IBV_QPT_XRC_SEND, mtus[_i]);
}
END_TEST

START_TEST(extended_on_demand)
{
	wire_pair(IBV_QPT_XRC_SEND, _i);
	make_on_demand(_i ? &pair.b : &pair.a, _i ? &pair.at_b : &pair.at_a);
	wire_connect(IBV_MTU_1024, 18);
	drop_during(test_all, _i ? &pair.at_b : &pair.at_a, 20);
	wire_close();
}
END_TEST

/*
 * UC has no window: the packets of a long message with a small MTU would overrun a queue on the
 * way. And on veth, the packets of a task that moves to another CPU can overtake earlier ones.
 */
START_TEST(unreliable)
{
	cpu_set_t first;

	CPU_ZERO(&first);
	CPU_SET(0, &first);
	ck_assert_int_eq(sched_setaffinity(0, sizeof(first), &first), 0);
	longest = mtus[_i % 3] == IBV_MTU_256 ? 20000 : MEM;
	wire_pair(IBV_QPT_UC, _i / 3);
	wire_connect(mtus[_i % 3], 0);
	test_sends();
	test_writes();
	longest = MEM;
	wire_close();
}
END_TEST

/* A message of more packets than any window. A queue on the way may drop some; the request ends. */
START_TEST(unreliable_long)
{
	struct ibv_sge from;
	struct ibv_send_wr wr;
	unsigned int i;

	wire_pair(IBV_QPT_UC, false);
	wire_connect(IBV_MTU_256, 0);
	prepare(1);
	from = sge(&pair.at_a, 0, MEM);
	for (i = 0; i < 3; i++) {
		wr = work(i, IBV_WR_RDMA_WRITE, &from, 1, &pair.at_b, 0);
		done(&pair.a, &wr);
	}
	/* The queue pair works on. */
	from = sge(&pair.at_a, 0, 1000);
	wr = work(i, IBV_WR_RDMA_WRITE, &from, 1, &pair.at_b, 0);
	done(&pair.a, &wr);
	wire_close();
}
END_TEST

/* Over UC a message arrives as a whole, or not at all. */
START_TEST(unreliable_lossy)
{
	struct ibv_sge from, to;
	struct ibv_send_wr wr;
	struct ibv_wc wc;
	unsigned int i, arrived = 0;
	uint64_t until;

	wire_pair(IBV_QPT_UC, _i);
	wire_connect(IBV_MTU_1024, 0);
	relay->loss = 50;
	prepare(1);
	for (i = 0; i < 50; i++) {
		to = sge(&pair.at_b, i * 8192, 8000);
		ck_assert_int_eq(post_receive(&pair.b, i, &to, 1), 0);
	}
	for (i = 0; i < 50; i++) {
		from = sge(&pair.at_a, i * 8192, 8000);
		wr = work(i, IBV_WR_SEND_WITH_IMM, &from, 1, NULL, 0);
		wr.imm_data = htonl(i);
		done(&pair.a, &wr);
	}
	/* The relay may not have forwarded all of them yet: those that it doesn't lose come at once. */
	for (until = now_ms() + 30000; now_ms() < until;) {
		if (ibv_poll_cq(pair.b.cq, 1, &wc) != 1) {
			usleep(1000);
			continue;
		}
		ck_assert_int_eq(wc.status, IBV_WC_SUCCESS);
		ck_assert_uint_eq(wc.byte_len, 8000);
		same(pair.at_b.p + wc.wr_id * 8192, pair.at_a.p + ntohl(wc.imm_data) * 8192, 8000,
		     "a message over UC");
		if (++arrived > 5)
			until = now_ms() + 1000;
	}
	relay->loss = 0;
	ck_assert_uint_gt(arrived, 5);
	ck_assert_uint_lt(arrived, 50);
	wire_close();
}
END_TEST

static void test_datagrams(void)
{
	static const size_t sizes[] = { 0, 1, 64, 1000, 4096 };
	struct ibv_sge from, to;
	struct ibv_send_wr wr;
	struct ibv_ah *ah;
	struct ibv_wc wc;
	unsigned int i;

	ah = end_handle(&pair.a, &pair.b.gid);
	for (i = 0; i < 5; i++) {
		prepare(i + 1);
		from = sge(&pair.at_a, i, sizes[i]);
		to = sge(&pair.at_b, 4090, GRH_BYTES + 4096);
		ck_assert_int_eq(post_receive(&pair.b, i, &to, 1), 0);
		wr = work(i, i & 1 ? IBV_WR_SEND_WITH_IMM : IBV_WR_SEND, &from, 1, NULL, 0);
		wr.imm_data = htonl(i);
		wr.wr.ud.ah = ah;
		wr.wr.ud.remote_qpn = pair.b.qp->qp_num;
		wr.wr.ud.remote_qkey = QKEY;
		done(&pair.a, &wr);
		wc = completes(&pair.b, i, IBV_WC_SUCCESS);
		ck_assert_uint_eq(wc.byte_len, GRH_BYTES + sizes[i]);
		ck_assert_uint_eq(wc.src_qp, pair.a.qp->qp_num);
		ck_assert_uint_eq(wc.wc_flags & IBV_WC_GRH, IBV_WC_GRH);
		if (i & 1)
			ck_assert_uint_eq(wc.imm_data, htonl(i));
		same(pair.at_b.p + 4090 + GRH_BYTES, pair.at_a.p + i, sizes[i], "a datagram");
		/* The header has the address of the sender. */
		ck_assert_mem_eq(pair.at_b.p + 4090 + 20 + 12, pair.a.gid.raw + 12, 4);
	}
	/* Another Q_Key: dropped. */
	ck_assert_int_eq(post_receive(&pair.b, 9, &to, 1), 0);
	wr.wr.ud.remote_qkey = QKEY + 1;
	done(&pair.a, &wr);
	nothing_completes(&pair.b);
	ibv_destroy_ah(ah);
}

START_TEST(datagrams)
{
	struct mem *mem;

	wire_pair(IBV_QPT_UD, _i & 1);
	mem = _i & 1 ? &pair.at_b : &pair.at_a;
	if (_i & 2)
		make_on_demand(_i & 1 ? &pair.b : &pair.a, mem);
	wire_connect(IBV_MTU_1024, 0);
	if (_i & 2)
		drop_during(test_datagrams, mem, 2);
	else
		test_datagrams();
	wire_close();
}
END_TEST

/* On the debug kernel, where it takes minutes, with one MTU. */
static void add_mtus(TCase *t, const TTest *test)
{
	if (!lab_kernel_is("debug")) {
		tcase_add_loop_test(t, test, 0, 6);
		return;
	}
	tcase_add_loop_test(t, test, 1, 2);
	tcase_add_loop_test(t, test, 4, 5);
}

LAB_SUITE("wire", SUITE_NOT_ON_DEBUG)
{
	TCase *t = wire_case(s, "traffic", 180, false);

	tcase_add_loop_test(t, datagrams, 0, 4);
	tcase_add_loop_test(t, on_demand, 0, 2);
	add_mtus(t, reliable);
	tcase_add_loop_test(t, reliable_ipv6, 0, 2);
	add_mtus(t, unreliable);
	tcase_add_loop_test(t, lossy, 0, lab_kernel_is("debug") ? 2 : 4);
	tcase_add_test(t, unreliable_long);
	tcase_add_loop_test(t, unreliable_lossy, 0, 2);

	t = wire_case(s, "both", 180, true);
	tcase_add_loop_test(t, lossy_both, 0, 2);
	tcase_add_loop_test(t, extended, lab_kernel_is("debug") ? 2 : 0, 4);
	tcase_add_loop_test(t, extended_lossy, 0, 2);
	tcase_add_loop_test(t, extended_on_demand, 0, 2);
}
