// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Regions of device memory whose memory is revoked: before, during and after use, temporarily or
 * permanently, by revoking a buffer, the device, its owner or the NIC.
 */
#include <dlfcn.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hotplug.h"
#include "memory-kinds.h"
#include "modules.h"
#include "testmod.h"

#define SIZE MIB
/* The offset in the GPU's BAR, by slot. */
#define AT(slot) (64 * MIB * (slot))

static struct pair pair;
static struct place host; /* memory of the process, registered in both ends' domains */
static struct mem host_b;

/* ---- ways to revoke ---- */

enum how { KILL, DECODING, RESET, RESET_BY_SYSFS, NR_HOW };

static const char *const how_names[NR_HOW] = { "revoked for good", "memory decoding off", "reset", "reset by sysfs" };

static bool is_reset(enum how how)
{
	return how == RESET || how == RESET_BY_SYSFS;
}

/*
 * A reset is not possible everywhere. Stock vfio-pci has no permanent revoke, and does not revoke
 * buffers at a reset that it did not start.
 */
static bool can(enum how how)
{
	return !(is_reset(how) && lab_has_no_reset()) &&
	       !((how == KILL || how == RESET_BY_SYSFS) && !lab_driver_is_ours());
}

static void take_away(struct place *place, enum how how)
{
	if (how == KILL)
		ok(pb_buffer_revoke(gpu, place->buffer, &err));
	else if (how == DECODING)
		ok(pb_device_set_decoding(gpu, false, &err));
	else if (how == RESET)
		ok(pb_device_reset(gpu, &err));
	else
		lab_reset_by_sysfs(LAB_GPU);
}

static void give_back(enum how how)
{
	if (how != KILL)
		ok(pb_device_set_decoding(gpu, true, &err));
}

/* ---- the fixture ---- */

static void ends_up(void)
{
	places_up();
	end_open(&pair.a, NULL);
	end_open(&pair.b, NULL);
	ends_connect(&pair.a, &pair.b);
	place_make(&host, HOST, SIZE, 0);
	place_register(&host, &pair.a, ALL_ACCESS);
	host_b = mem_new(&pair.b, SIZE, ALL_ACCESS);
}

static void ends_down(void)
{
	mem_free(&host_b);
	place_close(&host);
	end_close(&pair.a);
	end_close(&pair.b);
	places_down();
}

static void revoke_up(void)
{
	ours_up();
	ends_up();
}

static void revoke_down(void)
{
	ends_down();
	ours_down();
}

static void stock_up(void)
{
	module_load("peerbar");
	setenv("LAB_DRIVER", "vfio-pci", 1);
	bench_up();
	ends_up();
}

static void stock_down(void)
{
	ends_down();
	bench_down();
}

static void in_error(struct end *end)
{
	struct ibv_send_wr wr = work(0xf1, IBV_WR_SEND, NULL, 0, NULL, 0);

	end_state_is(end, IBV_QPS_ERR);
	ck_assert_int_eq(post(end, &wr), 0);
	completes(end, 0xf1, IBV_WC_WR_FLUSH_ERR);
}

/* ---- errors of a dead region ---- */

/*
 * @place is a region of pair.b's: remote requests fail with a remote access error, and both ends enter
 * the error state.
 */
static void remote_is_dead(struct place *place)
{
	static const enum ibv_wr_opcode opcodes[] = { IBV_WR_RDMA_WRITE, IBV_WR_RDMA_READ, IBV_WR_ATOMIC_FETCH_AND_ADD };
	struct ibv_sge s = sge(&host.mem, 0, 8);
	unsigned int i;

	for (i = 0; i < 3; i++) {
		struct ibv_send_wr wr = work(i, opcodes[i], &s, 1, &place->mem, 64);

		fails(&pair.a, &wr, IBV_WC_REM_ACCESS_ERR);
		in_error(&pair.a);
		event_comes(&pair.b, IBV_EVENT_QP_ACCESS_ERR);
		in_error(&pair.b);
		ends_anew(&pair.a, &pair.b);
	}
}

/* Local requests with the region fail with a protection error. */
static void local_is_dead(struct place *place)
{
	static const enum ibv_wr_opcode opcodes[] = { IBV_WR_RDMA_WRITE, IBV_WR_RDMA_READ, IBV_WR_ATOMIC_FETCH_AND_ADD,
						      IBV_WR_SEND };
	struct ibv_sge s = sge(&place->mem, 0, 8), to = { .addr = (uintptr_t)host.mem.p, .length = 8, .lkey = host.mem.mr->lkey };
	struct ibv_send_wr wr;
	unsigned int i;

	for (i = 0; i < 4; i++) {
		wr = work(i, opcodes[i], &s, 1, i < 3 ? &host.mem : NULL, 64);
		if (i == 3)
			ck_assert_int_eq(post_receive(&pair.a, 9, &to, 1), 0);
		fails(&pair.b, &wr, IBV_WC_LOC_PROT_ERR);
		in_error(&pair.b);
		ends_anew(&pair.a, &pair.b);
	}
	/* A message for a receive in this memory. */
	wr = work(5, IBV_WR_SEND, &to, 1, NULL, 0);
	ck_assert_int_eq(post_receive(&pair.b, 6, &s, 1), 0);
	fails(&pair.a, &wr, IBV_WC_REM_OP_ERR);
	completes(&pair.b, 6, IBV_WC_LOC_PROT_ERR);
	in_error(&pair.a);
	in_error(&pair.b);
	ends_anew(&pair.a, &pair.b);
}

static void works(struct place *place, uint32_t seed)
{
	struct ibv_sge s = sge(&host.mem, 1, 10000);
	struct ibv_send_wr wr = work(seed, IBV_WR_RDMA_WRITE, &s, 1, &place->mem, 4095);

	lab_pattern(host.mem.p, SIZE, seed);
	done(&pair.a, &wr);
	ck_assert(place_has(place, 4095, host.mem.p + 1, 10000));
}

static void becomes_dead(enum kind kind, enum how how)
{
	struct place place, fresh;
	uint8_t *before = malloc(SIZE);
	struct ibv_mr *mr;
	uint32_t key;
	int error;

	if (!can(how))
		return;
	ck_assert_ptr_nonnull(before);
	place_make(&place, kind, SIZE, 1);
	place_register(&place, &pair.b, ALL_ACCESS);
	key = place.mem.mr->rkey;
	works(&place, 1);
	place_read(&place, 0, before, SIZE);
	take_away(&place, how);
	remote_is_dead(&place);
	local_is_dead(&place);
	/* No byte may change, in the host's view. */
	ck_assert_msg(place_has(&place, 0, before, SIZE), "%s: bytes changed afterwards", how_names[how]);
	if (!is_reset(how)) {
		/* Nor can the memory be registered again. */
		error = part_register(&place, &pair.b, 0, SIZE, place.mem.addr, ALL_ACCESS, &mr);
		ck_assert_msg(error, "%s: it can be registered all the same", how_names[how]);
	}
	/* Revoking again is harmless. */
	take_away(&place, how);
	give_back(how);
	/* The old region stays dead. A new one works if there is memory again. */
	remote_is_dead(&place);
	ck_assert(place_has(&place, 0, before, SIZE));
	if (how == KILL) {
		ck_assert_int_eq(part_register(&place, &pair.b, 0, SIZE, place.mem.addr, ALL_ACCESS, &mr), ENODEV);
		place_make(&fresh, kind, SIZE, 1);
	} else {
		fresh = place;
	}
	place_register(&fresh, &pair.b, ALL_ACCESS);
	ck_assert_uint_ne(fresh.mem.mr->rkey, key);
	works(&fresh, 2);
	remote_is_dead(&place);
	ck_assert_int_eq(ibv_dereg_mr(place.mem.mr), 0);
	place.mem.mr = NULL;
	works(&fresh, 3);
	/* No attachment may be left. */
	ck_assert_int_eq(ibv_dereg_mr(fresh.mem.mr), 0);
	fresh.mem.mr = NULL;
	ck_assert_uint_eq(importers(fresh.fd), 0);
	ck_assert_uint_eq(importers(place.fd), 0);
	place_close(&fresh);
	if (how == KILL)
		place_close(&place);
	free(before);
}

START_TEST(before_traffic)
{
	becomes_dead(BAR, (enum how)_i);
	/* The stock driver's cannot be mapped at all, see several_ranges_of_stock. */
	if (lab_driver_is_ours())
		becomes_dead(PARTS, (enum how)_i);
}
END_TEST

/* Memory of a module that is no VFIO driver. The module reads the bytes. */
START_TEST(of_another_exporter)
{
	struct place place;
	uint8_t *before = malloc(SIZE);
	struct ibv_mr *mr;
	int i;

	for (i = 0; i < 2; i++) {
		place_make(&place, REVOCABLE, SIZE, 0);
		place_register(&place, &pair.b, ALL_ACCESS);
		works(&place, 1);
		place_read(&place, 0, before, SIZE);
		ck_assert_int_eq(i ? test_kill(place.exporter, place.fd) : test_revoke(place.exporter, place.fd), 0);
		remote_is_dead(&place);
		local_is_dead(&place);
		ck_assert(place_has(&place, 0, before, SIZE));
		if (!i)
			ck_assert_int_eq(test_restore(place.exporter, place.fd), 0);
		remote_is_dead(&place);
		ck_assert_int_eq(ibv_dereg_mr(place.mem.mr), 0);
		place.mem.mr = NULL;
		if (i) {
			ck_assert_int_eq(part_register(&place, &pair.b, 0, SIZE, 0, ALL_ACCESS, &mr), ENODEV);
		} else {
			place_register(&place, &pair.b, ALL_ACCESS);
			works(&place, 2);
		}
		place_close(&place);
	}
	free(before);
}
END_TEST

/* A dead region's key is not reused until it is deregistered. */
START_TEST(key_stays_taken)
{
	struct place place;
	struct ibv_mr *mrs[600];
	uint32_t key;
	int i;

	place_make(&place, BAR, SIZE, 1);
	place_register(&place, &pair.b, ALL_ACCESS);
	key = place.mem.mr->rkey;
	take_away(&place, KILL);
	for (i = 0; i < 600; i++) {
		mrs[i] = ibv_reg_mr(pair.b.pd, host_b.p, SIZE, ALL_ACCESS);
		ck_assert_ptr_nonnull(mrs[i]);
		ck_assert_msg(mrs[i]->rkey >> 8 != key >> 8, "the key 0x%x of a revoked region is given to another, as 0x%x", key,
			      mrs[i]->rkey);
	}
	remote_is_dead(&place);
	for (i = 0; i < 600; i++)
		ck_assert_int_eq(ibv_dereg_mr(mrs[i]), 0);
	place_close(&place);
}
END_TEST

/* Neither a buffer beside it nor a region deregistered before is affected. */
START_TEST(only_that_one)
{
	struct place place, beside;
	struct ibv_mr *gone;

	place_make(&place, BAR, SIZE, 0);
	place_make(&beside, BAR, SIZE, 1);
	place_register(&place, &pair.b, ALL_ACCESS);
	place_register(&beside, &pair.b, ALL_ACCESS);
	ck_assert_int_eq(part_register(&place, &pair.b, 0, PAGE, 0, ALL_ACCESS, &gone), 0);
	ck_assert_int_eq(ibv_dereg_mr(gone), 0);
	take_away(&place, KILL);
	works(&beside, 1);
	remote_is_dead(&place);
	works(&beside, 2);
	place_close(&place);
	place_close(&beside);
}
END_TEST

START_TEST(device_closed)
{
	struct place place;
	struct ibv_mr *mr;

	place_make(&place, BAR, SIZE, 1);
	place_register(&place, &pair.b, ALL_ACCESS);
	works(&place, 1);
	pb_device_close(gpu);
	gpu = NULL;
	places_down();
	remote_is_dead(&place);
	local_is_dead(&place);
	ck_assert_int_eq(part_register(&place, &pair.b, 0, SIZE, 0, ALL_ACCESS, &mr), ENODEV);
	place_close(&place);
	gpu = lab_open(iommu, LAB_GPU);
	ok(pb_device_set_decoding(gpu, true, &err));
	places_up();
	place_make(&place, BAR, SIZE, 1);
	place_register(&place, &pair.b, ALL_ACCESS);
	works(&place, 2);
	place_close(&place);
}
END_TEST

/* ---- during use ---- */

#define WRITERS 2

/*
 * Threads that write to random regions all the time, with increasing bytes. After an error they
 * continue with new queue pairs. They must not change revoked memory.
 */
struct writer {
	pthread_t thread;
	struct end from, to;
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

static void renew(struct writer *w)
{
	struct end from, to;

	end_open_beside(&from, &w->from, NULL);
	end_open_beside(&to, &w->to, NULL);
	ck_assert_int_eq(ibv_destroy_qp(w->from.qp) | ibv_destroy_qp(w->to.qp), 0);
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
		struct ibv_send_wr wr = work(1, w->opcode, &s, 1, w->opcode == IBV_WR_SEND ? NULL : target, 0);
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
		} else if (wc.status == (w->opcode == IBV_WR_SEND ? IBV_WC_REM_OP_ERR : IBV_WC_REM_ACCESS_ERR)) {
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
static void during(enum how how, unsigned int n, unsigned int nr_buffers, enum ibv_wr_opcode opcode)
{
	struct place *places = calloc(nr_buffers, sizeof(*places));
	struct mem *targets = calloc(n, sizeof(*targets));
	unsigned int written = 0, refused = 0, i, round;
	struct writer writers[WRITERS];
	uint8_t *seen = malloc(SIZE);
	const size_t size = n == 1 ? SIZE : 256 * KIB;

	if (!can(how))
		return;
	ck_assert(places && targets && seen);
	/*
	 * With a hundred regions a third round tests nothing new, and takes ten seconds on the
	 * debug kernel.
	 */
	for (round = 0; round < (n == 1 ? 3 : 2); round++) {
		bool stop = false;

		written = refused = 0;
		for (i = 0; i < nr_buffers; i++) {
			struct pb_range range = { AT(1) + i * MIB, SIZE };

			places[i] = (struct place){ .kind = BAR, .fd = -1, .exporter = -1, .nr_ranges = 1, .mem.size = SIZE };
			places[i].ranges[0] = range;
			places[i].buffer = export_ranges(&range, 1);
			places[i].fd = pb_buffer_fd(places[i].buffer);
		}
		for (i = 0; i < n; i++) {
			struct place *p = &places[i % nr_buffers];

			targets[i].addr = 0;
			targets[i].size = size;
			ck_assert_int_eq(part_register(p, &pair.b, n == 1 ? 0 : i / nr_buffers % 192 * PAGE, size, 0, ALL_ACCESS,
						       &targets[i].mr),
					 0);
		}
		for (i = 0; i < WRITERS; i++) {
			struct end none = { 0 };

			writers[i] = (struct writer){ .from = none,
						      .targets = targets,
						      .nr_targets = n,
						      .length = size - 100 * i,
						      .opcode = opcode,
						      .stop = &stop,
						      .written = &written,
						      .refused = &refused,
						      .rng = round * 10 + i };
			end_open(&writers[i].from, NULL);
			writers[i].source = mem_new(&writers[i].from, size, ALL_ACCESS);
			/*
			 * The responder is in the regions' domain, and has a completion queue of
			 * its own.
			 */
			writers[i].to = pair.b;
			writers[i].to.cq = ibv_create_cq(pair.b.ctx, 64, NULL, NULL, 0);
			end_open_beside(&writers[i].to, &writers[i].to, NULL);
			ends_connect(&writers[i].from, &writers[i].to);
			ck_assert_int_eq(pthread_create(&writers[i].thread, NULL, writes, &writers[i]), 0);
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
			ck_assert(decodes(gpu));
		}
		/* From now on no write may reach the memory. */
		for (i = 0; i < nr_buffers && i < 2; i++) {
			unsigned int k;

			/*
			 * Reading a MiB from the host takes up to a second while the writers run.
			 */
			place_read(&places[i], 0, seen, SIZE);
			for (k = 0; k < 2; k++) {
				usleep(20000);
				ck_assert_msg(place_has(&places[i], 0, seen, SIZE),
					      "%s: bytes of buffer %u changed after it had returned", how_names[how], i);
			}
		}
		i = __atomic_load_n(&written, __ATOMIC_SEQ_CST);
		/* Requests in flight at the revoke may complete after it. */
		ck_assert_msg(reaches(&refused, 2 * WRITERS + 2), "the writers are not refused");
		ck_assert_uint_le(__atomic_load_n(&written, __ATOMIC_SEQ_CST), i + WRITERS);
		stop = true;
		for (i = 0; i < WRITERS; i++) {
			pthread_join(writers[i].thread, NULL);
			ck_assert_msg(writers[i].strange == IBV_WC_SUCCESS, "a writer was told '%s'",
				      ibv_wc_status_str(writers[i].strange));
			mem_free(&writers[i].source);
			end_close(&writers[i].from);
			ck_assert_int_eq(ibv_destroy_qp(writers[i].to.qp), 0);
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
	during((enum how)_i, 1, 1, IBV_WR_RDMA_WRITE);
	during((enum how)_i, 1, 1, IBV_WR_SEND);
}
END_TEST

START_TEST(during_traffic_of_100_regions)
{
	during((enum how)_i, 100, 1, IBV_WR_RDMA_WRITE);
	during((enum how)_i, 100, 20, IBV_WR_RDMA_WRITE);
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
			_exit(feature_revoke(gpu, place.fd) ? 1 : 0);
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
		ck_assert_msg(wc.status == IBV_WC_LOC_PROT_ERR, "'%s'", ibv_wc_status_str(wc.status));
		ck_assert_int_eq(wait_for(child), 0);
		in_error(&pair.b);
		ends_anew(&pair.a, &pair.b);
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
		ok(pb_device_set_decoding(gpu, false, &err));
		usleep(1000);
		ok(pb_device_set_decoding(gpu, true, &err));
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

/* ---- notification ---- */

struct told {
	void *library;
	int (*fd)(struct ibv_context *ctx);
	int (*next)(struct ibv_context *ctx, uint32_t *lkey);
};

static void told_up(struct told *told)
{
	/* The library that libibverbs has loaded for the device. */
	told->library = dlopen("libpeerbar-rdma.so.1", RTLD_NOW);
	ck_assert_msg(told->library, "%s", dlerror());
	told->fd = (int (*)(struct ibv_context *))(uintptr_t)dlsym(told->library, "peerbardv_revocation_fd");
	told->next = (int (*)(struct ibv_context *, uint32_t *))(uintptr_t)dlsym(told->library, "peerbardv_next_revoked");
	ck_assert(told->fd && told->next);
}

static bool readable(int fd, int milliseconds)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, milliseconds) == 1;
}

START_TEST(told_of_revocation)
{
	struct place place, beside;
	struct ibv_mr *more[5];
	bool seen[6] = { false };
	struct told told;
	uint32_t lkey;
	int fd, i, k;

	told_up(&told);
	fd = told.fd(pair.b.ctx);
	ck_assert_int_ge(fd, 0);
	place_make(&place, BAR, SIZE, 0);
	place_make(&beside, BAR, SIZE, 1);
	place_register(&place, &pair.b, ALL_ACCESS);
	place_register(&beside, &pair.b, ALL_ACCESS);
	for (i = 0; i < 5; i++)
		ck_assert_int_eq(part_register(&place, &pair.b, 0, PAGE, 0, ALL_ACCESS, &more[i]), 0);
	ck_assert(!readable(fd, 0));
	ck_assert_int_eq(told.next(pair.b.ctx, &lkey), 0);
	take_away(&place, KILL);
	/* All its regions, and no others, are reported before the revoke returns. */
	ck_assert(readable(fd, 0));
	for (i = 0; i < 6; i++) {
		ck_assert_int_eq(told.next(pair.b.ctx, &lkey), 1);
		for (k = 0; k < 6; k++) {
			if (lkey == (k < 5 ? more[k]->lkey : place.mem.mr->lkey)) {
				ck_assert(!seen[k]);
				seen[k] = true;
				break;
			}
		}
		ck_assert_msg(k < 6, "a region was told of that was not revoked");
	}
	ck_assert_int_eq(told.next(pair.b.ctx, &lkey), 0);
	ck_assert(!readable(fd, 0));
	/* The other context has no report. */
	ck_assert(!readable(told.fd(pair.a.ctx), 0));
	ck_assert_int_eq(told.next(pair.a.ctx, &lkey), 0);
	/* Deregistering is not reported. */
	for (i = 0; i < 5; i++)
		ck_assert_int_eq(ibv_dereg_mr(more[i]), 0);
	ck_assert(!readable(fd, 0));
	take_away(&beside, DECODING);
	ck_assert(readable(fd, 0));
	ck_assert_int_eq(told.next(pair.b.ctx, &lkey), 1);
	ck_assert_uint_eq(lkey, beside.mem.mr->lkey);
	ck_assert_int_eq(told.next(pair.b.ctx, &lkey), 0);
	/* Only once. */
	give_back(DECODING);
	take_away(&beside, DECODING);
	give_back(DECODING);
	ck_assert(!readable(fd, 0));
	place_close(&place);
	place_close(&beside);
	dlclose(told.library);
}
END_TEST

/* If the queue overflows, the loss is reported. */
START_TEST(told_of_too_many)
{
	static struct ibv_mr *mrs[3000];
	struct place place;
	struct told told;
	uint32_t lkey;
	int n, ret = 0, lost = 0;

	told_up(&told);
	ck_assert_int_ge(told.fd(pair.b.ctx), 0);
	place_make(&place, BAR, SIZE, 0);
	for (n = 0; n < 3000; n++)
		ck_assert_int_eq(part_register(&place, &pair.b, 0, PAGE, 0, ALL_ACCESS, &mrs[n]), 0);
	take_away(&place, KILL);
	for (n = 0; n < 4000; n++) {
		ret = told.next(pair.b.ctx, &lkey);
		if (!ret)
			break;
		lost += ret == -EOVERFLOW;
	}
	ck_assert_int_eq(ret, 0);
	ck_assert_msg(lost == 1 || n == 3000, "%d keys, lost told %d times", n, lost);
	for (n = 0; n < 3000; n++)
		ck_assert_int_eq(ibv_dereg_mr(mrs[n]), 0);
	place_close(&place);
	dlclose(told.library);
}
END_TEST

/* ---- exporters and NICs that go ---- */

/* The exporting process is killed: its device is closed, and the memory gone. */
START_TEST(exporter_killed)
{
	struct pb_range range = { AT(1), SIZE };
	int sockets[2], child, fd, i;
	struct place place = { .kind = BAR, .fd = -1, .exporter = -1, .nr_ranges = 1, .mem.size = SIZE };
	struct ibv_send_wr wr;
	struct ibv_sge s;
	struct ibv_wc wc;

	/* Close the fixture's GPU, for the child. */
	places_down();
	pb_device_close(gpu);
	gpu = NULL;
	ck_assert_int_eq(socketpair_cloexec(sockets), 0);
	child = fork();
	if (!child) {
		struct pb_buffer *buffer;
		struct pb_device *device;
		struct pb_iommu *own;

		ok(pb_iommu_open(&own, &err));
		device = lab_open(own, LAB_GPU);
		ok(pb_device_set_decoding(device, true, &err));
		ok(pb_buffer_export(device, GPU_BAR, &range, 1, 0, &buffer, &err));
		send_fd(sockets[1], pb_buffer_fd(buffer));
		pause();
		_exit(0);
	}
	fd = receive_fd(sockets[0]);
	place.fd = fd;
	place.ranges[0] = range;
	place_register(&place, &pair.b, ALL_ACCESS);
	works(&place, 1);
	s = sge(&host.mem, 0, SIZE);
	for (i = 0; i < 100000; i++) {
		if (i == 20)
			kill(child, SIGKILL);
		wr = work(1, IBV_WR_RDMA_WRITE, &s, 1, &place.mem, 0);
		ck_assert_int_eq(post(&pair.a, &wr), 0);
		wc = completion(&pair.a);
		if (wc.status != IBV_WC_SUCCESS)
			break;
	}
	ck_assert_msg(wc.status == IBV_WC_REM_ACCESS_ERR, "'%s'", ibv_wc_status_str(wc.status));
	in_error(&pair.a);
	ends_anew(&pair.a, &pair.b);
	ck_assert_int_eq(wait_for(child), 128 + SIGKILL);
	state_is(fd, PEERBAR_STATE_DEAD);
	place_close(&place);
	close(sockets[0]);
	close(sockets[1]);
	gpu = lab_open(iommu, LAB_GPU);
	ok(pb_device_set_decoding(gpu, true, &err));
	places_up();
}
END_TEST

#define PLUGGED (16 * MIB)

START_TEST(exporter_unplugged)
{
	struct pb_range range = { MIB, SIZE };
	struct mem region = { .addr = 0, .size = SIZE };
	struct ibv_sge s = sge(&host.mem, 0, SIZE);
	struct pb_device *plugged;
	struct pb_buffer *buffer;
	struct ibv_send_wr wr;
	char bdf[PB_BDF_LEN];
	uint64_t until;
	struct ibv_wc wc;

	gpu_plug(bdf, PLUGGED);
	ok(pb_pci_bind(bdf, lab_driver(), &err));
	ok(pb_device_open(iommu, bdf, &plugged, &err));
	ok(pb_device_set_decoding(plugged, true, &err));
	ok(pb_buffer_export(plugged, GPU_BAR, &range, 1, 0, &buffer, &err));
	region.mr = ibv_reg_dmabuf_mr(pair.b.pd, 0, SIZE, 0, pb_buffer_fd(buffer), ALL_ACCESS);
	ck_assert_msg(region.mr, "%s", strerror(errno));
	wr = work(1, IBV_WR_RDMA_WRITE, &s, 1, &region, 0);
	done(&pair.a, &wr);
	gpu_pull();
	/* Write to it until it is gone. */
	until = now_ms() + 60000;
	do {
		ck_assert_int_eq(post(&pair.a, &wr), 0);
		wc = completion(&pair.a);
		usleep(10000);
	} while (wc.status == IBV_WC_SUCCESS && now_ms() < until);
	ck_assert_msg(wc.status == IBV_WC_REM_ACCESS_ERR, "'%s'", ibv_wc_status_str(wc.status));
	state_is(pb_buffer_fd(buffer), PEERBAR_STATE_DEAD);
	ends_anew(&pair.a, &pair.b);
	pb_device_close(plugged);
	/* The region must not delay the removal. */
	gpu_wait(bdf, PLUGGED, false);
	fails(&pair.a, &wr, IBV_WC_REM_ACCESS_ERR);
	ends_anew(&pair.a, &pair.b);
	ck_assert_int_eq(ibv_dereg_mr(region.mr), 0);
	pb_buffer_close(buffer);
	gpu_forget_memory(PLUGGED);
}
END_TEST

/* The NIC below a second device is pulled: users of that device get an event, and no call hangs. */
START_TEST(nic_unplugged)
{
	struct end_options on_second = { .device = "pb1" };
	struct place place, own;
	struct ibv_send_wr wr;
	struct ibv_sge s;
	struct end x, y;
	struct ibv_mr *mr;
	uint64_t until;
	int i, ret;

	if (lab_has_no_reset()) /* the topology without ports */
		return;
	ck_assert_int_eq(rdma_link_add("pb1", 1), 0);
	for (i = 0; i < 100 && system("grep -qi ffff:0a4d:0101 /sys/class/infiniband/pb1/ports/1/gids/*"); i++)
		usleep(100000);
	end_open(&x, NULL);
	end_open(&y, &on_second);
	ends_connect(&x, &y);
	place_make(&place, BAR, SIZE, 1);
	place_register(&place, &y, ALL_ACCESS);
	place_make(&own, HOST, SIZE, 0);
	place_register(&own, &x, ALL_ACCESS);
	ck_assert_uint_eq(importers(place.fd), 1);
	s = sge(&own.mem, 0, SIZE);
	wr = work(1, IBV_WR_RDMA_WRITE, &s, 1, &place.mem, 0);
	done(&x, &wr);
	nic_pull(nic_bdf(1));
	event_comes(&y, IBV_EVENT_DEVICE_FATAL);
	/* The device's attachment must be gone, although its user's process still exists. */
	until = now_ms() + 10000;
	while (importers(place.fd) && now_ms() < until)
		usleep(10000);
	ck_assert_uint_eq(importers(place.fd), 0);
	ck_assert_int_ne(access("/sys/class/infiniband/pb1", F_OK), 0);
	/* The device does not respond to its peer. */
	wr.wr_id = 2;
	fails(&x, &wr, IBV_WC_RETRY_EXC_ERR);
	/* Calls fail, and return. */
	ck_assert_ptr_null(ibv_alloc_pd(y.ctx));
	ck_assert_msg(errno == EIO || errno == ENODEV, "ibv_alloc_pd(): %s", strerror(errno));
	mr = ibv_reg_mr(y.pd, host.mem.p, SIZE, ALL_ACCESS);
	ck_assert_ptr_null(mr);
	wr = work(3, IBV_WR_SEND, NULL, 0, NULL, 0);
	ret = post(&y, &wr);
	ck_assert_msg(ret == EIO || ret == ENODEV, "ibv_post_send(): %s", strerror(ret));
	{
		struct ibv_wc wc;

		ibv_poll_cq(y.cq, 1, &wc);
	}
	ibv_dereg_mr(place.mem.mr);
	place.mem.mr = NULL;
	ibv_destroy_qp(y.qp);
	ibv_destroy_cq(y.cq);
	ibv_dealloc_pd(y.pd);
	ck_assert_int_eq(ibv_close_device(y.ctx), 0);
	/* The buffer is not affected for other importers. */
	place_register(&place, &pair.b, ALL_ACCESS);
	works(&place, 1);
	place_close(&place);
	place_close(&own);
	end_close(&x);
	nic_plug(nic_bdf(1));
	rdma_nic_up(1);
}
END_TEST

LAB_SUITE("rdma-revoke", 0)
{
	TCase *t = rdma_case(s, "ours", 300, revoke_up, revoke_down);

	tcase_add_loop_test(t, before_traffic, 0, NR_HOW);
	tcase_add_test(t, of_another_exporter);
	tcase_add_test(t, key_stays_taken);
	tcase_add_test(t, only_that_one);
	tcase_add_test(t, device_closed);
	tcase_add_loop_test(t, during_traffic, 0, NR_HOW);
	tcase_add_loop_test(t, during_traffic_of_100_regions, 0, NR_HOW);
	tcase_add_test(t, during_local_use);
	tcase_add_test(t, while_registering);
	tcase_add_test(t, told_of_revocation);
	tcase_add_test(t, told_of_too_many);
	tcase_add_test(t, exporter_killed);
	tcase_add_test(t, exporter_unplugged);
	tcase_add_test(t, nic_unplugged);
	t = rdma_case(s, "stock", 300, stock_up, stock_down);
	tcase_add_loop_test(t, before_traffic, DECODING, NR_HOW);
	tcase_add_loop_test(t, during_traffic, DECODING, NR_HOW);
}
