// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Random arguments, see fuzz.h. */
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "fuzz.h"
#include "kernel-exporters.h"
#include "modules.h"
#include "uapi.h"

/* ---- random numbers ---- */

unsigned long long seed;
unsigned int call;
static unsigned long long chance;

uint64_t any(void)
{
	uint64_t x = chance += 0x9e3779b97f4a7c15;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return x ^ x >> 31;
}

uint32_t below(uint32_t n)
{
	return (uint32_t)(any() % n);
}

bool one_in(uint32_t n)
{
	return !below(n);
}

uint32_t any_bits(void)
{
	return one_in(2) ? 1U << below(32) : (uint32_t)any();
}

uint64_t any_number(void)
{
	const uint64_t edges[] = {
		0,
		1,
		4095,
		PAGE,
		3 * PAGE,
		MIB,
		256 * MIB - PAGE,
		256 * MIB,
		1ULL << 32,
		1ULL << 63,
		~0ULL,
		~0ULL - PAGE + 1,
		0x7fffffffffffffff,
		0x7ffffffffffff000,
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

void sane(int code, const char *what)
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

int export_raw(struct pb_device *device, uint32_t bar, uint64_t offset, uint64_t length,
	       uint32_t open_flags)
{
	struct {
		struct vfio_device_feature_dma_buf dma_buf;
		struct vfio_region_dma_range range;
	} request = {
		{ .region_index = bar, .open_flags = open_flags, .nr_ranges = 1 },
		{ offset, length },
	};
	int fd = feature(device, VFIO_DEVICE_FEATURE_GET, VFIO_DEVICE_FEATURE_DMA_BUF, &request,
			 sizeof(request));

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

	must(q.flags & PEERBAR_QUERY_OURS && q.length == 2 * PAGE,
	     "a query has the flags 0x%x and the length %llu", q.flags,
	     (unsigned long long)q.length);
	state_is(fd, PEERBAR_STATE_LIVE);
	must(feature_memattr(fixture.gpu, fd) == PEERBAR_MEMATTR_NC,
	     "a new buffer's attribute is %d", feature_memattr(fixture.gpu, fd));
	p = map_fd(fd, 0, 2 * PAGE);
	must(p && can_read(p, NULL) && can_read(p + PAGE, NULL),
	     "a buffer cannot be mapped and read");
	munmap(p, 2 * PAGE);
	must(!feature_revoke(fixture.gpu, fd), "a buffer cannot be revoked");
	state_is(fd, PEERBAR_STATE_DEAD);
	pb_buffer_close(buffer);
}

void begin(void)
{
	const char *given = getenv("LAB_SEED");
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	seed = given && *given ? strtoull(given, NULL, 0) :
				 (unsigned long long)(now.tv_sec ^ now.tv_nsec) % 1000000;
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

void finish(unsigned int cookies)
{
	unsigned int n = count_fds();

	must(n == fds_then, "%u descriptors were open before the calls, %u are now", fds_then, n);
	listed_are(listed_then + cookies);
	if (cookies) {
		pb_device_close(fixture.gpu);
		fixture.gpu = NULL;
		listed_are(listed_then);
		fixture.gpu = lab_open(fixture.iommu, LAB_GPU);
		ok(pb_device_set_decoding(fixture.gpu, true, &err));
	}
	still_works();
	listed_are(listed_then);
	must(count_fds() == fds_then, "the valid calls afterwards leave a descriptor");
}

/* ---- descriptors of all kinds, and the errnos for them ---- */

int fds[FDS];

void fds_up(void)
{
	fds[OURS] = export_raw(fixture.gpu, GPU_BAR, 4 * MIB, BUFFER_PAGES * PAGE,
			       O_RDWR | O_CLOEXEC);
	fds[READ_ONLY] = export_raw(fixture.gpu, GPU_BAR, 0, BUFFER_PAGES * PAGE,
				    O_RDONLY | O_CLOEXEC);
	fds[DEAD] = export_raw(fixture.gpu, GPU_BAR, 0, BUFFER_PAGES * PAGE, O_RDWR | O_CLOEXEC);
	must(!feature_revoke(fixture.gpu, fds[DEAD]), "a buffer cannot be revoked");
	fds[EDUS] = export_raw(fixture.edu_device, 0, 0, PAGE, O_RDWR | O_CLOEXEC);
	fds[UDMABUF] = export_udmabuf(4 * PAGE);
	fds[NO_DMA_BUF] = open("/dev/null", O_RDWR | O_CLOEXEC);
	fds[NO_DMA_BUF + 1] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	fds[NO_DMA_BUF + 2] = open("/dev/peerbar", O_RDWR | O_CLOEXEC);
	fds[NO_DMA_BUF + 3] = pb_device_fd(fixture.gpu);
	fds[NO_DMA_BUF_LAST] = pb_iommu_fd(fixture.iommu);
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

void fds_down(void)
{
	int i;

	for (i = 0; i <= PATH; i++)
		if (fds[i] != pb_device_fd(fixture.gpu) && fds[i] != pb_iommu_fd(fixture.iommu))
			close(fds[i]);
}

int dma_buf_error(unsigned int kind)
{
	if (kind < NO_DMA_BUF)
		return 0;
	return kind < PATH ? -EINVAL : -EBADF;
}

int owner_error(unsigned int kind)
{
	return kind == EDUS || kind == UDMABUF ? -ENODEV : dma_buf_error(kind);
}

unsigned int any_fd(void)
{
	return one_in(2) ? below(NO_DMA_BUF) : below(FDS);
}

/*
 * ---- the caller's memory: two pages and a read-only mapping of them, each with a guard page ----
 */

static uint8_t *arena, *arena_ro;
static uint8_t arena_then[2 * PAGE_MOST];

static uint8_t *arena_view(int fd, int prot)
{
	uint8_t *p = mmap(NULL, ARENA + PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ck_assert_ptr_ne(p, MAP_FAILED);
	ck_assert_ptr_eq(mmap(p, ARENA, prot, MAP_SHARED | MAP_FIXED, fd, 0), p);
	return p;
}

void arena_up(void)
{
	int fd = memfd_create("arena", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, (off_t)ARENA), 0);
	arena = arena_view(fd, PROT_READ | PROT_WRITE);
	arena_ro = arena_view(fd, PROT_READ);
	close(fd);
	lab_pattern(arena, ARENA, (uint32_t)seed);
}

void arena_down(void)
{
	munmap(arena, ARENA + PAGE);
	munmap(arena_ro, ARENA + PAGE);
}

struct place any_place(size_t want)
{
	static const uint64_t nowhere[] = {
		0,
		1,
		8,
		0x1000,
		0x7ffffffff000,
		0x7ffffffffff8,
		0x8000000000000000,
		0xffff888000000000,
		0xfffffffffffff000,
		0xfffffffffffffff8,
		0xffffffffffffffff,
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

void put(const struct place *place, size_t at, const void *data, size_t length)
{
	if (!place->at || at >= place->room)
		return;
	memcpy(place->at + at, data, length < place->room - at ? length : place->room - at);
}

void remember(void)
{
	memcpy(arena_then, arena, ARENA);
}

void untouched(const uint8_t *at, size_t length, const char *what)
{
	size_t first = at ? (size_t)(at - arena) : ARENA, i;

	if (!memcmp(arena, arena_then, first) &&
	    (first + length >= ARENA ||
	     !memcmp(arena + first + length, arena_then + first + length, ARENA - first - length)))
		return;
	for (i = 0; i < ARENA && (arena[i] == arena_then[i] || (i >= first && i < first + length));
	     i++)
		;
	must(false, "%s changed a byte %lld from its structure's start", what,
	     (long long)i - (long long)first);
}

static bool in_spans(const uint8_t *p, const struct span *spans, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		if (spans[i].at && p >= spans[i].at && p < spans[i].at + spans[i].length)
			return true;
	return false;
}

void untouched_outside(const struct span *spans, unsigned int n, const char *what)
{
	size_t i;

	for (i = 0; i < ARENA; i++)
		must(arena[i] == arena_then[i] || in_spans(arena + i, spans, n),
		     "%s changed the byte %zu of the arena", what, i);
}
