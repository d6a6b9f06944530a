// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Map device memory into this process, at addresses for huge mappings. */
#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>

#include "internal.h"

/*
 * A table of page table entries, 8 bytes each, is a page. So an entry of the next level maps page / 8
 * times as much: 2 MiB and 1 GiB with pages of 4 KiB, 32 MiB with 16 KiB, 512 MiB with 64 KiB.
 */
uint64_t pb_large_page_size(uint64_t length, uint64_t page)
{
	uint64_t middle = page * (page / 8), large = middle * (page / 8);

	if (length >= large)
		return large;
	return length >= middle ? middle : 0;
}

/*
 * Returns a free address with the same offset from a huge page boundary as @place, or NULL if
 * @length is too small. Only a hint: another thread may take the address.
 */
static void *find_large_page_hint(size_t length, uint64_t place)
{
	size_t large = (size_t)pb_large_page_size(length, pb_page_size());
	char *room;

	if (!large || length > SIZE_MAX - large)
		return NULL;
	room = mmap(NULL, length + large, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		    -1, 0);
	if (room == MAP_FAILED)
		return NULL;
	munmap(room, length + large);
	return room + ((size_t)(place - (uintptr_t)room) & (large - 1));
}

int pb_mmap(int fd, uint64_t offset, size_t length, bool writable, uint64_t place, void **address)
{
	void *p;

	p = mmap(find_large_page_hint(length, place), length,
		 PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED, fd, (off_t)offset);
	if (p == MAP_FAILED)
		return -errno;
	*address = p;
	return 0;
}

/* ---- buffers ---- */

static int fail_mmap(struct pb_buffer *buffer, const char *what, int ret, struct pb_error *err)
{
	struct pb_buffer_info info;

	if (pb_buffer_query(buffer, &info, NULL))
		info = buffer->dmabuf->info;
	/* dma-buf's errno for an exporter without mmap. */
	if (ret == -EINVAL && !info.mappable) {
		if (!strcmp(info.exporter, "vfio_pci_core"))
			return pb_fail_driver(err, info.bdf, "cannot map %s into this process",
					      what);
		return pb_fail(err, EOPNOTSUPP,
			       "cannot map %s into this process: its exporter '%s' refuses mmap",
			       what, info.exporter);
	}
	if (ret == -ENODEV && info.state == PB_BUFFER_DEAD)
		return pb_fail(err, ENODEV,
			       "cannot map %s into this process: the buffer was revoked permanently; its ranges can be exported "
			       "afresh",
			       what);
	if (ret == -EACCES)
		return pb_fail(err, EACCES,
			       "cannot map %s into this process for writing: its descriptor is for reading only",
			       what);
	return pb_fail_errno(err, -ret, "cannot map %s into this process (mmap)", what);
}

/*
 * Returns the offset in the BAR of the byte at @offset. A buffer that was not exported here is
 * assumed to begin at a huge page boundary.
 */
static uint64_t get_bar_offset(const struct pb_dmabuf *dmabuf, uint64_t offset)
{
	unsigned int i;

	for (i = 0; i < dmabuf->nr_ranges; i++) {
		if (offset < dmabuf->ranges[i].length)
			return dmabuf->ranges[i].offset + offset;
		offset -= dmabuf->ranges[i].length;
	}
	return offset;
}

int pb_buffer_mmap(struct pb_buffer *buffer, uint64_t offset, size_t length, bool writable,
		   void **address, struct pb_error *err)
{
	uint64_t size = buffer->dmabuf->info.size;
	char what[80];
	int ret;

	snprintf(what, sizeof(what), "0x%zx bytes at 0x%" PRIx64 " of a buffer", length, offset);
	if (!length || !pb_aligned(offset, pb_page_size()))
		return pb_fail(err, EINVAL,
			       "cannot map %s into this process: the offset must be a multiple of "
			       "the page size, 0x%" PRIx64 ", and the "
			       "length not 0",
			       what, pb_page_size());
	if (offset > size || length > size - offset)
		return pb_fail(err, ERANGE,
			       "cannot map %s into this process: its size is 0x%" PRIx64, what,
			       size);
	ret = pb_mmap(buffer->dmabuf->fd, offset, length, writable,
		      get_bar_offset(buffer->dmabuf, offset), address);
	return ret ? fail_mmap(buffer, what, ret, err) : 0;
}
