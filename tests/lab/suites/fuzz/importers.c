// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Random calls of PEERBAR_IMPORTERS: sizes, capacities, sizes of elements, and addresses of the two
 * arrays, which may overlap each other and the structure.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "fuzz.h"
#include "modules.h"
#include "testmod.h"

#define LISTINGS 3000

#define FULL ((uint32_t)sizeof(struct peerbar_importers))

/* The importers and pending fences of the buffer OURS; the others have none. */
#define IMPORTERS 3
#define FENCES	  1

/* One call. */
struct listing {
	struct place place; /* of the structure */
	struct place importers, fences;
	uint32_t size;
	bool tail; /* a byte behind the kernel's structure is not 0 */
	unsigned int kind;
	struct peerbar_importers request;
};

static int importer;

static void import_up(void)
{
	int fenced;

	importer = test_importer_open();
	fenced = test_import_attach(importer, fds[OURS], PEERBAR_TEST_KIND_FENCED, 0,
				    lab_bdf(LAB_NIC));
	ck_assert_int_gt(fenced, 0);
	ck_assert_int_eq(test_import_map(importer, fenced, NULL), 0);
	ck_assert_int_gt(test_import_attach(importer, fds[OURS], PEERBAR_TEST_KIND_REVOCABLE, 0,
					    lab_bdf(LAB_NIC)),
			 0);
	ck_assert_int_gt(test_import_attach(importer, fds[OURS], PEERBAR_TEST_KIND_LATE, 0,
					    lab_bdf(LAB_NVME)),
			 0);
}

/* ---- random arguments ---- */

static uint32_t any_size(void)
{
	switch (below(8)) {
	case 0:
		return below(FULL);
	case 1:
		return one_in(2) ? (uint32_t)PAGE + 1 + below(16) : any_bits();
	case 2:
		return (uint32_t)PAGE;
	case 3:
		return FULL + 1 + below(one_in(2) ? 16 : 2000);
	default:
		return FULL;
	}
}

static uint32_t any_capacity(void)
{
	static const uint32_t many[] = { 4095, 4096, 4097, 0x7fffffff, 0x80000000, 0xffffffff };

	if (one_in(4))
		return one_in(2) ? any_bits() : many[below(sizeof(many) / sizeof(many[0]))];
	return below(5);
}

static uint32_t any_element_size(uint32_t first)
{
	switch (below(8)) {
	case 0:
		return below(first);
	case 1:
		return one_in(2) ? (uint32_t)PAGE + 1 + below(16) : any_bits();
	case 2:
		return one_in(2) ? (uint32_t)PAGE : first + below((uint32_t)PAGE - first);
	case 3:
		return first + below(64);
	default:
		return first;
	}
}

static bool is_element_size(uint32_t size, uint32_t first)
{
	return size >= first && size <= PAGE;
}

static uint32_t least(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* Choose a place for an array of which the kernel fills in at most @most elements. */
static struct place any_array(uint32_t capacity, uint32_t size, uint32_t first, uint32_t most)
{
	return any_place(is_element_size(size, first) ? (size_t)least(capacity, most) * size :
							first);
}

/* Write the structure, and zeros or one other byte behind it. */
static void put_request(struct listing *l)
{
	uint8_t zeros[PAGE_MOST] = { 0 };
	size_t behind;

	put(&l->place, 0, &l->request, FULL);
	l->tail = false;
	if (l->size <= FULL || l->size > PAGE || !l->place.at || l->place.room <= FULL)
		return;
	put(&l->place, FULL, zeros, l->size - FULL);
	behind = (l->place.room < l->size ? l->place.room : l->size) - FULL;
	l->tail = one_in(3);
	if (l->tail)
		l->place.at[FULL + below((uint32_t)behind)] = 1 + (uint8_t)below(255);
}

static void any_listing(struct listing *l)
{
	struct peerbar_importers *r = &l->request;
	uint8_t *bytes = (uint8_t *)r;
	size_t i;

	for (i = 0; i < sizeof(*r); i++)
		bytes[i] = (uint8_t)any();
	l->kind = one_in(2) ? (unsigned int)OURS : any_fd();
	l->size = any_size();
	r->size = l->size;
	r->fd = fds[l->kind];
	r->flags = one_in(8) ? any_bits() : 0;
	r->nr_importers = any_capacity();
	r->nr_fences = any_capacity();
	r->importer_size = any_element_size(sizeof(struct peerbar_importer));
	r->fence_size = any_element_size(sizeof(struct peerbar_fence));
	l->place = any_place(l->size < sizeof(l->size) ? sizeof(l->size) : l->size);
	l->importers = any_array(r->nr_importers, r->importer_size, sizeof(struct peerbar_importer),
				 IMPORTERS);
	l->fences = any_array(r->nr_fences, r->fence_size, sizeof(struct peerbar_fence), FENCES);
	r->importers = (uintptr_t)l->importers.user;
	r->fences = (uintptr_t)l->fences.user;
	put_request(l);
}

/* ---- the expected result ---- */

/* Return the number of bytes of an array that the kernel fills in. */
static size_t filled(uint32_t capacity, uint32_t size, uint32_t there)
{
	return (size_t)least(capacity, there) * size;
}

static uint32_t there(const struct listing *l, uint32_t nr)
{
	return l->kind == OURS ? nr : 0;
}

static size_t filled_importers(const struct listing *l)
{
	return filled(l->request.nr_importers, l->request.importer_size, there(l, IMPORTERS));
}

static size_t filled_fences(const struct listing *l)
{
	return filled(l->request.nr_fences, l->request.fence_size, there(l, FENCES));
}

static int element_error(uint32_t nr, uint32_t size, uint32_t first)
{
	if (!nr || is_element_size(size, first))
		return 0;
	return size < first ? -EINVAL : -E2BIG;
}

/*
 * The result of what the kernel does before it writes. *other is another valid errno where the order
 * of the kernel's checks decides.
 */
static int error_before_writing(const struct listing *l, int *other)
{
	const struct peerbar_importers *r = &l->request;
	int error;

	*other = 0;
	if (l->place.room < sizeof(l->size))
		return -EFAULT;
	if (l->size > PAGE)
		return -E2BIG;
	if (l->size < FULL)
		return -EINVAL;
	if (l->place.room < l->size) {
		*other = l->tail ? -E2BIG : 0;
		return -EFAULT;
	}
	if (l->tail)
		return -E2BIG;
	if (r->flags)
		return -EINVAL;
	error = element_error(r->nr_importers, r->importer_size, sizeof(struct peerbar_importer));
	if (!error)
		error = element_error(r->nr_fences, r->fence_size, sizeof(struct peerbar_fence));
	if (error)
		return error;
	if (dma_buf_error(l->kind))
		return dma_buf_error(l->kind);
	return l->kind == UDMABUF ? -EOPNOTSUPP : 0;
}

static bool can_fill(const struct place *place, size_t bytes)
{
	return !bytes || (place->at && place->writable && place->room >= bytes);
}

static int error_of_writing(const struct listing *l)
{
	if (!can_fill(&l->importers, filled_importers(l)) ||
	    !can_fill(&l->fences, filled_fences(l)))
		return -EFAULT;
	return l->place.writable ? 0 : -EFAULT;
}

/* ---- checks ---- */

static struct span span(const struct place *place, size_t length)
{
	return (struct span){ place->at, place->at && place->room < length ? place->room : length };
}

static bool overlap(struct span a, struct span b)
{
	return a.at && b.at && a.at < b.at + b.length && b.at < a.at + a.length;
}

static void check_elements(const struct listing *l)
{
	uint32_t size = l->request.importer_size, i;
	uint64_t last = 0;

	for (i = 0; i < least(l->request.nr_importers, there(l, IMPORTERS)); i++) {
		const uint8_t *at = l->importers.at + (size_t)i * size;
		struct peerbar_importer element;
		size_t rest;

		memcpy(&element, at, sizeof(element));
		must(element.id > last, "importer %u has the id %llu, after %llu", i,
		     (unsigned long long)element.id, (unsigned long long)last);
		must(element.maps == (i ? 0 : 1), "importer %u has %u mappings", i, element.maps);
		last = element.id;
		for (rest = sizeof(element); rest < size; rest++)
			must(!at[rest],
			     "byte %zu of importer %u, which the kernel does not have, is %u", rest,
			     i, at[rest]);
	}
}

static void check_listing(const struct listing *l)
{
	struct span head = span(&l->place, FULL),
		    importers = span(&l->importers, filled_importers(l)),
		    fences = span(&l->fences, filled_fences(l));
	struct peerbar_importers list;

	/* The kernel writes it last, so no array is written over it. */
	memcpy(&list, l->place.at, sizeof(list));
	must(list.size == sizeof(list) && list.fd == fds[l->kind] && !list.flags,
	     "the list is of %u bytes, descriptor %d, flags 0x%x", list.size, list.fd, list.flags);
	must(list.importer_size == sizeof(struct peerbar_importer) &&
		     list.fence_size == sizeof(struct peerbar_fence),
	     "the kernel's elements have %u and %u bytes", list.importer_size, list.fence_size);
	must(list.nr_importers == there(l, IMPORTERS) && list.nr_fences == there(l, FENCES),
	     "%u importers and %u fences of kind %u", list.nr_importers, list.nr_fences, l->kind);
	must((list.state == PEERBAR_STATE_DEAD) == (l->kind == DEAD), "kind %u has the state %u",
	     l->kind, list.state);
	must(list.id, "kind %u has no id", l->kind);
	if (!overlap(importers, head) && !overlap(importers, fences))
		check_elements(l);
}

static void one_listing(int dev)
{
	struct listing l;
	struct span spans[3];
	int error, other, ret, want;

	any_listing(&l);
	remember();
	ret = ioctl(dev, PEERBAR_IMPORTERS, l.place.user);
	if (ret < 0) {
		ret = -errno;
		sane(-ret, "PEERBAR_IMPORTERS");
	}
	error = error_before_writing(&l, &other);
	want = error ? error : error_of_writing(&l);
	must(ret == want || (other && ret == other),
	     "size %u, %zu bytes of room, kind %u, flags 0x%x, %u importers of %u at 0x%llx, %u fences of %u at 0x%llx: %d, not %d",
	     l.size, l.place.room, l.kind, l.request.flags, l.request.nr_importers,
	     l.request.importer_size, (unsigned long long)l.request.importers, l.request.nr_fences,
	     l.request.fence_size, (unsigned long long)l.request.fences, ret, want);
	if (error) {
		untouched(NULL, 0, "a refused PEERBAR_IMPORTERS");
		return;
	}
	/* A call that fails later may have filled in elements before. */
	spans[0] = span(&l.importers, l.importers.writable ? filled_importers(&l) : 0);
	spans[1] = span(&l.fences, l.fences.writable ? filled_fences(&l) : 0);
	spans[2] = span(&l.place, ret ? 0 : FULL);
	untouched_outside(spans, 3, "PEERBAR_IMPORTERS");
	if (!ret)
		check_listing(&l);
}

START_TEST(importers)
{
	int dev;

	begin();
	fds_up();
	arena_up();
	import_up();
	dev = open("/dev/peerbar", O_RDWR | O_CLOEXEC);
	ck_assert_int_ge(dev, 0);
	for (call = 1; call <= LISTINGS; call++)
		one_listing(dev);
	close(dev);
	close(importer);
	arena_down();
	fds_down();
	finish(0);
}
END_TEST

LAB_SUITE_PART("fuzz")
{
	TCase *t = suite_case(s, "all", 300, modules_up, modules_down);

	tcase_add_test(t, importers);
}
