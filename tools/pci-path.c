// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The way between two PCI functions, from sysfs. */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "pci-path.h"

/* PCI Express extended capabilities, from the specification. */
#define EXT_CAP_START  0x100
#define EXT_CAP_ACS    0x000d
#define ACS_CONTROL    6
#define ACS_REQUEST    0x0004 /* P2P Request Redirect */
#define ACS_COMPLETION 0x0008 /* P2P Completion Redirect */
#define CONFIG_SIZE    4096

int pbt_get_path(const char *devices, const char *bdf, struct pbt_path *path)
{
	char file[256], target[1024], *save, *name;
	ssize_t n;

	memset(path, 0, sizeof(*path));
	snprintf(file, sizeof(file), "%s/%s", devices, bdf);
	n = readlink(file, target, sizeof(target) - 1);
	if (n < 0)
		return -ENODEV;
	target[n] = '\0';
	/* "../../../devices/pci0000:00/0000:00:01.0/0000:01:00.0" */
	for (name = strtok_r(target, "/", &save); name; name = strtok_r(NULL, "/", &save)) {
		if (!strncmp(name, "pci", 3)) {
			snprintf(path->root, sizeof(path->root), "%s", name);
			path->nr = 0;
		} else if (path->root[0]) {
			if (path->nr == PBT_PATH_MAX)
				return -E2BIG;
			snprintf(path->bdfs[path->nr++], PB_BDF_LEN, "%s", name);
		}
	}
	return path->nr ? 0 : -ENODEV;
}

static uint32_t get_le32(const uint8_t *config)
{
	return (uint32_t)config[0] | (uint32_t)config[1] << 8 | (uint32_t)config[2] << 16 |
		(uint32_t)config[3] << 24;
}

enum pbt_acs pbt_get_acs(const char *devices, const char *bdf)
{
	uint8_t config[CONFIG_SIZE];
	uint32_t header, at;
	unsigned int left;
	char file[256];
	ssize_t n;
	int fd;

	snprintf(file, sizeof(file), "%s/%s/config", devices, bdf);
	fd = open(file, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return PBT_ACS_UNREADABLE;
	n = read(fd, config, sizeof(config));
	close(fd);
	/* Users other than root get 64 bytes, and conventional PCI has 256. */
	if (n < EXT_CAP_START)
		return PBT_ACS_UNREADABLE;
	/* Bound the walk: a device that is gone reads as ones. */
	for (at = EXT_CAP_START, left = CONFIG_SIZE / 8; left && at >= EXT_CAP_START && at + 8 <= n;
	     left--) {
		header = get_le32(config + at);
		if ((header & 0xffff) == EXT_CAP_ACS)
			return get_le32(config + at + 4) >> 16 & (ACS_REQUEST | ACS_COMPLETION) ?
				PBT_ACS_REDIRECT :
				PBT_ACS_DIRECT;
		at = header >> 20 & ~3U;
	}
	return PBT_ACS_ABSENT;
}

/* Look at the ports of @path from number @first on, which are below the common bridge. */
static void check_ports(const char *devices, const struct pbt_path *path, unsigned int first,
			struct pbt_route *route)
{
	enum pbt_acs acs;
	unsigned int i;

	for (i = first; i + 1 < path->nr; i++) {
		acs = pbt_get_acs(devices, path->bdfs[i]);
		if (acs == PBT_ACS_UNREADABLE)
			route->acs_unreadable = true;
		if (acs == PBT_ACS_REDIRECT && !route->redirects[0])
			snprintf(route->redirects, sizeof(route->redirects), "%s", path->bdfs[i]);
	}
}

/* "0000:01:00.0" and "0000:01:00.1" */
static bool is_same_device(const char *a, const char *b)
{
	size_t n = strcspn(a, ".");

	return n == strcspn(b, ".") && !strncmp(a, b, n);
}

void pbt_find_route(const char *devices, const struct pbt_path *from, const struct pbt_path *to,
		    struct pbt_route *route)
{
	unsigned int common = 0;

	memset(route, 0, sizeof(*route));
	route->distance = from->nr + to->nr - 2;
	if (strcmp(from->root, to->root)) {
		route->kind = PBT_ROUTE_HOST_BRIDGES;
		return;
	}
	while (common + 1 < from->nr && common + 1 < to->nr &&
	       !strcmp(from->bdfs[common], to->bdfs[common]))
		common++;
	if (common + 1 == from->nr && common + 1 == to->nr &&
	    is_same_device(from->bdfs[common], to->bdfs[common])) {
		route->kind = PBT_ROUTE_SAME;
		route->distance = 0;
		return;
	}
	if (!common) {
		route->kind = PBT_ROUTE_ROOT_COMPLEX;
		return;
	}
	route->distance = from->nr + to->nr - 2 * common - 1;
	snprintf(route->bridge, sizeof(route->bridge), "%s", from->bdfs[common - 1]);
	check_ports(devices, from, common, route);
	check_ports(devices, to, common, route);
	route->kind = route->redirects[0] ? PBT_ROUTE_REDIRECTED : PBT_ROUTE_SWITCH;
}
