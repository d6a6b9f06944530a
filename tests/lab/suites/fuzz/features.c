// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Random VFIO_DEVICE_FEATURE requests, and huge ones. */
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "fuzz.h"
#include "modules.h"
#include "uapi.h"

#define FEATURES 2500

#define HEADER	  sizeof(struct vfio_device_feature)
#define UNDECIDED INT_MAX

union payload {
	struct peerbar_vfio_revoke revoke;
	struct peerbar_vfio_memattr memattr;
	struct peerbar_vfio_mmap_cookie cookie;
	struct {
		uint32_t region_index;
		uint32_t open_flags;
		uint32_t flags;
		uint32_t nr_ranges;
		struct vfio_region_dma_range ranges[8];
	} dma_buf;
	uint8_t bytes[16 + 8 * 16];
};

static void any_range(uint64_t *offset, uint64_t *length)
{
	*offset = one_in(3) ? any_number() : below(1000) * PAGE;
	*length = one_in(3) ? any_number() : (1 + below(8)) * PAGE;
}

static uint32_t any_nr_ranges(void)
{
	static const uint32_t many[] = {
		9,	 64,	     255,	 4096,	     0x3ffff,	 0x40000,
		0x40001, 0x0fffffff, 0x10000000, 0x7fffffff, 0x80000000, 0xffffffff,
	};

	return one_in(4) ? many[below(sizeof(many) / sizeof(many[0]))] : below(9);
}

static uint32_t any_region(void)
{
	if (!one_in(4))
		return GPU_BAR;
	return one_in(4) ? any_bits() : below(12);
}

/* Return whether a BAR can have the attribute. */
static bool good_memattr(uint32_t memattr)
{
#ifdef __aarch64__
	if (memattr == PEERBAR_MEMATTR_DEV)
		return true;
#endif
	return memattr == PEERBAR_MEMATTR_NC || memattr == PEERBAR_MEMATTR_WC;
}

/* Return an attribute: NC, WC, WB or DEV. */
static uint32_t random_memattr(void)
{
	uint32_t memattr = below(4);

	return memattr == 3 ? PEERBAR_MEMATTR_DEV : memattr;
}

static void any_payload(uint32_t number, unsigned int kind, union payload *payload)
{
	unsigned int i;

	for (i = 0; i < sizeof(payload->bytes); i++)
		payload->bytes[i] = (uint8_t)any();
	if (one_in(16))
		return;
	switch (number) {
	case VFIO_DEVICE_FEATURE_DMA_BUF:
		payload->dma_buf.region_index = any_region();
		payload->dma_buf.open_flags = one_in(2) ? O_RDWR | O_CLOEXEC : any_bits();
		payload->dma_buf.flags = one_in(8) ? any_bits() : 0;
		payload->dma_buf.nr_ranges = one_in(2) ? 1 : any_nr_ranges();
		for (i = 0; i < 8; i++) {
			uint64_t offset, length;

			any_range(&offset, &length);
			payload->dma_buf.ranges[i].offset = offset;
			payload->dma_buf.ranges[i].length = length;
		}
		break;
	case VFIO_DEVICE_FEATURE_PEERBAR_MMAP_COOKIE: {
		uint64_t offset, length;

		any_range(&offset, &length);
		payload->cookie.region_index = any_region();
		payload->cookie.open_flags = one_in(8) ? any_bits() : 0;
		payload->cookie.flags = one_in(8) ? any_bits() : 0;
		payload->cookie.nr_ranges = one_in(8) ? any_nr_ranges() : 1;
		payload->cookie.offset = offset;
		payload->cookie.length = length;
		payload->cookie.memattr = one_in(8) ? any_bits() : below(2);
		payload->cookie.reserved = one_in(8) ? any_bits() : 0;
		break;
	}
	case VFIO_DEVICE_FEATURE_PEERBAR_MEMATTR:
		payload->memattr.dmabuf_fd = fds[kind];
		payload->memattr.memattr = one_in(3) ? any_bits() : random_memattr();
		break;
	default:
		payload->revoke.dmabuf_fd = fds[kind];
	}
}

static size_t payload_size(uint32_t number)
{
	switch (number) {
	case VFIO_DEVICE_FEATURE_DMA_BUF:
		return sizeof(struct vfio_device_feature_dma_buf);
	case VFIO_DEVICE_FEATURE_PEERBAR_MMAP_COOKIE:
		return sizeof(struct peerbar_vfio_mmap_cookie);
	case VFIO_DEVICE_FEATURE_PEERBAR_MEMATTR:
		return sizeof(struct peerbar_vfio_memattr);
	default:
		return sizeof(struct peerbar_vfio_revoke);
	}
}

/* Return the kind of a random descriptor number. */
static unsigned int kind_of(int fd)
{
	unsigned int i;

	for (i = 0; i < FDS; i++)
		if (fds[i] == fd)
			return i;
	return fd < 0 || fd > 4096 ? (unsigned int)BAD : (unsigned int)FDS;
}

static int fd_result(uint32_t number, uint32_t flags, const union payload *payload, bool writable)
{
	unsigned int kind = kind_of(payload->revoke.dmabuf_fd);
	int error = kind < FDS ? owner_error(kind) : 0;

	if (kind == FDS)
		return UNDECIDED;
	if (error)
		return error;
	if (number == VFIO_DEVICE_FEATURE_PEERBAR_REVOKE)
		return kind == DEAD ? -EBADFD : 0;
	if (flags & VFIO_DEVICE_FEATURE_GET)
		return writable ? 0 : -EFAULT;
	if (!good_memattr(payload->memattr.memattr))
		return -EOPNOTSUPP;
	return kind == DEAD ? -ENODEV : 0;
}

/* Return whether the range is valid in the GPU's BAR. */
static bool good_range(uint64_t offset, uint64_t length)
{
	return !(offset % PAGE) && !(length % PAGE) && length && length <= 256 * MIB &&
		offset <= 256 * MIB - length;
}

static int feature_result(const struct place *place, uint32_t argsz, uint32_t flags,
			  const union payload *payload)
{
	uint32_t number = flags & VFIO_DEVICE_FEATURE_MASK,
		 ways = flags & (VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_SET), may;
	const struct peerbar_vfio_mmap_cookie *cookie = &payload->cookie;

	if (place->room < HEADER)
		return -EFAULT;
	if (argsz < HEADER || flags >> 19)
		return -EINVAL;
	if (!(flags & VFIO_DEVICE_FEATURE_PROBE) &&
	    ways == (VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_SET))
		return -EINVAL;
	switch (number) {
	case VFIO_DEVICE_FEATURE_DMA_BUF:
	case VFIO_DEVICE_FEATURE_PEERBAR_MMAP_COOKIE:
		may = VFIO_DEVICE_FEATURE_GET;
		break;
	case VFIO_DEVICE_FEATURE_PEERBAR_MEMATTR:
		may = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_SET;
		break;
	case VFIO_DEVICE_FEATURE_PEERBAR_REVOKE:
		may = VFIO_DEVICE_FEATURE_SET;
		break;
	default:
		return -ENOTTY;
	}
	if (ways & ~may)
		return -EINVAL;
	if (flags & VFIO_DEVICE_FEATURE_PROBE)
		return 0;
	if (!ways || argsz - HEADER < payload_size(number))
		return -EINVAL;
	if (place->room < HEADER + payload_size(number))
		return -EFAULT;
	switch (number) {
	case VFIO_DEVICE_FEATURE_DMA_BUF:
		/* A fully valid call succeeds. Otherwise several errnos may apply. */
		if (place->room < HEADER + 32 || argsz < HEADER + 32 ||
		    payload->dma_buf.nr_ranges != 1 ||
		    payload->dma_buf.open_flags != (O_RDWR | O_CLOEXEC) || payload->dma_buf.flags ||
		    payload->dma_buf.region_index != GPU_BAR ||
		    !good_range(payload->dma_buf.ranges[0].offset,
				payload->dma_buf.ranges[0].length))
			return UNDECIDED;
		return 0;
	case VFIO_DEVICE_FEATURE_PEERBAR_MMAP_COOKIE:
		if (cookie->open_flags || cookie->flags || cookie->reserved ||
		    cookie->nr_ranges != 1)
			return -EINVAL;
		if (!good_memattr(cookie->memattr))
			return -EOPNOTSUPP;
		if (cookie->region_index != GPU_BAR || !good_range(cookie->offset, cookie->length))
			return UNDECIDED;
		return place->writable ? 0 : -EFAULT;
	default:
		return fd_result(number, flags, payload, place->writable);
	}
}

/* Return true if a cookie was created. */
static bool one_feature(void)
{
	static const uint32_t numbers[] = { VFIO_DEVICE_FEATURE_DMA_BUF,
					    VFIO_DEVICE_FEATURE_PEERBAR_REVOKE,
					    VFIO_DEVICE_FEATURE_PEERBAR_MEMATTR,
					    VFIO_DEVICE_FEATURE_PEERBAR_MMAP_COOKIE };
	static const uint32_t unknown[] = { 0x5041, 0x5045, 0x50ff, 0x4243, 0xfffe, 0xffff };
	uint32_t number = one_in(16) ? unknown[below(6)] : numbers[below(4)], flags = number, argsz;
	size_t size = payload_size(number), place_size, changed_at = 0, changed = 0;
	unsigned int kind = any_fd();
	struct vfio_device_feature header;
	union payload payload;
	struct place place;
	int ret, want;

	if (one_in(4))
		flags |= below(8) * VFIO_DEVICE_FEATURE_GET;
	else if (number == VFIO_DEVICE_FEATURE_PEERBAR_REVOKE ||
		 (number == VFIO_DEVICE_FEATURE_PEERBAR_MEMATTR && one_in(2)))
		flags |= VFIO_DEVICE_FEATURE_SET;
	else
		flags |= VFIO_DEVICE_FEATURE_GET;
	if (one_in(16))
		flags |= 1U << (19 + below(13));
	switch (below(8)) {
	case 0:
		argsz = below((uint32_t)(HEADER + size) + 1);
		break;
	case 1:
		argsz = one_in(2) ? 0xffffffff : any_bits();
		break;
	case 2:
		argsz = (uint32_t)(HEADER + size) + below(200);
		break;
	default:
		argsz = (uint32_t)(HEADER + size +
				   (number == VFIO_DEVICE_FEATURE_DMA_BUF ? 16 : 0));
	}
	any_payload(number, kind, &payload);
	/* The whole array of ranges, or one range. */
	place_size = HEADER + size + (number == VFIO_DEVICE_FEATURE_DMA_BUF ? 16 : 0);
	if (number == VFIO_DEVICE_FEATURE_DMA_BUF && one_in(2))
		place_size = HEADER + sizeof(payload);
	place = any_place(place_size);
	header.argsz = argsz;
	header.flags = flags;
	put(&place, 0, &header, HEADER);
	put(&place, HEADER, &payload,
	    number == VFIO_DEVICE_FEATURE_DMA_BUF ? sizeof(payload) : size);
	remember();

	ret = ioctl(pb_device_fd(fixture.gpu), VFIO_DEVICE_FEATURE, place.user);
	if (ret < 0) {
		ret = -errno;
		sane(-ret, "a feature");
	}
	want = feature_result(&place, argsz, flags, &payload);
	if (number == VFIO_DEVICE_FEATURE_DMA_BUF &&
	    (flags & 7 * VFIO_DEVICE_FEATURE_GET) == VFIO_DEVICE_FEATURE_GET && ret >= 0) {
		/* It returned a descriptor, even if other arguments are invalid. */
		must(!close(ret), "what DMA_BUF returned, %d, is no descriptor", ret);
		must(payload.dma_buf.nr_ranges && !payload.dma_buf.flags,
		     "DMA_BUF with %u ranges and the flags 0x%x made a buffer",
		     payload.dma_buf.nr_ranges, payload.dma_buf.flags);
		ret = 0;
	}
	must(want == UNDECIDED ? ret <= 0 : ret == want,
	     "feature 0x%x, argsz %u, %zu bytes of room%s, descriptor %d: %d, not %d", flags, argsz,
	     place.room, place.writable ? "" : " (read only)", payload.revoke.dmabuf_fd, ret,
	     want == UNDECIDED ? 0 : want);
	if (ret || flags & VFIO_DEVICE_FEATURE_PROBE) {
		untouched(NULL, 0, "a feature that did nothing");
		return false;
	}
	if (number == VFIO_DEVICE_FEATURE_PEERBAR_MEMATTR && flags & VFIO_DEVICE_FEATURE_GET) {
		changed_at = HEADER + offsetof(struct peerbar_vfio_memattr, memattr);
		changed = sizeof(payload.memattr.memattr);
	} else if (number == VFIO_DEVICE_FEATURE_PEERBAR_MMAP_COOKIE) {
		changed_at = HEADER + offsetof(struct peerbar_vfio_mmap_cookie, mmap_offset);
		changed = sizeof(payload.cookie.mmap_offset);
	} else if (number == VFIO_DEVICE_FEATURE_PEERBAR_REVOKE) {
		/* Replace the revoked buffer by a new one of its kind. */
		kind = kind_of(payload.revoke.dmabuf_fd);
		must(query(fds[kind]).state == PEERBAR_STATE_DEAD, "a revoked buffer is not dead");
		if (kind != DEAD) {
			close(fds[kind]);
			fds[kind] = export_raw(fixture.gpu, GPU_BAR, 0, BUFFER_PAGES * PAGE,
					       (kind == OURS ? O_RDWR : O_RDONLY) | O_CLOEXEC);
		}
	}
	untouched(place.at + changed_at, changed, "a feature");
	return number == VFIO_DEVICE_FEATURE_PEERBAR_MMAP_COOKIE;
}

START_TEST(features)
{
	unsigned int cookies = 0;

	begin();
	fds_up();
	arena_up();
	for (call = 1; call <= FEATURES; call++)
		cookies += one_feature();
	arena_down();
	fds_down();
	printf("fuzz: %u cookies\n", cookies);
	ck_assert_uint_gt(cookies, 0);
	finish(cookies);
}
END_TEST

/*
 * Request as many zeroed ranges as the kernel can just copy at once, and more. Run in a child,
 * which can be killed if the call never returns. @missing: the memory ends where the kernel may
 * assume it has copied all of it; otherwise it continues there, but is not populated.
 */
static void huge_request(uint32_t number, uint32_t nr_ranges, bool missing)
{
	size_t most = 4 * MIB, size = missing ? PAGE + most : PAGE + 4 * most;
	int child, status;
	uint8_t *p;

	child = fork();
	if (!child) {
		struct vfio_device_feature header = { .argsz = HEADER + 16,
						      .flags = VFIO_DEVICE_FEATURE_GET | number };
		uint32_t words[4] = { GPU_BAR, O_RDWR | O_CLOEXEC, 0, nr_ranges };
		int ret;

		/* Check's runner handles SIGALRM. */
		signal(SIGALRM, SIG_DFL);
		alarm(30);
		if (number == VFIO_DEVICE_FEATURE_PEERBAR_MMAP_COOKIE) {
			words[1] = 0;
			header.argsz = HEADER + sizeof(struct peerbar_vfio_mmap_cookie);
		}
		p = mmap(NULL, size + PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
			 -1, 0);
		if (p == MAP_FAILED || mprotect(p, size, PROT_READ | PROT_WRITE))
			_exit(1);
		madvise(p, size, MADV_NOHUGEPAGE);
		memcpy(p + PAGE - HEADER, &header, HEADER);
		memcpy(p + PAGE, words, sizeof(words));
		ret = ioctl(pb_device_fd(fixture.gpu), VFIO_DEVICE_FEATURE, p + PAGE - HEADER);
		_exit(ret >= 0 ? 2 : errno > 0 && errno < 134 ? 0 : 3);
	}
	status = wait_for(child);
	must(status != 128 + SIGALRM,
	     "feature 0x%x with 0x%x ranges, the memory of which %s, is never answered", number,
	     nr_ranges, missing ? "ends early" : "is not there yet");
	must(!status, "feature 0x%x with 0x%x ranges: status %d", number, nr_ranges, status);
}

START_TEST(huge_requests)
{
	static const uint32_t many[] = { 0x3fffe, 0x3ffff,    0x40000,	 0x40001,
					 0x80000, 0x10000000, 0xffffffff };
	size_t i;

	begin();
	for (i = 0; i < sizeof(many) / sizeof(many[0]); i++) {
		call = many[i];
		huge_request(VFIO_DEVICE_FEATURE_DMA_BUF, many[i], false);
		huge_request(VFIO_DEVICE_FEATURE_DMA_BUF, many[i], true);
		huge_request(VFIO_DEVICE_FEATURE_PEERBAR_MMAP_COOKIE, many[i], true);
	}
	finish(0);
}
END_TEST

LAB_SUITE_PART("fuzz")
{
	TCase *t = suite_case(s, "all", 300, modules_up, modules_down);

	tcase_add_test(t, features);
	tcase_add_test(t, huge_requests);
}
