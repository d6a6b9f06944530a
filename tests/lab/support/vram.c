// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Dma-bufs of the test exporter in the GPU's BAR, see vram.h. */
#include <string.h>
#include <unistd.h>

#include "modules.h"
#include "vram.h"

#define SLOT	  (2 * MIB)
#define SLOTS	  64U
#define PIECE_MIN (64 * KIB)

int vram_exporter = -1;

void vram_up(void)
{
	struct pb_error err;

	module_load("peerbar-test-exporter");
	module_load("peerbar-test-importer");
	if (pb_pci_bind_flags(lab_bdf(LAB_GPU), PEERBAR_TEST_VRAM_DRIVER, PB_BIND_FORCE, &err))
		lab_die("the GPU cannot be bound to " PEERBAR_TEST_VRAM_DRIVER ": %s", err.text);
	vram_exporter = test_exporter_open();
}

void vram_down(void)
{
	struct pb_error err;

	close(vram_exporter);
	if (pb_pci_bind(lab_bdf(LAB_GPU), lab_driver(), &err))
		lab_die("the GPU cannot be bound to %s: %s", lab_driver(), err.text);
}

int vram_export(unsigned int flags, uint64_t length)
{
	struct peerbar_test_vram_segment segment = { .a = VRAM_A, .b = VRAM_B, .length = length };
	int fd = test_export_vram(vram_exporter, lab_bdf(LAB_GPU), flags, &segment, 1);

	if (fd < 0)
		lab_die("no VRAM: %s", strerror(-fd));
	return fd;
}

int vram_export_scattered(unsigned int flags, unsigned int n,
			  struct peerbar_test_vram_segment *segments)
{
	struct peerbar_test_vram_segment all[SLOTS];
	unsigned int i, slot;
	int fd;

	if (!n || n > SLOTS)
		lab_die("%u segments", n);
	for (i = 0; i < n; i++) {
		/* 37 and 64 have no common divisor: every slot is used once. */
		slot = (i * 37 + 11) % SLOTS;
		all[i].length = PIECE_MIN << (i % 6);
		all[i].a = slot * SLOT + (SLOT - all[i].length) / 2 / PAGE * PAGE;
		all[i].b = (2 * SLOTS - 1 - slot) * SLOT;
	}
	if (segments)
		memcpy(segments, all, n * sizeof(all[0]));
	fd = test_export_vram(vram_exporter, lab_bdf(LAB_GPU), flags, all, n);
	if (fd < 0)
		lab_die("no VRAM: %s", strerror(-fd));
	return fd;
}

static void where(int fd, uint64_t offset, struct peerbar_test_where *w)
{
	int ret = test_where(vram_exporter, fd, PEERBAR_TEST_PLACE_HERE, offset, w);

	if (ret)
		lab_die("no VRAM there: %s", strerror(-ret));
}

enum peerbar_test_place vram_place(int fd)
{
	struct peerbar_test_where w;

	where(fd, 0, &w);
	return w.place;
}

uint64_t vram_bar_offset(int fd, uint64_t offset)
{
	struct peerbar_test_where w;

	where(fd, offset, &w);
	return w.bar_offset;
}

bool vram_host_sees(int fd, uint64_t offset, const void *bytes, size_t length)
{
	uint64_t at = vram_bar_offset(fd, offset);

	return at != PEERBAR_TEST_NO_BAR && lab_host_sees(at, bytes, length);
}
