// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * A test of another project: export the memory of a device, here of QEMU's ivshmem, and print the
 * properties of the buffer as JSON.
 */
#include <peerbar.h>
#include <stdio.h>
#include <stdlib.h>

static struct pb_error err;

static void must(int ret)
{
	if (ret == 0)
		return;
	fprintf(stderr, "%s\n", err.text);
	exit(1);
}

int main(void)
{
	struct pb_range range = { 0, 2 << 20 };
	struct pb_pci_function *functions;
	unsigned int i, nr_functions;
	struct pb_buffer_info info;
	struct pb_buffer *buffer;
	struct pb_device *device;
	struct pb_iommu *iommu;

	must(pb_pci_list(&functions, &nr_functions, &err));
	for (i = 0; i < nr_functions; i++)
		if (functions[i].vendor == 0x1af4 && functions[i].device == 0x1110)
			break;
	if (i == nr_functions) {
		fprintf(stderr, "there is no ivshmem\n");
		return 1;
	}
	must(pb_pci_bind(functions[i].bdf, "vfio-pci", &err));
	must(pb_iommu_open(&iommu, &err));
	must(pb_device_open(iommu, functions[i].bdf, &device, &err));
	must(pb_buffer_export(device, 2, &range, 1, 0, &buffer, &err));
	must(pb_buffer_query(buffer, &info, &err));
	printf("{ \"size\": %llu, \"model\": \"%s\" }\n", (unsigned long long)info.size,
	       pb_model_name(info.model));
	pb_buffer_close(buffer);
	pb_device_close(device);
	pb_iommu_close(iommu);
	free(functions);
	return 0;
}
