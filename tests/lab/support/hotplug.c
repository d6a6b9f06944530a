// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Hotplug of devices, see hotplug.h. */
#include <stdlib.h>
#include <unistd.h>

#include "hotplug.h"

void qmp(const char *command)
{
	char *answer = lab_qmp(command);

	ck_assert_msg(strstr(answer, "\"return\""), "%s: %s", command, answer);
	free(answer);
}

bool gpu_plugged(char bdf[PB_BDF_LEN], uint64_t size)
{
	struct pb_pci_function *list;
	bool found = false;
	unsigned int i, n;

	ok(pb_pci_list(&list, &n, &err));
	ck_assert_uint_gt(n, 0);
	for (i = 0; i < n; i++) {
		if (list[i].vendor == 0x1af4 && list[i].device == 0x1110 &&
		    list[i].bars[GPU_BAR].size == size) {
			strcpy(bdf, list[i].bdf);
			found = true;
		}
	}
	free(list);
	return found;
}

void gpu_wait(char bdf[PB_BDF_LEN], uint64_t size, bool there)
{
	int i;

	for (i = 0; i < 600; i++) {
		if (gpu_plugged(bdf, size) == there)
			return;
		usleep(100000);
	}
	ck_abort_msg("the device did not %s in 60 s", there ? "appear" : "go");
}

void gpu_plug(char bdf[PB_BDF_LEN], uint64_t size)
{
	char command[300];

	snprintf(command, sizeof(command),
		 "{\"execute\":\"object-add\",\"arguments\":{\"qom-type\":\"memory-backend-memfd\",\"id\":\"hotmem%u\","
		 "\"size\":%llu}}",
		 (unsigned int)(size / MIB), (unsigned long long)size);
	qmp(command);
	snprintf(command, sizeof(command),
		 "{\"execute\":\"device_add\",\"arguments\":{\"driver\":\"ivshmem-plain\",\"id\":\"hot\",\"memdev\":"
		 "\"hotmem%u\",\"bus\":\"%s\"}}",
		 (unsigned int)(size / MIB), size == 1024 * MIB ? "spare1" : "spare0");
	qmp(command);
	gpu_wait(bdf, size, true);
}

void gpu_pull(void)
{
	qmp("{\"execute\":\"device_del\",\"arguments\":{\"id\":\"hot\"}}");
}

/* QEMU releases the memory a moment after the device is gone from the guest. */
void gpu_forget_memory(uint64_t size)
{
	char command[200], *answer;
	int i;

	snprintf(command, sizeof(command),
		 "{\"execute\":\"object-del\",\"arguments\":{\"id\":\"hotmem%u\"}}",
		 (unsigned int)(size / MIB));
	for (i = 0; i < 100; i++) {
		bool done;

		answer = lab_qmp(command);
		done = strstr(answer, "\"return\"");
		free(answer);
		if (done)
			return;
		usleep(100000);
	}
	ck_abort_msg("QEMU keeps the memory of a device that was pulled");
}

static void nic_wait(const char *bdf, bool there)
{
	char path[100];
	int i;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s", bdf);
	for (i = 0; i < 600; i++) {
		if (!access(path, F_OK) == there)
			return;
		usleep(100000);
	}
	ck_abort_msg("the NIC did not %s in 60 s", there ? "appear" : "go");
}

void nic_pull(const char *bdf)
{
	qmp("{\"execute\":\"device_del\",\"arguments\":{\"id\":\"nic1\"}}");
	nic_wait(bdf, false);
}

void nic_plug(const char *bdf)
{
	/* QEMU releases the device a moment after the guest. */
	char *answer = NULL;
	int i;

	for (i = 0; i < 100; i++) {
		free(answer);
		answer = lab_qmp(
			"{\"execute\":\"device_add\",\"arguments\":{\"driver\":\"e1000e\",\"id\":\"nic1\",\"netdev\":\"net1\","
			"\"mac\":\"52:54:00:00:00:02\",\"romfile\":\"\",\"bus\":\"port-nic1\"}}");
		if (strstr(answer, "\"return\""))
			break;
		usleep(100000);
	}
	ck_assert_msg(i < 100, "the NIC cannot be plugged: %s", answer);
	free(answer);
	nic_wait(bdf, true);
}
