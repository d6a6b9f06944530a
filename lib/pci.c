// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* PCI functions in sysfs. */
#include <ctype.h>
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#include "internal.h"

#define PCI_DEVICES "/sys/bus/pci/devices"
#define SYSFS_PATH  256

/* Flags of a line of the sysfs file "resource", from include/linux/ioport.h. */
#define RESOURCE_IO	  0x00000100
#define RESOURCE_MEM	  0x00000200
#define RESOURCE_PREFETCH 0x00002000

int pb_parse_bdf(const char *text, char bdf[PB_BDF_LEN], struct pb_error *err)
{
	unsigned int domain, bus, dev, fn;
	int used = -1;

	if (text) {
		/* %x accepts signs and spaces; an address must not have them. */
		if (strspn(text, "0123456789abcdefABCDEF:.") == strlen(text)) {
			if (sscanf(text, "%8x:%2x:%2x.%1x%n", &domain, &bus, &dev, &fn, &used) ==
				    4 &&
			    !text[used])
				goto found;
			domain = 0;
			used = -1;
			if (sscanf(text, "%2x:%2x.%1x%n", &bus, &dev, &fn, &used) == 3 &&
			    !text[used])
				goto found;
		}
	}
	return pb_fail(err, EINVAL,
		       "'%.40s' is no PCI address; one looks like 0000:01:00.0 or 01:00.0",
		       text ? text : "");

found:
	if (dev > 0x1f || fn > 7)
		return pb_fail(err, EINVAL,
			       "'%.40s' is no PCI address: a device number is at most 1f and a function number at most 7",
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
	for (line = strtok_r(text, "\n", &save); line && i < PB_BARS;
	     line = strtok_r(NULL, "\n", &save), i++) {
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

int pb_pci_get_sized(const char *bdf, struct pb_pci_function *function, size_t size,
		     struct pb_error *err)
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

int pb_pci_list_sized(struct pb_pci_function **functions, size_t size, unsigned int *nr_functions,
		      struct pb_error *err)
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
