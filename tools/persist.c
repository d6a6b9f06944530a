// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Bindings that survive a reboot: a file of udev rules with a line for each function. A rule
 * applies when the kernel adds the function: it sets driver_override, so that no other driver binds
 * first, and runs 'peerbar bind', which loads the driver.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lines.h"
#include "persist.h"

#define RULES	   "/etc/udev/rules.d"
#define RULES_FILE RULES "/70-peerbar-bind.rules"
#define DRIVERCTL  "/etc/driverctl.d"

static const char heading[] =
	"# Written by 'peerbar bind --persist'; 'peerbar unbind --persist' removes lines.\n";

static bool is_line_of(const char *line, const char *bdf)
{
	char match[PB_BDF_LEN + 16];

	snprintf(match, sizeof(match), "KERNEL==\"%s\"", bdf);
	return strstr(line, match) != NULL;
}

bool is_persistent(const char *bdf)
{
	return has_line(RULES_FILE, is_line_of, bdf);
}

/*
 * Copy all lines but the heading and that of @bdf. Returns their number, or -1 if the file cannot
 * be written.
 */
static int copy_others(FILE *to, const char *bdf)
{
	char line[1024];
	FILE *from;
	int n = 0;

	from = fopen(RULES_FILE, "re");
	while (from && fgets(line, sizeof(line), from)) {
		if (!strcmp(line, heading) || is_line_of(line, bdf))
			continue;
		if (fputs(line, to) < 0)
			n = -1;
		else if (n >= 0)
			n++;
	}
	if (from)
		fclose(from);
	return n;
}

/* Replace the file by one with the line @rule, or without one of @bdf if @rule is NULL. */
static int write_rules(const char *bdf, const char *rule)
{
	const char *temporary = RULES "/.70-peerbar-bind.new";
	int others = -1, ret;
	FILE *f;

	if ((mkdir("/etc/udev", 0755) && errno != EEXIST) ||
	    (mkdir(RULES, 0755) && errno != EEXIST))
		return fail(errno, "cannot create " RULES ": %s", strerror(errno));
	f = fopen(temporary, "we");
	if (!f)
		return fail(errno, "cannot write %s: %s", temporary, strerror(errno));
	if (fputs(heading, f) >= 0)
		others = copy_others(f, bdf);
	if (rule && fputs(rule, f) < 0)
		others = -1;
	ret = fchmod(fileno(f), 0644) || fflush(f) || fsync(fileno(f)) ? -errno : 0;
	fclose(f);
	if (ret || others < 0) {
		unlink(temporary);
		return fail(ret ? -ret : EIO, "cannot write %s: %s", temporary,
			    strerror(ret ? -ret : EIO));
	}
	/* An empty file would outlive the package. */
	if (!rule && !others)
		ret = unlink(temporary) || (unlink(RULES_FILE) && errno != ENOENT);
	else
		ret = rename(temporary, RULES_FILE);
	if (ret)
		return fail(errno, "cannot replace " RULES_FILE ": %s", strerror(errno));
	return STATUS_OK;
}

int persist_binding(const struct pb_pci_function *f, const char *driver)
{
	char path[sizeof(DRIVERCTL) + PB_BDF_LEN], rule[1024];

	snprintf(path, sizeof(path), DRIVERCTL "/%s", f->bdf);
	if (!access(path, F_OK))
		return fail(EEXIST,
			    "cannot persist the binding of %s: driverctl has one already, %s; 'driverctl unset-override %s' removes it",
			    f->bdf, path, f->bdf);
	/* The ids: after a change of hardware, the address can be another device's. */
	snprintf(rule, sizeof(rule),
		 "ACTION==\"add\", SUBSYSTEM==\"pci\", KERNEL==\"%s\", ATTR{vendor}==\"0x%04x\", "
		 "ATTR{device}==\"0x%04x\", ATTR{driver_override}=\"%s\", "
		 "RUN+=\"" BINDIR "/peerbar bind --driver %s %s\"\n",
		 f->bdf, f->vendor, f->device, driver, driver, f->bdf);
	return write_rules(f->bdf, rule);
}

int forget_binding(const char *bdf)
{
	return is_persistent(bdf) ? write_rules(bdf, NULL) : STATUS_OK;
}
