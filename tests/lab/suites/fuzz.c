// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Random calls with invalid arguments: the ioctls of /dev/peerbar, the features of the driver,
 * mmap() and netlink.
 *
 * Where peerbar defines the rules, the test computes the expected result of each call. Elsewhere a
 * call must return, with a valid errno if it fails. No call may change bytes of the caller outside
 * its structure, or leak an object. LAB_SEED repeats a run.
 */
#include <fcntl.h>
#include <limits.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "kernel-exporters.h"
#include "modules.h"
#include "uapi.h"

#define IOCTLS 2000
#define FEATURES 2500
#define MAPPINGS 1500
#define MESSAGES 2000

#define BUFFER_PAGES 16ULL /* of the buffers that the calls use */

/* ---- random numbers ---- */

static unsigned long long seed;
static unsigned long long chance;
static unsigned int call; /* its number in the test */

/*
 * Check a condition. If it is false, abort the test, with the seed and the call that reproduce it.
 */
#define must(cond, fmt, ...)                                                                                                     \
	do {                                                                                                                     \
		if (!(cond))                                                                                                     \
			ck_abort_msg("seed %llu, call %u: " fmt, seed, call, ##__VA_ARGS__);                                     \
	} while (0)

static uint64_t any(void)
{
	uint64_t x = chance += 0x9e3779b97f4a7c15;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return x ^ x >> 31;
}

static uint32_t below(uint32_t n)
{
	return (uint32_t)(any() % n);
}

static bool one_in(uint32_t n)
{
	return !below(n);
}

/* Return random bits, often a single one. */
static uint32_t any_bits(void)
{
	return one_in(2) ? 1U << below(32) : (uint32_t)any();
}

static uint64_t any_number(void)
{
	static const uint64_t edges[] = {
		0, 1, 4095, PAGE, 3 * PAGE, MIB, 256 * MIB - PAGE, 256 * MIB, 1ULL << 32, 1ULL << 63, ~0ULL, ~0ULL - PAGE + 1,
		0x7fffffffffffffff, 0x7ffffffffffff000,
	};

	switch (below(4)) {
	case 0:
		return edges[below(sizeof(edges) / sizeof(edges[0]))];
	case 1:
		return edges[below(sizeof(edges) / sizeof(edges[0]))] + below(3) - 1;
	case 2:
		return any() >> below(64);
	default:
		return any() >> below(64) & ~(PAGE - 1);
	}
}

static void sane(int code, const char *what)
{
	must(code > 0 && code < 134, "%s is refused with %d", what, code);
}

/* ---- state before a test, which must be the same afterwards ---- */

static unsigned int fds_then, listed_then;

/* The last reference of a buffer may be dropped a moment later: retry. */
static void listed_are(unsigned int want)
{
	unsigned int i, n = count_listed();

	for (i = 0; i < 200 && n != want; i++) {
		usleep(10000);
		n = count_listed();
	}
	must(n == want, "%u buffers are listed, and should be %u", n, want);
}

/* Export a buffer of a device's BAR without the library. */
static int export_raw(struct pb_device *device, uint32_t bar, uint64_t offset, uint64_t length, uint32_t open_flags)
{
	struct {
		struct vfio_device_feature_dma_buf dma_buf;
		struct vfio_region_dma_range range;
	} request = { { .region_index = bar, .open_flags = open_flags, .nr_ranges = 1 }, { offset, length } };
	int fd = feature(device, VFIO_DEVICE_FEATURE_GET, VFIO_DEVICE_FEATURE_DMA_BUF, &request, sizeof(request));

	must(fd >= 0, "a buffer of BAR %u cannot be exported: %s", bar, strerror(-fd));
	return fd;
}

/* Make one valid call of each kind. */
static void still_works(void)
{
	struct pb_buffer *buffer = export_one(MIB, 2 * PAGE);
	int fd = pb_buffer_fd(buffer);
	struct peerbar_query q = query(fd);
	uint8_t *p;

	must(q.flags & PEERBAR_QUERY_OURS && q.length == 2 * PAGE, "a query has the flags 0x%x and the length %llu", q.flags,
	     (unsigned long long)q.length);
	state_is(fd, PEERBAR_STATE_LIVE);
	must(feature_memattr(gpu, fd) == PEERBAR_MEMATTR_NC, "a new buffer's attribute is %d", feature_memattr(gpu, fd));
	p = map_fd(fd, 0, 2 * PAGE);
	must(p && can_read(p, NULL) && can_read(p + PAGE, NULL), "a buffer cannot be mapped and read");
	munmap(p, 2 * PAGE);
	must(!feature_revoke(gpu, fd), "a buffer cannot be revoked");
	state_is(fd, PEERBAR_STATE_DEAD);
	pb_buffer_close(buffer);
}

static void begin(void)
{
	const char *given = getenv("LAB_SEED");
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	seed = given && *given ? strtoull(given, NULL, 0) : (unsigned long long)(now.tv_sec ^ now.tv_nsec) % 1000000;
	chance = seed;
	call = 0;
	printf("fuzz: seed %llu\n", seed);
	fflush(stdout);
	/*
	 * The library's query of a device's first buffer leaves a descriptor open: make it before
	 * counting.
	 */
	still_works();
	fds_then = count_fds();
	listed_then = count_listed();
}

/* Check for leaks. @cookies were created, and end when the device's descriptor is closed. */
static void finish(unsigned int cookies)
{
	unsigned int n = count_fds();

	must(n == fds_then, "%u descriptors were open before the calls, %u are now", fds_then, n);
	listed_are(listed_then + cookies);
	if (cookies) {
		pb_device_close(gpu);
		gpu = NULL;
		listed_are(listed_then);
		gpu = lab_open(iommu, LAB_GPU);
		ok(pb_device_set_decoding(gpu, true, &err));
	}
	still_works();
	listed_are(listed_then);
	must(count_fds() == fds_then, "the valid calls afterwards leave a descriptor");
}

/* ---- descriptors of all kinds, and the errnos for them ---- */

enum { OURS, READ_ONLY, DEAD, EDUS, UDMABUF, NO_DMA_BUF, NO_DMA_BUF_LAST = NO_DMA_BUF + 4, PATH, BAD, BAD_LAST = BAD + 3, FDS };

static int fds[FDS];

static void fds_up(void)
{
	fds[OURS] = export_raw(gpu, GPU_BAR, 4 * MIB, BUFFER_PAGES * PAGE, O_RDWR | O_CLOEXEC);
	fds[READ_ONLY] = export_raw(gpu, GPU_BAR, 0, BUFFER_PAGES * PAGE, O_RDONLY | O_CLOEXEC);
	fds[DEAD] = export_raw(gpu, GPU_BAR, 0, BUFFER_PAGES * PAGE, O_RDWR | O_CLOEXEC);
	must(!feature_revoke(gpu, fds[DEAD]), "a buffer cannot be revoked");
	fds[EDUS] = export_raw(edu_device, 0, 0, PAGE, O_RDWR | O_CLOEXEC);
	fds[UDMABUF] = foreign_udmabuf(4 * PAGE);
	fds[NO_DMA_BUF] = open("/dev/null", O_RDWR | O_CLOEXEC);
	fds[NO_DMA_BUF + 1] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	fds[NO_DMA_BUF + 2] = open("/dev/peerbar", O_RDWR | O_CLOEXEC);
	fds[NO_DMA_BUF + 3] = pb_device_fd(gpu);
	fds[NO_DMA_BUF_LAST] = pb_iommu_fd(iommu);
	fds[PATH] = open("/dev/null", O_PATH | O_CLOEXEC);
	fds[BAD] = -1;
	fds[BAD + 1] = open("/dev/null", O_RDWR | O_CLOEXEC);
	close(fds[BAD + 1]);
	/* A number that no descriptor gets during the calls. */
	fds[BAD + 1] += 500;
	fds[BAD + 2] = INT_MAX;
	fds[BAD_LAST] = INT_MIN;
	ck_assert_int_ge(fds[NO_DMA_BUF], 0);
	ck_assert_int_ge(fds[NO_DMA_BUF + 1], 0);
	ck_assert_int_ge(fds[NO_DMA_BUF + 2], 0);
	ck_assert_int_ge(fds[PATH], 0);
}

static void fds_down(void)
{
	int i;

	for (i = 0; i <= PATH; i++)
		if (fds[i] != pb_device_fd(gpu) && fds[i] != pb_iommu_fd(iommu))
			close(fds[i]);
}

/* The result of dma_buf_get(). */
static int dma_buf_error(unsigned int kind)
{
	if (kind < NO_DMA_BUF)
		return 0;
	return kind < PATH ? -EINVAL : -EBADF;
}

/* The result of the driver's check that the GPU exported it. */
static int owner_error(unsigned int kind)
{
	return kind == EDUS || kind == UDMABUF ? -ENODEV : dma_buf_error(kind);
}

static unsigned int any_fd(void)
{
	return one_in(2) ? below(NO_DMA_BUF) : below(FDS);
}

/*
 * ---- the caller's memory: two pages and a read-only mapping of them, each with a guard page ----
 */

#define ARENA (2 * PAGE)

static uint8_t *arena, *arena_ro;
static uint8_t arena_then[ARENA];

static uint8_t *arena_view(int fd, int prot)
{
	uint8_t *p = mmap(NULL, ARENA + PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ck_assert_ptr_ne(p, MAP_FAILED);
	ck_assert_ptr_eq(mmap(p, ARENA, prot, MAP_SHARED | MAP_FIXED, fd, 0), p);
	return p;
}

static void arena_up(void)
{
	int fd = memfd_create("arena", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, (off_t)ARENA), 0);
	arena = arena_view(fd, PROT_READ | PROT_WRITE);
	arena_ro = arena_view(fd, PROT_READ);
	close(fd);
	lab_pattern(arena, ARENA, (uint32_t)seed);
}

static void arena_down(void)
{
	munmap(arena, ARENA + PAGE);
	munmap(arena_ro, ARENA + PAGE);
}

struct place {
	uint8_t *at; /* for the test's accesses; NULL if there is no memory */
	void *user; /* the kernel's argument */
	size_t room; /* readable bytes there */
	bool writable;
};

/*
 * Choose an address for @want bytes: usually with enough room, sometimes with less, sometimes
 * invalid.
 */
static struct place any_place(size_t want)
{
	static const uint64_t nowhere[] = {
		0, 1, 8, 0x1000, 0x7ffffffff000, 0x7ffffffffff8, 0x8000000000000000, 0xffff888000000000, 0xfffffffffffff000,
		0xfffffffffffffff8, 0xffffffffffffffff,
	};
	struct place place = { 0 };
	size_t at;

	if (one_in(16)) {
		place.user = (void *)(uintptr_t)nowhere[below(sizeof(nowhere) / sizeof(nowhere[0]))];
		return place;
	}
	if (one_in(16)) {
		place.user = arena + ARENA + below((uint32_t)PAGE / 2);
		return place;
	}
	if (want > ARENA)
		want = ARENA;
	if (one_in(2)) {
		/* It ends with the page, or some bytes are missing. */
		at = ARENA - (one_in(4) ? below((uint32_t)want + 1) : want);
	} else {
		at = one_in(4) ? below(64) : 8 * below(64);
	}
	place.at = arena + at;
	place.room = ARENA - at;
	place.writable = !one_in(8);
	place.user = place.writable ? place.at : arena_ro + at;
	return place;
}

/* Write as much as there is room for. */
static void put(const struct place *place, size_t at, const void *data, size_t length)
{
	if (!place->at || at >= place->room)
		return;
	memcpy(place->at + at, data, length < place->room - at ? length : place->room - at);
}

static void remember(void)
{
	memcpy(arena_then, arena, ARENA);
}

/* Check that no byte changed except @length bytes at @at. */
static void untouched(const uint8_t *at, size_t length, const char *what)
{
	size_t first = at ? (size_t)(at - arena) : ARENA, i;

	if (!memcmp(arena, arena_then, first) &&
	    (first + length >= ARENA || !memcmp(arena + first + length, arena_then + first + length, ARENA - first - length)))
		return;
	for (i = 0; i < ARENA && (arena[i] == arena_then[i] || (i >= first && i < first + length)); i++)
		;
	must(false, "%s changed a byte %lld from its structure's start", what, (long long)i - (long long)first);
}

/* ---- /dev/peerbar ---- */

/* The first version's size, which the kernel still accepts. Its structures have grown since. */
static uint32_t least_size(uint32_t nr)
{
	return nr ? offsetof(struct peerbar_query, revocations) : sizeof(struct peerbar_info);
}

/* *other is another valid errno where the order of the kernel's checks decides. */
static int ioctl_result(uint32_t cmd, const struct place *place, uint32_t size, bool tail, bool flags, unsigned int kind,
			int *other)
{
	uint32_t full = _IOC_NR(cmd) ? sizeof(struct peerbar_query) : sizeof(struct peerbar_info);

	*other = 0;
	if (_IOC_TYPE(cmd) != PEERBAR_IOC || _IOC_DIR(cmd) != (_IOC_READ | _IOC_WRITE) || _IOC_NR(cmd) > 1)
		return -ENOTTY;
	if (place->room < sizeof(size))
		return -EFAULT;
	if (size > PAGE)
		return -E2BIG;
	if (size < least_size(_IOC_NR(cmd)))
		return -EINVAL;
	if (size > full && place->room < size) {
		*other = tail ? -E2BIG : 0;
		return -EFAULT;
	}
	if (size > full && tail)
		return -E2BIG;
	if (place->room < (size < full ? size : full))
		return -EFAULT;
	if (flags)
		return -EINVAL;
	if (_IOC_NR(cmd) && dma_buf_error(kind))
		return dma_buf_error(kind);
	return place->writable ? 0 : -EFAULT;
}

static void one_ioctl(int dev)
{
	uint32_t nr = one_in(8) ? below(256) : below(2), type = one_in(16) ? 0xa0 + below(0x60) : PEERBAR_IOC;
	uint32_t dir = one_in(16) ? below(4) : _IOC_READ | _IOC_WRITE;
	uint32_t full = nr ? sizeof(struct peerbar_query) : sizeof(struct peerbar_info);
	uint32_t cmd = _IOC(dir, type, nr, one_in(2) ? full : below(1 << _IOC_SIZEBITS)), size;
	bool tail = one_in(3), flags = one_in(8);
	struct peerbar_query request;
	unsigned int kind = any_fd();
	int ret, want, other;
	struct place place;
	uint8_t *bytes = (uint8_t *)&request;
	size_t i;

	switch (below(8)) {
	case 0:
		size = below(full);
		break;
	case 1:
		size = one_in(2) ? (uint32_t)PAGE + 1 + below(16) : any_bits();
		break;
	case 2:
		size = (uint32_t)PAGE;
		break;
	case 3:
	case 4:
		size = full + 1 + below(one_in(2) ? 16 : 2000);
		break;
	default:
		size = full;
	}
	place = any_place(size < sizeof(size) ? sizeof(size) : size);
	for (i = 0; i < sizeof(request); i++)
		bytes[i] = (uint8_t)any();
	request.size = size;
	if (nr)
		request.fd = fds[kind];
	/* The flags are the third word of one structure, and the second of the other. */
	((uint32_t *)&request)[nr ? 2 : 1] = flags ? any_bits() | 1 : 0;
	put(&place, 0, &request, full);
	if (size > full && size <= PAGE && place.at) {
		uint8_t zeros[PAGE] = { 0 };

		put(&place, full, zeros, size - full);
		/* Set one byte that has room. */
		if (place.room <= full)
			tail = false;
		else if (tail)
			place.at[full + below((uint32_t)(place.room < size ? place.room : size) - full)] =
				1 + (uint8_t)below(255);
	}
	remember();

	ret = ioctl(dev, cmd, place.user);
	if (ret < 0) {
		ret = -errno;
		sane(-ret, "an ioctl");
	}
	want = ioctl_result(cmd, &place, size, tail, flags, kind, &other);
	must(ret == want || (other && ret == other),
	     "ioctl 0x%08x with a size of %u, %zu bytes of room and descriptor %d (kind %u): %d, not %d", cmd, size, place.room,
	     fds[kind], kind, ret, want);
	if (size > full)
		size = full;
	untouched(ret ? NULL : place.at, ret ? 0 : size, "an ioctl");
	if (ret)
		return;
	if (nr) {
		memcpy(&request, place.at, size);
		must(request.size == sizeof(request) && request.fd == fds[kind], "a query says it is of descriptor %d",
		     request.fd);
		must(!(request.flags & PEERBAR_QUERY_OURS) == (kind == UDMABUF), "a query of kind %u has the flags 0x%x", kind,
		     request.flags);
		must((request.state == PEERBAR_STATE_DEAD) == (kind == DEAD), "a query of kind %u has the state %u", kind,
		     request.state);
	} else {
		struct peerbar_info info;

		memcpy(&info, place.at, sizeof(info));
		must(info.size == sizeof(info) && info.abi == 1 && !info.flags, "the information is of ABI %u", info.abi);
	}
}

START_TEST(ioctls)
{
	int dev;

	begin();
	fds_up();
	arena_up();
	dev = open("/dev/peerbar", O_RDWR | O_CLOEXEC);
	ck_assert_int_ge(dev, 0);
	for (call = 1; call <= IOCTLS; call++)
		one_ioctl(dev);
	close(dev);
	arena_down();
	fds_down();
	finish(0);
}
END_TEST

/* ---- features of the device ---- */

#define HEADER sizeof(struct vfio_device_feature)
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
		9, 64, 255, 4096, 0x3ffff, 0x40000, 0x40001, 0x0fffffff, 0x10000000, 0x7fffffff, 0x80000000, 0xffffffff,
	};

	return one_in(4) ? many[below(sizeof(many) / sizeof(many[0]))] : below(9);
}

static uint32_t any_region(void)
{
	if (!one_in(4))
		return GPU_BAR;
	return one_in(4) ? any_bits() : below(12);
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
		payload->memattr.memattr = one_in(3) ? any_bits() : below(3);
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
	if (payload->memattr.memattr > PEERBAR_MEMATTR_WC)
		return -EOPNOTSUPP;
	return kind == DEAD ? -ENODEV : 0;
}

/* Return whether the range is valid in the GPU's BAR. */
static bool good_range(uint64_t offset, uint64_t length)
{
	return !(offset % PAGE) && !(length % PAGE) && length && length <= 256 * MIB && offset <= 256 * MIB - length;
}

static int feature_result(const struct place *place, uint32_t argsz, uint32_t flags, const union payload *payload)
{
	uint32_t number = flags & VFIO_DEVICE_FEATURE_MASK, ways = flags & (VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_SET),
		 may;
	const struct peerbar_vfio_mmap_cookie *cookie = &payload->cookie;

	if (place->room < HEADER)
		return -EFAULT;
	if (argsz < HEADER || flags >> 19)
		return -EINVAL;
	if (!(flags & VFIO_DEVICE_FEATURE_PROBE) && ways == (VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_SET))
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
		if (place->room < HEADER + 32 || argsz < HEADER + 32 || payload->dma_buf.nr_ranges != 1 ||
		    payload->dma_buf.open_flags != (O_RDWR | O_CLOEXEC) || payload->dma_buf.flags ||
		    payload->dma_buf.region_index != GPU_BAR ||
		    !good_range(payload->dma_buf.ranges[0].offset, payload->dma_buf.ranges[0].length))
			return UNDECIDED;
		return 0;
	case VFIO_DEVICE_FEATURE_PEERBAR_MMAP_COOKIE:
		if (cookie->open_flags || cookie->flags || cookie->reserved || cookie->nr_ranges != 1)
			return -EINVAL;
		if (cookie->memattr > PEERBAR_MEMATTR_WC)
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
	static const uint32_t numbers[] = { VFIO_DEVICE_FEATURE_DMA_BUF, VFIO_DEVICE_FEATURE_PEERBAR_REVOKE,
					    VFIO_DEVICE_FEATURE_PEERBAR_MEMATTR, VFIO_DEVICE_FEATURE_PEERBAR_MMAP_COOKIE };
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
	else if (number == VFIO_DEVICE_FEATURE_PEERBAR_REVOKE || (number == VFIO_DEVICE_FEATURE_PEERBAR_MEMATTR && one_in(2)))
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
		argsz = (uint32_t)(HEADER + size + (number == VFIO_DEVICE_FEATURE_DMA_BUF ? 16 : 0));
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
	put(&place, HEADER, &payload, number == VFIO_DEVICE_FEATURE_DMA_BUF ? sizeof(payload) : size);
	remember();

	ret = ioctl(pb_device_fd(gpu), VFIO_DEVICE_FEATURE, place.user);
	if (ret < 0) {
		ret = -errno;
		sane(-ret, "a feature");
	}
	want = feature_result(&place, argsz, flags, &payload);
	if (number == VFIO_DEVICE_FEATURE_DMA_BUF && (flags & 7 * VFIO_DEVICE_FEATURE_GET) == VFIO_DEVICE_FEATURE_GET &&
	    ret >= 0) {
		/* It returned a descriptor, even if other arguments are invalid. */
		must(!close(ret), "what DMA_BUF returned, %d, is no descriptor", ret);
		must(payload.dma_buf.nr_ranges && !payload.dma_buf.flags,
		     "DMA_BUF with %u ranges and the flags 0x%x made a buffer", payload.dma_buf.nr_ranges, payload.dma_buf.flags);
		ret = 0;
	}
	must(want == UNDECIDED ? ret <= 0 : ret == want, "feature 0x%x, argsz %u, %zu bytes of room%s, descriptor %d: %d, not %d",
	     flags, argsz, place.room, place.writable ? "" : " (read only)", payload.revoke.dmabuf_fd, ret,
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
			fds[kind] = export_raw(gpu, GPU_BAR, 0, BUFFER_PAGES * PAGE,
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
		struct vfio_device_feature header = { .argsz = HEADER + 16, .flags = VFIO_DEVICE_FEATURE_GET | number };
		uint32_t words[4] = { GPU_BAR, O_RDWR | O_CLOEXEC, 0, nr_ranges };
		int ret;

		/* Check's runner handles SIGALRM. */
		signal(SIGALRM, SIG_DFL);
		alarm(30);
		if (number == VFIO_DEVICE_FEATURE_PEERBAR_MMAP_COOKIE) {
			words[1] = 0;
			header.argsz = HEADER + sizeof(struct peerbar_vfio_mmap_cookie);
		}
		p = mmap(NULL, size + PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (p == MAP_FAILED || mprotect(p, size, PROT_READ | PROT_WRITE))
			_exit(1);
		madvise(p, size, MADV_NOHUGEPAGE);
		memcpy(p + PAGE - HEADER, &header, HEADER);
		memcpy(p + PAGE, words, sizeof(words));
		ret = ioctl(pb_device_fd(gpu), VFIO_DEVICE_FEATURE, p + PAGE - HEADER);
		_exit(ret >= 0 ? 2 : errno > 0 && errno < 134 ? 0 : 3);
	}
	status = wait_for(child);
	must(status != 128 + SIGALRM, "feature 0x%x with 0x%x ranges, the memory of which %s, is never answered", number,
	     nr_ranges, missing ? "ends early" : "is not there yet");
	must(!status, "feature 0x%x with 0x%x ranges: status %d", number, nr_ranges, status);
}

START_TEST(huge_requests)
{
	static const uint32_t many[] = { 0x3fffe, 0x3ffff, 0x40000, 0x40001, 0x80000, 0x10000000, 0xffffffff };
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

/* ---- mmap ---- */

#define COOKIES 4
#define COOKIE_PAGES 16ULL
#define RESERVE (64 * MIB)

static uint64_t regions[9], cookie_at[COOKIES];
static uint8_t *reserve;

static uint64_t any_offset(bool device)
{
	uint64_t at;

	if (one_in(8))
		return any_number();
	if (!device)
		return below((uint32_t)BUFFER_PAGES + 2) * PAGE + (one_in(16) ? below((uint32_t)PAGE) : 0);
	if (one_in(2))
		return cookie_at[below(COOKIES)] + (below((uint32_t)COOKIE_PAGES + 4) - 2) * PAGE;
	at = regions[one_in(2) ? GPU_BAR : below(9)];
	if (one_in(4))
		return at + 256 * MIB - below(8) * PAGE;
	return at + below(8) * PAGE + (one_in(2) ? below(128) * 2 * MIB : 0);
}

static uint64_t any_length(void)
{
	switch (below(8)) {
	case 0:
		return any_number();
	case 1:
		return below(4 * (uint32_t)PAGE);
	case 2:
		return below(9) * 2 * MIB;
	default:
		return (1 + below(18)) * PAGE;
	}
}

static int any_map_flags(void)
{
	static const int more[] = {
		MAP_NORESERVE, MAP_POPULATE, MAP_NONBLOCK, MAP_LOCKED, MAP_GROWSDOWN, MAP_STACK, MAP_HUGETLB, MAP_SYNC,
		MAP_DENYWRITE, MAP_EXECUTABLE, MAP_32BIT,
	};
	int flags = one_in(8) ? (int)below(16) : one_in(8) ? MAP_SHARED_VALIDATE : MAP_SHARED;

	while (one_in(3))
		flags |= more[below(sizeof(more) / sizeof(more[0]))];
	if (one_in(16))
		flags |= (int)(any_bits() & ~(0xfU | MAP_FIXED | MAP_ANONYMOUS));
	return flags;
}

/* Reserve the addresses again after a fixed mapping is gone, or failed. */
static void reserve_again(void)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;

	ck_assert_ptr_eq(mmap(reserve, RESERVE, PROT_NONE, flags, -1, 0), reserve);
}

static void one_mapping(const int *from, unsigned int nr)
{
	unsigned int which = below(nr), i;
	uint64_t offset = any_offset(!which), length = any_length(), whole = (length + PAGE - 1) & ~(PAGE - 1);
	int prot = one_in(8) ? (int)below(16) : one_in(2) ? PROT_READ : PROT_READ | PROT_WRITE, flags = any_map_flags();
	uint8_t *at = NULL, *p;
	long ret;

	/* Use MAP_FIXED only within the reserve. */
	if (one_in(6) && whole <= RESERVE / 2) {
		at = reserve + below((uint32_t)(RESERVE / 2 / PAGE)) * PAGE + (one_in(16) ? 1 + below((uint32_t)PAGE - 1) : 0);
		flags |= MAP_FIXED;
	} else if (one_in(6)) {
		at = (uint8_t *)(uintptr_t)any_number();
	}
	ret = syscall(SYS_mmap, at, length, prot, flags, from[which], offset);
	if (ret == -1) {
		sane(errno, "mmap");
		if (flags & MAP_FIXED)
			reserve_again();
		return;
	}
	p = (uint8_t *)ret;
	must((flags & 0xf) == MAP_SHARED || (flags & 0xf) == MAP_SHARED_VALIDATE, "mmap with the flags 0x%x succeeds",
	     (unsigned int)flags);
	must(!(offset % PAGE) && length, "mmap of 0x%llx bytes at 0x%llx succeeds", (unsigned long long)length,
	     (unsigned long long)offset);
	if (which)
		must(offset / PAGE <= BUFFER_PAGES && whole / PAGE <= BUFFER_PAGES - offset / PAGE,
		     "mmap of 0x%llx bytes at 0x%llx of a buffer succeeds", (unsigned long long)length,
		     (unsigned long long)offset);
	else
		must(whole <= 256 * MIB, "mmap of 0x%llx bytes of the device succeeds", (unsigned long long)length);
	must(which != 2 || !(prot & PROT_WRITE), "a buffer for reading only can be mapped for writing");
	/* The access succeeds or raises SIGBUS: both are valid. */
	if (prot & PROT_READ) {
		can_read(p, NULL);
		can_read(p + whole - 1, NULL);
		for (i = 0; i < 3; i++)
			can_read(p + any() % whole, NULL);
	}
	must(!munmap(p, whole), "what was mapped cannot be unmapped: %s", strerror(errno));
	if (flags & MAP_FIXED)
		reserve_again();
}

START_TEST(mappings)
{
	bool decoding = true;
	unsigned int i;
	int from[4];

	begin();
	for (i = 0; i < 9; i++) {
		struct vfio_region_info info = { .argsz = sizeof(info), .index = i };

		if (!ioctl(pb_device_fd(gpu), VFIO_DEVICE_GET_REGION_INFO, &info))
			regions[i] = info.offset;
	}
	for (i = 0; i < COOKIES; i++)
		ck_assert_int_eq(feature_cookie(gpu, GPU_BAR, i * 4 * MIB, COOKIE_PAGES * PAGE, i & 1, &cookie_at[i]), 0);
	reserve = mmap(NULL, RESERVE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ck_assert_ptr_ne(reserve, MAP_FAILED);
	from[0] = pb_device_fd(gpu);
	from[1] = export_raw(gpu, GPU_BAR, 4 * MIB, BUFFER_PAGES * PAGE, O_RDWR | O_CLOEXEC);
	from[2] = export_raw(gpu, GPU_BAR, 0, BUFFER_PAGES * PAGE, O_RDONLY | O_CLOEXEC);
	from[3] = export_raw(gpu, GPU_BAR, 8 * MIB, BUFFER_PAGES * PAGE, O_RDWR | O_CLOEXEC);
	for (call = 1; call <= MAPPINGS; call++) {
		/* Revoke the memory for some of the time, and one buffer permanently. */
		if (one_in(decoding ? 50 : 10)) {
			decoding = !decoding;
			ok(pb_device_set_decoding(gpu, decoding, &err));
		}
		if (one_in(50))
			ck_assert_int_eq(feature_set_memattr(gpu, from[1], below(2)), 0);
		if (call == MAPPINGS / 2)
			ck_assert_int_eq(feature_revoke(gpu, from[3]), 0);
		one_mapping(from, 4);
	}
	ok(pb_device_set_decoding(gpu, true, &err));
	munmap(reserve, RESERVE);
	close(from[1]), close(from[2]), close(from[3]);
	finish(COOKIES);
}
END_TEST

/* ---- netlink ---- */

#define ROOM 4096

static int netlink_open(void)
{
	struct sockaddr_nl self = { .nl_family = AF_NETLINK };
	int sock = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);

	ck_assert_int_ge(sock, 0);
	ck_assert_int_eq(bind(sock, (struct sockaddr *)&self, sizeof(self)), 0);
	return sock;
}

static uint32_t answer[65536 / 4];

/* Receive the next datagram. Return its length, or 0 if there is none. */
static size_t netlink_next(int sock)
{
	ssize_t n;

	do {
		n = recv(sock, answer, sizeof(answer), MSG_DONTWAIT | MSG_TRUNC);
	} while (n < 0 && errno == ENOBUFS);
	if (n < 0 && errno != EAGAIN)
		sane(errno, "an answer");
	must(n <= (ssize_t)sizeof(answer), "an answer has %zd bytes", n);
	return n < 0 ? 0 : (size_t)n;
}

/* Append an attribute. Return the message's new length. */
static size_t put_attribute(uint8_t *message, size_t at, uint16_t type, const void *data, size_t length)
{
	struct nlattr attribute = { .nla_len = (uint16_t)(NLA_HDRLEN + length), .nla_type = type };

	memcpy(message + at, &attribute, NLA_HDRLEN);
	memcpy(message + at + NLA_HDRLEN, data, length);
	memset(message + at + NLA_HDRLEN + length, 0, (4 - length % 4) % 4);
	return at + NLA_HDRLEN + NLA_ALIGN(length);
}

static size_t put_header(uint8_t *message, uint16_t type, uint16_t flags, uint8_t cmd)
{
	struct nlmsghdr header = { .nlmsg_type = type, .nlmsg_flags = flags, .nlmsg_seq = call };
	struct genlmsghdr generic = { .cmd = cmd, .version = 1 };

	memcpy(message, &header, NLMSG_HDRLEN);
	memcpy(message + NLMSG_HDRLEN, &generic, GENL_HDRLEN);
	return NLMSG_HDRLEN + GENL_HDRLEN;
}

static void set_length(uint8_t *message, uint32_t length)
{
	memcpy(message, &length, sizeof(length));
}

/*
 * Find an attribute's payload in the message in answer[]. NULL if it has none, or is of another
 * family.
 */
static const void *find_attribute(uint16_t family, size_t length, uint16_t type, size_t size)
{
	const uint8_t *bytes = (const uint8_t *)answer;
	const struct nlmsghdr *header = (const struct nlmsghdr *)answer;
	size_t at = NLMSG_HDRLEN + GENL_HDRLEN;

	if (length < at || header->nlmsg_type != family || header->nlmsg_len > length)
		return NULL;
	while (at + NLA_HDRLEN <= header->nlmsg_len) {
		const struct nlattr *attribute = (const struct nlattr *)(bytes + at);

		if (attribute->nla_len < NLA_HDRLEN || attribute->nla_len > header->nlmsg_len - at)
			return NULL;
		if ((attribute->nla_type & NLA_TYPE_MASK) == type)
			return attribute->nla_len >= NLA_HDRLEN + size ? bytes + at + NLA_HDRLEN : NULL;
		at += NLA_ALIGN(attribute->nla_len);
	}
	return NULL;
}

static uint16_t resolve(int sock)
{
	uint8_t message[128];
	size_t length = put_header(message, GENL_ID_CTRL, NLM_F_REQUEST, CTRL_CMD_GETFAMILY);
	const void *id;
	uint16_t family;

	length = put_attribute(message, length, CTRL_ATTR_FAMILY_NAME, PEERBAR_GENL_NAME, sizeof(PEERBAR_GENL_NAME));
	set_length(message, (uint32_t)length);
	ck_assert_int_eq(send(sock, message, length, 0), (int)length);
	id = find_attribute(GENL_ID_CTRL, netlink_next(sock), CTRL_ATTR_FAMILY_ID, sizeof(family));
	ck_assert_ptr_nonnull(id);
	memcpy(&family, id, sizeof(family));
	return family;
}

/* Check that a valid request is answered. */
static void netlink_answers(uint16_t family, uint64_t id)
{
	int sock = netlink_open();
	uint8_t message[64];
	const void *told;
	size_t length;

	length = put_header(message, family, NLM_F_REQUEST, PEERBAR_CMD_BUFFER_GET);
	length = put_attribute(message, length, PEERBAR_A_ID, &id, sizeof(id));
	set_length(message, (uint32_t)length);
	ck_assert_int_eq(send(sock, message, length, 0), (int)length);
	told = find_attribute(family, netlink_next(sock), PEERBAR_A_ID, sizeof(id));
	must(told && !memcmp(told, &id, sizeof(id)), "buffer %llu is there, but netlink does not answer", (unsigned long long)id);
	close(sock);
}

static void check_attributes(const uint8_t *bytes, size_t length)
{
	size_t at = 0;

	while (at < length) {
		struct nlattr attribute;

		must(length - at >= NLA_HDRLEN, "an answer ends in %zu bytes that are nothing", length - at);
		memcpy(&attribute, bytes + at, NLA_HDRLEN);
		must(attribute.nla_len >= NLA_HDRLEN && attribute.nla_len <= length - at,
		     "an answer's attribute has %u bytes of %zu", attribute.nla_len, length - at);
		must((attribute.nla_type & NLA_TYPE_MASK) <= PEERBAR_A_MAX, "an answer has the attribute %u", attribute.nla_type);
		at += NLA_ALIGN(attribute.nla_len);
	}
}

/* Check that the messages of a datagram are complete and valid. */
static void check_answer(uint16_t family, size_t length)
{
	const uint8_t *bytes = (const uint8_t *)answer;
	size_t at = 0, head = NLMSG_HDRLEN + GENL_HDRLEN;
	struct nlmsghdr header;
	int error;

	while (at < length) {
		must(length - at >= NLMSG_HDRLEN, "an answer ends in %zu bytes that are nothing", length - at);
		memcpy(&header, bytes + at, NLMSG_HDRLEN);
		must(header.nlmsg_len >= NLMSG_HDRLEN && header.nlmsg_len <= length - at, "an answer says it has %u bytes of %zu",
		     header.nlmsg_len, length - at);
		if (header.nlmsg_type == NLMSG_ERROR || header.nlmsg_type == NLMSG_DONE) {
			must(header.nlmsg_len >= NLMSG_HDRLEN + sizeof(error), "an answer has no room for its result");
			memcpy(&error, bytes + at + NLMSG_HDRLEN, sizeof(error));
			if (error)
				sane(-error, "a netlink message");
		} else {
			must(header.nlmsg_type == family && header.nlmsg_len >= head, "an answer is of type %u",
			     header.nlmsg_type);
			check_attributes(bytes + at + head, header.nlmsg_len - head);
		}
		at += NLMSG_ALIGN(header.nlmsg_len);
	}
}

static size_t any_attributes(uint8_t *message, size_t at, uint64_t id, unsigned int depth)
{
	uint8_t data[256], *inner;
	size_t i, length;

	for (i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)any();
	while (at < ROOM / 2 && !one_in(3)) {
		struct nlattr *attribute = (struct nlattr *)(message + at);
		uint16_t type = (uint16_t)(one_in(2) ? PEERBAR_A_ID : one_in(8) ? any_bits() : below(PEERBAR_A_MAX + 3));

		if (one_in(8))
			type |= one_in(2) ? NLA_F_NESTED : NLA_F_NET_BYTEORDER;
		if (type == PEERBAR_A_ID && !one_in(3)) {
			uint64_t value = one_in(3) ? any() >> below(64) : id;

			at = put_attribute(message, at, type, &value, sizeof(value));
			continue;
		}
		if (depth && one_in(4)) {
			inner = message + at;
			at = any_attributes(message, at + NLA_HDRLEN, id, depth - 1);
			length = (size_t)(message + at - inner) - NLA_HDRLEN;
			attribute->nla_type = type | NLA_F_NESTED;
		} else {
			length = below(one_in(4) ? sizeof(data) : 17);
			at = put_attribute(message, at, type, data, length);
		}
		attribute->nla_len = (uint16_t)(NLA_HDRLEN + length);
		/* A wrong length. */
		if (one_in(8))
			attribute->nla_len = (uint16_t)(one_in(2) ? below(NLA_HDRLEN + 1) : any_bits());
	}
	return at;
}

static size_t any_message(uint8_t *message, uint16_t family, uint64_t id)
{
	uint16_t flags = one_in(16) ? 0 : NLM_F_REQUEST;
	uint8_t cmd = PEERBAR_CMD_BUFFER_GET;
	size_t length;

	if (one_in(3))
		flags |= NLM_F_DUMP;
	if (one_in(3))
		flags |= NLM_F_ACK;
	if (one_in(8))
		flags |= (uint16_t)any_bits();
	if (one_in(4))
		cmd = one_in(2) ? (uint8_t)any() : (uint8_t)below(PEERBAR_CMD_BUFFER_RELEASED + 2);
	length = put_header(message, one_in(16) ? (uint16_t)below(NLMSG_MIN_TYPE) : family, flags, cmd);
	if (one_in(8)) {
		struct genlmsghdr generic = { .cmd = cmd, .version = (uint8_t)any(), .reserved = (uint16_t)any() };

		memcpy(message + NLMSG_HDRLEN, &generic, GENL_HDRLEN);
	}
	length = any_attributes(message, length, id, 5);
	set_length(message, (uint32_t)length);
	if (one_in(8))
		set_length(message, one_in(2) ? below((uint32_t)length) : one_in(2) ? (uint32_t)length + below(64) : any_bits());
	return length;
}

static void any_option(int sock)
{
	static const int options[] = { NETLINK_EXT_ACK, NETLINK_CAP_ACK, NETLINK_GET_STRICT_CHK, NETLINK_NO_ENOBUFS };
	int on = (int)below(2);

	setsockopt(sock, SOL_NETLINK, options[below(4)], &on, sizeof(on));
}

START_TEST(messages)
{
	static uint32_t room[(3 * ROOM + 64) / 4]; /* aligned */
	uint8_t *message = (uint8_t *)room;
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	int buffer, more = -1, sock;
	uint16_t family;
	uint64_t id;

	begin();
	sock = netlink_open();
	family = resolve(sock);
	buffer = export_raw(gpu, GPU_BAR, 0, PAGE, O_RDWR | O_CLOEXEC);
	id = query(buffer).id;
	for (call = 1; call <= MESSAGES; call++) {
		size_t length = any_message(message, family, id), n;
		ssize_t ret;

		/* Several at once. */
		while (one_in(8) && length < ROOM)
			length += any_message(message + length, family, id);
		if (one_in(16))
			length = below((uint32_t)length + 1);
		ret = sendto(sock, message, length, MSG_DONTWAIT, (struct sockaddr *)&kernel, sizeof(kernel));
		if (ret < 0)
			sane(errno, "a message to netlink");
		else
			must((size_t)ret == length, "netlink takes %zd bytes of %zu", ret, length);
		/* Let answers pile up sometimes, and sometimes never receive them. */
		if (!one_in(8)) {
			while ((n = netlink_next(sock)))
				check_answer(family, n);
		} else if (one_in(8)) {
			close(sock);
			sock = netlink_open();
		}
		if (one_in(32))
			any_option(sock);
		/* Change the list, possibly during a dump. */
		if (one_in(16) && more < 0) {
			more = export_raw(gpu, GPU_BAR, MIB, PAGE, O_RDWR | O_CLOEXEC);
		} else if (one_in(16) && more >= 0) {
			close(more);
			more = -1;
		}
	}
	close(sock);
	netlink_answers(family, id);
	if (more >= 0)
		close(more);
	close(buffer);
	finish(0);
}
END_TEST

LAB_SUITE("fuzz", 0)
{
	TCase *t = suite_case(s, "all", 300, ours_up, ours_down);

	tcase_add_test(t, ioctls);
	tcase_add_test(t, features);
	tcase_add_test(t, huge_requests);
	tcase_add_test(t, mappings);
	tcase_add_test(t, messages);
}
