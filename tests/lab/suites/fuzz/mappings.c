// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Random mmap() of buffers, cookies and regions. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fuzz.h"
#include "modules.h"
#include "uapi.h"

#define MAPPINGS 1500

#define COOKIES	     4
#define COOKIE_PAGES 16ULL
#define RESERVE	     (64 * MIB)

static uint64_t regions[9], cookie_at[COOKIES];
static uint8_t *reserve;

static uint64_t any_offset(bool device)
{
	uint64_t at;

	if (one_in(8))
		return any_number();
	if (!device)
		return below((uint32_t)BUFFER_PAGES + 2) * PAGE +
			(one_in(16) ? below((uint32_t)PAGE) : 0);
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
		MAP_NORESERVE, MAP_POPULATE, MAP_NONBLOCK, MAP_LOCKED,	  MAP_GROWSDOWN,
		MAP_STACK,     MAP_HUGETLB,  MAP_SYNC,	   MAP_DENYWRITE, MAP_EXECUTABLE,
#ifdef MAP_32BIT
		MAP_32BIT,
#endif
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
	uint64_t offset = any_offset(!which), length = any_length(),
		 whole = (length + PAGE - 1) & ~(PAGE - 1);
	int prot = one_in(8) ? (int)below(16) :
		one_in(2)    ? PROT_READ :
			       PROT_READ | PROT_WRITE,
	    flags = any_map_flags();
	uint8_t *at = NULL, *p;
	long ret;

	/* Use MAP_FIXED only within the reserve. */
	if (one_in(6) && whole <= RESERVE / 2) {
		at = reserve + below((uint32_t)(RESERVE / 2 / PAGE)) * PAGE +
			(one_in(16) ? 1 + below((uint32_t)PAGE - 1) : 0);
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
	must((flags & 0xf) == MAP_SHARED || (flags & 0xf) == MAP_SHARED_VALIDATE,
	     "mmap with the flags 0x%x succeeds", (unsigned int)flags);
	must(!(offset % PAGE) && length, "mmap of 0x%llx bytes at 0x%llx succeeds",
	     (unsigned long long)length, (unsigned long long)offset);
	if (which)
		must(offset / PAGE <= BUFFER_PAGES && whole / PAGE <= BUFFER_PAGES - offset / PAGE,
		     "mmap of 0x%llx bytes at 0x%llx of a buffer succeeds",
		     (unsigned long long)length, (unsigned long long)offset);
	else
		must(whole <= 256 * MIB, "mmap of 0x%llx bytes of the device succeeds",
		     (unsigned long long)length);
	must(which != 2 || !(prot & PROT_WRITE),
	     "a buffer for reading only can be mapped for writing");
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

		if (!ioctl(pb_device_fd(fixture.gpu), VFIO_DEVICE_GET_REGION_INFO, &info))
			regions[i] = info.offset;
	}
	for (i = 0; i < COOKIES; i++)
		ck_assert_int_eq(feature_cookie(fixture.gpu, GPU_BAR, i * 4 * MIB,
						COOKIE_PAGES * PAGE, i & 1, &cookie_at[i]),
				 0);
	reserve = mmap(NULL, RESERVE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
		       0);
	ck_assert_ptr_ne(reserve, MAP_FAILED);
	from[0] = pb_device_fd(fixture.gpu);
	from[1] = export_raw(fixture.gpu, GPU_BAR, 4 * MIB, BUFFER_PAGES * PAGE,
			     O_RDWR | O_CLOEXEC);
	from[2] = export_raw(fixture.gpu, GPU_BAR, 0, BUFFER_PAGES * PAGE, O_RDONLY | O_CLOEXEC);
	from[3] = export_raw(fixture.gpu, GPU_BAR, 8 * MIB, BUFFER_PAGES * PAGE,
			     O_RDWR | O_CLOEXEC);
	for (call = 1; call <= MAPPINGS; call++) {
		/* Revoke the memory for some of the time, and one buffer permanently. */
		if (one_in(decoding ? 50 : 10)) {
			decoding = !decoding;
			ok(pb_device_set_decoding(fixture.gpu, decoding, &err));
		}
		if (one_in(50))
			ck_assert_int_eq(feature_set_memattr(fixture.gpu, from[1], below(2)), 0);
		if (call == MAPPINGS / 2)
			ck_assert_int_eq(feature_revoke(fixture.gpu, from[3]), 0);
		one_mapping(from, 4);
	}
	ok(pb_device_set_decoding(fixture.gpu, true, &err));
	munmap(reserve, RESERVE);
	close(from[1]), close(from[2]), close(from[3]);
	finish(COOKIES);
}
END_TEST

LAB_SUITE_PART("fuzz")
{
	TCase *t = suite_case(s, "all", 300, modules_up, modules_down);

	tcase_add_test(t, mappings);
}
