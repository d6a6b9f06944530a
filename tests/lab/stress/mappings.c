// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Operations that map and unmap memory. */
#include <string.h>
#include <sys/mman.h>

#include "worker.h"

/*
 * Choose addresses in a range of this thread's that nothing else uses, and don't soon reuse them.
 * Align the start to a huge page.
 */
static char *choose_address(uint64_t length)
{
	static __thread uint64_t next;
	uint64_t huge = HUGE_PAGES * PAGE, at = next;

	next = (next + (length + 2 * huge - 1) / huge * huge) % (1ULL << 42);
	return (char *)((1ULL << 44) + place.thread * (1ULL << 43) + at);
}

/* mmap() at an address that permits huge pages, if @length is large enough. */
static void *map_aligned(uint64_t length, int prot, int flags, int fd, uint64_t offset)
{
	void *p;

	if (length < HUGE_PAGES * PAGE)
		return mmap(NULL, length, prot, flags, fd, (off_t)offset);
	do {
		p = mmap(choose_address(length), length, prot, flags | MAP_FIXED_NOREPLACE, fd,
			 (off_t)offset);
	} while (p == MAP_FAILED && errno == EEXIST);
	return p;
}

bool op_mmap(void)
{
	struct map m = { .kind = OF_BUFFER };
	struct buffer b;
	uint64_t pages;
	bool dead;
	void *p;

	if (!any_buffer(place.r[0], &b))
		return false;
	pages = b.what.size / PAGE;
	/* Map the whole buffer every other time. */
	m.offset = place.r[1] & 1 ? 0 : place.r[2] % pages * PAGE;
	m.length = place.r[1] & 1 ? b.what.size :
				    (1 + place.r[3] % (pages - m.offset / PAGE)) * PAGE;
	m.writable = place.r[1] & 2;
	m.what = b.what;
	dead = is_dead(&b.what);
	p = map_aligned(m.length, PROT_READ | (m.writable ? PROT_WRITE : 0), MAP_SHARED, b.fd,
			m.offset);
	if (p == MAP_FAILED) {
		if (errno == ENODEV && !may_be_dead(&b.what) && phase_of(&b.what) % 4 == PHASE_ON)
			fail_operation("mmap: ENODEV although the buffer is not dead");
		done(-errno, "mmap", ENODEV, badf_if_closed(&b), 0);
		return true;
	}
	if (dead)
		fail_operation("mmap of a dead buffer succeeded");
	m.p = p;
	keep_map(&m);
	return true;
}

bool op_munmap(void)
{
	struct map *m = pick_map(place.r[0], true);

	if (!m)
		return false;
	forget_map(m);
	pthread_rwlock_unlock(&m->lock);
	return true;
}

bool op_partial(void)
{
	struct map *m = pick_map(place.r[0], true), rest;
	uint64_t pages, from, n;

	if (!m)
		return false;
	pages = m->length / PAGE;
	if (pages < 2) {
		pthread_rwlock_unlock(&m->lock);
		return false;
	}
	n = 1 + place.r[1] % (pages - 1);
	from = place.r[2] % 3 == 0  ? 0 :
		place.r[2] % 3 == 1 ? pages - n :
				      place.r[3] % (pages - n + 1);
	if (munmap(m->p + from * PAGE, n * PAGE))
		fail_operation("munmap: %s", strerror(errno));
	rest = *m;
	rest.p += (from + n) * PAGE;
	rest.offset += (from + n) * PAGE;
	rest.length = (pages - from - n) * PAGE;
	m->length = from * PAGE;
	if (!from)
		m->used = false;
	pthread_rwlock_unlock(&m->lock);
	if (rest.length)
		keep_map(&rest);
	return true;
}

bool op_mremap(void)
{
	struct map *m = pick_map(place.r[0], true);
	uint64_t length;
	char *to;

	if (!m)
		return false;
	length = place.r[1] % 4 ? m->length : (1 + place.r[2] % (m->length / PAGE)) * PAGE;
	/* Align it for huge pages, or not. */
	to = choose_address(length + HUGE_PAGES * PAGE) +
		(place.r[3] & 1 ? place.r[3] % HUGE_PAGES * PAGE : 0);
	if (mmap(to, length, PROT_NONE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1,
		 0) == MAP_FAILED) {
		pthread_rwlock_unlock(&m->lock);
		return false;
	}
	if (mremap(m->p, m->length, length, MREMAP_MAYMOVE | MREMAP_FIXED, to) == MAP_FAILED)
		fail_operation("mremap: %s", strerror(errno));
	m->p = to;
	m->length = length;
	touch(m, place.r[4], false);
	pthread_rwlock_unlock(&m->lock);
	return true;
}

bool op_mprotect(void)
{
	struct map *m = pick_map(place.r[0], true);
	int prot = place.r[1] & 1 ? PROT_READ : PROT_READ | PROT_WRITE;

	if (!m)
		return false;
	if (mprotect(m->p, m->length, prot))
		fail_operation("mprotect: %s", strerror(errno));
	m->writable = prot & PROT_WRITE;
	touch(m, place.r[2], m->writable);
	pthread_rwlock_unlock(&m->lock);
	return true;
}

struct what one_range(unsigned int d, uint32_t generation, uint64_t offset, uint64_t length)
{
	return (struct what){
		.size = length,
		.device = d,
		.generation = generation,
		.model = PEERBAR_MODEL_REVOCABLE,
		.nr = 1,
		.ranges = { { offset, length } },
	};
}

struct raw_range choose_range(uint64_t r)
{
	uint64_t pages = NUMBERED / PAGE;
	struct raw_range range;

	if (r % 16 == 0) {
		range.offset = (r >> 8) % (NUMBERED / (HUGE_PAGES * PAGE)) * HUGE_PAGES * PAGE;
		range.length = HUGE_PAGES * PAGE;
		return range;
	}
	range.length = (1 + (r >> 8) % (r % 4 ? 8 : 64)) * PAGE;
	range.offset = (r >> 16) % (pages - range.length / PAGE + 1) * PAGE;
	return range;
}

bool op_cookie(void)
{
	struct raw_range range = choose_range(place.r[1] | 1);
	struct map m = { .kind = OF_COOKIE };
	uint64_t slot, at;
	unsigned int d;
	void *p;

	if (!pick_device(place.r[0], &d, &slot))
		return false;
	if (!done(raw_cookie(slot_fd(slot), GPU_BAR, range.offset, range.length,
			     place.r[2] & 1 ? PEERBAR_MEMATTR_WC : PEERBAR_MEMATTR_NC, &at),
		  "cookie", ENODEV, EBUSY, badf_if_dropped(d, slot), 0))
		return true;
	/* All of it, or without its first page. */
	m.offset = range.length > PAGE && place.r[3] & 1 ? PAGE : 0;
	m.length = range.length - m.offset;
	m.writable = place.r[3] & 2;
	p = mmap(NULL, m.length, PROT_READ | (m.writable ? PROT_WRITE : 0), MAP_SHARED,
		 slot_fd(slot), (off_t)(at + m.offset));
	if (p == MAP_FAILED) {
		done(-errno, "mmap of a cookie", ENODEV, badf_if_dropped(d, slot), 0);
		return true;
	}
	m.p = p;
	m.what = one_range(d, slot_generation(slot), range.offset, range.length);
	keep_map(&m);
	return true;
}

bool op_region(void)
{
	struct raw_range range = choose_range(place.r[1]);
	struct map m = { .kind = OF_REGION };
	unsigned int d;
	uint64_t slot;
	void *p;

	if (!pick_device(place.r[0], &d, &slot))
		return false;
	m.length = range.length;
	m.writable = place.r[2] & 1;
	p = map_aligned(m.length, PROT_READ | (m.writable ? PROT_WRITE : 0), MAP_SHARED,
			slot_fd(slot), bar_offset[d] + range.offset);
	if (p == MAP_FAILED) {
		done(-errno, "mmap of a region", ENODEV, badf_if_dropped(d, slot), 0);
		return true;
	}
	m.p = p;
	m.what = one_range(d, slot_generation(slot), range.offset, range.length);
	keep_map(&m);
	return true;
}
