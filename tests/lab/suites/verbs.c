// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The verbs library: without a device, the page of revocations and the lookup of an address's
 * buffer; with peerbar's device, regions, notification of revocation, and the cache.
 */
#include <fcntl.h>
#include <glob.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kernel-exporters.h"
#include "modules.h"
#include "peerbar-verbs.h"
#include "testmod.h"
#include "verbs.h"

#define BUFFER_AT   MIB /* in the BAR */
#define BUFFER_SIZE (16 * PAGE)
#define ACCESS	    (IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ)

/* ---- the page of revocations ---- */

static const struct peerbar_page *page_map(void)
{
	int dev = open("/dev/peerbar", O_RDONLY | O_CLOEXEC);
	void *p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, dev, 0);

	ck_assert_msg(p != MAP_FAILED, "/dev/peerbar cannot be mapped: %s", strerror(errno));
	close(dev);
	return p;
}

static uint64_t revocations(const struct peerbar_page *page)
{
	return __atomic_load_n(&page->revocations, __ATOMIC_ACQUIRE);
}

START_TEST(the_page_counts)
{
	struct pb_buffer *buffer = export_one(BUFFER_AT, BUFFER_SIZE),
			 *other = export_one(2 * MIB, PAGE);
	const struct peerbar_page *page = page_map();
	struct pb_buffer_info info;
	uint64_t before = revocations(page);
	uint8_t *p;

	/* Count only revocations: a mapping, an access and a query are none. */
	p = map_fd(pb_buffer_fd(buffer), 0, PAGE);
	ck_assert(can_write(p, 1));
	ok(pb_buffer_query(buffer, &info, &err));
	ck_assert(info.counted);
	ck_assert_uint_eq(info.revocations, 0);
	ck_assert_uint_eq(revocations(page), before);
	/* Revoke one buffer. */
	ck_assert_int_eq(feature_revoke(fixture.gpu, pb_buffer_fd(other)), 0);
	ck_assert_uint_eq(revocations(page), before + 1);
	ok(pb_buffer_query(buffer, &info, &err));
	ck_assert_uint_eq(info.revocations, 0);
	ok(pb_buffer_query(other, &info, &err));
	ck_assert_uint_eq(info.revocations, 1);
	/*
	 * Revoke all others. Restoring them is no revocation, and does not decrement the counters.
	 */
	ok(pb_device_set_decoding(fixture.gpu, false, &err));
	ck_assert_uint_eq(revocations(page), before + 2);
	ok(pb_device_set_decoding(fixture.gpu, true, &err));
	ok(pb_buffer_query(buffer, &info, &err));
	ck_assert_int_eq(info.state, PB_BUFFER_LIVE);
	ck_assert_uint_eq(info.revocations, 1);
	ck_assert_uint_eq(revocations(page), before + 2);
	ok(pb_device_reset(fixture.gpu, &err));
	ck_assert_uint_gt(revocations(page), before + 2);
	ck_assert_uint_eq(((const uint64_t *)page)[1] + ((const uint64_t *)page)[PAGE / 8 - 1], 0);
	munmap(p, PAGE);
	munmap((void *)(uintptr_t)page, PAGE);
	pb_buffer_close(buffer);
	pb_buffer_close(other);
}
END_TEST

/* Return the errno of an mmap() of /dev/peerbar that must fail. */
static int mmap_errno(int dev, size_t length, int prot, int flags, off_t offset)
{
	ck_assert_ptr_eq(mmap(NULL, length, prot, flags, dev, offset), MAP_FAILED);
	return errno;
}

START_TEST(the_page_is_for_reading)
{
	int dev = open("/dev/peerbar", O_RDWR | O_CLOEXEC);
	void *p, *moved;

	ck_assert_int_eq(mmap_errno(dev, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, 0), EACCES);
	ck_assert_int_eq(mmap_errno(dev, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, 0), EACCES);
	ck_assert_int_eq(mmap_errno(dev, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, 0), EACCES);
	ck_assert_int_eq(mmap_errno(dev, 2 * PAGE, PROT_READ, MAP_SHARED, 0), EINVAL);
	ck_assert_int_eq(mmap_errno(dev, PAGE, PROT_READ, MAP_SHARED, PAGE), EINVAL);
	p = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, dev, 0);
	ck_assert_ptr_ne(p, MAP_FAILED);
	close(dev);
	ck_assert_int_eq(mprotect(p, PAGE, PROT_READ | PROT_WRITE), -1);
	ck_assert_int_eq(errno, EACCES);
	ck_assert_int_eq(mprotect(p, PAGE, PROT_READ | PROT_EXEC), -1);
	ck_assert_int_eq(errno, EACCES);
	moved = mremap(p, PAGE, 2 * PAGE, MREMAP_MAYMOVE);
	ck_assert_ptr_eq(moved, MAP_FAILED);
	ck_assert(can_read(p, NULL));
	munmap(p, PAGE);
}
END_TEST

/* ---- lookup of an address's buffer ---- */

/* Return 1 if the address is a buffer's, 0 if not, or a negative errno. @where may be NULL. */
static int look_up(struct pbv_space *space, const void *p, size_t length, struct pb_buffer **where,
		   uint64_t *offset, struct pb_error *err)
{
	struct pb_buffer *found = NULL;
	int ret = pbv_lookup(space, p, length, &found, offset, err);

	if (ret)
		return ret;
	ret = !!found;
	if (where)
		*where = found;
	else
		pb_buffer_close(found);
	return ret;
}

static void leads_to(struct pbv_space *space, const void *p, size_t length, struct pb_buffer *want,
		     uint64_t want_offset)
{
	struct pb_error err;
	struct pb_buffer *buffer = NULL;
	uint64_t offset;
	int ret = look_up(space, p, length, &buffer, &offset, &err);

	ck_assert_msg(ret == 1, "%p leads to no buffer: %d, %s", p, ret,
		      ret < 0 ? err.text : "ordinary memory");
	ck_assert_uint_eq(pb_buffer_id(buffer), pb_buffer_id(want));
	ck_assert_uint_eq(offset, want_offset);
	pb_buffer_close(buffer);
}

START_TEST(addresses_of_a_buffer)
{
	struct pb_range ranges[] = {
		{ 8 * MIB, 2 * PAGE },
		{ 4 * MIB, 2 * PAGE },
	};
	struct pb_buffer *buffer = export_one(BUFFER_AT, BUFFER_SIZE),
			 *two = export_ranges(ranges, 2);
	void *p, *q;

	ok(pb_buffer_mmap(buffer, 3 * PAGE, 8 * PAGE, true, &p, &err));
	ok(pb_buffer_mmap(two, PAGE, 2 * PAGE, true, &q, &err));
	leads_to(NULL, p, 1, buffer, 3 * PAGE);
	leads_to(NULL, (char *)p + 5, 8 * PAGE - 5, buffer, 3 * PAGE + 5);
	leads_to(NULL, (char *)p + 8 * PAGE - 1, 1, buffer, 11 * PAGE - 1);
	leads_to(NULL, (char *)q + 10, PAGE, two, PAGE + 10);
	refused(look_up(NULL, (char *)p + 5, 8 * PAGE, NULL, NULL, &err), ERANGE, "end elsewhere");
	/* In several mappings, because the protections differ; and with a hole. */
	ck_assert_int_eq(mprotect((char *)p + 2 * PAGE, PAGE, PROT_READ), 0);
	leads_to(NULL, (char *)p + PAGE, 5 * PAGE, buffer, 4 * PAGE);
	ck_assert_int_eq(munmap((char *)p + 4 * PAGE, PAGE), 0);
	refused(look_up(NULL, (char *)p + PAGE, 5 * PAGE, NULL, NULL, &err), ERANGE,
		"end elsewhere");
	leads_to(NULL, (char *)p + 5 * PAGE, PAGE, buffer, 8 * PAGE);
	ck_assert_int_eq(look_up(NULL, (char *)p + 4 * PAGE, 1, NULL, NULL, NULL), 0);
	munmap(p, 8 * PAGE);
	munmap(q, 2 * PAGE);
	pb_buffer_close(buffer);
	pb_buffer_close(two);
}
END_TEST

START_TEST(addresses_of_other_exporters)
{
	int fds[] = { export_udmabuf(4 * PAGE), export_system_heap(4 * PAGE) };
	struct pb_buffer *buffer;
	size_t i;
	void *p;

	for (i = 0; i < 2; i++) {
		ok(pb_buffer_from_fd(fds[i], &buffer, &err));
		close(fds[i]);
		ok(pb_buffer_mmap(buffer, PAGE, 2 * PAGE, true, &p, &err));
		leads_to(NULL, (char *)p + 7, PAGE, buffer, PAGE + 7);
		munmap(p, 2 * PAGE);
		pb_buffer_close(buffer);
	}
}
END_TEST

START_TEST(addresses_of_nothing_we_know)
{
	struct pb_buffer *buffer = export_one(BUFFER_AT, BUFFER_SIZE);
	uint8_t *bar = bar_mmap(BUFFER_AT, PAGE);
	char here, path[80];
	uint64_t cookie;
	void *p;

	ck_assert_int_eq(look_up(NULL, &here, 1, NULL, NULL, NULL), 0);
	ck_assert_int_eq(look_up(NULL, fixture.memory.p, PAGE, NULL, NULL, NULL), 0);
	ck_assert_int_eq(look_up(NULL, NULL, 1, NULL, NULL, NULL), 0);
	/* The same memory, but not mapped through a dma-buf. */
	ck_assert_int_eq(look_up(NULL, bar, PAGE, NULL, NULL, NULL), 0);
	munmap(bar, PAGE);
	/* A dma-buf that this process has no descriptor of. */
	ok(pb_buffer_mmap(buffer, 0, PAGE, true, &p, &err));
	pb_buffer_close(buffer);
	refused(look_up(NULL, p, 1, NULL, NULL, &err), ENOENT, "no descriptor");
	/* The kernel does not open one for the mapping either. */
	snprintf(path, sizeof(path), "/proc/self/map_files/%llx-%llx",
		 (unsigned long long)(uintptr_t)p, (unsigned long long)(uintptr_t)p + PAGE);
	ck_assert_int_eq(open(path, O_RDWR | O_CLOEXEC), -1);
	ck_assert_int_eq(errno, ENXIO);
	munmap(p, PAGE);
	ok(pb_device_mmap_cookie(fixture.gpu, GPU_BAR, BUFFER_AT, PAGE, PB_NC, &cookie, &err));
	ok(pb_device_mmap_at(fixture.gpu, cookie, PAGE, true, &p, &err));
	refused(look_up(NULL, p, 1, NULL, NULL, &err), ENOENT, "no descriptor");
	munmap(p, PAGE);
}
END_TEST

START_TEST(a_register_of_mappings)
{
	struct pb_buffer *buffer = export_one(BUFFER_AT, BUFFER_SIZE);
	struct pbv_space *space;
	void *p, *q;

	ok(pbv_space_create(&space, &err));
	ok(pbv_space_mmap(space, buffer, PAGE, 4 * PAGE, true, &p, &err));
	ok(pb_buffer_mmap(buffer, 8 * PAGE, PAGE, true, &q, &err));
	/* A registered mapping, and one found without registration. */
	leads_to(space, (char *)p + 9, PAGE, buffer, PAGE + 9);
	leads_to(space, (char *)q + 9, 1, buffer, 8 * PAGE + 9);
	ck_assert(can_write((char *)p + 4 * PAGE - 1, 1));
	ok(pbv_space_munmap(space, p, &err));
	ck_assert_int_eq(look_up(space, p, 1, NULL, NULL, NULL), 0);
	/* A space does not need the caller's descriptor. */
	ok(pbv_space_add(space, q, PAGE, buffer, 8 * PAGE, &err));
	pb_buffer_close(buffer);
	ck_assert_int_eq(look_up(space, q, 1, NULL, NULL, NULL), 1);
	munmap(q, PAGE);
	pbv_space_destroy(space);
}
END_TEST

/* ---- with a device ---- */

static struct end a, b; /* connected; b has the regions */

static bool there(void)
{
	return !system("modprobe -n -q peerbar-rdma");
}

static void link_up(void)
{
	rdma_link_up();
}

static void verbs_up(void)
{
	modules_up();
	end_open(&a, NULL);
	end_open(&b, NULL);
	ends_connect(&a, &b);
}

static void stock_up(void)
{
	fixture_up();
	end_open(&a, NULL);
	end_open(&b, NULL);
	ends_connect(&a, &b);
}

static void verbs_down(void)
{
	end_close(&a);
	end_close(&b);
	fixture_down();
}

static struct pbv_mr *reg(struct pb_buffer *buffer, uint64_t offset, uint64_t length)
{
	struct pbv_mr *mr;

	ok(pbv_reg_buffer(b.pd, buffer, offset, length, offset, ACCESS, 0, &mr, &err));
	return mr;
}

/* Write a pattern to an address of a region. Return the status of the completion. */
static enum ibv_wc_status rdma_write(struct pbv_mr *mr, uint64_t iova, size_t length, uint32_t seed,
				     uint8_t *pattern)
{
	struct mem source = mem_new(&a, length, IBV_ACCESS_LOCAL_WRITE);
	struct mem target = { .addr = iova, .size = length, .mr = pbv_mr_verbs(mr) };
	struct ibv_sge from = sge(&source, 0, length);
	struct ibv_send_wr wr = work(seed, IBV_WR_RDMA_WRITE, &from, 1, &target, 0);
	struct ibv_wc wc;

	lab_pattern(source.p, length, seed);
	memcpy(pattern, source.p, length);
	ck_assert_int_eq(post(&a, &wr), 0);
	wc = completion(&a);
	ck_assert_uint_eq(wc.wr_id, seed);
	mem_free(&source);
	return wc.status;
}

START_TEST(what_the_device_takes)
{
	unsigned int models;

	ok(pbv_models(b.ctx, &models, &err));
	ck_assert_uint_eq(models &
				  ~(unsigned int)(PBV_TAKES_DYNAMIC | PBV_MAY_TAKE_DYNAMIC |
						  PBV_FOLLOWS),
			  PBV_TAKES(PB_PINNED) | PBV_TAKES(PB_REVOCABLE) | PBV_PINS);
	/* It follows, or takes a moving buffer only with permission to pin it. */
	ck_assert(!(models & PBV_FOLLOWS) == !(models & PBV_TAKES_DYNAMIC));
	ck_assert(!(models & PBV_FOLLOWS) == !!(models & PBV_MAY_TAKE_DYNAMIC));
}
END_TEST

START_TEST(what_rxe_takes)
{
	struct pb_buffer *buffer = export_one(BUFFER_AT, BUFFER_SIZE);
	struct ibv_context *ctx;
	unsigned int models;
	struct ibv_pd *pd;
	struct pbv_mr *mr;

	module_load("e1000e");
	module_load("ib_uverbs");
	module_load("rdma_rxe");
	rdma_set_wire(false);
	ck_assert_int_eq(rdma_link_add("rxe1", 1), 0);
	ctx = verbs_open("rxe1");
	ok(pbv_models(ctx, &models, &err));
	ck_assert_uint_eq(models, 0);
	pd = ibv_alloc_pd(ctx);
	ck_assert_ptr_nonnull(pd);
	refused(pbv_reg_buffer(pd, buffer, 0, PAGE, 0, ACCESS, 0, &mr, &err), EOPNOTSUPP,
		"cannot register dma-bufs");
	/* It registers ordinary memory. */
	ok(pbv_reg_address(NULL, pd, fixture.memory.p, PAGE, ACCESS, 0, &mr, &err));
	ok(pbv_dereg(mr, &err));
	ibv_dealloc_pd(pd);
	ibv_close_device(ctx);
	ck_assert_int_eq(rdma_link_del("rxe1"), 0);
	rdma_set_wire(true);
	pb_buffer_close(buffer);
}
END_TEST

START_TEST(a_region_of_a_bar)
{
	const struct {
		uint64_t offset, length;
	} parts[] = {
		{ 0, BUFFER_SIZE },	{ 5, 1 },
		{ PAGE - 3, 7 },	{ 3 * PAGE + 100, 5 * PAGE + 33 },
		{ BUFFER_SIZE - 1, 1 },
	};
	struct pb_buffer *buffer = export_one(BUFFER_AT, BUFFER_SIZE);
	static uint8_t pattern[16 * PAGE_MOST];
	struct pbv_mr *mr;
	uint32_t i;

	for (i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		mr = reg(buffer, parts[i].offset, parts[i].length);
		ck_assert_int_eq(pbv_mr_state(mr), PBV_LIVE);
		ck_assert_int_eq(rdma_write(mr, parts[i].offset, parts[i].length, i + 1, pattern),
				 IBV_WC_SUCCESS);
		ck_assert_msg(lab_host_sees(BUFFER_AT + parts[i].offset, pattern, parts[i].length),
			      "part %u is not in the BAR", i);
		ok(pbv_dereg(mr, &err));
	}
	pb_buffer_close(buffer);
}
END_TEST

START_TEST(what_is_refused)
{
	struct pb_buffer *buffer = export_one(BUFFER_AT, BUFFER_SIZE);
	int exporter = test_exporter_open(), fd;
	struct pb_buffer *moving, *unknown;
	unsigned int models;
	struct pbv_mr *mr;

	ok(pbv_models(b.ctx, &models, &err));
	fd = test_export_one(exporter, PEERBAR_TEST_SOURCE_CORE, PEERBAR_MODEL_DYNAMIC, 4 * PAGE);
	ok(pb_buffer_from_fd(fd, &moving, &err));
	close(fd);
	if (models & PBV_FOLLOWS) {
		ok(pbv_reg_buffer(b.pd, moving, 0, PAGE, 0, ACCESS, 0, &mr, &err));
		ok(pbv_dereg(mr, &err));
	} else {
		refused(pbv_reg_buffer(b.pd, moving, 0, PAGE, 0, ACCESS, 0, &mr, &err), EOPNOTSUPP,
			"PBV_PIN registers it pinned");
	}
	refused(pbv_reg_buffer(b.pd, moving, 0, PAGE, 0, ACCESS | IBV_ACCESS_ON_DEMAND, PBV_PIN,
			       &mr, &err),
		EINVAL, "give one of them");
	ck_assert_int_eq(count_attachments(moving), 0);
	pb_buffer_close(moving);
	fd = test_export_one(exporter, PEERBAR_TEST_SOURCE_REFUSING, PEERBAR_MODEL_REVOCABLE,
			     4 * PAGE);
	ok(pb_buffer_from_fd(fd, &unknown, &err));
	close(fd);
	refused(pbv_reg_buffer(b.pd, unknown, 0, PAGE, 0, ACCESS, 0, &mr, &err), EOPNOTSUPP,
		"UNKNOWN");
	refused(pbv_reg_buffer(b.pd, unknown, 0, PAGE, 0, ACCESS, PBV_UNKNOWN_MODEL, &mr, &err),
		EOPNOTSUPP,
		"refuses the "
		"device");
	pb_buffer_close(unknown);
	close(exporter);
	refused(pbv_reg_buffer(b.pd, buffer, 0, PAGE, 0, 1 << 30, 0, &mr, &err), EINVAL, "access");
	ok(pb_device_set_decoding(fixture.gpu, false, &err));
	refused(pbv_reg_buffer(b.pd, buffer, 0, PAGE, 0, ACCESS, 0, &mr, &err), ENODEV,
		"memory decoding");
	ok(pb_device_set_decoding(fixture.gpu, true, &err));
	ok(pb_buffer_revoke(fixture.gpu, buffer, &err));
	refused(pbv_reg_buffer(b.pd, buffer, 0, PAGE, 0, ACCESS, 0, &mr, &err), ENODEV,
		"permanently");
	ck_assert_int_eq(count_attachments(buffer), 0);
	pb_buffer_close(buffer);
}
END_TEST

static bool readable(struct pbv_watch *watch)
{
	struct pollfd p = { .fd = pbv_watch_fd(watch), .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

static void nobody_is_next(struct pbv_watch *watch)
{
	struct pbv_mr *mr;

	ok(pbv_next_revoked(watch, &mr, &err));
	ck_assert_msg(!mr, "a region is told of that was not revoked");
}

static void is_next(struct pbv_watch *watch, struct pbv_mr *want)
{
	struct pollfd p = { .fd = pbv_watch_fd(watch), .events = POLLIN };
	struct pbv_mr *mr;

	for (;;) {
		ok(pbv_next_revoked(watch, &mr, &err));
		if (mr)
			break;
		if (poll(&p, 1, 20000) != 1)
			ck_abort_msg("the region was revoked, and nobody told");
	}
	ck_assert_ptr_eq(mr, want);
	ck_assert_int_eq(pbv_mr_state(mr), PBV_REVOKED);
}

START_TEST(being_told)
{
	struct pb_buffer *buffer = export_one(BUFFER_AT, BUFFER_SIZE),
			 *other = export_one(2 * MIB, PAGE);
	uint8_t pattern[PAGE_MOST];
	struct pbv_watch *watch;
	struct pbv_mr *mr, *mr2;

	ok(pbv_watch_open(b.ctx, &watch, &err));
	mr = reg(buffer, 0, PAGE);
	mr2 = reg(other, 0, PAGE);
	ok(pbv_watch_add(watch, mr, &err));
	ok(pbv_watch_add(watch, mr2, &err));
	nobody_is_next(watch);
	ok(pb_buffer_revoke(fixture.gpu, buffer, &err));
	ck_assert(readable(watch));
	is_next(watch, mr);
	nobody_is_next(watch);
	ck_assert_int_eq(pbv_mr_state(mr2), PBV_LIVE);
	ck_assert_int_eq(rdma_write(mr, 0, 100, 1, pattern), IBV_WC_REM_ACCESS_ERR);
	ck_assert(!lab_host_sees(BUFFER_AT, pattern, 100));
	ok(pbv_dereg(mr, &err));
	/* The memory is revoked and restored, but the region stays revoked. */
	ok(pb_device_set_decoding(fixture.gpu, false, &err));
	ok(pb_device_set_decoding(fixture.gpu, true, &err));
	is_next(watch, mr2);
	ok(pbv_dereg(mr2, &err));
	mr2 = reg(other, 0, PAGE);
	ok(pbv_watch_add(watch, mr2, &err));
	nobody_is_next(watch);
	ck_assert_int_eq(pbv_mr_state(mr2), PBV_LIVE);
	pbv_watch_close(watch);
	ok(pbv_dereg(mr2, &err));
	pb_buffer_close(buffer);
	pb_buffer_close(other);
}
END_TEST

/* Get a region from the cache and put it at once. Return its key. */
static uint32_t cached(struct pbv_cache *cache, struct pb_buffer *buffer, uint64_t offset,
		       uint64_t length)
{
	struct pbv_mr *mr;
	uint32_t key;

	ok(pbv_cache_get(cache, buffer, offset, length, ACCESS, &mr, &err));
	ck_assert_int_ne(pbv_mr_state(mr), PBV_REVOKED);
	key = pbv_mr_verbs(mr)->rkey;
	pbv_cache_put(cache, mr);
	return key;
}

START_TEST(a_cache)
{
	struct pb_buffer *buffer = export_one(BUFFER_AT, BUFFER_SIZE),
			 *other = export_one(2 * MIB, PAGE), *same;
	uint8_t pattern[PAGE_MOST];
	struct pbv_cache_stats stats;
	struct pbv_cache *cache;
	struct pbv_mr *mr, *held;
	uint32_t key;

	ok(pbv_cache_create(b.pd, 16, 0, &cache, &err));
	key = cached(cache, buffer, 0, 4 * PAGE);
	ck_assert_uint_eq(cached(cache, buffer, PAGE, 10), key);
	/* Another descriptor of the same dma-buf. */
	ok(pb_buffer_from_fd(pb_buffer_fd(buffer), &same, &err));
	ck_assert_uint_eq(cached(cache, same, 0, 4 * PAGE), key);
	pb_buffer_close(same);
	/* Another dma-buf of the same memory. */
	same = export_one(BUFFER_AT, BUFFER_SIZE);
	ck_assert_uint_ne(cached(cache, same, 0, 4 * PAGE), key);
	pb_buffer_close(same);
	pbv_cache_stats(cache, &stats);
	ck_assert_uint_eq(stats.hits, 2);
	ck_assert_uint_eq(stats.checks, 0);
	/* A revocation of another buffer costs one check. */
	ok(pb_buffer_revoke(fixture.gpu, other, &err));
	ck_assert_uint_eq(cached(cache, buffer, 0, 4 * PAGE), key);
	ck_assert_uint_eq(cached(cache, buffer, 0, 4 * PAGE), key);
	pbv_cache_stats(cache, &stats);
	ck_assert_uint_eq(stats.checks, 1);
	ck_assert_uint_eq(stats.stale, 0);
	/*
	 * After a revoke and restore the cache registers a new region while the old one is in use.
	 * The old key is not reused meanwhile.
	 */
	ok(pbv_cache_get(cache, buffer, 0, 4 * PAGE, ACCESS, &held, &err));
	ok(pb_device_set_decoding(fixture.gpu, false, &err));
	refused(pbv_cache_get(cache, buffer, 0, 4 * PAGE, ACCESS, &mr, &err), ENODEV,
		"memory decoding");
	ok(pb_device_set_decoding(fixture.gpu, true, &err));
	ok(pbv_cache_get(cache, buffer, 0, 4 * PAGE, ACCESS, &mr, &err));
	ck_assert_ptr_ne(mr, held);
	ck_assert_uint_ne(pbv_mr_verbs(mr)->rkey, key);
	ck_assert_int_eq(pbv_mr_state(held), PBV_REVOKED);
	/* Addresses are offsets in the buffer. */
	ck_assert_int_eq(rdma_write(mr, PAGE + 7, 100, 5, pattern), IBV_WC_SUCCESS);
	ck_assert(lab_host_sees(BUFFER_AT + PAGE + 7, pattern, 100));
	pbv_cache_put(cache, held);
	pbv_cache_put(cache, mr);
	ok(pb_buffer_revoke(fixture.gpu, buffer, &err));
	refused(pbv_cache_get(cache, buffer, 0, 4 * PAGE, ACCESS, &mr, &err), ENODEV,
		"permanently");
	ok(pbv_cache_destroy(cache, &err));
	ck_assert_int_eq(count_attachments(buffer), 0);
	pb_buffer_close(buffer);
	pb_buffer_close(other);
}
END_TEST

/* Run in a child that is killed at any system call but the last. */
START_TEST(a_hit_makes_no_system_call)
{
	struct pb_buffer *buffer = export_one(BUFFER_AT, BUFFER_SIZE);
	struct pbv_cache_stats stats;
	struct pbv_cache *cache;
	struct pbv_mr *mr;
	unsigned int i;
	int pid;

	ok(pbv_cache_create(b.pd, 16, 0, &cache, &err));
	cached(cache, buffer, 0, 4 * PAGE);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (!pid) {
		bool good = true;

		prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
		for (i = 0; i < 1000; i++) {
			good &= !pbv_cache_get(cache, buffer, i, PAGE, ACCESS, &mr, NULL);
			pbv_cache_put(cache, mr);
		}
		pbv_cache_stats(cache, &stats);
		syscall(SYS_exit, !(good && stats.hits == 1000 && !stats.checks));
	}
	ck_assert_msg(wait_for(pid) == 0, "a hit made a system call, or was none");
	ok(pbv_cache_destroy(cache, &err));
	pb_buffer_close(buffer);
}
END_TEST

START_TEST(a_cache_of_what_stays)
{
	int fd = export_udmabuf(4 * PAGE);
	struct pbv_cache_stats stats;
	struct pb_buffer *buffer;
	struct pbv_cache *cache;
	uint32_t key;

	ok(pb_buffer_from_fd(fd, &buffer, &err));
	close(fd);
	ok(pbv_cache_create(b.pd, 16, 0, &cache, &err));
	key = cached(cache, buffer, 0, PAGE);
	ok(pb_device_reset(fixture.gpu, &err));
	ck_assert_uint_eq(cached(cache, buffer, 0, PAGE), key);
	pbv_cache_stats(cache, &stats);
	ck_assert_uint_eq(stats.checks, 0);
	ok(pbv_cache_destroy(cache, &err));
	pb_buffer_close(buffer);
}
END_TEST

START_TEST(an_address)
{
	struct pb_buffer *buffer = export_one(BUFFER_AT, BUFFER_SIZE);
	uint8_t pattern[PAGE_MOST], *p, *bar;
	struct pbv_mr *mr;

	p = map_fd(pb_buffer_fd(buffer), 2 * PAGE, 4 * PAGE);
	ok(pbv_reg_address(NULL, b.pd, p + 5, 3 * PAGE, ACCESS, 0, &mr, &err));
	ck_assert_int_eq(rdma_write(mr, (uintptr_t)p + PAGE + 1, 1000, 9, pattern), IBV_WC_SUCCESS);
	ck_assert(lab_host_sees(BUFFER_AT + 3 * PAGE + 1, pattern, 1000));
	ck_assert(lab_equal(p + PAGE + 1, pattern, 1000));
	ok(pbv_dereg(mr, &err));
	ck_assert_int_eq(mprotect(p, PAGE, PROT_READ), 0);
	refused(pbv_reg_address(NULL, b.pd, p, 2 * PAGE, ACCESS, 0, &mr, &err), EACCES,
		"reading only");
	ok(pbv_reg_address(NULL, b.pd, p, 2 * PAGE, IBV_ACCESS_REMOTE_READ, 0, &mr, &err));
	ok(pbv_dereg(mr, &err));
	munmap(p, 4 * PAGE);
	/* Ordinary memory, and device memory that is not mapped through a dma-buf. */
	ok(pbv_reg_address(NULL, b.pd, fixture.memory.p, PAGE, ACCESS, 0, &mr, &err));
	ck_assert_int_eq(rdma_write(mr, (uintptr_t)fixture.memory.p + 3, 1000, 10, pattern),
			 IBV_WC_SUCCESS);
	ck_assert(!memcmp((uint8_t *)fixture.memory.p + 3, pattern, 1000));
	ok(pbv_dereg(mr, &err));
	bar = bar_mmap(BUFFER_AT, PAGE);
	refused(pbv_reg_address(NULL, b.pd, bar, PAGE, ACCESS, 0, &mr, &err), EFAULT,
		"without a dma-buf");
	munmap(bar, PAGE);
	pb_buffer_close(buffer);
}
END_TEST

/* The core does not know buffers of stock vfio-pci: the device reports their revocation. */
START_TEST(stock_buffers)
{
	struct pb_buffer *buffer = export_one(BUFFER_AT, BUFFER_SIZE),
			 *other = export_one(2 * MIB, PAGE);
	struct pbv_cache *cache;
	struct pbv_watch *watch;
	struct pbv_mr *mr, *mr2;
	uint32_t key;

	ok(pbv_watch_open(b.ctx, &watch, &err));
	ok(pbv_cache_create(b.pd, 16, 0, &cache, &err));
	mr = reg(buffer, 0, PAGE);
	mr2 = reg(other, 0, PAGE);
	ok(pbv_watch_add(watch, mr, &err));
	ok(pbv_watch_add(watch, mr2, &err));
	key = cached(cache, buffer, 0, PAGE);
	ck_assert_uint_eq(cached(cache, buffer, 0, PAGE), key);
	nobody_is_next(watch);
	ok(pb_device_set_decoding(fixture.gpu, false, &err));
	ck_assert(readable(watch));
	is_next(watch, mr);
	is_next(watch, mr2);
	ok(pb_device_set_decoding(fixture.gpu, true, &err));
	ck_assert_uint_ne(cached(cache, buffer, 0, PAGE), key);
	ok(pbv_dereg(mr, &err));
	ok(pbv_dereg(mr2, &err));
	pbv_watch_close(watch);
	ok(pbv_cache_destroy(cache, &err));
	pb_buffer_close(buffer);
	pb_buffer_close(other);
}
END_TEST

/* Return the network device of the second NIC. */
static const char *second_nic(void)
{
	static char name[64];
	char path[100];
	glob_t found;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/net/*", nic_bdf(1));
	ck_assert_int_eq(glob(path, 0, NULL, &found), 0);
	snprintf(name, sizeof(name), "%s", strrchr(found.gl_pathv[0], '/') + 1);
	globfree(&found);
	return name;
}

START_TEST(links)
{
	struct ibv_context *ctx;
	int child;

	ok(pb_rdma_link_add("made-here", second_nic(), &err));
	ck_assert_int_eq(access("/sys/class/infiniband/made-here", F_OK), 0);
	ctx = verbs_open("made-here");
	refused(pb_rdma_link_add("made-here", second_nic(), &err), EEXIST,
		"there is one of that name");
	refused(pb_rdma_link_add("another", second_nic(), &err), EEXIST, "or of that type on it");
	refused(pb_rdma_link_add("another", "lo", &err), EOPNOTSUPP, "a PCI function behind it");
	refused(pb_rdma_link_add("another", "nowhere", &err), ENODEV,
		"no network device 'nowhere'");
	refused(pb_rdma_link_delete("another", &err), ENODEV, "none of that name");
	child = fork();
	if (!child) {
		if (setuid(65534))
			_exit(1);
		refused(pb_rdma_link_add("another", "lo", &err), EPERM, "needs CAP_NET_ADMIN");
		refused(pb_rdma_link_delete("made-here", &err), EPERM, "needs CAP_NET_ADMIN");
		_exit(0);
	}
	ck_assert_int_eq(wait_for(child), 0);
	/* Deletion succeeds although the device is open. */
	ok(pb_rdma_link_delete("made-here", &err));
	ck_assert_int_ne(access("/sys/class/infiniband/made-here", F_OK), 0);
	ibv_close_device(ctx);
	refused(pb_rdma_link_delete("made-here", &err), ENODEV, "'made-here'");
}
END_TEST

LAB_SUITE("verbs", SUITE_NOT_ON_DEBUG)
{
	TCase *t = suite_case(s, "no device", 300, modules_up, modules_down);

	tcase_add_test(t, the_page_counts);
	tcase_add_test(t, the_page_is_for_reading);
	tcase_add_test(t, addresses_of_a_buffer);
	tcase_add_test(t, addresses_of_other_exporters);
	tcase_add_test(t, addresses_of_nothing_we_know);
	tcase_add_test(t, a_register_of_mappings);
	tcase_add_test(t, what_rxe_takes);
	if (!there()) {
		puts("verbs: without the module peerbar-rdma, what needs a device is skipped");
		return;
	}

	t = suite_case(s, "device", 300, verbs_up, verbs_down);
	tcase_add_unchecked_fixture(t, link_up, NULL);
	tcase_add_test(t, links);
	tcase_add_test(t, what_the_device_takes);
	tcase_add_test(t, a_region_of_a_bar);
	tcase_add_test(t, what_is_refused);
	tcase_add_test(t, being_told);
	tcase_add_test(t, a_cache);
	tcase_add_test(t, a_hit_makes_no_system_call);
	tcase_add_test(t, a_cache_of_what_stays);
	tcase_add_test(t, an_address);

	t = suite_case(s, "stock buffers", 300, stock_up, verbs_down);
	tcase_add_unchecked_fixture(t, link_up, NULL);
	tcase_add_test(t, stock_buffers);
}
