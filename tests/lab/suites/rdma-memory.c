// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Verbs from and to memory of every kind: the process's own, BARs of stock vfio-pci and of
 * peerbar-vfio-pci, udmabuf, the system heap, and buffers of the test module. Buffers that cannot
 * be registered.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#ifdef HAVE_VERBS
#include <peerbar-verbs.h>
#endif

#include "kernel-exporters.h"
#include "memory-kinds.h"
#include "modules.h"
#include "testmod.h"

#define SIZE MIB

static void ends_up(void)
{
	const struct end_options options = { .type = IBV_QPT_RC, .calls = FLUSH_CALLS };

	places_up();
	end_open(&pair.a, &options);
	end_open(&pair.b, &options);
	pair.b.access |= IBV_ACCESS_FLUSH_GLOBAL;
	ends_connect(&pair.a, &pair.b);
}

static void memory_up(void)
{
	modules_up();
	ends_up();
}

static void memory_down(void)
{
	end_close(&pair.a);
	end_close(&pair.b);
	places_down();
	modules_down();
}

static void stock_up(void)
{
	module_load("peerbar-test-exporter");
	setenv("LAB_DRIVER", "vfio-pci", 1);
	fixture_up();
	ends_up();
}

static void stock_down(void)
{
	end_close(&pair.a);
	end_close(&pair.b);
	places_down();
	fixture_down();
}

/* ---- every verb, between any two kinds ---- */

/* Move exactly @length bytes from one place to the other, in @pieces segments on the local side. */
static void moves(enum ibv_wr_opcode opcode, struct place *local, size_t at, struct place *remote,
		  size_t to, size_t length, unsigned int pieces)
{
	struct place *source = opcode == IBV_WR_RDMA_READ ? remote : local,
		     *target = opcode == IBV_WR_RDMA_READ ? local : remote;
	size_t from = opcode == IBV_WR_RDMA_READ ? to : at,
	       there = opcode == IBV_WR_RDMA_READ ? at : to, part = length / pieces;
	static uint32_t seed = 1000;
	static uint8_t *bytes;
	struct ibv_sge list[4], receive = sge(&remote->mem, to, length);
	struct ibv_send_wr wr = work(1, opcode, list, (int)pieces,
				     opcode == IBV_WR_SEND ? NULL : &remote->mem, to);
	uint8_t before = 0x5a, behind = 0xa5;
	unsigned int i;

	if (!bytes)
		bytes = malloc(64 * MIB);
	lab_pattern(bytes, length, ++seed);
	place_write(source, from, bytes, length);
	if (there)
		place_write(target, there - 1, &before, 1);
	if (there + length < target->mem.size)
		place_write(target, there + length, &behind, 1);
	for (i = 0; i < pieces; i++)
		list[i] = sge(&local->mem, at + i * part,
			      i == pieces - 1 ? length - i * part : part);
	if (opcode == IBV_WR_SEND)
		ck_assert_int_eq(post_receive(&pair.b, 2, &receive, 1), 0);
	done(&pair.a, &wr);
	if (opcode == IBV_WR_SEND)
		ck_assert_uint_eq(completes(&pair.b, 2, IBV_WC_SUCCESS).byte_len, length);
	ck_assert_msg(place_has_all(target, there, bytes, length),
		      "opcode %d: %zu bytes from 0x%zx of %s are not at 0x%zx of %s", opcode,
		      length, from, kind_name(source->kind), there, kind_name(target->kind));
	ck_assert_msg(!there || place_has(target, there - 1, &before, 1),
		      "opcode %d of %zu bytes wrote before 0x%zx of %s", opcode, length, there,
		      kind_name(target->kind));
	ck_assert_msg(there + length >= target->mem.size ||
			      place_has(target, there + length, &behind, 1),
		      "opcode %d of %zu bytes wrote behind them at 0x%zx of %s", opcode, length,
		      there, kind_name(target->kind));
}

static void atomics_work(struct place *local, struct place *remote)
{
	struct ibv_sge old = sge(&local->mem, PAGE - 4, 8);
	struct ibv_send_wr wr = work(1, IBV_WR_ATOMIC_FETCH_AND_ADD, &old, 1, &remote->mem,
				     PAGE - 8);
	uint64_t value = 0x1122334455667788, sum = value + 0x0101010101010101, swapped = 77;

	place_write(remote, PAGE - 8, &value, 8);
	wr.wr.atomic.compare_add = 0x0101010101010101;
	done(&pair.a, &wr);
	ck_assert(place_has(local, PAGE - 4, &value, 8));
	ck_assert(place_has(remote, PAGE - 8, &sum, 8));
	wr = work(2, IBV_WR_ATOMIC_CMP_AND_SWP, &old, 1, &remote->mem, PAGE - 8);
	wr.wr.atomic.compare_add = sum;
	wr.wr.atomic.swap = swapped;
	done(&pair.a, &wr);
	ck_assert(place_has(local, PAGE - 4, &sum, 8));
	ck_assert(place_has(remote, PAGE - 8, &swapped, 8));
	done(&pair.a, &wr);
	ck_assert(place_has(local, PAGE - 4, &swapped, 8));
	ck_assert(place_has(remote, PAGE - 8, &swapped, 8));
}

static void flushes_work(struct place *remote)
{
	const uint64_t value = 0x8877665544332211;

	atomic_write(&pair.a, &remote->mem, 2 * PAGE, value, IBV_WC_SUCCESS);
	flush_range(&pair.a, &remote->mem, 2 * PAGE, 8, IBV_WC_SUCCESS);
	ck_assert(place_has(remote, 2 * PAGE, &value, 8));
	flush_range(&pair.a, &remote->mem, 0, SIZE, IBV_WC_SUCCESS);
	flush_as(&pair.a, &remote->mem, 0, 0, IBV_FLUSH_GLOBAL, IBV_FLUSH_MR, IBV_WC_SUCCESS);
}

static void every_verb_between(enum kind from, enum kind to)
{
	static const enum ibv_wr_opcode opcodes[] = { IBV_WR_RDMA_WRITE, IBV_WR_RDMA_READ,
						      IBV_WR_SEND };
	struct place local, remote;
	unsigned int i;

	place_make(&local, from, SIZE, 0);
	place_make(&remote, to, SIZE, 1);
	place_register(&local, &pair.a, ALL_ACCESS);
	place_register(&remote, &pair.b, ALL_ACCESS | IBV_ACCESS_FLUSH_GLOBAL);
	for (i = 0; i < 3; i++) {
		moves(opcodes[i], &local, 1, &remote, 7, 0, 1);
		moves(opcodes[i], &local, 3, &remote, 8, 1, 1);
		moves(opcodes[i], &local, 4095, &remote, 4091, 9, 1);
		moves(opcodes[i], &local, 0, &remote, 0, 4096, 1);
		moves(opcodes[i], &local, 64, &remote, 4097, 4097, 3);
		moves(opcodes[i], &local, 5001, &remote, 70003, 65539, 4);
		/* The whole region. */
		moves(opcodes[i], &local, 0, &remote, 0, SIZE, 2);
	}
	atomics_work(&local, &remote);
	flushes_work(&remote);
	place_close(&local);
	place_close(&remote);
}

START_TEST(every_verb)
{
	enum kind kind;

	for (kind = HOST; kind < NR_KINDS; kind++)
		/* There is one CMB, which can be opened once. */
		if (kind != CMB || _i != CMB)
			every_verb_between(kind, (enum kind)_i);
}
END_TEST

START_TEST(every_verb_of_stock)
{
	enum kind kind;

	for (kind = HOST; kind < CMB; kind++)
		if (kind != PARTS && _i != PARTS)
			every_verb_between(kind, (enum kind)_i);
}
END_TEST

/*
 * The kernel maps all ranges of a stock buffer to the same DMA address (dma_buf_phys_vec_to_sgt()
 * in 7.2 and 7.3). Behind an IOMMU, mapping fails after the first range. Registration must work
 * where the kernel does not have this bug, and leave nothing behind where it does.
 */
START_TEST(several_ranges_of_stock)
{
	struct place place;
	struct ibv_mr *mr;
	int error;

	/* An SMMU's page tables warn about the second range, and a warning fails the run. */
#ifdef __aarch64__
	return;
#endif
	place_make(&place, PARTS, SIZE, 0);
	error = part_register(&place, &pair.b, 0, SIZE, 0, ALL_ACCESS, &mr);
	if (!error)
		ck_assert_int_eq(ibv_dereg_mr(mr), 0);
	else
		ck_assert_int_eq(error, EADDRINUSE);
	ck_assert_uint_eq(importers(place.fd), 0);
	place_close(&place);
	if (!error)
		every_verb_between(PARTS, BAR);
	every_verb_between(HOST, BAR);
}
END_TEST

/* Around each boundary between ranges, and across several of them. */
START_TEST(range_boundaries)
{
	const size_t edges[] = { PAGE, PAGE + SIZE - 128 * KIB, 4 * PAGE + SIZE - 128 * KIB };
	static const enum ibv_wr_opcode opcodes[] = { IBV_WR_RDMA_WRITE, IBV_WR_RDMA_READ,
						      IBV_WR_SEND };
	struct place local, remote;
	unsigned int e, d, op = 0;

	place_make(&local, PARTS, SIZE, 0);
	place_make(&remote, PARTS, SIZE, 1);
	place_register(&local, &pair.a, ALL_ACCESS);
	place_register(&remote, &pair.b, ALL_ACCESS);
	for (e = 0; e < 3; e++) {
		for (d = 0; d <= 9; d += 3, op++) {
			moves(opcodes[op % 3], &local, 12345, &remote, edges[e] - d, 9, 1);
			moves(opcodes[op % 3], &local, edges[e] - d, &remote, 54321, 9, 1);
			moves(opcodes[op % 3], &local, edges[e] - d, &remote, edges[2 - e] - 4,
			      8191, 2);
		}
	}
	moves(IBV_WR_RDMA_WRITE, &local, 1, &remote, 2, SIZE - 2, 3);
	moves(IBV_WR_RDMA_READ, &local, PAGE - 1, &remote, PAGE - 2,
	      SIZE - 128 * KIB + 3 * PAGE + 5, 1);
	place_close(&local);
	place_close(&remote);
}
END_TEST

/* Regions of parts of a buffer, at any alignment, must not give access to bytes around them. */
START_TEST(parts_of_a_buffer)
{
	const struct {
		size_t offset, length;
	} parts[] = {
		{ 0, 1 },
		{ 0, PAGE },
		{ 100, 50 },
		{ PAGE - 1, 2 },
		{ PAGE + 5, 100001 },
		{ SIZE - 1, 1 },
		{ 3 * PAGE, SIZE - 3 * PAGE },
	};
	enum kind kinds[] = { BAR, PARTS, UDMABUF, HEAP, PINNED };
	struct place local, remote;
	unsigned int k, i;

	place_make(&local, HOST, SIZE, 0);
	place_register(&local, &pair.a, ALL_ACCESS);
	for (k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
		place_make(&remote, kinds[k], SIZE, 1);
		for (i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
			uint64_t iova = 0xffff000000000000 + parts[i].offset % PAGE;
			struct ibv_sge s = sge(&local.mem, 9, parts[i].length);
			struct mem region = { .addr = iova, .size = parts[i].length };
			struct ibv_send_wr wr;
			uint8_t around = 0xc3;

			ck_assert_int_eq(part_register(&remote, &pair.b, parts[i].offset,
						       parts[i].length, iova, ALL_ACCESS,
						       &region.mr),
					 0);
			ck_assert_uint_eq(region.mr->length, parts[i].length);
			place_fill(&remote, around);
			lab_pattern(local.mem.p, SIZE, i);
			wr = work(1, IBV_WR_RDMA_WRITE, &s, 1, &region, 0);
			done(&pair.a, &wr);
			ck_assert(place_has(&remote, parts[i].offset, local.mem.p + 9,
					    parts[i].length));
			if (parts[i].offset)
				ck_assert(place_has(&remote, parts[i].offset - 1, &around, 1));
			if (parts[i].offset + parts[i].length < SIZE)
				ck_assert(place_has(&remote, parts[i].offset + parts[i].length,
						    &around, 1));
			/* One byte further is outside the region. */
			wr = work(2, IBV_WR_RDMA_WRITE, &s, 1, &region, 1);
			fails(&pair.a, &wr, IBV_WC_REM_ACCESS_ERR);
			replace_qps(&pair.a, &pair.b);
			wr = work(3, IBV_WR_RDMA_WRITE, &s, 1, &region, 0);
			wr.wr.rdma.remote_addr--;
			fails(&pair.a, &wr, IBV_WC_REM_ACCESS_ERR);
			replace_qps(&pair.a, &pair.b);
			ck_assert(place_has(&remote, parts[i].offset, local.mem.p + 9,
					    parts[i].length));
			ck_assert_int_eq(ibv_dereg_mr(region.mr), 0);
		}
		place_close(&remote);
	}
	place_close(&local);
}
END_TEST

/* The stock kernel tests the full size. The debug kernel takes minutes to copy that much. */
static void large_between(enum kind from, enum kind to)
{
	const size_t size = lab_kernel_is("debug") ? 6 * MIB : 60 * MIB;
	struct place local, remote;

	place_make(&local, from, size, 0);
	place_make(&remote, to, size, 1);
	place_register(&local, &pair.a, ALL_ACCESS);
	place_register(&remote, &pair.b, ALL_ACCESS);
	moves(IBV_WR_RDMA_WRITE, &local, 0, &remote, 0, size, 1);
	moves(IBV_WR_RDMA_READ, &local, 3, &remote, 5, 5 * MIB, 1);
	place_close(&local);
	place_close(&remote);
}

START_TEST(large)
{
	large_between(HOST, BAR);
	large_between(PARTS, HOST);
	large_between(BAR, PARTS);
}
END_TEST

/* Exactly 64 MiB: a range of the BAR, all of it in one request. */
START_TEST(sixty_four_mebibytes)
{
	const size_t size = lab_kernel_is("debug") ? 4 * MIB : 64 * MIB;
	struct place local, remote;

	place_make(&local, HOST, size, 0);
	place_make(&remote, BAR, size, 1);
	place_register(&local, &pair.a, ALL_ACCESS);
	place_register(&remote, &pair.b, ALL_ACCESS);
	moves(IBV_WR_RDMA_WRITE, &local, 0, &remote, 0, size, 1);
	moves(IBV_WR_SEND, &local, 0, &remote, 0, size, 1);
	place_close(&local);
	place_close(&remote);
}
END_TEST

/* Datagrams, inline data and immediates with device memory. */
START_TEST(other_ways)
{
	struct end_options ud = { .type = IBV_QPT_UD };
	struct place source, target;
	struct ibv_sge from, to;
	struct ibv_send_wr wr;
	struct end x, y;
	struct ibv_ah *ah;
	uint8_t bytes[1024];

	end_open_beside(&x, &pair.a, &ud);
	end_open_beside(&y, &pair.b, &ud);
	end_connect(&x, NULL);
	end_connect(&y, NULL);
	place_make(&source, BAR, SIZE, 0);
	place_make(&target, PARTS, SIZE, 1);
	place_register(&source, &pair.a, ALL_ACCESS);
	place_register(&target, &pair.b, ALL_ACCESS);
	lab_pattern(bytes, sizeof(bytes), 1);
	place_write(&source, 5, bytes, sizeof(bytes));
	ah = end_handle(&pair.a, &pair.b.gid);
	from = sge(&source.mem, 5, 1000);
	/* The header and the message cross a boundary between ranges. */
	to = sge(&target.mem, PAGE - 20, 2000);
	wr = work(1, IBV_WR_SEND, &from, 1, NULL, 0);
	wr.wr.ud.ah = ah;
	wr.wr.ud.remote_qpn = y.qp->qp_num;
	wr.wr.ud.remote_qkey = QKEY;
	ck_assert_int_eq(post_receive(&y, 2, &to, 1), 0);
	done(&x, &wr);
	ck_assert_uint_eq(completes(&y, 2, IBV_WC_SUCCESS).byte_len, 1000 + GRH_BYTES);
	ck_assert(place_has(&target, PAGE - 20 + GRH_BYTES, bytes, 1000));
	ibv_destroy_ah(ah);
	end_close(&x);
	end_close(&y);

	from = (struct ibv_sge){ .addr = (uintptr_t)bytes, .length = 61 };
	wr = work(3, IBV_WR_RDMA_WRITE_WITH_IMM, &from, 1, &target.mem, 3);
	wr.send_flags |= IBV_SEND_INLINE;
	wr.imm_data = htonl(3);
	ck_assert_int_eq(post_receive(&pair.b, 4, NULL, 0), 0);
	done(&pair.a, &wr);
	ck_assert_uint_eq(completes(&pair.b, 4, IBV_WC_SUCCESS).imm_data, htonl(3));
	ck_assert(place_has(&target, 3, bytes, 61));
	place_close(&source);
	place_close(&target);
}
END_TEST

/* ---- access rights ---- */

START_TEST(rights)
{
	struct place local, remote;
	struct ibv_sge from, to;
	struct ibv_send_wr wr;
	uint8_t mark = 0x42;

	place_make(&local, HOST, SIZE, 0);
	place_register(&local, &pair.a, ALL_ACCESS);
	place_make(&remote, BAR, SIZE, 1);
	place_register(&remote, &pair.b, IBV_ACCESS_REMOTE_READ);
	place_write(&remote, 100, &mark, 1);
	from = sge(&local.mem, 0, 8);
	wr = work(1, IBV_WR_RDMA_READ, &from, 1, &remote.mem, 100);
	done(&pair.a, &wr);
	ck_assert_uint_eq(local.mem.p[0], 0x42);
	wr = work(2, IBV_WR_RDMA_WRITE, &from, 1, &remote.mem, 96);
	fails(&pair.a, &wr, IBV_WC_REM_ACCESS_ERR);
	replace_qps(&pair.a, &pair.b);
	wr = work(3, IBV_WR_ATOMIC_FETCH_AND_ADD, &from, 1, &remote.mem, 96);
	wr.wr.atomic.compare_add = UINT64_MAX;
	fails(&pair.a, &wr, IBV_WC_REM_ACCESS_ERR);
	replace_qps(&pair.a, &pair.b);
	to = sge(&remote.mem, 96, 8);
	wr = work(4, IBV_WR_SEND, &from, 1, NULL, 0);
	ck_assert_int_eq(post_receive(&pair.b, 5, &to, 1), 0);
	fails(&pair.a, &wr, IBV_WC_REM_OP_ERR);
	completes(&pair.b, 5, IBV_WC_LOC_PROT_ERR);
	ck_assert(place_has(&remote, 100, &mark, 1));
	place_close(&local);
	place_close(&remote);
}
END_TEST

/* ---- lifetimes ---- */

/* A region keeps the memory without the descriptor. Several regions of a buffer are independent. */
START_TEST(descriptor_closed)
{
	struct place local, remote;
	struct ibv_sge from;
	struct ibv_mr *other;
	struct ibv_send_wr wr;

	place_make(&local, HOST, SIZE, 0);
	place_register(&local, &pair.a, ALL_ACCESS);
	place_make(&remote, BAR, SIZE, 1);
	place_register(&remote, &pair.b, ALL_ACCESS);
	ck_assert_uint_eq(importers(remote.fd), 1);
	ck_assert_int_eq(part_register(&remote, &pair.b, PAGE, PAGE, 0, ALL_ACCESS, &other), 0);
	ck_assert_uint_eq(importers(remote.fd), 2);
	ck_assert_uint_ne(other->rkey, remote.mem.mr->rkey);
	ck_assert_int_eq(ibv_dereg_mr(other), 0);
	ck_assert_uint_eq(importers(remote.fd), 1);
	pb_buffer_close(remote.buffer);
	remote.buffer = NULL;
	remote.fd = -1;
	lab_pattern(local.mem.p, SIZE, 1);
	from = sge(&local.mem, 0, SIZE);
	wr = work(1, IBV_WR_RDMA_WRITE, &from, 1, &remote.mem, 0);
	done(&pair.a, &wr);
	ck_assert(place_has(&remote, 0, local.mem.p, SIZE));
	place_close(&remote);
	place_close(&local);
}
END_TEST

/* Another process has only the descriptor. Data written to its region must be in the BAR. */
START_TEST(another_process)
{
	struct offer {
		struct address address;
		uint64_t addr;
		uint32_t rkey;
	} mine = { 0 }, theirs;
	struct place remote, local;
	int sockets[2], child;
	struct ibv_send_wr wr;
	struct ibv_sge from;
	char byte = 0;

	place_make(&remote, BAR, SIZE, 0);
	ck_assert_int_eq(socketpair_cloexec(sockets), 0);
	child = fork();
	if (!child) {
		struct end end;
		int fd;

		close(sockets[0]);
		fd = receive_fd(sockets[1]);
		end_open(&end, NULL);
		remote.fd = fd;
		place_register(&remote, &end, ALL_ACCESS);
		mine = (struct offer){ end_address(&end), remote.mem.addr, remote.mem.mr->rkey };
		send_all(sockets[1], &mine, sizeof(mine));
		receive_all(sockets[1], &theirs, sizeof(theirs));
		end_connect(&end, &theirs.address);
		send_all(sockets[1], "r", 1);
		receive_all(sockets[1], &byte, 1);
		_exit(0);
	}
	close(sockets[1]);
	send_fd(sockets[0], remote.fd);
	place_make(&local, HOST, SIZE, 0);
	place_register(&local, &pair.a, ALL_ACCESS);
	receive_all(sockets[0], &theirs, sizeof(theirs));
	replace_qps(&pair.a, &pair.b);
	ck_assert_int_eq(end_to(&pair.a, IBV_QPS_RESET), 0);
	mine.address = end_address(&pair.a);
	send_all(sockets[0], &mine, sizeof(mine));
	end_connect(&pair.a, &theirs.address);
	receive_all(sockets[0], &byte, 1);
	lab_pattern(local.mem.p, SIZE, 5);
	from = sge(&local.mem, 0, SIZE);
	wr = work(1, IBV_WR_RDMA_WRITE, &from, 1, NULL, 0);
	wr.wr.rdma.remote_addr = theirs.addr;
	wr.wr.rdma.rkey = theirs.rkey;
	done(&pair.a, &wr);
	ck_assert(place_has(&remote, 0, local.mem.p, SIZE));
	/* Killing it releases its region. */
	ck_assert_uint_eq(importers(remote.fd), 1);
	kill(child, SIGKILL);
	ck_assert_int_eq(wait_for(child), 128 + SIGKILL);
	ck_assert_uint_eq(importers(remote.fd), 0);
	close(sockets[0]);
	place_close(&local);
	place_close(&remote);
}
END_TEST

START_TEST(many_regions)
{
	struct ibv_mr *mrs[300];
	struct place remote;
	unsigned int i;

	place_make(&remote, PARTS, SIZE, 1);
	for (i = 0; i < 300; i++)
		ck_assert_int_eq(part_register(&remote, &pair.b, i % 200 * PAGE + i, 5000, i,
					       ALL_ACCESS, &mrs[i]),
				 0);
	ck_assert_uint_eq(importers(remote.fd), 300);
	for (i = 0; i < 300; i++)
		ck_assert_int_eq(ibv_dereg_mr(mrs[(i * 7) % 300]), 0);
	ck_assert_uint_eq(importers(remote.fd), 0);
	place_close(&remote);
}
END_TEST

/* ---- refused registrations ---- */

static void not_registered(int fd, uint64_t offset, uint64_t length, uint64_t iova, int access,
			   int error)
{
	struct ibv_mr *mr;

	errno = 0;
	mr = ibv_reg_dmabuf_mr(pair.b.pd, offset, length, iova, fd, access);
	ck_assert_msg(!mr, "0x%llx bytes at 0x%llx of descriptor %d were registered",
		      (unsigned long long)length, (unsigned long long)offset, fd);
	ck_assert_msg(errno == error, "0x%llx bytes at 0x%llx of descriptor %d: %s, not %s",
		      (unsigned long long)length, (unsigned long long)offset, fd, strerror(errno),
		      strerror(error));
}

START_TEST(bad_arguments)
{
	struct place bar;
	int fd;

	place_make(&bar, BAR, SIZE, 0);
	not_registered(bar.fd, 0, 0, 0, ALL_ACCESS, EINVAL);
	not_registered(bar.fd, 0, SIZE + 1, 0, ALL_ACCESS, EINVAL);
	not_registered(bar.fd, SIZE, 1, 0, ALL_ACCESS, EINVAL);
	not_registered(bar.fd, 2 * PAGE, SIZE, 0, ALL_ACCESS, EINVAL);
	not_registered(bar.fd, PAGE, UINT64_MAX - PAGE + 1, 0, ALL_ACCESS, EINVAL);
	/* Another offset in the page than the buffer's. */
	not_registered(bar.fd, 1, PAGE, 2, ALL_ACCESS, EINVAL);
	/* Remote write access without local write access. */
	not_registered(bar.fd, 0, PAGE, 0, IBV_ACCESS_REMOTE_WRITE, EINVAL);
	not_registered(9999, 0, PAGE, 0, ALL_ACCESS, EBADF);
	fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	not_registered(fd, 0, PAGE, 0, ALL_ACCESS, EINVAL);
	close(fd);
	ck_assert_uint_eq(importers(bar.fd), 0);
	place_close(&bar);
}
END_TEST

/* It may move, and its exporter cannot pin it: only a region on demand can follow. */
START_TEST(unpinnable_refused)
{
	int exporter = test_exporter_open(), fd, log;
	struct ibv_mr *mr;

	fd = test_export_one(exporter, PEERBAR_TEST_SOURCE_DECLARED, PEERBAR_MODEL_DYNAMIC,
			     4 * PAGE);
	ck_assert_int_ge(fd, 0);
	log = log_open();
	not_registered(fd, 0, PAGE, 0, ALL_ACCESS, EOPNOTSUPP);
	ck_assert(log_has(log, "register it with IBV_ACCESS_ON_DEMAND"));
	/* No attachment is left: the buffer can move. */
	ck_assert_uint_eq(importers(fd), 0);
	ck_assert_int_eq(test_move(exporter, fd, PEERBAR_TEST_PLACE_THERE), PEERBAR_TEST_PLACE_B);
	mr = ibv_reg_dmabuf_mr(pair.b.pd, 0, PAGE, 0, fd, ALL_ACCESS | IBV_ACCESS_ON_DEMAND);
	ck_assert_msg(mr, "on demand: %s", strerror(errno));
	ck_assert_int_eq(ibv_dereg_mr(mr), 0);
	close(fd);
	close(exporter);
}
END_TEST

/* A buffer of unknown model, because it refuses all attachments. */
START_TEST(unknown_refused)
{
	int exporter = test_exporter_open(), fd;

	fd = test_export_one(exporter, PEERBAR_TEST_SOURCE_REFUSING, PEERBAR_MODEL_PINNED,
			     4 * PAGE);
	ck_assert_int_ge(fd, 0);
	not_registered(fd, 0, PAGE, 0, ALL_ACCESS, EOPNOTSUPP);
	ck_assert_uint_eq(importers(fd), 0);
	close(fd);
	close(exporter);
}
END_TEST

/* A revoked buffer, and one whose device is closed, cause the same errno on either driver. */
START_TEST(revoked_refused)
{
	static const char *const drivers[] = { "vfio-pci", "peerbar-vfio-pci" };
	struct pb_range range = { 0, 4 * PAGE };
	struct pb_device *device;
	struct pb_buffer *buffer;
	int fd, log;
#ifdef HAVE_VERBS
	struct pbv_mr *mr;
#endif

	ok(pb_pci_bind(lab_bdf(LAB_NVME_CMB), drivers[_i], &err));
	ok(pb_device_open(fixture.iommu, lab_bdf(LAB_NVME_CMB), &device, &err));
	ok(pb_device_set_decoding(device, true, &err));
	ok(pb_buffer_export(device, CMB_BAR, &range, 1, 0, &buffer, &err));
	fd = dup(pb_buffer_fd(buffer));
	ck_assert_int_ge(fd, 0);
	ok(pb_device_set_decoding(device, false, &err));
	log = log_open();
	not_registered(fd, 0, PAGE, 0, ALL_ACCESS, ENODEV);
	ck_assert(log_has(log, "it is revoked") || _i);
	ok(pb_device_set_decoding(device, true, &err));
	pb_buffer_close(buffer);
	pb_device_close(device);
	not_registered(fd, 0, PAGE, 0, ALL_ACCESS, ENODEV);
#ifdef HAVE_VERBS
	ok(pb_buffer_from_fd(fd, &buffer, &err));
	refused(pbv_reg_buffer(pair.b.pd, buffer, 0, PAGE, 0, IBV_ACCESS_LOCAL_WRITE, 0, &mr, &err),
		ENODEV, "revoked");
	pb_buffer_close(buffer);
#endif
	ck_assert_uint_eq(importers(fd), 0);
	close(fd);
}
END_TEST

/* The other sources of the test module, whose model is declared or derived. */
START_TEST(taken)
{
	static const struct {
		enum peerbar_test_source source;
		enum peerbar_model model;
	} table[] = {
		{ PEERBAR_TEST_SOURCE_FOREIGN, PEERBAR_MODEL_PINNED },
		{ PEERBAR_TEST_SOURCE_FOREIGN, PEERBAR_MODEL_REVOCABLE },
		{ PEERBAR_TEST_SOURCE_DECLARED, PEERBAR_MODEL_PINNED },
		{ PEERBAR_TEST_SOURCE_DECLARED, PEERBAR_MODEL_REVOCABLE },
	};
	int exporter = test_exporter_open(), vgem = export_vgem(4 * PAGE), fd;
	struct place local;
	unsigned int i;

	place_make(&local, HOST, SIZE, 0);
	place_register(&local, &pair.a, ALL_ACCESS);
	for (i = 0; i <= 4; i++) {
		struct ibv_sge from = sge(&local.mem, 0, 3 * PAGE);
		struct mem region = { .addr = 0x10 };
		struct ibv_send_wr wr;
		static uint8_t seen[3 * PAGE_MOST];

		fd = i < 4 ? test_export_one(exporter, table[i].source, table[i].model, 4 * PAGE) :
			     vgem;
		region.mr = ibv_reg_dmabuf_mr(pair.b.pd, 0x10, 3 * PAGE, 0x10, fd, ALL_ACCESS);
		ck_assert_msg(region.mr, "case %u: %s", i, strerror(errno));
		lab_pattern(local.mem.p, SIZE, i);
		wr = work(1, IBV_WR_RDMA_WRITE, &from, 1, &region, 0);
		done(&pair.a, &wr);
		if (i < 4) {
			ck_assert_int_eq(test_read(exporter, fd, PEERBAR_TEST_PLACE_HERE, 0x10,
						   seen, 3 * PAGE),
					 0);
			ck_assert_mem_eq(seen, local.mem.p, 3 * PAGE);
		}
		ck_assert_int_eq(ibv_dereg_mr(region.mr), 0);
		ck_assert_uint_eq(importers(fd), 0);
		close(fd);
	}
	place_close(&local);
	close(exporter);
}
END_TEST

LAB_SUITE("rdma-memory", 0)
{
	TCase *t = rdma_case(s, "ours", 300, memory_up, memory_down);

	tcase_add_loop_test(t, every_verb, HOST, NR_KINDS);
	tcase_add_test(t, range_boundaries);
	tcase_add_test(t, parts_of_a_buffer);
	tcase_add_test(t, large);
	tcase_add_test(t, sixty_four_mebibytes);
	tcase_add_test(t, other_ways);
	tcase_add_test(t, rights);
	tcase_add_test(t, descriptor_closed);
	tcase_add_test(t, another_process);
	tcase_add_test(t, many_regions);
	tcase_add_test(t, bad_arguments);
	tcase_add_test(t, unpinnable_refused);
	tcase_add_test(t, unknown_refused);
	tcase_add_loop_test(t, revoked_refused, 0, 2);
	tcase_add_test(t, taken);
	t = rdma_case(s, "stock", 300, stock_up, stock_down);
	tcase_add_loop_test(t, every_verb_of_stock, HOST, CMB);
	tcase_add_test(t, several_ranges_of_stock);
}
