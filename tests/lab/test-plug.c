// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* A second GPU is plugged in while the machine runs, used, and pulled out under a mapping. */
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "fixture.h"

#define SIZE (16 * MIB)

static void qmp(const char *command)
{
	char *answer = lab_qmp(command);

	ck_assert_msg(strstr(answer, "\"return\""), "%s: %s", command, answer);
	free(answer);
}

/* the address of the plugged GPU; false if it is not there */
static bool find_plugged(char bdf[PB_BDF_LEN])
{
	struct pb_pci_function *list;
	bool found = false;
	int i, n;

	n = pb_pci_list(&list, &err);
	ck_assert_int_gt(n, 0);
	for (i = 0; i < n; i++) {
		if (list[i].vendor == 0x1af4 && list[i].device == 0x1110 && list[i].bars[GPU_BAR].size == SIZE) {
			strcpy(bdf, list[i].bdf);
			found = true;
		}
	}
	free(list);
	return found;
}

static void wait_plugged(char bdf[PB_BDF_LEN], bool there)
{
	int i;

	for (i = 0; i < 600; i++) {
		if (find_plugged(bdf) == there)
			return;
		usleep(100000);
	}
	ck_abort_msg("the device did not %s in 60 s", there ? "appear" : "go");
}

START_TEST(plugged_used_and_pulled)
{
	struct pb_range range = { MIB, 4 * PAGE };
	struct pb_mapping *m, *again = NULL;
	struct pb_device *plugged;
	struct pb_buffer *buffer;
	char bdf[PB_BDF_LEN];
	uint64_t iova;
	uint8_t *bar;
	void *p;

	qmp("{\"execute\":\"object-add\",\"arguments\":{\"qom-type\":\"memory-backend-memfd\",\"id\":\"hotmem\",\"size\":16777216}}");
	qmp("{\"execute\":\"device_add\",\"arguments\":{\"driver\":\"ivshmem-plain\",\"id\":\"hot\",\"memdev\":\"hotmem\",\"bus\":\"spare0\"}}");
	wait_plugged(bdf, true);

	ok(pb_pci_bind(bdf, NULL, &err));
	ok(pb_device_open(iommu, bdf, &plugged, &err));
	ok(pb_device_set_decoding(plugged, true, &err));
	ok(pb_buffer_export(plugged, GPU_BAR, &range, 1, 0, &buffer, &err));
	m = map_rw(buffer);
	iova = pb_mapping_iova(m);
	ok(pb_device_mmap(plugged, GPU_BAR, MIB, 4 * PAGE, false, &p, &err));
	bar = p;
	lab_pattern(memory.p, LEN, 60);
	edu_copy(&edu, memory.iova, iova, LEN);
	ck_assert_mem_eq(bar, memory.p, LEN);
	munmap(p, 4 * PAGE);

	/* pulled: the driver asks its user to let go, and waits for it */
	qmp("{\"execute\":\"device_del\",\"arguments\":{\"id\":\"hot\"}}");
	sleep(7); /* the slot's button blinks for 5 s */
	ck_assert(find_plugged(bdf));
	pb_device_close(plugged);
	wait_plugged(bdf, false);
	ck_assert_int_eq(pb_mapping_state(m), PB_REVOKED);
	refused(pb_map_buffer(ioas, buffer, 0, 0, RW, 0, &again, &err), ENODEV, "revoked");
	dma_faults(iova, 0);
	ok(pb_unmap(m, &err));
	pb_buffer_close(buffer);
	refused(pb_device_open(iommu, bdf, &plugged, &err), ENODEV, "no PCI function");
}
END_TEST

Suite *plug_suite(void)
{
	Suite *s = suite_create("plug");
	TCase *t = tcase_create("all");

	tcase_set_timeout(t, 300);
	tcase_add_checked_fixture(t, bench_up, bench_down);
	tcase_add_test(t, plugged_used_and_pulled);
	suite_add_tcase(s, t);
	return s;
}
