# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#
# Prints kmemleak's reports, except for a leak of the kernel itself in 7.2 and 7.3:
# dma_buf_phys_vec_to_sgt() returns tables with orig_nents = 0, and dma_buf_free_sgt() then frees
# none of their entries. peerbar frees the entries of tables that it gets itself. Importers get
# vfio-pci-core's tables as copies under CONFIG_DMABUF_DEBUG. Prints the number of these leaks on
# standard error.

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
