// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Random ioctls of /dev/peerbar. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "fuzz.h"
#include "modules.h"

#define IOCTLS 2000

/* The first version's size, which the kernel still accepts. Its structures have grown since. */
static uint32_t least_size(uint32_t nr)
{
	return nr ? offsetof(struct peerbar_query, revocations) : sizeof(struct peerbar_info);
}

/* *other is another valid errno where the order of the kernel's checks decides. */
static int ioctl_result(uint32_t cmd, const struct place *place, uint32_t size, bool tail,
			bool flags, unsigned int kind, int *other)
{
	uint32_t full = _IOC_NR(cmd) ? sizeof(struct peerbar_query) : sizeof(struct peerbar_info);

	*other = 0;
	if (_IOC_TYPE(cmd) != PEERBAR_IOC || _IOC_DIR(cmd) != (_IOC_READ | _IOC_WRITE) ||
	    _IOC_NR(cmd) > 1)
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

/* The tests "importers" and "bridges" have PEERBAR_IMPORTERS and PEERBAR_BRIDGE. */
static uint32_t any_ioctl_nr(void)
{
	uint32_t nr = one_in(8) ? below(256) : below(2);

	return nr == _IOC_NR(PEERBAR_IMPORTERS) || nr == _IOC_NR(PEERBAR_BRIDGE) ?
		_IOC_NR(PEERBAR_QUERY) :
		nr;
}

static void one_ioctl(int dev)
{
	uint32_t nr = any_ioctl_nr(), type = one_in(16) ? 0xa0 + below(0x60) : PEERBAR_IOC;
	uint32_t dir = one_in(16) ? below(4) : _IOC_READ | _IOC_WRITE;
	uint32_t full = nr ? sizeof(struct peerbar_query) : sizeof(struct peerbar_info);
	uint32_t cmd = _IOC(dir, type, nr, one_in(2) ? full : below(1 << _IOC_SIZEBITS)), size;
	bool tail = one_in(3), flags = one_in(8), probe = nr && one_in(4);
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
	((uint32_t *)&request)[nr ? 2 : 1] = (flags ? any_bits() | 1 : 0) |
		(probe ? PEERBAR_QUERY_PROBE : 0);
	put(&place, 0, &request, full);
	if (size > full && size <= PAGE && place.at) {
		uint8_t zeros[PAGE_MOST] = { 0 };

		put(&place, full, zeros, size - full);
		/* Set one byte that has room. */
		if (place.room <= full)
			tail = false;
		else if (tail)
			place.at[full +
				 below((uint32_t)(place.room < size ? place.room : size) - full)] =
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
	     "ioctl 0x%08x with a size of %u, %zu bytes of room and descriptor %d (kind %u): %d, not %d",
	     cmd, size, place.room, fds[kind], kind, ret, want);
	if (size > full)
		size = full;
	untouched(ret ? NULL : place.at, ret ? 0 : size, "an ioctl");
	if (ret)
		return;
	if (nr) {
		memcpy(&request, place.at, size);
		must(request.size == sizeof(request) && request.fd == fds[kind],
		     "a query says it is of descriptor %d", request.fd);
		must(!(request.flags & PEERBAR_QUERY_OURS) == (kind == UDMABUF),
		     "a query of kind %u has the flags 0x%x", kind, request.flags);
		must((request.state == PEERBAR_STATE_DEAD) == (kind == DEAD),
		     "a query of kind %u has the state %u", kind, request.state);
		if (size < full)
			return;
		must(!(request.flags & PEERBAR_QUERY_PROBE), "a query returns an input flag");
		must(request.can_pin == PEERBAR_ANSWER_NO,
		     "a query of kind %u says that pinning is %u", kind, request.can_pin);
		must(request.can_revoke ==
			     (kind == UDMABUF ? PEERBAR_ANSWER_NO : PEERBAR_ANSWER_YES),
		     "a query of kind %u says that revoking is %u", kind, request.can_revoke);
		must(request.place == (kind == UDMABUF ? PEERBAR_PLACE_SYSTEM : PEERBAR_PLACE_BAR),
		     "a query of kind %u says that the place is %u", kind, request.place);
		must(!request.pad &&
			     strnlen(request.driver, sizeof(request.driver)) <
				     sizeof(request.driver) &&
			     strnlen(request.place_device, sizeof(request.place_device)) <
				     sizeof(request.place_device),
		     "a query of kind %u has names without an end", kind);
	} else {
		struct peerbar_info info;

		memcpy(&info, place.at, sizeof(info));
		must(info.size == sizeof(info) && info.abi == 1 && !info.flags,
		     "the information is of ABI %u", info.abi);
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

LAB_SUITE("fuzz", 0)
{
	TCase *t = suite_case(s, "all", 300, modules_up, modules_down);

	tcase_add_test(t, ioctls);
}
