// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Data movement: the order in which data becomes visible, the size of the chunks, and
 * interruption.
 */
#include <arpa/inet.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "memory-kinds.h"
#include "modules.h"
#include "verbs.h"

static bool stop;

static void data_up(void)
{
	context_up();
	stop = false;
}

static void data_down(void)
{
	context_down();
}

static void order_up(void)
{
	modules_up();
	places_up();
	stop = false;
}

static void order_down(void)
{
	places_down();
	modules_down();
}

static bool stopped(void)
{
	return __atomic_load_n(&stop, __ATOMIC_SEQ_CST);
}

/*
 * ---- order: when the last byte is visible, all are, and an aligned word is visible at once ----
 */

struct poller {
	volatile uint8_t *p; /* of @length bytes, which all get the same value */
	size_t length;
	unsigned long seen, early, torn;
};

static void *polls(void *arg)
{
	struct poller *poller = arg;
	size_t last = poller->length - 1, i;
	uint8_t was = 0, now;

	while (!stopped()) {
		now = __atomic_load_n(&poller->p[last], __ATOMIC_ACQUIRE);
		if (now == was)
			continue;
		poller->seen++;
		/* Bytes of the next message may be visible already, but none of an earlier one. */
		for (i = 0; i < last; i += 8) {
			uint64_t value;

			if ((uintptr_t)&poller->p[i] & 7) {
				if ((uint8_t)(poller->p[i] - now) >= 128) {
					poller->early += poller->p[last] == now;
					break;
				}
				continue;
			}
			if (i + 8 > poller->length)
				break;
			value = __atomic_load_n((volatile uint64_t *)&poller->p[i],
						__ATOMIC_RELAXED);
			if ((uint8_t)(value - now) >= 128) {
				/* Ignore it if 128 messages came while this thread slept. */
				poller->early += poller->p[last] == now;
				break;
			}
			if (value != (value & 0xff) * 0x0101010101010101) {
				poller->torn++;
				break;
			}
		}
		was = now;
	}
	return NULL;
}

/* Offsets at which memcpy() copied upwards, and at which it copied downwards. */
static const struct {
	size_t from, to, length;
} order[] = {
	{ 0, 128, 256 },      { 64, 0, 1024 }, { 3, 128, 256 }, { 128, 64, 8 },
	{ 4096 - 4, 64, 64 }, { 0, 4, 4 },     { 1, 0, 4096 },
};

static void in_order_at(struct place *to, struct place *from, enum ibv_wr_opcode opcode,
			unsigned int n)
{
	struct end *end = opcode == IBV_WR_RDMA_READ ? &pair.b : &pair.a;
	struct poller poller = { to->mem.p + order[n].to, order[n].length, 0, 0, 0 };
	uint64_t until = now_ms() + (to->kind == HOST && from->kind == HOST ? 1200 : 400);
	pthread_t thread;
	uint8_t value = 0;

	stop = false;
	lab_fill(to->mem.p, 0, 3 * PAGE);
	ck_assert_int_eq(pthread_create(&thread, NULL, polls, &poller), 0);
	/* On a busy host the poller may sleep for all of that time. */
	while (now_ms() < until ||
	       (__atomic_load_n(&poller.seen, __ATOMIC_RELAXED) <= 10 &&
		now_ms() < until + 10000)) {
		struct ibv_sge local = sge(opcode == IBV_WR_RDMA_READ ? &to->mem : &from->mem,
					   opcode == IBV_WR_RDMA_READ ? order[n].to : order[n].from,
					   order[n].length);
		struct ibv_send_wr wr = work(1, opcode, &local, 1,
					     opcode == IBV_WR_RDMA_READ ? &from->mem : &to->mem,
					     opcode == IBV_WR_RDMA_READ ? order[n].from :
									  order[n].to);

		lab_fill(from->mem.p + order[n].from, ++value, order[n].length);
		done(end, &wr);
	}
	stop = true;
	pthread_join(thread, NULL);
	ck_assert_msg(!poller.early && !poller.torn,
		      "%zu bytes from offset %zu to %zu, opcode %d: of %lu that were seen by their last byte, %lu were not there, "
		      "and of %lu a word was in parts",
		      order[n].length, order[n].from, order[n].to, opcode, poller.seen,
		      poller.early, poller.torn);
	ck_assert_msg(poller.seen > 10, "%lu were seen", poller.seen);
}

START_TEST(last_byte_is_last)
{
	static const struct {
		enum kind from, to;
	} between[] = {
		{ HOST, HOST },
		{ HOST, BAR },
		{ BAR, HOST },
		{ BAR, BAR },
	};
	unsigned int n = (unsigned int)_i % 7, where = (unsigned int)_i / 7;
	struct place from, to;

	end_open(&pair.a, NULL);
	end_open(&pair.b, NULL);
	ends_connect(&pair.a, &pair.b);
	place_make(&from, between[where].from, MIB, 0);
	place_make(&to, between[where].to, MIB, 1);
	place_register(&from, &pair.a, ALL_ACCESS);
	place_register(&to, &pair.b, ALL_ACCESS);
	if (from.kind == BAR)
		ok(pb_buffer_mmap(from.buffer, 0, MIB, true, (void **)&from.mem.p, &err));
	if (to.kind == BAR)
		ok(pb_buffer_mmap(to.buffer, 0, MIB, true, (void **)&to.mem.p, &err));
	in_order_at(&to, &from, IBV_WR_RDMA_WRITE, n);
	in_order_at(&to, &from, IBV_WR_RDMA_READ, n);
	place_close(&from);
	place_close(&to);
	end_close(&pair.a);
	end_close(&pair.b);
}
END_TEST

/* ---- chunks: a large message resumes, and delays neither signals nor its queue pair's end ---- */

#define PARTS 6
#define PART  (32 * MIB)

static struct mem source, target;
static struct ibv_sge parts[PARTS];
static volatile sig_atomic_t signals;

static void count_signal(int number)
{
	(void)number;
	signals++;
}

/* A message of 192 MiB, from the same memory several times. */
static struct ibv_send_wr large_up(enum ibv_wr_opcode opcode)
{
	unsigned int i;

	end_open(&pair.a, NULL);
	end_open(&pair.b, NULL);
	ends_connect(&pair.a, &pair.b);
	source = mem_new(&pair.a, PART, ALL_ACCESS);
	target = mem_new(&pair.b, (size_t)PARTS * PART, ALL_ACCESS);
	lab_pattern(source.p, PART, 1);
	for (i = 0; i < PARTS; i++)
		parts[i] = sge(&source, 0, PART);
	return work(1, opcode, parts, PARTS, opcode == IBV_WR_SEND ? NULL : &target, 0);
}

static void large_down(void)
{
	mem_free(&source);
	mem_free(&target);
	end_close(&pair.a);
	end_close(&pair.b);
}

static void large_arrived(void)
{
	unsigned int i;

	for (i = 0; i < PARTS; i++)
		ck_assert_msg(!memcmp(target.p + (size_t)i * PART, source.p, PART),
			      "part %u did not arrive", i);
}

START_TEST(signals_during_a_large_message)
{
	static const enum ibv_wr_opcode opcodes[] = { IBV_WR_RDMA_WRITE, IBV_WR_SEND,
						      IBV_WR_RDMA_WRITE_WITH_IMM };
	/* A signal that restarts the call, and one that interrupts it. */
	struct sigaction action = { .sa_handler = count_signal,
				    .sa_flags = _i % 2 ? SA_RESTART : 0 };
	struct itimerval often = { { 0, 4000 }, { 0, 4000 } },
			 never = {
				 { 0, 0 },
				 { 0, 0 },
			 };
	enum ibv_wr_opcode opcode = opcodes[_i / 2];
	struct ibv_send_wr wr = large_up(opcode);
	struct ibv_sge to = sge(&target, 0, target.size);
	int before, during;

	if (opcode != IBV_WR_RDMA_WRITE)
		ck_assert_int_eq(post_receive(&pair.b, 2, &to, 1), 0);
	ck_assert_int_eq(sigaction(SIGALRM, &action, NULL), 0);
	ck_assert_int_eq(setitimer(ITIMER_REAL, &often, NULL), 0);
	before = signals;
	ck_assert_int_eq(post(&pair.a, &wr), 0);
	during = signals - before;
	ck_assert_int_eq(setitimer(ITIMER_REAL, &never, NULL), 0);
	completes(&pair.a, 1, IBV_WC_SUCCESS);
	if (opcode != IBV_WR_RDMA_WRITE)
		completes(&pair.b, 2, IBV_WC_SUCCESS);
	large_arrived();
	nothing_completes(&pair.a);
	nothing_completes(&pair.b);
	/* One signal is always handled at the end of the call. */
	ck_assert_msg(during >= 3, "%d signals were handled while %zu bytes were sent", during,
		      target.size);
	large_down();
}
END_TEST

static void *posts_large(void *arg)
{
	struct ibv_send_wr *bad;

	ibv_post_send(pair.a.qp, arg, &bad);
	return NULL;
}

START_TEST(destroyed_during_a_large_message)
{
	struct ibv_send_wr wr = large_up(IBV_WR_RDMA_WRITE);
	pthread_t thread;
	int ret;

	ck_assert_int_eq(pthread_create(&thread, NULL, posts_large, &wr), 0);
	while (!__atomic_load_n(&target.p[100], __ATOMIC_SEQ_CST) &&
	       !__atomic_load_n(&target.p[200], __ATOMIC_SEQ_CST))
		sched_yield();
	ret = ibv_destroy_qp(pair.a.qp);
	ck_assert_msg(!ret, "a queue pair that sends cannot be destroyed: %s", strerror(ret));
	pthread_join(thread, NULL);
	ck_assert_msg(memcmp(target.p + (size_t)(PARTS - 1) * PART, source.p, PART),
		      "the message was sent to its end first");
	pair.a.qp = NULL;
	large_down();
}
END_TEST

/*
 * If a UC message is stopped in the middle, the receiver gets no completion, and its queue pair
 * does not get the rest after a reset.
 */
START_TEST(uc_revoked_during_a_message)
{
	unsigned int i, stopped_in_middle = 0;
	struct ibv_send_wr wr;
	uint64_t begun, whole;

	ends_have_type(IBV_QPT_UC);
	wr = large_up(IBV_WR_RDMA_WRITE_WITH_IMM);
	ck_assert_int_eq(post_receive(&pair.b, 2, NULL, 0), 0);
	begun = now_ms();
	done(&pair.a, &wr);
	whole = now_ms() - begun;
	completes(&pair.b, 2, IBV_WC_SUCCESS);
	for (i = 0; i < 8; i++) {
		struct ibv_wc wc;
		pthread_t thread;

		memset(target.p, 0, target.size);
		ck_assert_int_eq(post_receive(&pair.b, 3, NULL, 0), 0);
		ck_assert_int_eq(pthread_create(&thread, NULL, posts_large, &wr), 0);
		usleep((useconds_t)(whole * 1000 * (i + 1) / 10));
		ck_assert_int_eq(ibv_dereg_mr(target.mr), 0);
		pthread_join(thread, NULL);
		completes(&pair.a, 1, IBV_WC_SUCCESS);
		usleep(10000);
		if (ibv_poll_cq(pair.b.cq, 1, &wc)) {
			ck_assert_int_eq(wc.status, IBV_WC_SUCCESS);
			large_arrived();
		} else {
			stopped_in_middle += target.p[100] || target.p[200];
			replace_qps(&pair.a, &pair.b);
		}
		target.mr = ibv_reg_mr(pair.b.pd, target.p, target.size, ALL_ACCESS);
		ck_assert_ptr_nonnull(target.mr);
		wr.wr.rdma.rkey = target.mr->rkey;
	}
	ck_assert_msg(stopped_in_middle, "none of them was stopped in the middle");
	large_down();
}
END_TEST

/* ---- shared receive queues: a request that fails at the requester consumes no receive ---- */

START_TEST(shared_receive_is_left_to_others)
{
	struct end_options shared = { .srq = 8 }, on = { 0 };
	struct ibv_send_wr wr;
	struct end p, q;
	struct ibv_sge s;
	struct mem from;

	end_open(&pair.a, &shared);
	on.shared = pair.a.srq;
	end_open_beside(&p, &pair.a, &on);
	end_open(&pair.b, NULL);
	end_open_beside(&q, &pair.b, NULL);
	ends_connect(&pair.a, &pair.b);
	q.rnr_retries = 1;
	ends_connect(&p, &q);
	from = mem_new(&pair.b, PAGE, IBV_ACCESS_LOCAL_WRITE);
	ck_assert_int_eq(post_receive(&pair.a, 7, NULL, 0), 0);
	s = sge(&from, 0, 64);
	s.lkey ^= 0xff00;
	wr = work(1, IBV_WR_SEND, &s, 1, NULL, 0);
	fails(&pair.b, &wr, IBV_WC_LOC_PROT_ERR);
	/* The only receive is left for the other queue pair. */
	wr = work(2, IBV_WR_SEND, NULL, 0, NULL, 0);
	done(&q, &wr);
	ck_assert_uint_eq(completes(&p, 7, IBV_WC_SUCCESS).byte_len, 0);
	mem_free(&from);
	end_close(&q);
	end_close(&p);
	end_close(&pair.a);
	end_close(&pair.b);
}
END_TEST

/* ---- draining ---- */

START_TEST(drained_when_what_waits_is_done)
{
	struct ibv_qp_attr attr = { .qp_state = IBV_QPS_SQD, .en_sqd_async_notify = 1 };
	struct ibv_send_wr wr = work(1, IBV_WR_SEND, NULL, 0, NULL, 0),
			   second = work(2, IBV_WR_SEND, NULL, 0, NULL, 0);
	struct ibv_qp_init_attr init;

	end_open(&pair.a, NULL);
	end_open(&pair.b, NULL);
	ends_connect(&pair.a, &pair.b);
	/* The first waits for a receive, the second has not begun. */
	ck_assert_int_eq(post(&pair.a, &wr), 0);
	ck_assert_int_eq(post(&pair.a, &second), 0);
	ck_assert_int_eq(ibv_modify_qp(pair.a.qp, &attr, IBV_QP_STATE | IBV_QP_EN_SQD_ASYNC_NOTIFY),
			 0);
	ck_assert(!event_waits(&pair.a, IBV_EVENT_SQ_DRAINED, 100));
	ck_assert_int_eq(ibv_query_qp(pair.a.qp, &attr, IBV_QP_STATE, &init), 0);
	ck_assert_int_eq(attr.qp_state, IBV_QPS_SQD);
	ck_assert_int_eq(attr.sq_draining, 1);
	ck_assert_int_eq(post_receive(&pair.b, 11, NULL, 0), 0);
	ck_assert_int_eq(post_receive(&pair.b, 12, NULL, 0), 0);
	completes(&pair.a, 1, IBV_WC_SUCCESS);
	completes(&pair.b, 11, IBV_WC_SUCCESS);
	event_comes(&pair.a, IBV_EVENT_SQ_DRAINED);
	nothing_completes(&pair.a);
	ck_assert_int_eq(ibv_query_qp(pair.a.qp, &attr, IBV_QP_STATE, &init), 0);
	ck_assert_int_eq(attr.sq_draining, 0);
	ck_assert_int_eq(end_to(&pair.a, IBV_QPS_RTS), 0);
	completes(&pair.a, 2, IBV_WC_SUCCESS);
	completes(&pair.b, 12, IBV_WC_SUCCESS);
	end_close(&pair.a);
	end_close(&pair.b);
}
END_TEST

START_TEST(no_alternate_path)
{
	struct ibv_qp_attr attr = { .qp_state = IBV_QPS_RTS,
				    .alt_port_num = 1,
				    .path_mig_state = IBV_MIG_REARM };
	int ret;

	end_open(&pair.a, NULL);
	end_open(&pair.b, NULL);
	ends_connect(&pair.a, &pair.b);
	attr.alt_ah_attr = (struct ibv_ah_attr){
		.is_global = 1,
		.port_num = 1,
		.grh = { .dgid = pair.b.gid,
			 .hop_limit = 64,
			 .sgid_index = (uint8_t)pair.a.gid_index },
	};
	/* The core rejects an alternate path on Ethernet, and the driver migration to one. */
	ret = ibv_modify_qp(pair.a.qp, &attr, IBV_QP_STATE | IBV_QP_ALT_PATH);
	ck_assert_msg(ret == EINVAL, "%s", strerror(ret));
	ret = ibv_modify_qp(pair.a.qp, &attr, IBV_QP_STATE | IBV_QP_PATH_MIG_STATE);
	ck_assert_msg(ret == EOPNOTSUPP, "%s", strerror(ret));
	ck_assert_int_eq(end_state(&pair.a), IBV_QPS_RTS);
	end_close(&pair.a);
	end_close(&pair.b);
}
END_TEST

START_TEST(mtu_of_the_network_device)
{
	static const struct {
		int mtu;
		enum ibv_mtu active;
	} table[] = {
		{ 9000, IBV_MTU_4096 },
		{ 2500, IBV_MTU_2048 },
		{ 700, IBV_MTU_512 },
		{ 1500, IBV_MTU_1024 },
	};
	struct ibv_port_attr port;
	char netdev[64];
	unsigned int i;

	nic_name(0, netdev, sizeof(netdev));
	end_open(&pair.a, NULL);
	for (i = 0; i < 4; i++) {
		ck_assert_int_eq(shell("ip link set %s mtu %d", netdev, table[i].mtu), 0);
		ck_assert_int_eq(ibv_query_port(pair.a.ctx, 1, &port), 0);
		if (port.active_mtu != table[i].active)
			shell("ip link set %s mtu 1500", netdev);
		ck_assert_int_eq(port.active_mtu, table[i].active);
		ck_assert_int_eq(port.max_mtu, IBV_MTU_4096);
	}
	end_close(&pair.a);
}
END_TEST

/* ---- multicast ---- */

static const union ibv_gid group = {
	.raw = { 0xff, 0x0e, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 239, 77, 0, 1 },
};

#define MEMBERS 600

static void *sends_to_group(void *arg)
{
	struct ibv_send_wr *bad;

	while (!stopped()) {
		if (ibv_post_send(pair.a.qp, arg, &bad))
			return NULL;
		/* Deregistering the source ends it. */
		if (completion(&pair.a).status != IBV_WC_SUCCESS)
			break;
	}
	return arg;
}

START_TEST(revoke_waits_for_one_member)
{
	struct end_options ud = { .type = IBV_QPT_UD, .depth = 1, .cqe = 64 };
	struct end *members = calloc(MEMBERS, sizeof(*members));
	uint64_t begun, whole;
	struct ibv_sge from, to;
	struct ibv_send_wr wr;
	struct ibv_ah *ah;
	struct mem mem, there;
	unsigned int i, k, in_middle = 0;

	ck_assert_ptr_nonnull(members);
	end_open(&pair.a, &ud);
	end_connect(&pair.a, NULL);
	ud.cqe = 4 * MEMBERS;
	end_open(&pair.b, &ud);
	there = mem_new(&pair.b, MEMBERS * 2048, ALL_ACCESS);
	for (i = 0; i < MEMBERS; i++) {
		end_open_beside(&members[i], &pair.b, &ud);
		end_connect(&members[i], NULL);
		ck_assert_int_eq(ibv_attach_mcast(members[i].qp, &group, 0), 0);
	}
	mem = mem_new(&pair.a, PAGE, ALL_ACCESS);
	lab_pattern(mem.p, PAGE, 1);
	ah = end_handle(&pair.a, &group);
	from = sge(&mem, 0, 1024);
	wr = work(1, IBV_WR_SEND, &from, 1, NULL, 0);
	wr.wr.ud.ah = ah;
	wr.wr.ud.remote_qpn = 0xffffff;
	wr.wr.ud.remote_qkey = QKEY;
	/* All members receive it once. */
	for (i = 0; i < MEMBERS; i++) {
		to = sge(&there, i * 2048, 2048);
		ck_assert_int_eq(post_receive(&members[i], i, &to, 1), 0);
	}
	begun = now_ms();
	done(&pair.a, &wr);
	whole = now_ms() - begun + 1;
	for (i = 0; i < MEMBERS; i++) {
		struct ibv_wc wc = completion(&pair.b);

		ck_assert_int_eq(wc.status, IBV_WC_SUCCESS);
		ck_assert(!memcmp(there.p + wc.wr_id * 2048 + GRH_BYTES, mem.p, 1024));
	}
	nothing_completes(&pair.b);
	/*
	 * A deregistration stops it in the middle: some members receive it, and the others do not.
	 */
	for (k = 0; k < 12; k++) {
		pthread_t thread;
		unsigned int got = 0;
		struct ibv_wc wc;
		void *went;

		for (i = 0; i < MEMBERS; i++) {
			to = sge(&there, i * 2048, 2048);
			ck_assert_int_eq(post_receive(&members[i], i, &to, 1), 0);
		}
		ck_assert_int_eq(pthread_create(&thread, NULL, sends_to_group, &wr), 0);
		usleep((useconds_t)(whole * 1000 * (k + 1) / 12));
		ck_assert_int_eq(ibv_dereg_mr(mem.mr), 0);
		pthread_join(thread, &went);
		ck_assert_ptr_nonnull(went);
		mem.mr = ibv_reg_mr(pair.a.pd, mem.p, PAGE, ALL_ACCESS);
		ck_assert_ptr_nonnull(mem.mr);
		from.lkey = mem.mr->lkey;
		while (ibv_poll_cq(pair.b.cq, 1, &wc) > 0)
			got++;
		in_middle += got && got < MEMBERS;
		/* Reset the members, and discard completions and receives. */
		for (i = 0; i < MEMBERS; i++) {
			ck_assert_int_eq(end_to(&members[i], IBV_QPS_RESET), 0);
			end_connect(&members[i], NULL);
		}
		forget_completions(&pair.b);
		ck_assert_int_eq(end_to(&pair.a, IBV_QPS_RESET), 0);
		end_connect(&pair.a, NULL);
		forget_completions(&pair.a);
	}
	ck_assert_msg(in_middle,
		      "every deregistration waited for the whole group, which takes %llu ms",
		      (unsigned long long)whole);
	for (i = 0; i < MEMBERS; i++) {
		ck_assert_int_eq(ibv_detach_mcast(members[i].qp, &group, 0), 0);
		end_close(&members[i]);
	}
	ibv_destroy_ah(ah);
	mem_free(&mem);
	mem_free(&there);
	end_close(&pair.a);
	end_close(&pair.b);
	free(members);
}
END_TEST

/* The kernel compares a new membership with all others of its queue pair: use many. */
#define MEMBERSHIPS_EACH 256

START_TEST(memberships_are_bounded)
{
	struct end_options ud = { .type = IBV_QPT_UD };
	struct end members[33] = { 0 };
	struct ibv_device_attr dev;
	union ibv_gid gid = group;
	unsigned int i, n, ends;
	int ret = 0;

	end_open(&pair.a, &ud);
	ck_assert_int_eq(ibv_query_device(pair.a.ctx, &dev), 0);
	ends = (unsigned int)dev.max_total_mcast_qp_attach / MEMBERSHIPS_EACH + 1;
	ck_assert_uint_le(ends, 33);
	for (i = 0; i < ends; i++) {
		end_open_beside(&members[i], &pair.a, &ud);
		end_connect(&members[i], NULL);
	}
	for (n = 0; n < ends * MEMBERSHIPS_EACH; n++) {
		gid.raw[14] = (uint8_t)(n >> 8);
		gid.raw[15] = (uint8_t)n;
		ret = ibv_attach_mcast(members[n / MEMBERSHIPS_EACH].qp, &gid, 0);
		if (ret)
			break;
	}
	ck_assert_msg(ret == ENOMEM, "after %u memberships: %s", n, strerror(ret));
	ck_assert_int_eq((int)n, dev.max_total_mcast_qp_attach);
	/* Other processes still get some. */
	end_open(&pair.b, &ud);
	ck_assert_int_eq(ibv_attach_mcast(pair.b.qp, &gid, 0), 0);
	ck_assert_int_eq(ibv_detach_mcast(pair.b.qp, &gid, 0), 0);
	end_close(&pair.b);
	/* Detach makes room for another membership, and fails if there is none. */
	gid.raw[14] = gid.raw[15] = 0;
	ck_assert_int_eq(ibv_detach_mcast(members[0].qp, &gid, 0), 0);
	ck_assert_int_ne(ibv_detach_mcast(members[0].qp, &gid, 0), 0);
	ck_assert_int_eq(ibv_attach_mcast(members[0].qp, &gid, 0), 0);
	for (i = 0; i < n; i++) {
		gid.raw[14] = (uint8_t)(i >> 8);
		gid.raw[15] = (uint8_t)i;
		ck_assert_int_eq(ibv_detach_mcast(members[i / MEMBERSHIPS_EACH].qp, &gid, 0), 0);
	}
	for (i = 0; i < ends; i++)
		end_close(&members[i]);
	end_close(&pair.a);
}
END_TEST

/* ---- other network namespaces ---- */

/*
 * A device in another namespace is reachable only if the network leads there. A multicast group
 * ends at the namespace.
 */
START_TEST(other_namespace)
{
	struct end_options ud = { .type = IBV_QPT_UD },
			   ud_second = { .type = IBV_QPT_UD, .device = "pb1" };
	int i, pipes[2], child, status;
	char netdev[64], first[64], byte;
	struct address there;
	struct ibv_send_wr wr;
	struct ibv_sge from;
	struct ibv_ah *ah;
	struct mem mem;

	nic_name(1, netdev, sizeof(netdev));
	nic_name(0, first, sizeof(first));
	ck_assert_int_eq(shell("ip netns add lab && ip link set %s netns lab && ip -n lab addr add " OTHER_HOST_IP
			       "/24 dev %s && "
			       "ip -n lab link set %s up && ip -n lab link set lo up",
			       netdev, netdev, netdev),
			 0);
	ck_assert_int_eq(shell("ip netns exec lab rdma link add pb1 type peerbar netdev %s",
			       netdev),
			 0);
	ck_assert_int_eq(pipe(pipes), 0);
	end_open(&pair.a, NULL);
	there = end_address(&pair.a);
	ck_assert_int_eq(inet_pton(AF_INET, OTHER_HOST_IP, there.gid.raw + 12), 1);
	/* Another host answers for the address, as if the container were on another network. */
	ck_assert_int_eq(shell("ip neigh replace " OTHER_HOST_IP " lladdr 02:00:00:00:00:99 dev %s",
			       first),
			 0);
	pair.a.timeout = 10;
	pair.a.retries = 2;
	end_connect(&pair.a, &there);
	wr = work(1, IBV_WR_SEND, NULL, 0, NULL, 0);
	/* The container, which has a queue pair with any number, does not get it. */
	fails(&pair.a, &wr, IBV_WC_RETRY_EXC_ERR);
	ck_assert_int_eq(end_to(&pair.a, IBV_QPS_RESET), 0);
	ck_assert_int_eq(end_to_init(&pair.a), 0);
	ck_assert_int_eq(shell("ip neigh replace " OTHER_HOST_IP " lladdr " NIC1_MAC " dev %s",
			       first),
			 0);
	ck_assert_int_eq(end_to_rtr(&pair.a, &there), 0);
	ck_assert_int_eq(shell("ip neigh del " OTHER_HOST_IP " dev %s", first), 0);
	end_close(&pair.a);
	/* A member there does not receive messages that are sent here. */
	child = fork();
	if (!child) {
		struct ibv_wc wc;

		enter_netns();
		for (i = 0; i < 100 &&
		     system("grep -qi ffff:0a4d:0002 /sys/class/infiniband/pb1/ports/1/gids/*");
		     i++)
			usleep(100000);
		end_open(&pair.b, &ud_second);
		end_connect(&pair.b, NULL);
		mem = mem_new(&pair.b, PAGE, ALL_ACCESS);
		from = sge(&mem, 0, PAGE);
		if (post_receive(&pair.b, 1, &from, 1) || ibv_attach_mcast(pair.b.qp, &group, 0))
			_exit(2);
		send_all(pipes[1], "r", 1);
		usleep(1000000);
		_exit(ibv_poll_cq(pair.b.cq, 1, &wc) ? 3 : 0);
	}
	receive_all(pipes[0], &byte, 1);
	end_open(&pair.a, &ud);
	end_connect(&pair.a, NULL);
	mem = mem_new(&pair.a, PAGE, ALL_ACCESS);
	ah = end_handle(&pair.a, &group);
	from = sge(&mem, 0, 64);
	wr = work(1, IBV_WR_SEND, &from, 1, NULL, 0);
	wr.wr.ud.ah = ah;
	wr.wr.ud.remote_qpn = 0xffffff;
	wr.wr.ud.remote_qkey = QKEY;
	done(&pair.a, &wr);
	status = wait_for(child);
	ck_assert_msg(!status, "the member of the other namespace %s",
		      status == 3 ? "heard it" : "could not be made");
	ibv_destroy_ah(ah);
	mem_free(&mem);
	end_close(&pair.a);
	close(pipes[0]);
	close(pipes[1]);
	ck_assert_int_eq(rdma_link_del("pb1"), 0);
	ck_assert_int_eq(shell("ip netns del lab"), 0);
	for (i = 0; i < 100 && access("/sys/class/net/eth1", F_OK); i++)
		usleep(100000);
	rdma_nic_up(1);
}
END_TEST

/* ---- the suite ---- */

LAB_SUITE("rdma-data", SUITE_NOT_ON_DEBUG)
{
	TCase *t = rdma_case(s, "order", 120, order_up, order_down);

	tcase_add_loop_test(t, last_byte_is_last, 0, 4 * 7);
	t = rdma_case(s, "others", 180, data_up, data_down);
	tcase_add_loop_test(t, signals_during_a_large_message, 0, 6);
	tcase_add_test(t, destroyed_during_a_large_message);
	tcase_add_test(t, uc_revoked_during_a_message);
	tcase_add_test(t, shared_receive_is_left_to_others);
	tcase_add_test(t, drained_when_what_waits_is_done);
	tcase_add_test(t, no_alternate_path);
	tcase_add_test(t, mtu_of_the_network_device);
	tcase_add_test(t, revoke_waits_for_one_member);
	tcase_add_test(t, memberships_are_bounded);
	tcase_add_test(t, other_namespace);
}
