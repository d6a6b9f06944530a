// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Operations of a device's owner: it opens, resets, unbinds and closes the device. */
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "worker.h"

extern char **environ;

void doom(struct shared_device *d)
{
	uint32_t s = atomic_load(&d->phase);

	while (!atomic_compare_exchange_weak(&d->phase, &s,
					     ((s + PHASE_STEP) & ~7U) | PHASE_DOOMED |
						     PHASE_CHANGING))
		;
}

/* Return false if the phase is frozen. */
static bool set_phase(unsigned int d, uint32_t phase)
{
	_Atomic uint32_t *p = &shared->devices[d].phase;
	uint32_t s = atomic_load(p);

	return !(s & PHASE_DOOMED) &&
		atomic_compare_exchange_strong(p, &s, ((s + PHASE_STEP) & ~7U) | phase);
}

/* Choose a device that this process owns and has open, and take its control. */
static bool take_control(uint64_t r, unsigned int *d, uint64_t *slot)
{
	unsigned int i;

	for (i = 0; i < DEVICES; i++) {
		*d = (unsigned int)((r + i) % DEVICES);
		if (shared->devices[*d].owner != me || pthread_mutex_trylock(&control[*d]))
			continue;
		*slot = atomic_load(&slots[*d]);
		if (*slot && !(atomic_load(&shared->devices[*d].phase) & PHASE_DOOMED))
			return true;
		pthread_mutex_unlock(&control[*d]);
	}
	return false;
}

/* Check mappings and a buffer while no other thread or process can change the phase. */
static void check_device(unsigned int d, uint64_t r)
{
	struct peerbar_query q;
	struct buffer b;
	uint32_t before;
	bool dead;

	touch_all(d, 0, r, 6);
	if (!pick_buffer(r >> 16, d, d, &b))
		return;
	before = phase_of(&b.what);
	dead = is_dead(&b.what);
	if (done(raw_query(peerbar, b.fd, &q), "query", badf_if_closed(&b), 0))
		check_state(&b.what, q.state, dead, before);
}

/*
 * Turn decoding off and on again, or enter D3hot and D0. Calls fail with EIO or ENODEV while the
 * device is being pulled.
 */
static bool off_and_on(bool power)
{
	unsigned int d;
	uint64_t slot;
	int ret;

	if (!take_control(place.r[0], &d, &slot))
		return false;
	if ((power && !pm_cap[d]) || !set_phase(d, PHASE_CHANGING)) {
		pthread_mutex_unlock(&control[d]);
		return false;
	}
	ret = power ? raw_power(slot_fd(slot), config_offset[d], pm_cap[d], false) :
		      raw_decoding(slot_fd(slot), config_offset[d], false);
	if (done(ret, "off", EIO, ENODEV, badf_if_dropped(d, slot), 0)) {
		set_phase(d, PHASE_OFF);
		check_device(d, place.r[1]);
		pause_us(place.r[2] % 2000);
		touch_all(d, 0, place.r[3], 2);
		set_phase(d, PHASE_CHANGING);
	}
	ret = power ? raw_power(slot_fd(slot), config_offset[d], pm_cap[d], true) :
		      raw_decoding(slot_fd(slot), config_offset[d], true);
	if (done(ret, "on", EIO, ENODEV, badf_if_dropped(d, slot), 0)) {
		set_phase(d, PHASE_ON);
		check_device(d, place.r[4]);
	}
	pthread_mutex_unlock(&control[d]);
	return true;
}

bool op_decoding(void)
{
	return off_and_on(false);
}

bool op_power(void)
{
	return off_and_on(true);
}

static bool reset(int (*how)(int fd))
{
	bool flat = lab_has_no_reset();
	unsigned int d;
	uint64_t slot;

	if (!take_control(place.r[0], &d, &slot))
		return false;
	if (set_phase(d, PHASE_CHANGING)) {
		/*
		 * EAGAIN, EBUSY: the kernel is using the device. ENOTTY: QEMU's port reported late
		 * that its link is up.
		 */
		done(how(slot_fd(slot)), "reset", EAGAIN, EBUSY, ENOTTY, flat ? EINVAL : EBUSY,
		     flat ? ENODEV : EBUSY, badf_if_dropped(d, slot), 0);
		set_phase(d, PHASE_ON);
		check_device(d, place.r[1]);
	}
	pthread_mutex_unlock(&control[d]);
	return true;
}

bool op_reset(void)
{
	return reset(raw_reset);
}

bool op_hot_reset(void)
{
	return reset(raw_hot_reset);
}

bool op_ioas(void)
{
	unsigned int d;
	uint64_t slot;

	if (!take_control(place.r[0], &d, &slot))
		return false;
	if (done(raw_detach_ioas(slot_fd(slot)), "detach", ENODEV, badf_if_dropped(d, slot), 0))
		done(raw_attach_ioas(slot_fd(slot), ioas), "attach", ENODEV,
		     badf_if_dropped(d, slot), 0);
	pthread_mutex_unlock(&control[d]);
	return true;
}

/*
 * Open a device and begin a new phase, unless the phase is no longer @s. The caller must hold the
 * device's control. There cannot be two opens, so buffers of earlier ones are dead from then on.
 */
static void open_device(unsigned int d, uint32_t s)
{
	struct shared_device *device = &shared->devices[d];
	uint32_t generation;
	uint64_t size;
	int fd, ret;

	fd = raw_open_cdev(device->bdf);
	if (!done(fd, "open", ENODEV, ENXIO, ENOENT, EBUSY, 0))
		return;
	fd = stash(fd);
	ret = raw_bind_iommufd(fd, iommufd);
	/*
	 * EINVAL: another process has not closed it yet. EAGAIN: the kernel was using the device
	 * and could not reset it.
	 */
	if (!done(ret, "bind to the iommufd", EINVAL, ENODEV, EAGAIN, 0)) {
		close(fd);
		pause_us(1000);
		return;
	}
	generation = atomic_load(&device->generation);
	atomic_store(&device->dead, generation);
	generation++;
	ret = raw_attach_ioas(fd, ioas);
	if (!ret)
		ret = raw_region(fd, GPU_BAR, &bar_offset[d], &size);
	if (!ret)
		ret = raw_region(fd, VFIO_PCI_CONFIG_REGION_INDEX, &config_offset[d], &size);
	if (!ret)
		ret = raw_decoding(fd, config_offset[d], true);
	if (!done(ret, "prepare the device", d == HOT ? EIO : EBADF, d == HOT ? ENODEV : EBADF,
		  0)) {
		close(fd);
		return;
	}
	pm_cap[d] = raw_find_cap(fd, config_offset[d], PCI_CAP_ID_PM);
	atomic_store(&device->generation, generation);
	atomic_store(&slots[d], (uint64_t)generation << 32 | (uint32_t)fd);
	/* Unless it was doomed again meanwhile. */
	atomic_compare_exchange_strong(&device->phase, &s, ((s + PHASE_STEP) & ~7U) | PHASE_ON);
}

static bool is_bound_to_ours(unsigned int d)
{
	char driver[64];

	raw_driver(shared->devices[d].bdf, driver, sizeof(driver));
	return !strcmp(driver, OURS);
}

bool op_open(void)
{
	bool did = false;
	unsigned int d;

	for (d = 0; d < DEVICES; d++) {
		struct shared_device *device = &shared->devices[d];
		/*
		 * Must be read before @leaving: the plugger sets @leaving, then dooms the device,
		 * which changes the phase.
		 */
		uint32_t s = atomic_load(&device->phase);

		if (device->owner != me || atomic_load(&slots[d]) ||
		    !atomic_load(&device->present) || atomic_load(&device->leaving) ||
		    pthread_mutex_trylock(&control[d]))
			continue;
		/* The previous owner may have been killed while it changed the driver. */
		if (!atomic_load(&slots[d]) && d != HOT && !is_bound_to_ours(d)) {
			done(raw_unbind(device->bdf), "unbind", 0);
			done(raw_bind(device->bdf, OURS), "bind", ENODEV, EINVAL, 0);
		}
		if (!atomic_load(&slots[d]) && is_bound_to_ours(d)) {
			open_device(d, s);
			did = true;
		}
		pthread_mutex_unlock(&control[d]);
	}
	return did;
}

bool op_reopen(void)
{
	unsigned int d;
	uint64_t slot;

	if (!take_control(place.r[0], &d, &slot))
		return false;
	if (set_phase(d, PHASE_CHANGING)) {
		atomic_store(&shared->devices[d].drop, slot_generation(slot));
		if (place.r[1] & 1)
			touch_all(d, 0, place.r[2], 2);
		release_device(d);
		touch_all(d, 0, place.r[3], 2);
	}
	pthread_mutex_unlock(&control[d]);
	return true;
}

/*
 * Unbind in a process of its own, which does not have the device open: unbinding waits until the
 * device is closed, and if this process is killed, its descriptors must be closed nevertheless.
 */
static pid_t unbind_elsewhere(const char *bdf)
{
	char command[128];
	char *argv[] = { "sh", "-c", command, NULL };
	pid_t pid;
	int ret;

	snprintf(command, sizeof(command), "echo %s >/sys/bus/pci/devices/%s/driver/unbind", bdf,
		 bdf);
	ret = posix_spawn(&pid, "/bin/sh", NULL, NULL, argv, environ);
	if (ret)
		fail_operation("posix_spawn: %s", strerror(ret));
	return pid;
}

/* Bind the device to the stock driver for a while; peerbar's modules must not be affected. */
static void visit_stock(unsigned int d)
{
	struct raw_range range = { 0, 4 * PAGE };
	struct peerbar_query q;
	uint64_t iova = 0;
	int fd, buffer;

	done(raw_bind(shared->devices[d].bdf, "vfio-pci"), "bind to vfio-pci", 0);
	fd = raw_open_cdev(shared->devices[d].bdf);
	done(fd, "open with vfio-pci", 0);
	done(raw_bind_iommufd(fd, iommufd), "bind to the iommufd", 0);
	done(raw_decoding(fd, config_offset[d], true), "decoding on", 0);
	buffer = raw_export(fd, GPU_BAR, &range, 1, O_RDWR | O_CLOEXEC);
	done(buffer, "export with vfio-pci", 0);
	done(raw_query(peerbar, buffer, &q), "query", 0);
	if (q.flags || q.model != PEERBAR_MODEL_REVOCABLE || q.id || q.length != range.length)
		fail_operation("a buffer of vfio-pci says: flags 0x%x, model %u, id %llu, %llu bytes",
			       q.flags, q.model, (unsigned long long)q.id,
			       (unsigned long long)q.length);
	done(raw_map_file(iommufd, ioas, buffer, 0, PAGE, IOMMU_IOAS_MAP_READABLE, &iova),
	     "map a buffer of vfio-pci", 0);
	done(raw_unmap(iommufd, ioas, iova, PAGE), "unmap", 0);
	refused(raw_revoke(fd, buffer), "revoke with vfio-pci", ENOTTY);
	close(buffer);
	close(fd);
	done(raw_unbind(shared->devices[d].bdf), "unbind vfio-pci", 0);
}

static void wait_dead(const struct buffer *b)
{
	uint64_t end = now_ns() + 60000000000;
	struct peerbar_query q;

	for (;;) {
		if (!done(raw_query(peerbar, b->fd, &q), "query", badf_if_closed(b), 0) ||
		    q.state == PEERBAR_STATE_DEAD)
			return;
		if (now_ns() > end)
			fail_operation("60 s after its driver was to be unbound, a buffer is in state %u",
				       q.state);
		pause_us(1000);
	}
}

bool op_rebind(void)
{
	struct raw_range range = { 0, PAGE };
	struct shared_device *device;
	struct buffer b;
	unsigned int d;
	uint64_t slot;
	int status;
	pid_t pid;

	if (!take_control(place.r[0], &d, &slot))
		return false;
	device = &shared->devices[d];
	if (d == HOT || !set_phase(d, PHASE_CHANGING)) {
		pthread_mutex_unlock(&control[d]);
		return false;
	}
	b.what = one_range(d, slot_generation(slot), 0, PAGE);
	b.fd = stash(raw_export(slot_fd(slot), GPU_BAR, &range, 1, O_RDWR | O_CLOEXEC));
	done(b.fd, "export", 0);
	pid = unbind_elsewhere(device->bdf);
	if (place.r[1] & 1) {
		/*
		 * The device is open and in use by other processes: its buffers must die at once.
		 */
		wait_dead(&b);
		refused(raw_export(slot_fd(slot), GPU_BAR, &range, 1, O_RDWR | O_CLOEXEC),
			"export from a driver that goes", ENODEV);
		touch_all(d, 0, place.r[2], 8);
	}
	atomic_store(&device->drop, slot_generation(slot));
	release_device(d);
	if (waitpid(pid, &status, 0) != pid || status)
		fail_operation("unbinding ended with status 0x%x", status);
	atomic_store(&device->dead, slot_generation(slot));
	touch_all(d, 0, place.r[3], 8);
	close(b.fd);
	if (place.r[4] & 1)
		visit_stock(d);
	done(raw_bind(device->bdf, OURS), "bind", 0);
	pthread_mutex_unlock(&control[d]);
	return true;
}
