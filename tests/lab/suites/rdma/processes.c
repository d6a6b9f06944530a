// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Several processes: a peer that is killed, and a soak of all operations at once. */
#include <stdlib.h>
#include <unistd.h>

#include "modules.h"
#include "rdma-fixture.h"

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
		ck_assert_msg(wc.status == IBV_WC_RETRY_EXC_ERR ||
				      wc.status == IBV_WC_REM_ACCESS_ERR,
			      "'%s'", ibv_wc_status_str(wc.status));
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
#define SOAK_QPS      64
#define SLOT	      (64 * KIB)
#define SOAK_MESSAGES 8
#define SOAK_MESSAGE  2048
#define SOAK_COUNTER  (SLOT - 8)

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
	static const enum ibv_wr_opcode opcodes[] = { IBV_WR_SEND, IBV_WR_RDMA_WRITE,
						      IBV_WR_ATOMIC_FETCH_AND_ADD };
	enum ibv_wr_opcode opcode = opcodes[dice(s, 3)];
	uint32_t max = opcode == IBV_WR_SEND ? SOAK_MESSAGE : 16000;

	s->op[q].offset = dice(s, opcode == IBV_WR_SEND ? 1 : 8000);
	s->op[q].length = dice(s, 4) ? dice(s, 256) : dice(s, max);
	if (opcode == IBV_WR_SEND)
		lab_pattern(s->scratch.p + q * SLOT, s->op[q].length,
			    q << 20 | (s->sent[q]++ & 0xfffff));
	else
		lab_pattern(s->scratch.p + q * SLOT + s->op[q].offset, s->op[q].length,
			    (uint32_t)s->rng);
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
	ck_assert_msg(wc.status == IBV_WC_SUCCESS, "request %llu: '%s'",
		      (unsigned long long)wc.wr_id, ibv_wc_status_str(wc.status));
	s->done++;
	if (wc.wr_id >= 1000) {
		q = (unsigned int)(wc.wr_id - 1000) / SOAK_MESSAGES;
		slot = (unsigned int)(wc.wr_id - 1000) % SOAK_MESSAGES;
		lab_pattern(expect, wc.byte_len, q << 20 | (s->received[q]++ & 0xfffff));
		ck_assert_msg(!memcmp(s->mine.p + q * SLOT + SLOT / 2 + slot * SOAK_MESSAGE, expect,
				      wc.byte_len),
			      "message %u of queue pair %u, of %u bytes, is not what was sent",
			      s->received[q] - 1, q, wc.byte_len);
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
		ck_assert_msg(!memcmp(s->scratch.p + q * SLOT + SLOT / 2,
				      s->scratch.p + q * SLOT + s->op[q].offset, s->op[q].length),
			      "queue pair %u does not read what it wrote, %u bytes", q,
			      s->op[q].length);
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
	send_all(sock, s->sent, sizeof(s->sent));
	receive_all(sock, theirs, sizeof(theirs));
	for (q = 0; q < SOAK_QPS; q++)
		while (s->received[q] != theirs[q]) {
			soak_poll(s);
			ck_assert_msg(now_ms() < until + 120000,
				      "queue pair %u received %u of %u messages", q, s->received[q],
				      theirs[q]);
		}
	send_all(sock, s->added, sizeof(s->added));
	receive_all(sock, theirs, sizeof(theirs));
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

/* ---- test cases ---- */

LAB_SUITE_PART("rdma")
{
	TCase *t = rdma_case(s, "processes", 120, NULL, NULL);

	tcase_add_test(t, killed_while_it_writes);
	tcase_add_test(t, killed_while_written_to);
	tcase_add_test(t, two_processes_64_queue_pairs);
}
