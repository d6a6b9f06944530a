// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Many operations, sequential and concurrent: no leaks, no hangs, and only documented errors. */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "fixture.h"

/* ---- leaks ---- */

#define CACHES 400

/* On the debug kernel, where a round takes 40 ms, kmemleak finds what one round leaks. */
static int rounds(void)
{
	return lab_kernel_is("debug") ? 250 : 1000;
}

struct cache {
	char name[64];
	long objects;
};

static void shrink(const char *name)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "/sys/kernel/slab/%s/shrink", name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	if (write(fd, "1\n", 2) < 0)
		ck_abort_msg("cannot shrink %s", name);
	close(fd);
}

/* Count the objects in use in each slab cache, after shrinking the caches. */
static unsigned int slab_counts(struct cache *caches)
{
	char line[512];
	unsigned int n = 0;
	int pass;
	FILE *f;

	/* Wait for deferred frees of RCU. */
	sleep(1);
	for (pass = 0; pass < 2; pass++) {
		n = 0;
		f = fopen("/proc/slabinfo", "re");
		ck_assert_ptr_nonnull(f);
		while (n < CACHES && fgets(line, sizeof(line), f)) {
			if (sscanf(line, "%63s %ld", caches[n].name, &caches[n].objects) != 2 ||
			    caches[n].name[0] == '#')
				continue;
			if (!pass &&
			    (!strncmp(caches[n].name, "kmalloc", 7) ||
			     strstr(caches[n].name, "inode") || strstr(caches[n].name, "dentry") ||
			     strstr(caches[n].name, "filp")))
				shrink(caches[n].name);
			n++;
		}
		fclose(f);
	}
	return n;
}

/*
 * KASAN delays frees, and kmemleak has objects of its own, so the counts are meaningless there.
 * Instead, kmemleak finds unreferenced objects at the end of the run.
 */
static bool counts_say_something(void)
{
	bool kmemleak = !access("/sys/kernel/debug/kmemleak", F_OK);

	if (kmemleak)
		printf("stress: slab counts are not compared on this kernel; kmemleak looks for leaks when the tests are over\n");
	return !kmemleak;
}

/* The smallest leak is one object a round. Unrelated growth does not reach half of that. */
static void no_growth(const struct cache *before, unsigned int nb, const struct cache *after,
		      unsigned int na)
{
	unsigned int a, b;

	for (a = 0; a < na; a++) {
		for (b = 0; b < nb; b++)
			if (!strcmp(before[b].name, after[a].name))
				break;
		ck_assert_msg(after[a].objects - (b < nb ? before[b].objects : 0) < rounds() / 2,
			      "the slab cache %s grew from %ld to %ld objects in %d rounds",
			      after[a].name, b < nb ? before[b].objects : 0, after[a].objects,
			      rounds());
	}
}

START_TEST(many_rounds)
{
	static struct cache before[CACHES], after[CACHES];
	const struct pb_range ranges[] = {
		{ 2 * MIB, PAGE },
		{ 0, 2 * PAGE },
	};
	struct pb_mapping *m, *n;
	struct pb_buffer *buffer;
	unsigned int fds = 0, nb = 0, na;
	int i;

	for (i = -20; i < rounds(); i++) {
		/* The first rounds fill caches. */
		if (!i) {
			fds = count_fds();
			nb = slab_counts(before);
		}
		buffer = export_ranges(ranges, 2);
		m = map_rw(buffer);
		ok(pb_map_buffer(fixture.ioas, buffer, PAGE, PAGE, PB_MAP_READ, 0, &n, &err));
		ok(pb_unmap(m, &err));
		pb_buffer_close(buffer);
		ok(pb_unmap(n, &err));
	}
	na = slab_counts(after);
	ck_assert_uint_eq(count_fds(), fds);
	if (counts_say_something())
		no_growth(before, nb, after, na);
}
END_TEST

START_TEST(many_refusals)
{
	static struct cache before[CACHES], after[CACHES];
	struct pb_buffer *buffer = export_one(0, PAGE), *none = NULL;
	struct pb_range bad = { 0, 1 };
	struct pb_mapping *m = NULL;
	unsigned int fds = 0, nb = 0, na;
	int i;

	ok(pb_device_set_decoding(fixture.gpu, false, &err));
	for (i = -20; i < rounds(); i++) {
		if (!i) {
			fds = count_fds();
			nb = slab_counts(before);
		}
		refused(pb_map_buffer(fixture.ioas, buffer, 0, 0, RW, 0, &m, &err), ENODEV,
			"revoked");
		refused(pb_map_buffer(fixture.ioas, buffer, 0, 0, RW | PB_MAP_FIXED, MSI_IOVA, &m,
				      &err),
			ENODEV, "revoked");
		refused(pb_map_memory(fixture.ioas, fixture.memory.p, PAGE, RW | PB_MAP_FIXED,
				      fixture.memory.iova, &m, &err),
			EEXIST, "mapped there");
		refused(pb_buffer_export(fixture.gpu, GPU_BAR, &bad, 1, 0, &none, &err), EINVAL,
			"page size");
	}
	na = slab_counts(after);
	ck_assert_uint_eq(count_fds(), fds);
	if (counts_say_something())
		no_growth(before, nb, after, na);
	pb_buffer_close(buffer);
}
END_TEST

/* ---- threads ---- */

#define THREADS	     8
#define SECONDS	     8
#define MOST_SECONDS 120 /* On a busy host, until each thing has happened often enough. */

static struct pb_buffer *shared;
static atomic_bool stop;
static atomic_uint maps, refusals, restores;

static void thread_failed(const char *what, int ret, struct pb_error *e)
{
	fprintf(stderr, "%s: %d: %s\n", what, ret, e->text);
	abort();
}

static void *mapper(void *arg)
{
	unsigned int seed = (unsigned int)(uintptr_t)arg;

	while (!atomic_load(&stop)) {
		struct pb_mapping *m = NULL;
		struct pb_error e;
		int ret, i;

		ret = pb_map_buffer(fixture.ioas, shared, (uint64_t)(rand_r(&seed) % 4) * PAGE, 0,
				    RW, 0, &m, &e);
		if (ret == -ENODEV) {
			atomic_fetch_add(&refusals, 1);
			continue;
		}
		if (ret)
			thread_failed("map", ret, &e);
		atomic_fetch_add(&maps, 1);
		for (i = rand_r(&seed) % 4; i; i--) {
			usleep((useconds_t)(rand_r(&seed) % 8000));
			if (pb_mapping_state(m) != PB_REVOKED)
				continue;
			ret = pb_mapping_restore(m, &e);
			if (ret && ret != -ENODEV)
				thread_failed("restore", ret, &e);
			if (!ret)
				atomic_fetch_add(&restores, 1);
		}
		ret = pb_unmap(m, &e);
		if (ret)
			thread_failed("unmap", ret, &e);
	}
	return NULL;
}

static bool happened_often(unsigned int toggles)
{
	return atomic_load(&maps) > 100 && atomic_load(&refusals) > 10 &&
		atomic_load(&restores) > 10 && toggles > 10;
}

/* Eight threads map and unmap one buffer in one address space while decoding is toggled. */
START_TEST(threads_and_toggles)
{
	const struct pb_range ranges[] = {
		{ 0, 2 * PAGE },
		{ MIB, PAGE },
		{ 3 * PAGE, 4 * PAGE },
	};
	struct timespec begin, now;
	pthread_t threads[THREADS];
	unsigned int toggles = 0, fds = count_fds();
	struct pb_mapping *m;
	int i;

	shared = export_ranges(ranges, 3);
	for (i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, mapper,
						(void *)(uintptr_t)(i + 1)),
				 0);
	clock_gettime(CLOCK_MONOTONIC, &begin);
	do {
		ok(pb_device_set_decoding(fixture.gpu, toggles++ & 1, &err));
		usleep(toggles & 1 ? 2000 : 20000);
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while (now.tv_sec - begin.tv_sec < (happened_often(toggles) ? SECONDS : MOST_SECONDS));
	atomic_store(&stop, true);
	for (i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
	printf("stress: %u maps, %u refused, %u restored, in %u toggles\n", maps, refusals,
	       restores, toggles);
	ck_assert(happened_often(toggles));

	/* Everything must still work. */
	ok(pb_device_set_decoding(fixture.gpu, true, &err));
	ck_assert_ptr_null(pb_ioas_next_revoked(fixture.ioas));
	m = map_rw(shared);
	dma_lands(pb_mapping_iova(m), 0);
	dma_lands(pb_mapping_iova(m) + 2 * PAGE, MIB);
	ok(pb_unmap(m, &err));
	ck_assert_int_eq(count_attachments(shared), 0);
	pb_buffer_close(shared);
	ck_assert_uint_eq(count_fds(), fds);
}
END_TEST

LAB_SUITE("stress", 0)
{
	TCase *t = suite_case(s, "all", 400, fixture_up, fixture_down);

	tcase_add_test(t, many_rounds);
	tcase_add_test(t, many_refusals);
	tcase_add_test(t, threads_and_toggles);
}
