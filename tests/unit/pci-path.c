// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The way between two PCI functions, in a directory like sysfs'. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pci-path.h"
#include "unit.h"

static char top[32], devices[40];

enum { NO_ACS = -1, NOT_READABLE = -2 };

/* Add a function: its path below the root bus, and the ACS control register. */
static void add_function(const char *path, int acs)
{
	unsigned char config[512] = { 0 };
	char text[400];
	FILE *f;

	snprintf(text, sizeof(text), "mkdir -p '%s/devices/%s' && ln -s '../devices/%s' '%s/'", top,
		 path, path, devices);
	ck_assert_int_eq(system(text), 0);
	/* Two capabilities: another one, and ACS or a third. */
	memcpy(config + 0x100, "\x01\x00\x01\x14", 4);
	memcpy(config + 0x140, acs == NO_ACS ? "\x10\x00\x01\x00" : "\x0d\x00\x01\x00", 4);
	if (acs > 0)
		config[0x146] = (unsigned char)acs;
	snprintf(text, sizeof(text), "%s/devices/%s/config", top, path);
	f = fopen(text, "we");
	ck_assert_ptr_nonnull(f);
	ck_assert_uint_gt(fwrite(config, acs == NOT_READABLE ? 64 : sizeof(config), 1, f), 0);
	fclose(f);
}

static void make_devices(void)
{
	char text[80];

	strcpy(top, "/tmp/pci-path.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(top));
	snprintf(devices, sizeof(devices), "%s/bus", top);
	snprintf(text, sizeof(text), "mkdir %s", devices);
	ck_assert_int_eq(system(text), 0);
	/* A switch with two devices, one of them with two functions. */
	add_function("pci0000:00/0000:00:01.0", 0x0c);
	add_function("pci0000:00/0000:00:01.0/0000:01:00.0", NO_ACS);
	add_function("pci0000:00/0000:00:01.0/0000:01:00.0/0000:02:00.0", 0x13);
	add_function("pci0000:00/0000:00:01.0/0000:01:00.0/0000:02:01.0", NO_ACS);
	add_function("pci0000:00/0000:00:01.0/0000:01:00.0/0000:02:02.0", 0x04);
	add_function("pci0000:00/0000:00:01.0/0000:01:00.0/0000:02:03.0", NOT_READABLE);
	add_function("pci0000:00/0000:00:01.0/0000:01:00.0/0000:02:00.0/0000:03:00.0", NO_ACS);
	add_function("pci0000:00/0000:00:01.0/0000:01:00.0/0000:02:01.0/0000:04:00.0", NO_ACS);
	add_function("pci0000:00/0000:00:01.0/0000:01:00.0/0000:02:01.0/0000:04:00.1", NO_ACS);
	add_function("pci0000:00/0000:00:01.0/0000:01:00.0/0000:02:02.0/0000:05:00.0", NO_ACS);
	add_function("pci0000:00/0000:00:01.0/0000:01:00.0/0000:02:03.0/0000:06:00.0", NO_ACS);
	/* A device on the root bus, one below another port, one below another root. */
	add_function("pci0000:00/0000:00:03.0", NO_ACS);
	add_function("pci0000:00/0000:00:02.0", 0x0c);
	add_function("pci0000:00/0000:00:02.0/0000:07:00.0", NO_ACS);
	add_function("pci0000:80/0000:80:01.0", NO_ACS);
	add_function("pci0000:80/0000:80:01.0/0000:81:00.0", NO_ACS);
}

static void remove_devices(void)
{
	char text[80];

	snprintf(text, sizeof(text), "rm -r %s", top);
	ck_assert_int_eq(system(text), 0);
}

START_TEST(routes)
{
	static const struct {
		const char *from, *to, *bridge, *redirects;
		enum pbt_route_kind kind;
		unsigned int distance;
		bool acs_unreadable;
	} known[] = {
		{ "0000:03:00.0", "0000:04:00.0", "0000:01:00.0", "", PBT_ROUTE_SWITCH, 3, false },
		{ "0000:04:00.0", "0000:03:00.0", "0000:01:00.0", "", PBT_ROUTE_SWITCH, 3, false },
		{ "0000:03:00.0", "0000:05:00.0", "0000:01:00.0", "0000:02:02.0",
		  PBT_ROUTE_REDIRECTED, 3, false },
		{ "0000:04:00.0", "0000:06:00.0", "0000:01:00.0", "", PBT_ROUTE_SWITCH, 3, true },
		{ "0000:04:00.0", "0000:04:00.1", "", "", PBT_ROUTE_SAME, 0, false },
		{ "0000:04:00.0", "0000:04:00.0", "", "", PBT_ROUTE_SAME, 0, false },
		/* The ports of the root complex have ACS, too, which changes nothing. */
		{ "0000:04:00.0", "0000:07:00.0", "", "", PBT_ROUTE_ROOT_COMPLEX, 4, false },
		{ "0000:03:00.0", "0000:00:03.0", "", "", PBT_ROUTE_ROOT_COMPLEX, 3, false },
		{ "0000:07:00.0", "0000:81:00.0", "", "", PBT_ROUTE_HOST_BRIDGES, 2, false },
	};
	struct pbt_path from, to;
	struct pbt_route route;
	size_t i;

	make_devices();
	for (i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		ck_assert_int_eq(pbt_get_path(devices, known[i].from, &from), 0);
		ck_assert_int_eq(pbt_get_path(devices, known[i].to, &to), 0);
		pbt_find_route(devices, &from, &to, &route);
		ck_assert_msg(route.kind == known[i].kind && route.distance == known[i].distance &&
				      !strcmp(route.bridge, known[i].bridge) &&
				      !strcmp(route.redirects, known[i].redirects) &&
				      route.acs_unreadable == known[i].acs_unreadable,
			      "from %s to %s: kind %d, distance %u, bridge '%s', redirects '%s'",
			      known[i].from, known[i].to, route.kind, route.distance, route.bridge,
			      route.redirects);
	}
	ck_assert_int_eq(pbt_get_path(devices, "0000:0f:00.0", &from), -ENODEV);
	remove_devices();
}
END_TEST

START_TEST(acs_of_ports)
{
	make_devices();
	ck_assert_int_eq(pbt_get_acs(devices, "0000:00:01.0"), PBT_ACS_REDIRECT);
	ck_assert_int_eq(pbt_get_acs(devices, "0000:01:00.0"), PBT_ACS_ABSENT);
	ck_assert_int_eq(pbt_get_acs(devices, "0000:02:00.0"), PBT_ACS_DIRECT);
	ck_assert_int_eq(pbt_get_acs(devices, "0000:02:03.0"), PBT_ACS_UNREADABLE);
	remove_devices();
}
END_TEST

void add_pci_path_tests(TCase *t)
{
	tcase_add_test(t, routes);
	tcase_add_test(t, acs_of_ports);
}
