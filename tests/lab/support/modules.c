// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* See modules.h. */
#include <fcntl.h>
#include <linux/vfio.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "modules.h"
#include "testmod.h"

void module_load(const char *name)
{
	char command[100], path[100], *dash;

	snprintf(path, sizeof(path), "/sys/module/%s/refcnt", name);
	while ((dash = strchr(path, '-')))
		*dash = '_';
	if (!access(path, F_OK))
		return;
	snprintf(command, sizeof(command), "modprobe %s", name);
	if (system(command))
		lab_die("the module %s cannot be loaded", name);
}

int module_unload(const char *name)
{
	return syscall(SYS_delete_module, name, O_NONBLOCK) ? -errno : 0;
}

void modules_up(void)
{
	module_load("peerbar-vfio-pci");
	if (access("/sys/bus/pci/drivers/peerbar-vfio-pci", F_OK))
		lab_die("peerbar-vfio-pci is loaded, but there is no such driver");
	module_load("peerbar-iommufd");
	module_load("peerbar-test-exporter");
	module_load("peerbar-test-importer");
	setenv("LAB_DRIVER", "peerbar-vfio-pci", 1);
	fixture_up();
}

void modules_down(void)
{
	fixture_down();
}

/* ---- the kernel's interface ---- */

int feature(struct pb_device *device, uint32_t flags, uint32_t number, void *data, size_t size)
{
	struct vfio_device_feature *request = calloc(1, sizeof(*request) + size);
	int ret;

	ck_assert_ptr_nonnull(request);
	request->argsz = (uint32_t)(sizeof(*request) + size);
	request->flags = flags | number;
	memcpy(request->data, data, size);
	ret = ioctl(pb_device_fd(device), VFIO_DEVICE_FEATURE, request);
	if (ret < 0)
		ret = -errno;
	memcpy(data, request->data, size);
	free(request);
	return ret;
}

int feature_revoke(struct pb_device *device, int fd)
{
	struct peerbar_vfio_revoke revoke = { fd };

	return feature(device, VFIO_DEVICE_FEATURE_SET, VFIO_DEVICE_FEATURE_PEERBAR_REVOKE, &revoke,
		       sizeof(revoke));
}

int feature_set_memattr(struct pb_device *device, int fd, uint32_t attr)
{
	struct peerbar_vfio_memattr memattr = { fd, attr };

	return feature(device, VFIO_DEVICE_FEATURE_SET, VFIO_DEVICE_FEATURE_PEERBAR_MEMATTR,
		       &memattr, sizeof(memattr));
}

int feature_memattr(struct pb_device *device, int fd)
{
	struct peerbar_vfio_memattr memattr = { fd, 0xffff };
	int ret = feature(device, VFIO_DEVICE_FEATURE_GET, VFIO_DEVICE_FEATURE_PEERBAR_MEMATTR,
			  &memattr, sizeof(memattr));

	return ret < 0 ? ret : (int)memattr.memattr;
}

int feature_cookie(struct pb_device *device, uint32_t bar, uint64_t offset, uint64_t length,
		   uint32_t memattr, uint64_t *mmap_offset)
{
	struct peerbar_vfio_mmap_cookie cookie = { .region_index = bar,
						   .nr_ranges = 1,
						   .offset = offset,
						   .length = length,
						   .memattr = memattr };
	int ret = feature(device, VFIO_DEVICE_FEATURE_GET, VFIO_DEVICE_FEATURE_PEERBAR_MMAP_COOKIE,
			  &cookie, sizeof(cookie));

	*mmap_offset = cookie.mmap_offset;
	return ret;
}

struct peerbar_query query(int fd)
{
	struct peerbar_query q = { .size = sizeof(q), .fd = fd };
	int dev = open("/dev/peerbar", O_RDWR | O_CLOEXEC);

	if (dev < 0 || ioctl(dev, PEERBAR_QUERY, &q))
		ck_abort_msg("/dev/peerbar does not answer for descriptor %d: %s", fd,
			     strerror(errno));
	close(dev);
	return q;
}

void state_is(int fd, enum peerbar_state state)
{
	struct peerbar_query q = query(fd);

	ck_assert(q.flags & PEERBAR_QUERY_OURS);
	ck_assert_msg(q.state == state, "the buffer's state is %u, not %u", q.state, state);
}

unsigned int count_listed(void)
{
	struct pb_listed *list;
	unsigned int n;

	ok(pb_list_buffers(&list, &n, &err));
	free(list);
	return n;
}

/* ---- memory ---- */

uint8_t *map_fd(int fd, uint64_t offset, size_t length)
{
	void *p = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)offset);

	return p == MAP_FAILED ? NULL : p;
}

uint8_t *map_fd_aligned(int fd, uint64_t offset, size_t length, size_t align, size_t skew)
{
	uint8_t *room = mmap(NULL, length + 2 * align, PROT_NONE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint8_t *at;

	ck_assert_ptr_ne(room, MAP_FAILED);
	at = (uint8_t *)(((uintptr_t)room + align - 1) & ~(align - 1)) + skew;
	ck_assert_ptr_eq(mmap(at, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
			      (off_t)offset),
			 at);
	/* The process's end unmaps the rest of the room. */
	return at;
}

static sigjmp_buf bus_error;

static void on_bus_error(int sig)
{
	(void)sig;
	siglongjmp(bus_error, 1);
}

static bool survives(volatile uint8_t *p, uint8_t *byte, bool write)
{
	struct sigaction action = { .sa_handler = on_bus_error }, old;
	volatile bool there = false;

	sigaction(SIGBUS, &action, &old);
	if (!sigsetjmp(bus_error, 1)) {
		if (write)
			*p = *byte;
		else
			*byte = *p;
		there = true;
	}
	sigaction(SIGBUS, &old, NULL);
	return there;
}

bool can_read(const volatile void *p, uint8_t *byte)
{
	uint8_t ignored;

	return survives((volatile uint8_t *)(uintptr_t)p, byte ? byte : &ignored, false);
}

bool can_write(volatile void *p, uint8_t byte)
{
	return survives(p, &byte, true);
}

bool page_table(const volatile void *p, struct peerbar_test_pte *pte)
{
	int importer = test_importer_open(), ret = test_pte(importer, 0, p, pte);

	ck_assert_msg(!ret || ret == -ENOENT, "PEERBAR_TEST_PTE: %s", strerror(-ret));
	close(importer);
	return !ret;
}

void wait_until_stale(int import_fd, int handle)
{
	int i;

	for (i = 0; i < 2000 && !test_import_is(import_fd, handle, PEERBAR_TEST_STATUS_STALE); i++)
		usleep(10000);
	ck_assert_int_lt(i, 2000);
}

void wait_until_dead(int fd, const volatile void *p)
{
	int i;

	for (i = 0; i < 300 && (query(fd).state != PEERBAR_STATE_DEAD || can_read(p, NULL)); i++)
		usleep(100000);
	state_is(fd, PEERBAR_STATE_DEAD);
	ck_assert(!can_read(p, NULL));
	/* The IOMMU follows, and then the event REVOKED, for which nobody listens here. */
	sleep(1);
}

static void nothing(int sig)
{
	(void)sig;
}

int asking_process(int fd, bool revoke)
{
	struct sigaction action = { .sa_handler = nothing }; /* no SA_RESTART */
	struct peerbar_query q = { .size = sizeof(q), .fd = fd };
	pid_t child = fork();
	int dev;

	ck_assert_int_ge(child, 0);
	if (child)
		return child;
	sigaction(SIGUSR1, &action, NULL);
	if (revoke)
		_exit(-feature_revoke(fixture.gpu, fd));
	dev = open("/dev/peerbar", O_RDWR | O_CLOEXEC);
	_exit(dev < 0 ? 255 : ioctl(dev, PEERBAR_QUERY, &q) ? errno : 0);
}

int wait_for(int pid)
{
	int status;

	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int ends(int pid, unsigned int limit, const char *what)
{
	unsigned int i;
	int status;

	for (i = 0; i < limit * 10; i++) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
		usleep(100000);
	}
	ck_abort_msg("%s has not ended in %u s", what, limit);
}
