# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#
# Prints what kmemleak found, without one leak that is the kernel's own in 7.2 and 7.3: dma_buf_phys_vec_to_sgt() hands out tables
# with orig_nents = 0, and dma_buf_free_sgt() then frees none of their entries. peerbar frees them where it gets the tables itself;
# those of vfio-pci-core come to an importer as copies under CONFIG_DMABUF_DEBUG. How many there were is said on standard error.

function flush() {
	if (record ~ /dma_buf_phys_vec_to_sgt/ && record ~ /vfio_pci_dma_buf_map/ && record ~ /sg_alloc_table/)
		known++
	else
		printf "%s", record
	record = ""
}

/^unreferenced object/ { flush() }
{ record = record $0 "\n" }
END {
	flush()
	if (known)
		print "kmemleak: " known " scatterlists leaked by dma_buf_phys_vec_to_sgt() for vfio-pci-core, a bug of this kernel (not counted)" >"/dev/stderr"
}
