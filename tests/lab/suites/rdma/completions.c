// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Completion queues, their events, and shared receive queues, of RC and UC. */
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "rdma-fixture.h"

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

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program)) {
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

/* ---- test cases ---- */

static void add_completions(TCase *t)
{
	tcase_add_test(t, completion_events);
	tcase_add_test(t, completion_without_a_system_call);
	tcase_add_test(t, completion_queue_overflow);
	tcase_add_test(t, completion_queue_resized);
	tcase_add_test(t, shared_receives);
	tcase_add_test(t, shared_receive_limit);
	tcase_add_test(t, shared_receives_survive);
}

LAB_SUITE_PART("rdma")
{
	add_completions(rdma_case(s, "rc", 120, rc_up, pair_down));
	add_completions(rdma_case(s, "uc", 120, uc_up, pair_down));
}
