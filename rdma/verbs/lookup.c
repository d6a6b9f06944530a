// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Resolve an address to the buffer that is mapped there. */
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "internal.h"

/* A mapping of a buffer in this process. */
struct place {
	uint64_t start;
	uint64_t end;
	uint64_t offset;
	struct pb_buffer *buffer;
	bool writable;
};

struct pbv_space {
	pthread_rwlock_t lock;
	unsigned int nr;
	unsigned int room;
	struct place *places; /* ascending by @start */
};

static uint64_t get_page_mask(void)
{
	return (uint64_t)sysconf(_SC_PAGESIZE) - 1;
}

/* ---- the table ---- */

int pbv_space_create(struct pbv_space **space, struct pb_error *err)
{
	struct pbv_space *new = calloc(1, sizeof(*new));

	if (!new)
		return pbv_fail_errno(err, ENOMEM, "cannot make a register of mappings");
	pthread_rwlock_init(&new->lock, NULL);
	*space = new;
	return 0;
}

/* The index of the first mapping that ends after the address. */
static unsigned int find_place(const struct pbv_space *space, uint64_t address)
{
	unsigned int low = 0, high = space->nr;

	while (low < high) {
		unsigned int mid = low + (high - low) / 2;

		if (space->places[mid].end <= address)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static int add_place(struct pbv_space *space, void *address, size_t length,
		     struct pb_buffer *buffer, uint64_t offset, bool writable, struct pb_error *err)
{
	uint64_t start = (uintptr_t)address, size = pb_buffer_size(buffer), pages;
	struct place *places;
	struct place new;
	unsigned int at;
	int ret;

	if (!length || start & get_page_mask() || offset & get_page_mask())
		return pbv_fail(err, EINVAL,
				"cannot register a mapping of 0x%zx bytes at the address %p, of a "
				"buffer from "
				"0x%" PRIx64 " on: address and offset must be multiples of the "
				"page size, and the length not 0",
				length, address, offset);
	pages = (length + get_page_mask()) & ~get_page_mask();
	if (pages < length || offset > size || pages > size - offset || start + pages < start)
		return pbv_fail(err, ERANGE,
				"cannot register a mapping of 0x%zx bytes at the address %p, of a "
				"buffer from "
				"0x%" PRIx64 " on: the buffer's size is 0x%" PRIx64,
				length, address, offset, size);
	new = (struct place){
		.start = start, .end = start + pages, .offset = offset, .writable = writable
	};
	ret = pb_buffer_share(buffer, &new.buffer, err);
	if (ret)
		return ret;
	pthread_rwlock_wrlock(&space->lock);
	at = find_place(space, start);
	if (at < space->nr && space->places[at].start < new.end) {
		ret = pbv_fail(err, EEXIST,
			       "cannot register a mapping of 0x%zx bytes at the address %p: one of "
			       "0x%" PRIx64 " bytes is "
			       "registered at 0x%" PRIx64,
			       length, address, space->places[at].end - space->places[at].start,
			       space->places[at].start);
		goto err_unlock;
	}
	if (space->nr == space->room) {
		places = reallocarray(space->places, space->room ? 2 * space->room : 16,
				      sizeof(*places));
		if (!places) {
			ret = pbv_fail_errno(err, ENOMEM, "cannot register a mapping");
			goto err_unlock;
		}
		space->places = places;
		space->room = space->room ? 2 * space->room : 16;
	}
	memmove(&space->places[at + 1], &space->places[at], (space->nr - at) * sizeof(new));
	space->places[at] = new;
	space->nr++;
	pthread_rwlock_unlock(&space->lock);
	return 0;

err_unlock:
	pthread_rwlock_unlock(&space->lock);
	pb_buffer_close(new.buffer);
	return ret;
}

int pbv_space_add(struct pbv_space *space, void *address, size_t length, struct pb_buffer *buffer,
		  uint64_t offset, struct pb_error *err)
{
	return add_place(space, address, length, buffer, offset, true, err);
}

static int remove_place(struct pbv_space *space, void *address, struct place *place,
			struct pb_error *err)
{
	unsigned int at;

	pthread_rwlock_wrlock(&space->lock);
	at = find_place(space, (uintptr_t)address);
	if (at == space->nr || space->places[at].start != (uintptr_t)address) {
		pthread_rwlock_unlock(&space->lock);
		return pbv_fail(err, ENOENT,
				"no mapping is registered that begins at the address %p", address);
	}
	*place = space->places[at];
	space->nr--;
	memmove(&space->places[at], &space->places[at + 1], (space->nr - at) * sizeof(*place));
	pthread_rwlock_unlock(&space->lock);
	pb_buffer_close(place->buffer);
	return 0;
}

int pbv_space_remove(struct pbv_space *space, void *address, struct pb_error *err)
{
	struct place place;

	return remove_place(space, address, &place, err);
}

int pbv_space_mmap(struct pbv_space *space, struct pb_buffer *buffer, uint64_t offset,
		   size_t length, bool writable, void **address, struct pb_error *err)
{
	void *p;
	int ret;

	ret = pb_buffer_mmap(buffer, offset, length, writable, &p, err);
	if (ret)
		return ret;
	ret = add_place(space, p, length, buffer, offset, writable, err);
	if (ret) {
		munmap(p, length);
		return ret;
	}
	*address = p;
	return 0;
}

int pbv_space_munmap(struct pbv_space *space, void *address, struct pb_error *err)
{
	struct place place;
	int ret;

	ret = remove_place(space, address, &place, err);
	if (ret)
		return ret;
	if (munmap(address, (size_t)(place.end - place.start)))
		return pbv_fail_errno(err, errno,
				      "cannot unmap the mapping at the address %p "
				      "(munmap)",
				      address);
	return 0;
}

void pbv_space_destroy(struct pbv_space *space)
{
	unsigned int i;

	if (!space)
		return;
	for (i = 0; i < space->nr; i++)
		pb_buffer_close(space->places[i].buffer);
	pthread_rwlock_destroy(&space->lock);
	free(space->places);
	free(space);
}

static int fail_ends_elsewhere(const void *address, size_t length, uint64_t end,
			       struct pb_error *err)
{
	return pbv_fail(err, ERANGE,
			"0x%zx bytes at the address %p begin in a mapping of a buffer, and end "
			"elsewhere: the "
			"mapping goes up to 0x%" PRIx64,
			length, address, end);
}

/* Returns 1 and a new handle of the buffer, 0, or -errno. */
static int search_space(struct pbv_space *space, const void *address, size_t length,
			struct place *found, struct pb_error *err)
{
	uint64_t start = (uintptr_t)address, end = start + length;
	struct place *place, *next;
	unsigned int at;
	int ret = 0;

	pthread_rwlock_rdlock(&space->lock);
	at = find_place(space, start);
	if (at == space->nr || space->places[at].start > start)
		goto unlock;
	place = &space->places[at];
	*found = *place;
	found->offset += start - place->start;
	/* Treat adjacent mappings of contiguous parts of a buffer as one. */
	while (end > place->end) {
		next = place + 1;
		if (next == space->places + space->nr || next->start != place->end ||
		    pb_buffer_id(next->buffer) != pb_buffer_id(place->buffer) ||
		    next->offset != place->offset + (place->end - place->start)) {
			ret = fail_ends_elsewhere(address, length, place->end, err);
			goto unlock;
		}
		found->writable &= next->writable;
		place = next;
	}
	ret = pb_buffer_share(found->buffer, &found->buffer, err);
	if (!ret)
		ret = 1;
unlock:
	pthread_rwlock_unlock(&space->lock);
	return ret;
}

/* ---- /proc ---- */

bool pbv_parse_maps(const char *line, struct pbv_vma *vma)
{
	uint64_t start, end, offset, inode;
	char perms[5];
	int name = 0;

	if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %x:%x %" SCNu64 " %n", &start,
		   &end, perms, &offset, &vma->major, &vma->minor, &inode, &name) < 7 ||
	    !name)
		return false;
	vma->start = start;
	vma->end = end;
	vma->offset = offset;
	vma->inode = inode;
	vma->writable = perms[1] == 'w';
	vma->shared = perms[3] == 's';
	/* The pages of a private mapping may be copies. */
	vma->dmabuf = vma->shared && inode && !strncmp(line + name, "/dmabuf:", 8);
	return true;
}

/* Returns 1 and the contiguous mapping around @address, 0 if it is not a dma-buf's, or -errno. */
static int search_maps(const void *address, size_t length, struct pbv_vma *found,
		       struct pb_error *err)
{
	uint64_t start = (uintptr_t)address, end = start + length;
	char *line = NULL;
	size_t size = 0;
	struct pbv_vma vma;
	int ret = 0;
	FILE *f;

	f = fopen("/proc/self/maps", "re");
	if (!f)
		return pbv_fail_errno(err, errno,
				      "cannot read /proc/self/maps, to find the "
				      "mapping at the address %p",
				      address);
	while (getline(&line, &size, f) > 0) {
		if (!pbv_parse_maps(line, &vma) || vma.end <= start)
			continue;
		if (!ret) {
			if (vma.start > start || !vma.dmabuf)
				break;
			*found = vma;
			ret = 1;
		} else {
			/* Treat a mapping that mprotect() split as one. */
			if (vma.start != found->end || !vma.dmabuf || vma.inode != found->inode ||
			    vma.major != found->major || vma.minor != found->minor ||
			    vma.offset != found->offset + (found->end - found->start)) {
				ret = fail_ends_elsewhere(address, length, found->end, err);
				break;
			}
			found->end = vma.end;
			found->writable &= vma.writable;
		}
		if (found->end >= end)
			break;
	}
	if (ret > 0 && found->end < end)
		ret = fail_ends_elsewhere(address, length, found->end, err);
	free(line);
	fclose(f);
	return ret;
}

/* Find an open descriptor of this dma-buf in this process. */
static int find_descriptor(const void *address, const struct pbv_vma *vma,
			   struct pb_buffer **buffer, struct pb_error *err)
{
	struct dirent *entry;
	struct stat st;
	DIR *dir;

	dir = opendir("/proc/self/fd");
	if (!dir)
		return pbv_fail_errno(err, errno,
				      "cannot list /proc/self/fd, to find a descriptor of the dma-buf at the address "
				      "%p",
				      address);
	while ((entry = readdir(dir))) {
		char *rest;
		long fd = strtol(entry->d_name, &rest, 10);

		if (*rest || rest == entry->d_name || fstat((int)fd, &st) ||
		    st.st_ino != vma->inode || st.st_dev != makedev(vma->major, vma->minor))
			continue;
		if (pb_buffer_from_fd((int)fd, buffer, NULL))
			continue;
		/* The number may have been closed and reused since fstat(). */
		if (pb_buffer_id(*buffer) == vma->inode) {
			closedir(dir);
			return 0;
		}
		pb_buffer_close(*buffer);
	}
	closedir(dir);
	return pbv_fail(err, ENOENT,
			"a dma-buf, number %" PRIu64 ", is mapped at the address %p, but "
			"this process has no descriptor of it: keep one open, or register the "
			"mapping with pbv_space_add()",
			vma->inode, address);
}

static int look_up(struct pbv_space *space, const void *address, size_t length, struct place *place,
		   struct pb_error *err)
{
	struct pbv_vma vma = { 0 };
	int ret;

	if (!length)
		return pbv_fail(err, EINVAL,
				"cannot look up 0 bytes at the address %p: the length "
				"must not be 0",
				address);
	if ((uintptr_t)address + length - 1 < (uintptr_t)address)
		return pbv_fail(err, ERANGE,
				"cannot look up 0x%zx bytes at the address %p: their "
				"end would be beyond 2^64",
				length, address);
	ret = space ? search_space(space, address, length, place, err) : 0;
	if (ret)
		return ret;
	ret = search_maps(address, length, &vma, err);
	if (ret <= 0)
		return ret;
	ret = find_descriptor(address, &vma, &place->buffer, err);
	if (ret)
		return ret;
	place->offset = vma.offset + ((uintptr_t)address - vma.start);
	place->writable = vma.writable;
	return 1;
}

int pbv_lookup(struct pbv_space *space, const void *address, size_t length,
	       struct pb_buffer **buffer, uint64_t *offset, struct pb_error *err)
{
	struct place place;
	int ret;

	ret = look_up(space, address, length, &place, err);
	if (ret < 0)
		return ret;
	*buffer = ret ? place.buffer : NULL;
	if (ret && offset)
		*offset = place.offset;
	return 0;
}

int pbv_reg_address(struct pbv_space *space, struct ibv_pd *pd, void *address, size_t length,
		    int access, unsigned int flags, struct pbv_mr **mr, struct pb_error *err)
{
	const int writes = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE |
		IBV_ACCESS_REMOTE_ATOMIC;
	struct place place;
	int ret;

	ret = look_up(space, address, length, &place, err);
	if (ret < 0)
		return ret;
	if (!ret)
		return pbv_reg_memory(pd, address, length, access, mr, err);
	if (access & writes && !place.writable)
		ret = pbv_fail(err, EACCES,
			       "cannot register 0x%zx bytes at the address %p for writing: the buffer is mapped "
			       "there for reading only",
			       length, address);
	else
		ret = pbv_reg_buffer(pd, place.buffer, place.offset, length, (uintptr_t)address,
				     access, flags, mr, err);
	pb_buffer_close(place.buffer);
	return ret;
}
