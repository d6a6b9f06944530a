// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* PCI functions in sysfs, and their drivers. */
#include <ctype.h>
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include "internal.h"

#define PCI_DEVICES "/sys/bus/pci/devices"
#define PCI_DRIVERS "/sys/bus/pci/drivers"
#define SYSFS_PATH 256

/* Flags of a line of the sysfs file "resource", from include/linux/ioport.h. */
#define RESOURCE_IO 0x00000100
#define RESOURCE_MEM 0x00000200
#define RESOURCE_PREFETCH 0x00002000

int pb_parse_bdf(const char *text, char bdf[PB_BDF_LEN], struct pb_error *err)
{
	unsigned int domain, bus, dev, fn;
	int used = -1;

	if (text) {
		/* %x accepts signs and spaces; an address must not have them. */
		if (strspn(text, "0123456789abcdefABCDEF:.") == strlen(text)) {
			if (sscanf(text, "%8x:%2x:%2x.%1x%n", &domain, &bus, &dev, &fn, &used) == 4 && !text[used])
				goto found;
			domain = 0;
			used = -1;
			if (sscanf(text, "%2x:%2x.%1x%n", &bus, &dev, &fn, &used) == 3 && !text[used])
				goto found;
		}
	}
	return pb_fail(err, EINVAL, "'%.40s' is no PCI address; one looks like 0000:01:00.0 or 01:00.0", text ? text : "");

found:
	if (dev > 0x1f || fn > 7)
		return pb_fail(err, EINVAL, "'%.40s' is no PCI address: a device number is at most 1f and a function number at most 7",
			       text);
	snprintf(bdf, PB_BDF_LEN, "%04x:%02x:%02x.%x", domain, bus, dev, fn);
	return 0;
}

static int read_hex(const char *bdf, const char *file, uint32_t *value)
{
	char path[SYSFS_PATH];
	char text[64];
	char *end;
	int ret;

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/%s", bdf, file);
	ret = pb_read_file(path, text, sizeof(text));
	if (ret < 0)
		return ret;
	*value = (uint32_t)strtoul(text, &end, 16);
	return end == text ? -EIO : 0;
}

static void read_bars(const char *bdf, struct pb_pci_bar bars[PB_BARS])
{
	char path[SYSFS_PATH];
	char text[2048];
	char *line, *save;
	int i = 0;

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/resource", bdf);
	if (pb_read_file(path, text, sizeof(text)) < 0)
		return;
	for (line = strtok_r(text, "\n", &save); line && i < PB_BARS; line = strtok_r(NULL, "\n", &save), i++) {
		uint64_t start, end, flags;

		if (sscanf(line, "%" SCNx64 " %" SCNx64 " %" SCNx64, &start, &end, &flags) != 3 ||
		    !(flags & (RESOURCE_IO | RESOURCE_MEM)))
			continue;
		bars[i].size = end - start + 1;
		bars[i].memory = flags & RESOURCE_MEM;
		bars[i].prefetchable = flags & RESOURCE_PREFETCH;
	}
}

static void read_cdev(const char *bdf, char *cdev, size_t size)
{
	char path[SYSFS_PATH];
	struct dirent *ent;
	DIR *dir;

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/vfio-dev", bdf);
	dir = opendir(path);
	if (!dir)
		return;
	while ((ent = readdir(dir))) {
		char dev[SYSFS_PATH * 2 + 16];
		struct stat st;

		/* Without CONFIG_VFIO_DEVICE_CDEV the directory exists, but not the file "dev". */
		snprintf(dev, sizeof(dev), "%s/%s/dev", path, ent->d_name);
		if (strncmp(ent->d_name, "vfio", 4) || strlen(ent->d_name) > 32 || stat(dev, &st))
			continue;
		snprintf(cdev, size, "/dev/vfio/devices/%.32s", ent->d_name);
		break;
	}
	closedir(dir);
}

int pb_pci_get_sized(const char *bdf, struct pb_pci_function *function, size_t size, struct pb_error *err)
{
	struct pb_pci_function f = { .iommu_group = -1 };
	char path[SYSFS_PATH];
	char group[PB_NAME_LEN];
	uint32_t value;
	int ret;

	ret = pb_parse_bdf(bdf, f.bdf, err);
	if (ret)
		return ret;
	ret = read_hex(f.bdf, "vendor", &value);
	if (ret == -ENOENT)
		return pb_fail(err, ENODEV, "there is no PCI function %s", f.bdf);
	if (ret)
		return pb_fail_errno(err, -ret, "cannot read " PCI_DEVICES "/%s/vendor", f.bdf);
	f.vendor = (uint16_t)value;
	if (!read_hex(f.bdf, "device", &value))
		f.device = (uint16_t)value;
	if (!read_hex(f.bdf, "class", &value))
		f.pci_class = value;
	snprintf(path, sizeof(path), PCI_DEVICES "/%s/driver", f.bdf);
	pb_read_link_name(path, f.driver, sizeof(f.driver));
	snprintf(path, sizeof(path), PCI_DEVICES "/%s/iommu_group", f.bdf);
	pb_read_link_name(path, group, sizeof(group));
	if (isdigit((unsigned char)group[0]))
		f.iommu_group = atoi(group);
	read_cdev(f.bdf, f.cdev, sizeof(f.cdev));
	read_bars(f.bdf, f.bars);
	pb_fill_sized(function, size, &f, sizeof(f));
	return 0;
}

static int compare_bdf(const void *a, const void *b)
{
	const struct pb_pci_function *fa = a, *fb = b;
	size_t la = strlen(fa->bdf), lb = strlen(fb->bdf);

	/* A domain may have more than four digits. */
	return la != lb ? (la < lb ? -1 : 1) : strcmp(fa->bdf, fb->bdf);
}

int pb_pci_list_sized(struct pb_pci_function **functions, size_t size, unsigned int *nr_functions, struct pb_error *err)
{
	struct pb_pci_function *list = NULL;
	size_t n = 0, room = 0;
	struct pb_error why;
	struct dirent *ent;
	DIR *dir;

	dir = opendir(PCI_DEVICES);
	if (!dir)
		return pb_fail_errno(err, errno, "cannot list " PCI_DEVICES);
	while ((ent = readdir(dir))) {
		int ret;

		if (ent->d_name[0] == '.')
			continue;
		if (n == room) {
			struct pb_pci_function *more;

			room = room ? 2 * room : 32;
			more = reallocarray(list, room, sizeof(*list));
			if (!more) {
				free(list);
				closedir(dir);
				return pb_fail_errno(err, ENOMEM, "cannot list " PCI_DEVICES);
			}
			list = more;
		}
		ret = pb_pci_get(ent->d_name, &list[n], &why);
		/* It may have been unplugged since readdir(). */
		if (ret == -ENODEV)
			continue;
		if (ret) {
			if (err)
				*err = why;
			free(list);
			closedir(dir);
			return ret;
		}
		n++;
	}
	closedir(dir);
	if (n)
		qsort(list, n, sizeof(*list), compare_bdf);
	*functions = pb_array_sized(list, sizeof(*list), n, size);
	free(list);
	if (!*functions)
		return pb_fail_errno(err, ENOMEM, "cannot list " PCI_DEVICES);
	*nr_functions = (unsigned int)n;
	return 0;
}

static int set_override(const char *bdf, const char *driver)
{
	char path[SYSFS_PATH];
	char text[PB_NAME_LEN + 1];

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/driver_override", bdf);
	snprintf(text, sizeof(text), "%s\n", driver);
	return pb_write_file(path, text);
}

static void get_override(const char *bdf, char *driver, size_t size)
{
	char path[SYSFS_PATH];

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/driver_override", bdf);
	if (pb_read_file(path, driver, size) < 0)
		driver[0] = '\0';
	driver[strcspn(driver, "\n")] = '\0';
	if (!strcmp(driver, "(null)"))
		driver[0] = '\0';
}

static int release_driver(const char *bdf)
{
	char path[SYSFS_PATH];
	int ret;

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/driver/unbind", bdf);
	ret = pb_write_file(path, bdf);
	/* It had no driver, or was unbound in the meantime. */
	return ret == -ENOENT || ret == -ENODEV ? 0 : ret;
}

/* By name, or because the module uses vfio_pci_core. */
static bool is_vfio_driver(const char *driver)
{
	char path[SYSFS_PATH], module[PB_NAME_LEN];

	if (strstr(driver, "vfio"))
		return true;
	snprintf(path, sizeof(path), PCI_DRIVERS "/%s/module", driver);
	pb_read_link_name(path, module, sizeof(module));
	snprintf(path, sizeof(path), "/sys/module/vfio_pci_core/holders/%s", module);
	return module[0] && !access(path, F_OK);
}

/*
 * Check that unbinding does not wait: a VFIO driver waits for its users, in an uninterruptible
 * system call.
 */
static int check_unused(const struct pb_pci_function *f, struct pb_error *err)
{
	return is_vfio_driver(f->driver) ? pb_check_unused(f, err) : 0;
}

/*
 * Bind the function to a driver. @override: by driver_override, which makes a driver, such as
 * VFIO's, bind any device. Otherwise the kernel compares the device with the driver's ids, and
 * fails with -ENODEV if it is not among them.
 */
static int give_to_driver(const char *bdf, const char *driver, bool override)
{
	char path[SYSFS_PATH];

	if (override)
		return pb_write_file("/sys/bus/pci/drivers_probe", bdf);
	snprintf(path, sizeof(path), PCI_DRIVERS "/%s/bind", driver);
	return pb_write_file(path, bdf);
}

int pb_pci_bind_flags(const char *bdf, const char *driver, unsigned int flags, struct pb_error *err)
{
	char former[PB_NAME_LEN], override[PB_NAME_LEN];
	const struct timespec pause = { .tv_nsec = 50000000 };
	struct pb_pci_function f;
	char path[SYSFS_PATH];
	bool any_device, unknown = false;
	unsigned int tries;
	int ret;

	if (!driver)
		driver = "vfio-pci";
	if (!driver[0] || strlen(driver) >= PB_NAME_LEN || strpbrk(driver, "/\n") || driver[0] == '.')
		return pb_fail(err, EINVAL, "'%.40s' is no name of a driver; vfio-pci is one", driver);
	if (flags & ~(unsigned int)PB_BIND_FORCE)
		return pb_fail(err, EINVAL, "cannot bind %.40s with flags 0x%x: PB_BIND_FORCE, 0x%x, is the only one", bdf ? bdf : "", flags,
			       PB_BIND_FORCE);
	ret = pb_pci_get(bdf, &f, err);
	if (ret)
		return ret;
	if (!strcmp(f.driver, driver))
		return 0;
	snprintf(path, sizeof(path), PCI_DRIVERS "/%s", driver);
	if (access(path, F_OK))
		return pb_fail(err, ENOENT, "cannot bind %s to %s: no driver of that name is loaded; modprobe loads it", f.bdf, driver);
	any_device = (flags & PB_BIND_FORCE) || is_vfio_driver(driver);

	get_override(f.bdf, override, sizeof(override));
	memcpy(former, f.driver, sizeof(former));
	ret = check_unused(&f, err);
	if (ret)
		return ret;
	ret = set_override(f.bdf, any_device ? driver : "");
	if (ret)
		return pb_fail_errno(err, -ret, "cannot write driver_override of %s", f.bdf);
	ret = release_driver(f.bdf);
	if (ret) {
		set_override(f.bdf, override);
		return pb_fail_errno(err, -ret, "cannot take %s from %s", f.bdf, f.driver);
	}
	/* A hotplugged function is in sysfs before the kernel lets drivers bind it. */
	for (tries = 0; tries < 20; tries++) {
		ret = give_to_driver(f.bdf, driver, any_device);
		unknown = !any_device && ret == -ENODEV;
		if (!ret || unknown)
			ret = pb_pci_get(f.bdf, &f, err);
		if (ret)
			break;
		if (!strcmp(f.driver, driver))
			return 0;
		nanosleep(&pause, NULL);
	}

	/* Restore the former driver. The override ensures that no other driver binds first. */
	if (former[0]) {
		set_override(f.bdf, former);
		pb_write_file("/sys/bus/pci/drivers_probe", f.bdf);
	}
	set_override(f.bdf, override);
	if (unknown)
		return pb_fail(err, EPERM, "cannot bind %s to %s: the driver is not for this device, %04x:%04x, or refused it; a driver that runs a "
			       "device it does not know can crash the kernel, so that takes PB_BIND_FORCE (peerbar bind --force)", f.bdf, driver, f.vendor,
			       f.device);
	return pb_fail(err, ENODEV, "cannot bind %s to %s: the driver did not bind it; see the "
		       "kernel log", f.bdf, driver);
}

int pb_pci_bind(const char *bdf, const char *driver, struct pb_error *err)
{
	return pb_pci_bind_flags(bdf, driver, 0, err);
}

int pb_pci_unbind(const char *bdf, struct pb_error *err)
{
	struct pb_pci_function f;
	int ret;

	ret = pb_pci_get(bdf, &f, err);
	if (ret)
		return ret;
	ret = check_unused(&f, err);
	if (ret)
		return ret;
	ret = release_driver(f.bdf);
	if (ret)
		return pb_fail_errno(err, -ret, "cannot take %s from %s", f.bdf, f.driver);
	ret = set_override(f.bdf, "");
	if (ret)
		return pb_fail_errno(err, -ret, "cannot write driver_override of %s", f.bdf);
	/* It is no error if no driver binds. */
	ret = pb_write_file("/sys/bus/pci/drivers_probe", f.bdf);
	if (ret && ret != -ENODEV && ret != -EINVAL)
		return pb_fail_errno(err, -ret, "cannot bind %s to its default driver", f.bdf);
	return 0;
}
