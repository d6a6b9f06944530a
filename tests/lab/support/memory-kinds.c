// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Memory of every kind, see memory-kinds.h. */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "kernel-exporters.h"
#include "memory-kinds.h"
#include "modules.h"
#include "testmod.h"

#define BAR_SIZE (256 * MIB)

static uint8_t *bar;

const char *kind_name(enum kind kind)
{
	static const char *const names[NR_KINDS] = { "host memory",	 "the BAR",
						     "parts of the BAR", "udmabuf",
						     "the system heap",	 "the CMB of an NVMe",
						     "PINNED memory",	 "REVOCABLE memory",
						     "DYNAMIC memory" };

	return names[kind];
}

void places_up(void)
{
	bar = bar_mmap(0, BAR_SIZE);
}

void places_down(void)
{
	munmap(bar, BAR_SIZE);
}

/*
 * Return the BAR offset of a byte of the buffer. Limit *length to the contiguous bytes from there.
 */
static uint64_t in_bar(const struct place *place, size_t offset, size_t *length)
{
	const struct pb_range *r = place->ranges;

	while (offset >= r->length)
		offset -= (r++)->length;
	if (*length > r->length - offset)
		*length = r->length - offset;
	return r->offset + offset;
}

static void export_parts(struct place *place, size_t size, unsigned int slot)
{
	uint64_t base = 64 * MIB * slot;

	/*
	 * 1 page, most of the size, 3 pages, the rest. No range follows its predecessor in the BAR.
	 */
	place->ranges[0] = (struct pb_range){ base + 63 * MIB, PAGE };
	place->ranges[1] = (struct pb_range){ base + MIB + PAGE, size - 128 * KIB };
	place->ranges[2] = (struct pb_range){ base, 3 * PAGE };
	place->ranges[3] = (struct pb_range){ base + 62 * MIB, 128 * KIB - 4 * PAGE };
	place->nr_ranges = 4;
}

void place_make(struct place *place, enum kind kind, size_t size, unsigned int slot)
{
	uint64_t lengths[] = { PAGE, size - 256 * KIB + 2 * PAGE, 256 * KIB - 3 * PAGE };

	*place = (struct place){
		.kind = kind,
		.fd = -1,
		.exporter = -1,
		.mem = { .size = size },
	};
	switch (kind) {
	case BAR:
		place->ranges[0] = (struct pb_range){ 64 * MIB * slot, size };
		place->nr_ranges = 1;
		place->buffer = export_ranges(place->ranges, 1);
		break;
	case PARTS:
		export_parts(place, size, slot);
		place->buffer = export_ranges(place->ranges, 4);
		break;
	case UDMABUF:
		place->fd = export_udmabuf(size);
		break;
	case HEAP:
		place->fd = export_system_heap(size);
		break;
	case CMB:
		ok(pb_pci_bind(lab_bdf(LAB_NVME_CMB), "vfio-pci", &err));
		ok(pb_device_open(fixture.iommu, lab_bdf(LAB_NVME_CMB), &place->device, &err));
		ok(pb_device_set_decoding(place->device, true, &err));
		place->ranges[0] = (struct pb_range){ 4 * MIB * slot, size };
		place->nr_ranges = 1;
		ok(pb_buffer_export(place->device, CMB_BAR, place->ranges, 1, 0, &place->buffer,
				    &err));
		ok(pb_device_mmap(place->device, CMB_BAR, 4 * MIB * slot, size, true,
				  (void **)&place->mem.p, &err));
		break;
	case PINNED:
	case REVOCABLE:
	case DYNAMIC:
		place->exporter = test_exporter_open();
		if (size <= 256 * KIB)
			lengths[1] = 256 * KIB - 4 * PAGE, lengths[2] = 3 * PAGE;
		place->fd = test_export(place->exporter, PEERBAR_TEST_SOURCE_CORE,
					kind == PINNED		  ? PEERBAR_MODEL_PINNED :
						kind == REVOCABLE ? PEERBAR_MODEL_REVOCABLE :
								    PEERBAR_MODEL_DYNAMIC,
					lengths, 3);
		ck_assert_msg(place->fd >= 0, "the test module exports nothing: %s",
			      strerror(-place->fd));
		break;
	default:
		break;
	}
	if (place->buffer)
		place->fd = pb_buffer_fd(place->buffer);
	if (kind == UDMABUF || kind == HEAP)
		place->mem.p = map_fd(place->fd, 0, size);
	if (kind == HOST) {
		place->mem.p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
				    -1, 0);
		ck_assert_ptr_ne(place->mem.p, MAP_FAILED);
	}
}

int part_register(struct place *place, struct end *end, size_t offset, size_t length, uint64_t iova,
		  int access, struct ibv_mr **mr)
{
	if (place->fd >= 0)
		*mr = ibv_reg_dmabuf_mr(end->pd, offset, length, iova, place->fd, access);
	else
		*mr = ibv_reg_mr(end->pd, place->mem.p + offset, length, access);
	return *mr ? 0 : errno;
}

void place_register(struct place *place, struct end *end, int access)
{
	/* The caller chooses the address of a dma-buf, except the offset in the page. */
	place->mem.addr = place->fd >= 0 ? 0x7000000000 + place->mem.size : (uintptr_t)place->mem.p;
	ck_assert_msg(!part_register(place, end, 0, place->mem.size, place->mem.addr, access,
				     &place->mem.mr),
		      "%zu bytes of %s cannot be registered: %s", place->mem.size,
		      kind_name(place->kind), strerror(errno));
}

void place_close(struct place *place)
{
	if (place->mem.mr)
		ck_assert_int_eq(ibv_dereg_mr(place->mem.mr), 0);
	if (place->mem.p)
		munmap(place->mem.p, place->mem.size);
	if (place->buffer)
		pb_buffer_close(place->buffer);
	else if (place->fd >= 0)
		close(place->fd);
	pb_device_close(place->device);
	if (place->exporter >= 0)
		close(place->exporter);
	memset(place, 0, sizeof(*place));
}

/* Copy to or from memory that is mapped here. */
static void copy_mapped(const struct place *place, void *to, const void *from, size_t length)
{
	if (place->kind == CMB)
		lab_copy(to, from, length);
	else
		memcpy(to, from, length);
}

void place_write(struct place *place, size_t offset, const void *data, size_t length)
{
	const uint8_t *p = data;

	if (place->mem.p) {
		copy_mapped(place, place->mem.p + offset, data, length);
		return;
	}
	if (place->exporter >= 0) {
		ck_assert_int_eq(test_write(place->exporter, place->fd, PEERBAR_TEST_PLACE_HERE,
					    offset, data, length),
				 0);
		return;
	}
	while (length) {
		size_t n = length;
		uint64_t at = in_bar(place, offset, &n);

		lab_copy(bar + at, p, n);
		p += n;
		offset += n;
		length -= n;
	}
}

void place_read(struct place *place, size_t offset, void *data, size_t length)
{
	uint8_t *p = data;

	if (place->mem.p) {
		copy_mapped(place, data, place->mem.p + offset, length);
		return;
	}
	if (place->exporter >= 0) {
		ck_assert_int_eq(test_read(place->exporter, place->fd, PEERBAR_TEST_PLACE_HERE,
					   offset, data, length),
				 0);
		return;
	}
	while (length) {
		size_t n = length;
		uint64_t at = in_bar(place, offset, &n);

		lab_host_read(at, p, n);
		p += n;
		offset += n;
		length -= n;
	}
}

void place_fill(struct place *place, uint8_t byte)
{
	uint8_t *bytes = malloc(place->mem.size);

	ck_assert_ptr_nonnull(bytes);
	memset(bytes, byte, place->mem.size);
	place_write(place, 0, bytes, place->mem.size);
	free(bytes);
}

bool place_has(struct place *place, size_t offset, const void *data, size_t length)
{
	uint8_t *seen = malloc(length + 1);
	bool same;

	ck_assert_ptr_nonnull(seen);
	place_read(place, offset, seen, length);
	same = !memcmp(seen, data, length);
	free(seen);
	return same;
}

bool place_has_all(struct place *place, size_t offset, const void *data, size_t length)
{
	const uint8_t *p = data;
	size_t at, n;

	if (place->mem.p || place->exporter >= 0)
		return place_has(place, offset, data, length);
	for (at = 0; at < length; at += n) {
		uint64_t in;

		n = length - at;
		in = in_bar(place, offset + at, &n);
		if (!lab_equal(bar + in, p + at, n))
			return false;
	}
	for (at = 0; at < length; at += 16 * PAGE)
		if (!place_has(place, offset + at, p + at, length - at < PAGE ? length - at : PAGE))
			return false;
	return !length || place_has(place, offset + length - 1, p + length - 1, 1);
}

unsigned int importers(int fd)
{
	return query(fd).importers;
}
