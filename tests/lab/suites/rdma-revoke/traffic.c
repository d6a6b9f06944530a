// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Memory is revoked while regions of it are used and registered. */
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "modules.h"
#include "revoke-fixture.h"

#define WRITERS 2

/*
 * Threads that write to random regions all the time, with increasing bytes. After an error they
 * continue with new queue pairs. They must not change revoked memory.
 */
struct writer {
	pthread_t thread;
	struct end from, to;
	bool xrc;
	struct mem source;
	struct mem *targets;
	unsigned int nr_targets;
	size_t length;
	enum ibv_wr_opcode opcode;
	bool *stop;
	unsigned int *written, *refused;
	unsigned int rng;
	enum ibv_wc_status strange; /* an unexpected status */
};

static void open_writer(struct end *from, const struct writer *w)
{
	struct end_options options = { .type = w->xrc ? IBV_QPT_XRC_SEND : IBV_QPT_RC };

	if (w->from.ctx)
		end_open_beside(from, &w->from, &options);
	else
		end_open(from, &options);
}

/* The responder is in the regions' domain, and has a completion queue of its own. */
static void open_written(struct end *to, const struct writer *w)
{
	struct end_options options = { .type = w->xrc ? IBV_QPT_XRC_RECV : IBV_QPT_RC };

	end_open_beside(to, &w->to, &options);
}

/* All but the objects that it shares. */
static void close_written(struct writer *w)
{
	struct end to = w->to;

	to.borrowed = true;
	end_close(&to);
}

static void renew(struct writer *w)
{
	struct end from, to;

	open_writer(&from, w);
	open_written(&to, w);
	ck_assert_int_eq(ibv_destroy_qp(w->from.qp), 0);
	close_written(w);
	from.borrowed = to.borrowed = false;
	w->from = from;
	w->to = to;
	forget_completions(&w->from);
	forget_completions(&w->to);
	ends_connect(&w->from, &w->to);
}

static void *writes(void *arg)
{
	struct writer *w = arg;
	uint8_t byte = 0;

	while (!__atomic_load_n(w->stop, __ATOMIC_SEQ_CST)) {
		struct mem *target = &w->targets[rand_r(&w->rng) % w->nr_targets];
		struct ibv_sge s = sge(&w->source, 0, w->length), d = sge(target, 0, w->length);
		struct ibv_send_wr wr = work(1, w->opcode, &s, 1,
					     w->opcode == IBV_WR_SEND ? NULL : target, 0);
		struct ibv_wc wc;

		memset(w->source.p, ++byte, w->length);
		if (w->opcode == IBV_WR_SEND)
			ck_assert_int_eq(post_receive(&w->to, 2, &d, 1), 0);
		ck_assert_int_eq(post(&w->from, &wr), 0);
		wc = completion(&w->from);
		if (wc.status == IBV_WC_SUCCESS) {
			if (w->opcode == IBV_WR_SEND)
				wc = completion(&w->to);
			__atomic_fetch_add(w->written, 1, __ATOMIC_SEQ_CST);
		} else if (wc.status ==
			   (w->opcode == IBV_WR_SEND ? IBV_WC_REM_OP_ERR : IBV_WC_REM_ACCESS_ERR)) {
			if (w->opcode == IBV_WR_SEND)
				wc = completion(&w->to);
			if (w->opcode == IBV_WR_SEND && wc.status != IBV_WC_LOC_PROT_ERR)
				w->strange = wc.status;
			__atomic_fetch_add(w->refused, 1, __ATOMIC_SEQ_CST);
			renew(w);
		} else {
			w->strange = wc.status;
			break;
		}
	}
	return NULL;
}

static bool reaches(unsigned int *counter, unsigned int value)
{
	uint64_t until = now_ms() + 60000;

	while (__atomic_load_n(counter, __ATOMIC_SEQ_CST) < value && now_ms() < until)
		usleep(1000);
	return __atomic_load_n(counter, __ATOMIC_SEQ_CST) >= value;
}

/* Revoke @n regions of @nr_buffers buffers while two threads write to them with @opcode. */
static void during(enum how how, unsigned int n, unsigned int nr_buffers, enum ibv_wr_opcode opcode,
		   bool xrc)
{
	struct place *places = calloc(nr_buffers, sizeof(*places));
	struct mem *targets = calloc(n, sizeof(*targets));
	unsigned int written = 0, refused = 0, i, round;
	struct writer writers[WRITERS];
	uint8_t *seen = malloc(SIZE);
	/* A hundred regions overlap, and together are the whole buffer. */
	const size_t size = n == 1 ? SIZE : SIZE / 4, starts = (SIZE - size) / PAGE;
	/*
	 * Each round takes two seconds, with a hundred regions ten on the debug kernel, which finds
	 * mistakes of the kernel in one round.
	 */
	const unsigned int rounds = lab_kernel_is("debug") ? 1 : n == 1 ? 3 : 2;

	if (!can(how))
		return;
	ck_assert(places && targets && seen);
	for (round = 0; round < rounds; round++) {
		bool stop = false;

		written = refused = 0;
		for (i = 0; i < nr_buffers; i++) {
			struct pb_range range = { AT(1) + i * MIB, SIZE };

			places[i] = (struct place){ .kind = BAR,
						    .fd = -1,
						    .exporter = -1,
						    .nr_ranges = 1,
						    .mem.size = SIZE };
			places[i].ranges[0] = range;
			places[i].buffer = export_ranges(&range, 1);
			places[i].fd = pb_buffer_fd(places[i].buffer);
		}
		for (i = 0; i < n; i++) {
			struct place *p = &places[i % nr_buffers];

			targets[i].addr = 0;
			targets[i].size = size;
			ck_assert_int_eq(part_register(p, &pair.b,
						       n == 1 ? 0 : i / nr_buffers % starts * PAGE,
						       size, 0, ALL_ACCESS, &targets[i].mr),
					 0);
		}
		for (i = 0; i < WRITERS; i++) {
			struct end none = { 0 };

			writers[i] = (struct writer){ .from = none,
						      .targets = targets,
						      .nr_targets = n,
						      .xrc = xrc,
						      .length = size - 100 * i,
						      .opcode = opcode,
						      .stop = &stop,
						      .written = &written,
						      .refused = &refused,
						      .rng = round * 10 + i };
			open_writer(&writers[i].from, &writers[i]);
			writers[i].source = mem_new(&writers[i].from, size, ALL_ACCESS);
			writers[i].to = pair.b;
			writers[i].to.cq = ibv_create_cq(pair.b.ctx, 64, NULL, NULL, 0);
			open_written(&writers[i].to, &writers[i]);
			ends_connect(&writers[i].from, &writers[i].to);
			ck_assert_int_eq(pthread_create(&writers[i].thread, NULL, writes,
							&writers[i]),
					 0);
		}
		ck_assert_msg(reaches(&written, 10), "nothing was written");
		usleep(round * 3700);
		for (i = 0; i < nr_buffers; i++) {
			take_away(&places[i], how);
			if (how != KILL)
				break;
		}
		if (is_reset(how)) {
			/*
			 * The memory is accessible again, but not through regions that were
			 * revoked.
			 */
			ck_assert(decodes(fixture.gpu));
		}
		/* From now on no write may reach the memory. */
		for (i = 0; i < nr_buffers && i < 2; i++) {
			unsigned int k;

			place_read(&places[i], 0, seen, SIZE);
			for (k = 0; k < 2; k++) {
				usleep(20000);
				ck_assert_msg(place_has(&places[i], 0, seen, SIZE),
					      "%s: bytes of buffer %u changed after it had returned",
					      how_names[how], i);
			}
		}
		i = __atomic_load_n(&written, __ATOMIC_SEQ_CST);
		/* Requests in flight at the revoke may complete after it. */
		ck_assert_msg(reaches(&refused, 2 * WRITERS + 2), "the writers are not refused");
		ck_assert_uint_le(__atomic_load_n(&written, __ATOMIC_SEQ_CST), i + WRITERS);
		stop = true;
		for (i = 0; i < WRITERS; i++) {
			pthread_join(writers[i].thread, NULL);
			ck_assert_msg(writers[i].strange == IBV_WC_SUCCESS,
				      "a writer was told '%s'",
				      ibv_wc_status_str(writers[i].strange));
			mem_free(&writers[i].source);
			end_close(&writers[i].from);
			close_written(&writers[i]);
			ck_assert_int_eq(ibv_destroy_cq(writers[i].to.cq), 0);
		}
		give_back(how);
		for (i = 0; i < n; i++)
			ck_assert_int_eq(ibv_dereg_mr(targets[i].mr), 0);
		for (i = 0; i < nr_buffers; i++) {
			ck_assert_uint_eq(importers(places[i].fd), 0);
			places[i].mem.mr = NULL;
			place_close(&places[i]);
		}
	}
	free(places);
	free(targets);
	free(seen);
}

START_TEST(during_traffic)
{
	during((enum how)_i, 1, 1, IBV_WR_RDMA_WRITE, false);
	during((enum how)_i, 1, 1, IBV_WR_SEND, false);
}
END_TEST

/* The regions are of the domain of an XRC queue, and the target of none. */
START_TEST(during_xrc_traffic)
{
	during((enum how)_i, 1, 1, IBV_WR_RDMA_WRITE, true);
	during((enum how)_i, 1, 1, IBV_WR_SEND, true);
}
END_TEST

START_TEST(during_traffic_of_100_regions)
{
	during((enum how)_i, 100, 1, IBV_WR_RDMA_WRITE, false);
	during((enum how)_i, 100, 20, IBV_WR_RDMA_WRITE, false);
}
END_TEST

/* Local use: reads into the BAR and writes from it end with a protection error. */
START_TEST(during_local_use)
{
	static const enum ibv_wr_opcode opcodes[] = { IBV_WR_RDMA_WRITE, IBV_WR_RDMA_READ };
	unsigned int i, n, round;
	struct place place;
	struct ibv_wc wc;

	for (round = 0; round < 4; round++) {
		pid_t child;

		place_make(&place, BAR, SIZE, 1);
		place_register(&place, &pair.b, ALL_ACCESS);
		/* Another process revokes through its copy of the device's descriptor. */
		child = fork();
		if (!child) {
			usleep(30000 + round * 11000);
			_exit(feature_revoke(fixture.gpu, place.fd) ? 1 : 0);
		}
		for (n = 0, i = round % 2;; n++) {
			struct ibv_sge s = sge(&place.mem, 0, SIZE);
			struct ibv_send_wr wr = work(n, opcodes[i], &s, 1, &host.mem, 0);

			ck_assert_int_eq(post(&pair.b, &wr), 0);
			wc = completion(&pair.b);
			if (wc.status != IBV_WC_SUCCESS)
				break;
			ck_assert_uint_lt(n, 1000000);
		}
		ck_assert_msg(wc.status == IBV_WC_LOC_PROT_ERR, "'%s'",
			      ibv_wc_status_str(wc.status));
		ck_assert_int_eq(wait_for(child), 0);
		in_error(&pair.b);
		replace_qps(&pair.a, &pair.b);
		place_close(&place);
	}
}
END_TEST

/* Register and deregister while the memory is revoked and restored. */
static void *registers(void *arg)
{
	struct place *place = ((void **)arg)[0];
	bool *stop = ((void **)arg)[1];

	while (!__atomic_load_n(stop, __ATOMIC_SEQ_CST)) {
		struct ibv_mr *mr = ibv_reg_dmabuf_mr(pair.b.pd, 0, SIZE, 0, place->fd, ALL_ACCESS);

		if (mr && ibv_dereg_mr(mr))
			return arg;
		if (!mr && errno != ENODEV)
			return arg;
	}
	return NULL;
}

START_TEST(while_registering)
{
	struct place place;
	pthread_t threads[2];
	bool stop = false;
	void *args[2] = { &place, &stop }, *failed[2];
	int i;

	place_make(&place, BAR, SIZE, 1);
	for (i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, registers, args), 0);
	for (i = 0; i < 50; i++) {
		ok(pb_device_set_decoding(fixture.gpu, false, &err));
		usleep(1000);
		ok(pb_device_set_decoding(fixture.gpu, true, &err));
		usleep(3000);
	}
	take_away(&place, KILL);
	usleep(10000);
	stop = true;
	for (i = 0; i < 2; i++)
		pthread_join(threads[i], &failed[i]);
	ck_assert(!failed[0] && !failed[1]);
	ck_assert_uint_eq(importers(place.fd), 0);
	place_close(&place);
}
END_TEST

/* ---- test cases ---- */

LAB_SUITE_PART("rdma-revoke")
{
	TCase *t = rdma_case(s, "ours", 300, revoke_up, revoke_down);

	tcase_add_loop_test(t, during_traffic, 0, NR_HOW);
	tcase_add_loop_test(t, during_traffic_of_100_regions, 0, NR_HOW);
	tcase_add_test(t, during_local_use);
	tcase_add_test(t, while_registering);
	t = rdma_case(s, "stock", 300, stock_up, stock_down);
	tcase_add_loop_test(t, during_traffic, DECODING, NR_HOW);
	t = rdma_case(s, "xrc", 300, revoke_up, revoke_down);
	tcase_add_loop_test(t, during_xrc_traffic, 0, RESET);
}
