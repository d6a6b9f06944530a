// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The cache of regions, and threads that use it. */
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "../../sentence.h"
#include "mock.h"

static struct pbv_cache *cache;

static void cache_new(unsigned int capacity, unsigned int flags)
{
	ok(pbv_cache_create(the_pd, capacity, flags, &cache, &err));
}

static struct pbv_mr *get(unsigned int i, uint64_t offset, uint64_t length, int access)
{
	struct pbv_mr *mr;

	ok(pbv_cache_get(cache, &buffers[i], offset, length, access, &mr, &err));
	ck_assert_uint_eq(pbv_mr_iova(mr), pbv_mr_offset(mr));
	ck_assert(pbv_mr_offset(mr) <= offset &&
		  offset + length <= pbv_mr_offset(mr) + pbv_mr_length(mr));
	return mr;
}

/* Get and put a region. Return its key. */
static uint32_t key(unsigned int i, uint64_t offset, uint64_t length, int access)
{
	struct pbv_mr *mr = get(i, offset, length, access);
	uint32_t lkey = pbv_mr_verbs(mr)->lkey;

	pbv_cache_put(cache, mr);
	return lkey;
}

static struct pbv_cache_stats stats(void)
{
	struct pbv_cache_stats s;

	pbv_cache_stats(cache, &s);
	return s;
}

START_TEST(hits_and_misses)
{
	struct pb_buffer same = { &dmabufs[0] };
	struct pbv_mr *mr;
	uint32_t first;

	has_page = true;
	cache_new(8, 0);
	first = key(0, PAGE, 4 * PAGE, RW);
	ck_assert_uint_eq(queries, 1);
	ck_assert_uint_eq(key(0, PAGE, 4 * PAGE, RW), first);
	/* A part of it. */
	ck_assert_uint_eq(key(0, 2 * PAGE + 5, 17, RW), first);
	/* Another handle of the same dma-buf. */
	ok(pbv_cache_get(cache, &same, PAGE, 4 * PAGE, RW, &mr, &err));
	ck_assert_uint_eq(pbv_mr_verbs(mr)->lkey, first);
	pbv_cache_put(cache, mr);
	ck_assert_uint_eq(registrations, 1);
	ck_assert_uint_eq(queries, 1);
	/* No hit if the range is not covered, the access differs, or for another dma-buf. */
	ck_assert_uint_ne(key(0, PAGE - 1, 4 * PAGE, RW), first);
	ck_assert_uint_ne(key(0, PAGE, 4 * PAGE + 1, RW), first);
	ck_assert_uint_ne(key(0, PAGE, PAGE, IBV_ACCESS_REMOTE_READ), first);
	ck_assert_uint_ne(key(1, PAGE, 4 * PAGE, RW), first);
	ck_assert_uint_eq(registrations, 5);
	ck_assert_uint_eq(stats().regions, 5);
	ck_assert_uint_eq(stats().hits, 3);
	ck_assert_uint_eq(stats().misses, 5);
	ck_assert_uint_eq(stats().in_use, 0);
	/* Failed registrations return the usual errors, and change nothing. */
	refused(pbv_cache_get(cache, buffer, 0, 65 * PAGE, RW, &mr, &err), ERANGE, "size is");
	refused(pbv_cache_get(cache, buffer, 0, 0, RW, &mr, &err), EINVAL, "length");
	reg_errno = ENOMEM;
	refused(pbv_cache_get(cache, &buffers[2], 0, PAGE, RW, &mr, &err), ENOMEM, "room");
	ck_assert_uint_eq(stats().regions, 5);
	/* Only the cache deregisters its regions. */
	mr = get(0, PAGE, PAGE, RW);
	refused(pbv_dereg(mr, &err), EINVAL, "pbv_cache_put");
	refused(pbv_cache_destroy(cache, &err), EBUSY, "1 of its regions");
	pbv_cache_put(cache, mr);
	ok(pbv_cache_destroy(cache, &err));
	ok(pbv_cache_destroy(NULL, &err));
}
END_TEST

START_TEST(revoked_keys_are_not_handed_out)
{
	struct pbv_mr *old, *new;
	uint32_t first, second;

	has_page = true;
	cache_new(8, 0);
	first = key(0, 0, PAGE, RW);
	second = key(1, 0, PAGE, RW);
	/* A revocation of the other buffer costs one check, and changes nothing. */
	take_away(1, true);
	queries = 0;
	ck_assert_uint_eq(key(0, 0, PAGE, RW), first);
	ck_assert_uint_eq(queries, 1);
	ck_assert_uint_eq(key(0, 0, PAGE, RW), first);
	ck_assert_uint_eq(queries, 1);
	ck_assert_uint_ne(key(1, 0, PAGE, RW), second);
	ck_assert_uint_eq(registered, 2);
	/* A region in use keeps its key until it is put. */
	old = get(0, 0, PAGE, RW);
	take_away(0, true);
	new = get(0, 0, PAGE, RW);
	ck_assert_ptr_ne(old, new);
	ck_assert_int_eq(pbv_mr_state(old), PBV_REVOKED);
	ck_assert_int_eq(pbv_mr_state(new), PBV_LIVE);
	ck_assert_uint_eq(registered, 3);
	ck_assert_uint_eq(stats().in_use, 2);
	pbv_cache_put(cache, old);
	ck_assert_uint_eq(registered, 2);
	pbv_cache_put(cache, new);
	ck_assert_uint_eq(registered, 2);
	ck_assert_uint_eq(stats().stale, 2);
	/* A revoked buffer cannot be registered. */
	take_away(0, false);
	refused(pbv_cache_get(cache, buffer, 0, PAGE, RW, &new, &err), ENODEV, "revoked");
	refused(pbv_cache_get(cache, buffer, 0, PAGE, RW, &new, &err), ENODEV, "revoked");
	infos[0].state = PB_BUFFER_DEAD;
	refused(pbv_cache_get(cache, buffer, 0, PAGE, RW, &new, &err), ENODEV, "permanently");
	ck_assert_uint_eq(registered, 1);
	ok(pbv_cache_destroy(cache, &err));
}
END_TEST

START_TEST(without_the_page_each_hit_asks)
{
	uint32_t first;

	cache_new(8, 0);
	first = key(0, 0, PAGE, RW);
	queries = 0;
	ck_assert_uint_eq(key(0, 0, PAGE, RW), first);
	ck_assert_uint_eq(key(0, 0, PAGE, RW), first);
	ck_assert_uint_eq(queries, 2);
	take_away(0, true);
	ck_assert_uint_ne(key(0, 0, PAGE, RW), first);
	ok(pbv_cache_destroy(cache, &err));
}
END_TEST

START_TEST(where_nobody_tells)
{
	uint32_t first;

	has_page = true;
	foreign(0, PB_REVOCABLE);
	foreign(1, PB_PINNED);
	foreign(2, PB_DYNAMIC);
	odp = true;
	cache_new(8, 0);
	/* The page does not count revocations of other devices. */
	first = key(0, 0, PAGE, RW);
	ck_assert_uint_ne(key(0, 0, PAGE, RW), first);
	ck_assert_uint_eq(registered, 1);
	/* Regions of buffers that are never revoked stay valid. */
	first = key(1, 0, PAGE, RW);
	take_away(3, false);
	ck_assert_uint_eq(key(1, 0, PAGE, RW), first);
	first = key(2, 0, PAGE, RW);
	ck_assert_uint_eq(key(2, 0, PAGE, RW), first);
	ok(pbv_cache_destroy(cache, &err));
	/* The caller promises to report revocations. */
	cache_new(8, PBV_CACHE_CALLER_TELLS);
	first = key(0, 0, PAGE, RW);
	ck_assert_uint_eq(key(0, 0, PAGE, RW), first);
	pbv_cache_forget(cache, buffer);
	ck_assert_uint_eq(registered, 0);
	ck_assert_uint_ne(key(0, 0, PAGE, RW), first);
	ok(pbv_cache_destroy(cache, &err));
	/*
	 * With peerbar's device the page counts revocations, and the device can report which region
	 * was revoked.
	 */
	own = true;
	cache_new(8, 0);
	first = key(0, 0, PAGE, RW);
	ck_assert_uint_eq(key(0, 0, PAGE, RW), first);
	take_away(3, false);
	ck_assert_uint_ne(key(0, 0, PAGE, RW), first);
	own_tells = true;
	first = key(0, 0, PAGE, RW);
	take_away(3, false);
	ck_assert_uint_eq(key(0, 0, PAGE, RW), first);
	own_revoked = first;
	take_away(3, false);
	ck_assert_uint_ne(key(0, 0, PAGE, RW), first);
	ok(pbv_cache_destroy(cache, &err));
}
END_TEST

START_TEST(the_one_not_used_for_longest_goes)
{
	struct pbv_mr *held[4];
	uint32_t keys[4];
	unsigned int i;

	has_page = true;
	cache_new(3, 0);
	for (i = 0; i < 3; i++)
		keys[i] = key(i, 0, PAGE, RW);
	ck_assert_uint_eq(key(0, 0, PAGE, RW), keys[0]);
	key(3, 0, PAGE, RW);
	ck_assert_uint_eq(registered, 3);
	ck_assert_uint_eq(key(0, 0, PAGE, RW), keys[0]);
	ck_assert_uint_eq(key(2, 0, PAGE, RW), keys[2]);
	ck_assert_uint_ne(key(1, 0, PAGE, RW), keys[1]);
	/* Regions in use are kept, even above the capacity. */
	for (i = 0; i < 4; i++)
		held[i] = get(i, PAGE, PAGE, RW);
	ck_assert_uint_eq(registered, 4);
	for (i = 0; i < 4; i++)
		pbv_cache_put(cache, held[i]);
	ck_assert_uint_eq(registered, 3);
	ck_assert_uint_eq(stats().regions, 3);
	ok(pbv_cache_destroy(cache, &err));
}
END_TEST

START_TEST(whole_buffers)
{
	struct pbv_mr *mr;
	uint32_t first;

	has_page = true;
	cache_new(3, PBV_CACHE_WHOLE);
	first = key(0, 5, 1, RW);
	ck_assert_uint_eq(key(0, 63 * PAGE, PAGE, RW), first);
	ck_assert_uint_eq(registrations, 1);
	refused(pbv_cache_get(cache, buffer, 63 * PAGE, PAGE + 1, RW, &mr, &err), ERANGE,
		"size is");
	ok(pbv_cache_destroy(cache, &err));
}
END_TEST

START_TEST(regions_that_cannot_be_ended)
{
	has_page = true;
	cache_new(1, 0);
	key(0, 0, PAGE, RW);
	dereg_errno = EBUSY;
	key(1, 0, PAGE, RW);
	ck_assert_uint_eq(registered, 2);
	refused(pbv_cache_destroy(cache, &err), EBUSY, "window");
	dereg_errno = 0;
	ok(pbv_cache_destroy(cache, &err));
}
END_TEST

START_TEST(wrong_caches)
{
	refused(pbv_cache_create(the_pd, 0, 0, &cache, &err), EINVAL, "0 regions");
	refused(pbv_cache_create(the_pd, (1u << 20) + 1, 0, &cache, &err), EINVAL,
		"1048577 regions");
	refused(pbv_cache_create(the_pd, 1, PBV_CACHE_PIN << 1, &cache, &err), EINVAL,
		"flags 0x10");
	cache_new(1 << 20, 0);
	ok(pbv_cache_destroy(cache, &err));
}
END_TEST

static atomic_bool enough;
/* Revocations of each buffer that are complete: the page counts them, and a process may know. */
static atomic_ullong complete[4];

/* Check that the regions of a buffer were valid when they were requested. */
static void *user(void *arg)
{
	unsigned int seed = *(unsigned int *)arg, n;
	uint64_t before;

	for (n = 0; n < 20000; n++) {
		unsigned int i = (unsigned int)rand_r(&seed) % 4;
		struct pbv_mr *mr;

		before = atomic_load(&complete[i]);
		if (pbv_cache_get(cache, &buffers[i], (uint64_t)(rand_r(&seed) % 4) * PAGE, PAGE,
				  RW, &mr, NULL))
			return "pbv_cache_get() failed";
		if (mr->revocations < before)
			return "the region had been revoked before it was asked for";
		if (mr->buffer->dmabuf != &dmabufs[i])
			return "the region is another buffer's";
		pbv_cache_put(cache, mr);
	}
	return NULL;
}

static void *revoker(void *arg)
{
	unsigned int i = 0;
	uint64_t count;

	(void)arg;
	while (!atomic_load(&enough)) {
		count = __atomic_add_fetch(&infos[i].revocations, 1, __ATOMIC_RELEASE);
		usleep(20);
		__atomic_add_fetch(&the_page, 1, __ATOMIC_RELEASE);
		atomic_store(&complete[i], count);
		i = (i + 1) % 4;
		usleep(30);
	}
	return NULL;
}

START_TEST(several_threads)
{
	unsigned int seeds[4] = { 1, 2, 3, 4 }, i;
	pthread_t threads[4], other;
	void *why;

	has_page = true;
	cache_new(6, 0);
	atomic_store(&enough, false);
	for (i = 0; i < 4; i++)
		atomic_store(&complete[i], 0);
	ck_assert_int_eq(pthread_create(&other, NULL, revoker, NULL), 0);
	for (i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, user, &seeds[i]), 0);
	for (i = 0; i < 4; i++) {
		pthread_join(threads[i], &why);
		ck_assert_msg(!why, "%s", (char *)why);
	}
	atomic_store(&enough, true);
	pthread_join(other, NULL);
	ck_assert_uint_eq(stats().in_use, 0);
	ck_assert_uint_eq(stats().regions, registered);
	ok(pbv_cache_destroy(cache, &err));
}
END_TEST

/*
 * In a case of its own, to count the instructions: all calls of pbv_cache_get() but the first are
 * hits.
 */
START_TEST(a_hit_asks_nobody)
{
	struct pbv_mr *mr;
	unsigned int i;

	has_page = true;
	cache_new(1024, 0);
	for (i = 0; i < 1001; i++) {
		ok(pbv_cache_get(cache, buffer, PAGE, 2 * PAGE, RW, &mr, NULL));
		pbv_cache_put(cache, mr);
	}
	ck_assert_uint_eq(queries, 1);
	ck_assert_uint_eq(registrations, 1);
	ck_assert_uint_eq(stats().hits, 1000);
	ok(pbv_cache_destroy(cache, &err));
}
END_TEST

void add_cache_tests(TCase *t)
{
	tcase_add_test(t, hits_and_misses);
	tcase_add_test(t, revoked_keys_are_not_handed_out);
	tcase_add_test(t, without_the_page_each_hit_asks);
	tcase_add_test(t, where_nobody_tells);
	tcase_add_test(t, the_one_not_used_for_longest_goes);
	tcase_add_test(t, whole_buffers);
	tcase_add_test(t, regions_that_cannot_be_ended);
	tcase_add_test(t, wrong_caches);
	tcase_add_test(t, several_threads);
}

void add_hit_tests(TCase *t)
{
	tcase_add_test(t, a_hit_asks_nobody);
}
