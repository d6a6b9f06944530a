// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Bind PCI functions to drivers, and unbind them. */
#include <stdio.h>
#include <time.h>

#include "internal.h"

#define PCI_DEVICES "/sys/bus/pci/devices"
#define PCI_DRIVERS "/sys/bus/pci/drivers"
#define SYSFS_PATH  256

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
	if (!driver[0] || strlen(driver) >= PB_NAME_LEN || strpbrk(driver, "/\n") ||
	    driver[0] == '.')
		return pb_fail(err, EINVAL, "'%.40s' is no name of a driver; vfio-pci is one",
			       driver);
	if (flags & ~(unsigned int)PB_BIND_FORCE)
		return pb_fail(err, EINVAL,
			       "cannot bind %.40s with flags 0x%x: PB_BIND_FORCE, 0x%x, is the only one",
			       bdf ? bdf : "", flags, PB_BIND_FORCE);
	ret = pb_pci_get(bdf, &f, err);
	if (ret)
		return ret;
	if (!strcmp(f.driver, driver))
		return 0;
	snprintf(path, sizeof(path), PCI_DRIVERS "/%s", driver);
	if (access(path, F_OK))
		return pb_fail(err, ENOENT,
			       "cannot bind %s to %s: no driver of that name is loaded; modprobe loads it",
			       f.bdf, driver);
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
		return pb_fail(err, EPERM,
			       "cannot bind %s to %s: the driver is not for this device, %04x:%04x, or refused it; a driver that runs a "
			       "device it does not know can crash the kernel, so that takes PB_BIND_FORCE (peerbar bind --force)",
			       f.bdf, driver, f.vendor, f.device);
	return pb_fail(err, ENODEV,
		       "cannot bind %s to %s: the driver did not bind it; see the "
		       "kernel log",
		       f.bdf, driver);
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
