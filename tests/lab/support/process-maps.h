/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The mappings of this process, as the kernel lists them. */
#ifndef PROCESS_MAPS_H
#define PROCESS_MAPS_H

#include <stdbool.h>
#include <stdint.h>

struct process_mapping {
	uintptr_t start, end;
	uint64_t offset; /* in the file */
	bool readable, writable;
	char name[4096]; /* the file's path, or another name; "" if there is none */
};

/*
 * Find the mapping that contains @address, or the next one above. Return false if there is none.
 * Exits if the kernel lists no mappings.
 */
bool find_mapping(uintptr_t address, struct process_mapping *mapping);

#endif
