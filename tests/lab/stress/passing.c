// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Operations that pass descriptors to other processes. */
#include <unistd.h>

#include "worker.h"

struct message {
	bool device;
	struct what what;
};

static unsigned int other_process(uint64_t r)
{
	return (me + 1 + (unsigned int)(r % (shared->processes - 1))) % shared->processes;
}

bool op_send(void)
{
	struct message message = { .device = false };
	struct buffer b;

	if (shared->processes < 2 || !any_buffer(place.r[0], &b))
		return false;
	message.what = b.what;
	done(raw_send(outbox[other_process(place.r[1])], &message, sizeof(message), b.fd), "send",
	     EAGAIN, EBADF, ETOOMANYREFS, 0);
	return true;
}

bool op_send_device(void)
{
	struct message message = { .device = true };
	uint64_t slot;

	if (shared->processes < 2 || !pick_device(place.r[0], &message.what.device, &slot))
		return false;
	message.what.generation = slot_generation(slot);
	done(raw_send(outbox[other_process(place.r[1])], &message, sizeof(message), slot_fd(slot)),
	     "send", EAGAIN, EBADF, ETOOMANYREFS, 0);
	return true;
}

/* Return false if there is no message. */
static bool receive_one(void)
{
	struct message message;
	uint64_t none = 0, size;
	unsigned int d;
	int fd, ret;

	ret = raw_receive(inbox[me], &message, sizeof(message), &fd);
	if (ret == -EAGAIN)
		return false;
	if (ret != sizeof(message))
		fail_operation("received %d", ret);
	if (fd < 0)
		return true;
	if (!message.device) {
		keep_buffer(fd, &message.what);
		return true;
	}
	d = message.what.device;
	if (message.what.generation <= atomic_load(&shared->devices[d].drop) ||
	    raw_region(fd, GPU_BAR, &bar_offset[d], &size)) {
		close(fd);
		return true;
	}
	fd = stash(fd);
	if (!atomic_compare_exchange_strong(&slots[d], &none,
					    (uint64_t)message.what.generation << 32 | (uint32_t)fd))
		close(fd);
	else if (message.what.generation <= atomic_load(&shared->devices[d].drop))
		release_device(d);
	return true;
}

bool op_receive(void)
{
	return receive_one();
}

void drain_inbox(int sock)
{
	struct message message;
	int fd;

	while (raw_receive(sock, &message, sizeof(message), &fd) >= 0)
		if (fd >= 0)
			close(fd);
}

void release_device(unsigned int d)
{
	uint64_t slot = atomic_exchange(&slots[d], 0);

	if (slot)
		close(slot_fd(slot));
	unmap_regions(d);
}

void obey_drop(void)
{
	static _Atomic uint32_t obeyed[DEVICES];
	unsigned int d;

	for (d = 0; d < DEVICES; d++) {
		uint32_t drop = atomic_load(&shared->devices[d].drop);
		uint64_t slot = atomic_load(&slots[d]);

		if (slot && slot_generation(slot) <= drop)
			release_device(d);
		if (atomic_exchange(&obeyed[d], drop) == drop)
			continue;
		unmap_regions(d);
		/* Some may be in flight. */
		while (receive_one())
			;
	}
}
