// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Random requests of bridges. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "fuzz.h"
#include "modules.h"

#define BRIDGES 1000
#define ROOM	4
#define FULL	((uint32_t)sizeof(struct peerbar_bridge))
#define FILL	0xa5

/* The caller's memory, between guards that must not change. */
static struct {
	uint8_t before[64];
	struct peerbar_bridge request;
	uint8_t middle[64];
	struct peerbar_bridge_range ranges[ROOM];
	uint8_t after[64];
} mine;

static struct peerbar_bridge_function functions[PEERBAR_BRIDGE_FUNCTIONS + 1];

static bool is_filled(const uint8_t *bytes, size_t n)
{
	while (n--)
		if (bytes[n] != FILL)
			return false;
	return true;
}

static int any_iommufd(bool *valid)
{
	*valid = !one_in(8);
	return *valid ? pb_iommu_fd(fixture.iommu) : fds[any_fd()];
}

/* Names of functions; all valid unless *@valid is set to false. */
static void any_functions(uint32_t n, bool *valid)
{
	uint32_t i, j;

	for (i = 0; i < n && i <= PEERBAR_BRIDGE_FUNCTIONS; i++) {
		snprintf(functions[i].name, sizeof(functions[i].name), "%s", lab_bdf(LAB_EDU));
		if (!one_in(32))
			continue;
		for (j = 0; j < sizeof(functions[i].name); j++)
			functions[i].name[j] = (char)any();
		*valid = false;
	}
}

static void one_bridge(int dev)
{
	struct peerbar_bridge *r = &mine.request, asked;
	bool valid, functions_valid = true, iommufd_valid;
	unsigned int kind = any_fd();
	uint32_t size = one_in(8) ? below(2 * FULL) : FULL, i;
	int ret;

	memset(&mine, FILL, sizeof(mine));
	memset(r, 0, sizeof(*r));
	r->size = size;
	r->fd = fds[kind];
	r->iommufd = any_iommufd(&iommufd_valid);
	r->flags = one_in(8) ? any_bits() : below(2);
	r->nr_functions = one_in(16) ? any_bits() : below(3);
	any_functions(r->nr_functions, &functions_valid);
	r->functions = one_in(16) ? any_number() : (uintptr_t)functions;
	r->nr_ranges = one_in(16) ? any_bits() : below(ROOM + 1);
	r->ranges = one_in(16) ? any_number() : (uintptr_t)mine.ranges;
	/* What is out must not matter. */
	r->reason = any_bits();
	r->exporter_errno = any_bits();
	asked = *r;
	ret = ioctl(dev, PEERBAR_BRIDGE, r);
	if (ret < 0) {
		ret = -errno;
		sane(-ret, "a bridge");
	}
	must(is_filled(mine.before, sizeof(mine.before)) &&
		     is_filled(mine.middle, sizeof(mine.middle)) &&
		     is_filled(mine.after, sizeof(mine.after)),
	     "a bridge of kind %u changed other memory", kind);
	valid = size == FULL && (kind == OURS || kind == EDUS) && iommufd_valid &&
		!(asked.flags & ~(uint32_t)PEERBAR_BRIDGE_UNPINNED) &&
		asked.nr_functions <= PEERBAR_BRIDGE_FUNCTIONS && functions_valid &&
		(!asked.nr_functions || asked.functions == (uintptr_t)functions) &&
		asked.nr_ranges && asked.ranges == (uintptr_t)mine.ranges;
	if (valid)
		must(!ret, "a bridge of kind %u fails with %d, reason %u", kind, ret, r->reason);
	if (ret) {
		must(is_filled((uint8_t *)mine.ranges, sizeof(mine.ranges)),
		     "a bridge failed with %d, and returned ranges", ret);
		return;
	}
	must(r->nr_ranges && r->nr_ranges <= asked.nr_ranges && !r->reason,
	     "a bridge has %u ranges", r->nr_ranges);
	for (i = 0; i < r->nr_ranges; i++)
		must(!close(mine.ranges[i].fd), "range %u has no descriptor", i);
}

START_TEST(bridges)
{
	int dev;

	begin();
	fds_up();
	dev = open("/dev/peerbar", O_RDWR | O_CLOEXEC);
	ck_assert_int_ge(dev, 0);
	for (call = 1; call <= BRIDGES; call++)
		one_bridge(dev);
	close(dev);
	fds_down();
	finish(0);
}
END_TEST

LAB_SUITE_PART("fuzz")
{
	TCase *t = suite_case(s, "bridges", 300, modules_up, modules_down);

	tcase_add_test(t, bridges);
}
