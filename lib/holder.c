// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The processes that have a VFIO device open or mapped, from /proc. */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>

#include "internal.h"
#include "vfio-uapi.h"

#define PROC_PATH     320
#define KERNEL_THREAD 0x00200000 /* PF_KTHREAD, in the flags of /proc/PID/stat */

/* The device to search for. */
struct wanted {
	const char *bdf;
	const char *cdev;   /* "" if the function has none */
	dev_t cdev_number;  /* 0 if there is none */
	dev_t group_number; /* of /dev/vfio/GROUP; 0 if there is none */
};

struct found {
	struct pb_holder *list;
	size_t n, room;
};

/* ---- parsers, pure ---- */

/* Names of dma-bufs: "BDF BAR 2" by this library for vfio-pci, "BDF/BAR2" by peerbar-vfio-pci. */
static bool begins_with_bdf(const char *text, const char *bdf)
{
	size_t n = strlen(bdf);

	return !strncmp(text, bdf, n) && (text[n] == ' ' || text[n] == '/');
}

bool pb_link_is_buffer_of(const char *target, const char *bdf)
{
	static const char dmabuf[] = "/dmabuf:";

	return !strncmp(target, dmabuf, strlen(dmabuf)) &&
		begins_with_bdf(target + strlen(dmabuf), bdf);
}

bool pb_fdinfo_is_device(const char *fdinfo, const char *bdf)
{
	static const char key[] = "vfio-device-syspath:";
	const char *line = fdinfo, *end, *last;

	for (; line; line = strchr(line, '\n'), line = line ? line + 1 : NULL) {
		if (strncmp(line, key, strlen(key)))
			continue;
		end = line + strcspn(line, "\n");
		last = memrchr(line, '/', (size_t)(end - line));
		return last && (size_t)(end - last - 1) == strlen(bdf) &&
			!memcmp(last + 1, bdf, strlen(bdf));
	}
	return false;
}

bool pb_map_is_device(const char *line, const char *cdev, const char *bdf)
{
	static const char ours[] = "anon_inode:[vfio-pci:";
	const char *name = line;
	int field;

	/* Skip the addresses, the permissions, the offset, the device and the inode. */
	for (field = 0; field < 5; field++) {
		name += strcspn(name, " ");
		name += strspn(name, " ");
	}
	if (!strncmp(name, ours, strlen(ours)))
		return begins_with_bdf(name + strlen(ours), bdf);
	return *cdev && strcspn(name, "\n") == strlen(cdev) && !strncmp(name, cdev, strlen(cdev));
}

/* ---- one process ---- */

static int add_holder(struct found *found, int pid, int fd, enum pb_holder_kind kind)
{
	struct pb_holder *holder;
	char path[PROC_PATH];

	if (found->n == found->room) {
		struct pb_holder *more;

		found->room = found->room ? 2 * found->room : 8;
		more = reallocarray(found->list, found->room, sizeof(*more));
		if (!more)
			return -ENOMEM;
		found->list = more;
	}
	holder = &found->list[found->n++];
	memset(holder, 0, sizeof(*holder));
	holder->pid = pid;
	holder->fd = fd;
	holder->kind = kind;
	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	if (pb_read_file(path, holder->command, sizeof(holder->command)) < 0)
		holder->command[0] = '\0';
	holder->command[strcspn(holder->command, "\n")] = '\0';
	return 0;
}

static bool is_device(const struct wanted *wanted, int pid, const char *fd)
{
	char path[PROC_PATH], text[2048];

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%s", pid, fd);
	return pb_read_file(path, text, sizeof(text)) > 0 && pb_fdinfo_is_device(text, wanted->bdf);
}

/*
 * Classify the descriptor @fd in the directory @dir; returns false if it is unrelated to the
 * device.
 */
static bool classify(const struct wanted *wanted, int pid, int dir, const char *fd,
		     enum pb_holder_kind *kind)
{
	char target[PROC_PATH];
	struct statx st;
	dev_t number;
	ssize_t n;

	n = readlinkat(dir, fd, target, sizeof(target) - 1);
	if (n < 0)
		return false;
	target[n] = '\0';
	if (pb_link_is_buffer_of(target, wanted->bdf)) {
		*kind = PB_HOLDER_BUFFER;
		return true;
	}
	if (!strcmp(target, "anon_inode:[vfio-device]")) {
		*kind = PB_HOLDER_DEVICE;
		return is_device(wanted, pid, fd);
	}
	/*
	 * Compare device numbers: nodes may have other names in containers. Don't make a network
	 * file system look up the file.
	 */
	if (target[0] != '/' ||
	    statx(dir, fd, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_TYPE, &st) ||
	    !S_ISCHR(st.stx_mode))
		return false;
	number = makedev(st.stx_rdev_major, st.stx_rdev_minor);
	if (wanted->cdev_number && number == wanted->cdev_number) {
		*kind = PB_HOLDER_DEVICE;
		return true;
	}
	*kind = PB_HOLDER_GROUP;
	return wanted->group_number && number == wanted->group_number;
}

static bool is_kernel_thread(int pid)
{
	char path[PROC_PATH], text[512];
	const char *after;
	unsigned int flags;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (pb_read_file(path, text, sizeof(text)) <= 0)
		return false;
	/* The command name, in parentheses, may contain parentheses. */
	after = strrchr(text, ')');
	return after && sscanf(after + 1, " %*c %*d %*d %*d %*d %*d %u", &flags) == 1 &&
		(flags & KERNEL_THREAD);
}

static int find_descriptors(const struct wanted *wanted, int pid, struct found *found)
{
	enum pb_holder_kind kind;
	char path[PROC_PATH];
	struct dirent *ent;
	int ret = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	if (!dir) {
		if ((errno == EACCES || errno == EPERM) && !is_kernel_thread(pid))
			return add_holder(found, pid, -1, PB_HOLDER_UNKNOWN);
		/* The process exited. */
		return 0;
	}
	while (!ret && (ent = readdir(dir)))
		if (isdigit((unsigned char)ent->d_name[0]) &&
		    classify(wanted, pid, dirfd(dir), ent->d_name, &kind))
			ret = add_holder(found, pid, atoi(ent->d_name), kind);
	closedir(dir);
	return ret;
}

/* A mapping holds the device like a descriptor. Add one entry for all mappings of the process. */
static int find_mapping(const struct wanted *wanted, int pid, struct found *found)
{
	char path[PROC_PATH];
	char *line = NULL;
	size_t size = 0;
	int ret = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	f = fopen(path, "re");
	if (!f)
		return 0;
	while (getline(&line, &size, f) > 0) {
		if (strstr(line, "vfio") && pb_map_is_device(line, wanted->cdev, wanted->bdf)) {
			ret = add_holder(found, pid, -1, PB_HOLDER_MAPPING);
			break;
		}
	}
	free(line);
	fclose(f);
	return ret;
}

/* ---- all processes ---- */

/* Returns a device number from sysfs, such as "511:0"; 0 if there is none. */
static dev_t read_number(const char *path)
{
	unsigned int major, minor;
	char text[64];

	if (pb_read_file(path, text, sizeof(text)) < 0 ||
	    sscanf(text, "%u:%u", &major, &minor) != 2)
		return 0;
	return makedev(major, minor);
}

static int find_all(const struct wanted *wanted, struct found *found)
{
	struct dirent *ent;
	int ret = 0;
	DIR *dir;

	dir = opendir("/proc");
	if (!dir)
		return -errno;
	while (!ret && (ent = readdir(dir))) {
		int pid = atoi(ent->d_name);

		if (!isdigit((unsigned char)ent->d_name[0]))
			continue;
		ret = find_descriptors(wanted, pid, found);
		if (!ret)
			ret = find_mapping(wanted, pid, found);
	}
	closedir(dir);
	return ret;
}

static int find_holders(const struct pb_pci_function *f, struct found *found)
{
	struct wanted wanted = { .bdf = f->bdf, .cdev = f->cdev };
	const char *name = strrchr(f->cdev, '/');
	char path[PROC_PATH];
	int ret;

	if (name) {
		snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/vfio-dev/%s/dev", f->bdf,
			 name + 1);
		wanted.cdev_number = read_number(path);
	}
	snprintf(path, sizeof(path), "/sys/class/vfio/%d/dev", f->iommu_group);
	wanted.group_number = read_number(path);
	memset(found, 0, sizeof(*found));
	ret = find_all(&wanted, found);
	if (ret) {
		free(found->list);
		found->list = NULL;
	}
	return ret;
}

int pb_pci_holders(const char *bdf, struct pb_holder **holders, unsigned int *nr_holders,
		   struct pb_error *err)
{
	struct pb_pci_function f;
	struct found found;
	int ret;

	ret = pb_pci_get(bdf, &f, err);
	if (ret)
		return ret;
	ret = find_holders(&f, &found);
	if (ret)
		return pb_fail_errno(err, -ret, "cannot list the processes that have %s open",
				     f.bdf);
	*holders = found.list;
	*nr_holders = (unsigned int)found.n;
	return 0;
}

/* ---- error sentences ---- */

static bool keeps_in_use(const struct pb_holder *holder)
{
	return holder->kind == PB_HOLDER_DEVICE || holder->kind == PB_HOLDER_MAPPING;
}

bool pb_describe_holders(const struct pb_holder *list, size_t n, bool groups, char *text,
			 size_t size)
{
	unsigned int named = 0, more = 0;
	size_t i, len = 0;
	int last = -1;

	text[0] = '\0';
	for (i = 0; i < n; i++) {
		/* Entries of the same process are adjacent. */
		if ((!keeps_in_use(&list[i]) && !(groups && list[i].kind == PB_HOLDER_GROUP)) ||
		    list[i].pid == last)
			continue;
		last = list[i].pid;
		if (named == 3) {
			more++;
			continue;
		}
		len += (size_t)snprintf(text + len, size - len, "%s%s %d (%.20s)",
					named ? ", " : "",
					last == (int)getpid() ? "this process," : "process", last,
					list[i].command);
		if (len >= size)
			len = size - 1;
		named++;
	}
	if (more)
		snprintf(text + len, size - len, " and %u more", more);
	return named;
}

/*
 * Returns the number of processes that the caller may not inspect, one of which may be the holder.
 */
static unsigned int count_unknown(const struct pb_holder *list, size_t n)
{
	unsigned int unknown = 0;
	size_t i;

	for (i = 0; i < n; i++)
		unknown += list[i].kind == PB_HOLDER_UNKNOWN;
	return unknown;
}

/*
 * Describe the holders of the function or, if there are none, of another function of its group.
 * @bdf receives the function that is held.
 */
static bool describe_group(const struct pb_pci_function *f, char bdf[PB_BDF_LEN], char *text,
			   size_t size, unsigned int *unknown)
{
	struct pb_pci_function other;
	struct found found;
	char path[PROC_PATH];
	struct dirent *ent;
	bool known = false;
	DIR *dir;

	memcpy(bdf, f->bdf, PB_BDF_LEN);
	if (find_holders(f, &found))
		return false;
	*unknown = count_unknown(found.list, found.n);
	known = pb_describe_holders(found.list, found.n, true, text, size);
	free(found.list);
	if (known || f->iommu_group < 0)
		return known;
	snprintf(path, sizeof(path), "/sys/kernel/iommu_groups/%d/devices", f->iommu_group);
	dir = opendir(path);
	if (!dir)
		return false;
	while (!known && (ent = readdir(dir))) {
		if (ent->d_name[0] == '.' || !strcmp(ent->d_name, f->bdf) ||
		    pb_pci_get(ent->d_name, &other, NULL) || find_holders(&other, &found))
			continue;
		known = pb_describe_holders(found.list, found.n, false, text, size);
		free(found.list);
		memcpy(bdf, other.bdf, PB_BDF_LEN);
	}
	closedir(dir);
	return known;
}

int pb_fail_in_use(struct pb_error *err, const struct pb_pci_function *f, const char *otherwise)
{
	unsigned int unknown = 0;
	char bdf[PB_BDF_LEN];
	char text[160];

	if (!err)
		return -EBUSY;
	if (describe_group(f, bdf, text, sizeof(text), &unknown)) {
		if (!strcmp(bdf, f->bdf))
			return pb_fail(err, EBUSY, "cannot open %s: it is in use by %s", f->bdf,
				       text);
		return pb_fail(err, EBUSY,
			       "cannot open %s: %s, of the same IOMMU group %d, is in use by %s",
			       f->bdf, bdf, f->iommu_group, text);
	}
	if (unknown)
		return pb_fail(err, EBUSY,
			       "cannot open %s: it, or another function of its IOMMU "
			       "group %d, is in use%s; the process may be one of %u that this one "
			       "may not inspect (this needs CAP_SYS_PTRACE)",
			       f->bdf, f->iommu_group, otherwise, unknown);
	return pb_fail(err, EBUSY,
		       "cannot open %s: it, or another function of its IOMMU group %d, is in use%s",
		       f->bdf, f->iommu_group, otherwise);
}

/* ---- whether unbinding would wait ---- */

/* The kernel lets only one descriptor bind a device at a time; the second fails with EINVAL. */
static bool is_bound_elsewhere(const struct pb_pci_function *f)
{
	struct vfio_device_bind_iommufd bind = { .argsz = sizeof(bind) };
	bool elsewhere = false;
	int fd;

	fd = open(f->cdev, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return false;
	bind.iommufd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
	if (bind.iommufd >= 0) {
		elsewhere = pb_ioctl(fd, VFIO_DEVICE_BIND_IOMMUFD, &bind) == -EINVAL;
		close(bind.iommufd);
	}
	close(fd);
	return elsewhere;
}

/*
 * /proc does not list descriptors in a socket or registered with io_uring, nor processes outside
 * this PID namespace. So try to bind the device, unless its driver's module has no user. The kernel
 * may close a dead process's descriptors with a delay, so retry for a second.
 */
static bool is_held_unseen(const struct pb_pci_function *f)
{
	const struct timespec pause = { .tv_nsec = 50000000 };
	char path[PROC_PATH], text[32];
	unsigned int tries;

	snprintf(path, sizeof(path), "/sys/bus/pci/drivers/%s/module/refcnt", f->driver);
	for (tries = 0; tries < 20; tries++) {
		if (!f->cdev[0] ||
		    (pb_read_file(path, text, sizeof(text)) > 0 && atoi(text) == 0) ||
		    !is_bound_elsewhere(f))
			return false;
		nanosleep(&pause, NULL);
	}
	return true;
}

int pb_check_unused(const struct pb_pci_function *f, struct pb_error *err)
{
	struct found found;
	char text[160];
	bool known;
	int ret;

	ret = find_holders(f, &found);
	if (ret)
		return pb_fail_errno(err, -ret,
				     "cannot take %s from %s: cannot list the processes "
				     "that have it open",
				     f->bdf, f->driver);
	known = pb_describe_holders(found.list, found.n, false, text, sizeof(text));
	free(found.list);
	if (known)
		return pb_fail(err, EBUSY,
			       "cannot take %s from %s: it is in use by %s; the kernel would wait until it is closed, and "
			       "could not be interrupted",
			       f->bdf, f->driver, text);
	if (is_held_unseen(f))
		return pb_fail(err, EBUSY,
			       "cannot take %s from %s: it is in use by a process that this one cannot see, or whose "
			       "descriptor waits in a socket; the kernel would wait until it is closed, and could not be interrupted",
			       f->bdf, f->driver);
	return 0;
}
